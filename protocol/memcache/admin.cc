// protocol/memcache/admin.cc — commands to the server as a whole: flush_all, version, verbosity,
// quit, and the ones that are refused until they are allowed.

#include <algorithm>
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

// A refused flush_all counts too; the store counts the others.
Outcome RefuseFlush(CommandContext& ctx, const Frame& frame, std::string_view why) {
  if (ctx.op.stats != nullptr) ctx.op.stats->Add(ThreadCounter::cmd_flush);
  return Answer(ctx, frame, why);
}

// flush_all [exptime] → everything stored before then is gone from then on.
Outcome FlushAll(CommandContext& ctx, const Frame& frame) {
  if (!ctx.options.flush_enabled) return RefuseFlush(ctx, frame, kFlushNotAllowed);
  std::string_view rest = frame.args;
  const std::string_view word = NextWord(rest);
  TimeMs when = ctx.op.now;
  if (!word.empty() && word != kNoreply) {
    const auto exptime = ParseExptime(word);
    if (!exptime) return RefuseFlush(ctx, frame, kBadExptime);
    // Unlike with an item, no time at all means now.
    if (*exptime > 0) when = DeadlineOf(*exptime, ctx.op.now, ctx.store.clock());
  }
  if (!ctx.store.FlushAll(ctx.op, when)) return Outcome::kWaiting;
  return Answer(ctx, frame, kOk);
}

// flush_prefix prefix → every item whose key begins so is gone.
Outcome FlushPrefix(CommandContext& ctx, const Frame& frame) {
  if (!ctx.options.flush_enabled) return RefuseFlush(ctx, frame, kFlushPrefixNotAllowed);
  if (!ctx.store.FlushPrefix(ctx.op, frame.key)) return Outcome::kWaiting;
  return Answer(ctx, frame, kOk);
}

// version → VERSION x.y.z
Outcome Version(CommandContext& ctx, const Frame& /*frame*/) {
  ReplyWriter reply(ctx.out);
  reply.Text("VERSION ");
  reply.Text(kVersion);
  reply.Text(kCrlf);
  reply.Done();
  return Outcome::kDone;
}

// verbosity level → OK; levels above 2 are 2.
Outcome Verbosity(CommandContext& ctx, const Frame& frame) {
  std::string_view rest = frame.args;
  const auto level = ParseUint64(NextWord(rest));
  if (!level) return Answer(ctx, frame, kBadFormat);
  ctx.host.SetVerbosity(static_cast<int>(std::min(*level, uint64_t{2})));
  return Answer(ctx, frame, kOk);
}

Outcome Quit(CommandContext& /*ctx*/, const Frame& /*frame*/) { return Outcome::kClose; }

// shutdown [graceful] → the end of the connection, and of the server.
Outcome Shutdown(CommandContext& ctx, const Frame& frame) {
  if (!ctx.options.shutdown_enabled) return Answer(ctx, frame, kShutdownNotEnabled);
  std::string_view rest = frame.args;
  const std::string_view mode = NextWord(rest);
  if (!mode.empty() && mode != "graceful") return Answer(ctx, frame, kBadShutdownMode);
  ctx.host.Shutdown(!mode.empty());
  return Outcome::kClose;
}

// debugtime p|r|seconds → stops the clock, lets it run, moves it; for tests only.
Outcome DebugTime(CommandContext& ctx, const Frame& frame) {
  SystemClock* const clock = ctx.options.movable_clock;
  if (clock == nullptr) return Answer(ctx, frame, kError);
  std::string_view rest = frame.args;
  const std::string_view word = NextWord(rest);
  if (word == "p") {
    clock->Pause();
  } else if (word == "r") {
    clock->Resume();
  } else if (const auto seconds = ParseInt32(word)) {
    clock->Shift(int64_t{*seconds} * 1000);
  } else {
    return Answer(ctx, frame, kError);
  }
  ctx.op.Refresh(clock->NowMs());
  return Answer(ctx, frame, kOk);
}

// refresh_certs → OK, or why not
Outcome RefreshCerts(CommandContext& ctx, const Frame& frame) {
  return Answer(ctx, frame, ctx.host.RefreshCerts().append(kCrlf));
}

constexpr CommandSpec kAdminCommands[] = {
    {"flush_all", FlushAll, Shape::kWords, 0, kTakesNoreply, "[exptime] [noreply]"},
    {"flush_prefix", FlushPrefix, Shape::kWords, 1, kKeyFirst | kTakesNoreply, "prefix [noreply]"},
    {"version", Version, Shape::kWords, 0, 0, ""},
    {"verbosity", Verbosity, Shape::kWords, 1, kTakesNoreply, "level [noreply]"},
    {"quit", Quit, Shape::kWords, 0, 0, ""},
    {"shutdown", Shutdown, Shape::kWords, 0, 0, "[graceful]"},
    {"debugtime", DebugTime, Shape::kWords, 0, 0, "p|r|seconds"},
    {"refresh_certs", RefreshCerts, Shape::kWords, 0, 0, ""},
};

}  // namespace

std::span<const CommandSpec> AdminCommands() { return kAdminCommands; }

}  // namespace larder::memcache
