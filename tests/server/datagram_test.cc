// tests/server/datagram_test.cc — memcached's frame around UDP requests and replies.

#include <catch2/catch.hpp>
#include <string>

#include "server/datagram_frame.h"

namespace larder::server {
namespace {

std::string Datagram(uint16_t id, uint16_t sequence, uint16_t total, const std::string& payload) {
  const DatagramHeader header = MakeDatagramHeader(id, sequence, total);
  return std::string(header.data(), header.size()) + payload;
}

TEST_CASE("a datagram's header is four big-endian numbers", "[server][udp]") {
  const DatagramHeader header = MakeDatagramHeader(0x1234, 0x0203, 0xfffe);
  CHECK(std::string(header.data(), header.size()) ==
        std::string("\x12\x34\x02\x03\xff\xfe\x00\x00", 8));
  const std::string request = Datagram(0xabcd, 0, 1, "get a\r\n");
  const auto read = ReadDatagram(request);
  REQUIRE(read);
  CHECK(read->id == 0xabcd);
  CHECK(read->payload == "get a\r\n");
}

TEST_CASE("what is not a whole request in one datagram is not read", "[server][udp]") {
  const std::string request = Datagram(1, 0, 1, "x");
  for (size_t n = 0; n < request.size(); ++n) CHECK_FALSE(ReadDatagram(request.substr(0, n)));
  CHECK(ReadDatagram(request));
  CHECK_FALSE(ReadDatagram(Datagram(1, 0, 2, "get a\r\n")));
  CHECK_FALSE(ReadDatagram(Datagram(1, 1, 0, "get a\r\n")));
}

}  // namespace
}  // namespace larder::server
