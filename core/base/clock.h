// core/base/clock.h — the two times there are: a monotonic one for lifetimes, the wall's at the
// border.
//
// Threads: any.  Every time inside the engine is in milliseconds of Clock::NowMs().

#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>

#include "core/base/mutex.h"

namespace larder {

// Milliseconds on the store's clock; 0 is never a moment, so it can mean "none".
using TimeMs = uint64_t;

// Where the store's clock starts: two seconds in, so that "one second ago" exists at once.
inline constexpr TimeMs kClockStartMs = 2000;

// From `then` to `now`, in their unit; 0 when the clock was moved back in between.
template <std::unsigned_integral Time>
constexpr Time Elapsed(Time then, Time now) {
  return now > then ? now - then : 0;
}

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic, from kClockStartMs or later at construction.
  [[nodiscard]] virtual TimeMs NowMs() const = 0;
  // Unix time in milliseconds, now.
  [[nodiscard]] virtual int64_t WallMs() const = 0;
  [[nodiscard]] int64_t WallSeconds() const { return WallMs() / 1000; }
};

// The machine's clocks, which can be moved and stopped so that what depends on time can be tested
// from outside.  Both times move together.  Threads: any; Shift, Pause and Resume take turns.
class SystemClock final : public Clock {
 public:
  static constexpr int64_t kFurthestShiftMs = int64_t{10} * 365 * 24 * 3600 * 1000;

  // NowMs() begins at `start_ms`, of kClockStartMs or more.
  explicit SystemClock(TimeMs start_ms = kClockStartMs);
  [[nodiscard]] TimeMs NowMs() const override;
  [[nodiscard]] int64_t WallMs() const override;

  // Moves the clock by `ms`: back no further than to kClockStartMs, ahead no more than ten years.
  void Shift(int64_t ms) ABSL_LOCKS_EXCLUDED(mutex_);
  // The clock stands still (but for Shift) until Resume, and goes on from there.
  void Pause() ABSL_LOCKS_EXCLUDED(mutex_);
  void Resume() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const uint64_t start_ms_;              // of the machine's clock, less what NowMs began at
  std::atomic<int64_t> shift_ms_{0};     // what both times are ahead of the machine's
  std::atomic<TimeMs> paused_at_{0};     // what NowMs says; 0: the clock runs
  std::atomic<int64_t> paused_wall_{0};  // what WallMs says then
  Mutex<LockRank::kLeaf> mutex_;         // changes
};

// Stands still until a test moves it; any thread may read it meanwhile.
class ManualClock final : public Clock {
 public:
  static constexpr int64_t kWallStartMs = 1'700'000'000'000;

  explicit ManualClock(int64_t wall_start_ms = kWallStartMs) : wall_start_ms_(wall_start_ms) {}
  [[nodiscard]] TimeMs NowMs() const override { return now_ms_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t WallMs() const override {
    return wall_start_ms_ + static_cast<int64_t>(NowMs());
  }
  void Advance(uint64_t ms) { now_ms_.fetch_add(ms, std::memory_order_relaxed); }
  void MoveBack(uint64_t ms) { now_ms_.fetch_sub(ms, std::memory_order_relaxed); }

 private:
  const int64_t wall_start_ms_;
  std::atomic<TimeMs> now_ms_{kClockStartMs};
};

}  // namespace larder
