// tools/bench/load_thread.cc — the event loop of the load.

#include "tools/bench/load_thread.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string_view>

namespace larder::bench {
namespace {

constexpr size_t kInBytes = 256 * 1024;
constexpr size_t kOutChunk = 1024 * 1024;  // a batch of large values is not sent in one piece
constexpr uint64_t kDiscardFrom = 16 * 1024;
constexpr uint64_t kGraceNs = 10'000'000'000;  // for the last replies, once time is up

uint32_t Share(uint32_t total, uint32_t parts, uint32_t number) {
  return total / parts + (number < total % parts ? 1 : 0);
}

}  // namespace

LoadThread::LoadThread(const Options& options, const KeySpace& key_space, Shared* shared,
                       uint32_t number)
    : options_(options),
      key_space_(key_space),
      shared_(shared),
      connection_count_(Share(options.connections, options.threads, number)),
      writer_(options, key_space, options.seed * 7919 + number, &shared->sequence),
      random_(options.seed * 104729 + number),
      in_(kInBytes) {
  if (options.rate > 0) gap_ns_ = 1e9 * options.threads / options.rate;
}

bool LoadThread::Prepare() {
  epoll_ = Socket(epoll_create1(EPOLL_CLOEXEC));
  for (uint32_t i = 0; i < connection_count_; ++i) {
    Socket socket = Connect(options_.endpoint, &tally_.failure);
    if (!socket.is_open()) return false;
    const int flags = fcntl(socket.fd(), F_GETFL);
    if (fcntl(socket.fd(), F_SETFL, flags | O_NONBLOCK) != 0) {
      Fail("fcntl");
      return false;
    }
    connections_.push_back(
        std::make_unique<Connection>(std::move(socket), &key_space_, options_.verify));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connections_.back().get();
    if (epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, connections_.back()->socket.fd(), &event) != 0) {
      Fail("epoll_ctl");
      return false;
    }
  }
  return true;
}

void LoadThread::Run() {
  const uint64_t start = NowNs();
  if (options_.seconds > 0) deadline_ns_ = start + static_cast<uint64_t>(options_.seconds * 1e9);
  next_arrival_ns_ = static_cast<double>(start);
  if (gap_ns_ == 0) {
    for (auto& connection : connections_) StartBatch(connection.get(), NowNs());
  }
  std::array<epoll_event, 256> events;
  uint64_t now = NowNs();
  while (tally_.failure.empty() && HasWork(now)) {
    if (gap_ns_ > 0) ArriveUntil(now);
    const int count = epoll_wait(epoll_.fd(), events.data(), events.size(), WaitMs(now));
    if (count < 0 && errno != EINTR) Fail("epoll_wait");
    for (int i = 0; i < count && tally_.failure.empty(); ++i) {
      auto* connection = static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      if ((events[static_cast<size_t>(i)].events & EPOLLOUT) != 0) Send(connection);
      if ((events[static_cast<size_t>(i)].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
        Receive(connection);
      }
    }
    now = NowNs();
    if (deadline_ns_ != UINT64_MAX && now > deadline_ns_ + kGraceNs) {
      tally_.failure = "no reply in the 10 seconds after the end";
    }
  }
}

bool LoadThread::HasWork(uint64_t now) const {
  return in_flight_ > 0 || (gap_ns_ > 0 && !IsOver(now) && !is_dry_);
}

// How many of `wanted` requests the limit on their number still allows.
uint64_t LoadThread::TakeRequests(uint64_t wanted) {
  if (options_.requests == 0) return wanted;
  uint64_t left = shared_->requests_left.load(std::memory_order_relaxed);
  uint64_t taken = 0;
  do {
    taken = std::min(left, wanted);
  } while (
      !shared_->requests_left.compare_exchange_weak(left, left - taken, std::memory_order_relaxed));
  is_dry_ = taken < wanted;
  return taken;
}

void LoadThread::StartBatch(Connection* connection, uint64_t now) {
  if (IsOver(now)) return;
  const uint64_t count = TakeRequests(options_.pipeline);
  const bool is_noreply = options_.noreply && writer_.only_stores();
  uint32_t unanswered = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const bool is_silent = is_noreply && i + 1 < count;
    Pending pending = writer_.Append(&connection->out, is_silent);
    if (is_silent) {
      ++unanswered;
      continue;
    }
    pending.due_ns = now;
    pending.requests += unanswered;
    connection->pending.push_back(pending);
    ++in_flight_;
  }
  if (count > 0) Send(connection);
}

// Open loop: every request that fell due by `now` goes to the next connection.
void LoadThread::ArriveUntil(uint64_t now) {
  while (next_arrival_ns_ <= static_cast<double>(now) && !IsOver(now) && TakeRequests(1) == 1) {
    Connection* connection = connections_[next_connection_].get();
    next_connection_ = (next_connection_ + 1) % connections_.size();
    connection->due.push_back(static_cast<uint64_t>(next_arrival_ns_));
    ++in_flight_;
    StartDue(connection);
    next_arrival_ns_ +=
        options_.even_arrivals ? gap_ns_ : -gap_ns_ * std::log(1.0 - random_.Fraction());
  }
}

