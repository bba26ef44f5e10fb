// protocol/reply_buffer.h — what one connection has still to send: copied bytes and pinned values.
//
// Owner: a worker's pool; a connection borrows one while it has output.  Threads: that worker.
// Memory: one block of kBlockBytes, at most kMaxSegments pins and owned strings besides, and no new
// pin behind kMaxPinnedBytes of them.  A session stops when HasRoom() is false, so a client that
// does not read costs this much and no more.

#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/bytes.h"
#include "core/store.h"

namespace larder {

class ReplyBuffer {
 public:
  static constexpr size_t kBlockBytes = 64 << 10;
  static constexpr size_t kMaxSegments = 64;
  static constexpr size_t kMaxPinnedBytes = 1 << 20;
  // What one Reserve() may ask for whenever HasRoom() is true.
  static constexpr size_t kMaxReply = kLargeValueBytes + 1024;

  ReplyBuffer();

  // Whether kMaxReply more bytes, three segments and a pin are sure to fit.
  [[nodiscard]] bool HasRoom() const { return capacity_ - written_ >= kMaxReply && !is_crowded_; }
  [[nodiscard]] bool empty() const { return pending_bytes() == 0; }
  // Bytes not sent yet, pinned ones included.
  [[nodiscard]] size_t pending_bytes() const { return pending_ + (written_ - run_); }

  // Where to write up to kMaxReply bytes; Commit() says how many it became.  REQUIRES: HasRoom().
  [[nodiscard]] char* Reserve() { return block_.get() + written_; }
  void Commit(size_t n) { written_ += n; }
  // Copies.
  void Append(std::string_view text) {
    if (text.size() > capacity_ - written_) return AppendOwned(std::string(text));
    CopyBytes(block_.get() + written_, text.data(), text.size());
    written_ += text.size();
  }
  // Sends the whole pinned value from where it lies.
  void AppendPin(Pin pin);
  // Sends a text of any size; for the rare long ones (statistics).
  void AppendOwned(std::string text);

  // Fills `iov` with what comes next; returns how many entries were used.
  [[nodiscard]] size_t Gather(std::span<iovec> iov) const;
  // All that is pending, when it lies in one piece; else nothing.
  [[nodiscard]] std::string_view OneRun() const {
    return pending_ == 0 ? std::string_view(block_.get() + run_, written_ - run_)
                         : std::string_view();
  }
  // The first `n` bytes have been sent.
  void Drop(size_t n) {
    if (!segments_.empty() || n < written_ - run_) return DropSome(n);
    run_ = written_ = 0;
  }
  void Clear() {
    run_ = written_ = 0;
    if (!segments_.empty()) ClearSegments();
  }

  // Nobody reads it: says so to its pinned values, and gives up a block that is mostly empty. After
  // that it is only good for being sent; the owner's pool must not have it.
  void MarkStuck();
  [[nodiscard]] bool is_whole() const { return capacity_ == kBlockBytes; }
  // Memory of its own, pinned values not included.
  [[nodiscard]] size_t memory_bytes() const;
  // Of the values it has pinned since it was last empty.
  [[nodiscard]] size_t pinned_bytes() const { return pinned_; }

  // Everything pending as one string; for tests.
  [[nodiscard]] std::string ToString() const;

 private:
  // A run of block bytes, or a pin, or an owned text; `bytes` long in all.
  struct Segment {
    size_t bytes = 0;
    std::variant<size_t /*offset in block*/, Pin, std::string> source;
  };

  void DropSome(size_t n);
  void ClearSegments();
  // Turns the open run into a segment.
  void EndRun();
  void Add(Segment segment);

  std::unique_ptr<char[]> block_;
  size_t capacity_ = kBlockBytes;  // of the block
  size_t written_ = 0;             // of the block
  size_t run_ = 0;                 // from here on it comes after all segments: the open run
  size_t pending_ = 0;             // of segments
  size_t pinned_ = 0;
  size_t owned_ = 0;
  bool is_crowded_ = false;  // no room for the segments and the pin that HasRoom() promises
  size_t first_ = 0;         // segments before it have been sent
  size_t first_sent_ = 0;    // bytes of segments_[first_] that have been sent
  std::vector<Segment> segments_;
};

}  // namespace larder
