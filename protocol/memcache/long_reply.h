// protocol/memcache/long_reply.h — a reply that is longer than a buffer: made while it is sent.
//
// Owner: a session.  Threads: its worker.

#pragma once

#include <cstdint>

#include "core/store.h"
#include "protocol/reply_buffer.h"

namespace larder::memcache {

class LongReply {
 public:
  enum class Progress : uint8_t {
    kDone,
    kOutputFull,  // go on when output was sent
    kLater,       // there was much to look at: go on in a few milliseconds, others wait
  };

  virtual ~LongReply() = default;
  // Appends what comes next, in well under a millisecond.
  virtual Progress GoOn(Store& store, OpContext& op, ReplyBuffer& out) = 0;
};

}  // namespace larder::memcache
