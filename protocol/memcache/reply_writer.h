// protocol/memcache/reply_writer.h — one reply, put together in place from texts and numbers.
//
// Owner: a handler, for the time of one reply.  Nothing else may write to the buffer meanwhile.

#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "protocol/reply_buffer.h"

namespace larder::memcache {

class ReplyWriter {
 public:
  // REQUIRES: out.HasRoom().
  explicit ReplyWriter(ReplyBuffer& out)
      : out_(out), at_(out.Reserve()), end_(at_ + ReplyBuffer::kMaxReply) {}

  void Text(std::string_view text) {
    if (text.empty()) return;  // its pointer may be null
    // Nothing that a client sends can get here: keys and values were measured before.
    if (text.size() > static_cast<size_t>(end_ - at_)) std::abort();
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Number(uint64_t value) {
    const auto [stop, error] = std::to_chars(at_, end_, value);
    if (error != std::errc()) std::abort();
    at_ = stop;
  }
  void Done() { out_.Commit(static_cast<size_t>(at_ - out_.Reserve())); }

 private:
  ReplyBuffer& out_;
  char* at_;
  char* end_;
};

}  // namespace larder::memcache
