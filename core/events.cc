// core/events.cc — what the store tells to whoever watches.  Nothing here runs while nobody does.

#include "core/events.h"

#include <algorithm>

#include "core/store_impl.h"

namespace larder {
namespace {

// As watchers are told it: -1 when there is none, or when it is past.
int64_t TimeToLive(Deadline deadline, TimeMs now) {
  return deadline > now ? static_cast<int64_t>(SecondsLeft(deadline, now)) : -1;
}

}  // namespace

void Store::Impl::NoteFetch(OpContext& ctx, std::string_view key, FetchStatus status,
                            const Item* item, Handle handle) {
  EventData event{
      .kind = EventKind::kItemGet, .status = static_cast<uint8_t>(status), .client = ctx.client};
  if (status == FetchStatus::kFound) {
    event.class_id = static_cast<uint8_t>(LruClassOf(handle).id());
    event.size = item->value_bytes();
  }
  ctx.events->Note(kFetchers, event, key);
}

void Store::Impl::NoteStore(OpContext& ctx, const StoreRequest& request, StoreResult result,
                            size_t value_bytes) {
  EventData event{.kind = EventKind::kItemStore,
                  .status = static_cast<uint8_t>(result),
                  .command = static_cast<uint8_t>(request.mode),
                  .client = ctx.client,
                  .size = value_bytes};
  if (request.deadline != kNever) event.ttl = TimeToLive(request.deadline, ctx.now);
  if (result != StoreResult::kTooLarge) {
    // A large value hangs in the class of its first piece.
    const size_t bytes = value_bytes > kLargeValueBytes
                             ? std::min(value_bytes + sizeof(Piece), sizes_.largest())
                             : ItemShapeBytes(request, value_bytes);
    event.class_id = static_cast<uint8_t>(ClassFor(bytes));
  }
  ctx.events->Note(kMutations, event, request.key.bytes);
}

void Store::Impl::NoteEviction(OpContext& ctx, const Item& item, size_t class_id) {
  const uint64_t age = Ticks::Age(Ticks::At(ctx.now), item.ticks());
  ctx.events->Note(kEvictions,
                   {.kind = EventKind::kEviction,
                    .status = static_cast<uint8_t>(item.has(kFetched) ? 1 : 0),
                    .class_id = static_cast<uint8_t>(class_id),
                    .ttl = TimeToLive(item.deadline(), ctx.now),
                    .size = item.value_bytes(),
                    .age = age * Ticks::kMs / 1000},
                   item.key());
}

void Store::Impl::NoteDelete(OpContext& ctx, Handle handle, DeleteCommand command) {
  const Item* item = ItemAt(handle);
  ctx.events->Note(kDeletions,
                   {.kind = EventKind::kDeleted,
                    .command = static_cast<uint8_t>(command),
                    .class_id = static_cast<uint8_t>(LruClassOf(handle).id()),
                    .client = ctx.client,
                    .size = item->value_bytes()},
                   item->key());
}

void Store::Impl::NoteCrawl(OpContext& ctx, uint64_t examined, uint64_t reclaimed, uint64_t ms) {
  ctx.events->Note(
      kSysEvents,
      {.kind = EventKind::kCrawl, .size = examined, .count = reclaimed, .age = ms / 1000}, {});
}

void Store::Impl::NotePageMove(OpContext& ctx, size_t from, size_t to) {
  ctx.events->Note(
      kSysEvents,
      {.kind = EventKind::kPageMove, .class_id = static_cast<uint8_t>(from), .count = to}, {});
}

}  // namespace larder
