#include "protocol/memcache/binary_storage.h"

#include <memory>
#include <span>

#include "core/base/uri.h"
#include "protocol/big_endian.h"
#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/binary_reply.h"
#include "protocol/memcache/numbers.h"

namespace larder::memcache {
namespace {

// The value follows the frame: where it goes, or how much of it is to be skipped.
Outcome BeginLarge(BinaryContext& ctx, const BinaryFrame& frame, const StoreRequest& request) {
  std::unique_ptr<Upload> upload;
  ctx.pending = {frame.opaque, Status::kOk, frame.opcode};
  switch (ctx.store.BeginUpload(ctx.op, request, frame.value_bytes, &upload)) {
    case UploadRefusal::kNone:
      ctx.unfinished.BeginUpload(std::move(upload), frame.value_bytes, ctx.op.now);
      return Outcome::kUnfinished;
    case UploadRefusal::kBusy:
      return Outcome::kWaiting;
    case UploadRefusal::kTooLarge:
      ctx.pending.status = Status::kTooLarge;
      break;
    case UploadRefusal::kOutOfMemory:
      ctx.pending.status = Status::kOutOfMemory;
      break;
  }
  ctx.unfinished.BeginSkip(frame.value_bytes, {});
  return Outcome::kUnfinished;
}

Outcome StoreWith(BinaryContext& ctx, const BinaryFrame& frame, const StoreRequest& request) {
  if (frame.kind == BinaryFrameKind::kLargeValue) return BeginLarge(ctx, frame, request);
  StoreAnswer answer;
  const StoreResult result = ctx.store.Put(ctx.op, request, frame.value, &answer);
  if (result == StoreResult::kStored && frame.command->is_quiet()) return Outcome::kDone;
  const size_t bytes = ctx.store.ItemBytes(request.key.bytes.size(), frame.value.size(),
                                           request.flags != 0, request.deadline != kNever);
  const bool fits_alone = bytes <= ctx.store.options().max_item_bytes;
  Reply(ctx.out, frame, StoreStatus(frame.opcode, result, fits_alone), answer.cas);
  return Outcome::kDone;
}

// With a CAS, each of them stores over exactly that item and nothing else; without any (-C), as
// memcached does, whatever number came along.
template <StoreMode kMode>
Outcome StoreAs(BinaryContext& ctx, const BinaryFrame& frame) {
  StoreRequest request;
  request.key = ctx.key;
  request.mode = kMode;
  request.compare_cas = ctx.store.options().use_cas ? frame.cas : 0;
  request.binary_key = !FitsALine(ctx.key.bytes);
  if constexpr (!(kMode == StoreMode::kAppend || kMode == StoreMode::kPrepend)) {
    if (request.compare_cas != 0) request.mode = StoreMode::kCas;
    request.flags = LoadBig32(frame.extras.data());
    request.deadline =
        DeadlineOf(LoadBig32(frame.extras.data() + 4), ctx.op.now, ctx.store.clock());
  }
  return StoreWith(ctx, frame, request);
}

constexpr auto kKey = KeyShape::kKey;

constexpr BinarySpec kStorageCommands[] = {
    // opcode, name, handler, bytes of extras (flags and expiry), key, most bytes of value, flags
    {0x01, "set", StoreAs<StoreMode::kSet>, 8, kKey, kAnyValue, 0},
    {0x11, "setq", StoreAs<StoreMode::kSet>, 8, kKey, kAnyValue, kQuiet},
    {kOpAdd, "add", StoreAs<StoreMode::kAdd>, 8, kKey, kAnyValue, 0},
    {kOpAddQuiet, "addq", StoreAs<StoreMode::kAdd>, 8, kKey, kAnyValue, kQuiet},
    {kOpReplace, "replace", StoreAs<StoreMode::kReplace>, 8, kKey, kAnyValue, 0},
    {kOpReplaceQuiet, "replaceq", StoreAs<StoreMode::kReplace>, 8, kKey, kAnyValue, kQuiet},
    {0x0e, "append", StoreAs<StoreMode::kAppend>, 0, kKey, kAnyValue, 0},
    {0x19, "appendq", StoreAs<StoreMode::kAppend>, 0, kKey, kAnyValue, kQuiet},
    {0x0f, "prepend", StoreAs<StoreMode::kPrepend>, 0, kKey, kAnyValue, 0},
    {0x1a, "prependq", StoreAs<StoreMode::kPrepend>, 0, kKey, kAnyValue, kQuiet},
};

}  // namespace

Status StoreStatus(uint8_t opcode, StoreResult result, bool fits_alone) {
  const bool adds = opcode == kOpAdd || opcode == kOpAddQuiet;
  const bool replaces = opcode == kOpReplace || opcode == kOpReplaceQuiet;
  const BinarySpec* command = FindBinaryCommand(opcode);
  const bool joins = command != nullptr && command->extras_bytes == 0;
  switch (result) {
    case StoreResult::kStored:
      return Status::kOk;
    case StoreResult::kNotStored:
      if (adds) return Status::kExists;
      return replaces ? Status::kNotFound : Status::kNotStored;
    case StoreResult::kExists:
      return Status::kExists;
    case StoreResult::kNotFound:
      return Status::kNotFound;
    case StoreResult::kTooLarge:
      return joins && fits_alone ? Status::kNotStored : Status::kTooLarge;
    case StoreResult::kOutOfMemory:
      return Status::kOutOfMemory;
  }
  return Status::kOutOfMemory;
}

std::span<const BinarySpec> BinaryStorageCommands() { return kStorageCommands; }

}  // namespace larder::memcache
