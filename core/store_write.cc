// core/store_write.cc — set, add, replace, append, prepend, cas, incr and decr.

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kMaxDigits = 20;  // of 2^64 - 1

// A counter's text: digits, with blanks around them as memcached lets them be.
std::optional<uint64_t> ParseCounter(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  if (end != text.data() + text.size() && !blank(*end)) return std::nullopt;
  return number;
}

}  // namespace

StoreResult Store::Impl::Put(OpContext& ctx, const StoreRequest& request, std::string_view value,
                             uint64_t* cas_out) {
  ApplyPendingFlush(ctx);
  if (TooLarge(request.key.bytes.size(), value.size())) {
    RefuseStore(ctx, request, StoreResult::kTooLarge);
    return StoreResult::kTooLarge;
  }
  if (request.mode == StoreMode::kAppend || request.mode == StoreMode::kPrepend) {
    return Concat(ctx, request, value, cas_out);
  }
  if (value.size() > kLargeValueBytes) return PutLarge(ctx, request, value, cas_out);
  const StoreResult result = Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return PutLocked(ctx, stripe, source, request, value, cas_out);
  });
  if (result == StoreResult::kOutOfMemory) RefuseStore(ctx, request, result);
  return result;
}

void Store::Impl::RefuseStore(OpContext& ctx, const StoreRequest& request, StoreResult why) {
  ctx.stats->Add(why == StoreResult::kTooLarge ? ThreadCounter::store_too_large
                                               : ThreadCounter::store_no_memory);
  if (request.mode != StoreMode::kSet) return;
  // What a set could not replace must not be read as if the set had not been.
  Stripe& stripe = StripeOf(request.key.hash);
  StripeLock lock(stripe.mutex);
  if (const IndexStripe::Slot slot = FindLive(ctx, stripe, request.key)) {
    Unlink(ctx, stripe, request.key.hash, slot);
  }
}

std::optional<StoreResult> Store::Impl::Decide(OpContext& ctx, const StoreRequest& request,
                                               Item* old, Handle old_handle) {
  switch (request.mode) {
    case StoreMode::kSet:
      return std::nullopt;
    case StoreMode::kAdd:
      if (old == nullptr) return std::nullopt;
      MarkRead(*old, ctx.now);
      return StoreResult::kNotStored;
    case StoreMode::kReplace:
    case StoreMode::kAppend:
    case StoreMode::kPrepend:
      if (old == nullptr) return StoreResult::kNotStored;
      return std::nullopt;
    case StoreMode::kCas:
      if (old == nullptr) {
        ctx.stats->Add(ThreadCounter::cas_misses);
        return StoreResult::kNotFound;
      }
      const size_t class_id = LruClassOf(old_handle).id();
      if (request.compare_cas == 0 || old->cas() != request.compare_cas) {
        ctx.stats->Add(ClassCounter::cas_badval, class_id);
        return StoreResult::kExists;
      }
      ctx.stats->Add(ClassCounter::cas_hits, class_id);
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<StoreResult> Store::Impl::PutLocked(OpContext& ctx, Stripe& stripe,
                                                  ChunkSource& source, const StoreRequest& request,
                                                  std::string_view value, uint64_t* cas_out) {
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                          .value_bytes = value.size(),
                          .flags = request.flags,
                          .has_cas = options_.use_cas,
                          .has_deadline = request.deadline != kNever};
  const size_t class_id = ClassFor(shape.bytes());
  const IndexStripe::Slot old = FindLive(ctx, stripe, request.key);
  const Handle old_handle = old ? old.handle() : kNoChunk;
  Handle chunk = kNoChunk;
  const bool in_place =
      old && FitsInPlace(old_handle, shape, FirstSegment(request.deadline, ctx.now));
  if (!in_place) {
    chunk = source.Take(class_id, &stripe);
    if (chunk == kNoChunk) {
      if (source.exhausted()) return StoreResult::kOutOfMemory;
      return std::nullopt;
    }
  }
  ctx.stats->Add(ClassCounter::cmd_set, class_id);
  if (const auto refused = Decide(ctx, request, old ? ItemAt(old_handle) : nullptr, old_handle)) {
    if (chunk != kNoChunk) Free(chunk);
    return refused;
  }
  Item* item = nullptr;
  if (in_place) {
    item = Overwrite(ctx, stripe, request, value, old_handle);
  } else {
    item = BuildItem(chunk, shape, request.key.bytes, ctx.now, request.deadline);
    std::copy(value.begin(), value.end(), item->value_data());
    if (!Link(ctx, stripe, request.key.hash, chunk, old)) {
      Free(chunk);
      return StoreResult::kOutOfMemory;
    }
  }
  if (cas_out != nullptr) *cas_out = item->cas();
  return StoreResult::kStored;
}

// Whether a new value can take the place of the old one: nothing moves, and little room is lost.
bool Store::Impl::FitsInPlace(Handle old_handle, const Item::Shape& shape, Segment first_segment) {
  const Item* old = ItemAt(old_handle);
  const size_t room = ClassOf(old_handle).chunk_bytes();
  const size_t needed = shape.bytes();
  return !old->has(kLarge) && !shape.large() && (old->bits() & kOptionMask) == shape.options() &&
         needed <= room && (ClassFor(needed) == ClassFor(room) || room * 7 <= needed * 8) &&
         (old->segment() == Segment::kTemp) == (first_segment == Segment::kTemp);
}

Item* Store::Impl::Overwrite(OpContext& ctx, Stripe& stripe, const StoreRequest& request,
                             std::string_view value, Handle handle) {
  Item* item = ItemAt(handle);
  const size_t class_id = ClassOf(handle).id();
  if (options_.track_sizes) TrackSize(*item, -1);
  ctx.stats->Add(ClassCounter::bytes_removed, class_id, item->total_bytes());
  item->Rewrite(request.flags, request.deadline, value);
  ctx.stats->Add(ClassCounter::bytes_added, class_id, item->total_bytes());
  ctx.stats->Add(ClassCounter::linked, class_id);
  if (options_.track_sizes) TrackSize(*item, 1);
  item->set_cas(++stripe.cas);
  item->set_ticks(Ticks::At(ctx.now));
  // As good as new: not read yet, but not next to go either.
  if (item->has(kFetched)) item->ClearBits(kFetched);
  if (!item->has(kActive)) item->SetBits(kActive);
  NoteDeadline(stripe, request.deadline);
  return item;
}

StoreResult Store::Impl::Concat(OpContext& ctx, const StoreRequest& request, std::string_view value,
                                uint64_t* cas_out) {
  bool is_large = false;
  const StoreResult result = Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return ConcatLocked(ctx, stripe, source, request, value, cas_out, &is_large);
  });
  return is_large ? ConcatLarge(ctx, request, value, cas_out) : result;
}

