// core/allocation.cc — where chunks come from: the class's free ones, the pool, an eviction,
// another class.

#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <thread>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr unsigned kVictimAttempts = 16;
// Rounds without any progress before memory counts as exhausted: all of it is pinned or in flight.
constexpr unsigned kAllocateRounds = 2000;
constexpr unsigned kRoundsBeforeSleep = 64;
constexpr int kAutomoveEager = 2;     // asks at every eviction
constexpr size_t kPagesPerClass = 4;  // with so many there is no need to share
// Without evictions: what a store that finds no room looks at before it is refused.
constexpr size_t kDeadLook = 4;           // items from each end of the class's queues
constexpr size_t kReclaimBuckets = 4096;  // of the index, about 40,000 items
constexpr size_t kReclaimSlice = 256;
constexpr TimeMs kReclaimEvery = 10;  // milliseconds, once a pass found nothing

void WaitForRoom(unsigned round) {
  if (round < kRoundsBeforeSleep) {
    sched_yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace

bool Store::Impl::TooLarge(size_t key_bytes, size_t value_bytes) const {
  const size_t overhead = Item::kHeaderBytes + Item::OptionBytes(kOptionMask);
  return value_bytes > options_.max_item_bytes ||
         key_bytes + value_bytes + overhead > options_.max_item_bytes;
}

// Whether the pool is worth asking: full as it is most of the time, a class that evicts anyway asks
// every so often only.
bool Store::Impl::TimeToAskPool(const SlabClass& slab_class) const {
  constexpr uint32_t kEvery = 16;  // evictions
  const auto& count = evictions_[slab_class.id()].since_look;
  return pool_.free_pages() != 0 || count.load(std::memory_order_relaxed) % kEvery == 0;
}

bool Store::Impl::AddPageFromPool(SlabClass& slab_class) {
  const PageIndex page = pool_.Acquire();
  if (page == kNoPage) return false;
  ClassLock lock(slab_class.mutex());
  slab_class.AddPage(page);
  return true;
}

void Store::Impl::Free(Handle chunk) {
  PageIndex page = kNoPage;
  {
    SlabClass& slab_class = ClassOf(chunk);
    ClassLock lock(slab_class.mutex());
    page = slab_class.PushFree(chunk);
  }
  if (page != kNoPage) pool_.Release(page);
}

// Every so many evictions a class asks whether another one's items are worth less than its own.
bool Store::Impl::TimeToSteal(SlabClass& slab_class) {
  const int automove = tuning_.automove.load(std::memory_order_relaxed);
  if (automove == 0) return false;
  const auto interval = automove == kAutomoveEager
                            ? 1
                            : static_cast<uint32_t>(std::clamp<size_t>(
                                  slab_class.chunks_per_page() / 8, 1, kRarestLook));
  auto& count = evictions_[slab_class.id()].since_look;
  return count.load(std::memory_order_relaxed) >= interval;
}

// Where memory is short of pages for every class to have one, a class must earn its first page by
// half a page's worth of demand; until then its items live in a somewhat larger class.
size_t Store::Impl::SettleNewClass(size_t class_id) {
  const SlabClass& wanted = classes_[class_id];
  if (pool_.LimitPages() >= kPagesPerClass * sizes_.count()) return class_id;
  auto& demand = evictions_[class_id].demand;
  const uint32_t asked = demand.load(std::memory_order_relaxed) + 1;
  demand.store(asked, std::memory_order_relaxed);
  if (asked < wanted.chunks_per_page() / 2) {
    for (size_t id = class_id + 1; id <= sizes_.count(); ++id) {
      if (classes_[id].chunk_bytes() * 2 > wanted.chunk_bytes() * 3) break;
      if (classes_[id].has_pages()) return id;
    }
  }
  demand.store(0, std::memory_order_relaxed);
  return class_id;
}

Handle Store::Impl::TakeUnused(SlabClass& slab_class) {
  do {
    ClassLock lock(slab_class.mutex());
    if (const Handle chunk = slab_class.PopFree()) return chunk;
  } while (AddPageFromPool(slab_class));
  return kNoChunk;
}

Handle Store::Impl::TryAllocate(OpContext& ctx, size_t class_id, Stripe* held) {
  class_id = SettleClass(class_id);
  SlabClass& slab_class = classes_[class_id];
  do {
    ClassLock lock(slab_class.mutex());
    if (const Handle chunk = slab_class.PopFree()) return chunk;
  } while (TimeToAskPool(slab_class) && AddPageFromPool(slab_class));
  if (!options_.evict || TimeToSteal(slab_class)) return kNoChunk;
  return EvictHeld(ctx, slab_class, held);
}

// Where every page holds what cannot move, a class without chunks gets no page: the nearest class
// that has one to spare must do.
Handle Store::Impl::Borrow(OpContext& ctx, size_t class_id, size_t least_id, bool* freed) {
  const auto from = [&](size_t id) {
    if (!classes_[id].has_pages()) return kNoChunk;
    {
      ClassLock lock(classes_[id].mutex());
      if (const Handle chunk = classes_[id].PopFree()) return chunk;
    }
    return EvictOne(ctx, classes_[id], freed);
  };
  Handle chunk = kNoChunk;
  for (size_t id = class_id + 1; id <= sizes_.count() && chunk == kNoChunk && !*freed; ++id) {
    chunk = from(id);
  }
  for (size_t id = class_id; id > least_id && chunk == kNoChunk && !*freed;) chunk = from(--id);
  return chunk;
}

Handle Store::Impl::Allocate(OpContext& ctx, size_t class_id, size_t least_id) {
  least_id = std::min(least_id, class_id);
  class_id = SettleClass(class_id);
  SlabClass& slab_class = classes_[class_id];
  for (unsigned round = 0; round < kAllocateRounds; ++round) {
    if (const Handle chunk = TakeUnused(slab_class)) return chunk;
    if (!options_.evict) {
      if (!Reclaim(ctx, slab_class)) break;
      continue;
    }
    if (TimeToSteal(slab_class)) {
      evictions_[class_id].since_look.store(0, std::memory_order_relaxed);
      if (StealPage(ctx, class_id, Steal::kIfBetter)) continue;
    }
    bool freed = false;
    if (const Handle chunk = EvictOne(ctx, slab_class, &freed)) return chunk;
    const bool at_any_price = round >= kRoundsBeforeSleep;
    if (freed || StealPage(ctx, class_id, at_any_price ? Steal::kAtAnyPrice : Steal::kMust)) {
      continue;
    }
    if (const Handle chunk = Borrow(ctx, class_id, least_id, &freed)) return chunk;
    if (freed) continue;
    if (pool_.backed_pages() == 0) break;  // and none can be had: there is nothing to wait for
    WaitForRoom(round);
  }
  ctx.stats->Add(ClassCounter::outofmemory, class_id);
  return kNoChunk;
}

bool Store::Impl::ReclaimTails(OpContext& ctx, SlabClass& slab_class) {
  std::array<std::pair<Handle, uint64_t>, kSegments * kDeadLook> items;
  size_t count = 0;
  {
    ClassLock lock(slab_class.mutex());
    for (size_t s = 0; s < kSegments; ++s) {
      Handle item = slab_class.tail(static_cast<Segment>(s));
      for (size_t i = 0; i < kDeadLook && item != kNoChunk; ++i) {
        items[count++] = {item, HashOf(item)};
        item = slab_class.Before(item);
      }
    }
  }
  bool is_any = false;
  for (const auto& [handle, hash] : std::span(items).first(count)) {
    Stripe& stripe = StripeOf(hash);
    StripeLock lock(stripe.mutex);
    const IndexStripe::Slot slot = FindHandle(stripe, hash, handle);
    if (!slot || !(Expired(*ItemAt(handle), ctx.now) || Flushed(*ItemAt(handle)))) continue;
    if (const Handle chunk = Evict(ctx, stripe, hash, slot)) Free(chunk);
    is_any = true;
  }
  return is_any;
}

bool Store::Impl::Reclaim(OpContext& ctx, SlabClass& slab_class) {
  if (ReclaimTails(ctx, slab_class)) return true;
  const auto available = [&] {
    ClassLock lock(slab_class.mutex());
    return slab_class.available();
  };
  const size_t before = available();
  const bool is_flushed = swept_epoch_.load(std::memory_order_relaxed) != epoch_.load();
  if (!is_flushed && ctx.now < next_reclaim_.load(std::memory_order_relaxed)) return false;
  for (size_t done = 0; done < kReclaimBuckets; done += kReclaimSlice) {
    const bool is_over = RunCrawler(ctx, kReclaimSlice);
    if (available() > before || StealPage(ctx, slab_class.id(), Steal::kIfBetter)) return true;
    if (!is_over) continue;
    next_reclaim_.store(ctx.now + kReclaimEvery, std::memory_order_relaxed);
    break;
  }
  return false;
}

void Store::Impl::CountMoves(OpContext& ctx, size_t class_id, const LruMoves& moves) {
  if (moves.to_cold != 0) ctx.stats->Add(ClassCounter::moves_to_cold, class_id, moves.to_cold);
  if (moves.to_warm != 0) ctx.stats->Add(ClassCounter::moves_to_warm, class_id, moves.to_warm);
  if (moves.within != 0) ctx.stats->Add(ClassCounter::moves_within_lru, class_id, moves.within);
}

// The next one to go and its key's hash; it may be gone as soon as this returns.
Handle Store::Impl::PickVictim(OpContext& ctx, SlabClass& slab_class, unsigned skip,
                               uint64_t* hash) {
  LruMoves moves;
  Handle victim = kNoChunk;
  {
    ClassLock lock(slab_class.mutex());
    victim = slab_class.PickVictim(Lru(), Ticks::At(ctx.now), skip, &moves);
    if (victim != kNoChunk) {
      NextVictim& next = evictions_[slab_class.id()].next;
      *hash = next.handle == victim ? next.hash : HashOf(victim);
      next.handle = slab_class.Before(victim);
      if (next.handle != kNoChunk) FetchVictim(slab_class, next);
    }
  }
  CountMoves(ctx, slab_class.id(), moves);
  return victim;
}

// What evicting it will need: its bucket, and the item that comes behind it.
void Store::Impl::FetchVictim(SlabClass& slab_class,
                              NextVictim& next) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  next.hash = HashOf(next.handle);
  StripeOf(next.hash).index.PrefetchBucket(next.hash);
  const Handle then = slab_class.Before(next.handle);
  if (then == kNoChunk) return;
  __builtin_prefetch(space().Address(then));
  __builtin_prefetch(space().Address(then) + 64);
}

Handle Store::Impl::EvictOne(OpContext& ctx, SlabClass& slab_class, bool* freed) {
  unsigned skip = 0;
  for (unsigned attempt = 0; attempt < kVictimAttempts; ++attempt) {
    uint64_t hash = 0;
    const Handle victim = PickVictim(ctx, slab_class, skip, &hash);
    if (victim == kNoChunk) return kNoChunk;
    Stripe& stripe = StripeOf(hash);
    StripeLock lock(stripe.mutex);
    const IndexStripe::Slot slot = FindHandle(stripe, hash, victim);
    if (!slot) continue;  // somebody else was faster
    const Item* item = ItemAt(victim);
    if (item->has(kLarge) && item->large()->refs.load(std::memory_order_relaxed) > 1) {
      ctx.stats->Add(ClassCounter::lrutail_reflocked, slab_class.id());
      ++skip;
      continue;
    }
    const Handle chunk = Evict(ctx, stripe, hash, slot);
    // What was freed may be of the class asked for, or not: the caller looks.
    if (chunk == kNoChunk || &ClassOf(chunk) != &slab_class) *freed = true;
    return chunk;
  }
  return kNoChunk;
}

// With another stripe's lock held: only an item whose own stripe is free at once.
[[gnu::flatten]] Handle Store::Impl::EvictHeld(OpContext& ctx, SlabClass& slab_class,
                                               Stripe* held) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  uint64_t hash = 0;
  const Handle victim = PickVictim(ctx, slab_class, 0, &hash);
  if (victim == kNoChunk) return kNoChunk;
  Stripe& stripe = StripeOf(hash);
  // The caller looks at entries of its own stripe, which must stay where they are.
  if (&stripe == held || !stripe.mutex.TryLock()) return kNoChunk;
  Handle chunk = kNoChunk;
  if (const IndexStripe::Slot slot = FindHandle(stripe, hash, victim)) {
    // A large item is for the slow path: it frees many chunks of several classes.
    if (!ItemAt(victim)->has(kLarge)) chunk = Evict(ctx, stripe, hash, slot);
  }
  stripe.mutex.Unlock();
  return chunk;
}