void LoadThread::StartDue(Connection* connection) {
  if (connection->due.empty() || connection->pending.size() >= options_.pipeline) return;
  while (!connection->due.empty() && connection->pending.size() < options_.pipeline) {
    Pending pending = writer_.Append(&connection->out, false);
    pending.due_ns = connection->due.front();
    connection->due.pop_front();
    connection->pending.push_back(pending);
  }
  Send(connection);
}

int LoadThread::WaitMs(uint64_t now) const {
  if (gap_ns_ == 0) return 1000;
  // A timer would be late by more than the latencies measured, so short gaps are spun through.
  const double ahead_ms = (next_arrival_ns_ - static_cast<double>(now)) / 1e6;
  return is_dry_ || IsOver(now) ? 100 : std::clamp(static_cast<int>(ahead_ms) - 1, 0, 100);
}

void LoadThread::Send(Connection* connection) {
  while (connection->out_sent < connection->out.size()) {
    const size_t left = connection->out.size() - connection->out_sent;
    const ssize_t sent =
        ::send(connection->socket.fd(), connection->out.data() + connection->out_sent,
               std::min(left, kOutChunk), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        SetWantsWrite(connection, true);
      } else {
        Fail("send");
      }
      return;
    }
    connection->out_sent += static_cast<size_t>(sent);
    tally_.bytes_out += static_cast<uint64_t>(sent);
  }
  connection->out.Clear();
  connection->out_sent = 0;
  if (connection->wants_write) SetWantsWrite(connection, false);
}

void LoadThread::SetWantsWrite(Connection* connection, bool wants) {
  if (connection->wants_write == wants) return;
  connection->wants_write = wants;
  epoll_event event{};
  event.events = EPOLLIN | (wants ? static_cast<uint32_t>(EPOLLOUT) : 0U);
  event.data.ptr = connection;
  if (epoll_ctl(epoll_.fd(), EPOLL_CTL_MOD, connection->socket.fd(), &event) != 0) {
    Fail("epoll_ctl");
  }
}

// Lets the kernel throw away the inside of a large value: copying it would cost the client as much
// as the server, and the client must not be the limit.  Returns the bytes dropped.
size_t LoadThread::Discard(Connection* connection) {
  const uint64_t left = connection->reader.value_left();
  if (left < kDiscardFrom || connection->socket.fd() < 0 || !options_.endpoint.unix_path.empty()) {
    return 0;
  }
  const ssize_t dropped = ::recv(connection->socket.fd(), nullptr, left, MSG_TRUNC);
  if (dropped <= 0) return 0;
  connection->reader.Discarded(static_cast<uint64_t>(dropped));
  tally_.bytes_in += static_cast<uint64_t>(dropped);
  return static_cast<size_t>(dropped);
}

void LoadThread::Receive(Connection* connection) {
  if (Discard(connection) > 0) return;
  const size_t kept = connection->unread.size();
  if (kept > kInBytes / 2) return Fail("reply line too long");
  std::memcpy(in_.data(), connection->unread.data(), kept);
  const ssize_t got = ::recv(connection->socket.fd(), in_.data() + kept, in_.size() - kept, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) Fail("recv");
    return;
  }
  if (got == 0) {
    tally_.failure = "the server closed a connection";
    return;
  }
  tally_.bytes_in += static_cast<uint64_t>(got);
  const uint64_t now = NowNs();
  std::string_view in(in_.data(), kept + static_cast<size_t>(got));
  while (!connection->pending.empty()) {
    const Pending pending = connection->pending.front();
    const auto step = connection->reader.Read(pending, &in, &tally_);
    if (step == ReplyReader::Step::kBroken) return;
    if (step == ReplyReader::Step::kMore) break;
    connection->pending.pop_front();
    Complete(pending, now);
  }
  if (connection->pending.empty() && !in.empty()) {
    tally_.failure = "more replies than requests";
    return;
  }
  connection->unread.assign(in);
  Continue(connection, now);
}

void LoadThread::Complete(const Pending& pending, uint64_t now) {
  --in_flight_;
  tally_.requests += pending.requests;
  tally_.keys += pending.keys + pending.requests - 1;
  tally_.latency.Record(now - pending.due_ns);
}

void LoadThread::Continue(Connection* connection, uint64_t now) {
  if (gap_ns_ > 0) {
    StartDue(connection);
  } else if (connection->pending.empty()) {
    StartBatch(connection, now);
  }
}

void LoadThread::Fail(const std::string& what) {
  tally_.failure = what + ": " + std::strerror(errno);
}

}  // namespace larder::bench
