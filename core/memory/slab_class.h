// core/memory/slab_class.h — one size class: its pages cut into equal chunks, and the LRU of its
// items.
//
// Each page keeps its own list of free chunks, so a page can be emptied and given away.  Items hang
// in four queues: HOT (new), WARM (read more than once), COLD (next to go), TEMP (short-lived).  A
// read only sets kActive; items move when Balance() or PickVictim() meets them at a tail.
//
// A large value's item hangs in the queues of its first piece's class: evicting it is what makes
// room there.
//
// Owner: Store::Impl, one per class.  Threads: any; mutex() guards everything.  Locks: rank kClass.
// Source: J. Bonwick, "The Slab Allocator", USENIX 1994; the segments are memcached's segmented
// LRU.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/item.h"
#include "core/memory/chunk.h"

namespace larder {

using ClassMutex = Mutex<LockRank::kClass>;
using ClassLock = MutexLock<LockRank::kClass>;

// A page's state; guarded by the lock of the class that holds it.
struct PageInfo {
  std::atomic<uint16_t> class_id{0};  // 0: in the pool; may be read by anybody
  bool draining = false;              // being emptied: no chunk of it may be handed out
  uint32_t used = 0;                  // chunks in use
  uint32_t fresh = 0;       // chunks handed out at least once; those above were never touched
  uint32_t free_count = 0;  // chunks on the page's free list
  Handle free_head = kNoChunk;
  PageIndex next = kNoPage;  // among the class's pages with a free chunk
  PageIndex prev = kNoPage;

  void Reset(uint16_t owner) {
    class_id.store(owner, std::memory_order_relaxed);
    draining = false;
    used = fresh = free_count = 0;
    free_head = kNoChunk;
    next = prev = kNoPage;
  }
};

struct LruTuning {
  bool segmented = true;
  unsigned hot_percent = 20;
  unsigned warm_percent = 40;
  double hot_max_factor = 0.2;
  double warm_max_factor = 2.0;
};

// What moved in a call, for the counters.
struct LruMoves {
  unsigned to_cold = 0;
  unsigned to_warm = 0;
  unsigned within = 0;
};

class alignas(64) SlabClass {
 public:
  // `pages` is the table of all pages, shared by the classes.
  void Init(uint16_t id, size_t chunk_bytes, const ChunkSpace& space, PageInfo* pages);

  [[nodiscard]] size_t id() const { return id_; }
  [[nodiscard]] size_t chunk_bytes() const { return chunk_bytes_; }
  [[nodiscard]] size_t chunks_per_page() const { return chunks_per_page_; }
  [[nodiscard]] ClassMutex& mutex() const ABSL_LOCK_RETURNED(mutex_) { return mutex_; }

