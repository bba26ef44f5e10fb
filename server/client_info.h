// server/client_info.h — what is known of a client before it has said anything, and which language
// its first byte chooses.
//
// Threads: any.

#pragma once

#include <cstdint>
#include <string_view>

#include "server/tls_options.h"

namespace larder::server {

// What a listener speaks: -B, or proto[...] in front of its address.
enum class BindingProtocol : uint8_t { kAuto, kAscii, kBinary };

enum class Transport : uint8_t { kTcp, kUnix, kTls, kUdp };

// What connections need to know of the listening socket they came by.
struct ListenerTraits {
  BindingProtocol protocol = BindingProtocol::kAuto;
  Transport transport = Transport::kTcp;
  PeerCheck peer_check = PeerCheck::kNone;  // with kTls
};

struct ClientInfo {
  int fd = -1;
  uint16_t listener = 0;  // its index
  BindingProtocol protocol = BindingProtocol::kAuto;
  Transport transport = Transport::kTcp;
};

enum class Dialect : uint8_t { kText, kBinary, kNone };

// The first byte of every request of memcached's binary protocol; no text command begins with it.
inline constexpr char kBinaryMagic = '\x80';

// The dialect of a client that began with `first_bytes`; kNone: it may not speak like that.
// REQUIRES: first_bytes is not empty.
[[nodiscard]] inline Dialect ChooseDialect(BindingProtocol protocol, std::string_view first_bytes) {
  const bool is_binary = first_bytes.front() == kBinaryMagic;
  switch (protocol) {
    case BindingProtocol::kAuto:
      return is_binary ? Dialect::kBinary : Dialect::kText;
    case BindingProtocol::kAscii:
      return Dialect::kText;
    case BindingProtocol::kBinary:
      return is_binary ? Dialect::kBinary : Dialect::kNone;
  }
  return Dialect::kNone;
}

}  // namespace larder::server
