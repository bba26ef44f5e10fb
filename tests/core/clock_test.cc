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

TEST_CASE("the system clock can start later", "[core][clock]") {
  const SystemClock clock(5'000'000);
  CHECK(clock.NowMs() >= 5'000'000);
  CHECK(clock.NowMs() < 5'060'000);
}

TEST_CASE("a paused clock stands still, can be moved, and goes on from there", "[core][clock]") {
  SystemClock clock;
  clock.Pause();
  const TimeMs paused = clock.NowMs();
  const int64_t wall = clock.WallMs();
  const SystemClock other;
  while (other.NowMs() < kClockStartMs + 3) {
  }
  CHECK(clock.NowMs() == paused);
  clock.Pause();  // once more changes nothing
  CHECK(clock.NowMs() == paused);
  clock.Shift(10'000);
  CHECK(clock.NowMs() == paused + 10'000);
  CHECK(clock.WallMs() == wall + 10'000);
  clock.Resume();
  clock.Resume();
  CHECK(clock.NowMs() >= paused + 10'000);
  CHECK(clock.NowMs() < paused + 70'000);
  CHECK(clock.WallMs() >= wall + 10'000 - 1);
}

TEST_CASE("both times move together and never below the start", "[core][clock]") {
  SystemClock clock;
  const SystemClock still;
  clock.Shift(3'600'000);
  CHECK(clock.NowMs() >= kClockStartMs + 3'600'000);
  CHECK(clock.WallSeconds() >= still.WallSeconds() + 3600 - 1);
  clock.Shift(int64_t{-3'600'000} * 5);
  CHECK(clock.NowMs() >= kClockStartMs);
  CHECK(clock.NowMs() < kClockStartMs + 60'000);
  clock.Shift(INT64_MIN);
  CHECK(clock.NowMs() >= kClockStartMs);
  clock.Shift(INT64_MAX);
  CHECK(clock.NowMs() >= kClockStartMs + 1'000'000);
  CHECK(clock.NowMs() < UINT64_MAX / 2);
}

}  // namespace
}  // namespace larder