  // --- Chunks.  A popped chunk has kTaken set and nothing else. ---
  // kNoChunk when every page is full.
  [[nodiscard]] Handle PopFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns a page that became empty and is not needed, already detached; else kNoPage.
  [[nodiscard]] PageIndex PushFree(Handle chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddPage(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // From now on no chunk of the page is handed out.  False when it is not ours, or draining
  // already.
  [[nodiscard]] bool StartDraining(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the drained page out of the class; false, and the page back in service, when it is not
  // empty.
  [[nodiscard]] bool FinishDraining(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A page with free chunks, the emptier the better; kNoPage when there is none.
  [[nodiscard]] PageIndex EmptiestPage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes a chunk that the caller keeps for reuse out of service instead, when its page is being
  // emptied; then true, and the chunk is gone.
  [[nodiscard]] bool DropIfDraining(Handle chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Any thread, no lock.
  [[nodiscard]] bool has_pages() const { return page_count_.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] size_t pages() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return page_count_; }
  [[nodiscard]] size_t used() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return used_; }
  // Chunks that PopFree() could hand out.
  [[nodiscard]] size_t available() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return available_;
  }

  // --- Restart: what is there already, while nobody else is looking ---
  struct Queue {
    Handle head = kNoChunk;
    Handle tail = kNoChunk;
    uint32_t count = 0;
  };
  // A page whose PageInfo is filled in.
  void AdoptPage(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AdoptQueue(Segment segment, const Queue& queue) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    queues_[static_cast<size_t>(segment)] = queue;
  }
  [[nodiscard]] const Queue& queue(Segment segment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[static_cast<size_t>(segment)];
  }

  // --- LRU ---
  void LinkFront(Handle item, Segment segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unlink(Handle item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Puts `fresh`, a copy, where `item` is.
  void Replace(Handle item, Handle fresh) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Times are in Ticks.  Moves up to `budget` items out of HOT and WARM where those are over their
  // share.
  LruMoves Balance(const LruTuning& tuning, uint32_t now, unsigned budget)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The item to evict next, kNoChunk when there is none; `skip` passes over so many good ones.
  // Items read since the last look get their second chance.
  [[nodiscard]] Handle PickVictim(const LruTuning& tuning, uint32_t now, unsigned skip,
                                  LruMoves* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The neighbour of `item` away from the tail, kNoChunk at the head.
  [[nodiscard]] Handle Before(Handle item) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return Header(item)->prev;
  }
  // Of those that can be reached: a restored queue may have others (Restorer::NoteQueue).
  [[nodiscard]] size_t items(Segment segment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Queue& queue = queues_[static_cast<size_t>(segment)];
    return queue.tail == kNoChunk ? 0 : queue.count;
  }
  [[nodiscard]] size_t items() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] Handle tail(Segment segment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[static_cast<size_t>(segment)].tail;
  }
  // Ticks since the segment's tail was last read or stored; 0 when the segment is empty.
  [[nodiscard]] uint32_t TailAge(Segment segment, uint32_t now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How long a new item that nobody reads is kept: the age of HOT's tail.
  [[nodiscard]] uint32_t ProbationAge(uint32_t now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // None of its items was stored or read for longer than `ticks`, as far as a few of them tell.
  [[nodiscard]] bool IsIdle(uint32_t now, uint32_t ticks) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Dies on a broken list or count.  Calls visit(item) for each item.
  template <typename Visit>
  void CheckInvariants(Visit&& visit) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  // Looks at so many items for one that was not read lately; each one passed over has paid by a
  // read.
  static constexpr unsigned kVictimSearch = 128;

  [[nodiscard]] ChunkHeader* Header(Handle handle) const { return space_.At<ChunkHeader>(handle); }
  [[nodiscard]] size_t FreeOn(const PageInfo& page) const { return chunks_per_page_ - page.used; }
  void ListPage(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnlistPage(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Move(Handle item, Segment to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The `skip`-th item from the tail, or the head.  REQUIRES: the segment is not empty.
  [[nodiscard]] Handle FromTail(Segment segment, unsigned skip) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] bool IsOver(Segment segment, unsigned percent, size_t all) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return items(segment) * 100 > all * percent;
  }
  [[nodiscard]] bool IsActive(Handle item) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Clears kActive; whether it was set.
  bool TakeActive(Handle item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MoveTail(Segment from, LruMoves* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  uint16_t id_ = 0;
  size_t chunk_bytes_ = 0;
  size_t chunks_per_page_ = 0;
  ChunkSpace space_;
  PageInfo* pages_ = nullptr;

  mutable ClassMutex mutex_;
  std::array<Queue, kSegments> queues_ ABSL_GUARDED_BY(mutex_);
  PageIndex listed_ ABSL_GUARDED_BY(mutex_) = kNoPage;  // first page with a free chunk
  std::atomic<size_t> page_count_{0};                   // written under the lock
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t available_ ABSL_GUARDED_BY(mutex_) = 0;
};

inline bool SlabClass::DropIfDraining(Handle chunk) {
  return pages_[space_.PageOf(chunk)].draining && PushFree(chunk) == kNoPage;
}

inline void SlabClass::LinkFront(Handle item, Segment segment) {
  Queue& queue = queues_[static_cast<size_t>(segment)];
  ChunkHeader* header = Header(item);
  header->set_segment(segment);
  header->prev = kNoChunk;
  header->next = queue.head;
  if (queue.head != kNoChunk) Header(queue.head)->prev = item;
  queue.head = item;
  if (queue.tail == kNoChunk) queue.tail = item;
  ++queue.count;
}

inline void SlabClass::Unlink(Handle item) {
  const ChunkHeader* header = Header(item);
  Queue& queue = queues_[static_cast<size_t>(header->segment())];
  (header->prev != kNoChunk ? Header(header->prev)->next : queue.head) = header->next;
  (header->next != kNoChunk ? Header(header->next)->prev : queue.tail) = header->prev;
  --queue.count;
}

template <typename Visit>
void SlabClass::CheckInvariants(Visit&& visit) const {
  for (size_t s = 0; s < kSegments; ++s) {
    size_t count = 0;
    Handle before = kNoChunk;
    for (Handle item = queues_[s].head; item != kNoChunk; item = Header(item)->next) {
      const bool sound =
          Header(item)->prev == before && static_cast<size_t>(Header(item)->segment()) == s;
      if (!sound) __builtin_trap();
      visit(item);
      before = item;
      ++count;
    }
    if (queues_[s].tail != before || queues_[s].count != count) __builtin_trap();
  }
}

}  // namespace larder
