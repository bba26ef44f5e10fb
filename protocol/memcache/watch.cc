// protocol/memcache/watch.cc — watch: a connection that from then on is only told what happens.

#include <span>
#include <string>
#include <string_view>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

struct StreamName {
  std::string_view name;
  uint32_t streams;
};

constexpr StreamName kStreamNames[] = {
    {"fetchers", kFetchers},      {"mutations", kMutations},    {"evictions", kEvictions},
    {"connevents", kConnEvents},  {"deletions", kDeletions},    {"sysevents", kSysEvents},
    {"rawcmds", kRawCommands},    {"proxyreqs", kProxyStreams}, {"proxyevents", kProxyStreams},
    {"proxyuser", kProxyStreams},
};

// 0: a word that names no stream.
uint32_t StreamsOf(std::string_view words) {
  uint32_t streams = 0;
  for (std::string_view word = NextWord(words); !word.empty(); word = NextWord(words)) {
    uint32_t found = 0;
    for (const StreamName& one : kStreamNames) {
      if (one.name == word) found = one.streams;
    }
    if (found == 0) return 0;
    streams |= found;
  }
  return streams == 0 ? uint32_t{kFetchers} : streams;
}

// watch [stream...] → OK, then a line an event, until the client leaves.
Outcome Watch(CommandContext& ctx, const Frame& frame) {
  std::string_view refusal;
  const uint32_t streams = StreamsOf(frame.args);
  if (!ctx.options.watch_enabled) {
    refusal = kWatchNotAllowed;
  } else if (!ctx.out.empty()) {
    refusal = kWatchNotAlone;
  } else if (streams == 0) {
    refusal = kError;
  } else if (auto feed = ctx.host.Watch(ctx.op, streams)) {
    ctx.unfinished.BeginFeed(std::move(feed));
    ctx.out.Append(kOk);
    return Outcome::kUnfinished;
  } else {
    refusal = kTooManyWatchers;
  }
  ctx.out.Append(refusal);
  return Outcome::kDone;
}

constexpr CommandSpec kWatchCommands[] = {
    {"watch", Watch, Shape::kWords, 0, 0, "[fetchers|mutations|evictions|connevents|...]..."},
};

}  // namespace

std::span<const CommandSpec> WatchCommands() { return kWatchCommands; }

}  // namespace larder::memcache
