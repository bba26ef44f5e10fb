#include "core/base/clock.h"

#include <catch2/catch.hpp>

namespace larder {
namespace {

TEST_CASE("a manual clock stands still until it is moved", "[core][clock]") {
  ManualClock clock;
  CHECK(clock.NowMs() == kClockStartMs);
  clock.Advance(1500);
  CHECK(clock.NowMs() == kClockStartMs + 1500);
}

TEST_CASE("the system clock starts at kClockStartMs and never goes back", "[core][clock]") {
  SystemClock clock;
  const TimeMs first = clock.NowMs();
  CHECK(first >= kClockStartMs);
  CHECK(first < kClockStartMs + 60'000);
  CHECK(clock.NowMs() >= first);
}

}  // namespace
}  // namespace larder
