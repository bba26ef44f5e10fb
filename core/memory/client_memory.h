// core/memory/client_memory.h — what clients take, so that one limit covers it and the items.
//
// Owner: PagePool.  Threads: any; each figure is whole, together they are no snapshot.
// Three figures.  Every connection costs something: that is charged to the limit, and the cache
// gives way by as much.  What clients hold that cannot go on (replies they do not read, requests
// they do not finish) is charged as well, and must besides not grow over a share of the limit:
// whoever holds it drops clients then.  Large values that such replies keep from being evicted lie
// in the cache's own pages, so they count for that share only.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace larder {

class ClientMemory {
 public:
  // Clients that cannot go on hold at most one part in so many of the limit, or kLeastStuckBytes.
  static constexpr uint64_t kStuckShare = 4;
  static constexpr uint64_t kLeastStuckBytes = uint64_t{8} << 20;

  // By the difference; two's complement takes the negative ones.
  void AddConnections(int64_t bytes) { Add(connections_, bytes); }
  void AddStuck(int64_t bytes) { Add(stuck_, bytes); }
  void AddPinned(int64_t bytes) { Add(pinned_, bytes); }
  void CountDropped() { dropped_.fetch_add(1, std::memory_order_relaxed); }
  void SetLimit(uint64_t limit_bytes) {
    stuck_limit_.store(std::max(kLeastStuckBytes, limit_bytes / kStuckShare),
                       std::memory_order_relaxed);
  }

  [[nodiscard]] uint64_t connections() const { return Get(connections_); }
  [[nodiscard]] uint64_t stuck() const { return Get(stuck_); }
  [[nodiscard]] uint64_t pinned() const { return Get(pinned_); }
  // Clients dropped because all of them held too much.
  [[nodiscard]] uint64_t dropped() const { return Get(dropped_); }
  [[nodiscard]] uint64_t stuck_limit() const { return Get(stuck_limit_); }
  // What the cache has to give way by.
  [[nodiscard]] uint64_t charge() const { return connections() + stuck(); }
  [[nodiscard]] bool is_over() const { return stuck() + pinned() > stuck_limit(); }
  // By as much again: patience has to be short.
  [[nodiscard]] bool is_far_over() const { return stuck() + pinned() > 2 * stuck_limit(); }

 private:
  static void Add(std::atomic<uint64_t>& figure, int64_t bytes) {
    figure.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed);
  }
  static uint64_t Get(const std::atomic<uint64_t>& figure) {
    return figure.load(std::memory_order_relaxed);
  }

  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> stuck_{0};
  std::atomic<uint64_t> pinned_{0};
  std::atomic<uint64_t> dropped_{0};
  std::atomic<uint64_t> stuck_limit_{UINT64_MAX};
};

}  // namespace larder
