// server/datagram_frame.h — memcached's frame around a UDP request or reply, blind to sockets.
//
//   byte 0          2          4          6          8
//        +----------+----------+----------+----------+---------
//        | request  | sequence | total    | reserved | payload
//        +----------+----------+----------+----------+---------
//
// All numbers big-endian.  A request is one datagram; a reply is as many as it takes, numbered from
// 0, each with the request's id.  Source: memcached's doc/protocol.txt, "UDP protocol".

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace larder::server {

inline constexpr size_t kDatagramHeaderBytes = 8;
// Of a reply, header included: fits one Ethernet frame.
inline constexpr size_t kDatagramBytes = 1400;
inline constexpr size_t kDatagramPayloadBytes = kDatagramBytes - kDatagramHeaderBytes;

struct DatagramRequest {
  uint16_t id = 0;
  std::string_view payload;  // not empty
};

// Null: not a request, to be met with silence (too short, one of several, or no payload).
[[nodiscard]] std::optional<DatagramRequest> ReadDatagram(std::string_view bytes);

using DatagramHeader = std::array<char, kDatagramHeaderBytes>;
[[nodiscard]] DatagramHeader MakeDatagramHeader(uint16_t id, uint16_t sequence, uint16_t total);

}  // namespace larder::server