[[gnu::noinline]] bool Store::Impl::EvictBeside(OpContext& ctx, Stripe& stripe, uint64_t hash) {
  if (!options_.evict) return false;
  const uint32_t now = Ticks::At(ctx.now);
  Handle victim = kNoChunk;
  uint32_t most = 0;
  stripe.index.VisitPlace(IndexStripe::PlaceIn(hash), [&](Handle handle) {
    const uint32_t age = Ticks::Age(now, ItemAt(handle)->ticks());
    if (victim == kNoChunk || age > most) {
      victim = handle;
      most = age;
    }
  });
  if (victim == kNoChunk) return false;
  const uint64_t victim_hash = HashOf(victim);
  const Handle chunk = Evict(ctx, stripe, victim_hash, FindHandle(stripe, victim_hash, victim));
  if (chunk != kNoChunk) Free(chunk);
  return true;
}

Handle Store::Impl::Evict(OpContext& ctx, Stripe& stripe, uint64_t hash, IndexStripe::Slot slot) {
  const Handle handle = slot.handle();
  Item* item = ItemAt(handle);
  SlabClass& slab_class = LruClassOf(handle);
  const size_t id = slab_class.id();
  ThreadStats& stats = *ctx.stats;
  if (Expired(*item, ctx.now) || Flushed(*item)) {
    stats.Add(ClassCounter::reclaimed, id);
    if (!item->has(kFetched)) stats.Add(ClassCounter::expired_unfetched, id);
  } else {
    stats.Add(ClassCounter::evicted, id);
    ClassEvictions& evictions = evictions_[id];
    evictions.ticks.store(Ticks::Age(Ticks::At(ctx.now), item->ticks()), std::memory_order_relaxed);
    stats.Add(ClassCounter::direct_reclaims, id);
    if (item->deadline() != kNever) stats.Add(ClassCounter::evicted_nonzero, id);
    if (!item->has(kFetched)) {
      stats.Add(ClassCounter::evicted_unfetched, id);
      ghosts_.Add(hash);
    }
    if (item->has(kActive)) stats.Add(ClassCounter::evicted_active, id);
    if (ctx.IsWatched(kEvictions)) NoteEviction(ctx, *item, id);
    evictions.since_look.store(evictions.since_look.load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
  }
  stripe.index.Remove(hash, slot);
  if (item->has(kLarge)) {
    Detach(ctx, handle);
    return kNoChunk;
  }
  CountUnlinked(ctx, *item, id);
  ClassLock lock(slab_class.mutex());
  slab_class.Unlink(handle);
  item->ClearBits(static_cast<uint16_t>(~kTaken));
  return slab_class.DropIfDraining(handle) ? kNoChunk : handle;
}

void Store::Impl::CountUnlinked(OpContext& ctx, const Item& item, size_t class_id) {
  ctx.stats->Add(ClassCounter::items_removed, class_id);
  ctx.stats->Add(ClassCounter::bytes_removed, class_id, item.total_bytes());
  if (options_.track_sizes) TrackSize(item, -1);
}

void Store::Impl::Detach(OpContext& ctx, Handle handle) {
  Item* item = ItemAt(handle);
  SlabClass& slab_class = LruClassOf(handle);
  CountUnlinked(ctx, *item, slab_class.id());
  const bool large = item->has(kLarge);
  PageIndex page = kNoPage;
  {
    ClassLock lock(slab_class.mutex());
    slab_class.Unlink(handle);
    if (!large) page = slab_class.PushFree(handle);
  }
  if (page != kNoPage) pool_.Release(page);
  if (large) {
    item->ClearBits(kLinked);
    Unref(item);
  }
}

}  // namespace larder
