// core/store.cc — finding, reading, deleting and linking items: what every command is made of.

#include "core/store.h"

#include <algorithm>

#include "core/store_impl.h"

namespace larder {
namespace {

FetchStatus Fetched(bool found, bool live, bool flushed) {
  if (!found) return FetchStatus::kNotFound;
  if (live) return FetchStatus::kFound;
  return flushed ? FetchStatus::kFlushed : FetchStatus::kExpired;
}

}  // namespace

IndexStripe::Slot Store::Impl::FindHandle(Stripe& stripe, uint64_t hash, Handle handle) {
  return stripe.index.Find(hash, [&](Handle other) { return other == handle; });
}

IndexStripe::Slot Store::Impl::FindDead(OpContext& ctx, Stripe& stripe, const Key& key,
                                        IndexStripe::Slot slot, bool count_read) {
  Item* item = slot ? ItemAt(slot.handle()) : nullptr;
  const bool flushed = slot && Flushed(*item);
  const bool live = slot && !flushed && !Expired(*item, ctx.now);
  if (ctx.IsWatched(kFetchers)) {
    NoteFetch(ctx, key.bytes, Fetched(static_cast<bool>(slot), live, flushed), item,
              slot ? slot.handle() : kNoChunk);
  }
  if (!slot || live) return slot;
  if (count_read) ctx.stats->Add(flushed ? ThreadCounter::get_flushed : ThreadCounter::get_expired);
  if (!item->has(kFetched)) {
    ctx.stats->Add(ClassCounter::expired_unfetched, LruClassIdOf(slot.handle()));
  }
  Unlink(ctx, stripe, key.hash, slot);
  return {};
}

void Store::Impl::Unlink(OpContext& ctx, Stripe& stripe, uint64_t hash, IndexStripe::Slot slot) {
  const Handle handle = slot.handle();
  stripe.index.Remove(hash, slot);
  Detach(ctx, handle);
}

[[gnu::always_inline]] inline size_t Store::Impl::Attach(OpContext& ctx, Handle handle,
                                                         bool is_wanted) {
  Item* item = ItemAt(handle);
  SlabClass& slab_class = LruClassOf(handle);
  const Segment first = FirstSegment(item->deadline(), ctx.now);
  {
    ClassLock lock(slab_class.mutex());
    slab_class.LinkFront(handle, is_wanted && first == Segment::kHot ? Segment::kWarm : first);
  }
  item->MarkLinked();
  ctx.stats->Add(ClassCounter::items_added, slab_class.id());
  ctx.stats->Add(ClassCounter::bytes_added, slab_class.id(), item->total_bytes());
  if (options_.track_sizes) TrackSize(*item, 1);
  return slab_class.id();
}

bool Store::Impl::Link(OpContext& ctx, Stripe& stripe, uint64_t hash, Handle handle,
                       IndexStripe::Slot old, uint64_t new_cas) {
  Item* item = ItemAt(handle);
  item->set_cas(NextCas(stripe, new_cas));
  NoteDeadline(stripe, item->deadline());
  const Handle old_handle = old ? old.handle() : kNoChunk;
  if (old) {
    old.set_handle(handle);
  } else {
    const size_t before = stripe.index.MemoryBytes();
    bool has_place = false;
    do {
      has_place = stripe.index.Insert(
          hash, handle, [&](Handle other) { return HashOf(other); },
          [&](Handle other) { return space().Address(other); });
    } while (!has_place && EvictBeside(ctx, stripe, hash));
    ChargeIndex(before, stripe.index.MemoryBytes());
    if (!has_place) return false;
  }
  const bool is_wanted =
      old_handle != kNoChunk ? ItemAt(old_handle)->has(kFetched) : ghosts_.Take(hash);
  ctx.stats->Add(ClassCounter::linked, Attach(ctx, handle, is_wanted));
  if (old_handle != kNoChunk) Detach(ctx, old_handle);
  return true;
}

void Store::Impl::Replace(OpContext& ctx, Stripe& stripe, IndexStripe::Slot slot, Handle copy) {
  const Handle old = slot.handle();
  ItemAt(copy)->set_cas(ItemAt(old)->cas());
  NoteDeadline(stripe, ItemAt(copy)->deadline());
  slot.set_handle(copy);
  Attach(ctx, copy, ItemAt(copy)->has(kFetched));
  Detach(ctx, old);
}

void Store::Impl::ChargeIndex(uint64_t before, uint64_t now) {
  if (now == before) return;
  index_bytes_.fetch_add(now - before, std::memory_order_relaxed);
  pool_.Charge(static_cast<int64_t>(now - before));
}

Item* Store::Impl::BuildItem(Handle chunk, const Item::Shape& shape, std::string_view key,
                             TimeMs now, Deadline deadline) {
  Item* item = ItemAt(chunk);
  const auto epoch = static_cast<uint32_t>(epoch_.load(std::memory_order_acquire));
  item->Init(shape, Ticks::At(now), epoch, deadline);
  CopyBytes(item->key_data(), key.data(), key.size());
  return item;
}

DeleteResult Store::Impl::Delete(OpContext& ctx, const DeleteRequest& request) {
  ApplyPendingFlush(ctx);
  return Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return DeleteLocked(ctx, stripe, source, request);
  });
}

