// core/memory/chunk.h — how a chunk of memory is named: a 32-bit handle instead of a pointer.
//
// A handle is the chunk's distance from the start of the arena in granules of 4 bytes (8 for -m
// above 4 GiB, more above 32 GiB), so links and index entries take 4 bytes.  Page 0 is never used:
// handle 0 means "none".
// Threads: any; immutable after construction.

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace larder {

using Handle = uint32_t;
inline constexpr Handle kNoChunk = 0;

using PageIndex = uint32_t;
inline constexpr PageIndex kNoPage = 0;

inline constexpr size_t kLeastPageBytes = size_t{64} << 10;
inline constexpr size_t kMostPageBytes = size_t{256} << 10;
// How long the pages of so much memory are: little memory has shorter ones, for there would not be
// enough of them for all the sizes in use (docs/decisions/0004).
constexpr size_t PageBytesFor(uint64_t memory_bytes) {
  constexpr uint64_t kPages = 256;
  size_t bytes = kLeastPageBytes;
  while (bytes < kMostPageBytes && memory_bytes >= 2 * bytes * kPages) bytes *= 2;
  return bytes;
}

class ChunkSpace {
 public:
  ChunkSpace() = default;
  // `page_bytes`: a power of two.
  ChunkSpace(char* base, unsigned shift, size_t page_bytes)
      : base_(base),
        shift_(shift),
        page_shift_(static_cast<unsigned>(std::countr_zero(page_bytes))) {}

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
  [[nodiscard]] PageIndex PageOf(Handle handle) const { return handle >> (page_shift_ - shift_); }
  [[nodiscard]] char* PageAddress(PageIndex page) const {
    return base_ + (static_cast<size_t>(page) << page_shift_);
  }
  [[nodiscard]] size_t page_bytes() const { return size_t{1} << page_shift_; }
  // Chunk sizes are multiples of it.
  [[nodiscard]] size_t granule() const { return size_t{1} << shift_; }

 private:
  char* base_ = nullptr;
  unsigned shift_ = 3;
  unsigned page_shift_ = 18;
};

}  // namespace larder
