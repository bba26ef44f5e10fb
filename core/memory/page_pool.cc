#include "core/memory/page_pool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "core/memory/memory_file.h"

namespace larder {
namespace {

// So that the limit can be raised while running.
constexpr uint64_t kLeastReserveBytes = uint64_t{16} << 30;
constexpr uint64_t kRaiseFactor = 4;
constexpr unsigned kLeastShift = 2;
constexpr size_t kHugeBytes = size_t{2} << 20;  // of the system's huge pages
constexpr size_t kJoinAtOnce = 4;               // of them
constexpr unsigned kMostJoinFailures = 16;
constexpr int kMadviseCollapse = 25;  // MADV_COLLAPSE of Linux 6.1; not in every <sys/mman.h> yet
// Address space for page 0 and for aligning to huge pages.
constexpr uint64_t kSlackBytes = kMostPageBytes + kHugeBytes;
// What a page, and all else, may take in FILE.meta.
constexpr uint64_t kDescriptionBytesAPage = 32;
constexpr uint64_t kDescriptionBytes = uint64_t{1} << 20;

uint64_t Reach(unsigned shift) { return (uint64_t{1} << 32) << shift; }

// The finest granule only where it leaves the limit as much room to be raised as any other.
unsigned ShiftFor(uint64_t bytes) {
  if (bytes * kRaiseFactor <= Reach(kLeastShift)) return kLeastShift;
  unsigned shift = kLeastShift + 1;
  while (Reach(shift) < bytes + kSlackBytes) ++shift;
  return shift;
}

}  // namespace

uint64_t PagePool::FileBytes(uint64_t limit_bytes) {
  const uint64_t page_bytes = PageBytesFor(limit_bytes);
  return (std::max(kLeastBytes, limit_bytes) / page_bytes + 1) * page_bytes;
}

PagePool::PagePool(const Options& options) : options_(options), limit_bytes_(options.limit_bytes) {
  clients_.SetLimit(options.limit_bytes);
  const unsigned shift = ShiftFor(options.limit_bytes);
  const uint64_t addressable = Reach(shift);
  uint64_t bytes = has_file() ? FileBytes(options.limit_bytes)
                              : std::max(options.limit_bytes * kRaiseFactor, kLeastReserveBytes);
  bytes = std::min(bytes, addressable - kSlackBytes);
  void* mapping = MAP_FAILED;
  // Address space may be limited (ulimit -v): less of it still serves the limit that was asked for.
  for (; mapping == MAP_FAILED; bytes /= 2) {
    mapping_bytes_ = bytes + kSlackBytes;
    mapping = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (mapping == MAP_FAILED && bytes / 2 < options.limit_bytes) {
      std::perror("larder: cannot reserve address space for the memory limit (-m)");
      std::exit(71);
    }
  }
  mapping_ = static_cast<char*>(mapping);
  // Aligned to the page size, so that a handle's page is a shift away, and to that of huge ones.
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  char* base = mapping_ + ((kHugeBytes - address % kHugeBytes) % kHugeBytes);
  space_ = ChunkSpace(base, shift, PageBytesFor(options.limit_bytes));
  capacity_ = (mapping_bytes_ - static_cast<size_t>(base - mapping_)) / page_bytes();
  if (!has_file()) return;
  capacity_ = FileBytes(options.limit_bytes) / page_bytes();
  if (mmap(base, capacity_ * page_bytes(), PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
           options_.file, 0) == MAP_FAILED) {
    std::perror("larder: cannot map the memory file (-e)");
    std::exit(71);
  }
}

bool PagePool::HasRoom() const {
  struct statvfs space {};
  // Without a size of its own the file system says nothing: then taking the room will tell.
  if (fstatvfs(options_.file, &space) != 0 || space.f_blocks == 0) return true;
  const uint64_t wanted = page_bytes() + charged_bytes_.load(std::memory_order_relaxed) +
                          kDescriptionBytes + capacity_ * kDescriptionBytesAPage;
  return uint64_t{space.f_bavail} * space.f_frsize >= wanted;
}

void PagePool::Abandon() {
  const MutexLock lock(mutex_);
  unbacked_.clear();
  next_fresh_ = 1;
  highest_.store(0, std::memory_order_relaxed);
  backed_.store(0, std::memory_order_relaxed);
}

void PagePool::Preallocate() {
  if (!options_.preallocate) return;
  std::vector<PageIndex> all;
  for (PageIndex page = Acquire(); page != kNoPage; page = Acquire()) all.push_back(page);
  if (all.empty()) return;
  // In one piece and before any of it is touched: a huge page has several of ours.
  const auto [first, last] = std::minmax_element(all.begin(), all.end());
  madvise(space_.PageAddress(*first), (*last - *first + 1) * page_bytes(), MADV_HUGEPAGE);
  for (const PageIndex page : all) {
    for (size_t at = 0; at < page_bytes(); at += 4096) space_.PageAddress(page)[at] = 0;
  }
  for (auto page = all.rbegin(); page != all.rend(); ++page) Release(*page);
}

bool PagePool::Adopt(const std::vector<PageIndex>& used, bool has_holes) {
  const MutexLock lock(mutex_);
  if (used.empty()) return true;
  const PageIndex highest = used.back();
  if (mprotect(space_.PageAddress(1), highest * page_bytes(), PROT_READ | PROT_WRITE) != 0) {
    return false;
  }
  auto next = used.begin();
  for (PageIndex page = 1; page <= highest; ++page) {
    if (*next == page) {
      if (has_holes && !Open(page)) return false;
      if (options_.lock) mlock(space_.PageAddress(page), page_bytes());
      ++next;
    } else {
      GiveBack(page, 1);
      unbacked_.push_back(page);
    }
  }
  next_fresh_ = highest + 1;
  if (next_fresh_ < capacity_) GiveBack(next_fresh_, capacity_ - next_fresh_);
  highest_.store(highest, std::memory_order_relaxed);
  backed_.store(used.size(), std::memory_order_relaxed);
  return true;
}

void PagePool::LookForRoom() {
  if (room_bytes_.load(std::memory_order_relaxed) == UINT64_MAX || !HasRoom()) return;
  room_bytes_.store(UINT64_MAX, std::memory_order_relaxed);
}

PagePool::~PagePool() { munmap(mapping_, mapping_bytes_); }

size_t PagePool::LimitPages() const {
  const uint64_t limit = limit_bytes_.load(std::memory_order_relaxed);
  const uint64_t uncharged = limit / kUnchargedShare;
  const uint64_t store = charged_bytes_.load(std::memory_order_relaxed);
  const uint64_t others = store + clients_.charge();
  const uint64_t charged = std::min(limit, others > uncharged ? others - uncharged : 0);
  const size_t pages = static_cast<size_t>(std::max(kLeastBytes, limit - charged) / page_bytes());
  const uint64_t room = room_bytes_.load(std::memory_order_relaxed);
  return std::min(pages, static_cast<size_t>((room - std::min(room, store)) / page_bytes()));
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
  const bool is_fresh = unbacked_.empty();
  if (is_fresh && next_fresh_ >= capacity_) return kNoPage;
  const PageIndex page = is_fresh ? next_fresh_ : unbacked_.back();
  if (has_file() && !HasRoom()) {
    NoteNoRoom();
    return kNoPage;
  }
  if (!Open(page)) return kNoPage;
  if (is_fresh) {
    highest_.store(page, std::memory_order_relaxed);
    ++next_fresh_;
  } else {
    unbacked_.pop_back();
    next_join_ = std::min(next_join_, page);
  }
  backed_.fetch_add(1, std::memory_order_relaxed);
  return page;
}

bool PagePool::Open(PageIndex page) {
  char* address = space_.PageAddress(page);
  if (has_file() && !MemoryFile::TakeRoomIn(options_.file, page * page_bytes(), page_bytes())) {
    NoteNoRoom();
    return false;
  }
  if (mprotect(address, page_bytes(), PROT_READ | PROT_WRITE) != 0) return false;
  if (options_.lock) mlock(address, page_bytes());
  return true;
}

void PagePool::GiveBack(PageIndex page, size_t count) {
  if (has_file()) {
    (void)fallocate(options_.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(page * page_bytes()),
                    static_cast<off_t>(count * page_bytes()));
  } else {
    madvise(space_.PageAddress(page), count * page_bytes(), MADV_DONTNEED);
  }
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
    GiveBack(page, 1);
    unbacked_.push_back(page);
    backed_.fetch_sub(1, std::memory_order_relaxed);
  }
  free_count_.store(free_.size(), std::memory_order_relaxed);
}

