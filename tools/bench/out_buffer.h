// tools/bench/out_buffer.h — bytes to send: std::string would clear the room it grows by.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>

namespace larder::bench {

class OutBuffer {
 public:
  // Where the next byte goes; at least `room` may be written before Commit().
  char* Reserve(size_t room) {
    if (capacity_ - size_ < room) Grow(room);
    return bytes_.get() + size_;
  }
  // The bytes up to `end`, a pointer into what Reserve() gave, now belong to the buffer.
  void Commit(const char* end) { size_ = static_cast<size_t>(end - bytes_.get()); }
  void Clear() { size_ = 0; }

  [[nodiscard]] const char* data() const { return bytes_.get(); }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  void Grow(size_t room) {
    const size_t capacity = std::max(2 * capacity_, size_ + room);
    auto bytes = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ > 0) std::memcpy(bytes.get(), bytes_.get(), size_);
    bytes_ = std::move(bytes);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace larder::bench
