#include "server/server.h"

#include <event2/event.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "server/settings.h"
#include "server/status_text.h"

namespace larder::server {
namespace {

double Seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

absl::Status EndpointsOf(const Options& options, std::vector<Endpoint>* endpoints) {
  if (!options.unix_path.empty()) {
    Endpoint endpoint;
    endpoint.unix_path = options.unix_path;
    endpoint.unix_mode = options.unix_mode;
    endpoint.protocol = options.protocol;
    endpoints->push_back(std::move(endpoint));
    return absl::OkStatus();
  }
  if (options.port == 0) return absl::OkStatus();  // only UDP
  const int port = std::max(options.port, 0);
  const std::vector<std::string> everywhere{"*"};
  for (const std::string& text : options.listen.empty() ? everywhere : options.listen) {
    auto endpoint = ParseEndpoint(text, port);
    if (!endpoint.ok()) return endpoint.status();
    if (!endpoint->protocol) endpoint->protocol = options.protocol;
    endpoint->tls = TlsOf(options.tls, endpoint->tls_prefix);
    endpoints->push_back(*std::move(endpoint));
  }
  return absl::OkStatus();
}

StoreOptions WithEvents(StoreOptions options, EventSource* events) {
  options.events = events;
  return options;
}

// The same addresses; their own ports, where they have them, hold here as well.
absl::Status DatagramEndpointsOf(const Options& options, std::vector<Endpoint>* endpoints) {
  if (!options.unix_path.empty() || options.udp_port == 0) return absl::OkStatus();
  const std::vector<std::string> everywhere{"*"};
  for (const std::string& text : options.listen.empty() ? everywhere : options.listen) {
    auto endpoint = ParseEndpoint(text, std::max(options.udp_port, 0));
    if (!endpoint.ok()) return endpoint.status();
    if (!endpoint->protocol) endpoint->protocol = options.protocol;
    endpoints->push_back(*std::move(endpoint));
  }
  return absl::OkStatus();
}

}  // namespace

Server::Server(Options options, const Clock& clock, const ServerTuning& tuning, Log* log)
    : options_(std::move(options)),
      clock_(clock),
      started_ms_(clock.NowMs()),
      tuning_(tuning),
      session_options_{.flush_enabled = options_.flush_enabled,
                       .watch_enabled = options_.watch_enabled,
                       .dump_enabled = options_.dump_enabled,
                       .shutdown_enabled = options_.shutdown_enabled,
                       .movable_clock = tuning.movable_clock},
      log_(log),
      events_({.worker_bytes = size_t{1024} * static_cast<size_t>(options_.worker_logbuf_kb),
               .watcher_bytes = size_t{1024} * static_cast<size_t>(options_.watcher_logbuf_kb)},
              [log](std::string_view text) {
                if (log != nullptr) log->Say(LogLevel::kDebug, text);
              }),
      store_(WithEvents(options_.store, &events_), clock),
      verbosity_(std::min(options_.verbosity, 2)) {}

// The workers that the log wakes go first.
Server::~Server() { events_.Stop(); }

Refusal Server::Start(InheritedSockets inherited) {
  auto guard = MakeGuard(options_);
  if (!guard.ok()) return {kExitFailure, Text(guard.status())};
  guard_ = *std::move(guard);
  session_options_.authenticator = guard_.get();
  datagram_options_ = session_options_;
  datagram_options_.watch_enabled = false;
  datagram_options_.dump_enabled = false;
  datagram_options_.shutdown_enabled = false;
  datagram_options_.movable_clock = nullptr;
  NetworkOptions network;
  if (inherited.empty()) {
    auto status = EndpointsOf(options_, &network.endpoints);
    status.Update(DatagramEndpointsOf(options_, &network.datagram_endpoints));
    if (!status.ok()) return {kExitUsage, Text(status)};
  }
  network.datagram_reply_limit = options_.udp_reply_bytes;
  if (options_.tls.enabled) {
    tls_ = std::make_unique<TlsCredentials>(options_.tls, clock_);
    if (auto status = tls_->Load(); !status.ok()) return {kExitUsage, Text(status)};
    network.tls = tls_.get();
  }
  network.backlog = options_.backlog;
  network.threads = options_.threads;
  network.acceptor.max_clients = static_cast<uint64_t>(options_.max_connections);
  network.acceptor.refuse_at_limit = options_.maxconns_fast;
  network.acceptor.on_no_descriptors = [log = log_] {
    if (log == nullptr) return;
    log->Say(LogLevel::kWarning, "no file descriptors are left: clients are refused (ulimit -n)");
  };
  network.worker.idle_timeout_s = static_cast<uint32_t>(options_.idle_timeout_seconds);
  network.worker.blocked_timeout_s = tuning_.blocked_timeout_s;
  network.worker.tick_ms = tuning_.tick_ms;
  network.worker.memory = &store_.client_memory();
  network.worker.workers = static_cast<uint64_t>(options_.threads);
  network.worker.equip = [this](OpContext& context, const Wakeup& wakeup) {
    context.events = events_.NewSink(&wakeup);
    if (options_.dump_enabled) context.WatchKeys(store_.hot_keys().NewSketch());
  };
  network_ = std::make_unique<Network>(
      std::move(network), clock_, store_.stats(),
      [this](OpContext& context, const ClientInfo& client, std::string_view first_bytes) {
        return MakeSession(context, client, first_bytes);
      });
  if (auto status = network_->Bind(std::move(inherited)); !status.ok())
    return {kExitOsError, Text(status)};
  for (const ListeningSocket& one : network_->sockets()) {
    listeners_.push_back({one.fd.get(), one.family, one.port, one.description});
  }
  // As memcached counts: a listening socket is a connection too.
  network_->clients().total.store(listeners_.size());
  SetVerbosity(options_.verbosity);
  if (!events_.Start()) return {kExitOsError, "cannot start the log's thread"};
  if (auto status = network_->Start(); !status.ok()) return {kExitOsError, Text(status)};
  return {};
}

std::unique_ptr<Session> Server::MakeSession(OpContext& context, const ClientInfo& client,
                                             std::string_view first_bytes) {
  const memcache::SessionOptions& options =
      client.transport == Transport::kUdp ? datagram_options_ : session_options_;
  switch (ChooseDialect(client.protocol, first_bytes)) {
    case Dialect::kText:
      return memcache::MakeSession(store_, context, *this, options);
    case Dialect::kBinary:
      return memcache::MakeBinarySession(store_, context, *this, options);
    case Dialect::kNone:
      break;
  }
  return nullptr;
}

std::optional<absl::Status> Server::ReloadUsers() {
  if (guard_ == nullptr || guard_->path().empty()) return std::nullopt;
  return guard_->Reload();
}

std::optional<absl::Status> Server::ReloadCertificates() {
  if (tls_ == nullptr) return std::nullopt;
  return tls_->Load();
}

void Server::Run() { network_->Run(); }

void Server::Stop() { network_->Stop(); }

absl::Status Server::SaveItems(uint64_t* items) {
  network_.reset();  // and with it what clients have pinned or sent by halves
  return store_.Save(items);
}

std::string Server::PortLines() const {
  std::string lines;
  for (const ListenerRow& one : listeners_) {
    if (one.family == AF_UNIX) continue;
    lines += one.family == AF_INET ? "TCP INET: " : "TCP INET6: ";
    lines += std::to_string(one.port) + "\n";
  }
  for (const auto& one : network_->datagram_addresses()) {
    lines += one.family == AF_INET ? "UDP INET: " : "UDP INET6: ";
    lines += std::to_string(one.port) + "\n";
  }
  return lines;
}

memcache::ServerInfo Server::Info() {
  memcache::ServerInfo info;
  info.pid = getpid();
  info.uptime_seconds = static_cast<int64_t>(Elapsed(started_ms_, clock_.NowMs()) / 1000);
  info.wall_seconds = clock_.WallSeconds();
  info.libevent_version = event_get_version();
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    info.user_cpu_seconds = Seconds(usage.ru_utime);
    info.system_cpu_seconds = Seconds(usage.ru_stime);
  }
  const ClientCounters& clients = network_->clients();
  const uint64_t served = clients.current.load();
  const auto threads = static_cast<uint64_t>(options_.threads);
  info.max_connections = static_cast<uint64_t>(options_.max_connections);
  // memcached counts its listening sockets, but for one.
  info.current_connections = served + std::max<size_t>(listeners_.size(), 1) - 1;
  info.total_connections = clients.total.load();
  info.rejected_connections = clients.rejected.load();
  info.connection_structures = served + listeners_.size();
  info.read_buffers = threads;
  info.read_buffer_bytes = threads * Worker::kScratchBytes;
  info.reply_buffers = network_->reply_buffers();
  info.reply_buffer_bytes = info.reply_buffers * ReplyBuffer::kBlockBytes;
  info.reserved_fds = 5 * threads;
  info.accepting = clients.accepting.load();
  info.listen_disabled_count = clients.disabled.load();
  info.listen_disabled_us = clients.disabled_us.load();
  info.threads = threads;
  const EventLogCounts events = events_.Counts();
  info.events_dropped = events.worker_dropped;
  info.events_written = events.worker_written;
  info.events_skipped = events.watcher_skipped;
  info.events_sent = events.watcher_sent;
  info.watchers = events.watchers;
  info.tls = tls_ != nullptr;
  info.tls_session_cache = info.tls && options_.tls.session_cache;
  if (info.tls) info.seconds_since_cert_refresh = tls_->SecondsSinceLoad();
  return info;
}

