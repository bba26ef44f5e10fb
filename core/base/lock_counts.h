// core/base/lock_counts.h — what a thread's locks cost it: how often they were taken, found taken,
// and how long held; only in builds that count (preset "counts").
//
// Threads: each has its own.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace larder {

inline constexpr size_t kLockRanks = 6;

struct LockCounts {
  static constexpr uint64_t kSampleOneIn = 32;
  static constexpr int64_t kPreemptedNs = 10'000;  // held for longer: the thread had no core

  // By rank.
  std::array<uint64_t, kLockRanks> taken{};
  std::array<uint64_t, kLockRanks> contended{};  // by Lock(): somebody held it
  std::array<uint64_t, kLockRanks> refused{};    // TryLock() was false
  std::array<uint64_t, kLockRanks> slept{};      // waits in the kernel
  std::array<uint64_t, kLockRanks> samples{};
  std::array<uint64_t, kLockRanks> held_ns{};  // of the samples, and of looking at the clock

  std::array<const void*, kLockRanks> sampled{};  // the lock being timed, and since when
  std::array<std::chrono::steady_clock::time_point, kLockRanks> since{};

  void Taken(size_t rank, const void* lock) {
    if (++taken[rank] % kSampleOneIn != 0) return;
    sampled[rank] = lock;
    since[rank] = std::chrono::steady_clock::now();
  }
  void Released(size_t rank, const void* lock) {
    if (sampled[rank] != lock) return;
    const std::chrono::nanoseconds held = std::chrono::steady_clock::now() - since[rank];
    sampled[rank] = nullptr;
    if (held.count() > kPreemptedNs) return;
    ++samples[rank];
    held_ns[rank] += static_cast<uint64_t>(held.count());
  }
};

inline thread_local LockCounts lock_counts;

}  // namespace larder
