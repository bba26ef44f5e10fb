// core/index_inl.h — the inline half of core/index.h.

#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cassert>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace larder {

inline unsigned IndexStripe::Matching(const Bucket& bucket, uint8_t tag) {
  const uint32_t t0 = bucket.tags[0].load(std::memory_order_relaxed);
  const uint32_t t1 = bucket.tags[1].load(std::memory_order_relaxed);
  const uint32_t t2 = bucket.tags[2].load(std::memory_order_relaxed);
#ifdef __SSE2__
  const __m128i tags =
      _mm_set_epi32(0, static_cast<int>(t2), static_cast<int>(t1), static_cast<int>(t0));
  const __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
  return static_cast<unsigned>(_mm_movemask_epi8(equal)) & kAllSlots;
#else
  unsigned found = 0;
  for (unsigned i = 0; i < kSlots; ++i) {
    const uint32_t word = i < 4 ? t0 : i < 8 ? t1 : t2;
    if (static_cast<uint8_t>(word >> (i % 4 * 8)) == tag) found |= 1U << i;
  }
  return found;
#endif
}

inline void IndexStripe::SetTag(Bucket& bucket, unsigned index, uint8_t tag) {
  auto& word = bucket.tags[index / 4];
  const unsigned shift = index % 4 * 8;
  const uint32_t cleared = word.load(std::memory_order_relaxed) & ~(uint32_t{0xff} << shift);
  word.store(cleared | uint32_t{tag} << shift, std::memory_order_relaxed);
}

template <typename Matches>
IndexStripe::Slot IndexStripe::Find(uint64_t hash, Matches&& matches) const {
  const uint8_t tag = TagOf(hash);
  for (Bucket* bucket = &buckets_[PlaceOf(hash)]; bucket != nullptr; bucket = Overflow(*bucket)) {
    for (unsigned found = Matching(*bucket, tag); found != 0; found &= found - 1) {
      const auto index = static_cast<unsigned>(std::countr_zero(found));
      if (matches(bucket->handles[index].load(std::memory_order_relaxed))) return {bucket, index};
    }
  }
  return {};
}

template <typename Prefetch>
void IndexStripe::PrefetchEntries(uint64_t hash, Prefetch&& prefetch) const {
  const Bucket& bucket = buckets_[PlaceOf(hash)];
  for (unsigned found = Matching(bucket, TagOf(hash)); found != 0; found &= found - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(found));
    prefetch(bucket.handles[index].load(std::memory_order_relaxed));
  }
}

template <typename Visit>
void IndexStripe::VisitBucket(size_t at, Visit&& visit) const {
  for (Bucket* bucket = &buckets_[at]; bucket != nullptr; bucket = Overflow(*bucket)) {
    for (unsigned left = Used(*bucket); left != 0; left &= left - 1) {
      const auto index = static_cast<unsigned>(std::countr_zero(left));
      visit(bucket->handles[index].load(std::memory_order_relaxed));
    }
  }
}

template <typename Visit>
uint64_t IndexStripe::VisitPlace(uint64_t place, Visit&& visit) const {
  const uint32_t settled = settled_.load(std::memory_order_relaxed);
  const uint32_t target = target_.load(std::memory_order_relaxed);
  const uint32_t frontier = frontier_.load(std::memory_order_relaxed);
  const uint64_t hash = place << 32;
  const size_t grown = Scale(hash, target);
  if (grown >= frontier) {
    VisitBucket(grown, visit);
    return FirstPlace(grown + 1, target);
  }
  const size_t old = Scale(hash, settled);
  VisitBucket(old, visit);
  // What of an old bucket lies behind the frontier has moved on.
  return std::min(FirstPlace(old + 1, settled), FirstPlace(frontier, target));
}

