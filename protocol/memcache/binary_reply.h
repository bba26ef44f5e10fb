// protocol/memcache/binary_reply.h — one reply packet, put together in place.
//
// Owner: a handler, for the time of one reply.  Nothing else may write to the buffer meanwhile.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "protocol/big_endian.h"
#include "protocol/memcache/binary_frame.h"
#include "protocol/reply_buffer.h"

namespace larder::memcache {

// Extras, then key, then value, then Done().
class PacketWriter {
 public:
  // REQUIRES: out.HasRoom().
  PacketWriter(ReplyBuffer& out, uint8_t opcode, uint32_t opaque)
      : out_(out), start_(out.Reserve()), at_(start_ + kBinaryHeaderBytes) {
    header_.opcode = opcode;
    header_.opaque = opaque;
  }
  PacketWriter(ReplyBuffer& out, const BinaryFrame& frame)
      : PacketWriter(out, frame.opcode, frame.opaque) {}

  void Flags(uint32_t flags) {
    StoreBig32(Take(sizeof(flags)), flags);
    header_.extras_bytes = sizeof(flags);
  }
  void KeyBytes(std::string_view key) {
    Text(key);
    header_.key_bytes = static_cast<uint16_t>(key.size());
  }
  void Text(std::string_view text) {
    if (!text.empty()) std::memcpy(Take(text.size()), text.data(), text.size());
  }
  void Number(uint64_t value) { StoreBig64(Take(sizeof(value)), value); }
  // `more`: bytes of the body that are sent behind this.
  void Done(Status status, uint64_t cas = 0, size_t more = 0) {
    const auto written = static_cast<size_t>(at_ - start_);
    header_.status = status;
    header_.cas = cas;
    header_.body_bytes = static_cast<uint32_t>(written - kBinaryHeaderBytes + more);
    WriteReplyHeader(header_, start_);
    out_.Commit(written);
  }

 private:
  char* Take(size_t bytes) {
    // Nothing that a client sends can get here: keys and values were measured before.
    if (bytes > ReplyBuffer::kMaxReply - static_cast<size_t>(at_ - start_)) std::abort();
    char* const place = at_;
    at_ += bytes;
    return place;
  }

  ReplyBuffer& out_;
  char* start_;
  char* at_;
  ReplyHeader header_;
};

// A reply without extras or key; failures say their text.  REQUIRES: out.HasRoom().
inline void Reply(ReplyBuffer& out, uint8_t opcode, uint32_t opaque, Status status,
                  uint64_t cas = 0) {
  PacketWriter packet(out, opcode, opaque);
  packet.Text(StatusText(status));
  packet.Done(status, cas);
}
inline void Reply(ReplyBuffer& out, const BinaryFrame& frame, Status status, uint64_t cas = 0) {
  Reply(out, frame.opcode, frame.opaque, status, cas);
}

}  // namespace larder::memcache
