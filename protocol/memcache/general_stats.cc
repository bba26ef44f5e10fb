// protocol/memcache/general_stats.cc — `stats` without a group, and `stats larder`.
//
// Names, order and meanings of the general group are memcached's, because exporters parse them:
// nothing of our own may be added there.  Rows of things that do not exist here say 0.

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "protocol/memcache/stats.h"

namespace larder::memcache {
namespace {

// Values.

template <ThreadCounter kCounter>
std::string Thread(const StatSource& from) {
  return StatNumber(from.totals[kCounter]);
}

template <ClassCounter kCounter>
std::string Class(const StatSource& from) {
  return StatNumber(from.totals[kCounter]);
}

// A number; a bool counts as 0 or 1.
template <typename Number>
std::string Print(Number value) {
  if constexpr (std::is_same_v<Number, bool>) {
    return value ? "1" : "0";
  } else {
    return StatNumber(value);
  }
}

template <auto kMember>
std::string Server(const StatSource& from) {
  return Print(from.server.*kMember);
}

template <auto kMember>
std::string Memory(const StatSource& from) {
  return Print(from.store.*kMember);
}

std::string Zero(const StatSource& /*from*/) { return "0"; }
std::string Version(const StatSource& /*from*/) { return kVersion; }
std::string Libevent(const StatSource& from) { return from.server.libevent_version; }
std::string PointerBits(const StatSource& /*from*/) { return StatNumber(sizeof(void*) * 8); }
std::string LarderVersion(const StatSource& /*from*/) { return LARDER_VERSION; }

std::string Gets(const StatSource& from) { return StatNumber(from.totals.cmd_get()); }
std::string Hits(const StatSource& from) { return StatNumber(from.totals.get_hits()); }

// Conditions: memcached leaves out the rows of what is switched off.

bool HasCrawler(const StatSource& from) {
  return from.tuning.crawler.load(std::memory_order_relaxed);
}
bool HasMaintainer(const StatSource& from) { return from.options.maintainer; }
bool IsSegmented(const StatSource& from) {
  return from.tuning.segmented.load(std::memory_order_relaxed) && from.options.maintainer;
}
bool HasTls(const StatSource& from) { return from.server.tls; }
bool HasTlsSessions(const StatSource& from) { return from.server.tls_session_cache; }
bool HasIdleTimeout(const StatSource& from) { return from.has_idle_timeout; }

struct StatRow {
  const char* name;
  std::string (*value)(const StatSource& from);
  bool (*shown)(const StatSource& from) = nullptr;  // null: always
};

constexpr StatRow kGeneralRows[] = {
    {"pid", Server<&ServerInfo::pid>},
    {"uptime", Server<&ServerInfo::uptime_seconds>},
    {"time", Server<&ServerInfo::wall_seconds>},
    {"version", Version},
    {"libevent", Libevent},
    {"pointer_size", PointerBits},
    {"rusage_user", Server<&ServerInfo::user_cpu_seconds>},
    {"rusage_system", Server<&ServerInfo::system_cpu_seconds>},
    {"max_connections", Server<&ServerInfo::max_connections>},
    {"curr_connections", Server<&ServerInfo::current_connections>},
    {"total_connections", Server<&ServerInfo::total_connections>},
    {"rejected_connections", Server<&ServerInfo::rejected_connections>},
    {"connection_structures", Server<&ServerInfo::connection_structures>},
    {"response_obj_oom", Zero},
    {"response_obj_count", Server<&ServerInfo::reply_buffers>},
    {"response_obj_bytes", Server<&ServerInfo::reply_buffer_bytes>},
    {"read_buf_count", Server<&ServerInfo::read_buffers>},
    {"read_buf_bytes", Server<&ServerInfo::read_buffer_bytes>},
    {"read_buf_bytes_free", Zero},
    {"read_buf_oom", Zero},
    {"reserved_fds", Server<&ServerInfo::reserved_fds>},
    {"cmd_get", Gets},
    {"cmd_set", Class<ClassCounter::cmd_set>},
    {"cmd_flush", Thread<ThreadCounter::cmd_flush>},
    {"cmd_touch", Thread<ThreadCounter::cmd_touch>},
    {"cmd_meta", Thread<ThreadCounter::cmd_meta>},
    {"get_hits", Hits},
    {"get_misses", Thread<ThreadCounter::get_misses>},
    {"get_expired", Thread<ThreadCounter::get_expired>},
    {"get_flushed", Thread<ThreadCounter::get_flushed>},
    {"delete_misses", Thread<ThreadCounter::delete_misses>},
    {"delete_hits", Class<ClassCounter::delete_hits>},
    {"incr_misses", Thread<ThreadCounter::incr_misses>},
    {"incr_hits", Class<ClassCounter::incr_hits>},
    {"decr_misses", Thread<ThreadCounter::decr_misses>},
    {"decr_hits", Class<ClassCounter::decr_hits>},
    {"cas_misses", Thread<ThreadCounter::cas_misses>},
    {"cas_hits", Class<ClassCounter::cas_hits>},
    {"cas_badval", Class<ClassCounter::cas_badval>},
    {"touch_hits", Class<ClassCounter::touch_hits>},
    {"touch_misses", Thread<ThreadCounter::touch_misses>},
    {"store_too_large", Thread<ThreadCounter::store_too_large>},
    {"store_no_memory", Thread<ThreadCounter::store_no_memory>},
    {"auth_cmds", Thread<ThreadCounter::auth_cmds>},
    {"auth_errors", Thread<ThreadCounter::auth_errors>},
    {"idle_kicks", Thread<ThreadCounter::idle_kicks>, HasIdleTimeout},
    {"bytes_read", Thread<ThreadCounter::bytes_read>},
    {"bytes_written", Thread<ThreadCounter::bytes_written>},
    {"limit_maxbytes", Memory<&StoreInfo::limit_bytes>},
    {"accepting_conns", Server<&ServerInfo::accepting>},
    {"listen_disabled_num", Server<&ServerInfo::listen_disabled_count>},
    {"time_in_listen_disabled_us", Server<&ServerInfo::listen_disabled_us>},
    {"threads", Server<&ServerInfo::threads>},
    {"conn_yields", Thread<ThreadCounter::conn_yields>},
    {"hash_power_level", Memory<&StoreInfo::index_power>},
    {"hash_bytes", Memory<&StoreInfo::index_bytes>},
    {"hash_is_expanding", Memory<&StoreInfo::index_growing>},
    {"slab_reassign_rescues", Thread<ThreadCounter::reassign_rescues>},
    {"slab_reassign_chunk_rescues", Zero},
    {"slab_reassign_inline_reclaim", Zero},
    {"slab_reassign_busy_items", Zero},
    {"slab_reassign_busy_deletes", Zero},
    {"slab_reassign_busy_nomem", Zero},
    {"slab_reassign_last_busy_status", Zero},
    {"slab_reassign_running", Memory<&StoreInfo::reassign_running>},
    {"slabs_moved", Thread<ThreadCounter::pages_moved>},
    {"lru_crawler_running", Memory<&StoreInfo::crawler_running>, HasCrawler},
    {"lru_crawler_starts", Thread<ThreadCounter::crawler_starts>, HasCrawler},
    {"lru_maintainer_juggles", Thread<ThreadCounter::maintainer_runs>, HasMaintainer},
    {"malloc_fails", Zero},
    {"log_worker_dropped", Server<&ServerInfo::events_dropped>},
    {"log_worker_written", Server<&ServerInfo::events_written>},
    {"log_watcher_skipped", Server<&ServerInfo::events_skipped>},
    {"log_watcher_sent", Server<&ServerInfo::events_sent>},
    {"log_watchers", Server<&ServerInfo::watchers>},
    {"ssl_new_sessions", Thread<ThreadCounter::ssl_new_sessions>, HasTlsSessions},
    {"ssl_handshake_errors", Thread<ThreadCounter::ssl_handshake_errors>, HasTls},
    {"ssl_proto_errors", Thread<ThreadCounter::ssl_proto_errors>, HasTls},
    {"time_since_server_cert_refresh", Server<&ServerInfo::seconds_since_cert_refresh>, HasTls},
    {"unexpected_napi_ids", Zero},
    {"round_robin_fallback", Zero},
    {"bytes", Memory<&StoreInfo::item_bytes>},
    {"curr_items", Memory<&StoreInfo::items>},
    {"total_items", Class<ClassCounter::linked>},
    {"slab_global_page_pool", Memory<&StoreInfo::free_pages>},
    {"expired_unfetched", Class<ClassCounter::expired_unfetched>},
    {"evicted_unfetched", Class<ClassCounter::evicted_unfetched>},
    {"evicted_active", Class<ClassCounter::evicted_active>, IsSegmented},
    {"evictions", Class<ClassCounter::evicted>},
    {"reclaimed", Class<ClassCounter::reclaimed>},
    {"crawler_reclaimed", Class<ClassCounter::crawler_reclaimed>},
    {"crawler_items_checked", Class<ClassCounter::crawler_items_checked>},
    {"lrutail_reflocked", Class<ClassCounter::lrutail_reflocked>},
    {"moves_to_cold", Class<ClassCounter::moves_to_cold>, IsSegmented},
    {"moves_to_warm", Class<ClassCounter::moves_to_warm>, IsSegmented},
    {"moves_within_lru", Class<ClassCounter::moves_within_lru>, IsSegmented},
    {"direct_reclaims", Class<ClassCounter::direct_reclaims>, IsSegmented},
    {"lru_bumps_dropped", Zero, IsSegmented},
};

// What memcached has no row for.
constexpr StatRow kLarderRows[] = {
    {"larder_version", LarderVersion},
    {"page_bytes", Memory<&StoreInfo::page_bytes>},
    {"client_bytes", Memory<&StoreInfo::client_bytes>},
    {"stuck_client_bytes", Memory<&StoreInfo::stuck_bytes>},
    {"stuck_client_pinned_bytes", Memory<&StoreInfo::pinned_bytes>},
    {"stuck_client_limit", Memory<&StoreInfo::stuck_limit>},
    {"stuck_clients_dropped", Memory<&StoreInfo::clients_dropped>},
    {"reassign_evictions", Thread<ThreadCounter::reassign_evictions>},
};

bool IdleTimeoutIsSet(Host& host) {
  const auto settings = host.Settings();
  return std::any_of(settings.begin(), settings.end(), [](const auto& setting) {
    return setting.first == "idle_timeout" && setting.second != "0";
  });
}

void WriteRows(std::span<const StatRow> rows, Store& store, Host& host, StatText& text) {
  const std::unique_ptr<StatsTotals> totals = store.stats().Totals();
  const StoreInfo info = store.Info();
  const ServerInfo server = host.Info();
  const StatSource from{*totals,        info,   store.options(),
                        store.tuning(), server, IdleTimeoutIsSet(host)};
  for (const StatRow& row : rows) {
    if (row.shown == nullptr || row.shown(from)) text.Add(row.name, row.value(from));
  }
}

}  // namespace

void GeneralStats(Store& store, Host& host, StatText& text) {
  WriteRows(kGeneralRows, store, host, text);
}

void LarderStats(Store& store, Host& host, StatText& text) {
  WriteRows(kLarderRows, store, host, text);
}

}  // namespace larder::memcache
