#include "core/memory/slab_class.h"

#include <algorithm>

namespace larder {
namespace {

constexpr double kYoung = 1000.0 / Ticks::kMs;  // one second is not old, whatever COLD looks like

}  // namespace

void SlabClass::Init(uint16_t id, size_t chunk_bytes, const ChunkSpace& space, PageInfo* pages) {
  id_ = id;
  chunk_bytes_ = chunk_bytes;
  chunks_per_page_ = space.page_bytes() / chunk_bytes;
  space_ = space;
  pages_ = pages;
}

Handle SlabClass::PopFree() {
  if (listed_ == kNoPage) return kNoChunk;
  const PageIndex index = listed_;
  PageInfo& page = pages_[index];
  Handle chunk = page.free_head;
  if (chunk != kNoChunk) {
    page.free_head = Header(chunk)->next;
    --page.free_count;
  } else {
    // Cut the next one: a page is touched no earlier than needed.
    chunk = space_.HandleOf(space_.PageAddress(index) + page.fresh * chunk_bytes_);
    ++page.fresh;
  }
  Header(chunk)->bits.store(kTaken, std::memory_order_relaxed);
  ++page.used;
  ++used_;
  --available_;
  if (page.used == chunks_per_page_) UnlistPage(index);
  return chunk;
}

PageIndex SlabClass::PushFree(Handle chunk) {
  const PageIndex index = space_.PageOf(chunk);
  PageInfo& page = pages_[index];
  Header(chunk)->bits.store(0, std::memory_order_release);
  --page.used;
  --used_;
  // The page mover still reads the keys of a draining page: leave its chunks as they are.
  if (page.draining) return kNoPage;
  Header(chunk)->next = page.free_head;
  page.free_head = chunk;
  ++page.free_count;
  ++available_;
  if (page.used + 1 == chunks_per_page_) ListPage(index);
  // One spare page's worth stays, so that a class does not fetch and return a page by turns.
  if (page.used == 0 && available_ >= 2 * chunks_per_page_) {
    UnlistPage(index);
    available_ -= chunks_per_page_;
    --page_count_;
    page.Reset(0);
    return index;
  }
  return kNoPage;
}

void SlabClass::AddPage(PageIndex page) {
  pages_[page].Reset(id_);
  ++page_count_;
  available_ += chunks_per_page_;
  ListPage(page);
}

void SlabClass::AdoptPage(PageIndex index) {
  const PageInfo& page = pages_[index];
  ++page_count_;
  used_ += page.used;
  available_ += FreeOn(page);
  if (page.used != chunks_per_page_) ListPage(index);
}

bool SlabClass::StartDraining(PageIndex index) {
  PageInfo& page = pages_[index];
  if (page.class_id != id_ || page.draining) return false;
  page.draining = true;
  available_ -= FreeOn(page);
  if (page.used != chunks_per_page_) UnlistPage(index);
  return true;
}

bool SlabClass::FinishDraining(PageIndex index) {
  PageInfo& page = pages_[index];
  if (page.used == 0) {
    --page_count_;
    page.Reset(0);
    return true;
  }
  // Back in service.  Chunks freed meanwhile were not put on the page's list: make it anew.
  page.draining = false;
  page.free_head = kNoChunk;
  page.free_count = 0;
  for (size_t i = 0; i < page.fresh; ++i) {
    char* chunk = space_.PageAddress(index) + i * chunk_bytes_;
    auto* header = reinterpret_cast<ChunkHeader*>(chunk);
    if (header->bits.load(std::memory_order_relaxed) != 0) continue;
    header->next = page.free_head;
    page.free_head = space_.HandleOf(chunk);
    ++page.free_count;
  }
  available_ += FreeOn(page);
  if (page.used != chunks_per_page_) ListPage(index);
  return false;
}

PageIndex SlabClass::EmptiestPage() const {
  constexpr unsigned kLook = 16;
  PageIndex best = kNoPage;
  PageIndex page = listed_;
  for (unsigned i = 0; i < kLook && page != kNoPage; ++i, page = pages_[page].next) {
    if (best == kNoPage || pages_[page].used < pages_[best].used) best = page;
  }
  return best;
}

void SlabClass::ListPage(PageIndex index) {
  PageInfo& page = pages_[index];
  page.prev = kNoPage;
  page.next = listed_;
  if (listed_ != kNoPage) pages_[listed_].prev = index;
  listed_ = index;
}

void SlabClass::UnlistPage(PageIndex index) {
  const PageInfo& page = pages_[index];
  if (page.prev != kNoPage) pages_[page.prev].next = page.next;
  if (page.next != kNoPage) pages_[page.next].prev = page.prev;
  if (listed_ == index) listed_ = page.next;
}

void SlabClass::Replace(Handle item, Handle fresh) {
  const ChunkHeader* header = Header(item);
  Queue& queue = queues_[static_cast<size_t>(header->segment())];
  Header(fresh)->next = header->next;
  Header(fresh)->prev = header->prev;
  (header->prev != kNoChunk ? Header(header->prev)->next : queue.head) = fresh;
  (header->next != kNoChunk ? Header(header->next)->prev : queue.tail) = fresh;
}

void SlabClass::Move(Handle item, Segment to) {
  Unlink(item);
  LinkFront(item, to);
}

bool SlabClass::IsActive(Handle item) const {
  return item != kNoChunk && (Header(item)->bits.load(std::memory_order_relaxed) & kActive) != 0;
}

bool SlabClass::TakeActive(Handle item) {
  if (!IsActive(item)) return false;
  auto& bits = Header(item)->bits;
  bits.fetch_and(static_cast<uint16_t>(~kActive), std::memory_order_relaxed);
  return true;
}

// The tail of HOT or WARM goes where its use says.
void SlabClass::MoveTail(Segment from, LruMoves* moves) {
  const Handle item = tail(from);
  if (TakeActive(item)) {
    ++(from == Segment::kWarm ? moves->within : moves->to_warm);
    Move(item, Segment::kWarm);
  } else {
    ++moves->to_cold;
    Move(item, Segment::kCold);
  }
  // The one that the next move will have to look at.
  if (const Handle last = tail(from); last != kNoChunk)
    __builtin_prefetch(Header(Header(last)->prev));
}

LruMoves SlabClass::Balance(const LruTuning& tuning, uint32_t now, unsigned budget) {
  LruMoves moves;
  if (!tuning.segmented) {
    // What is left from before the queues became one.
    for (; budget > 0 && items(Segment::kHot) + items(Segment::kWarm) > 0; --budget) {
      Move(tail(items(Segment::kWarm) > 0 ? Segment::kWarm : Segment::kHot), Segment::kCold);
      ++moves.to_cold;
    }
    return moves;
  }
  const size_t all = items();
  const double cold_age = TailAge(Segment::kCold, now);
  const auto over = [&](Segment segment, unsigned percent, double factor)
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                          if (IsOver(segment, percent, all)) return true;
                          const double age = TailAge(segment, now);
                          return items(segment) > 0 && items(Segment::kCold) > 0 &&
                                 age > cold_age * factor && age > kYoung;
                        };
  for (; budget > 0; --budget) {
    const bool is_hot_over = over(Segment::kHot, tuning.hot_percent, tuning.hot_max_factor);
    if (is_hot_over && IsActive(tail(Segment::kHot))) {
      MoveTail(Segment::kHot, &moves);
    } else if (over(Segment::kWarm, tuning.warm_percent, tuning.warm_max_factor)) {
      MoveTail(Segment::kWarm, &moves);
    } else {
      break;
    }
  }
  return moves;
}