template <typename Visit>
bool IndexStripe::VisitAll(Visit&& visit) {
  size_t count = 0;
  std::vector<bool> seen(overflow_fresh_);
  size_t left = overflow_fresh_;
  // Each overflow bucket is met once: so no chain is endless, and none shares another's.
  const auto is_met_first = [&](uint32_t link) {
    if (link > seen.size() || seen[link - 1]) return false;
    seen[link - 1] = true;
    --left;
    return true;
  };
  for (size_t at = 0; at < buckets(); ++at) {
    for (const Bucket* bucket = &buckets_[at];;) {
      for (unsigned slots = Used(*bucket); slots != 0; slots &= slots - 1) {
        const auto index = static_cast<unsigned>(std::countr_zero(slots));
        visit(at, TagAt(*bucket, index), bucket->handles[index].load(std::memory_order_relaxed));
        ++count;
      }
      const uint32_t link = bucket->overflow.load(std::memory_order_relaxed);
      if (link == 0) break;
      if (!is_met_first(link)) return false;
      bucket = &overflow_[link - 1];
    }
  }
  for (uint32_t link = overflow_free_; link != 0;) {
    if (!is_met_first(link)) return false;
    const Bucket& bucket = overflow_[link - 1];
    if (Used(bucket) != 0) return false;
    link = bucket.overflow.load(std::memory_order_relaxed);
  }
  size_ = static_cast<uint32_t>(count);
  return left == 0 && size_ == count;
}

template <typename HashOf, typename AddressOf>
bool IndexStripe::Insert(uint64_t hash, Handle handle, HashOf&& hash_of, AddressOf&& address_of) {
  if (growing()) {
    for (int i = 0; i < kStepsPerInsert && growing(); ++i) GrowStep(hash_of, address_of);
  } else if (size_t{size_} * 8 > size_t{kFullEighths} * buckets()) {
    StartGrowing();
  }
  if (!Place(buckets_[PlaceOf(hash)], TagOf(hash), handle)) return false;
  ++size_;
  return true;
}

template <typename HashOf, typename AddressOf>
void IndexStripe::GrowStep(HashOf&& hash_of, AddressOf&& address_of) {
  if (!HasSpareOverflow()) return;
  const uint32_t settled = settled_.load(std::memory_order_relaxed);
  const uint32_t target = target_.load(std::memory_order_relaxed);
  const size_t wanted = frontier_.load(std::memory_order_relaxed) - 1;
  // The hashes of bucket `wanted` come from one old bucket or from two neighbours.
  const size_t low = (FirstPlace(wanted, target) * settled) >> 32;
  const size_t high = ((FirstPlace(wanted + 1, target) - 1) * settled) >> 32;
  frontier_.store(static_cast<uint32_t>(wanted), std::memory_order_relaxed);
  for (size_t source = high + 1; source-- > low;) {
    if (source != wanted) MoveUp(source, wanted, hash_of);
  }
  if (wanted == 0) {
    settled_.store(target, std::memory_order_relaxed);
    return;
  }
  // What the next step will read, and the bucket of the one after that.
  const size_t next = (FirstPlace(wanted - 1, target) * settled) >> 32;
  for (unsigned left = Used(buckets_[next]); left != 0; left &= left - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(left));
    __builtin_prefetch(address_of(buckets_[next].handles[index].load(std::memory_order_relaxed)));
  }
  if (next != 0) __builtin_prefetch(&buckets_[next - 1]);
}

template <typename HashOf>
void IndexStripe::MoveUp(size_t source, size_t wanted, HashOf&& hash_of) {
  absl::InlinedVector<Handle, 4 * kSlots> entries;
  VisitBucket(source, [&](Handle handle) { entries.push_back(handle); });
  Bucket& from = buckets_[source];
  while (const uint32_t link = from.overflow.load(std::memory_order_relaxed)) {
    from.overflow.store(overflow_[link - 1].overflow.load(std::memory_order_relaxed),
                        std::memory_order_relaxed);
    FreeOverflow(link);
  }
  Empty(from);
  const uint32_t target = target_.load(std::memory_order_relaxed);
  for (const Handle handle : entries) {
    const uint64_t hash = hash_of(handle);
    const bool moves = Scale(hash, target) == wanted;
    [[maybe_unused]] const bool has_place =
        Place(moves ? buckets_[wanted] : from, TagOf(hash), handle);
    assert(has_place);
  }
}

}  // namespace larder
