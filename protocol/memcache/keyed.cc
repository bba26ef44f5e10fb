// protocol/memcache/keyed.cc — commands on one key that carry no value: delete, incr, decr, touch.

#include <span>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/reply_writer.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

Outcome Answer(CommandContext& ctx, const Frame& frame, std::string_view text) {
  if (!frame.noreply) ctx.out.Append(text);
  return Outcome::kDone;
}

// The word behind the key.
std::string_view SecondWord(const Frame& frame) {
  std::string_view rest = frame.args;
  NextWord(rest);
  return NextWord(rest);
}

// delete key → DELETED or NOT_FOUND; further words mean nothing.
Outcome Delete(CommandContext& ctx, const Frame& frame) {
  const bool deleted = ctx.store.Delete(ctx.op, {.key = ctx.key}) == DeleteResult::kDeleted;
  return Answer(ctx, frame, deleted ? kDeleted : kNotFound);
}

Outcome Count(CommandContext& ctx, const Frame& frame, bool down) {
  const auto delta = ParseUint64(SecondWord(frame));
  if (!delta) return Answer(ctx, frame, kBadDelta);
  CounterAnswer answer;
  switch (ctx.store.Count(ctx.op, {.key = ctx.key, .down = down, .delta = *delta}, &answer)) {
    case CounterResult::kDone: {
      if (frame.noreply) return Outcome::kDone;
      ReplyWriter reply(ctx.out);
      reply.Number(answer.value);
      reply.Text(kCrlf);
      reply.Done();
      return Outcome::kDone;
    }
    case CounterResult::kNotFound:
      return Answer(ctx, frame, kNotFound);
    case CounterResult::kNotANumber:
      return Answer(ctx, frame, kNotNumeric);
    case CounterResult::kExists:
      return Answer(ctx, frame, kExists);
    case CounterResult::kOutOfMemory:
      return Answer(ctx, frame, kNoMemory);
  }
  return Outcome::kDone;
}

// incr key delta → the new value.
Outcome Incr(CommandContext& ctx, const Frame& frame) { return Count(ctx, frame, /*down=*/false); }

// decr key delta → the new value, not below 0.
Outcome Decr(CommandContext& ctx, const Frame& frame) { return Count(ctx, frame, /*down=*/true); }

// touch key exptime → TOUCHED or NOT_FOUND.
Outcome Touch(CommandContext& ctx, const Frame& frame) {
  const auto exptime = ParseExptime(SecondWord(frame));
  if (!exptime) return Answer(ctx, frame, kBadExptime);
  const Deadline deadline = DeadlineOf(*exptime, ctx.op.now, ctx.store.clock());
  return Answer(ctx, frame, ctx.store.Touch(ctx.op, ctx.key, deadline) ? kTouched : kNotFound);
}

constexpr unsigned kKeyed = kKeyFirst | kTakesNoreply;

constexpr CommandSpec kKeyedCommands[] = {
    {"delete", Delete, Shape::kWords, 1, kKeyed, "key [noreply]"},
    {"incr", Incr, Shape::kWords, 2, kKeyed, "key delta [noreply]"},
    {"decr", Decr, Shape::kWords, 2, kKeyed, "key delta [noreply]"},
    {"touch", Touch, Shape::kWords, 2, kKeyed, "key exptime [noreply]"},
};

}  // namespace

std::span<const CommandSpec> KeyedCommands() { return kKeyedCommands; }

}  // namespace larder::memcache