Handle SlabClass::PickVictim(const LruTuning& tuning, uint32_t now, unsigned skip,
                             LruMoves* moves) {
  if (!tuning.segmented) {
    constexpr unsigned kBalanceBudget = 4;
    moves->to_cold += Balance(tuning, now, kBalanceBudget).to_cold;
  }
  const size_t all = items();
  for (unsigned looked = 0; looked < kVictimSearch; ++looked) {
    const size_t hot = items(Segment::kHot);
    const bool others = items(Segment::kWarm) + items(Segment::kCold) > skip;
    if (hot > skip && (IsOver(Segment::kHot, tuning.hot_percent, all) || !others)) {
      const Handle item = FromTail(Segment::kHot, skip);
      if (!TakeActive(item)) return item;
      ++moves->to_warm;
      Move(item, Segment::kWarm);
      continue;
    }
    if (!others) break;
    const bool warm_is_over = IsOver(Segment::kWarm, tuning.warm_percent, all);
    if (tuning.segmented && (warm_is_over || items(Segment::kCold) <= skip)) {
      MoveTail(Segment::kWarm, moves);
      if (items(Segment::kCold) <= skip) continue;
    }
    const Handle item = FromTail(Segment::kCold, skip);
    if (!TakeActive(item)) return item;
    const Segment to = tuning.segmented ? Segment::kWarm : Segment::kCold;
    ++(tuning.segmented ? moves->to_warm : moves->within);
    Move(item, to);
  }
  // All are in use: then the one that has waited longest.
  for (const Segment segment : {Segment::kCold, Segment::kWarm, Segment::kHot, Segment::kTemp}) {
    if (items(segment) != 0) return FromTail(segment, skip);
  }
  return kNoChunk;
}

Handle SlabClass::FromTail(Segment segment, unsigned skip) const {
  Handle item = tail(segment);
  for (; skip > 0 && Header(item)->prev != kNoChunk; --skip) item = Header(item)->prev;
  return item;
}

size_t SlabClass::items() const {
  size_t sum = 0;
  for (const Queue& queue : queues_) sum += queue.count;
  return sum;
}

uint32_t SlabClass::TailAge(Segment segment, uint32_t now) const {
  const Handle item = tail(segment);
  return item == kNoChunk ? 0 : Ticks::Age(now, space_.At<Item>(item)->ticks());
}

uint32_t SlabClass::ProbationAge(uint32_t now) const {
  for (const Segment segment : {Segment::kHot, Segment::kCold, Segment::kWarm, Segment::kTemp}) {
    if (items(segment) != 0) return TailAge(segment, now);
  }
  return 0;
}

bool SlabClass::IsIdle(uint32_t now, uint32_t ticks) const {
  for (const Queue& queue : queues_) {
    for (const Handle item : {queue.tail, queue.head}) {
      if (item != kNoChunk && Ticks::Age(now, space_.At<Item>(item)->ticks()) <= ticks)
        return false;
    }
  }
  return items() != 0;
}

}  // namespace larder
