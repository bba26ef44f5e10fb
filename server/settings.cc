#include "server/settings.h"

#include <cstdio>

namespace larder::server {
namespace {

struct State {
  const Options& o;
  const LiveSettings& live;
  const StoreTuning& t;
};

std::string YesNo(bool value) { return value ? "yes" : "no"; }

template <typename Int>
std::string Num(Int value) {
  return std::to_string(value);
}

std::string Fixed(double value, int digits) {
  // The largest number has 309 digits before the point.
  const int bytes = std::snprintf(nullptr, 0, "%.*f", digits, value);
  std::string text(static_cast<size_t>(bytes), '\0');
  std::snprintf(text.data(), text.size() + 1, "%.*f", digits, value);
  return text;
}

std::string Octal(mode_t mode) {
  char text[16];
  const int n = std::snprintf(text, sizeof(text), "%o", mode);
  return {text, static_cast<size_t>(n)};
}

std::string Interfaces(const Options& o) {
  if (o.listen.empty()) return "NULL";
  std::string text;
  for (const std::string& one : o.listen) text.append(text.empty() ? "" : ",").append(one);
  return text;
}

int64_t TemporaryTtl(const State& s) { return s.t.temporary_ttl_seconds.load(); }

std::string OrNull(const std::string& text) { return text.empty() ? "(null)" : text; }

std::string ProtocolName(BindingProtocol protocol) {
  switch (protocol) {
    case BindingProtocol::kAuto:
      return "auto-negotiate";
    case BindingProtocol::kAscii:
      return "ascii";
    case BindingProtocol::kBinary:
      return "binary";
  }
  return "";
}

// As memcached shows it: OpenSSL's bits.
std::string VerifyMode(PeerCheck check) {
  constexpr const char* kBits[kPeerChecks] = {"0", "1", "3", "7"};
  return kBits[static_cast<size_t>(check)];
}

struct SettingRow {
  const char* name;
  std::string (*value)(const State& s);
};

#define LARDER_ROW(name, expression)                                     \
  {                                                                      \
#name, [](const State& s) -> std::string { (void)s; return expression; } \
  }

const SettingRow kRows[] = {
    LARDER_ROW(maxbytes, Num(s.live.memory_bytes)),
    LARDER_ROW(maxconns, Num(s.o.max_connections)),
    LARDER_ROW(tcpport, Num(s.live.tcp_port)),
    LARDER_ROW(udpport, Num(s.live.udp_port)),
    LARDER_ROW(inter, Interfaces(s.o)),
    LARDER_ROW(verbosity, Num(s.live.verbosity)),
    LARDER_ROW(oldest, "0"),
    LARDER_ROW(evictions, s.o.store.evict ? "on" : "off"),
    LARDER_ROW(domain_socket, s.o.unix_path.empty() ? "NULL" : s.o.unix_path),
    LARDER_ROW(umask, Octal(s.o.unix_mode)),
    LARDER_ROW(shutdown_command, YesNo(s.o.shutdown_enabled)),
    LARDER_ROW(growth_factor, Fixed(GrowthFactor(s.o.store), 2)),
    LARDER_ROW(chunk_size, Num(s.o.store.min_chunk_payload)),
    LARDER_ROW(num_threads, Num(s.o.threads)),
    LARDER_ROW(num_threads_per_udp, Num(s.o.threads)),
    LARDER_ROW(stat_key_prefix, std::string(1, s.o.store.prefix_delimiter)),
    LARDER_ROW(detail_enabled, YesNo(s.live.detail_enabled)),
    LARDER_ROW(reqs_per_event, Num(s.o.reqs_per_event)),
    LARDER_ROW(cas_enabled, YesNo(s.o.store.use_cas)),
    LARDER_ROW(tcp_backlog, Num(s.o.backlog)),
    LARDER_ROW(binding_protocol, ProtocolName(s.o.protocol)),
    LARDER_ROW(auth_enabled_sasl, YesNo(s.o.sasl)),
    LARDER_ROW(auth_enabled_ascii, s.o.password_file.empty() ? "no" : s.o.password_file),
    LARDER_ROW(item_size_max, Num(s.o.store.max_item_bytes)),
    LARDER_ROW(maxconns_fast, YesNo(s.o.maxconns_fast)),
    LARDER_ROW(hashpower_init, Num(s.o.hashpower)),
    LARDER_ROW(slab_reassign, YesNo(s.o.store.reassign)),
    LARDER_ROW(slab_automove, Num(s.t.automove.load())),
    LARDER_ROW(slab_automove_ratio, Fixed(s.t.automove_ratio.load(), 2)),
    LARDER_ROW(slab_automove_window, Num(s.t.automove_window.load())),
    LARDER_ROW(slab_chunk_max, Num(s.o.store.max_chunk_bytes)),
    LARDER_ROW(lru_crawler, YesNo(s.t.crawler.load())),
    LARDER_ROW(lru_crawler_sleep, Num(s.t.crawler_sleep_us.load())),
    LARDER_ROW(lru_crawler_tocrawl, Num(s.t.crawler_tocrawl.load())),
    LARDER_ROW(tail_repair_time, Num(s.o.tail_repair_seconds)),
    LARDER_ROW(flush_enabled, YesNo(s.o.flush_enabled)),
    LARDER_ROW(dump_enabled, YesNo(s.o.dump_enabled)),
    LARDER_ROW(hash_algorithm, s.o.hash_algorithm),
    LARDER_ROW(lru_maintainer_thread, YesNo(s.o.store.maintainer)),
    LARDER_ROW(lru_segmented, YesNo(s.t.segmented.load())),
    LARDER_ROW(hot_lru_pct, Num(s.t.hot_percent.load())),
    LARDER_ROW(warm_lru_pct, Num(s.t.warm_percent.load())),
    LARDER_ROW(hot_max_factor, Fixed(s.t.hot_max_factor.load(), 2)),
    LARDER_ROW(warm_max_factor, Fixed(s.t.warm_max_factor.load(), 2)),
    LARDER_ROW(temp_lru, YesNo(TemporaryTtl(s) >= 0)),
    LARDER_ROW(temporary_ttl, Num(TemporaryTtl(s) >= 0 ? TemporaryTtl(s) : 61)),
    LARDER_ROW(idle_timeout, Num(s.o.idle_timeout_seconds)),
    LARDER_ROW(watcher_logbuf_size, Num(s.o.watcher_logbuf_kb * 1024)),
    LARDER_ROW(worker_logbuf_size, Num(s.o.worker_logbuf_kb * 1024)),
    LARDER_ROW(read_buf_mem_limit, Num(s.o.read_buf_mem_limit_mb)),
    LARDER_ROW(track_sizes, YesNo(s.o.store.track_sizes)),
    LARDER_ROW(inline_ascii_response, "no"),
    LARDER_ROW(ext_item_size, "512"),
    LARDER_ROW(ext_item_age, "4294967295"),
    LARDER_ROW(ext_low_ttl, "0"),
    LARDER_ROW(ext_recache_rate, "2000"),
    LARDER_ROW(ext_wbuf_size, "4194304"),
    LARDER_ROW(ext_compact_under, "0"),
    LARDER_ROW(ext_drop_under, "0"),
    LARDER_ROW(ext_max_sleep, "1000000"),
    LARDER_ROW(ext_max_frag, "0.80"),
    LARDER_ROW(slab_automove_freeratio, Fixed(s.t.automove_freeratio.load(), 3)),
    LARDER_ROW(ext_drop_unread, "no"),
    LARDER_ROW(ssl_enabled, YesNo(s.o.tls.enabled)),
    LARDER_ROW(ssl_chain_cert, OrNull(s.o.tls.chain_cert)),
    LARDER_ROW(ssl_key, OrNull(s.o.tls.key)),
    LARDER_ROW(ssl_verify_mode, VerifyMode(s.o.tls.peer_check)),
    LARDER_ROW(ssl_keyformat, s.o.tls.key_is_der ? "2" : "1"),
    LARDER_ROW(ssl_ciphers, s.o.tls.ciphers.empty() ? "NULL" : s.o.tls.ciphers),
    LARDER_ROW(ssl_ca_cert, s.o.tls.ca_cert.empty() ? "NULL" : s.o.tls.ca_cert),
    LARDER_ROW(ssl_wbuf_size, Num(s.o.tls.wbuf_kb * 1024)),
    LARDER_ROW(ssl_session_cache, YesNo(s.o.tls.session_cache)),
    LARDER_ROW(ssl_kernel_tls, YesNo(s.o.tls.kernel_tls)),
    LARDER_ROW(ssl_min_version, "tlsv1." + Num(s.o.tls.min_version)),
    LARDER_ROW(num_napi_ids, OrNull(s.o.napi_ids)),
    LARDER_ROW(memory_file, OrNull(s.o.memory_file)),
    LARDER_ROW(client_flags_size, "4"),
};

#undef LARDER_ROW

}  // namespace

std::vector<std::pair<std::string, std::string>> SettingsRows(const Options& options,
                                                              const LiveSettings& live) {
  const State state{options, live, live.tuning};
  std::vector<std::pair<std::string, std::string>> rows;
  rows.reserve(std::size(kRows));
  for (const SettingRow& row : kRows) rows.emplace_back(row.name, row.value(state));
  return rows;
}

}  // namespace larder::server
