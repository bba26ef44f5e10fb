#include "protocol/memcache/numbers.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace larder;
using namespace larder::memcache;

TEST_CASE("a number is digits and nothing else, and fits its type", "[protocol][numbers]") {
  CHECK(ParseUint64("0") == 0U);
  CHECK(ParseUint64("007") == 7U);
  CHECK(ParseUint64("18446744073709551615") == std::numeric_limits<uint64_t>::max());
  for (const auto* text : {"", "-1", "+1", " 1", "1 ", "1x", "0x1", "1.0", "18446744073709551616",
                           "00000000000000000000001", "\xd9\xa1"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseUint64(text));
    CHECK_FALSE(ParseUint32(text));
    CHECK_FALSE(ParseValueBytes(text));
  }
  CHECK_FALSE(ParseUint64(std::string_view("1\0", 2)));
  CHECK(ParseUint32("4294967295") == 4294967295U);
  CHECK_FALSE(ParseUint32("4294967296"));
}

TEST_CASE("a value's length leaves room for its line end in 31 bits", "[protocol][numbers]") {
  CHECK(ParseValueBytes("0") == 0U);
  CHECK(ParseValueBytes("2147483645") == 2147483645U);
  CHECK_FALSE(ParseValueBytes("2147483646"));
  CHECK_FALSE(ParseValueBytes("4294967295"));
  CHECK_FALSE(ParseValueBytes("99999999999"));
}

TEST_CASE("a decimal fraction is a number, however it is written", "[protocol][numbers]") {
  CHECK(ParseDecimal("1") == 1.0);
  CHECK(ParseDecimal(".5") == 0.5);
  CHECK(ParseDecimal("5.") == 5.0);
  CHECK(ParseDecimal("-.5") == -0.5);
  CHECK(ParseDecimal("+1e-1") == 0.1);
  for (const auto* text :
       {"", ".", "-", "-.", "+", "--1", "+-1", ".-1", "1x", "1e", "e1", "nan", "inf", "-inf",
        "0x10", "1e400", "1e-400", " 1", "0.0000000000000000000000000000001"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseDecimal(text));
  }
}

TEST_CASE("a signed number has 32 bits", "[protocol][numbers]") {
  CHECK(ParseInt32("-2147483648") == std::numeric_limits<int32_t>::min());
  CHECK(ParseInt32("2147483647") == std::numeric_limits<int32_t>::max());
  for (const auto* text : {"", "-", "--1", "+1", "2147483648", "-2147483649", "99999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseInt32(text));
  }
}

TEST_CASE("client flags have 32 bits", "[protocol][numbers]") {
  CHECK(ParseFlags("4294967295") == 4294967295U);
  CHECK(ParseFlags("+5") == 5U);
  for (const auto* text : {"", "+", "-1", "+-1", "4294967296", "99999999999999999999", "x"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseFlags(text));
  }
}

TEST_CASE("an exptime may have a sign and 64 bits", "[protocol][numbers]") {
  CHECK(ParseExptime("-1") == -1);
  CHECK(ParseExptime("+1") == 1);
  CHECK(ParseExptime("4102444800") == 4102444800);
  CHECK(ParseExptime("9223372036854775807") == std::numeric_limits<int64_t>::max());
  CHECK(ParseExptime("-9223372036854775808") == std::numeric_limits<int64_t>::min());
  for (const auto* text :
       {"", "-", "+", "--1", "-+1", "1-", "9223372036854775808", "-9223372036854775809", "1e3"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseExptime(text));
  }
}

TEST_CASE("an exptime is never, at once, from now on, or a time of day", "[protocol][numbers]") {
  ManualClock clock;
  const TimeMs now = clock.NowMs();
  const int64_t wall = clock.WallSeconds();
  CHECK(DeadlineOf(0, now, clock) == kNever);
  CHECK(DeadlineOf(-1, now, clock) == kAtOnce);
  CHECK(DeadlineOf(std::numeric_limits<int64_t>::min() + 1, now, clock) == kAtOnce);
  CHECK(DeadlineOf(1, now, clock) == now + 1000);
  CHECK(DeadlineOf(2592000, now, clock) == now + 2592000000);
  CHECK(DeadlineOf(2592001, now, clock) == kAtOnce);
  CHECK(DeadlineOf(wall, now, clock) == kAtOnce);
  CHECK(DeadlineOf(wall + 7, now, clock) == now + 7000);
  SECTION("after January 2038") {
    CHECK(DeadlineOf(4102444800, now, clock) ==
          now + static_cast<uint64_t>(4102444800 - wall) * 1000);
  }
  SECTION("the end of all numbers is far, and not in the past") {
    CHECK(DeadlineOf(std::numeric_limits<int64_t>::max(), now, clock) > now + (1ULL << 49));
  }
}
