// core/store_write.cc — set, add, replace, append, prepend, cas, incr and decr.

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/base/digits.h"
#include "core/store_impl.h"

namespace larder {
namespace {

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

[[gnu::flatten]] StoreResult Store::Put(OpContext& ctx, const StoreRequest& request,
                                        std::string_view value, StoreAnswer* answer) {
  if (ctx.IsWatched(kMutations) || ctx.stats->prefixes() != nullptr) [[unlikely]] {
    return impl_->PutWatched(ctx, request, value, answer);
  }
  return impl_->Put(ctx, request, value, answer);
}

[[gnu::noinline]] StoreResult Store::Impl::PutWatched(OpContext& ctx, const StoreRequest& request,
                                                      std::string_view value, StoreAnswer* answer) {
  StoreAnswer told;
  if (answer == nullptr) answer = &told;
  if (PrefixTable* table = ctx.stats->prefixes()) table->CountSet(request.key.bytes);
  const StoreResult result = Put(ctx, request, value, answer);
  if (ctx.IsWatched(kMutations)) {
    NoteStore(ctx, request, result, result == StoreResult::kStored ? answer->size : value.size());
  }
  return result;
}

inline StoreResult Store::Impl::Put(OpContext& ctx, const StoreRequest& request,
                                    std::string_view value, StoreAnswer* answer) {
  ApplyPendingFlush(ctx);
  if (TooLarge(request.key.bytes.size(), value.size())) {
    RefuseStore(ctx, request, StoreResult::kTooLarge);
    return StoreResult::kTooLarge;
  }
  if (request.mode == StoreMode::kAppend || request.mode == StoreMode::kPrepend) {
    return Concat(ctx, request, value, answer);
  }
  if (value.size() > kLargeValueBytes) return PutLarge(ctx, request, value, answer);
  const StoreResult result = Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return PutLocked(ctx, stripe, source, request, value, answer);
  });
  if (result == StoreResult::kOutOfMemory) RefuseStore(ctx, request, result);
  return result;
}

[[gnu::noinline]] void Store::Impl::RefuseStore(OpContext& ctx, const StoreRequest& request,
                                                StoreResult why) {
  ctx.stats->Add(why == StoreResult::kTooLarge ? ThreadCounter::store_too_large
                                               : ThreadCounter::store_no_memory);
  if (request.mode != StoreMode::kSet && !request.refusal_deletes) return;
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
      old->set_ticks(Ticks::At(ctx.now));  // used, though not read
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
      const bool matches = request.compare_cas != 0 && old->cas() == request.compare_cas;
      if (!matches && !StoresStale(request, *old)) {
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
                                                  std::string_view value, StoreAnswer* answer) {
  const IndexStripe::Slot old = FindLive(ctx, stripe, request.key);
  const Handle old_handle = old ? old.handle() : kNoChunk;
  Item* const old_item = old ? ItemAt(old_handle) : nullptr;
  const bool stale = old && StoresStale(request, *old_item);
  const Deadline deadline = stale ? old_item->deadline() : request.deadline;
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                          .value_bytes = value.size(),
                          .flags = request.flags,
                          .has_cas = options_.use_cas,
                          .has_deadline = deadline != kNever};
  const size_t class_id = ClassFor(shape.bytes());
  Handle chunk = kNoChunk;
  const size_t old_class = old ? ClassIdOf(old_handle) : 0;
  const bool in_place =
      old && !stale &&
      FitsInPlace(*old_item, old_class, shape, class_id, FirstSegment(deadline, ctx.now));
  if (!in_place) {
    chunk = source.Take(class_id, &stripe, request.mode == StoreMode::kSet ? nullptr : old_item);
    if (chunk == kNoChunk) {
      if (source.exhausted()) return StoreResult::kOutOfMemory;
      return std::nullopt;
    }
  }
  ctx.stats->Add(ClassCounter::cmd_set, class_id);
  if (request.mode != StoreMode::kSet) {
    if (const auto refused = Decide(ctx, request, old_item, old_handle)) {
      if (chunk != kNoChunk) Free(chunk);
      return refused;
    }
  }
  Item* item = nullptr;
  if (in_place) {
    item = old_item;
    Overwrite(ctx, stripe, request, value, *item, old_class);
  } else {
    item = BuildItem(chunk, shape, request.key.bytes, ctx.now, deadline);
    item->SetBits(BitsOf(request, stale ? old_item : nullptr));
    CopyBytes(item->value_data(), value.data(), value.size());
    if (!Link(ctx, stripe, request.key.hash, chunk, old, request.new_cas)) {
      Free(chunk);
      return StoreResult::kOutOfMemory;
    }
  }
  if (answer != nullptr) *answer = {item->cas(), item->value_bytes()};
  return StoreResult::kStored;
}

