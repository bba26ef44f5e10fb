// core/page_mover.cc — takes a page from one class for another: its items move to free chunks of
// their own class, or are evicted.
//
// One page at a time (mover_mutex_).  The page first stops handing out chunks; then each item on it
// is copied and the index entry switched under the key's lock, so no reader notices.  CAS, expiry,
// flags and the place in the LRU stay.

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr unsigned kPageAttempts = 8;    // pages of a class to try when some are pinned
constexpr unsigned kEvacuatePasses = 3;  // over one page, for chunks in somebody's hands
// How long a dry pool is followed by a reserve, for each second of slab_automove_window.
constexpr TimeMs kHungerMs = 20;
constexpr size_t kReservePages = 4;      // a mebibyte
constexpr uint32_t kLeastAdvantage = 2;  // ticks: below it two ages are the same
constexpr double kIdleWeight = 1 << 30;  // more than any chunk has bytes
constexpr double kAdvantage = 2;     // so that no page goes to and fro for a difference by chance
constexpr double kUsualRatio = 0.8;  // slab_automove_ratio's default: neither eager nor slow
constexpr double kLastPage = 0.25;   // what a class is thought to keep when it gives its last page

}  // namespace

// What a page of a class is worth, the less the more: how long it keeps new items that nobody
// reads, times their size.  Where that is the same for all classes, so is what the last byte of
// each adds to the hit ratio, more or less: an item's chance of being asked for falls with the time
// that it was not, and a page has room for the more items the smaller they are.
double Store::Impl::ExcessAfterGiving(SlabClass& other, uint32_t ticks) {
  // Tails of large values only: such a class gives when nobody else does.
  if (other.items() == 0) return 0;
  const auto pages = static_cast<double>(other.pages());
  return (1.0 + other.ProbationAge(ticks)) * static_cast<double>(other.chunk_bytes()) *
         std::max(pages - 1, kLastPage) / pages;
}

// And as it would be with one page more; negative without items, so that it takes from anybody.
double Store::Impl::ExcessAfterTaking(SlabClass& own, uint32_t ticks) {
  if (own.items() == 0) return -1;
  const auto pages = static_cast<double>(own.pages());
  return (own.ProbationAge(ticks) + kLeastAdvantage) * static_cast<double>(own.chunk_bytes()) *
         (pages + 1) / pages;
}

// A page changes its class when it holds nothing, when nobody uses what the giver has, or when the
// giver is much better off than the taker even so.
Store::Impl::Donor Store::Impl::FindDonor(TimeMs now, size_t for_class, bool must) {
  const uint32_t ticks = Ticks::At(now);
  double own_excess = -1;
  uint32_t own_age = Ticks::kMask;
  if (for_class != 0) {
    ClassLock lock(classes_[for_class].mutex());
    own_excess = ExcessAfterTaking(classes_[for_class], ticks);
    own_age = classes_[for_class].ProbationAge(ticks);
  }
  Donor richest;
  double most_excess = -1;
  Donor roomiest;
  size_t most_spare_pages = 0;
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    SlabClass& other = classes_[id];
    if (id == for_class || !other.has_pages()) continue;
    ClassLock lock(other.mutex());
    if (other.pages() == 0) continue;
    const size_t spare = other.available() / other.chunks_per_page();
    if (spare > most_spare_pages) {
      most_spare_pages = spare;
      roomiest = {&other, true, for_class};
    }
    double excess = ExcessAfterGiving(other, ticks);
    // Nobody has used it for half the time that the taker keeps items: whatever it holds, others
    // need it more.
    if (other.IsIdle(ticks, own_age / 2 + kLeastAdvantage)) {
      excess = kIdleWeight * other.ProbationAge(ticks);
    }
    if (excess > most_excess) {
      most_excess = excess;
      richest = {&other, false, for_class};
    }
  }
  if (roomiest.slab_class != nullptr) return roomiest;
  const double least = own_excess * kAdvantage * kUsualRatio;
  if (must || own_excess < 0 ||
      most_excess * tuning_.automove_ratio.load(std::memory_order_relaxed) > least)
    return richest;
  return {};
}