std::optional<DeleteResult> Store::Impl::DeleteLocked(OpContext& ctx, Stripe& stripe,
                                                      ChunkSource& source,
                                                      const DeleteRequest& request) {
  IndexStripe::Slot slot = FindLive(ctx, stripe, request.key);
  if (!slot || (request.compare_cas && ItemAt(slot.handle())->cas() != *request.compare_cas)) {
    ctx.stats->Add(ThreadCounter::delete_misses);
    return slot ? DeleteResult::kExists : DeleteResult::kNotFound;
  }
  if (request.drop_value) return DropValue(ctx, stripe, source, request, slot);
  if (!request.mark_stale) {
    ctx.stats->Add(ClassCounter::delete_hits, LruClassIdOf(slot.handle()));
    if (ctx.IsWatched(kDeletions)) NoteDelete(ctx, slot.handle(), request.command);
    Unlink(ctx, stripe, request.key.hash, slot);
    return DeleteResult::kDeleted;
  }
  if (request.deadline) {
    const auto set = SetDeadline(ctx, stripe, source, &slot, *request.deadline);
    if (!set) return std::nullopt;
    if (!*set) return DeleteResult::kOutOfMemory;
  }
  Item* item = ItemAt(slot.handle());
  item->ClearBits(kTokenSent);
  item->SetBits(kStale);
  item->set_cas(NextCas(stripe, request.new_cas));
  return DeleteResult::kDeleted;
}

// An empty item takes the place of the one at `slot`.
std::optional<DeleteResult> Store::Impl::DropValue(OpContext& ctx, Stripe& stripe,
                                                   ChunkSource& source,
                                                   const DeleteRequest& request,
                                                   IndexStripe::Slot slot) {
  const Deadline deadline = request.deadline.value_or(kNever);
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                          .value_bytes = 0,
                          .flags = request.flags,
                          .has_cas = options_.use_cas,
                          .has_deadline = deadline != kNever};
  const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe, ItemAt(slot.handle()));
  if (chunk == kNoChunk) {
    if (source.exhausted()) return DeleteResult::kOutOfMemory;
    return std::nullopt;
  }
  ctx.stats->Add(ClassCounter::delete_hits, LruClassIdOf(slot.handle()));
  Item* item = BuildItem(chunk, shape, request.key.bytes, ctx.now, deadline);
  const uint16_t kept = ItemAt(slot.handle())->bits() & kBinaryKey;
  item->SetBits(static_cast<uint16_t>(kept | (request.mark_stale ? kStale : 0)));
  Link(ctx, stripe, request.key.hash, chunk, slot, request.new_cas);
  return DeleteResult::kDeleted;
}

bool Store::Impl::FlushAll(OpContext& ctx, TimeMs when) {
  ApplyPendingFlush(ctx);  // one whose time has come must not be replaced
  if (when <= ctx.now) {
    if (!BeginFlush(ctx, {})) return false;
    flush_at_.store(0, std::memory_order_relaxed);
    return true;
  }
  if (BackgroundSweeps() && EpochsLeft() < 1) return false;
  ctx.stats->Add(ThreadCounter::cmd_flush);
  flush_at_.store(when, std::memory_order_relaxed);
  return true;
}

bool Store::Impl::FlushPrefix(OpContext& ctx, std::string_view prefix) {
  ApplyPendingFlush(ctx);
  return BeginFlush(ctx, prefix);
}

// The last epoch is left for the flush that is to come: whoever meets its time cannot wait.
bool Store::Impl::BeginFlush(OpContext& ctx, std::string_view prefix) {
  const std::unique_lock<std::mutex> guard(flush_mutex_, std::try_to_lock);
  if (!guard.owns_lock()) return false;
  if (BackgroundSweeps() && EpochsLeft() < 2) {
    WakeThreads();  // the crawler need not sleep on
    return false;
  }
  ctx.stats->Add(ThreadCounter::cmd_flush);
  BumpEpoch(ctx, prefix);
  return true;
}

