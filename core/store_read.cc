// core/store_read.cc — get, touch, and the tokens that keep a crowd from fetching one value.

#include <algorithm>

#include "core/store_impl.h"

namespace larder {

inline void Store::Impl::MarkRead(Item& item, TimeMs now) {
  constexpr uint16_t kRead = kFetched | kActive;
  if ((item.bits() & kRead) != kRead) item.SetBits(kRead);
  const uint32_t ticks = Ticks::At(now);
  if (item.ticks() != ticks) item.set_ticks(ticks);
}

inline ValueView Store::Impl::ViewOf(Item* item, uint16_t class_id) {
  const bool is_large = item->has(kLarge);
  const std::string_view bytes = is_large ? OnePiece(*item) : item->small_value();
  return {.size = is_large ? item->value_bytes() : bytes.size(),
          .bytes = bytes,
          .flags = item->flags(),
          .class_id = class_id,
          .bits = item->bits(),
          .token_won = false,
          .store = facade_,
          .item = item};
}

// The value of a large item, when it has one piece only.
std::string_view Store::Impl::OnePiece(const Item& item) const {
  const auto* piece = space().At<Piece>(item.large()->first_piece);
  if (piece->next != kNoChunk) return {};
  return {reinterpret_cast<const char*>(piece) + sizeof(Piece), piece->bytes};
}

[[gnu::flatten]] void Store::Prepare(std::span<Key> keys) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Impl& impl = *impl_;
  for (Key& key : keys) {
    if (key.bytes.empty()) continue;
    key.hash = impl.hasher_(key.bytes);
    Stripe& stripe = impl.StripeOf(key.hash);
    stripe.index.PrefetchBucket(key.hash);
    __builtin_prefetch(&stripe.mutex, /*rw=*/1);
  }
  if (keys.size() < 2) return;  // nothing to overlap with
  for (const Key& key : keys) {
    if (key.bytes.empty()) continue;
    impl.StripeOf(key.hash).index.PrefetchEntries(key.hash, [&](Handle handle) {
      const char* const item = impl.space().Address(handle);
      __builtin_prefetch(item);
      __builtin_prefetch(item + 64);
    });
  }
}

namespace {
const Item& ItemOf(const ValueView& view) { return *static_cast<const Item*>(view.item); }
}  // namespace

std::string_view ValueView::key() const { return ItemOf(*this).key(); }
uint64_t ValueView::cas() const { return ItemOf(*this).cas(); }
Deadline ValueView::deadline() const { return ItemOf(*this).deadline(); }
bool ValueView::was_fetched() const { return (bits & kFetched) != 0; }
bool ValueView::binary_key() const { return (bits & kBinaryKey) != 0; }
bool ValueView::stale() const { return (bits & kStale) != 0; }
bool ValueView::token_sent() const { return (bits & kTokenSent) != 0; }
size_t ValueView::item_bytes() const { return ItemOf(*this).total_bytes(); }

// Rounded to whole ticks upwards, so that whole seconds come out whole.
TimeMs ValueView::IdleMs(TimeMs now) const {
  const TimeMs age = Ticks::Age(Ticks::At(now), ItemOf(*this).ticks());
  return std::min(now, age * Ticks::kMs + Ticks::kMs - 1);
}

[[gnu::flatten]] ReadResult Store::ReadWith(OpContext& ctx, const Key& key,
                                            const ReadOptions& options, Visit visit, void* arg) {
  const ReadResult result = impl_->Read(ctx, key, options, visit, arg);
  if (PrefixTable* table = ctx.stats->prefixes()) [[unlikely]] {
    table->CountGet(key.bytes, result == ReadResult::kHit);
  }
  return result;
}

// The way of nearly all reads.
inline ReadResult Store::Impl::ReadPlain(OpContext& ctx, const Key& key, bool tokens, Visit visit,
                                         void* arg) {
  ApplyPendingFlush(ctx);
  ctx.SampleKey(key.bytes, key.hash);
  Stripe& stripe = StripeOf(key.hash);
  StripeLock lock(stripe.mutex);
  const IndexStripe::Slot slot = FindLive(ctx, stripe, key, /*count_read=*/true);
  if (!slot) {
    ctx.stats->Add(ThreadCounter::get_misses);
    return ReadResult::kMiss;
  }
  const Handle handle = slot.handle();
  Item* item = ItemAt(handle);
  const uint16_t class_id = LruClassIdOf(handle);
  ctx.stats->Add(HitCounter(*item), class_id);
  ValueView view = ViewOf(item, class_id);
  if (tokens && view.stale() && !view.token_sent()) {
    view.token_won = true;
    item->SetBits(kTokenSent);
  }
  visit(arg, view);
  MarkRead(*item, ctx.now);
  return ReadResult::kHit;
}

[[gnu::flatten]] ReadResult Store::ReadPlain(OpContext& ctx, const Key& key, Visit visit,
                                             void* arg) {
  const ReadResult result = impl_->ReadPlain(ctx, key, /*tokens=*/false, visit, arg);
  if (PrefixTable* table = ctx.stats->prefixes()) [[unlikely]] {
    table->CountGet(key.bytes, result == ReadResult::kHit);
  }
  return result;
}