PageIndex Store::Impl::PickPage(SlabClass& donor, bool fragmented, unsigned attempt) {
  ClassLock lock(donor.mutex());
  if (fragmented && attempt == 0) return donor.EmptiestPage();
  // Where the next victims are: what lies around them was stored at about the same time.
  for (const Segment segment : {Segment::kCold, Segment::kHot, Segment::kWarm, Segment::kTemp}) {
    Handle item = donor.tail(segment);
    for (unsigned i = 0; i < attempt && item != kNoChunk; ++i) {
      item = space().At<ChunkHeader>(item)->prev;
    }
    if (item == kNoChunk) continue;
    const Item* it = ItemAt(item);
    return space().PageOf(it->has(kLarge) ? it->large()->first_piece : item);
  }
  // Nothing but tails of large values: any page, another one each time.
  unsigned skip = attempt;
  for (PageIndex page = 1; page <= pool_.highest_page(); ++page) {
    if (pages_[page].class_id.load(std::memory_order_relaxed) != donor.id()) continue;
    if (skip-- == 0) return page;
  }
  return kNoPage;
}

bool Store::Impl::TakePage(OpContext& ctx, const Donor& donor, Steal how, PageIndex* page) {
  SlabClass& slab_class = *donor.slab_class;
  for (unsigned attempt = 0; attempt < kPageAttempts; ++attempt) {
    const PageIndex candidate = PickPage(slab_class, donor.fragmented, attempt);
    if (candidate == kNoPage) return false;
    {
      ClassLock lock(slab_class.mutex());
      if (!slab_class.StartDraining(candidate)) continue;
    }
    if (CanMove(slab_class, candidate, how)) Evacuate(ctx, slab_class, candidate);
    ClassLock lock(slab_class.mutex());
    if (slab_class.FinishDraining(candidate)) {
      *page = candidate;
      ctx.stats->Add(ThreadCounter::pages_moved);
      if (ctx.IsWatched(kSysEvents)) NotePageMove(ctx, slab_class.id(), donor.taker);
      return true;
    }
  }
  return false;
}

bool Store::Impl::StealPage(OpContext& ctx, size_t class_id, Steal how) {
  PageIndex page = kNoPage;
  bool was_free = false;
  {
    MutexLock mover(mover_mutex_);
    // While this thread waited, another one may have made room.
    if (class_id != 0 && AddPageFromPool(classes_[class_id])) return true;
    const Donor donor = FindDonor(ctx.now, class_id, how != Steal::kIfBetter);
    if (donor.slab_class == nullptr || (!options_.evict && !donor.fragmented)) return false;
    was_free = donor.fragmented;
    if (!TakePage(ctx, donor, how, &page)) {
      if (how == Steal::kIfBetter) return false;
      for (size_t id = sizes_.count(); id >= 1 && page == kNoPage; --id) {
        if (id != class_id) (void)TakePage(ctx, {&classes_[id], false, class_id}, how, &page);
      }
    }
  }
  if (page == kNoPage) return false;
  if (class_id == 0 || pool_.ExcessPages() != 0) {
    pool_.Release(page);
    pool_.ReleaseExcess();
    return class_id == 0 || AddPageFromPool(classes_[class_id]);
  }
  // Where a page cost no item there may be more of them: look again before anything is evicted.
  if (was_free) evictions_[class_id].since_look.store(kRarestLook, std::memory_order_relaxed);
  // Where one page was taken the next one will be soon.
  const bool was_hungry = IsHungry(ctx.now);
  last_hunger_.store(ctx.now, std::memory_order_relaxed);
  hungry_class_.store(class_id, std::memory_order_relaxed);
  if (!was_hungry) WakeThreads();
  ClassLock lock(classes_[class_id].mutex());
  classes_[class_id].AddPage(page);
  return true;
}

