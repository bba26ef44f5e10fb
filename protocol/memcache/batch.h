// protocol/memcache/batch.h — the requests that are framed, and whose keys are fetched, before the
// first of them is done.
//
// Owner: a session, on its stack: 2.8 KB of it, not touched but for what is used.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
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
  // The frame's key, hashed by Prepare(); its bytes are empty when there is none.
  [[nodiscard]] const Key& key(size_t i) const { return keys_[i]; }

  // A new frame behind the last one; it counts once Keep() was called.
  FrameType& Next() { return *std::construct_at(&frames_[size_]); }
  void Keep() {
    keys_[size_].bytes = frames_[size_].key;
    ++size_;
  }

  void Prepare(const Store& store) { store.Prepare(std::span(keys_).first(size_)); }

 private:
  static_assert(std::is_trivially_destructible_v<FrameType>);
  union {
    std::array<FrameType, kMost> frames_;  // NOLINT(readability-identifier-naming): private as well
  };
  std::array<Key, kMost> keys_;
  size_t size_ = 0;
};

}  // namespace larder::memcache