// Whether a new value can take the place of the old one: nothing moves, and little room is lost.
bool Store::Impl::FitsInPlace(const Item& old, size_t old_class, const Item::Shape& shape,
                              size_t class_id, Segment first_segment) {
  const uint16_t bits = old.bits();
  if ((bits & kLarge) != 0 || shape.large() || (bits & kOptionMask) != shape.options() ||
      (old.segment() == Segment::kTemp) != (first_segment == Segment::kTemp)) {
    return false;
  }
  if (old_class == class_id) return true;
  const size_t room = classes_[old_class].chunk_bytes();
  return shape.bytes() <= room && room * 7 <= shape.bytes() * 8;
}

void Store::Impl::Overwrite(OpContext& ctx, Stripe& stripe, const StoreRequest& request,
                            std::string_view value, Item& item, size_t class_id) {
  if (options_.track_sizes) TrackSize(item, -1);
  const bool resizes = value.size() != item.small_value().size();
  if (resizes) ctx.stats->Add(ClassCounter::bytes_removed, class_id, item.total_bytes());
  item.Rewrite(request.flags, request.deadline, value);
  if (resizes) ctx.stats->Add(ClassCounter::bytes_added, class_id, item.total_bytes());
  ctx.stats->Add(ClassCounter::linked, class_id);
  if (options_.track_sizes) TrackSize(item, 1);
  item.set_cas(NextCas(stripe, request.new_cas));
  item.set_ticks(Ticks::At(ctx.now));
  // As good as new: not read yet, but not next to go either.
  constexpr uint16_t kOld = kFetched | kStale | kTokenSent | kBinaryKey;
  if (item.has(kOld)) item.ClearBits(kOld);
  if (const uint16_t bits = kActive | BitsOf(request, nullptr); (item.bits() & bits) != bits) {
    item.SetBits(bits);
  }
  NoteDeadline(stripe, request.deadline);
}

[[gnu::noinline]] StoreResult Store::Impl::Concat(OpContext& ctx, const StoreRequest& request,
                                                  std::string_view value, StoreAnswer* answer) {
  for (;;) {
    bool is_large = false;
    const StoreResult result = Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
      stripe.mutex.AssertHeld();
      return ConcatLocked(ctx, stripe, source, request, value, answer, &is_large);
    });
    if (!is_large) return result;
    if (const auto joined = ConcatLarge(ctx, request, value, nullptr, answer)) return *joined;
  }
}

