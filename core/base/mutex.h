// core/base/mutex.h — the project's lock: four bytes, futex-backed, with its rank in its type.
//
// Threads: any.  A lock of rank r may be taken only while no lock of rank r or above is held, but
// for key stripes, several of which may be held when taken in stripe order (docs/THREADS.md). Debug
// builds check that on every Lock().
// Source: U. Drepper, "Futexes Are Tricky", 2011, mutex 3.  Header-only so that the sanitizers see
// it.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/base/thread_annotations.h"

#ifdef LARDER_COUNT_LOCKS
#include "core/base/lock_counts.h"
#define LARDER_COUNT_LOCK(what) ++lock_counts.what[static_cast<size_t>(kRank)]
#define LARDER_TIME_LOCK(what) lock_counts.what(static_cast<size_t>(kRank), this)
#else
#define LARDER_COUNT_LOCK(what) static_cast<void>(0)
#define LARDER_TIME_LOCK(what) static_cast<void>(0)
#endif

namespace larder {

// From the outermost to the innermost.
enum class LockRank : uint8_t {
  kRegistry = 0,
  kMover = 1,
  kStripe = 2,
  kClass = 3,
  kPool = 4,
  kLeaf = 5
};

#ifndef NDEBUG
inline thread_local uint32_t held_locks[6] = {};

inline void NoteLocked(LockRank rank) {
  const auto mine = static_cast<unsigned>(rank);
  for (unsigned r = mine; r < 6; ++r) {
    if (held_locks[r] == 0 || (r == mine && rank == LockRank::kStripe)) continue;
    std::fprintf(stderr, "lock rank %u taken while rank %u is held\n", mine, r);
    std::abort();
  }
  ++held_locks[mine];
}
inline void NoteUnlocked(LockRank rank) { --held_locks[static_cast<unsigned>(rank)]; }
#else
inline void NoteLocked(LockRank /*rank*/) {}
inline void NoteUnlocked(LockRank /*rank*/) {}
#endif

template <LockRank kRank>
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    NoteLocked(kRank);
    uint32_t expected = kFree;
    if (!state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) LockSlow();
    LARDER_TIME_LOCK(Taken);
  }

  // False, and no lock taken, when somebody holds it.  Exempt from the rank check: it cannot
  // deadlock.
  [[nodiscard]] bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    uint32_t expected = kFree;
    if (!state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) {
      LARDER_COUNT_LOCK(refused);
      return false;
    }
    LARDER_TIME_LOCK(Taken);
#ifndef NDEBUG
    ++held_locks[static_cast<unsigned>(kRank)];
#endif
    return true;
  }

  void Unlock() ABSL_UNLOCK_FUNCTION() {
    NoteUnlocked(kRank);
    LARDER_TIME_LOCK(Released);
    if (state_.exchange(kFree, std::memory_order_release) == kContended) state_.notify_one();
  }

  // For the compiler's analysis, where it cannot see that the caller holds the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;
  static constexpr uint32_t kContended = 2;
  static constexpr int kSpins = 64;

  void LockSlow() {
    LARDER_COUNT_LOCK(contended);
    for (int i = 0; i < kSpins; ++i) {
      uint32_t expected = kFree;
      if (state_.load(std::memory_order_relaxed) == kFree &&
          state_.compare_exchange_weak(expected, kHeld, std::memory_order_acquire)) {
        return;
      }
    }
    while (state_.exchange(kContended, std::memory_order_acquire) != kFree) {
      LARDER_COUNT_LOCK(slept);
      state_.wait(kContended, std::memory_order_relaxed);
    }
  }

  std::atomic<uint32_t> state_{kFree};
};

// Holds `mutex` for a scope.
template <LockRank kRank>
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex<kRank>& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex<kRank>& mutex_;
};

}  // namespace larder

#undef LARDER_COUNT_LOCK
#undef LARDER_TIME_LOCK
