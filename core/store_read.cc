// core/store_read.cc — get, touch, and the tokens that keep a crowd from fetching one value.

#include <algorithm>

#include "core/store_impl.h"

namespace larder {

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

ValueView Store::Impl::ViewOf(const OpContext& ctx, Item* item, size_t class_id) {
  const uint16_t bits = item->bits();
  ValueView view{
      .key = item->key(),
      .flags = item->flags(),
      .cas = item->cas(),
      .deadline = item->deadline(),
      // Rounded to whole ticks upwards, so that whole seconds come out whole.
      .last_access =
          ctx.now -
          std::min(ctx.now, TimeMs{Ticks::Age(Ticks::At(ctx.now), item->ticks())} * Ticks::kMs +
                                Ticks::kMs - 1),
      .was_fetched = (bits & kFetched) != 0,
      .binary_key = (bits & kBinaryKey) != 0,
      .stale = (bits & kStale) != 0,
      .token_sent = (bits & kTokenSent) != 0,
      .class_id = class_id,
      .size = item->value_bytes(),
      .bytes = {},
      .store = facade_,
      .item = item};
  if ((bits & kLarge) == 0) {
    view.bytes = item->small_value();
  } else if (const auto* piece = space().At<Piece>(item->large()->first_piece);
             piece->next == kNoChunk) {
    view.bytes = {reinterpret_cast<const char*>(piece) + sizeof(Piece), piece->bytes};
  }
  return view;
}

ReadResult Store::Impl::Read(OpContext& ctx, const Key& key, const ReadOptions& options,
                             Visit visit, void* arg) {
  ApplyPendingFlush(ctx);
  if (options.plain()) return ReadPlain(ctx, key, options.tokens, visit, arg);
  return Mutate(ctx, key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return ReadLocked(ctx, stripe, source, key, options, visit, arg);
  });
}

// The way of nearly all reads.
ReadResult Store::Impl::ReadPlain(OpContext& ctx, const Key& key, bool tokens, Visit visit,
                                  void* arg) {
  ctx.stats->Add(ThreadCounter::cmd_get);
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
  const size_t class_id = LruClassOf(handle).id();
  ctx.stats->Add(HitCounter(*item), class_id);
  ValueView view = ViewOf(ctx, item, class_id);
  if (tokens && view.stale && !view.token_sent) {
    view.token_won = true;
    item->SetBits(kTokenSent);
  }
  MarkRead(*item, ctx.now);
  visit(arg, view);
  return ReadResult::kHit;
}

std::optional<ReadResult> Store::Impl::ReadLocked(OpContext& ctx, Stripe& stripe,
                                                  ChunkSource& source, const Key& key,
                                                  const ReadOptions& options, Visit visit,
                                                  void* arg) {
  const bool counts_get = !options.touch && !options.uncounted;
  IndexStripe::Slot slot = FindLive(ctx, stripe, key, counts_get);
  if (!slot && options.create) return Create(ctx, stripe, source, key, options, visit, arg);
  if (slot && options.touch &&
      !SetDeadline(ctx, stripe, source, key.hash, &slot, options.deadline)) {
    return std::nullopt;
  }
  CountRead(ctx, options, slot);
  if (!slot) return ReadResult::kMiss;
  Item* item = ItemAt(slot.handle());
  ValueView view = ViewOf(ctx, item, LruClassOf(slot.handle()).id());
  view.item_bytes = item->total_bytes();
  if (options.tokens && !view.token_sent) {
    const bool ends_soon = options.recache && view.deadline != kNever &&
                           SecondsLeft(view.deadline, ctx.now) < options.recache_seconds;
    view.token_won = view.stale || ends_soon;
    if (view.token_won) item->SetBits(kTokenSent);
  }
  if (!options.peek) MarkRead(*item, ctx.now);
  visit(arg, view);
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
  const Handle chunk = source.Take(class_id, &stripe);
  if (chunk == kNoChunk && !source.exhausted()) return std::nullopt;
  CountRead(ctx, options, {});
  if (chunk == kNoChunk) return ReadResult::kOutOfMemory;
  Item* item = BuildItem(chunk, shape, key.bytes, ctx.now, options.create_deadline);
  item->SetBits(static_cast<uint16_t>(kTokenSent | (options.binary_key ? kBinaryKey : 0)));
  if (!Link(ctx, stripe, key.hash, chunk, {}, options.create_cas)) {
    Free(chunk);
    return ReadResult::kOutOfMemory;
  }
  ValueView view = ViewOf(ctx, item, ClassOf(chunk).id());
  view.item_bytes = item->total_bytes();
  view.token_sent = false;
  view.token_won = true;
  if (!options.peek) MarkRead(*item, ctx.now);
  visit(arg, view);
  return ReadResult::kMiss;
}

void Store::Impl::CountRead(OpContext& ctx, const ReadOptions& options, IndexStripe::Slot slot) {
  if (options.uncounted) return;
  ThreadStats& stats = *ctx.stats;
  stats.Add(options.touch ? ThreadCounter::cmd_touch : ThreadCounter::cmd_get);
  if (!slot) {
    stats.Add(options.touch ? ThreadCounter::touch_misses : ThreadCounter::get_misses);
    return;
  }
  stats.Add(options.touch ? ClassCounter::touch_hits : HitCounter(*ItemAt(slot.handle())),
            LruClassOf(slot.handle()).id());
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
    copy->SetBits(item->bits() & (kFetched | kActive | kStale | kTokenSent | kBinaryKey));
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

}  // namespace larder
