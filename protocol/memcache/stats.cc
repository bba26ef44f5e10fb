// protocol/memcache/stats.cc — the command and the groups without a table of counters.

#include "protocol/memcache/stats.h"

#include <span>
#include <string>
#include <utility>

#include "core/base/uri.h"
#include "protocol/memcache/command.h"
#include "protocol/memcache/dump.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {

std::string StatNumber(double value) {
  std::array<char, 64> digits;
  const auto [stop, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                           std::chars_format::fixed, 6);
  return error == std::errc() ? std::string(digits.data(), stop) : "0.000000";
}

namespace {

void SettingStats(Store& /*store*/, Host& host, StatText& text) {
  for (const auto& [name, value] : host.Settings()) text.Add(name, value);
}

void SizeStats(Store& store, Host& /*host*/, StatText& text) {
  if (!store.options().track_sizes) {
    text.Add("sizes_status", "disabled");
    return;
  }
  for (const auto& [bytes, count] : store.Sizes()) text.Add(StatNumber(bytes), count);
}

void ConnectionStats(Store& /*store*/, Host& host, StatText& text) {
  for (const ConnectionInfo& connection : host.Connections()) {
    const std::string prefix = StatNumber(connection.fd) + ":";
    text.Add(prefix, "addr", connection.address);
    if (!connection.listen_address.empty()) {
      text.Add(prefix, "listen_addr", connection.listen_address);
    }
    text.Add(prefix, "state", connection.state);
    text.Add(prefix, "secs_since_last_cmd", StatNumber(connection.idle_seconds));
  }
}

// stats detail on|off|dump → what is counted by prefix.
Outcome Detail(CommandContext& ctx, std::string_view rest) {
  const std::string_view word = NextWord(rest);
  if (!ctx.options.dump_enabled) {
    ctx.out.Append(kDetailNotAllowed);
  } else if (SwitchDetail(ctx.store, word)) {
    ctx.out.Append(kOk);
  } else if (word == "dump") {
    ctx.out.AppendOwned(PrefixText(ctx.store));
  } else {
    ctx.out.Append(kDetailUsage);
  }
  return Outcome::kDone;
}

struct StatGroup {
  std::string_view name;
  void (*write)(Store& store, Host& host, StatText& text);
};

// Matched whole.  memcached takes a prefix for some of them, so that `stats res` resets.
constexpr StatGroup kStatGroups[] = {
    {"", GeneralStats},      {"settings", SettingStats}, {"items", ItemStats},
    {"slabs", SlabStats},    {"sizes", SizeStats},       {"conns", ConnectionStats},
    {"larder", LarderStats}, {"topkeys", TopKeyStats},
};

// stats [group] → STAT lines and END; stats reset → RESET.
Outcome Stats(CommandContext& ctx, const Frame& frame) {
  std::string_view rest = frame.args;
  const std::string_view name = NextWord(rest);
  if (name == "reset") {
    ResetStats(ctx.store, ctx.host);
    ctx.out.Append(kReset);
    return Outcome::kDone;
  }
  if (name == "cachedump") return CacheDump(ctx, rest);
  if (name == "detail") return Detail(ctx, rest);
  if (name == "topkeys" && !ctx.options.dump_enabled) {
    ctx.out.Append(kTopKeysNotAllowed);
    return Outcome::kDone;
  }
  StatText text;
  if (WriteStats(ctx.store, ctx.host, name, text)) {
    ctx.out.AppendOwned(std::move(text).Take());
  } else {
    ctx.out.Append(kError);
  }
  return Outcome::kDone;
}

constexpr CommandSpec kStatsCommands[] = {
    {"stats", Stats, Shape::kWords, 0, 0, "[group]"},
};

}  // namespace

bool WriteStats(Store& store, Host& host, std::string_view group, StatText& text) {
  for (const StatGroup& one : kStatGroups) {
    if (one.name != group) continue;
    one.write(store, host, text);
    return true;
  }
  return false;
}

bool SwitchDetail(Store& store, std::string_view word) {
  if (word != "on" && word != "off") return false;
  store.stats().CollectPrefixes(word == "on");
  return true;
}

// PREFIX <prefix> get <n> hit <n> set <n> del <n>, a line each.
std::string PrefixText(Store& store) {
  std::string text;
  for (const auto& [prefix, counts] : store.stats().Prefixes()) {
    text.append("PREFIX ");
    AppendForALine(prefix, text);
    text.append(" get ").append(StatNumber(counts.gets));
    text.append(" hit ").append(StatNumber(counts.hits));
    text.append(" set ").append(StatNumber(counts.sets));
    text.append(" del ").append(StatNumber(counts.deletes)).append(kCrlf);
  }
  return text.append(kEnd);
}

void ResetStats(Store& store, Host& host) {
  store.stats().Reset();
  store.hot_keys().Reset();
  host.ResetStats();
}

std::span<const CommandSpec> StatsCommands() { return kStatsCommands; }

}  // namespace larder::memcache
