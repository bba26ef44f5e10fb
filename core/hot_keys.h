// core/hot_keys.h — which keys are asked for most: a sample of the requests, counted by a few
// counters a thread.
//
// Owner: Store.  Threads: a sketch is fed by one; anybody may merge or reset.
// Locks: a leaf a sketch, taken for one request in kOneIn and by who asks; never by the others.
// Source: A. Metwally, D. Agrawal, A. El Abbadi, "Efficient Computation of Frequent and Top-k
// Elements in Data Streams", ICDT 2005: Space-Saving.  A key that is met and has no counter takes
// over the smallest one and its count, which becomes the error that its own count may hold; any key
// that is more than one in kCounters of all samples has a counter for sure.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace larder {

class alignas(64) KeySketch {
 public:
  static constexpr size_t kCounters = 256;
  static constexpr uint32_t kOneIn = 512;  // on average

  struct Counter {
    std::string key;
    uint64_t hash = 0;
    uint64_t count = 0;  // samples, at most `error` too many
    uint64_t error = 0;
  };

  // By the feeding thread: one more sample of a key of up to 250 bytes.  About 0.1 µs.  Returns
  // after how many requests the next one is due: not always the same, so that no pattern of
  // requests can hide from it.
  uint32_t Count(std::string_view key, uint64_t hash) noexcept ABSL_LOCKS_EXCLUDED(mutex_);

  // By anybody.  Returns how many samples were taken in all.
  uint64_t CopyTo(std::vector<Counter>* counters) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Reset() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr size_t kMaxKey = 250;

  struct KeyBytes {
    uint8_t size = 0;
    std::array<char, kMaxKey> bytes;
  };

  [[nodiscard]] size_t FindCounter(uint64_t hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex<LockRank::kLeaf> mutex_;
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t samples_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t random_ = 0x9E3779B97F4A7C15;  // the feeding thread's
  // Apart from the keys: what is searched fits 40 cache lines.
  std::array<uint64_t, kCounters> hashes_ ABSL_GUARDED_BY(mutex_){};
  std::array<uint64_t, kCounters> counts_ ABSL_GUARDED_BY(mutex_){};
  std::array<uint64_t, kCounters> errors_ ABSL_GUARDED_BY(mutex_){};
  std::array<KeyBytes, kCounters> keys_ ABSL_GUARDED_BY(mutex_);
};

class HotKeys {
 public:
  struct Entry {
    std::string key;
    uint64_t requests = 0;  // estimated
    uint64_t error = 0;     // of them, at most so many are other keys'
  };
  struct Report {
    uint64_t samples = 0;
    double seconds = 0;  // in which they were taken
    std::vector<Entry> top;
  };

  explicit HotKeys(const Clock& clock) : clock_(clock), since_(clock.NowMs()) {}

  // A sketch for a thread of its own; lives as long as this object.  Throws bad_alloc.
  [[nodiscard]] KeySketch* NewSketch() ABSL_LOCKS_EXCLUDED(mutex_);
  // The `most` most wanted keys of all threads, the first one first.  Throws bad_alloc.
  [[nodiscard]] Report Top(size_t most) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Reset() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  [[nodiscard]] std::vector<KeySketch*> Sketches(TimeMs* since) const ABSL_LOCKS_EXCLUDED(mutex_);

  const Clock& clock_;
  mutable Mutex<LockRank::kLeaf> mutex_;
  std::vector<std::unique_ptr<KeySketch>> sketches_ ABSL_GUARDED_BY(mutex_);
  TimeMs since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace larder
