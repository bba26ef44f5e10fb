// core/memory/memory_file.h — the file that keeps the pages over a restart, and the one beside it,
// FILE.meta, that says how to read them.
//
// FILE has the pages that its limit needs, and behind them a tail, the index.
//
// FILE is locked from Open() on, so two servers never share one.  FILE.meta exists only while no
// server runs: it is written as the last thing of a clean stop and taken away by the next start,
// before anything else, so that a crash leaves none.
//
// Owner: StoreOptions.  Threads: one at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace larder {

class MemoryFile {
 public:
  // Opens or creates `path`, locks it and takes its FILE.meta away, into meta().  Without one, or
  // when it is shorter than a limit of `limit_bytes` needs, it becomes holes.  Fails when it
  // cannot be used as a memory file, or is in use: the message says why.
  [[nodiscard]] static absl::Status Open(const std::string& path, uint64_t limit_bytes,
                                         std::shared_ptr<MemoryFile>* file);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string meta_path() const { return path_ + ".meta"; }
  [[nodiscard]] int fd() const { return fd_; }
  // At Open().
  [[nodiscard]] bool was_empty() const { return was_empty_; }
  // Whether it was as long as the limit needs, with a tail of so many bytes behind.
  [[nodiscard]] bool had_length_with_tail(uint64_t tail_bytes) const {
    return length_ == bytes_ + tail_bytes;
  }
  [[nodiscard]] bool had_meta() const { return had_meta_; }
  [[nodiscard]] std::string_view meta() const { return meta_; }
  void ForgetMeta() { meta_ = {}; }

  // Gives the file a tail of so many bytes and maps it: null when that cannot be.  What was there
  // before, in a tail of that length, stays.
  [[nodiscard]] char* MapTail(uint64_t bytes);
  void UnmapTail();
  // Any thread.  Takes room on the file system for a part of the mapped tail, before it is touched:
  // without, a full file system would be a SIGBUS.  False: there is none.
  [[nodiscard]] bool TakeRoom(const void* at, size_t bytes) const;
  // The same for any part of any file.
  [[nodiscard]] static bool TakeRoomIn(int file, uint64_t offset, uint64_t bytes);
  // Whether it takes less room than `bytes`, as a copy may.
  [[nodiscard]] bool IsSmallerThan(uint64_t bytes) const;

  // Makes it all holes.
  [[nodiscard]] absl::Status Clear() const;
  // Writes FILE.meta: all of it or, after a failure, none.
  [[nodiscard]] absl::Status WriteMeta(std::string_view bytes) const;

 private:
  MemoryFile(std::string path, int fd, uint64_t bytes)
      : path_(std::move(path)), fd_(fd), bytes_(bytes) {}
  absl::Status TakeMeta();
  absl::Status SyncFolder() const;

  const std::string path_;
  const int fd_;
  const uint64_t bytes_;
  bool was_empty_ = false;
  uint64_t length_ = 0;  // at Open()
  bool had_meta_ = false;
  std::string meta_;
  char* tail_ = nullptr;
  uint64_t tail_bytes_ = 0;
};

}  // namespace larder