PagePool::Range PagePool::TakeJoinable() {
  const auto pages_a_huge_one = static_cast<PageIndex>(kHugeBytes / page_bytes());
  const auto is_in_use = [&](PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return page != kNoPage &&
           std::find(unbacked_.begin(), unbacked_.end(), page) == unbacked_.end();
  };
  Range range{.first = next_join_ / pages_a_huge_one * pages_a_huge_one};
  next_join_ = range.first;
  while (range.count < kJoinAtOnce * pages_a_huge_one &&
         next_join_ + pages_a_huge_one <= next_fresh_) {
    bool can_be = true;
    for (PageIndex i = 0; i < pages_a_huge_one; ++i) can_be = can_be && is_in_use(next_join_ + i);
    if (!can_be && range.count != 0) break;
    next_join_ += pages_a_huge_one;
    if (can_be) {
      range.count += pages_a_huge_one;
    } else {
      range.first = next_join_;
    }
  }
  return range;
}

bool PagePool::JoinPages() {
  if (!has_file() || join_failures_ == kMostJoinFailures) return false;
  Range range;
  {
    const MutexLock lock(mutex_);
    range = TakeJoinable();
  }
  if (range.count == 0) return false;
  const bool is_done =
      madvise(space_.PageAddress(range.first), range.count * page_bytes(), kMadviseCollapse) == 0;
  join_failures_ = is_done ? 0 : join_failures_ + 1;
  return true;
}

}  // namespace larder
