// protocol/memcache/host.h — what a memcache session asks of the server around it.
//
// Owner: Server; tests bring their own.  Threads: called from any worker; must not block on one.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/store.h"
#include "protocol/text_feed.h"

namespace larder::memcache {

// The version that clients are told: the memcached whose behaviour this is.
inline constexpr char kVersion[] = "1.6.45";

// The part of `stats` that only the server knows.
struct ServerInfo {
  int pid = 0;
  int64_t uptime_seconds = 0;
  int64_t wall_seconds = 0;
  std::string libevent_version;
  double user_cpu_seconds = 0;
  double system_cpu_seconds = 0;
  uint64_t max_connections = 0;
  uint64_t current_connections = 0;
  uint64_t total_connections = 0;
  uint64_t rejected_connections = 0;
  uint64_t connection_structures = 0;
  uint64_t read_buffers = 0;  // in use
  uint64_t read_buffer_bytes = 0;
  uint64_t reply_buffers = 0;  // in use
  uint64_t reply_buffer_bytes = 0;
  uint64_t reserved_fds = 0;
  bool accepting = true;
  uint64_t listen_disabled_count = 0;
  uint64_t listen_disabled_us = 0;
  uint64_t threads = 0;
  uint64_t events_dropped = 0;  // by threads whose buffer was full
  uint64_t events_written = 0;
  uint64_t events_skipped = 0;  // for watchers that read too slowly
  uint64_t events_sent = 0;
  uint64_t watchers = 0;
  bool tls = false;
  bool tls_session_cache = false;
  int64_t seconds_since_cert_refresh = 0;
};

// One row of `stats conns`.
struct ConnectionInfo {
  int fd = -1;
  std::string address;         // tcp:127.0.0.1:4711, tcp6:[::1]:4711, unix:/path
  std::string listen_address;  // the same shape; empty for a listener
  std::string state;           // memcached's names: conn_listening, conn_read, conn_nread ...
  uint64_t idle_seconds = 0;
};

class Host {
 public:
  virtual ~Host() = default;
  [[nodiscard]] virtual ServerInfo Info() = 0;
  // Rows of `stats settings`, in order.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> Settings() = 0;
  [[nodiscard]] virtual std::vector<ConnectionInfo> Connections() = 0;
  // 0..2.
  virtual void SetVerbosity(int level) = 0;
  // `stats reset`: forgets what the server itself counts (connections in total, rejected ones).
  virtual void ResetStats() = 0;
  // Stops the server, once what was read is answered; `graceful` as by SIGUSR1, else as by SIGINT.
  virtual void Shutdown(bool graceful) = 0;
  // What happens on `streams` (of EventStream) from now on, a line an event, for a session of the
  // worker whose context `op` is.  Null: too many watch already.
  [[nodiscard]] virtual std::unique_ptr<TextFeed> Watch(OpContext& op, uint32_t streams) = 0;
  // `refresh_certs`: reads the certificates again, for new connections.  The reply, without its
  // line end.
  [[nodiscard]] virtual std::string RefreshCerts() = 0;
};

}  // namespace larder::memcache
