#include "core/base/clock.h"

#include <algorithm>
#include <ctime>

namespace larder {
namespace {

uint64_t Milliseconds(clockid_t which) {
  timespec t{};
  clock_gettime(which, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

}  // namespace

SystemClock::SystemClock(TimeMs start_ms) : start_ms_(Milliseconds(CLOCK_MONOTONIC) - start_ms) {}

TimeMs SystemClock::NowMs() const {
  if (const TimeMs paused = paused_at_.load(std::memory_order_acquire)) return paused;
  const auto machine = static_cast<int64_t>(Milliseconds(CLOCK_MONOTONIC) - start_ms_);
  return static_cast<TimeMs>(machine + shift_ms_.load(std::memory_order_relaxed));
}

int64_t SystemClock::WallMs() const {
  if (paused_at_.load(std::memory_order_acquire) != 0) {
    return paused_wall_.load(std::memory_order_relaxed);
  }
  const auto machine = static_cast<int64_t>(Milliseconds(CLOCK_REALTIME));
  return machine + shift_ms_.load(std::memory_order_relaxed);
}

void SystemClock::Shift(int64_t ms) {
  const MutexLock lock(mutex_);
  const int64_t back = static_cast<int64_t>(kClockStartMs) - static_cast<int64_t>(NowMs());
  ms = std::clamp(ms, std::min(back, int64_t{0}), kFurthestShiftMs);
  shift_ms_.fetch_add(ms, std::memory_order_relaxed);
  if (const TimeMs paused = paused_at_.load(std::memory_order_relaxed)) {
    paused_wall_.fetch_add(ms, std::memory_order_relaxed);
    paused_at_.store(paused + static_cast<TimeMs>(ms), std::memory_order_release);
  }
}

void SystemClock::Pause() {
  const MutexLock lock(mutex_);
  if (paused_at_.load(std::memory_order_relaxed) != 0) return;
  paused_wall_.store(WallMs(), std::memory_order_relaxed);
  paused_at_.store(NowMs(), std::memory_order_release);
}

void SystemClock::Resume() {
  const MutexLock lock(mutex_);
  const TimeMs paused = paused_at_.load(std::memory_order_relaxed);
  if (paused == 0) return;
  const auto machine = static_cast<int64_t>(Milliseconds(CLOCK_MONOTONIC) - start_ms_);
  shift_ms_.store(static_cast<int64_t>(paused) - machine, std::memory_order_relaxed);
  paused_at_.store(0, std::memory_order_release);
}

}  // namespace larder
