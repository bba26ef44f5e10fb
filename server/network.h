// server/network.h — sockets and threads around a cache, without the cache: listens, accepts,
// deals clients to workers.
//
// Owner: Server, or a test with sessions of its own.  Threads: Bind, Start, Run by the main one;
// Stop and the readers by any. Two of them fit one process; nothing is global.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/thread_stats.h"
#include "server/acceptor.h"
#include "server/client_counters.h"
#include "server/endpoint.h"
#include "server/inherited.h"
#include "server/worker.h"

namespace larder::server {

struct NetworkOptions {
  std::vector<Endpoint> endpoints;
  std::vector<Endpoint> datagram_endpoints;  // UDP
  size_t datagram_reply_limit = DatagramPort::kDefaultReplyLimit;
  int backlog = 1024;
  int threads = 1;
  AcceptorOptions acceptor;
  WorkerOptions worker;
  const TlsCredentials* tls = nullptr;  // needed when an endpoint speaks TLS; outlives the network
};

class Network {
 public:
  // REQUIRES: clock, stats and whatever the factory refers to outlive it.
  Network(NetworkOptions options, const Clock& clock, StatsRegistry& stats, SessionFactory factory);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  ~Network();  // Stop() and wait

  // Binds every endpoint, and takes `inherited` over.  Fails with its name and why.
  [[nodiscard]] absl::Status Bind(InheritedSockets inherited = {});
  // Starts the workers, and to accept.  REQUIRES: Bind() succeeded.
  [[nodiscard]] absl::Status Start();
  // Calls `ready` on the loop whenever `fd` is readable.  Between Start() and Run().
  void Watch(int fd, std::function<void()> ready);
  // Accepts until Stop(); then closes the listeners, lets the workers answer what they have read
  // and ends them.
  void Run();
  // Makes Run() return; any thread.
  void Stop();

  // Any thread, from Bind() on.
  [[nodiscard]] const std::vector<ListeningSocket>& sockets() const { return acceptor_->sockets(); }
  // One row a UDP address.
  struct DatagramAddress {
    int fd;
    int family;
    int port;
    std::string description;
  };
  [[nodiscard]] const std::vector<DatagramAddress>& datagram_addresses() const {
    return datagram_addresses_;
  }
  // The port of the first TCP socket; 0 when there is none.
  [[nodiscard]] int tcp_port() const;
  [[nodiscard]] ClientCounters& clients() { return clients_; }
  [[nodiscard]] const NetworkOptions& options() const { return options_; }
  [[nodiscard]] std::vector<ConnectionRow> Connections() const;
  [[nodiscard]] uint64_t reply_buffers() const;

 private:
  struct Watched {
    Event event;
    std::function<void()> ready;
  };

  absl::Status BindDatagramSockets();
  absl::Status ShareDatagrams(std::vector<ListeningSocket> sockets);
  void Deal();

  const NetworkOptions options_;
  const Clock& clock_;
  StatsRegistry& stats_;
  const SessionFactory factory_;
  ClientCounters clients_;
  EventBase base_;
  Wakeup stop_;
  Event on_stop_;
  std::vector<std::unique_ptr<Watched>> watched_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::vector<ListeningSocket>> datagram_sockets_;  // of each worker to be
  std::vector<DatagramAddress> datagram_addresses_;
  std::vector<ListenerTraits> listeners_;  // one a socket; constant from Bind() on
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::vector<NewClient>> dealt_;  // to each worker, in this batch
  size_t next_worker_ = 0;
};

}  // namespace larder::server
