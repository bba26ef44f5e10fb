#include "protocol/memcache/framer.h"

#include <catch2/catch.hpp>
#include <string>

#include "protocol/memcache/replies.h"
#include "tests/protocol/fixture.h"

using namespace larder;
using namespace larder::memcache;

namespace {

Frame Framed(std::string_view input) {
  Frame frame;
  REQUIRE(ReadFrame(input, frame));
  return frame;
}

bool IsIncomplete(std::string_view input) {
  Frame frame;
  return !ReadFrame(input, frame);
}

}  // namespace

TEST_CASE("a frame takes one request and nothing of the next", "[protocol][framer]") {
  const Frame get = Framed("get a\r\nget b\r\n");
  CHECK(get.kind == FrameKind::kKeys);
  CHECK(get.bytes == 7);
  CHECK(get.key == "a");
  CHECK(get.single_key);

  const Frame two = Framed("get a  bc \nget b\r\n");
  CHECK(two.key == "a");
  CHECK_FALSE(two.single_key);
  CHECK(two.args == " a  bc \n");

  const Frame set = Framed("set a 1 -2 3 noreply\r\nabc\r\nset");
  CHECK(set.kind == FrameKind::kValue);
  CHECK(set.bytes == 27);
  CHECK(set.flags == 1);
  CHECK(set.exptime == -2);
  CHECK(set.value == "abc");
  CHECK(set.properly_ended);
  CHECK(set.noreply);
}

TEST_CASE("a request is incomplete up to its last byte", "[protocol][framer]") {
  const std::string_view whole = GENERATE("set a 0 0 3\r\nabc\r\n", "get a b c\r\n", "version\n",
                                          "cas a 0 0 0 7\r\n\r\n", "\n");
  CAPTURE(whole);
  for (size_t n = 0; n < whole.size(); ++n) CHECK(IsIncomplete(whole.substr(0, n)));
  CHECK(Framed(whole).bytes == whole.size());
}

TEST_CASE("a large value is left to the upload", "[protocol][framer]") {
  const Frame frame = Framed("set a 0 0 16385\r\nxyz");
  CHECK(frame.kind == FrameKind::kLargeValue);
  CHECK(frame.bytes == 17);
  CHECK(frame.value_bytes == 16385);
  CHECK(frame.ends_batch());
}

TEST_CASE("a large value is awaited before anything begins", "[protocol][framer]") {
  CHECK(IsIncomplete("set a 0 0 16385\r\n"));
  CHECK_FALSE(IsIncomplete("set a 0 0 16385\r\nx"));
}

TEST_CASE("a refused line says how much is to be skipped", "[protocol][framer]") {
  SECTION("nothing, when nobody knows") {
    const Frame frame = Framed("set a 0 0 x\r\n");
    CHECK(frame.kind == FrameKind::kRefused);
    CHECK(frame.value_bytes == 0);
    CHECK_FALSE(frame.ends_batch());
  }
  SECTION("the value and its line end, when it was said") {
    const Frame frame = Framed("set a 4294967296 0 2147483645\r\n");
    CHECK(frame.kind == FrameKind::kRefused);
    CHECK(frame.refusal == kBadFormat);
    CHECK(frame.value_bytes == 2147483647);
    CHECK(frame.ends_batch());
  }
}

TEST_CASE("a line that does not end is waited for, hung up on, or answered as it comes",
          "[protocol][framer]") {
  const std::string keys = "get " + test::Repeat("abcdefg ", 20'000);
  CHECK(IsIncomplete("get"));
  CHECK(IsIncomplete(keys.substr(0, Session::kMaxPending - 1)));
  CHECK(Framed(keys.substr(0, Session::kMaxPending)).kind == FrameKind::kOpenKeys);
  CHECK(Framed(keys + "\r\n").kind == FrameKind::kOpenKeys);  // no matter how much is there
  CHECK(Framed("  " + keys).kind == FrameKind::kLostLine);

  const std::string other(kMaxOpenLine, 'x');
  CHECK(IsIncomplete(other));
  CHECK(Framed(other + "x").kind == FrameKind::kClose);
  CHECK(Framed("set " + std::string(kMaxOpenLine, 'x') + "\r\n").kind == FrameKind::kClose);
}

TEST_CASE("the keys of a line are found one by one", "[protocol][framer]") {
  size_t at = 0;
  std::string_view key;
  SECTION("up to the line end") {
    const std::string_view text = " a  bc\r\nget";
    CHECK(NextKey(text, at, key) == KeyStep::kKey);
    CHECK(key == "a");
    CHECK(NextKey(text, at, key) == KeyStep::kKey);
    CHECK(key == "bc");
    CHECK(NextKey(text, at, key) == KeyStep::kLineEnd);
    CHECK(at == 6);
  }
  SECTION("a key that goes on is not a key yet") {
    CHECK(NextKey("abc", at, key) == KeyStep::kIncomplete);
    CHECK(NextKey("abc\r", at, key) == KeyStep::kIncomplete);
    CHECK(NextKey("", at, key) == KeyStep::kIncomplete);
    CHECK(NextKey("\r", at, key) == KeyStep::kIncomplete);
    CHECK(at == 0);
  }
  SECTION("250 bytes, however they end") {
    const std::string longest(250, 'k');
    CHECK(NextKey(longest, at, key) == KeyStep::kIncomplete);
    CHECK(NextKey(longest + "\r", at, key) == KeyStep::kIncomplete);
    CHECK(NextKey(longest + "\r\n", at, key) == KeyStep::kKey);
    at = 0;
    CHECK(NextKey(longest + " ", at, key) == KeyStep::kKey);
    at = 0;
    CHECK(NextKey(longest + "k", at, key) == KeyStep::kTooLong);
    CHECK(NextKey(longest + "k\n", at, key) == KeyStep::kTooLong);
    CHECK(NextKey(longest + "\rk", at, key) == KeyStep::kTooLong);
    CHECK(at == 0);
  }
}
