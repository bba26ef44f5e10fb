#include "server/acceptor.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <new>
#include <string_view>
#include <utility>

namespace larder::server {
namespace {

constexpr std::string_view kTooMany = "ERROR Too many open connections\r\n";

UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Acceptor::Acceptor(const AcceptorOptions& options, event_base* base,
                   std::vector<ListeningSocket> sockets, ClientCounters& clients, Hand hand,
                   Flush flush)
    : options_(options),
      base_(base),
      sockets_(std::move(sockets)),
      clients_(clients),
      hand_(std::move(hand)),
      flush_(std::move(flush)),
      reserve_(OpenReserve()) {}

bool Acceptor::Start() {
  for (size_t i = 0; i < sockets_.size(); ++i) {
    auto& listener = listeners_.emplace_back(std::make_unique<Listener>());
    listener->acceptor = this;
    listener->index = static_cast<uint16_t>(i);
    listener->event.Assign(
        base_, sockets_[i].fd.get(), EV_READ | EV_PERSIST,
        [](evutil_socket_t, short, void* arg) {
          auto* self = static_cast<Listener*>(arg);
          self->acceptor->AcceptBatch(self->index);
        },
        listener.get());
    if (!listener->event.Arm()) return false;
  }
  armed_ = true;
  on_place_free_.Assign(
      base_, clients_.place_free.fd(), EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* arg) {
        auto* self = static_cast<Acceptor*>(arg);
        self->clients_.place_free.Acknowledge();
        if (!self->IsFull()) self->Resume();
      },
      this);
  on_rested_.Assign(
      base_, -1, 0,
      [](evutil_socket_t, short, void* arg) { static_cast<Acceptor*>(arg)->Resume(); }, this);
  return on_place_free_.Arm();
}

void Acceptor::Stop() {
  Disarm();
  on_place_free_.Disarm();
  on_rested_.Disarm();
  for (ListeningSocket& socket : sockets_) socket.fd.Reset();
}

void Acceptor::AcceptBatch(uint16_t listener) {
  try {
    for (int i = 0; i < kBatch; ++i) {
      if (AcceptOne(listener) == Step::kEnough) break;
    }
    flush_();
  } catch (const std::bad_alloc&) {
    Rest();  // what was accepted waits with whoever took it; the next flush brings it on
  }
}

Acceptor::Step Acceptor::AcceptOne(uint16_t listener) {
  if (!options_.refuse_at_limit && IsFull()) {
    WaitForPlace();
    return Step::kEnough;
  }
  const int listening = sockets_[listener].fd.get();
  UniqueFd client(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client.valid()) {
    switch (errno) {
      case EMFILE:
      case ENFILE:
        return OutOfDescriptors(listening);
      case ENOBUFS:
      case ENOMEM:
        Rest();
        return Step::kEnough;
      case EINTR:
      case ECONNABORTED:  // it went away while it waited
      case EPROTO:
        return Step::kNext;
      default:
        return Step::kEnough;
    }
  }
  if (IsFull()) {
    Refuse(std::move(client));
    return Step::kNext;
  }
  hand_(client.get(), listener);  // when it throws, the client is closed here
  (void)client.Release();
  clients_.current.fetch_add(1);
  clients_.total.fetch_add(1);
  return Step::kNext;
}

Acceptor::Step Acceptor::OutOfDescriptors(int fd) {
  Complain();
  reserve_.Reset();
  UniqueFd client(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  const bool accepted = client.valid();
  if (accepted) Refuse(std::move(client));
  reserve_ = OpenReserve();
  if (accepted && reserve_.valid()) return Step::kNext;
  Rest();
  return Step::kEnough;
}

void Acceptor::Complain() {
  const auto now = std::chrono::steady_clock::now();
  if (complained_at_ && now - *complained_at_ < kComplainEvery) return;
  complained_at_ = now;
  if (options_.on_no_descriptors) options_.on_no_descriptors();
}

void Acceptor::Refuse(UniqueFd client) {
  clients_.rejected.fetch_add(1);
  // Best effort.  What the client sent already is read away: left there, it would turn the close
  // into a reset, which can overtake the line.
  (void)send(client.get(), kTooMany.data(), kTooMany.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(client.get(), SHUT_WR);
  char scrap[2048];
  (void)recv(client.get(), scrap, sizeof(scrap), MSG_DONTWAIT);
}

void Acceptor::WaitForPlace() {
  Disarm();
  clients_.disabled.fetch_add(1);
  clients_.acceptor_waits.store(true);
  // A client may have left between the look and the flag.
  if (!IsFull()) clients_.place_free.Signal();
}

void Acceptor::Rest() {
  Disarm();
  clients_.disabled.fetch_add(1);
  on_rested_.ArmTimer(kRetryMs);
}

void Acceptor::Disarm() {
  if (!armed_) return;
  armed_ = false;
  clients_.accepting.store(false);
  disarmed_at_ = std::chrono::steady_clock::now();
  for (auto& listener : listeners_) listener->event.Disarm();
}

void Acceptor::Resume() {
  if (armed_) return;
  clients_.acceptor_waits.store(false);
  const auto pause = std::chrono::steady_clock::now() - disarmed_at_;
  clients_.disabled_us.fetch_add(
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(pause).count()));
  if (!reserve_.valid()) reserve_ = OpenReserve();
  armed_ = true;
  for (auto& listener : listeners_) {
    if (!listener->event.Arm()) {
      armed_ = false;
      on_rested_.ArmTimer(kRetryMs);
    }
  }
  clients_.accepting.store(armed_);
}

}  // namespace larder::server
