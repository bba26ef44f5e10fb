// server/server.h — a cache that is reachable: the store, the threads and sockets in front of it,
// and what `stats` can ask about them.
//
// Owner: main, or a test; nothing is global, so several fit one process.
// Threads: Start and Run by one thread; Stop and everything of Host by any.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/memcache/session.h"
#include "server/auth.h"
#include "server/event_log.h"
#include "server/log.h"
#include "server/network.h"
#include "server/options.h"
#include "server/tls_credentials.h"

namespace larder::server {

// What whoever makes the server turns, and no flag does.
struct ServerTuning {
  uint64_t tick_ms = 1000;
  uint32_t blocked_timeout_s = 60;
  // What the shutdown command calls, on a worker; none: Stop().
  std::function<void(bool graceful)> on_shutdown{};
  // The server's clock, for debugtime to move; null: there is no such command.
  SystemClock* movable_clock = nullptr;
};

class Server final : public memcache::Host {
 public:
  // REQUIRES: `clock` and `log` outlive it.  Without a log nothing is logged.
  Server(Options options, const Clock& clock, const ServerTuning& tuning = {}, Log* log = nullptr);
  ~Server() override;

  // Loads the certificates, binds and starts the workers.  With `inherited` sockets nothing is
  // bound: those are served.
  [[nodiscard]] Refusal Start(InheritedSockets inherited = {});
  // Serves until Stop(); then answers what was read, and returns.
  void Run();
  void Stop();
  // Lets every client go and leaves the items in the memory file.  REQUIRES: a memory file, and
  // that Run() has returned or Start() failed.  Only the destructor may follow.
  [[nodiscard]] absl::Status SaveItems(uint64_t* items);

  // Reads the file of users again; a bad one changes nothing.  Null: there is no such file.
  [[nodiscard]] std::optional<absl::Status> ReloadUsers();
  // The same for the certificates.  Null: there is no TLS.
  [[nodiscard]] std::optional<absl::Status> ReloadCertificates();

  [[nodiscard]] Store& store() { return store_; }
  [[nodiscard]] Network& network() { return *network_; }
  [[nodiscard]] const Options& options() const { return options_; }
  // For scripts that asked for any free port: "TCP INET: 4711\n" a socket.
  [[nodiscard]] std::string PortLines() const;

  memcache::ServerInfo Info() override;
  std::vector<std::pair<std::string, std::string>> Settings() override;
  std::vector<memcache::ConnectionInfo> Connections() override;
  void SetVerbosity(int level) override;
  void ResetStats() override;
  void Shutdown(bool graceful) override;
  std::unique_ptr<TextFeed> Watch(OpContext& op, uint32_t streams) override;
  std::string RefreshCerts() override;

 private:
  std::unique_ptr<Session> MakeSession(OpContext& context, const ClientInfo& client,
                                       std::string_view first_bytes);

  // A listening socket as it was at the start.
  struct ListenerRow {
    int fd;
    int family;
    int port;
    std::string description;
  };

  const Options options_;
  const Clock& clock_;
  const TimeMs started_ms_;
  const ServerTuning tuning_;
  memcache::SessionOptions session_options_;
  // Of clients by UDP, who may be anybody: without what steers the server or tells its keys.
  memcache::SessionOptions datagram_options_;
  Log* const log_;                // may be null
  std::unique_ptr<Guard> guard_;  // null: everybody is let in
  EventLog events_;
  Store store_;
  std::atomic<int> verbosity_;
  std::vector<ListenerRow> listeners_;
  std::unique_ptr<TlsCredentials> tls_;  // null: without -Z
  std::unique_ptr<Network> network_;     // last: its sessions use what is above
};

}  // namespace larder::server