std::vector<std::pair<std::string, std::string>> Server::Settings() {
  int port = options_.port;
  for (const ListenerRow& one : listeners_) {
    if (port == -1 && one.family != AF_UNIX) port = one.port;
  }
  const auto& datagrams = network_->datagram_addresses();
  const int udp_port = datagrams.empty() ? 0 : datagrams.front().port;
  return SettingsRows(options_, {.tuning = store_.tuning(),
                                 .memory_bytes = store_.Info().limit_bytes,
                                 .detail_enabled = store_.stats().collects_prefixes(),
                                 .verbosity = verbosity_.load(),
                                 .tcp_port = port,
                                 .udp_port = udp_port});
}

std::vector<memcache::ConnectionInfo> Server::Connections() {
  std::vector<memcache::ConnectionInfo> rows;
  for (const ListenerRow& one : listeners_) {
    rows.push_back({one.fd, one.description, "", "conn_listening", 0});
  }
  for (const auto& one : network_->datagram_addresses()) {
    rows.push_back({one.fd, one.description, one.description, "conn_read", 0});
  }
  // Addresses are asked for after the copy was taken: no worker waits for it.  Of a client that
  // left meanwhile it says "?".
  for (const ConnectionRow& one : network_->Connections()) {
    const std::string& listener = listeners_[one.listener].description;
    std::string address = DescribeSocket(one.fd, false);
    if (address == "unix:") address = listener;  // such a client has no name of its own
    rows.push_back({one.fd, std::move(address), listener, std::string(StateName(one.state)),
                    one.idle_seconds});
  }
  return rows;
}

void Server::SetVerbosity(int level) {
  verbosity_.store(std::clamp(level, 0, 2));
  if (log_ == nullptr) return;
  log_->SetLevel(LevelOfVerbosity(level));
  events_.SetPrinting(level >= 2);
}

std::unique_ptr<TextFeed> Server::Watch(OpContext& op, uint32_t streams) {
  return events_.Watch(op.events, streams);
}

std::string Server::RefreshCerts() {
  const auto status = ReloadCertificates();
  if (!status) return "Error TLS not enabled";
  std::string answer = status->ok() ? "OK" : Text(*status);
  if (log_ != nullptr) {
    log_->Say(status->ok() ? LogLevel::kInfo : LogLevel::kWarning, "refresh_certs: " + answer);
  }
  return answer;
}

void Server::Shutdown(bool graceful) {
  if (tuning_.on_shutdown) {
    tuning_.on_shutdown(graceful);
  } else {
    Stop();
  }
}

void Server::ResetStats() {
  ClientCounters& clients = network_->clients();
  clients.total.store(0);
  clients.rejected.store(0);
}

}  // namespace larder::server
