// protocol/memcache/binary_keyed.cc — opcodes on one key that carry no value: get in all its forms,
// gat, touch, delete, increment, decrement.

#include <span>

#include "core/base/uri.h"
#include "protocol/big_endian.h"
#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/binary_reply.h"
#include "protocol/memcache/numbers.h"

namespace larder::memcache {
namespace {

// Unsigned: there is no "at once", and no end of time in 2038.
Deadline DeadlineAt(const BinaryContext& ctx, const char* extras) {
  return DeadlineOf(LoadBig32(extras), ctx.op.now, ctx.store.clock());
}

void AnswerHit(BinaryContext& ctx, const BinaryFrame& frame, const ValueView& item) {
  PacketWriter packet(ctx.out, frame);
  packet.Flags(item.flags);
  if ((frame.command->flags & kAnswersKey) != 0) packet.KeyBytes(ctx.key.bytes);
  if (item.size > kLargeValueBytes) {
    packet.Done(Status::kOk, item.cas(), item.size);
    ctx.out.AppendPin(item.MakePin());
    return;
  }
  packet.Text(item.bytes);
  packet.Done(Status::kOk, item.cas());
}

Outcome AnswerMiss(BinaryContext& ctx, const BinaryFrame& frame, ReadResult result) {
  const Status status =
      result == ReadResult::kOutOfMemory ? Status::kOutOfMemory : Status::kNotFound;
  if (frame.command->is_quiet() && status == Status::kNotFound) return Outcome::kDone;
  const bool says_key = (frame.command->flags & kAnswersKey) != 0 && status == Status::kNotFound;
  PacketWriter packet(ctx.out, frame);
  if (says_key) {
    packet.KeyBytes(ctx.key.bytes);
  } else {
    packet.Text(StatusText(status));
  }
  packet.Done(status);
  return Outcome::kDone;
}

// → flags and value, or a miss.
Outcome Get(BinaryContext& ctx, const BinaryFrame& frame) {
  const ReadResult result = ctx.store.Read(
      ctx.op, ctx.key, ReadOptions{}, [&](const ValueView& item) { AnswerHit(ctx, frame, item); });
  return result == ReadResult::kHit ? Outcome::kDone : AnswerMiss(ctx, frame, result);
}

ReadOptions TouchOptions(const BinaryContext& ctx, const BinaryFrame& frame) {
  ReadOptions options;
  options.touch = true;
  options.deadline = DeadlineAt(ctx, frame.extras.data());
  return options;
}

// → get, and the item found ends at its new time.
Outcome GetAndTouch(BinaryContext& ctx, const BinaryFrame& frame) {
  const ReadResult result =
      ctx.store.Read(ctx.op, ctx.key, TouchOptions(ctx, frame),
                     [&](const ValueView& item) { AnswerHit(ctx, frame, item); });
  return result == ReadResult::kHit ? Outcome::kDone : AnswerMiss(ctx, frame, result);
}

// → flags only.
Outcome Touch(BinaryContext& ctx, const BinaryFrame& frame) {
  const ReadResult result =
      ctx.store.Read(ctx.op, ctx.key, TouchOptions(ctx, frame), [&](const ValueView& item) {
        PacketWriter packet(ctx.out, frame);
        packet.Flags(item.flags);
        packet.Done(Status::kOk, item.cas());
      });
  return result == ReadResult::kHit ? Outcome::kDone : AnswerMiss(ctx, frame, result);
}

std::optional<uint64_t> CasOf(const BinaryFrame& frame) {
  return frame.cas == 0 ? std::nullopt : std::optional<uint64_t>(frame.cas);
}

Status StatusOf(DeleteResult result) {
  switch (result) {
    case DeleteResult::kDeleted:
      return Status::kOk;
    case DeleteResult::kNotFound:
      return Status::kNotFound;
    case DeleteResult::kExists:
      return Status::kExists;
    case DeleteResult::kOutOfMemory:
      return Status::kOutOfMemory;
  }
  return Status::kOutOfMemory;
}

Status StatusOf(CounterResult result) {
  switch (result) {
    case CounterResult::kDone:
      return Status::kOk;
    case CounterResult::kNotFound:
      return Status::kNotFound;
    case CounterResult::kNotANumber:
      return Status::kNotANumber;
    case CounterResult::kExists:
      return Status::kExists;
    case CounterResult::kOutOfMemory:
      return Status::kOutOfMemory;
  }
  return Status::kOutOfMemory;
}

Outcome Delete(BinaryContext& ctx, const BinaryFrame& frame) {
  const Status status =
      StatusOf(ctx.store.Delete(ctx.op, {.key = ctx.key, .compare_cas = CasOf(frame)}));
  if (status != Status::kOk || !frame.command->is_quiet()) Reply(ctx.out, frame, status);
  return Outcome::kDone;
}

// An expiry of all ones: do not create.
constexpr uint32_t kNoCreate = 0xffffffff;

// → the new value; a miss creates an item of the initial value, unless it must not.
Outcome Count(BinaryContext& ctx, const BinaryFrame& frame, bool down) {
  const char* const extras = frame.extras.data();
  CounterRequest request;
  request.key = ctx.key;
  request.down = down;
  request.delta = LoadBig64(extras);
  request.compare_cas = CasOf(frame);
  request.create = LoadBig32(extras + 16) != kNoCreate;
  request.binary_key = !FitsALine(ctx.key.bytes);
  request.initial = LoadBig64(extras + 8);
  if (request.create) request.create_deadline = DeadlineAt(ctx, extras + 16);
  CounterAnswer answer;
  const Status status = StatusOf(ctx.store.Count(ctx.op, request, &answer));
  if (status != Status::kOk) {
    Reply(ctx.out, frame, status);
  } else if (!frame.command->is_quiet()) {
    PacketWriter packet(ctx.out, frame);
    packet.Number(answer.value);
    packet.Done(Status::kOk, answer.cas);
  }
  return Outcome::kDone;
}

Outcome Increment(BinaryContext& ctx, const BinaryFrame& frame) { return Count(ctx, frame, false); }

// Not below 0.
Outcome Decrement(BinaryContext& ctx, const BinaryFrame& frame) { return Count(ctx, frame, true); }

constexpr auto kKey = KeyShape::kKey;

constexpr BinarySpec kKeyedCommands[] = {
    // opcode, name, handler, bytes of extras, key, most bytes of value, flags
    {0x00, "get", Get, 0, kKey, kNoValue, 0},
    {0x09, "getq", Get, 0, kKey, kNoValue, kQuiet},
    {0x0c, "getk", Get, 0, kKey, kNoValue, kAnswersKey},
    {0x0d, "getkq", Get, 0, kKey, kNoValue, kQuiet | kAnswersKey},
    {0x1c, "touch", Touch, 4, kKey, kNoValue, 0},
    {0x1d, "gat", GetAndTouch, 4, kKey, kNoValue, 0},
    {0x1e, "gatq", GetAndTouch, 4, kKey, kNoValue, kQuiet},
    {0x23, "gatk", GetAndTouch, 4, kKey, kNoValue, kAnswersKey},
    {0x24, "gatkq", GetAndTouch, 4, kKey, kNoValue, kQuiet | kAnswersKey},
    {0x04, "delete", Delete, 0, kKey, kNoValue, 0},
    {0x14, "deleteq", Delete, 0, kKey, kNoValue, kQuiet},
    {0x05, "increment", Increment, 20, kKey, kNoValue, 0},
    {0x15, "incrementq", Increment, 20, kKey, kNoValue, kQuiet},
    {0x06, "decrement", Decrement, 20, kKey, kNoValue, 0},
    {0x16, "decrementq", Decrement, 20, kKey, kNoValue, kQuiet},
};

}  // namespace

std::span<const BinarySpec> BinaryKeyedCommands() { return kKeyedCommands; }

}  // namespace larder::memcache