bool Store::Impl::FlushedSince(Item& item, uint64_t now) {
  const uint64_t behind = (now - item.epoch()) & Item::kEpochMask;
  for (uint64_t epoch = now - behind + 1; epoch <= now; ++epoch) {
    const Flush& flush = flushes_[epoch & Item::kEpochMask];
    if (item.key().starts_with({flush.prefix.data(), flush.prefix_bytes})) return true;
  }
  item.set_epoch(static_cast<uint32_t>(now));
  return false;
}

void Store::Impl::ApplyFlush(OpContext& ctx) {
  TimeMs at = flush_at_.load(std::memory_order_relaxed);
  if (at == 0 || at > ctx.now) return;
  if (!flush_at_.compare_exchange_strong(at, 0, std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> guard(flush_mutex_);
  BumpEpoch(ctx, {});
}

// --- The facade ---

Store::Store(const StoreOptions& options, const Clock& clock)
    : impl_(std::make_unique<Impl>(this, options, clock)) {}
Store::~Store() = default;

const StoreOptions& Store::options() const { return impl_->options_; }
StatsRegistry& Store::stats() { return impl_->stats_; }
HotKeys& Store::hot_keys() { return impl_->hot_keys_; }
const Clock& Store::clock() const { return impl_->clock_; }
Key Store::MakeKey(std::string_view bytes) const { return impl_->MakeKey(bytes); }

UploadRefusal Store::BeginUpload(OpContext& ctx, const StoreRequest& request, size_t value_bytes,
                                 std::unique_ptr<Upload>* upload) {
  const UploadRefusal refusal = impl_->BeginUpload(ctx, request, value_bytes, upload);
  PrefixTable* const table = ctx.stats->prefixes();
  // Whoever has to wait comes again.
  if (table != nullptr && refusal != UploadRefusal::kBusy) [[unlikely]] {
    table->CountSet(request.key.bytes);
  }
  if (ctx.IsWatched(kMutations)) {
    if (refusal == UploadRefusal::kTooLarge) {
      impl_->NoteStore(ctx, request, StoreResult::kTooLarge, value_bytes);
    } else if (refusal == UploadRefusal::kOutOfMemory) {
      impl_->NoteStore(ctx, request, StoreResult::kOutOfMemory, value_bytes);
    }
  }
  return refusal;
}
StoreResult Store::FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload,
                                StoreAnswer* answer) {
  return impl_->FinishUpload(ctx, std::move(upload), answer);
}
void Store::RefuseStore(OpContext& ctx, const StoreRequest& request, StoreResult why) {
  if (PrefixTable* table = ctx.stats->prefixes()) [[unlikely]]
    table->CountSet(request.key.bytes);
  impl_->RefuseStore(ctx, request, why);
}
ClientMemory& Store::client_memory() { return impl_->client_memory(); }
bool Store::UploadsWaiting() const { return impl_->uploads_.Waiting(impl_->clock_.NowMs()); }

DeleteResult Store::Delete(OpContext& ctx, const DeleteRequest& request) {
  if (PrefixTable* table = ctx.stats->prefixes()) [[unlikely]] {
    table->CountDelete(request.key.bytes);
  }
  return impl_->Delete(ctx, request);
}
bool Store::Touch(OpContext& ctx, const Key& key, Deadline deadline) {
  return impl_->Touch(ctx, key, deadline);
}
CounterResult Store::Count(OpContext& ctx, const CounterRequest& request, CounterAnswer* answer) {
  return impl_->Count(ctx, request, answer);
}
bool Store::FlushAll(OpContext& ctx, TimeMs when) { return impl_->FlushAll(ctx, when); }
bool Store::FlushPrefix(OpContext& ctx, std::string_view prefix) {
  return impl_->FlushPrefix(ctx, prefix);
}

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
bool Store::Walk(OpContext& ctx, const WalkFilter& filter, WalkCursor* cursor,
                 std::vector<ItemInfo>* out) {
  return impl_->WalkSome(ctx, filter, cursor, out);
}
StoreTuning& Store::tuning() { return impl_->tuning_; }
LimitResult Store::SetMemoryLimit(uint64_t bytes) { return impl_->SetMemoryLimit(bytes); }
ReassignResult Store::Reassign(int64_t from, int64_t to) { return impl_->Reassign(from, to); }
bool Store::StartCrawl() { return impl_->StartCrawl(); }
const RestoreReport& Store::restore_report() const { return impl_->restored_.report; }
absl::Status Store::Save(uint64_t* items) { return impl_->Save(items); }
void Store::RunMaintenance(OpContext& ctx) { impl_->RunAll(ctx); }
void Store::CheckInvariants() const { impl_->CheckInvariants(); }

Pin ValueView::MakePin() const { return store->impl().MakePin(static_cast<Item*>(item)); }

}  // namespace larder
