// core/store.cc — finding, reading, deleting and linking items: what every command is made of.

#include "core/store.h"

#include <algorithm>

#include "core/store_impl.h"

namespace larder {

IndexStripe::Slot Store::Impl::FindHandle(Stripe& stripe, uint64_t hash, Handle handle) {
  return stripe.index.Find(hash, [&](Handle other) { return other == handle; });
}

IndexStripe::Slot Store::Impl::FindLive(OpContext& ctx, Stripe& stripe, const Key& key,
                                        bool count_read) {
  const IndexStripe::Slot slot = stripe.index.Find(
      key.hash, [&](Handle handle) { return ItemAt(handle)->key() == key.bytes; });
  if (!slot) return slot;
  const Item* item = ItemAt(slot.handle());
  const bool flushed = Flushed(*item);
  if (!flushed && !Expired(*item, ctx.now)) return slot;
  if (count_read) ctx.stats->Add(flushed ? ThreadCounter::get_flushed : ThreadCounter::get_expired);
  if (!item->has(kFetched)) {
    ctx.stats->Add(ClassCounter::expired_unfetched, LruClassOf(slot.handle()).id());
  }
  Unlink(ctx, stripe, key.hash, slot);
  return {};
}

void Store::Impl::Unlink(OpContext& ctx, Stripe& stripe, uint64_t hash, IndexStripe::Slot slot) {
  const Handle handle = slot.handle();
  stripe.index.Remove(hash, slot);
  Detach(ctx, handle, /*keep_chunk=*/false);
}

Segment Store::Impl::FirstSegment(Deadline deadline, TimeMs now) const {
  if (!tuning_.segmented) return Segment::kCold;
  if (options_.temporary_ttl_seconds >= 0 && deadline != kNever) {
    const auto ttl_ms = static_cast<uint64_t>(options_.temporary_ttl_seconds) * 1000;
    if (deadline <= now + ttl_ms) return Segment::kTemp;
  }
  return Segment::kHot;
}

void Store::Impl::CountLinked(OpContext& ctx, const Item& item, size_t class_id) {
  ctx.stats->Add(ClassCounter::linked, class_id);
  ctx.stats->Add(ClassCounter::items_added, class_id);
  ctx.stats->Add(ClassCounter::bytes_added, class_id, item.total_bytes());
  if (options_.track_sizes) TrackSize(item, 1);
}

bool Store::Impl::Link(OpContext& ctx, Stripe& stripe, uint64_t hash, Handle handle,
                       IndexStripe::Slot old) {
  Item* item = ItemAt(handle);
  item->set_cas(++stripe.cas);
  NoteDeadline(stripe, item->deadline());
  const Handle old_handle = old ? old.handle() : kNoChunk;
  if (old) {
    old.set_handle(handle);
  } else {
    const size_t before = stripe.index.MemoryBytes();
    if (!stripe.index.Insert(hash, handle, [&](Handle other) { return HashOf(other); })) {
      return false;
    }
    UpdateIndexCharge(stripe, before);
  }
  SlabClass& slab_class = LruClassOf(handle);
  {
    ClassLock lock(slab_class.mutex());
    slab_class.LinkFront(handle, FirstSegment(item->deadline(), ctx.now));
  }
  item->MarkLinked();
  CountLinked(ctx, *item, slab_class.id());
  if (old_handle != kNoChunk) Detach(ctx, old_handle, /*keep_chunk=*/false);
  return true;
}

void Store::Impl::UpdateIndexCharge(Stripe& stripe, size_t before) {
  const size_t now = stripe.index.MemoryBytes();
  if (now == before) return;
  pool_.SetCharge(index_bytes_.fetch_add(now - before, std::memory_order_relaxed) + now - before);
}

Item* Store::Impl::BuildItem(Handle chunk, const Item::Shape& shape, std::string_view key,
                             TimeMs now, Deadline deadline) {
  Item* item = ItemAt(chunk);
  const auto epoch = static_cast<uint32_t>(epoch_.load(std::memory_order_acquire));
  item->Init(shape, Ticks::At(now), epoch, deadline);
  std::copy(key.begin(), key.end(), item->key_data());
  return item;
}

// The first read sets one bit, the second another: an item read once is not yet worth keeping.
void Store::Impl::MarkRead(Item& item, TimeMs now) {
  const uint16_t bits = item.bits();
  if ((bits & kFetched) == 0) {
    item.SetBits(kFetched);
  } else if ((bits & kActive) == 0) {
    item.SetBits(kActive);
  }
  const uint32_t ticks = Ticks::At(now);
  if (item.ticks() != ticks) item.set_ticks(ticks);
}

ReadResult Store::Impl::Read(OpContext& ctx, const Key& key, const ReadOptions& options,
                             void (*visit)(void*, const ValueView&), void* arg) {
  ApplyPendingFlush(ctx);
  ctx.stats->Add(options.touch ? ThreadCounter::cmd_touch : ThreadCounter::cmd_get);
  return Mutate(ctx, key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return ReadLocked(ctx, stripe, source, key, options, visit, arg);
  });
}

