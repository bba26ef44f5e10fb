// Published holes of memcached's binary protocol, a class a test.

#include <catch2/catch.hpp>
#include <string>

#include "tests/protocol/binary.h"
#include "tests/protocol/fixture.h"

using namespace larder;
using test::Header;
using test::Request;
using test::Show;
using test::World;

namespace {

constexpr auto kBinary = test::Client::Dialect::kBinary;
constexpr size_t kAll = std::string_view::npos;

const Request kSet{0x01, "k", "value", test::StoreExtras(0, 0)};
const Request kGet{0x00, "k"};

}  // namespace

// CVE-2016-8704: append and prepend computed a value's length from the key's and the body's.
TEST_CASE("no sizes of append and prepend make a length wrap", "[binary][cve]") {
  for (const int opcode : {0x0e, 0x0f, 0x19, 0x1a}) {
    World world;
    test::Client setter(world, kAll, kBinary);
    CHECK(Show(setter.Ask(kSet.Bytes())) == "01:0\n");
    for (const uint32_t body : {0U, 1U, 249U, 0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xffffffffU}) {
      test::Client client(world, kAll, kBinary);
      const std::string junk(2000, 'A');
      const std::string answer =
          client.Ask(Header(static_cast<uint8_t>(opcode), 250, 0, body) + junk);
      CHECK(client.closed());
      CHECK(test::Answers(answer).size() == 1);
    }
    CHECK(Show(setter.Ask(kGet.Bytes())) == "00:0 e=00000000 value\n");
    world.store.CheckInvariants();
  }
}

// CVE-2016-8705: the same for set, add and replace, whose value's length could become negative.
TEST_CASE("no sizes of an update make a length negative", "[binary][cve]") {
  for (const int opcode : {0x01, 0x02, 0x03, 0x11, 0x12, 0x13}) {
    World world;
    for (const uint32_t body :
         {0U, 1U, 8U, 0x40000001U, 0x7ffffff0U, 0x80000000U, 0xffffffd0U, 0xffffffffU}) {
      test::Client client(world, kAll, kBinary);
      const std::string junk(2000, 'A');
      const std::string answer =
          client.Ask(Header(static_cast<uint8_t>(opcode), 1, 8, body) + junk);
      CHECK(client.closed());
      CHECK(test::Answers(answer).size() == 1);
    }
    world.store.CheckInvariants();
    CHECK(world.store.Info().items == 0);
  }
}

// CVE-2016-8706: the same for SASL, whose data is read before anybody is known.
TEST_CASE("no sizes of a SASL message make a length wrap", "[binary][cve]") {
  for (const int opcode : {0x20, 0x21, 0x22}) {
    World world;
    for (const uint32_t body : {0U, 31U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
      test::Client client(world, kAll, kBinary);
      const std::string junk(2000, 'A');
      const std::string answer =
          client.Ask(Header(static_cast<uint8_t>(opcode), 32, 0, body) + junk);
      CHECK(client.closed());
      CHECK(test::Answers(answer).size() == 1);
    }
  }
}

// CVE-2011-4971: a body of negative size was waited for, or crashed the reader.
TEST_CASE("a huge size that is only promised reserves nothing and holds nobody", "[binary][cve]") {
  World world;
  const uint64_t pages = world.store.Info().page_bytes;
  std::vector<std::unique_ptr<test::Client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<test::Client>(world, kAll, kBinary));
    CHECK(clients.back()->Ask(Header(0x01, 1, 8, 1U << 30) + std::string(8, '\0') + "k").empty());
    CHECK_FALSE(clients.back()->closed());
  }
  CHECK(world.store.Info().page_bytes == pages);
  test::Client other(world, kAll, kBinary);
  CHECK(Show(other.Ask(kSet.Bytes() + kGet.Bytes())) == "01:0\n00:0 e=00000000 value\n");
}

// CVE-2020-10931: extras larger than any were copied onto the stack.
TEST_CASE("extras have the size of their row, whatever the header says", "[binary][cve]") {
  for (int opcode = 0; opcode < 256; ++opcode) {
    World world;
    test::Client client(world, kAll, kBinary);
    const std::string answer =
        client.Ask(Header(static_cast<uint8_t>(opcode), 0, 255, 255) + std::string(255, 'A'));
    const auto replies = test::Answers(answer);
    REQUIRE(replies.size() == 1);
    CHECK(replies[0].status != memcache::Status::kOk);
  }
}

// CVE-2009-1255 and others: keys longer than any.
TEST_CASE("a key too long ends the connection before it is looked at", "[binary][cve]") {
  for (int opcode = 0; opcode < 256; ++opcode) {
    for (const uint16_t bytes : {uint16_t{251}, uint16_t{256}, uint16_t{0xffff}}) {
      World world;
      test::Client client(world, kAll, kBinary);
      const std::string answer = client.Ask(Header(static_cast<uint8_t>(opcode), bytes, 0, bytes));
      CHECK(client.closed());
      CHECK(test::Answers(answer).size() == 1);
    }
  }
}
