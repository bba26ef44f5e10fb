// protocol/memcache/storage.cc — set, add, replace, append, prepend, cas.

#include "protocol/memcache/storage.h"

#include <memory>
#include <span>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"

namespace larder::memcache {
namespace {

std::string_view Unless(bool silent, std::string_view text) {
  return silent ? std::string_view() : text;
}

bool Joins(StoreMode mode) { return mode == StoreMode::kAppend || mode == StoreMode::kPrepend; }

Outcome StoreValue(CommandContext& ctx, const Frame& frame, StoreMode mode) {
  const StoreRequest request{.key = ctx.key,
                             .mode = mode,
                             .flags = frame.flags,
                             .deadline = DeadlineOf(frame.exptime, ctx.op.now, ctx.store.clock()),
                             .compare_cas = frame.cas};
  if (frame.kind == FrameKind::kLargeValue) return BeginLarge(ctx, frame, request);
  std::string_view reply = kBadChunk;
  if (frame.properly_ended) reply = StoreReply(PutValue(ctx, request, frame.value, nullptr));
  if (!frame.noreply) ctx.out.Append(reply);
  return Outcome::kDone;
}

template <StoreMode kMode>
Outcome StoreAs(CommandContext& ctx, const Frame& frame) {
  return StoreValue(ctx, frame, kMode);
}

constexpr unsigned kStorage = kKeyFirst | kTakesNoreply;
constexpr char kSyntax[] = "key flags exptime bytes [noreply]";

constexpr CommandSpec kStorageCommands[] = {
    {"set", StoreAs<StoreMode::kSet>, Shape::kValue, 4, kStorage, kSyntax},
    {"add", StoreAs<StoreMode::kAdd>, Shape::kValue, 4, kStorage, kSyntax},
    {"replace", StoreAs<StoreMode::kReplace>, Shape::kValue, 4, kStorage, kSyntax},
    {"append", StoreAs<StoreMode::kAppend>, Shape::kValue, 4, kStorage, kSyntax},
    {"prepend", StoreAs<StoreMode::kPrepend>, Shape::kValue, 4, kStorage, kSyntax},
    {"cas", StoreAs<StoreMode::kCas>, Shape::kValue, 5, kStorage | kTakesCas,
     "key flags exptime bytes cas [noreply]"},
};

}  // namespace

std::string_view StoreReply(StoreResult result) {
  switch (result) {
    case StoreResult::kStored:
      return kStored;
    case StoreResult::kNotStored:
      return kNotStored;
    case StoreResult::kExists:
      return kExists;
    case StoreResult::kNotFound:
      return kNotFound;
    case StoreResult::kTooLarge:
      return kTooLarge;
    case StoreResult::kOutOfMemory:
      return kNoMemoryStoring;
  }
  return kError;
}

StoreResult JoinResult(StoreResult result, bool fits_alone) {
  return result == StoreResult::kTooLarge && fits_alone ? StoreResult::kNotStored : result;
}

StoreResult PutValue(CommandContext& ctx, const StoreRequest& request, std::string_view value,
                     StoreAnswer* answer) {
  const StoreResult result = ctx.store.Put(ctx.op, request, value, answer);
  if (!Joins(request.mode)) return result;
  const size_t bytes = ctx.store.ItemBytes(request.key.bytes.size(), value.size(),
                                           request.flags != 0, request.deadline != kNever);
  return JoinResult(result, bytes <= ctx.store.options().max_item_bytes);
}

Outcome BeginLarge(CommandContext& ctx, const Frame& frame, const StoreRequest& request) {
  std::unique_ptr<Upload> upload;
  std::string_view refusal;
  switch (ctx.store.BeginUpload(ctx.op, request, frame.value_bytes, &upload)) {
    case UploadRefusal::kNone:
      ctx.unfinished.BeginUpload(std::move(upload), frame.value_bytes, ctx.op.now);
      ctx.unfinished.noreply = frame.noreply;
      ctx.unfinished.joins = Joins(request.mode);
      return Outcome::kUnfinished;
    case UploadRefusal::kBusy:
      return Outcome::kWaiting;
    case UploadRefusal::kTooLarge:
      refusal = kTooLarge;
      break;
    case UploadRefusal::kOutOfMemory:
      refusal = kNoMemoryStoring;
      break;
  }
  ctx.unfinished.BeginSkip(frame.value_bytes + kCrlf.size(), Unless(frame.noreply, refusal));
  return Outcome::kUnfinished;
}

std::span<const CommandSpec> StorageCommands() { return kStorageCommands; }

}  // namespace larder::memcache