std::optional<ReadResult> Store::Impl::ReadLocked(OpContext& ctx, Stripe& stripe,
                                                  ChunkSource& source, const Key& key,
                                                  const ReadOptions& options,
                                                  void (*visit)(void*, const ValueView&),
                                                  void* arg) {
  IndexStripe::Slot slot = FindLive(ctx, stripe, key, /*count_read=*/!options.touch);
  if (!slot) {
    ctx.stats->Add(options.touch ? ThreadCounter::touch_misses : ThreadCounter::get_misses);
    return ReadResult::kMiss;
  }
  if (options.touch && !SetDeadline(ctx, stripe, source, key.hash, &slot, options.deadline)) {
    return std::nullopt;
  }
  const Handle handle = slot.handle();
  Item* item = ItemAt(handle);
  const size_t class_id = LruClassOf(handle).id();
  const auto segment = static_cast<unsigned>(item->segment());
  const auto first = static_cast<unsigned>(ClassCounter::hits_to_hot);
  ctx.stats->Add(
      options.touch ? ClassCounter::touch_hits : static_cast<ClassCounter>(first + segment),
      class_id);
  ValueView view{
      .key = item->key(),
      .flags = item->flags(),
      .cas = item->cas(),
      .deadline = item->deadline(),
      .last_access =
          ctx.now -
          std::min(ctx.now, TimeMs{Ticks::Age(Ticks::At(ctx.now), item->ticks())} * Ticks::kMs),
      .was_fetched = item->has(kFetched),
      .size = item->value_bytes(),
      .bytes = {},
      .store = facade_,
      .item = item};
  if (!item->has(kLarge)) {
    view.bytes = item->small_value();
  } else if (const auto* piece = space().At<Piece>(item->large()->first_piece);
             piece->next == kNoChunk) {
    view.bytes = {reinterpret_cast<const char*>(piece) + sizeof(Piece), piece->bytes};
  }
  MarkRead(*item, ctx.now);
  visit(arg, view);
  return ReadResult::kHit;
}

// False only when the field's memory is still to be had (then nothing has changed).  When there is
// none to be had at all, the item keeps its deadline: a touch does not lose data.
std::optional<bool> Store::Impl::SetDeadline(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                             uint64_t hash, IndexStripe::Slot* slot,
                                             Deadline deadline) {
  Handle handle = slot->handle();
  Item* item = ItemAt(handle);
  if (!item->has(kHasDeadline) && deadline != kNever) {
    Item::Shape shape = item->shape();
    shape.has_deadline = true;
    const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe);
    if (chunk == kNoChunk) {
      if (source.exhausted()) return false;
      return std::nullopt;
    }
    Item* copy = BuildItem(chunk, shape, item->key(), ctx.now, deadline);
    copy->set_ticks(item->ticks());
    copy->SetBits(item->bits() & (kFetched | kActive));
    const std::string_view value = item->small_value();
    std::copy(value.begin(), value.end(), copy->value_data());
    const uint64_t cas = item->cas();
    const uint64_t last_cas = stripe.cas;
    Link(ctx, stripe, hash, chunk, *slot);
    copy->set_cas(cas);  // a touch is not a change
    stripe.cas = last_cas;
    return true;
  }
  if (item->has(kHasDeadline)) {
    item->set_deadline(deadline);
    NoteDeadline(stripe, deadline);
  }
  return true;
}

DeleteResult Store::Impl::Delete(OpContext& ctx, const Key& key, uint64_t compare_cas) {
  ApplyPendingFlush(ctx);
  Stripe& stripe = StripeOf(key.hash);
  StripeLock lock(stripe.mutex);
  const IndexStripe::Slot slot = FindLive(ctx, stripe, key);
  if (!slot) {
    ctx.stats->Add(ThreadCounter::delete_misses);
    return DeleteResult::kNotFound;
  }
  const Handle handle = slot.handle();
  if (compare_cas != 0 && ItemAt(handle)->cas() != compare_cas) return DeleteResult::kExists;
  ctx.stats->Add(ClassCounter::delete_hits, LruClassOf(handle).id());
  Unlink(ctx, stripe, key.hash, slot);
  return DeleteResult::kDeleted;
}

bool Store::Impl::Touch(OpContext& ctx, const Key& key, Deadline deadline) {
  ApplyPendingFlush(ctx);
  ctx.stats->Add(ThreadCounter::cmd_touch);
  return Mutate(ctx, key, [&](Stripe& stripe, ChunkSource& source) -> std::optional<bool> {
    stripe.mutex.AssertHeld();
    IndexStripe::Slot slot = FindLive(ctx, stripe, key);
    if (!slot) {
      ctx.stats->Add(ThreadCounter::touch_misses);
      return false;
    }
    if (!SetDeadline(ctx, stripe, source, key.hash, &slot, deadline)) return std::nullopt;
    MarkRead(*ItemAt(slot.handle()), ctx.now);
    ctx.stats->Add(ClassCounter::touch_hits, LruClassOf(slot.handle()).id());
    return true;
  });
}

