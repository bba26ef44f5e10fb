// core/index.h — key hash to item: cache-line buckets, grown a bucket at a time while serving.
//
//   bucket, 64 bytes:  [ 12 tags, 1 byte each ][ 12 handles, 4 bytes each ][ overflow, 4 bytes ]
//
// One IndexStripe a lock stripe, and nothing shared between stripes.  Of a hash, bits 0-15 choose
// the stripe, 16-23 are the tag, and 32-63, scaled to the number of buckets, are the place: so
// buckets hold hashes in order.  To grow from n buckets to 1.5 n the stripe fills the new ones from
// the last to the first, in place: bucket `frontier_` and those above it are laid out for the new
// size, those below for the old one.  An insert moves at most kStepsPerInsert buckets, so no call
// ever waits for a rehash.  Never shrinks.
//
// Owner: Store::Impl.  Threads: everything but Prefetch* REQUIRES the stripe's lock.
// Memory: address space is reserved for the largest size; a page of it costs memory when touched.
// Source: the bucket is the one of B. Fan et al., "MemC3", NSDI 2013; growth in place by order-
// preserving hashing after P. Larson's "Dynamic hashing", BIT 18, 1978.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "core/memory/chunk.h"
#include "core/memory/memory_file.h"

namespace larder {

class IndexStripe {
 public:
  static constexpr size_t kSlots = 12;
  static constexpr size_t kBucketBytes = 64;
  static constexpr int kStepsPerInsert = 1;
  // Of this object, from its begin: what is read without the lock, and only growth changes.
  static constexpr size_t kSteadyBytes = 40;

  struct alignas(kBucketBytes) Bucket {
    std::array<std::atomic<uint32_t>, 3> tags;  // 12 bytes of tags; 0: the slot is empty
    std::array<std::atomic<uint32_t>, kSlots> handles;
    std::atomic<uint32_t> overflow;  // 1 + index of an overflow bucket; 0: none
  };
  static_assert(sizeof(Bucket) == kBucketBytes);

  // Where an entry is; valid until the next Insert or Remove.
  struct Slot {
    Bucket* bucket = nullptr;
    unsigned index = 0;
    explicit operator bool() const { return bucket != nullptr; }
    [[nodiscard]] Handle handle() const {
      return bucket->handles[index].load(std::memory_order_relaxed);
    }
    void set_handle(Handle handle) const {
      bucket->handles[index].store(handle, std::memory_order_relaxed);
    }
  };

  // `buckets` and `overflow` point to zeroed address space for so many buckets each.
  // `start` is how many to begin with: stripes that start differently do not all grow at once.
  // With a file, they lie in its tail, where room is taken before they are touched.
  void Init(Bucket* buckets, size_t capacity, Bucket* overflow, size_t overflow_capacity,
            uint32_t start, const MemoryFile* file = nullptr);
  // Takes the room for what there is; false: there is none.
  [[nodiscard]] bool TakeRoom();

  // The first entry with the tag of `hash` for which matches(handle) is true.
  template <typename Matches>
  [[nodiscard]] Slot Find(uint64_t hash, Matches&& matches) const;
  // Adds an entry.  For growing, `hash_of(handle)` recomputes an entry's hash, and
  // `address_of(handle)` is where it reads.
  // False: the bucket is full and there is no other to be had, because the address space is used up
  // (far beyond the memory limit's worth of items) or the file system is.
  template <typename HashOf, typename AddressOf>
  [[nodiscard]] bool Insert(uint64_t hash, Handle handle, HashOf&& hash_of, AddressOf&& address_of);
  // Takes the entry out.
  void Remove(uint64_t hash, Slot slot);

  // Calls visit(handle) for every entry of bucket `at` (below buckets()); it must not change
  // entries.
  template <typename Visit>
  void VisitBucket(size_t at, Visit&& visit) const;

  // The place of a hash among all: its upper half.
  static constexpr uint64_t kPlaces = uint64_t{1} << 32;
  static uint64_t PlaceIn(uint64_t hash) { return hash >> 32; }
  // Calls visit(handle) for every entry of the bucket where `place` belongs now, and returns the
  // first place behind that bucket: entries from `place` up to there have been visited, and perhaps
  // some before it.
  template <typename Visit>
  uint64_t VisitPlace(uint64_t place, Visit&& visit) const;