// False: it holds a part of an upload on its way, or of a value being sent, so that emptying the
// rest would be in vain; or with its headers of large values those would go, which fill many pages.
// All of that may change at any moment.
bool Store::Impl::CanMove(SlabClass& donor, PageIndex page, Steal how) {
  size_t chunks = 0;
  size_t headers = 0;
  size_t rescued = 0;
  {
    ClassLock lock(donor.mutex());
    chunks = pages_[page].fresh;
    rescued = donor.available() + donor.items();
  }
  for (size_t i = 0; i < chunks; ++i) {
    auto* piece = reinterpret_cast<Piece*>(space().PageAddress(page) + i * donor.chunk_bytes());
    const uint16_t bits = piece->bits.load(std::memory_order_acquire);
    if ((bits & (kLinked | kLarge)) == (kLinked | kLarge)) {
      const auto* item = reinterpret_cast<const Item*>(piece);
      if (item->large()->refs.load(std::memory_order_relaxed) > 1) return false;
      ++headers;
    }
    if ((bits & kPiece) == 0) continue;
    Stripe& stripe = StripeOf(piece->hash());
    StripeLock lock(stripe.mutex);
    const IndexStripe::Slot slot = FindHandle(stripe, piece->hash(), piece->owner);
    if (!slot) return false;
    const Item* item = ItemAt(slot.handle());
    if (item->has(kLarge) && item->large()->refs.load(std::memory_order_relaxed) > 1) return false;
  }
  return how == Steal::kAtAnyPrice || headers <= rescued;
}

void Store::Impl::Evacuate(OpContext& ctx, SlabClass& donor, PageIndex page) {
  for (unsigned pass = 0; pass < kEvacuatePasses; ++pass) {
    size_t chunks = 0;
    {
      ClassLock lock(donor.mutex());
      if (pages_[page].used == 0) return;
      chunks = pages_[page].fresh;
    }
    for (size_t i = 0; i < chunks; ++i) {
      char* chunk = space().PageAddress(page) + i * donor.chunk_bytes();
      const uint16_t bits =
          reinterpret_cast<ChunkHeader*>(chunk)->bits.load(std::memory_order_acquire);
      if ((bits & kPiece) != 0) {
        EvacuatePiece(ctx, donor, space().HandleOf(chunk));
      } else if ((bits & kLinked) != 0) {
        EvacuateItem(ctx, donor, space().HandleOf(chunk));
      }
    }
    sched_yield();
  }
}

// Where to move an item to.  `worth_an_eviction`: rather lose the class's next victim than this
// one.
Handle Store::Impl::RescueChunk(OpContext& ctx, SlabClass& donor, bool worth_an_eviction) {
  {
    ClassLock lock(donor.mutex());
    if (const Handle chunk = donor.PopFree()) return chunk;
  }
  if (!worth_an_eviction || !options_.evict) return kNoChunk;
  // The next victims often lie on the page itself, and would have to go anyway: on to one
  // elsewhere.
  for (size_t i = 0; i < donor.chunks_per_page(); ++i) {
    bool freed = false;
    if (const Handle chunk = EvictOne(ctx, donor, &freed)) return chunk;
    if (!freed) break;
    ClassLock lock(donor.mutex());
    if (const Handle chunk = donor.PopFree()) return chunk;
  }
  return kNoChunk;
}

