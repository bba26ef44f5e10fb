// core/memory/chunk.h — how a chunk of memory is named: a 32-bit handle instead of a pointer.
//
// A handle is the chunk's distance from the start of the arena in granules of 4 bytes (8 for -m
// above 4 GiB, more above 32 GiB), so links and index entries take 4 bytes.  Page 0 is never used:
// handle 0 means "none".
// Threads: any; immutable after construction.

#pragma once

#include <cstddef>
#include <cstdint>

namespace larder {

using Handle = uint32_t;
inline constexpr Handle kNoChunk = 0;

inline constexpr size_t kPageBytes = size_t{256} << 10;
using PageIndex = uint32_t;
inline constexpr PageIndex kNoPage = 0;

class ChunkSpace {
 public:
  ChunkSpace() = default;
  ChunkSpace(char* base, unsigned shift) : base_(base), shift_(shift) {}

  [[nodiscard]] char* Address(Handle handle) const {
    return base_ + (static_cast<size_t>(handle) << shift_);
  }
  template <typename T>
  [[nodiscard]] T* At(Handle handle) const {
    return reinterpret_cast<T*>(Address(handle));
  }
  [[nodiscard]] Handle HandleOf(const void* chunk) const {
    return static_cast<Handle>(static_cast<size_t>(static_cast<const char*>(chunk) - base_) >>
                               shift_);
  }
  [[nodiscard]] PageIndex PageOf(Handle handle) const {
    return static_cast<PageIndex>((static_cast<size_t>(handle) << shift_) / kPageBytes);
  }
  [[nodiscard]] char* PageAddress(PageIndex page) const { return base_ + page * kPageBytes; }
  // Chunk sizes are multiples of it.
  [[nodiscard]] size_t granule() const { return size_t{1} << shift_; }

 private:
  char* base_ = nullptr;
  unsigned shift_ = 3;
};

}  // namespace larder
