#include "protocol/reply_buffer.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/protocol/fixture.h"

using namespace larder;
using test::World;

namespace {

// What Gather shows, `entries` at a time, each time dropping `step` bytes of it.
std::string Drain(ReplyBuffer& out, size_t entries, size_t step) {
  std::string sent;
  std::vector<iovec> iov(entries);
  while (!out.empty()) {
    const size_t n = out.Gather(iov);
    if (n == 0 || n > entries) FAIL("gathered " << n);
    std::string shown;
    for (size_t i = 0; i < n; ++i) {
      shown.append(static_cast<const char*>(iov[i].iov_base), iov[i].iov_len);
    }
    if (shown.size() > out.pending_bytes()) FAIL("shows more than there is");
    const size_t dropped = std::min(step, shown.size());
    sent.append(shown, 0, dropped);
    out.Drop(dropped);
  }
  return sent;
}

std::string LargeValue() {
  std::string value;
  for (size_t i = 0; value.size() < 150'000; ++i) value += std::to_string(i) + ",";
  return value;
}

// A large value under the key "large", through the same door as a client's.
void StoreLarge(World& world, const std::string& value) {
  test::Client client(world);
  REQUIRE(client.Ask("set large 0 0 " + std::to_string(value.size()) + "\r\n" + value + "\r\n") ==
          "STORED\r\n");
}

Pin PinOf(World& world) {
  Pin pin;
  world.store.Read(world.context, world.store.MakeKey("large"), {},
                   [&](const ValueView& item) { pin = item.MakePin(); });
  return pin;
}

}  // namespace

TEST_CASE("a reply is sent in the order in which it was written, however it is cut",
          "[protocol][reply]") {
  World world;
  const std::string value = LargeValue();
  StoreLarge(world, value);
  const std::string owned(70'000, 'o');
  ReplyBuffer out;
  out.Append("one ");
  out.Append("two ");
  out.AppendPin(PinOf(world));
  out.Append(" three ");
  out.AppendOwned(owned);
  out.Append(" four");
  const std::string all = "one two " + value + " three " + owned + " four";
  CHECK(out.pending_bytes() == all.size());
  CHECK(out.ToString() == all);
  const size_t entries = GENERATE(as<size_t>{}, 1, 2, 3, 64);
  const size_t step = GENERATE(as<size_t>{}, 997, 65'536, 1'000'000);
  CAPTURE(entries, step);
  CHECK(Drain(out, entries, step) == all);
  CHECK(out.empty());
  CHECK(out.HasRoom());
}

TEST_CASE("dropping any number of bytes leaves the rest", "[protocol][reply]") {
  const std::string all = "abc" + std::string("OWNED") + "def";
  for (size_t n = 0; n <= all.size(); ++n) {
    ReplyBuffer out;
    out.Append("abc");
    out.AppendOwned("OWNED");
    out.Append("def");
    out.Drop(n);
    CHECK(out.ToString() == all.substr(n));
    CHECK(out.pending_bytes() == all.size() - n);
    out.Append("more");
    CHECK(out.ToString() == all.substr(n) + "more");
  }
}

TEST_CASE("the buffer says when it is full, and room comes back with sending",
          "[protocol][reply]") {
  ReplyBuffer out;
  const std::string reply(ReplyBuffer::kMaxReply, 'x');
  SECTION("of bytes") {
    size_t n = 0;
    for (; out.HasRoom(); ++n) out.Append(reply);
    CHECK(n * reply.size() <= ReplyBuffer::kBlockBytes);
    CHECK(n >= 3);
    out.Drop(out.pending_bytes() - 1);
    CHECK_FALSE(out.HasRoom());
    out.Drop(1);
    CHECK(out.HasRoom());
  }
  SECTION("of segments") {
    for (size_t n = 0; out.HasRoom(); ++n) {
      REQUIRE(n < ReplyBuffer::kMaxSegments);
      out.AppendOwned("x");
      out.Append("y");
    }
    out.Clear();
    CHECK(out.HasRoom());
    CHECK(out.empty());
  }
  SECTION("an empty text is no segment") {
    out.AppendOwned("");
    out.Append("");
    out.Commit(0);
    CHECK(out.empty());
  }
}

TEST_CASE("a pinned value is sent as it was, whatever happens to its key", "[protocol][reply]") {
  World world;
  const std::string value = LargeValue();
  StoreLarge(world, value);
  ReplyBuffer out;
  out.AppendPin(PinOf(world));
  out.Drop(1000);
  CHECK(world.store.Delete(world.context, {.key = world.store.MakeKey("large")}) ==
        DeleteResult::kDeleted);
  StoreLarge(world, std::string(150'000, 'z'));
  CHECK(out.ToString() == value.substr(1000));
}

TEST_CASE("a stuck reply keeps what is unsent and gives up an empty block", "[protocol][reply]") {
  World world;
  const std::string value = LargeValue();
  StoreLarge(world, value);
  const size_t sent = GENERATE(as<size_t>{}, 0, 3, 5, 100, 150'005);
  ReplyBuffer out;
  out.Append("hello");
  out.AppendPin(PinOf(world));
  out.Append("there");
  out.AppendOwned("friend");
  const std::string whole = out.ToString();
  out.Drop(sent);
  const size_t before = out.memory_bytes();
  out.MarkStuck();
  CHECK(out.memory_bytes() < before - 60'000);
  CHECK_FALSE(out.is_whole());
  CHECK_FALSE(out.HasRoom());
  CHECK(out.pending_bytes() == whole.size() - sent);
  CHECK(out.ToString() == whole.substr(sent));
  CHECK(Drain(out, 3, 10'000) == whole.substr(sent));
}

TEST_CASE("a stuck reply that fills its block stays as it is", "[protocol][reply]") {
  ReplyBuffer out;
  while (out.HasRoom()) out.Append(std::string(5000, 'x'));
  const std::string whole = out.ToString();
  out.MarkStuck();
  CHECK(out.is_whole());
  CHECK(out.ToString() == whole);
}

TEST_CASE("values that stuck replies pin are counted once, until the last reply is gone",
          "[protocol][reply]") {
  World world;
  StoreLarge(world, LargeValue());
  const ClientMemory& memory = world.store.client_memory();
  ReplyBuffer one;
  ReplyBuffer two;
  one.AppendPin(PinOf(world));
  one.AppendPin(PinOf(world));
  two.AppendPin(PinOf(world));
  CHECK(memory.pinned() == 0);
  one.MarkStuck();
  one.MarkStuck();
  two.MarkStuck();
  CHECK(memory.pinned() == LargeValue().size());
  world.store.Delete(world.context, {.key = world.store.MakeKey("large")});
  one.Clear();
  CHECK(memory.pinned() == LargeValue().size());
  two.Clear();
  CHECK(memory.pinned() == 0);
}

TEST_CASE("no more than a mebibyte of values is pinned before the first is sent",
          "[protocol][reply]") {
  World world;
  StoreLarge(world, LargeValue());
  ReplyBuffer out;
  while (out.HasRoom()) out.AppendPin(PinOf(world));
  CHECK(out.pinned_bytes() >= ReplyBuffer::kMaxPinnedBytes);
  CHECK(out.pinned_bytes() < ReplyBuffer::kMaxPinnedBytes + LargeValue().size());
}
