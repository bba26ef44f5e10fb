#include "core/base/clock.h"

#include <ctime>

namespace larder {
namespace {

uint64_t MonotonicMs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

}  // namespace

SystemClock::SystemClock() : start_ms_(MonotonicMs()) {}

TimeMs SystemClock::NowMs() const { return MonotonicMs() - start_ms_ + kClockStartMs; }

int64_t SystemClock::WallSeconds() const { return std::time(nullptr); }

}  // namespace larder
