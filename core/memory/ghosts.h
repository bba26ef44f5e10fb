// core/memory/ghosts.h — which keys were evicted lately without having been read: when one comes
// back, it was worth more than it seemed.
//
// A byte of hash for each place, and no order: a new ghost takes the place of an older one.  So one
// in 255 keys is mistaken for a ghost, which costs little.  Nothing else depends on it, and a
// restart forgets it.
//
// Owner: Store::Impl.  Threads: any.  Memory: fixed, a 512th of -m; touched as it fills.
// Source: J. Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/memory/lazy_array.h"

namespace larder {

class Ghosts {
 public:
  static constexpr uint64_t kMemoryPerGhost = 512;

  // Throws std::bad_alloc when there is no address space.
  explicit Ghosts(uint64_t memory_bytes)
      : count_(std::clamp<uint64_t>(memory_bytes / kMemoryPerGhost, 1, uint64_t{1} << 32)),
        marks_(count_) {}

  void Add(uint64_t hash) { Place(hash).store(Mark(hash), std::memory_order_relaxed); }
  // Whether the key is one; then it is none any more.
  [[nodiscard]] bool Take(uint64_t hash) {
    std::atomic<uint8_t>& place = Place(hash);
    if (place.load(std::memory_order_relaxed) != Mark(hash)) return false;
    place.store(0, std::memory_order_relaxed);
    return true;
  }
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&Place(hash)); }
  [[nodiscard]] uint64_t bytes() const { return count_; }

 private:
  static_assert(sizeof(std::atomic<uint8_t>) == 1);

  // By the upper bits of the hash; the stripe and the bucket are chosen by the lower ones.
  [[nodiscard]] std::atomic<uint8_t>& Place(uint64_t hash) const {
    return marks_[(hash >> 32) * count_ >> 32];
  }
  static uint8_t Mark(uint64_t hash) {
    return static_cast<uint8_t>(std::max<uint64_t>(hash & 0xFF, 1));
  }

  const uint64_t count_;
  LazyArray<std::atomic<uint8_t>> marks_;  // zero: nobody
};

}  // namespace larder
