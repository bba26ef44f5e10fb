// server/suboptions.cc — what -o takes: the engine's knobs, and those of memcached that mean
// nothing here but must not stop a start line that carries them.

#include <algorithm>
#include <iterator>
#include <limits>

#include "server/numbers.h"
#include "server/option_table.h"

namespace larder::server {
namespace {

std::string Flag(const SuboptionRow& row) { return "-o " + std::string(row.name); }

Refusal Failure(const SuboptionRow& row, std::string_view rule) {
  return {kExitFailure, Flag(row) + ": " + std::string(rule)};
}

Refusal ToInt(const SuboptionRow& row, std::string_view text, int64_t least, int64_t most,
              int* out) {
  const auto value = ParseInteger(text);
  if (!value) return {kExitFailure, NotANumber(Flag(row), text)};
  if (*value < least || *value > most) {
    return Failure(row, "must be between " + std::to_string(least) + " and " +
                            std::to_string(most) + ", not " + std::string(text));
  }
  *out = static_cast<int>(*value);
  return {};
}

Refusal ToFactor(const SuboptionRow& row, std::string_view text, double most, double* out) {
  const auto value = ParseFraction(text);
  if (!value) return {kExitFailure, NotANumber(Flag(row), text)};
  if (*value <= 0 || *value > most) return Failure(row, "must be greater than 0 and sensible");
  *out = *value;
  return {};
}

constexpr int kMaxInt = std::numeric_limits<int>::max();

// Taken, shown in the settings, and without effect.
void Ignored(Options& options, const SuboptionRow& row, std::string_view why) {
  options.warnings.push_back(Flag(row) + ": ignored, " + std::string(why));
}

Refusal MaxconnsFast(Options& o, const SuboptionRow&, std::string_view) {
  return o.maxconns_fast = true, Refusal{};
}
Refusal NoMaxconnsFast(Options& o, const SuboptionRow&, std::string_view) {
  return o.maxconns_fast = false, Refusal{};
}
Refusal Hashpower(Options& o, const SuboptionRow& row, std::string_view text) {
  Refusal refusal = ToInt(row, text, 0, 32, &o.hashpower);
  if (!refusal.refused() && o.hashpower != 0 && o.hashpower < 12) {
    return Failure(row, "must be between 12 and 32, or 0");
  }
  if (!refusal.refused() && o.hashpower != 0) Ignored(o, row, "the index grows by itself");
  return refusal;
}
Refusal TailRepair(Options& o, const SuboptionRow& row, std::string_view text) {
  Refusal refusal = ToInt(row, text, 10, kMaxInt, &o.tail_repair_seconds);
  if (!refusal.refused()) Ignored(o, row, "no item can be stuck at a tail here");
  return refusal;
}
Refusal HashAlgorithm(Options& o, const SuboptionRow& row, std::string_view text) {
  if (text != "jenkins" && text != "murmur3" && text != "xxh3") {
    return Failure(row, "unknown; use xxh3, murmur3 or jenkins");
  }
  if (text != "xxh3") Ignored(o, row, "keys are always hashed by xxh3");
  return {};
}
Refusal Crawler(Options& o, const SuboptionRow&, std::string_view) {
  return o.store.crawler = true, Refusal{};
}
Refusal NoCrawler(Options& o, const SuboptionRow&, std::string_view) {
  return o.store.crawler = false, Refusal{};
}
Refusal CrawlerSleep(Options& o, const SuboptionRow& row, std::string_view text) {
  int us = 0;
  Refusal refusal = ToInt(row, text, 0, 1'000'000, &us);
  if (!refusal.refused()) o.store.crawler_sleep_us = static_cast<unsigned>(us);
  return refusal;
}
Refusal CrawlerToCrawl(Options& o, const SuboptionRow& row, std::string_view text) {
  int items = 0;
  Refusal refusal = ToInt(row, text, 0, kMaxInt, &items);
  if (!refusal.refused()) o.store.crawler_tocrawl = static_cast<uint32_t>(items);
  return refusal;
}
Refusal Maintainer(Options& o, const SuboptionRow&, std::string_view) {
  o.store.maintainer = o.store.segmented = true;
  return {};
}
Refusal NoMaintainer(Options& o, const SuboptionRow&, std::string_view) {
  o.store.maintainer = o.store.segmented = false;
  return {};
}
Refusal Percent(const SuboptionRow& row, std::string_view text, unsigned* out) {
  int percent = 0;
  Refusal refusal = ToInt(row, text, 1, 80, &percent);
  if (!refusal.refused()) *out = static_cast<unsigned>(percent);
  return refusal;
}
Refusal HotPercent(Options& o, const SuboptionRow& row, std::string_view text) {
  return Percent(row, text, &o.store.hot_percent);
}
Refusal WarmPercent(Options& o, const SuboptionRow& row, std::string_view text) {
  return Percent(row, text, &o.store.warm_percent);
}
Refusal HotFactor(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToFactor(row, text, 1e6, &o.store.hot_max_factor);
}
Refusal WarmFactor(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToFactor(row, text, 1e6, &o.store.warm_max_factor);
}
Refusal TemporaryTtl(Options& o, const SuboptionRow& row, std::string_view text) {
  int seconds = 0;
  Refusal refusal = ToInt(row, text, 0, kMaxInt, &seconds);
  if (!refusal.refused()) o.store.temporary_ttl_seconds = seconds;
  return refusal;
}
Refusal Reassign(Options& o, const SuboptionRow&, std::string_view) {
  return o.store.reassign = true, Refusal{};
}
Refusal NoReassign(Options& o, const SuboptionRow&, std::string_view) {
  o.store.reassign = false;
  o.store.automove = 0;
  return {};
}
Refusal Automove(Options& o, const SuboptionRow& row, std::string_view text) {
  if (text.empty()) return o.store.automove = 1, Refusal{};
  return ToInt(row, text, 0, 2, &o.store.automove);
}
Refusal NoAutomove(Options& o, const SuboptionRow&, std::string_view) {
  return o.store.automove = 0, Refusal{};
}
Refusal AutomoveRatio(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToFactor(row, text, 1.0, &o.store.automove_ratio);
}
Refusal AutomoveWindow(Options& o, const SuboptionRow& row, std::string_view text) {
  int seconds = 0;
  Refusal refusal = ToInt(row, text, 3, 1800, &seconds);
  if (!refusal.refused()) o.store.automove_window = static_cast<unsigned>(seconds);
  return refusal;
}
Refusal AutomoveFreeratio(Options& o, const SuboptionRow& row, std::string_view text) {
  Refusal refusal = ToFactor(row, text, 1.0, &o.store.automove_freeratio);
  if (!refusal.refused()) Ignored(o, row, "there is no flash tier");
  return refusal;
}
Refusal SlabSizes(Options& o, const SuboptionRow& row, std::string_view text) {
  std::vector<size_t> sizes;
  while (!text.empty()) {
    const size_t cut = text.find('-');
    const std::string_view one = text.substr(0, cut);
    int bytes = 0;
    Refusal refusal = ToInt(row, one, 32, static_cast<int64_t>(kMemcachedPageBytes), &bytes);
    if (refusal.refused()) return refusal;
    const auto size = static_cast<size_t>(bytes);
    if (!sizes.empty() && size <= sizes.back()) {
      return {kExitUsage, Flag(row) + ": sizes must rise, as in 100-200-400"};
    }
    sizes.push_back(size);
    text = cut == std::string_view::npos ? std::string_view() : text.substr(cut + 1);
  }
  if (sizes.empty()) return Failure(row, "needs sizes, as in 100-200-400");
  if (sizes.size() > 200) return Failure(row, "at most 200 sizes");
  o.store.chunk_sizes = std::move(sizes);
  return {};
}
// Kilobytes up to 1024, bytes above: both are in use.
Refusal SlabChunkMax(Options& o, const SuboptionRow& row, std::string_view text) {
  auto bytes = ParseBytes(text, 1);
  if (!bytes) return {kExitFailure, NotANumber(Flag(row), text)};
  const bool bare = !text.empty() && text.back() >= '0' && text.back() <= '9';
  if (bare && *bytes <= 1024) *bytes *= 1024;
  if (*bytes < 1024 || *bytes > kMemcachedPageBytes) {
    return Failure(row, "must be between 1 and 1024 kilobytes");
  }
  o.store.max_chunk_bytes = static_cast<size_t>(*bytes);
  o.chunk_max_given = true;
  return {};
}
Refusal NoChunkedItems(Options& o, const SuboptionRow&, std::string_view value) {
  o.chunk_max_given = value != kSwitchedOff;
  o.store.max_chunk_bytes =
      o.chunk_max_given ? kMemcachedPageBytes : StoreOptions{}.max_chunk_bytes;
  return {};
}
Refusal IdleTimeout(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToInt(row, text, 0, kMaxInt / 1000, &o.idle_timeout_seconds);
}
Refusal UdpReplyLimit(Options& o, const SuboptionRow& row, std::string_view text) {
  const auto bytes = ParseBytes(text, 1);
  if (!bytes) return {kExitFailure, NotANumber(Flag(row), text)};
  // No more than the datagrams that a header can count.
  constexpr uint64_t kMost = uint64_t{65535} * 1392;
  if (*bytes < 1024 || *bytes > kMost) {
    return Failure(row, "must be between 1024 and " + std::to_string(kMost) + " bytes");
  }
  o.udp_reply_bytes = static_cast<size_t>(*bytes);
  return {};
}
Refusal NoIdleTimeout(Options& o, const SuboptionRow&, std::string_view) {
  return o.idle_timeout_seconds = 0, Refusal{};
}
Refusal WatcherLog(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToInt(row, text, 1, kMaxInt / 1024, &o.watcher_logbuf_kb);
}
Refusal WorkerLog(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToInt(row, text, 1, kMaxInt / 1024, &o.worker_logbuf_kb);
}
Refusal LogTarget(Options& o, const SuboptionRow&, std::string_view text) {
  return o.log_target = text, Refusal{};
}
Refusal ReadBufLimit(Options& o, const SuboptionRow& row, std::string_view text) {
  Refusal refusal = ToInt(row, text, 0, kMaxInt / 1024, &o.read_buf_mem_limit_mb);
  if (!refusal.refused() && o.read_buf_mem_limit_mb > 0) {
    Ignored(o, row, "a worker has one read buffer for all its connections");
  }
  return refusal;
}
Refusal TrackSizes(Options& o, const SuboptionRow&, std::string_view value) {
  return Switch(&o.store.track_sizes, value);
}
Refusal Modern(Options&, const SuboptionRow&, std::string_view) { return {}; }
Refusal DebugCommands(Options& o, const SuboptionRow& row, std::string_view value) {
  if (value != kSwitchedOff) {
    o.warnings.push_back(Flag(row) + ": clients can move the clock, for tests only");
  }
  return Switch(&o.debug_commands, value);
}
// The defaults of memcached 1.4.
Refusal NoModern(Options& o, const SuboptionRow&, std::string_view) {
  o.maxconns_fast = false;
  o.store.reassign = false;
  o.store.automove = 0;
  o.store.crawler = o.store.maintainer = o.store.segmented = false;
  o.store.max_chunk_bytes = kMemcachedPageBytes;
  o.chunk_max_given = true;
  return {};
}
Refusal Privileges(Options& o, const SuboptionRow& row, std::string_view) {
  if (row.name == "drop_privileges") Ignored(o, row, "system calls are not filtered yet");
  return {};
}
Refusal NoMeaning(Options& o, const SuboptionRow& row, std::string_view) {
  Ignored(o, row, "it has no meaning here");
  return {};
}
Refusal Quiet(Options&, const SuboptionRow&, std::string_view) { return {}; }
Refusal NoFlash(Options& o, const SuboptionRow& row, std::string_view) {
  Ignored(o, row, "there is no flash tier: only memory (-m) holds items");
  return {};
}
// A text of TlsOptions.
template <std::string TlsOptions::*kMember>
Refusal TlsText(Options& o, const SuboptionRow&, std::string_view text) {
  return o.tls.*kMember = text, Refusal{};
}
Refusal TlsKeyFormat(Options& o, const SuboptionRow& row, std::string_view text) {
  if (text != "1" && text != "2" && text != "PEM" && text != "DER") {
    return Failure(row, "could not parse argument; use 1 (PEM) or 2 (DER)");
  }
  o.tls.key_is_der = text == "2" || text == "DER";
  return {};
}
Refusal TlsVerifyMode(Options& o, const SuboptionRow& row, std::string_view text) {
  int mode = 0;
  Refusal refusal = ToInt(row, text, 0, kPeerChecks - 1, &mode);
  if (!refusal.refused()) o.tls.peer_check = static_cast<PeerCheck>(mode);
  return refusal;
}
Refusal TlsWriteBuffer(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToInt(row, text, 1, 1024, &o.tls.wbuf_kb);
}
Refusal TlsSessionCache(Options& o, const SuboptionRow&, std::string_view value) {
  return Switch(&o.tls.session_cache, value);
}
Refusal TlsKernel(Options& o, const SuboptionRow&, std::string_view value) {
  return Switch(&o.tls.kernel_tls, value);
}
Refusal TlsMinVersion(Options& o, const SuboptionRow& row, std::string_view text) {
  return ToInt(row, text, 0, 3, &o.tls.min_version);
}
Refusal NoProxy(Options&, const SuboptionRow& row, std::string_view) {
  return {kExitUsage, Flag(row) + ": there is no proxy mode"};
}

constexpr auto kNone = SuboptionValue::kNone;
constexpr auto kSwitch = SuboptionValue::kSwitch;
constexpr auto kRequired = SuboptionValue::kRequired;
constexpr auto kOptional = SuboptionValue::kOptional;

constexpr SuboptionRow kSuboptions[] = {
    // clang-format off
    {"maxconns_fast", kNone, "at the limit of -c refuse new clients with an error", "on", MaxconnsFast},
    {"no_maxconns_fast", kNone, "at the limit of -c let new clients wait", "", NoMaxconnsFast},
    {"idle_timeout", kRequired, "seconds after which an idle client is dropped; 0: never", "0", IdleTimeout},
    {"no_idle_timeout", kNone, "", "", NoIdleTimeout},
    {"udp_reply_limit", kRequired, "bytes; a longer reply to one datagram becomes an error", "64k", UdpReplyLimit},
    {"track_sizes", kSwitch, "collect what `stats sizes` shows", "off", TrackSizes},
    {"hot_lru_pct", kRequired, "share of memory for HOT, percent", "20", HotPercent},
    {"warm_lru_pct", kRequired, "share of memory for WARM, percent", "40", WarmPercent},
    {"hot_max_factor", kRequired, "HOT items older than this times COLD's age move on", "0.2", HotFactor},
    {"warm_max_factor", kRequired, "the same for WARM", "2.0", WarmFactor},
    {"temporary_ttl", kRequired, "items that live shorter (seconds) get a queue of their own", "off", TemporaryTtl},
    {"lru_maintainer", kNone, "segmented LRU and its background thread", "on", Maintainer},
    {"no_lru_maintainer", kNone, "one queue a class", "", NoMaintainer},
    {"lru_crawler", kNone, "reclaim expired items in the background", "on", Crawler},
    {"no_lru_crawler", kNone, "reclaim expired items only when they are met", "", NoCrawler},
    {"lru_crawler_sleep", kRequired, "microseconds between two slices of its work", "100", CrawlerSleep},
    {"lru_crawler_tocrawl", kRequired, "items it looks at in one round; 0: all", "0", CrawlerToCrawl},
    {"slab_reassign", kNone, "", "", Reassign},
    {"no_slab_reassign", kNone, "leave pages where they are", "", NoReassign},
    {"slab_automove", kOptional, "move pages to hungry classes: 0 when nothing else helps, 1, 2 eagerly", "1", Automove},
    {"no_slab_automove", kNone, "", "", NoAutomove},
    {"slab_automove_ratio", kRequired, "how uneven ages of classes may become", "0.8", AutomoveRatio},
    {"slab_automove_window", kRequired, "how long a class that was short of pages is minded", "10", AutomoveWindow},
    {"slab_automove_freeratio", kRequired, "", "", AutomoveFreeratio},
    {"slab_sizes", kRequired, "chunk sizes instead of -f, as in 100-200-400", "", SlabSizes},
    {"slab_chunk_max", kRequired, "largest chunk, kilobytes (above 1024: bytes)", "64", SlabChunkMax},
    {"no_chunked_items", kSwitch, "chunks of up to a whole page", "", NoChunkedItems},
    {"modern", kNone, "of no effect: the default", "", Modern},
    {"debug_commands", kSwitch, "", "", DebugCommands},
    {"no_modern", kNone, "the defaults of memcached 1.4", "", NoModern},
    {"hashpower", kRequired, "accepted; the index grows by itself", "0", Hashpower},
    {"hash_algorithm", kRequired, "accepted; always xxh3", "xxh3", HashAlgorithm},
    {"no_hashexpand", kNone, "", "", NoMeaning},
    {"tail_repair_time", kRequired, "", "", TailRepair},
    {"log", kRequired, "where the log goes: stderr, syslog, or a file", "stderr", LogTarget},
    {"watcher_logbuf_size", kRequired, "for each client that watches, kilobytes", "256", WatcherLog},
    {"worker_logbuf_size", kRequired, "for the events of each thread, kilobytes", "64", WorkerLog},
    {"read_buf_mem_limit", kRequired, "accepted; buffers are bounded by design", "0", ReadBufLimit},
    {"resp_obj_mem_limit", kRequired, "", "", NoMeaning},
    {"inline_ascii_resp", kNone, "", "", Quiet},
    {"no_inline_ascii_resp", kNone, "", "", Quiet},
    {"drop_privileges", kNone, "accepted with a warning; also no_drop_privileges", "off", Privileges},
    {"no_drop_privileges", kNone, "", "", Privileges},
    {"relaxed_privileges", kNone, "", "", NoMeaning},
    {"sock_cookie_id", kRequired, "", "", NoMeaning},
    {"ext_path", kRequired, "accepted with a warning, like all ext_*: there is no flash tier", "", NoFlash},
    {"ext_page_size", kRequired, "", "", NoFlash},
    {"ext_page_count", kRequired, "", "", NoFlash},
    {"ext_wbuf_size", kRequired, "", "", NoFlash},
    {"ext_threads", kRequired, "", "", NoFlash},
    {"ext_io_depth", kRequired, "", "", NoFlash},
    {"ext_item_size", kRequired, "", "", NoFlash},
    {"ext_item_age", kRequired, "", "", NoFlash},
    {"ext_low_ttl", kRequired, "", "", NoFlash},
    {"ext_recache_rate", kRequired, "", "", NoFlash},
    {"ext_compact_under", kRequired, "", "", NoFlash},
    {"ext_drop_under", kRequired, "", "", NoFlash},
    {"ext_max_frag", kRequired, "", "", NoFlash},
    {"ext_max_sleep", kRequired, "", "", NoFlash},
    {"ext_drop_unread", kNone, "", "", NoFlash},
    {"no_ext_drop_unread", kNone, "", "", NoFlash},
    {"ssl_chain_cert", kRequired, "with -Z: file of the certificate and those that vouch for it, PEM", "", TlsText<&TlsOptions::chain_cert>},
    {"ssl_key", kRequired, "file of its key, when not in ssl_chain_cert", "", TlsText<&TlsOptions::key>},
    {"ssl_keyformat", kRequired, "1: PEM, 2: DER", "1", TlsKeyFormat},
    {"ssl_verify_mode", kRequired, "certificates of clients: 0 none, 1 checked when shown, 2 or 3 required", "0", TlsVerifyMode},
    {"ssl_ca_cert", kRequired, "file of those that vouch for clients, PEM", "", TlsText<&TlsOptions::ca_cert>},
    {"ssl_ciphers", kRequired, "ciphers allowed, cut at colons", "", TlsText<&TlsOptions::ciphers>},
    {"ssl_min_version", kRequired, "least TLS version: 0 to 3 for 1.0 to 1.3", "2", TlsMinVersion},
    {"ssl_session_cache", kSwitch, "remember sessions for clients that resume without tickets", "off", TlsSessionCache},
    {"ssl_wbuf_size", kRequired, "kilobytes of small replies put into one TLS record; at most 16 count", "16", TlsWriteBuffer},
    {"ssl_kernel_tls", kSwitch, "let the kernel encrypt where it can", "off", TlsKernel},
    {"proxy_config", kRequired, "refused, like all proxy_*: there is no proxy mode", "", NoProxy},
    {"proxy_arg", kRequired, "", "", NoProxy},
    {"proxy_uring", kNone, "", "", NoProxy},
    {"proxy_memprofile", kNone, "", "", NoProxy},
    // clang-format on
};

Refusal ApplyOne(Options& options, std::string_view text) {
  const size_t equals = text.find('=');
  const SuboptionRow* row = FindSuboption(text.substr(0, equals));
  if (row == nullptr) return {kExitFailure, "Illegal suboption \"" + std::string(text) + "\""};
  const bool has_value = equals != std::string_view::npos;
  return ApplySuboption(options, *row, has_value ? text.substr(equals + 1) : std::string_view());
}

}  // namespace

std::span<const SuboptionRow> SuboptionRows() { return kSuboptions; }

const SuboptionRow* FindSuboption(std::string_view name) {
  const auto* const row = std::find_if(std::begin(kSuboptions), std::end(kSuboptions),
                                       [&](const SuboptionRow& one) { return one.name == name; });
  return row == std::end(kSuboptions) ? nullptr : row;
}

Refusal ApplySuboption(Options& options, const SuboptionRow& row, std::string_view value) {
  if (row.value == kRequired && value.empty()) {
    return Failure(row, "it needs a value, " + std::string(row.name) + "=...");
  }
  if (row.value == kRequired || row.value == kOptional) return row.apply(options, row, value);
  const auto on = ParseSwitch(value);
  if (!on) return {kExitFailure, NotASwitch(Flag(row), value)};
  if (*on) return row.apply(options, row, {});
  if (row.value == kSwitch) return row.apply(options, row, kSwitchedOff);
  // Off: its opposite, if it has one; otherwise it is off already.
  constexpr std::string_view kNo = "no_";
  const SuboptionRow* opposite = row.name.starts_with(kNo)
                                     ? FindSuboption(row.name.substr(kNo.size()))
                                     : FindSuboption(std::string(kNo) + std::string(row.name));
  if (opposite == nullptr || opposite->value == kRequired) return {};
  return opposite->apply(options, *opposite, {});
}

Refusal ApplySuboptions(Options& options, std::string_view text) {
  while (!text.empty()) {
    const size_t cut = text.find(',');
    const std::string_view one = text.substr(0, cut);
    if (!one.empty()) {
      Refusal refusal = ApplyOne(options, one);
      if (refusal.refused()) return refusal;
    }
    text = cut == std::string_view::npos ? std::string_view() : text.substr(cut + 1);
  }
  return {};
}

}  // namespace larder::server