void Store::Impl::EvacuateItem(OpContext& ctx, SlabClass& donor, Handle handle) {
  // The page hands out no chunks, so the key's bytes stay even if the item goes now.
  Item* item = ItemAt(handle);
  const uint64_t hash = HashOf(handle);
  // With a header goes a large value.
  const bool hot = (item->bits() & (kActive | kLarge)) != 0 || item->segment() == Segment::kWarm;
  Handle to = RescueChunk(ctx, donor, hot);
  Stripe& stripe = StripeOf(hash);
  {
    StripeLock lock(stripe.mutex);
    if (const IndexStripe::Slot slot = FindHandle(stripe, hash, handle)) {
      // Acquire: what the last reader read, it read before it let go.
      const bool pinned =
          item->has(kLarge) && item->large()->refs.load(std::memory_order_acquire) > 1;
      const bool dead = Expired(*item, ctx.now) || Flushed(*item);
      if (pinned) {
        // Its readers hold its address: the page stays.
      } else if (to != kNoChunk && !dead) {
        MoveItem(ctx, stripe, slot, to);
        to = kNoChunk;
      } else if (dead || options_.evict) {
        ctx.stats->Add(ThreadCounter::reassign_evictions);
        const Handle chunk = Evict(ctx, stripe, hash, slot);
        if (chunk != kNoChunk) Free(chunk);
      }
    }
  }
  if (to != kNoChunk) Free(to);
}

void Store::Impl::MoveItem(OpContext& ctx, Stripe& /*stripe*/, IndexStripe::Slot slot, Handle to) {
  const Handle from = slot.handle();
  const Item* item = ItemAt(from);
  SlabClass& queues = LruClassOf(from);
  {
    ClassLock lock(queues.mutex());
    // Under this lock and the key's nobody else writes to the item.
    std::memcpy(space().Address(to), space().Address(from), item->shape().bytes());
    queues.Replace(from, to);
  }
  if (item->has(kLarge)) {
    for (Handle at = item->large()->first_piece; at != kNoChunk; at = space().At<Piece>(at)->next) {
      space().At<Piece>(at)->owner = to;
    }
  }
  slot.set_handle(to);
  Free(from);
  ctx.stats->Add(ThreadCounter::reassign_rescues);
}

void Store::Impl::EvacuatePiece(OpContext& ctx, SlabClass& donor, Handle handle) {
  auto* piece = space().At<Piece>(handle);
  const uint64_t hash = piece->hash();
  // Values of all ages share a page: rather the oldest one goes than whichever lies here.
  Handle to = RescueChunk(ctx, donor, /*worth_an_eviction=*/true);
  {
    Stripe& stripe = StripeOf(hash);
    StripeLock lock(stripe.mutex);
    const IndexStripe::Slot slot = FindHandle(stripe, hash, piece->owner);
    Item* item = slot ? ItemAt(slot.handle()) : nullptr;
    // Not linked: on its way in or out.  Pinned: being sent.
    if (item != nullptr && item->has(kLarge) &&
        item->large()->refs.load(std::memory_order_acquire) == 1) {
      if (to != kNoChunk) {
        MovePiece(item, handle, to);
        to = kNoChunk;
      } else if (options_.evict) {
        ctx.stats->Add(ThreadCounter::reassign_evictions);
        (void)Evict(ctx, stripe, hash, slot);
      }
    }
  }
  if (to != kNoChunk) Free(to);
}

void Store::Impl::MovePiece(Item* item, Handle from, Handle to) {
  Handle* link = &item->large()->first_piece;
  while (*link != kNoChunk && *link != from) link = &space().At<Piece>(*link)->next;
  if (*link == kNoChunk) {  // no longer a piece of it
    Free(to);
    return;
  }
  const auto* piece = space().At<Piece>(from);
  std::memcpy(space().Address(to), space().Address(from), sizeof(Piece) + piece->bytes);
  *link = to;
  Free(from);
}

LimitResult Store::Impl::SetMemoryLimit(uint64_t bytes) {
  if (options_.preallocate || options_.lock_memory || options_.memory_file != nullptr) {
    return LimitResult::kFixed;
  }
  const uint64_t reach =
      (pool_.capacity() - 1) * uint64_t{pool_.page_bytes()};  // page 0 is not used
  if (bytes > reach || bytes / 2 < options_.max_item_bytes) return LimitResult::kOutOfReach;
  pool_.SetLimit(bytes);
  // None evicts before it has asked for a page.
  for (ClassEvictions& evictions : evictions_) {
    evictions.since_look.store(0, std::memory_order_relaxed);
  }
  WakeThreads();
  return LimitResult::kDone;
}

