#include "server/network.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "server/status_text.h"

namespace larder::server {
namespace {

// The beginning is memcached's, which scripts look for.
std::string CannotListen(const Endpoint& endpoint, const std::string& why) {
  if (!endpoint.unix_path.empty()) {
    return "failed to listen on UNIX socket: " + endpoint.unix_path + ": " + why;
  }
  const std::string port = std::to_string(endpoint.port);
  if (endpoint.host.empty()) return "failed to listen on TCP port " + port + ": " + why;
  return "failed to listen on one of interface(s) " + endpoint.host + ": " + why + " (port " +
         port + ")";
}

}  // namespace

Network::Network(NetworkOptions options, const Clock& clock, StatsRegistry& stats,
                 SessionFactory factory)
    : options_(std::move(options)), clock_(clock), stats_(stats), factory_(std::move(factory)) {}

Network::~Network() {
  for (auto& worker : workers_) worker->Stop();
  workers_.clear();
}

absl::Status Network::Bind(InheritedSockets inherited) {
  base_ = MakeEventBase();
  if (base_ == nullptr || stop_.fd() < 0) return absl::ResourceExhaustedError("no event loop");
  std::vector<ListeningSocket> sockets = std::move(inherited.listening);
  for (const Endpoint& endpoint : options_.endpoints) {
    auto bound = Listen(endpoint, options_.backlog);
    if (!bound.ok()) {
      const std::string why = Text(bound.status());
      return {bound.status().code(), CannotListen(endpoint, why)};
    }
    for (ListeningSocket& socket : *bound) sockets.push_back(std::move(socket));
  }
  if (sockets.size() > Connection::kMostListeners) {
    return absl::InvalidArgumentError("too many listeners");
  }
  for (const ListeningSocket& one : sockets) listeners_.push_back(one.traits);
  acceptor_ = std::make_unique<Acceptor>(
      options_.acceptor, base_.get(), std::move(sockets), clients_,
      [this](int fd, uint16_t listener) {
        dealt_[next_worker_].push_back({fd, listener});
        next_worker_ = (next_worker_ + 1) % workers_.size();
      },
      [this] { Deal(); });
  datagram_sockets_.resize(static_cast<size_t>(options_.threads));
  absl::Status status = ShareDatagrams(std::move(inherited.datagrams));
  status.Update(BindDatagramSockets());
  return status;
}

// A socket that came from outside is one queue, which all workers empty.
absl::Status Network::ShareDatagrams(std::vector<ListeningSocket> sockets) {
  for (ListeningSocket& socket : sockets) {
    datagram_addresses_.push_back(
        {socket.fd.get(), socket.family, socket.port, socket.description});
    for (size_t i = 1; i < datagram_sockets_.size(); ++i) {
      UniqueFd copy(fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 0));
      if (!copy.valid()) {
        const std::string why = std::strerror(errno);
        return absl::ResourceExhaustedError(socket.description + ": " + why);
      }
      datagram_sockets_[i].push_back(
          {std::move(copy), socket.family, socket.port, socket.description, socket.traits});
    }
    datagram_sockets_[0].push_back(std::move(socket));
  }
  return absl::OkStatus();
}

absl::Status Network::BindDatagramSockets() {
  const auto workers = static_cast<size_t>(options_.threads);
  for (const Endpoint& endpoint : options_.datagram_endpoints) {
    auto bound = BindDatagrams(endpoint, workers);
    if (!bound.ok()) {
      const std::string why = Text(bound.status());
      return {bound.status().code(),
              "failed to listen on UDP port " + std::to_string(endpoint.port) + ": " + why};
    }
    const size_t addresses = bound->size() / workers;
    for (size_t i = 0; i < bound->size(); ++i) {
      ListeningSocket& socket = (*bound)[i];
      if (i < addresses) {
        datagram_addresses_.push_back(
            {socket.fd.get(), socket.family, socket.port, socket.description});
      }
      socket.traits.protocol = endpoint.protocol.value_or(BindingProtocol::kAuto);
      socket.traits.transport = Transport::kUdp;
      datagram_sockets_[i / addresses].push_back(std::move(socket));
    }
  }
  return absl::OkStatus();
}

absl::Status Network::Start() {
  for (int i = 0; i < options_.threads; ++i) {
    const WorkerShared shared{clock_, factory_, listeners_, options_.tls, clients_};
    workers_.push_back(std::make_unique<Worker>(options_.worker, shared, *stats_.NewCell()));
    for (ListeningSocket& socket : datagram_sockets_[static_cast<size_t>(i)]) {
      workers_.back()->AddDatagrams(std::move(socket), options_.datagram_reply_limit);
    }
    if (!workers_.back()->Start("worker-" + std::to_string(i))) {
      return absl::ResourceExhaustedError("cannot start worker " + std::to_string(i));
    }
  }
  dealt_.resize(workers_.size());
  // Two batches, for one that could not be dealt: to take a socket over never allocates.
  for (auto& clients : dealt_) clients.reserve(size_t{2} * Acceptor::kBatch);
  on_stop_.Assign(
      base_.get(), stop_.fd(), EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* base) {
        event_base_loopbreak(static_cast<event_base*>(base));
      },
      base_.get());
  if (!on_stop_.Arm() || !acceptor_->Start()) {
    return absl::ResourceExhaustedError("no events for the listening sockets");
  }
  return absl::OkStatus();
}

void Network::Deal() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!dealt_[i].empty()) workers_[i]->Adopt(&dealt_[i]);
  }
}

void Network::Watch(int fd, std::function<void()> ready) {
  auto& watched = watched_.emplace_back(std::make_unique<Watched>());
  watched->ready = std::move(ready);
  watched->event.Assign(
      base_.get(), fd, EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* arg) { static_cast<Watched*>(arg)->ready(); },
      watched.get());
  watched->event.Arm();
}

void Network::Run() {
  event_base_loop(base_.get(), EVLOOP_NO_EXIT_ON_EMPTY);
  acceptor_->Stop();
  for (auto& worker : workers_) worker->Stop();
  for (auto& worker : workers_) worker->Join();
}

void Network::Stop() { stop_.Signal(); }

int Network::tcp_port() const {
  for (const ListeningSocket& socket : sockets()) {
    if (socket.family != AF_UNIX) return socket.port;
  }
  return 0;
}

std::vector<ConnectionRow> Network::Connections() const {
  std::vector<ConnectionRow> rows;
  for (const auto& worker : workers_) worker->Describe(&rows);
  return rows;
}

uint64_t Network::reply_buffers() const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->reply_buffers();
  return sum;
}

}  // namespace larder::server