std::optional<StoreResult> Store::Impl::ConcatLocked(OpContext& ctx, Stripe& stripe,
                                                     ChunkSource& source,
                                                     const StoreRequest& request,
                                                     std::string_view value, uint64_t* cas_out,
                                                     bool* is_large) {
  const IndexStripe::Slot slot = FindLive(ctx, stripe, request.key);
  if (!slot) {
    const size_t bytes = ItemShapeBytes(request, value.size());
    ctx.stats->Add(ClassCounter::cmd_set, ClassFor(bytes));
    return StoreResult::kNotStored;
  }
  Item* old = ItemAt(slot.handle());
  Item::Shape shape = old->shape();
  shape.value_bytes += value.size();
  if (TooLarge(shape.key_bytes, shape.value_bytes)) {
    ctx.stats->Add(ThreadCounter::store_too_large);
    return StoreResult::kTooLarge;
  }
  if (shape.large()) {
    *is_large = true;
    return StoreResult::kStored;  // not yet: the caller goes on without the lock
  }
  const size_t class_id = ClassFor(shape.bytes());
  const Handle chunk = source.Take(class_id, &stripe);
  if (chunk == kNoChunk) {
    // memcached's answer when there is no memory for the joined value.
    if (source.exhausted()) return StoreResult::kNotStored;
    return std::nullopt;
  }
  ctx.stats->Add(ClassCounter::cmd_set, class_id);
  Item* item = BuildItem(chunk, shape, old->key(), ctx.now, old->deadline());
  const std::string_view before = old->small_value();
  const bool append = request.mode == StoreMode::kAppend;
  char* out = item->value_data();
  out = std::copy_n(append ? before.data() : value.data(), append ? before.size() : value.size(),
                    out);
  std::copy_n(append ? value.data() : before.data(), append ? value.size() : before.size(), out);
  Link(ctx, stripe, request.key.hash, chunk, slot);
  if (cas_out != nullptr) *cas_out = item->cas();
  return StoreResult::kStored;
}

size_t Store::Impl::ItemShapeBytes(const StoreRequest& request, size_t value_bytes) const {
  return Item::Shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                     .value_bytes = std::min(value_bytes, kLargeValueBytes),
                     .flags = request.flags,
                     .has_cas = options_.use_cas,
                     .has_deadline = request.deadline != kNever}
      .bytes();
}

CounterResult Store::Impl::Arithmetic(OpContext& ctx, const Key& key, bool up, uint64_t delta,
                                      uint64_t* value_out) {
  ApplyPendingFlush(ctx);
  return Mutate(ctx, key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return ArithmeticLocked(ctx, stripe, source, key, up, delta, value_out);
  });
}

std::optional<CounterResult> Store::Impl::ArithmeticLocked(OpContext& ctx, Stripe& stripe,
                                                           ChunkSource& source, const Key& key,
                                                           bool up, uint64_t delta,
                                                           uint64_t* value_out) {
  const IndexStripe::Slot slot = FindLive(ctx, stripe, key);
  if (!slot) {
    ctx.stats->Add(up ? ThreadCounter::incr_misses : ThreadCounter::decr_misses);
    return CounterResult::kNotFound;
  }
  Item* item = ItemAt(slot.handle());
  if (item->has(kLarge)) return CounterResult::kNotANumber;
  const std::optional<uint64_t> before = ParseCounter(item->small_value());
  if (!before) return CounterResult::kNotANumber;
  const uint64_t after = up ? *before + delta : *before - std::min(*before, delta);
  std::array<char, kMaxDigits> text;
  char* const end = std::to_chars(text.data(), text.data() + text.size(), after).ptr;
  const auto length = static_cast<size_t>(end - text.data());
  const size_t room = item->value_bytes();
  const size_t class_id = LruClassOf(slot.handle()).id();
  if (length <= room) {
    std::copy_n(text.data(), length, item->value_data());
    std::fill_n(item->value_data() + length, room - length, ' ');
    item->set_cas(++stripe.cas);
  } else {
    Item::Shape shape = item->shape();
    shape.value_bytes = length;
    const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe);
    if (chunk == kNoChunk) {
      if (source.exhausted()) return CounterResult::kOutOfMemory;
      return std::nullopt;
    }
    Item* longer = BuildItem(chunk, shape, item->key(), ctx.now, item->deadline());
    std::copy_n(text.data(), length, longer->value_data());
    Link(ctx, stripe, key.hash, chunk, slot);
  }
  ctx.stats->Add(up ? ClassCounter::incr_hits : ClassCounter::decr_hits, class_id);
  *value_out = after;
  return CounterResult::kDone;
}

}  // namespace larder