  // --- Restart: a stripe is its layout and the bytes of its buckets ---
  struct Layout {
    uint32_t settled = 0;
    uint32_t target = 0;
    uint32_t frontier = 0;
    uint32_t overflow_fresh = 0;
    uint32_t overflow_free = 0;
    bool operator==(const Layout&) const = default;
  };
  [[nodiscard]] Layout layout() const;
  // Where keys belong in a stripe of that layout.
  struct Places {
    explicit Places(const Layout& layout)
        : settled(layout.settled), target(layout.target), frontier(layout.frontier) {}
    [[nodiscard]] size_t BucketOf(uint64_t hash) const {
      const size_t grown = Scale(hash, target);
      const size_t old = Scale(hash, settled);
      return old + (grown - old) * size_t{grown >= frontier};  // which one it is, nobody can guess
    }
    uint32_t settled, target, frontier;
    uint32_t unused = 0;  // 16 bytes a stripe
  };
  // The stripe is laid out like this, and its buckets are there; false when no stripe can be.
  // Nothing may be done with it before VisitAll() has checked them.
  [[nodiscard]] bool Adopt(const Layout& layout);
  // Of its buckets, and of the overflow buckets.
  [[nodiscard]] std::array<std::span<const char>, 2> Bytes() const;
  // Calls visit(bucket, tag, handle) for every entry and counts them.  False: the buckets do not
  // hang together, and the stripe must not be used.
  template <typename Visit>
  [[nodiscard]] bool VisitAll(Visit&& visit);

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t buckets() const { return target_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool growing() const { return frontier_.load(std::memory_order_relaxed) != 0; }
  // Memory touched, in bytes, to the system's page.
  [[nodiscard]] size_t MemoryBytes() const {
    const auto pages = [](size_t buckets) {
      return (buckets * kBucketBytes + kSystemPage - 1) / kSystemPage * kSystemPage;
    };
    return pages(buckets()) + pages(overflow_fresh_);
  }

  // Any thread, no lock: hints from values that may be out of date.
  void PrefetchBucket(uint64_t hash) const { __builtin_prefetch(&buckets_[PlaceOf(hash)]); }
  template <typename Prefetch>
  void PrefetchEntries(uint64_t hash, Prefetch&& prefetch) const;

  // Dies when an entry is not where its hash says.
  void CheckInvariants(const std::function<uint64_t(Handle)>& hash_of) const;

  static uint8_t TagOf(uint64_t hash) {
    const auto tag = static_cast<uint8_t>(hash >> 16);
    return tag == 0 ? uint8_t{1} : tag;
  }

 private:
  static constexpr size_t kSystemPage = 4096;
  // Entries a bucket at which the stripe starts to grow, times 8: 10.25 of 12.
  static constexpr size_t kFullEighths = 82;

  static size_t Scale(uint64_t hash, size_t buckets) {
    return static_cast<size_t>(((hash >> 32) * buckets) >> 32);
  }
  // The first place of bucket `at` of so many.
  static uint64_t FirstPlace(uint64_t at, uint64_t buckets) {
    return ((at << 32) + buckets - 1) / buckets;
  }
  // The bucket where `hash` belongs now.
  [[nodiscard]] size_t PlaceOf(uint64_t hash) const {
    const size_t place = Scale(hash, target_.load(std::memory_order_relaxed));
    if (place >= frontier_.load(std::memory_order_relaxed)) return place;
    return Scale(hash, settled_.load(std::memory_order_relaxed));
  }
  // One bit a slot whose tag is `tag`.
  static unsigned Matching(const Bucket& bucket, uint8_t tag);
  static constexpr unsigned kAllSlots = (1U << kSlots) - 1;
  // One bit a slot that has an entry.
  static unsigned Used(const Bucket& bucket) { return ~Matching(bucket, 0) & kAllSlots; }
  static uint8_t TagAt(const Bucket& bucket, unsigned index) {
    const uint32_t word = bucket.tags[index / 4].load(std::memory_order_relaxed);
    return static_cast<uint8_t>(word >> (index % 4 * 8));
  }
  static void SetTag(Bucket& bucket, unsigned index, uint8_t tag);
  [[nodiscard]] bool Place(Bucket& home, uint8_t tag, Handle handle);
  [[nodiscard]] Bucket* Overflow(const Bucket& bucket) const {
    const uint32_t link = bucket.overflow.load(std::memory_order_relaxed);
    return link == 0 ? nullptr : &overflow_[link - 1];
  }
  uint32_t AllocateOverflow();
  void FreeOverflow(uint32_t link);
  // Whether one is to be had.  That is as many more as a step of growing can need: what leaves an
  // old bucket has its overflow, and only where two of them meet in a new one is it one too few.
  bool HasSpareOverflow();
  void StartGrowing();
  // Lays out one bucket for the new size; not while it could run out of overflow buckets.
  template <typename HashOf, typename AddressOf>
  void GrowStep(HashOf&& hash_of, AddressOf&& address_of);
  template <typename HashOf>
  void MoveUp(size_t source, size_t wanted, HashOf&& hash_of);

  [[nodiscard]] bool TakeRoomFor(const Bucket* first, size_t count) const {
    return file_ == nullptr || count == 0 || file_->TakeRoom(first, count * kBucketBytes);
  }
  static void Empty(Bucket& bucket) {
    for (auto& tags : bucket.tags) tags.store(0, std::memory_order_relaxed);
    bucket.overflow.store(0, std::memory_order_relaxed);
  }

  // The first kSteadyBytes.
  Bucket* buckets_ = nullptr;
  Bucket* overflow_ = nullptr;
  const MemoryFile* file_ = nullptr;
  // settled_ → target_ while frontier_ > 0; equal otherwise.  Written under the lock.
  std::atomic<uint32_t> settled_{0};
  std::atomic<uint32_t> target_{0};
  std::atomic<uint32_t> frontier_{0};
  uint32_t capacity_ = 0;

  uint32_t size_ = 0;
  uint32_t overflow_capacity_ = 0;
  uint32_t overflow_fresh_ = 0;  // overflow buckets ever used
  uint32_t overflow_free_ = 0;   // chain of freed ones, linked through `overflow`
};

}  // namespace larder

#include "core/index_inl.h"
