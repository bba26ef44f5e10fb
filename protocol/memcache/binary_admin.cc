// protocol/memcache/binary_admin.cc — opcodes to the server as a whole: noop, version, quit, flush,
// stat.

#include <span>
#include <string>
#include <utility>

#include "protocol/big_endian.h"
#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/binary_reply.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/stats.h"

namespace larder::memcache {
namespace {

// → an empty reply, behind all of those before.
Outcome Noop(BinaryContext& ctx, const BinaryFrame& frame) {
  Reply(ctx.out, frame, Status::kOk);
  return Outcome::kDone;
}

// → "x.y.z"
Outcome Version(BinaryContext& ctx, const BinaryFrame& frame) {
  PacketWriter packet(ctx.out, frame);
  packet.Text(kVersion);
  packet.Done(Status::kOk);
  return Outcome::kDone;
}

Outcome Quit(BinaryContext& ctx, const BinaryFrame& frame) {
  if (!frame.command->is_quiet()) Reply(ctx.out, frame, Status::kOk);
  return Outcome::kClose;
}

// Everything stored before its time is gone from then on.
Outcome Flush(BinaryContext& ctx, const BinaryFrame& frame) {
  if (!ctx.options.flush_enabled) {
    Reply(ctx.out, frame, Status::kAuthFailure);
    return Outcome::kDone;
  }
  const uint32_t exptime = frame.extras.empty() ? 0 : LoadBig32(frame.extras.data());
  // Unlike with an item, no time at all means now.
  const TimeMs when = exptime > 0 ? DeadlineOf(exptime, ctx.op.now, ctx.store.clock()) : ctx.op.now;
  if (!ctx.store.FlushAll(ctx.op, when)) return Outcome::kWaiting;
  if (!frame.command->is_quiet()) Reply(ctx.out, frame, Status::kOk);
  return Outcome::kDone;
}

constexpr std::string_view kDetail = "detail ";

// The key is the group → a packet a row, and an empty one.  Connections are listed in text only.
Outcome Stat(BinaryContext& ctx, const BinaryFrame& frame) {
  const std::string_view group = ctx.key.bytes;
  const bool is_detail = group.starts_with(kDetail);
  const std::string_view word = is_detail ? group.substr(kDetail.size()) : std::string_view();
  if ((is_detail || group == "topkeys") && !ctx.options.dump_enabled) {
    Reply(ctx.out, frame, Status::kAuthFailure);
    return Outcome::kDone;
  }
  StatText text(frame.opaque);
  if (group == "reset") {
    ResetStats(ctx.store, ctx.host);
  } else if (word == "dump") {
    text.Add("detailed", PrefixText(ctx.store));
  } else if (SwitchDetail(ctx.store, word)) {
    // Nothing to say but that it is done.
  } else if (group == "conns" || !WriteStats(ctx.store, ctx.host, group, text)) {
    Reply(ctx.out, frame, Status::kNotFound);
    return Outcome::kDone;
  }
  ctx.out.AppendOwned(std::move(text).Take());
  return Outcome::kDone;
}

constexpr auto kNone = KeyShape::kNone;

constexpr BinarySpec kAdminCommands[] = {
    // opcode, name, handler, bytes of extras, key, most bytes of value, flags
    {0x0a, "noop", Noop, 0, kNone, kNoValue, 0},
    {0x0b, "version", Version, 0, kNone, kNoValue, kBeforeLogin},
    {0x07, "quit", Quit, 0, kNone, kNoValue, 0},
    {0x17, "quitq", Quit, 0, kNone, kNoValue, kQuiet},
    {0x08, "flush", Flush, 4, kNone, kNoValue, kExtrasMayLack},
    {0x18, "flushq", Flush, 4, kNone, kNoValue, kExtrasMayLack | kQuiet},
    {kOpStat, "stat", Stat, 0, KeyShape::kMayLack, kNoValue, 0},
};

}  // namespace

std::span<const BinarySpec> BinaryAdminCommands() { return kAdminCommands; }

}  // namespace larder::memcache
