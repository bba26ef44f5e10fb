#include "protocol/memcache/stat_text.h"

#include "protocol/memcache/binary_frame.h"

namespace larder::memcache {

void StatText::AddPacket(std::string_view prefix, std::string_view name, std::string_view value) {
  std::array<char, kBinaryHeaderBytes> header;
  const size_t key_bytes = prefix.size() + name.size();
  WriteReplyHeader({.opcode = kOpStat,
                    .key_bytes = static_cast<uint16_t>(key_bytes),
                    .body_bytes = static_cast<uint32_t>(key_bytes + value.size()),
                    .opaque = opaque_},
                   header.data());
  text_.append(header.data(), header.size()).append(prefix).append(name).append(value);
}

}  // namespace larder::memcache
