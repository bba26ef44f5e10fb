// core/memory/lazy_array.h — an array of zeroes that costs memory where it is written to.
//
// Owner: whoever has it.  Threads: as for a plain array.
// Memory: address space for all of it from the start, a system page once it is touched.

#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <type_traits>

namespace larder {

// All bytes zero must be a valid T.
template <typename T>
class LazyArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  // Throws std::bad_alloc when there is no address space.
  explicit LazyArray(size_t count) : bytes_(count * sizeof(T)) {
    void* const mapping = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(mapping);
  }
  ~LazyArray() { munmap(data_, bytes_); }
  LazyArray(const LazyArray&) = delete;
  LazyArray& operator=(const LazyArray&) = delete;

  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] T& operator[](size_t at) const { return data_[at]; }
  // Zeroes again.
  void Clear() { madvise(data_, bytes_, MADV_DONTNEED); }

 private:
  T* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace larder
