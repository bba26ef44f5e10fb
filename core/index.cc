#include "core/index.h"

#include <cstdio>
#include <cstdlib>

namespace larder {
namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "index invariant broken: %s\n", what);
  std::abort();
}

}  // namespace

void IndexStripe::Init(Bucket* buckets, size_t capacity, Bucket* overflow, size_t overflow_capacity,
                       uint32_t start, const MemoryFile* file) {
  static_assert(offsetof(IndexStripe, size_) == kSteadyBytes);
  buckets_ = buckets;
  file_ = file;
  capacity_ = static_cast<uint32_t>(capacity);
  overflow_ = overflow;
  overflow_capacity_ = static_cast<uint32_t>(overflow_capacity);
  settled_.store(start, std::memory_order_relaxed);
  target_.store(start, std::memory_order_relaxed);
}

bool IndexStripe::Place(Bucket& home, uint8_t tag, Handle handle) {
  Bucket* last = &home;
  for (Bucket* bucket = &home; bucket != nullptr; bucket = Overflow(*bucket)) {
    last = bucket;
    const unsigned free = Matching(*bucket, 0);
    if (free == 0) continue;
    const auto index = static_cast<unsigned>(std::countr_zero(free));
    bucket->handles[index].store(handle, std::memory_order_relaxed);
    SetTag(*bucket, index, tag);
    return true;
  }
  const uint32_t link = AllocateOverflow();
  if (link == 0) return false;
  // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): who has a link has the buckets
  Bucket& fresh = overflow_[link - 1];
  fresh.handles[0].store(handle, std::memory_order_relaxed);
  SetTag(fresh, 0, tag);
  last->overflow.store(link, std::memory_order_relaxed);
  return true;
}

void IndexStripe::Remove(uint64_t hash, Slot slot) {
  SetTag(*slot.bucket, slot.index, 0);
  --size_;
  Bucket& home = buckets_[PlaceOf(hash)];
  const uint32_t link = home.overflow.load(std::memory_order_relaxed);
  if (link == 0) return;
  // Keep chains short: the first overflow bucket fills the gap, and goes when it is empty.
  Bucket& spill = overflow_[link - 1];
  const unsigned free = Matching(home, 0);
  if (const unsigned spilled = Used(spill); free != 0 && spilled != 0) {
    const auto from = static_cast<unsigned>(std::countr_zero(spilled));
    const auto to = static_cast<unsigned>(std::countr_zero(free));
    home.handles[to].store(spill.handles[from].load(std::memory_order_relaxed),
                           std::memory_order_relaxed);
    SetTag(home, to, TagAt(spill, from));
    SetTag(spill, from, 0);
  }
  if (Used(spill) == 0) {
    home.overflow.store(spill.overflow.load(std::memory_order_relaxed), std::memory_order_relaxed);
    FreeOverflow(link);
  }
}

uint32_t IndexStripe::AllocateOverflow() {
  if (overflow_free_ != 0) {
    const uint32_t link = overflow_free_;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): who has a link has the buckets
    auto& next = overflow_[link - 1].overflow;
    overflow_free_ = next.load(std::memory_order_relaxed);
    next.store(0, std::memory_order_relaxed);
    return link;
  }
  if (overflow_fresh_ == overflow_capacity_) return 0;
  constexpr size_t kPerPage = kSystemPage / kBucketBytes;
  if (overflow_fresh_ % kPerPage == 0 && !TakeRoomFor(overflow_ + overflow_fresh_, kPerPage)) {
    return 0;
  }
  // A file may have left anything there.
  // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): what has a capacity has the buckets
  Empty(overflow_[overflow_fresh_]);
  return ++overflow_fresh_;
}

void IndexStripe::FreeOverflow(uint32_t link) {
  Bucket& bucket = overflow_[link - 1];
  Empty(bucket);
  bucket.overflow.store(overflow_free_, std::memory_order_relaxed);
  overflow_free_ = link;
}

bool IndexStripe::HasSpareOverflow() {
  if (overflow_free_ != 0) return true;
  const uint32_t link = AllocateOverflow();
  if (link == 0) return false;
  FreeOverflow(link);
  return true;
}

void IndexStripe::StartGrowing() {
  const uint32_t settled = settled_.load(std::memory_order_relaxed);
  const uint32_t target = std::min(capacity_, settled + settled / 2);
  if (target <= settled || !TakeRoomFor(buckets_ + settled, target - settled)) return;
  for (uint32_t at = settled; file_ != nullptr && at < target; ++at) Empty(buckets_[at]);
  target_.store(target, std::memory_order_relaxed);
  frontier_.store(target, std::memory_order_relaxed);
}

IndexStripe::Layout IndexStripe::layout() const {
  return {.settled = settled_.load(std::memory_order_relaxed),
          .target = target_.load(std::memory_order_relaxed),
          .frontier = frontier_.load(std::memory_order_relaxed),
          .overflow_fresh = overflow_fresh_,
          .overflow_free = overflow_free_};
}

bool IndexStripe::Adopt(const Layout& layout) {
  const auto& [settled, target, frontier, fresh, free] = layout;
  const bool is_growing = frontier != 0;
  if (settled == 0 || target > capacity_ || frontier > target || fresh > overflow_capacity_ ||
      free > fresh || (is_growing ? settled >= target : settled != target)) {
    return false;
  }
  settled_.store(settled, std::memory_order_relaxed);
  target_.store(target, std::memory_order_relaxed);
  frontier_.store(frontier, std::memory_order_relaxed);
  overflow_fresh_ = fresh;
  overflow_free_ = free;
  return true;
}

std::array<std::span<const char>, 2> IndexStripe::Bytes() const {
  return {std::span(reinterpret_cast<const char*>(buckets_), buckets() * kBucketBytes),
          std::span(reinterpret_cast<const char*>(overflow_), overflow_fresh_ * kBucketBytes)};
}

bool IndexStripe::TakeRoom() {
  return TakeRoomFor(buckets_, buckets()) && TakeRoomFor(overflow_, overflow_fresh_);
}

void IndexStripe::CheckInvariants(const std::function<uint64_t(Handle)>& hash_of) const {
  size_t count = 0;
  for (size_t at = 0; at < buckets(); ++at) {
    VisitBucket(at, [&](Handle handle) {
      ++count;
      const uint64_t hash = hash_of(handle);
      Require(PlaceOf(hash) == at, "an entry is in the bucket of its hash");
      const Slot slot = Find(hash, [&](Handle other) { return other == handle; });
      Require(static_cast<bool>(slot), "an entry is found by its hash");
    });
  }
  Require(count == size_, "the entries counted are the entries held");
}

}  // namespace larder
