// server/event_ring.h — the events of one thread on their way to the logger's.
//
// Owner: EventLog, one a thread.  Threads: one pushes, one (the logger's) takes; no locks.
// Memory: fixed.  What finds no room is dropped, and counted by its streams: the pusher never
// waits.
//
//   taken_                 pushed_
//     |                       |
//   --+--------+------+-------+---------------------
//     | Record | text | ...   |  free, in a circle
//   --+--------+------+-------+---------------------

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/events.h"

namespace larder::server {

class EventRing {
 public:
  struct Record {
    uint64_t number = 0;   // over all threads
    int64_t wall_us = 0;   // Unix time
    uint32_t streams = 0;  // those it belongs to
    uint32_t text_bytes = 0;
    EventData event{};
  };
  static_assert(std::is_trivially_copyable_v<Record>);
  // Of a text; the rest is cut off.
  static constexpr size_t kMaxText = 1024;
  static constexpr size_t kMinBytes = 4096;

  // At least kMinBytes, rounded up to a power of two.
  explicit EventRing(size_t bytes)
      : mask_(std::bit_ceil(std::max(bytes, kMinBytes)) - 1),
        bytes_(std::make_unique_for_overwrite<char[]>(mask_ + 1)) {}

  // The pusher's.  False: no room, and counted as dropped.
  bool Push(Record record, std::string_view text) noexcept {
    text = text.substr(0, kMaxText);
    record.text_bytes = static_cast<uint32_t>(text.size());
    const size_t pushed = pushed_.load(std::memory_order_relaxed);
    const size_t used = pushed - taken_.load(std::memory_order_acquire);
    if (mask_ + 1 - used < sizeof(record) + text.size()) {
      CountDropped(record.streams);
      return false;
    }
    Put(pushed, &record, sizeof(record));
    Put(pushed + sizeof(record), text.data(), text.size());
    pushed_.store(pushed + sizeof(record) + text.size(), std::memory_order_release);
    written_.store(written_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
  }

  // The taker's.  False: empty.
  bool Take(Record* record, std::string* text) {
    const size_t taken = taken_.load(std::memory_order_relaxed);
    if (taken == pushed_.load(std::memory_order_acquire)) return false;
    Get(taken, record, sizeof(*record));
    text->resize(record->text_bytes);
    Get(taken + sizeof(*record), text->data(), text->size());
    taken_.store(taken + sizeof(*record) + text->size(), std::memory_order_release);
    return true;
  }

  // By anybody.
  [[nodiscard]] uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  // Of them, those of a stream, named by the number of its bit.
  [[nodiscard]] uint64_t dropped_of(size_t bit) const {
    return dropped_of_[bit].load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_half_full() const {
    const size_t taken = taken_.load(std::memory_order_relaxed);  // first: never above the other
    return pushed_.load(std::memory_order_relaxed) - taken > mask_ / 2;
  }

 private:
  void Put(size_t at, const void* from, size_t n) {
    if (n == 0) return;
    const size_t first = std::min(n, mask_ + 1 - (at & mask_));
    std::memcpy(bytes_.get() + (at & mask_), from, first);
    if (first < n) std::memcpy(bytes_.get(), static_cast<const char*>(from) + first, n - first);
  }
  void CountDropped(uint32_t streams) noexcept {
    const auto count = [](std::atomic<uint64_t>& figure) {
      figure.store(figure.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    };
    count(dropped_);
    for (size_t bit = 0; bit < kStreamBits; ++bit) {
      if ((streams >> bit & 1) != 0) count(dropped_of_[bit]);
    }
  }
  void Get(size_t at, void* to, size_t n) const {
    if (n == 0) return;
    const size_t first = std::min(n, mask_ + 1 - (at & mask_));
    std::memcpy(to, bytes_.get() + (at & mask_), first);
    if (first < n) std::memcpy(static_cast<char*>(to) + first, bytes_.get(), n - first);
  }

  const size_t mask_;
  const std::unique_ptr<char[]> bytes_;
  // Bytes since the beginning; each in a line of its own, for they have different writers.
  alignas(64) std::atomic<size_t> pushed_{0};
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> dropped_{0};
  std::array<std::atomic<uint64_t>, kStreamBits> dropped_of_{};
  alignas(64) std::atomic<size_t> taken_{0};
};

}  // namespace larder::server
