// core/base/clock.h — the two times there are: a monotonic one for lifetimes, the wall's at the
// border.
//
// Threads: any.  Every time inside the engine is in milliseconds of Clock::NowMs().

#pragma once

#include <atomic>
#include <cstdint>

namespace larder {

// Milliseconds on the store's clock; 0 is never a moment, so it can mean "none".
using TimeMs = uint64_t;

// Where the store's clock starts: two seconds in, so that "one second ago" exists at once.
inline constexpr TimeMs kClockStartMs = 2000;

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic, from kClockStartMs at construction.
  [[nodiscard]] virtual TimeMs NowMs() const = 0;
  // Unix seconds of the wall clock, now.
  [[nodiscard]] virtual int64_t WallSeconds() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  SystemClock();
  [[nodiscard]] TimeMs NowMs() const override;
  [[nodiscard]] int64_t WallSeconds() const override;

 private:
  uint64_t start_ms_;
};

// Stands still until a test moves it; any thread may read it meanwhile.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] TimeMs NowMs() const override { return now_ms_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t WallSeconds() const override {
    return kWallStart + static_cast<int64_t>(NowMs() / 1000);
  }
  void Advance(uint64_t ms) { now_ms_.fetch_add(ms, std::memory_order_relaxed); }

 private:
  static constexpr int64_t kWallStart = 1'700'000'000;
  std::atomic<TimeMs> now_ms_{kClockStartMs};
};

}  // namespace larder
