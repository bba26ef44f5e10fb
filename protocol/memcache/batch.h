// protocol/memcache/batch.h — the requests that are framed, and whose keys are fetched, before the
// first of them is done.
//
// Owner: a session, on its stack: 2.5 KB of it, not touched but for what is used.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "core/store.h"

namespace larder::memcache {

// `FrameType` has a `key`, empty when there is none.
template <typename FrameType>
class Batch {
 public:
  // Measured: 8 to 24 are equally fast, with 64 the first items are on their way out when the last
  // are there.
  static constexpr size_t kMost = 16;

  Batch() {}  // NOLINT(modernize-use-equals-default): a union member that is not begun
  ~Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool full() const { return size_ == kMost; }
  [[nodiscard]] const FrameType& frame(size_t i) const { return frames_[i]; }
  // The frame's key; its bytes are empty when there is none.
  [[nodiscard]] Key key(size_t i) const { return {frames_[i].key, hashes_[i]}; }

  // A new frame behind the last one; it counts once Keep() was called.
  FrameType& Next() { return *std::construct_at(&frames_[size_]); }
  void Keep(const Store& store) {
    const auto& frame = frames_[size_];
    hashes_[size_++] = frame.key.empty() ? 0 : store.MakeKey(frame.key).hash;
  }

  // The buckets of all keys first, then the items behind them, so that their cache misses overlap.
  void Prefetch(const Store& store) const {
    if (size_ < 2) return;
    for (size_t i = 0; i < size_; ++i) {
      if (!frames_[i].key.empty()) store.PrefetchBucket(key(i));
    }
    for (size_t i = 0; i < size_; ++i) {
      if (!frames_[i].key.empty()) store.PrefetchItem(key(i));
    }
  }

 private:
  static_assert(std::is_trivially_destructible_v<FrameType>);
  union {
    std::array<FrameType, kMost> frames_;  // NOLINT(readability-identifier-naming): private as well
  };
  std::array<uint64_t, kMost> hashes_;
  size_t size_ = 0;
};

}  // namespace larder::memcache
