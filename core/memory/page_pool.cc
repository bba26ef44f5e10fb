#include "core/memory/page_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace larder {
namespace {

// So that the limit can be raised while running.
constexpr uint64_t kLeastReserveBytes = uint64_t{16} << 30;
constexpr uint64_t kRaiseFactor = 4;
constexpr unsigned kLeastShift = 3;

unsigned ShiftFor(uint64_t bytes) {
  unsigned shift = kLeastShift;
  while (((uint64_t{1} << 32) << shift) < bytes + 2 * kPageBytes) ++shift;
  return shift;
}

}  // namespace

PagePool::PagePool(const Options& options) : options_(options), limit_bytes_(options.limit_bytes) {
  const unsigned shift = ShiftFor(options.limit_bytes);
  const uint64_t addressable = (uint64_t{1} << 32) << shift;
  uint64_t bytes = std::max(options.limit_bytes * kRaiseFactor, kLeastReserveBytes);
  bytes = std::min(bytes, addressable - 2 * kPageBytes);
  void* mapping = MAP_FAILED;
  // Address space may be limited (ulimit -v): less of it still serves the limit that was asked for.
  for (; mapping == MAP_FAILED; bytes /= 2) {
    mapping_bytes_ = bytes + 2 * kPageBytes;
    mapping = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (mapping == MAP_FAILED && bytes / 2 < options.limit_bytes) {
      std::perror("larder: cannot reserve address space for the memory limit (-m)");
      std::exit(71);
    }
  }
  mapping_ = static_cast<char*>(mapping);
  // Aligned to the page size, so that a handle's page is a division away.
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  char* base = mapping_ + ((kPageBytes - address % kPageBytes) % kPageBytes);
  capacity_ = (mapping_bytes_ - static_cast<size_t>(base - mapping_)) / kPageBytes;
  space_ = ChunkSpace(base, shift);
  if (options_.preallocate) {
    std::vector<PageIndex> all;
    for (PageIndex page = Acquire(); page != kNoPage; page = Acquire()) {
      madvise(space_.PageAddress(page), kPageBytes, MADV_HUGEPAGE);
      for (size_t at = 0; at < kPageBytes; at += 4096) space_.PageAddress(page)[at] = 0;
      all.push_back(page);
    }
    for (auto page = all.rbegin(); page != all.rend(); ++page) Release(*page);
  }
}

PagePool::~PagePool() { munmap(mapping_, mapping_bytes_); }

size_t PagePool::LimitPages() const {
  const uint64_t limit = limit_bytes_.load(std::memory_order_relaxed);
  const uint64_t uncharged = limit * kUnchargedPercent / 100;
  const uint64_t index = index_bytes_.load(std::memory_order_relaxed);
  const uint64_t charged = std::min(limit, index > uncharged ? index - uncharged : 0);
  return std::max(kMinPages, static_cast<size_t>((limit - charged) / kPageBytes));
}

size_t PagePool::ExcessPages() const {
  const size_t used = backed_pages() - std::min(backed_pages(), free_pages());
  const size_t limit = LimitPages();
  return used > limit ? used - limit : 0;
}

PageIndex PagePool::Acquire() {
  if (free_pages() == 0 && backed_pages() >= LimitPages()) return kNoPage;
  MutexLock lock(mutex_);
  if (!free_.empty()) {
    if (backed_pages() - free_.size() >= LimitPages()) return kNoPage;
    const PageIndex page = free_.back();
    free_.pop_back();
    free_count_.store(free_.size(), std::memory_order_relaxed);
    return page;
  }
  if (backed_pages() >= LimitPages()) return kNoPage;
  PageIndex page = kNoPage;
  if (!unbacked_.empty()) {
    page = unbacked_.back();
    unbacked_.pop_back();
  } else if (next_fresh_ < capacity_) {
    page = next_fresh_;
    if (mprotect(space_.PageAddress(page), kPageBytes, PROT_READ | PROT_WRITE) != 0) return kNoPage;
    if (options_.lock) mlock(space_.PageAddress(page), kPageBytes);
    highest_.store(page, std::memory_order_relaxed);
    ++next_fresh_;
  }
  if (page != kNoPage) backed_.fetch_add(1, std::memory_order_relaxed);
  return page;
}

void PagePool::Release(PageIndex page) {
  MutexLock lock(mutex_);
  free_.push_back(page);
  free_count_.store(free_.size(), std::memory_order_relaxed);
}

void PagePool::ReleaseExcess() {
  MutexLock lock(mutex_);
  while (!free_.empty() && backed_pages() > LimitPages()) {
    const PageIndex page = free_.back();
    free_.pop_back();
    madvise(space_.PageAddress(page), kPageBytes, MADV_DONTNEED);
    unbacked_.push_back(page);
    backed_.fetch_sub(1, std::memory_order_relaxed);
  }
  free_count_.store(free_.size(), std::memory_order_relaxed);
}

}  // namespace larder
