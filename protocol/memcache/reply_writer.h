// protocol/memcache/reply_writer.h — one reply, put together in place from texts and numbers.
//
// Owner: a handler, for the time of one reply.  Nothing else may write to the buffer meanwhile.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/digits.h"
#include "protocol/reply_buffer.h"

namespace larder::memcache {

class ReplyWriter {
 public:
  // REQUIRES: out.HasRoom().
  explicit ReplyWriter(ReplyBuffer& out)
      : out_(out), at_(out.Reserve()), end_(at_ + ReplyBuffer::kMaxReply) {}

  void Text(std::string_view text) {
    // Nothing that a client sends can get here: keys and values were measured before.
    if (text.size() > static_cast<size_t>(end_ - at_)) std::abort();
    CopyBytes(at_, text.data(), text.size());
    at_ += text.size();
  }
  // A constant: beside a key and a value there is room for all constants and numbers of a reply.
  template <size_t kBytes>
  void Text(const char (&text)[kBytes]) {
    std::memcpy(at_, text, kBytes - 1);
    at_ += kBytes - 1;
  }
  void Number(uint64_t value) { at_ = WriteDecimal(at_, value); }
  void Done() { out_.Commit(static_cast<size_t>(at_ - out_.Reserve())); }

 private:
  ReplyBuffer& out_;
  char* at_;
  char* end_;
};

}  // namespace larder::memcache
