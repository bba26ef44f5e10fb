#include "core/memory/slab_sizes.h"

#include <algorithm>

#include "core/memory/chunk.h"
#include "core/thread_stats.h"

namespace larder {
namespace {

size_t RoundUp(size_t bytes, size_t granule) { return (bytes + granule - 1) / granule * granule; }

// The largest chunk that still cuts a page into as many pieces.
size_t Stretch(size_t bytes, size_t granule, size_t page_bytes) {
  const size_t pieces = page_bytes / bytes;
  return page_bytes / pieces / granule * granule;
}

}  // namespace

SlabSizes::SlabSizes(size_t smallest, size_t largest, double factor, size_t granule,
                     const std::vector<size_t>& explicit_sizes, size_t page_bytes)
    : sizes_{0} {
  largest = Stretch(RoundUp(largest, granule), granule, page_bytes);
  if (!explicit_sizes.empty()) {
    for (const size_t size : explicit_sizes) {
      const size_t chunk_bytes = RoundUp(size, granule);
      if (chunk_bytes > sizes_.back() && chunk_bytes < largest) sizes_.push_back(chunk_bytes);
    }
  } else {
    auto wanted = static_cast<double>(RoundUp(smallest, granule));
    while (wanted * factor <= static_cast<double>(largest) && sizes_.size() < kMaxClasses - 1) {
      const size_t size =
          Stretch(RoundUp(static_cast<size_t>(wanted), granule), granule, page_bytes);
      if (size > sizes_.back()) sizes_.push_back(size);
      wanted = std::max(wanted * factor, static_cast<double>(sizes_.back() + 1));
    }
  }
  if (sizes_.back() < largest) sizes_.push_back(largest);
  table_.resize(kTableBytes / kTableStep + 1);
  size_t id = 1;
  for (size_t i = 0; i < table_.size(); ++i) {
    while (id < sizes_.size() && sizes_[id] < i * kTableStep) ++id;
    table_[i] = id < sizes_.size() ? static_cast<uint8_t>(id) : uint8_t{0};
  }
}

size_t SlabSizes::ClassFor(size_t bytes) const {
  if (bytes <= kTableBytes) return table_[(bytes + kTableStep - 1) / kTableStep];
  const auto at = std::lower_bound(sizes_.begin() + 1, sizes_.end(), bytes);
  return at == sizes_.end() ? 0 : static_cast<size_t>(at - sizes_.begin());
}

}  // namespace larder