ReassignResult Store::Impl::Reassign(int64_t from, int64_t to) {
  if (from == to) return ReassignResult::kSame;
  const auto count = static_cast<int64_t>(sizes_.count());
  const auto spare = [&](int64_t id) {
    SlabClass& own = classes_[static_cast<size_t>(id)];
    ClassLock lock(own.mutex());
    return own.pages() > 1 && (options_.evict || own.available() >= own.chunks_per_page());
  };
  if (from == -1) {
    for (int64_t id = 1; id <= count && from == -1; ++id) {
      if (id != to && spare(id)) from = id;
    }
  }
  if (from < 0 || from > count || to < 0 || to > count) return ReassignResult::kBadClass;
  if (from == 0 ? pool_.free_pages() == 0 : !spare(from)) return ReassignResult::kNoSpare;
  uint32_t none = 0;
  const uint32_t wish =
      kAsked | static_cast<uint32_t>(from) << kSourceShift | static_cast<uint32_t>(to);
  if (!asked_move_.compare_exchange_strong(none, wish, std::memory_order_acq_rel)) {
    return ReassignResult::kBusy;
  }
  WakeThreads();
  return ReassignResult::kStarted;
}

void Store::Impl::MoveAskedPage(OpContext& ctx) {
  const uint32_t wish = asked_move_.load(std::memory_order_acquire) & ~kAsked;
  const size_t from = wish >> kSourceShift;
  const size_t to = wish & (kMaxClasses - 1);
  if (from == 0) {
    (void)AddPageFromPool(classes_[to]);
  } else {
    Donor donor{&classes_[from], false};
    {
      ClassLock lock(classes_[from].mutex());
      donor.fragmented = classes_[from].available() >= classes_[from].chunks_per_page();
    }
    PageIndex page = kNoPage;
    MutexLock mover(mover_mutex_);
    if (TakePage(ctx, donor, Steal::kAtAnyPrice, &page)) {
      if (to == 0) {
        pool_.Release(page);
      } else {
        ClassLock lock(classes_[to].mutex());
        classes_[to].AddPage(page);
      }
    }
  }
  asked_move_.store(0, std::memory_order_release);
}

// Whether a class took a page of another one a moment ago.
bool Store::Impl::IsHungry(TimeMs now) const {
  const TimeMs hunger = last_hunger_.load(std::memory_order_relaxed);
  const TimeMs minded = kHungerMs * tuning_.automove_window.load(std::memory_order_relaxed);
  return hunger != 0 && now < hunger + minded;
}

bool Store::Impl::RunPageMover(OpContext& ctx) {
  const bool was_asked = asked_move_.load(std::memory_order_acquire) != 0;
  if (was_asked) MoveAskedPage(ctx);
  const bool is_over = pool_.ExcessPages() != 0;
  while (options_.evict && pool_.ExcessPages() != 0 && StealPage(ctx, 0, Steal::kAtAnyPrice)) {
  }
  pool_.ReleaseExcess();
  const bool joined = pool_.JoinPages();
  pool_.LookForRoom();
  const bool hungry = IsHungry(ctx.now);
  if (hungry) FillReserve(ctx);
  return was_asked || is_over || joined || hungry;
}

void Store::Impl::FillReserve(OpContext& ctx) {
  const bool full = pool_.backed_pages() >= pool_.LimitPages();
  const bool automove = tuning_.automove.load(std::memory_order_relaxed) != 0;
  if (!options_.evict || !automove || !full) return;
  while (pool_.free_pages() < kReservePages) {
    PageIndex page = kNoPage;
    {
      MutexLock mover(mover_mutex_);
      const Donor donor =
          FindDonor(ctx.now, hungry_class_.load(std::memory_order_relaxed), /*must=*/false);
      if (donor.slab_class == nullptr || !TakePage(ctx, donor, Steal::kIfBetter, &page)) return;
    }
    pool_.Release(page);
  }
}

}  // namespace larder
