// core/memory/slab_sizes.h — which chunk sizes there are, and which one an item needs.
//
// Sizes grow by a factor, and each is stretched to the largest that cuts a page into as many
// chunks, so that the end of a page is not lost.  Threads: any; immutable.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace larder {

class SlabSizes {
 public:
  // `smallest`, `largest` and `page_bytes` in bytes; with `explicit_sizes` (slab_sizes) those are
  // used instead. At most kMaxClasses - 1 sizes come out, the last one being `largest`.
  SlabSizes(size_t smallest, size_t largest, double factor, size_t granule,
            const std::vector<size_t>& explicit_sizes, size_t page_bytes);

  // Id of the smallest class with chunks of at least `bytes`; 0 when there is none.
  [[nodiscard]] size_t ClassFor(size_t bytes) const;
  // By id from 1; [0] is 0.
  [[nodiscard]] const std::vector<size_t>& sizes() const { return sizes_; }
  [[nodiscard]] size_t count() const { return sizes_.size() - 1; }
  [[nodiscard]] size_t largest() const { return sizes_.back(); }

 private:
  static constexpr size_t kTableStep = 4;
  static constexpr size_t kTableBytes = 20 * 1024;  // sizes up to here are looked up

  std::vector<size_t> sizes_;
  std::vector<uint8_t> table_;  // class by (bytes + 3) / 4
};

}  // namespace larder