std::optional<StoreResult> Store::Impl::ConcatLocked(OpContext& ctx, Stripe& stripe,
                                                     ChunkSource& source,
                                                     const StoreRequest& request,
                                                     std::string_view value, StoreAnswer* answer,
                                                     bool* is_large) {
  const IndexStripe::Slot slot = FindLive(ctx, stripe, request.key);
  if (!slot && request.join_creates) {
    *is_large = value.size() > kLargeValueBytes;
    if (*is_large) return StoreResult::kStored;  // as below
    StoreRequest first = request;
    first.mode = StoreMode::kSet;
    return PutLocked(ctx, stripe, source, first, value, answer);
  }
  if (!slot) {
    const size_t bytes = ItemShapeBytes(request, value.size());
    ctx.stats->Add(ClassCounter::cmd_set, ClassFor(bytes));
    return StoreResult::kNotStored;
  }
  Item* old = ItemAt(slot.handle());
  if (request.compare_cas != 0 && old->cas() != request.compare_cas) return StoreResult::kExists;
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
  const Handle chunk = source.Take(class_id, &stripe, old);
  if (chunk == kNoChunk) {
    // memcached's answer when there is no memory for the joined value.
    if (source.exhausted()) return StoreResult::kNotStored;
    return std::nullopt;
  }
  ctx.stats->Add(ClassCounter::cmd_set, class_id);
  Item* item = BuildItem(chunk, shape, old->key(), ctx.now, old->deadline());
  item->SetBits(old->bits() & kBinaryKey);
  const std::string_view before = old->small_value();
  const bool append = request.mode == StoreMode::kAppend;
  char* out = item->value_data();
  out = std::copy_n(append ? before.data() : value.data(), append ? before.size() : value.size(),
                    out);
  std::copy_n(append ? value.data() : before.data(), append ? value.size() : before.size(), out);
  Link(ctx, stripe, request.key.hash, chunk, slot, request.new_cas);
  if (answer != nullptr) *answer = {item->cas(), item->value_bytes()};
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

CounterResult Store::Impl::Count(OpContext& ctx, const CounterRequest& request,
                                 CounterAnswer* answer) {
  ApplyPendingFlush(ctx);
  return Mutate(ctx, request.key, [&](Stripe& stripe, ChunkSource& source) {
    stripe.mutex.AssertHeld();
    return CountLocked(ctx, stripe, source, request, answer);
  });
}

std::optional<CounterResult> Store::Impl::CountLocked(OpContext& ctx, Stripe& stripe,
                                                      ChunkSource& source,
                                                      const CounterRequest& request,
                                                      CounterAnswer* answer) {
  IndexStripe::Slot slot = FindLive(ctx, stripe, request.key);
  if (!slot && request.create) return CreateCounter(ctx, stripe, source, request, answer);
  if (!slot) {
    ctx.stats->Add(request.down ? ThreadCounter::decr_misses : ThreadCounter::incr_misses);
    return CounterResult::kNotFound;
  }
  Item* item = ItemAt(slot.handle());
  // What can be no number at all is told before the CAS is looked at, as memcached does.
  if (item->has(kLarge) || item->value_bytes() == 0) return CounterResult::kNotANumber;
  if (request.compare_cas && item->cas() != *request.compare_cas) return CounterResult::kExists;
  const std::optional<uint64_t> before = ParseCounter(item->small_value());
  if (!before) return CounterResult::kNotANumber;
  const uint64_t after =
      request.down ? *before - std::min(*before, request.delta) : *before + request.delta;
  const Digits digits(after);
  const size_t class_id = LruClassOf(slot.handle()).id();
  if (digits.text().size() > item->value_bytes()) {
    item = LengthenCounter(ctx, stripe, source, request, slot, digits.text());
    if (item == nullptr && !source.exhausted()) return std::nullopt;
    if (item == nullptr) return CounterResult::kOutOfMemory;
  } else {
    if (request.deadline) {
      const auto set = SetDeadline(ctx, stripe, source, &slot, *request.deadline);
      if (!set) return std::nullopt;
      if (!*set) return CounterResult::kOutOfMemory;
      item = ItemAt(slot.handle());
    }
    char* end = std::copy_n(digits.text().data(), digits.text().size(), item->value_data());
    std::fill_n(end, item->value_bytes() - digits.text().size(), ' ');
    item->set_cas(NextCas(stripe, request.new_cas));
  }
  ctx.stats->Add(request.down ? ClassCounter::decr_hits : ClassCounter::incr_hits, class_id);
  *answer = {after, item->cas(), item->deadline()};
  return CounterResult::kDone;
}

// An item for more digits than the one at `slot` has room for, with the new deadline, takes its
// place.  Null: no memory, and nothing has changed.
Item* Store::Impl::LengthenCounter(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                   const CounterRequest& request, IndexStripe::Slot slot,
                                   std::string_view digits) {
  Item* old = ItemAt(slot.handle());
  const Deadline deadline = request.deadline.value_or(old->deadline());
  Item::Shape shape = old->shape();
  shape.value_bytes = digits.size();
  shape.has_deadline = shape.has_deadline || deadline != kNever;
  const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe, old);
  if (chunk == kNoChunk) return nullptr;
  Item* longer = BuildItem(chunk, shape, old->key(), ctx.now, deadline);
  longer->SetBits(old->bits() & kBinaryKey);
  std::copy(digits.begin(), digits.end(), longer->value_data());
  Link(ctx, stripe, request.key.hash, chunk, slot, request.new_cas);
  return longer;
}

std::optional<CounterResult> Store::Impl::CreateCounter(OpContext& ctx, Stripe& stripe,
                                                        ChunkSource& source,
                                                        const CounterRequest& request,
                                                        CounterAnswer* answer) {
  const Digits digits(request.initial);
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                          .value_bytes = digits.text().size(),
                          .flags = 0,
                          .has_cas = options_.use_cas,
                          .has_deadline = request.create_deadline != kNever};
  const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe, nullptr);
  if (chunk == kNoChunk && !source.exhausted()) return std::nullopt;
  if (chunk == kNoChunk) return CounterResult::kOutOfMemory;
  Item* item = BuildItem(chunk, shape, request.key.bytes, ctx.now, request.create_deadline);
  if (request.binary_key) item->SetBits(kBinaryKey);
  std::copy_n(digits.text().data(), digits.text().size(), item->value_data());
  if (!Link(ctx, stripe, request.key.hash, chunk, {}, request.new_cas)) {
    Free(chunk);
    return CounterResult::kOutOfMemory;
  }
  *answer = {request.initial, item->cas(), item->deadline()};
  return CounterResult::kDone;
}

}  // namespace larder