void Store::Impl::FlushAll(OpContext& ctx, TimeMs when) {
  ctx.stats->Add(ThreadCounter::cmd_flush);
  if (when > ctx.now) {
    flush_at_.store(when, std::memory_order_relaxed);
    return;
  }
  flush_at_.store(0, std::memory_order_relaxed);
  BumpEpoch(ctx);
}

void Store::Impl::ApplyPendingFlush(OpContext& ctx) {
  TimeMs at = flush_at_.load(std::memory_order_relaxed);
  if (at == 0 || at > ctx.now) return;
  if (flush_at_.compare_exchange_strong(at, 0, std::memory_order_relaxed)) BumpEpoch(ctx);
}

// --- The facade ---

Store::Store(const StoreOptions& options, const Clock& clock)
    : impl_(std::make_unique<Impl>(this, options, clock)) {}
Store::~Store() = default;

const StoreOptions& Store::options() const { return impl_->options_; }
StatsRegistry& Store::stats() { return impl_->stats_; }
const Clock& Store::clock() const { return impl_->clock_; }
Key Store::MakeKey(std::string_view bytes) const { return impl_->MakeKey(bytes); }

void Store::PrefetchBucket(const Key& key) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  impl_->StripeOf(key.hash).index.PrefetchBucket(key.hash);
}

void Store::PrefetchItem(const Key& key) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const Impl& impl = *impl_;
  impl_->StripeOf(key.hash).index.PrefetchEntries(key.hash, [&](Handle handle) {
    const char* item = impl.space().Address(handle);
    __builtin_prefetch(item);
    __builtin_prefetch(item + 64);
  });
}

ReadResult Store::ReadWith(OpContext& ctx, const Key& key, const ReadOptions& options,
                           void (*visit)(void*, const ValueView&), void* arg) {
  return impl_->Read(ctx, key, options, visit, arg);
}

StoreResult Store::Put(OpContext& ctx, const StoreRequest& request, std::string_view value,
                       uint64_t* cas_out) {
  return impl_->Put(ctx, request, value, cas_out);
}
UploadRefusal Store::BeginUpload(OpContext& ctx, const StoreRequest& request, size_t value_bytes,
                                 std::unique_ptr<Upload>* upload) {
  return impl_->BeginUpload(ctx, request, value_bytes, upload);
}
StoreResult Store::FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload, uint64_t* cas_out) {
  return impl_->FinishUpload(ctx, std::move(upload), cas_out);
}
void Store::RefuseStore(OpContext& ctx, const StoreRequest& request, StoreResult why) {
  impl_->RefuseStore(ctx, request, why);
}
bool Store::UploadsWaiting() const { return impl_->uploads_.Waiting(impl_->clock_.NowMs()); }

DeleteResult Store::Delete(OpContext& ctx, const Key& key, uint64_t compare_cas) {
  return impl_->Delete(ctx, key, compare_cas);
}
bool Store::Touch(OpContext& ctx, const Key& key, Deadline deadline) {
  return impl_->Touch(ctx, key, deadline);
}
CounterResult Store::Increment(OpContext& ctx, const Key& key, uint64_t delta, uint64_t* value) {
  return impl_->Arithmetic(ctx, key, /*up=*/true, delta, value);
}
CounterResult Store::Decrement(OpContext& ctx, const Key& key, uint64_t delta, uint64_t* value) {
  return impl_->Arithmetic(ctx, key, /*up=*/false, delta, value);
}
void Store::FlushAll(OpContext& ctx, TimeMs when) { impl_->FlushAll(ctx, when); }

StoreInfo Store::Info() const { return impl_->Info(); }
std::vector<ClassInfo> Store::Classes() const { return impl_->Classes(); }
std::vector<std::pair<size_t, uint64_t>> Store::Sizes() const { return impl_->Sizes(); }
std::vector<size_t> Store::ChunkSizes() const {
  const auto& sizes = impl_->sizes_.sizes();
  return {sizes.begin() + 1, sizes.end()};
}
size_t Store::ItemBytes(size_t key_bytes, size_t value_bytes, bool flags, bool expires) const {
  return Item::Shape{.key_bytes = static_cast<uint8_t>(key_bytes),
                     .value_bytes = value_bytes,
                     .flags = flags ? 1U : 0U,
                     .has_cas = impl_->options_.use_cas,
                     .has_deadline = expires}
      .bytes();
}
void Store::RunMaintenance(OpContext& ctx) { impl_->RunAll(ctx); }
void Store::CheckInvariants() const { impl_->CheckInvariants(); }

Pin ValueView::MakePin() const { return store->impl().MakePin(static_cast<Item*>(item)); }

}  // namespace larder