ReadResult Store::Impl::Read(OpContext& ctx, const Key& key, const ReadOptions& options,
                             Visit visit, void* arg) {
  if (options.plain()) return ReadPlain(ctx, key, options.tokens, visit, arg);
  ApplyPendingFlush(ctx);
  return Mutate(ctx, key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return ReadLocked(ctx, stripe, source, key, options, visit, arg);
  });
}

std::optional<ReadResult> Store::Impl::ReadLocked(OpContext& ctx, Stripe& stripe,
                                                  ChunkSource& source, const Key& key,
                                                  const ReadOptions& options, Visit visit,
                                                  void* arg) {
  IndexStripe::Slot slot = FindLive(ctx, stripe, key, !options.uncounted);
  if (!slot && options.create) return Create(ctx, stripe, source, key, options, visit, arg);
  if (slot && options.touch && !SetDeadline(ctx, stripe, source, &slot, options.deadline)) {
    return std::nullopt;
  }
  CountRead(ctx, options, slot);
  if (!slot) return ReadResult::kMiss;
  Item* item = ItemAt(slot.handle());
  ValueView view = ViewOf(item, LruClassIdOf(slot.handle()));
  if (options.tokens && !view.token_sent()) {
    const Deadline deadline = item->deadline();
    const bool ends_soon = options.recache && deadline != kNever &&
                           SecondsLeft(deadline, ctx.now) < options.recache_seconds;
    view.token_won = view.stale() || ends_soon;
    if (view.token_won) item->SetBits(kTokenSent);
  }
  visit(arg, view);
  if (!options.peek) MarkRead(*item, ctx.now);
  return ReadResult::kHit;
}

// An empty item for a key that had none; its reader holds the token.
std::optional<ReadResult> Store::Impl::Create(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                              const Key& key, const ReadOptions& options,
                                              Visit visit, void* arg) {
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(key.bytes.size()),
                          .value_bytes = 0,
                          .flags = 0,
                          .has_cas = options_.use_cas,
                          .has_deadline = options.create_deadline != kNever};
  const size_t class_id = ClassFor(shape.bytes());
  const Handle chunk = source.Take(class_id, &stripe, nullptr);
  if (chunk == kNoChunk && !source.exhausted()) return std::nullopt;
  CountRead(ctx, options, {});
  if (chunk == kNoChunk) return ReadResult::kOutOfMemory;
  Item* item = BuildItem(chunk, shape, key.bytes, ctx.now, options.create_deadline);
  item->SetBits(static_cast<uint16_t>(kTokenSent | (options.binary_key ? kBinaryKey : 0)));
  if (!Link(ctx, stripe, key.hash, chunk, {}, options.create_cas)) {
    Free(chunk);
    return ReadResult::kOutOfMemory;
  }
  ValueView view = ViewOf(item, LruClassIdOf(chunk));
  view.bits &= static_cast<uint16_t>(~kTokenSent);
  view.token_won = true;
  visit(arg, view);
  if (!options.peek) MarkRead(*item, ctx.now);
  return ReadResult::kMiss;
}

void Store::Impl::CountRead(OpContext& ctx, const ReadOptions& options, IndexStripe::Slot slot) {
  if (options.uncounted) return;
  ThreadStats& stats = *ctx.stats;
  // An mg that misses is a get, whatever it would have set.
  const bool is_touch = options.touch && (slot || !options.tokens);
  if (is_touch) stats.Add(ThreadCounter::cmd_touch);
  if (!slot) {
    stats.Add(is_touch ? ThreadCounter::touch_misses : ThreadCounter::get_misses);
    return;
  }
  stats.Add(options.touch ? ClassCounter::touch_hits : HitCounter(*ItemAt(slot.handle())),
            LruClassIdOf(slot.handle()));
}

// False only when the field's memory is still to be had (then nothing has changed).  When there is
// none to be had at all, the item keeps its deadline: a touch does not lose data.
std::optional<bool> Store::Impl::SetDeadline(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                             IndexStripe::Slot* slot, Deadline deadline) {
  Handle handle = slot->handle();
  Item* item = ItemAt(handle);
  if (!item->has(kHasDeadline) && deadline != kNever) {
    Item::Shape shape = item->shape();
    shape.has_deadline = true;
    const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe, item);
    if (chunk == kNoChunk) {
      if (source.exhausted()) return false;
      return std::nullopt;
    }
    Item* copy = BuildItem(chunk, shape, item->key(), ctx.now, deadline);
    copy->set_ticks(item->ticks());
    copy->SetBits(item->bits() & (kFetched | kActive | kStale | kTokenSent | kBinaryKey));
    const std::string_view value = item->small_value();
    std::copy(value.begin(), value.end(), copy->value_data());
    Replace(ctx, stripe, *slot, chunk);
    return true;
  }
  if (item->has(kHasDeadline)) {
    item->set_deadline(deadline);
    NoteDeadline(stripe, deadline);
  }
  return true;
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
    if (!SetDeadline(ctx, stripe, source, &slot, deadline)) return std::nullopt;
    MarkRead(*ItemAt(slot.handle()), ctx.now);
    ctx.stats->Add(ClassCounter::touch_hits, LruClassIdOf(slot.handle()));
    return true;
  });
}

}  // namespace larder
