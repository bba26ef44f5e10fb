// core/walk.cc — showing the items there are, some at a time, to whoever dumps them.
//
// A walk goes through the stripes, and within one through the hashes in order.  Buckets hold hashes
// in order too, whatever the size of the index, so the place reached is a hash: an item that is
// there all the time is shown once, even when the index grows meanwhile.

#include <algorithm>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kBucketsPerLock = 8;

}  // namespace

bool Store::Impl::WalkSome(OpContext& ctx, const WalkFilter& filter, WalkCursor* cursor,
                           std::vector<ItemInfo>* out) {
  const size_t end = stripe_count_ * (filter.part + 1) / filter.parts;
  const size_t start = stripe_count_ * filter.part / filter.parts;
  cursor->stripe = std::max(cursor->stripe, start);
  std::vector<Handle> handles;
  size_t looked = 0;
  for (; cursor->stripe < end && looked < kWalkSlice; ++looked) {
    Stripe& stripe = stripes_[cursor->stripe];
    StripeLock lock(stripe.mutex);
    for (size_t i = 0; i < kBucketsPerLock && cursor->place < IndexStripe::kPlaces; ++i) {
      if (stripe.index.size() == 0) cursor->place = IndexStripe::kPlaces;
      if (cursor->place == IndexStripe::kPlaces) break;
      handles.clear();
      const uint64_t place = cursor->place;
      cursor->place = stripe.index.VisitPlace(place, [&](Handle handle) {
        __builtin_prefetch(space().Address(handle));
        handles.push_back(handle);
      });
      looked += handles.size();
      Show(filter, place, handles, ctx.now, out);
    }
    if (cursor->place == IndexStripe::kPlaces) {
      ++cursor->stripe;
      cursor->place = 0;
    }
  }
  return cursor->stripe < end;
}

void Store::Impl::Show(const WalkFilter& filter, uint64_t from_place,
                       const std::vector<Handle>& handles, TimeMs now, std::vector<ItemInfo>* out) {
  for (const Handle handle : handles) {
    const bool was_shown = IndexStripe::PlaceIn(HashOf(handle)) < from_place;
    if (!was_shown && IsWalked(filter, handle, now)) out->push_back(InfoOf(handle, now));
  }
}

bool Store::Impl::IsWalked(const WalkFilter& filter, Handle handle, TimeMs now) {
  Item* item = ItemAt(handle);
  if (!item->key().starts_with(filter.prefix)) return false;
  if (filter.classes.any() && !filter.classes[LruClassOf(handle).id()]) return false;
  return !Expired(*item, now) && !Flushed(*item);
}

ItemInfo Store::Impl::InfoOf(Handle handle, TimeMs now) {
  const Item* item = ItemAt(handle);
  const TimeMs age = TimeMs{Ticks::Age(Ticks::At(now), item->ticks())} * Ticks::kMs;
  return {.key = std::string(item->key()),
          .deadline = item->deadline(),
          .last_access = now - std::min(now, age),
          .cas = item->cas(),
          .fetched = item->has(kFetched),
          .binary_key = item->has(kBinaryKey),
          .class_id = LruClassOf(handle).id(),
          .item_bytes = item->total_bytes(),
          .value_bytes = item->value_bytes(),
          .flags = item->flags()};
}

}  // namespace larder
