#include "protocol/memcache/retrieval.h"

#include <array>
#include <span>

#include "protocol/memcache/framer.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/reply_writer.h"

namespace larder::memcache {
namespace {

// How many keys of one line are looked for at a time: enough to hide the memory behind each
// other, and no more than the nearest cache holds.
constexpr size_t kWave = 16;

// VALUE <key> <flags> <bytes> [<cas>]\r\n<data>\r\n
// REQUIRES: out.HasRoom().
void WriteItem(ReplyBuffer& out, std::string_view key, const ValueView& item, bool with_cas) {
  ReplyWriter reply(out);
  reply.Text("VALUE ");
  reply.Text(key);
  reply.Text(" ");
  reply.Number(item.flags);
  reply.Text(" ");
  reply.Number(item.size);
  if (with_cas) {
    reply.Text(" ");
    reply.Number(item.cas());
  }
  reply.Text(kCrlf);
  if (item.size > kLargeValueBytes) {
    reply.Done();
    out.AppendPin(item.MakePin());
    out.Append(kCrlf);
    return;
  }
  reply.Text(item.bytes);
  reply.Text(kCrlf);
  reply.Done();
}

// Nothing for a miss.  REQUIRES: ctx.out.HasRoom().
void AnswerKey(CommandContext& ctx, const KeyWalk& walk, const Key& key) {
  if (walk.touches) {
    const ReadOptions options{.touch = true, .deadline = walk.deadline};
    ctx.store.Read(ctx.op, key, options, [&](const ValueView& item) {
      WriteItem(ctx.out, key.bytes, item, walk.with_cas);
    });
    return;
  }
  ctx.store.Read(ctx.op, key, [&](const ValueView& item) {
    WriteItem(ctx.out, key.bytes, item, walk.with_cas);
  });
}

size_t LineEndBytes(std::string_view text, size_t at) { return text[at] == '\r' ? 2 : 1; }

Outcome Retrieve(CommandContext& ctx, const Frame& frame, KeyWalk walk) {
  if (frame.kind == FrameKind::kOpenKeys) {
    ctx.unfinished.BeginKeys(walk);
    return Outcome::kUnfinished;
  }
  if (frame.single_key) {
    AnswerKey(ctx, walk, ctx.key);
    ctx.out.Append(kEnd);
    return Outcome::kDone;
  }
  const WalkResult result = AnswerKeys(ctx, walk, frame.args);
  if (result.end == WalkEnd::kLineDone) return Outcome::kDone;
  // Every key was measured and the line is whole: only the output can have stopped it.
  ctx.unfinished.BeginKeys(walk);
  ctx.consumed = frame.bytes - frame.args.size() + result.consumed;
  return Outcome::kOutputFull;
}

KeyWalk TouchWalk(const CommandContext& ctx, const Frame& frame, bool with_cas) {
  KeyWalk walk;
  walk.with_cas = with_cas;
  walk.touches = true;
  walk.deadline = DeadlineOf(frame.exptime, ctx.op.now, ctx.store.clock());
  return walk;
}

// get key... → the items there are, in the order asked for.
Outcome Get(CommandContext& ctx, const Frame& frame) {
  if (!frame.single_key) return Retrieve(ctx, frame, KeyWalk{});
  ctx.store.Read(ctx.op, ctx.key, [&](const ValueView& item) {
    WriteItem(ctx.out, ctx.key.bytes, item, /*with_cas=*/false);
  });
  ctx.out.Append(kEnd);
  return Outcome::kDone;
}

// gets key... → the same, with the CAS value of each.
Outcome Gets(CommandContext& ctx, const Frame& frame) {
  KeyWalk walk;
  walk.with_cas = true;
  return Retrieve(ctx, frame, walk);
}

// gat exptime key... → get, and the items found expire at `exptime` from now on.
Outcome GetAndTouch(CommandContext& ctx, const Frame& frame) {
  return Retrieve(ctx, frame, TouchWalk(ctx, frame, false));
}

Outcome GetsAndTouch(CommandContext& ctx, const Frame& frame) {
  return Retrieve(ctx, frame, TouchWalk(ctx, frame, true));
}

constexpr CommandSpec kRetrievalCommands[] = {
    {"get", Get, Shape::kKeys, 1, kKeyFirst, "key..."},
    {"gets", Gets, Shape::kKeys, 1, kKeyFirst, "key..."},
    {"gat", GetAndTouch, Shape::kTouchKeys, 2, kKeyFirst, "exptime key..."},
    {"gats", GetsAndTouch, Shape::kTouchKeys, 2, kKeyFirst, "exptime key..."},
};

}  // namespace

WalkResult AnswerKeys(CommandContext& ctx, KeyWalk& walk, std::string_view text) {
  std::array<Key, kWave> keys;
  for (size_t at = 0;;) {
    size_t n = 0;
    KeyStep step = KeyStep::kKey;
    while (n < kWave) {
      std::string_view key;
      step = NextKey(text, at, key);
      if (step != KeyStep::kKey) break;
      keys[n++].bytes = key;
    }
    const auto wave = std::span(keys).first(n);
    ctx.store.Prepare(wave);
    for (const Key& key : wave) {
      if (!ctx.out.HasRoom()) {
        return {static_cast<size_t>(key.bytes.data() - text.data()), WalkEnd::kOutputFull};
      }
      AnswerKey(ctx, walk, key);
      walk.any_key = true;
    }
    if (step == KeyStep::kKey) continue;
    if (step == KeyStep::kIncomplete) return {at, WalkEnd::kNeedInput};
    if (step == KeyStep::kTooLong) return {at, WalkEnd::kBadKey};
    if (!ctx.out.HasRoom()) return {at, WalkEnd::kOutputFull};
    ctx.out.Append(walk.any_key ? kEnd : kBadFormat);
    return {at + LineEndBytes(text, at), WalkEnd::kLineDone};
  }
}

std::span<const CommandSpec> RetrievalCommands() { return kRetrievalCommands; }

}  // namespace larder::memcache
