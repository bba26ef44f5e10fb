#include "server/worker.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

namespace larder::server {
namespace {

void HookBefore(RingHook& place, RingHook& hook) {
  hook.before = place.before;
  hook.after = &place;
  place.before->after = &hook;
  place.before = &hook;
}

void Unhook(RingHook& hook) {
  hook.before->after = hook.after;
  hook.after->before = hook.before;
  hook.before = hook.after = nullptr;
}

}  // namespace

Worker::Worker(const WorkerOptions& options, const WorkerShared& shared, ThreadStats& stats)
    : options_(options), shared_(shared) {
  context_.stats = &stats;
  for (RingHook& head : ring_) head.before = head.after = &head;
  held_ring_.before = held_ring_.after = &held_ring_;
}

Worker::~Worker() {
  Stop();
  Join();
  context_.watched = 0;
  DestroyAll(CloseReason::kShutdown);
  for (const NewClient& client : queue_) {
    close(client.fd);
    shared_.clients.Leave();
  }
}

bool Worker::Start(const std::string& name) {
  base_ = MakeEventBase();
  if (base_ == nullptr || wakeup_.fd() < 0) return false;
  scratch_ = std::make_unique_for_overwrite<char[]>(kScratchBytes);
  if (options_.equip) options_.equip(context_, wakeup_);
  on_wakeup_.Assign(
      base_.get(), wakeup_.fd(), EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* self) {
        auto* worker = static_cast<Worker*>(self);
        worker->wakeup_.Acknowledge();
        worker->RefreshNow();
        worker->TakeNewClients();
        worker->BringNews();
        if (worker->stop_.load()) worker->BeginDrain();
      },
      this);
  on_tick_.Assign(
      base_.get(), -1, EV_PERSIST,
      [](evutil_socket_t, short, void* self) { static_cast<Worker*>(self)->Tick(); }, this);
  on_retry_.Assign(
      base_.get(), -1, 0,
      [](evutil_socket_t, short, void* self) { static_cast<Worker*>(self)->Retry(); }, this);
  on_due_.Assign(
      base_.get(), -1, 0,
      [](evutil_socket_t, short, void* self) { static_cast<Worker*>(self)->RunDue(); }, this);
  on_drained_.Assign(
      base_.get(), -1, 0,
      [](evutil_socket_t, short, void* self) {
        auto* worker = static_cast<Worker*>(self);
        worker->DestroyAll(CloseReason::kShutdown);
        worker->EndDrainWhenEmpty();
      },
      this);
  if (!on_wakeup_.Arm() || !on_tick_.ArmTimer(options_.tick_ms)) return false;
  for (const auto& port : datagrams_) {
    if (!port->Start(base_.get())) return false;
  }
  RefreshNow();
  wheel_s_ = now_s();
  pool_.reserve(kPooledBuffers);  // so that giving back never allocates
  try {
    thread_ = std::thread([this, name] { Loop(name); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void Worker::Loop(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  event_base_loop(base_.get(), EVLOOP_NO_EXIT_ON_EMPTY);
}

void Worker::Adopt(std::vector<NewClient>* clients) {
  {
    MutexLock lock(queue_mutex_);
    queue_.insert(queue_.end(), clients->begin(), clients->end());
  }
  clients->clear();
  wakeup_.Signal();
}

void Worker::Stop() {
  stop_.store(true);
  wakeup_.Signal();
}

void Worker::Join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::Describe(std::vector<ConnectionRow>* rows) const {
  const auto now = static_cast<uint32_t>(shared_.clock.NowMs() / 1000);
  MutexLock lock(ring_mutex_);
  for (const RingHook& head : ring_) {
    for (const RingHook* hook = head.after; hook != &head; hook = hook->after) {
      const auto* one = static_cast<const Connection*>(hook);
      const uint32_t active = one->active_s_.load(std::memory_order_relaxed);
      rows->push_back({one->fd_, one->listener_, one->state_.load(std::memory_order_relaxed),
                       Elapsed(active, now)});
    }
  }
}

std::unique_ptr<ReplyBuffer> Worker::Park() {
  Count(1);
  return std::move(turn_.reply);
}

void Worker::Unpark(std::unique_ptr<ReplyBuffer> reply) {
  Count(-1);
  GiveBack(std::exchange(turn_.reply, std::move(reply)));
}

void Worker::DropParked(std::unique_ptr<ReplyBuffer> reply) {
  if (reply == nullptr) return;
  Count(-1);
  GiveBack(std::move(reply));
}

std::unique_ptr<Session> Worker::MakeSession(int fd, uint16_t listener,
                                             std::string_view first_bytes) {
  const ListenerTraits& traits = shared_.listeners[listener];
  return MakeSession({fd, listener, traits.protocol, traits.transport}, first_bytes);
}

std::unique_ptr<TlsStream> Worker::NewTlsStream(int fd, uint16_t listener) const {
  return shared_.tls->NewStream(fd, shared_.listeners[listener].peer_check);
}

std::string_view Worker::NextRecord(std::span<const iovec> parts) {
  const size_t most = shared_.tls->record_bytes();
  const iovec& first = parts.front();
  if (parts.size() == 1 || first.iov_len >= most) {
    return {static_cast<const char*>(first.iov_base), first.iov_len};
  }
  if (record_ == nullptr) record_ = std::make_unique_for_overwrite<char[]>(most);
  size_t bytes = 0;
  for (const iovec& part : parts) {
    const size_t n = std::min(part.iov_len, most - bytes);
    std::memcpy(record_.get() + bytes, part.iov_base, n);
    bytes += n;
  }
  return {record_.get(), bytes};
}

std::unique_ptr<ReplyBuffer> Worker::Borrow() {
  if (pool_.empty()) return std::make_unique<ReplyBuffer>();
  std::unique_ptr<ReplyBuffer> buffer = std::move(pool_.back());
  pool_.pop_back();
  return buffer;
}

void Worker::GiveBack(std::unique_ptr<ReplyBuffer> buffer) {
  if (buffer == nullptr || !buffer->is_whole() || pool_.size() >= kPooledBuffers) return;
  buffer->Clear();
  pool_.push_back(std::move(buffer));
}

void Worker::Charge(Connection::Held& held) {
  const size_t bytes = held.stuck_bytes();
  const size_t pins = held.stuck_pins();
  ChargeStuck(static_cast<int64_t>(bytes) - static_cast<int64_t>(held.charged_bytes),
              static_cast<int64_t>(pins) - static_cast<int64_t>(held.charged_pins));
  held.charged_bytes = bytes;
  held.charged_pins = pins;
  held.moved_at = context_.now;
  held.unsent = INT_MAX;
  if (held.after != nullptr) Unhook(held);
  // Those who wait for us are not to blame.
  if (bytes > 0 && !held.owner.waiting() && !held.owner.is_due()) HookBefore(held_ring_, held);
}

void Worker::Release(Connection::Held& held) {
  ChargeStuck(-static_cast<int64_t>(held.charged_bytes), -static_cast<int64_t>(held.charged_pins));
  if (held.after != nullptr) Unhook(held);
}

void Worker::ChargeStuck(int64_t bytes, int64_t pins) {
  stuck_pins_ += pins;
  const int64_t change = stuck_.Add(bytes);
  if (options_.memory != nullptr && change != 0) options_.memory->AddStuck(change);
}

void Worker::ChargeConnections(int64_t bytes) {
  const int64_t change = connection_bytes_.Add(bytes);
  if (options_.memory != nullptr && change != 0) options_.memory->AddConnections(change);
}

int64_t Worker::CostOf(const Connection& connection) {
  return kConnectionBytes + (connection.is_tls_ ? kTlsBytes : 0);
}

// Only those who stand still: a full socket is how any reader looks for a moment.
void Worker::DropHolders(const Connection* except) {
  ClientMemory* const memory = options_.memory;
  if (memory == nullptr || draining_) return;
  for (unsigned n = 0; n < kDropsAtOnce && memory->is_over(); ++n) {
    if (held_ring_.after == &held_ring_) return;
    const auto mine = static_cast<uint64_t>(stuck_.bytes() + stuck_pins_);
    if (mine <= memory->stuck_limit() / options_.workers) return;
    auto& held = *static_cast<Connection::Held*>(held_ring_.after);
    Connection& still = held.owner;
    const uint64_t patience_ms = memory->is_far_over() ? kShortPatienceMs : kPatienceMs;
    if (&still == except || context_.now < held.moved_at + patience_ms) return;
    if (TakesBytes(held)) continue;
    memory->CountDropped();
    Destroy(still, CloseReason::kError);
  }
}

// Whether the kernel got rid of some since the last look: a reader that is slow, not one that
// stands still.  It goes to the end of the queue then.
bool Worker::TakesBytes(Connection::Held& held) {
  int unsent = 0;
  if (ioctl(held.owner.fd_, SIOCOUTQ, &unsent) != 0 || unsent >= held.unsent) return false;
  held.unsent = unsent;
  held.moved_at = context_.now;
  Unhook(held);
  HookBefore(held_ring_, held);
  return true;
}

void Worker::Attend(Connection& connection, bool attend) {
  if (attend == (connection.attended_at_ != 0)) return;
  if (attend) {
    attended_.push_back(&connection);
    connection.attended_at_ = static_cast<uint32_t>(attended_.size());
  } else {
    Connection* last = attended_.back();
    attended_[connection.attended_at_ - 1] = last;
    last->attended_at_ = connection.attended_at_;
    attended_.pop_back();
    connection.attended_at_ = 0;
  }
}

void Worker::Run(Connection& connection) {
  if (connection.is_due()) std::erase(due_, &connection);
  Serve(connection.fd_);
  try {
    const Connection::Next next = connection.Turn();
    EndTurn();
    const bool stays = After(connection, next);
    Relieve(stays ? &connection : nullptr);
  } catch (const std::bad_alloc&) {
    EndTurn();
    Destroy(connection,
            CloseReason::kError);  // no memory even for its bytes: this client pays, nobody else
    EndDrainWhenEmpty();
  }
}

bool Worker::AfterOther(Connection& connection, Connection::Next next) {
  if (next == Connection::Next::kClose || (draining_ && next != Connection::Next::kWrite)) {
    const bool over = next == Connection::Next::kClose;
    Destroy(connection, !over                   ? CloseReason::kShutdown
                        : connection.is_broken_ ? CloseReason::kError
                                                : CloseReason::kNormal);
    EndDrainWhenEmpty();
    return false;
  }
  if (next == Connection::Next::kWait) {
    waiting_.push_back(&connection);
    if (waiting_.size() == 1) on_retry_.ArmTimer(kRetryMs);
  } else if (next == Connection::Next::kAgain) {
    due_.push_back(&connection);
    if (due_.size() == 1) on_due_.ArmTimer(0);
  }
  return true;
}

void Worker::TakeNewClients() {
  std::vector<NewClient> taken;
  {
    MutexLock lock(queue_mutex_);
    taken.swap(queue_);
  }
  for (const NewClient& client : taken) Welcome(client);
}

void Worker::Welcome(NewClient client) {
  UniqueFd fd(client.fd);
  Connection* connection = nullptr;
  try {
    connection = new Connection(*this, std::move(fd), client.listener);
  } catch (const std::bad_alloc&) {
    fd.Reset();
    shared_.clients.Leave();
    return;
  }
  ++connections_;
  ChargeConnections(CostOf(*connection));
  NoteConnection(EventKind::kConnectionNew, connection->fd_, CloseReason::kNormal);
  {
    MutexLock lock(ring_mutex_);
    Hang(*connection, now_s() + options_.idle_timeout_s + 1);
  }
  (void)After(*connection, connection->Start());
}

Peer Worker::TakePeer(int fd) {
  const auto known = peers_.find(fd);
  if (known == peers_.end()) return PeerOf(fd);
  Peer peer = std::move(known->second);
  peers_.erase(known);
  return peer;
}

void Worker::NoteConnection(EventKind kind, int fd, CloseReason reason) noexcept {
  const bool watched = context_.IsWatched(kConnEvents | kConversation);
  if (!watched && peers_.empty()) return;
  try {
    const bool is_new = kind == EventKind::kConnectionNew;
    const Peer peer = is_new ? PeerOf(fd) : TakePeer(fd);
    if (!watched) return;
    if (is_new) peers_[fd] = peer;
    context_.events->Note(kConnEvents | kConversation,
                          {.kind = kind,
                           .status = static_cast<uint8_t>(reason),
                           .command = static_cast<uint8_t>(peer.kind),
                           .client = fd,
                           .size = peer.port},
                          peer.address);
  } catch (const std::bad_alloc&) {
    return;  // nobody hears of it
  }
}

void Worker::NoteTlsError(int fd, std::string_view why) noexcept {
  if (!context_.IsWatched(kConnEvents | kConversation)) return;
  context_.events->Note(kConnEvents | kConversation, {.kind = EventKind::kTlsError, .client = fd},
                        why);
}

void Worker::BringNews() {
  // Backwards: whoever leaves the list has its place taken by one that had its turn.
  for (size_t i = watching_.size(); i-- > 0;) {
    if (i >= watching_.size() || watching_[i]->blocked()) continue;
    watching_[i]->has_news_ = true;
    Run(*watching_[i]);
  }
}

void Worker::Destroy(Connection& connection, CloseReason reason) {
  NoteConnection(EventKind::kConnectionClose, connection.fd_, reason);
  {
    MutexLock lock(ring_mutex_);
    Unhang(connection);
  }
  Attend(connection, false);
  if (connection.waiting()) std::erase(waiting_, &connection);
  if (connection.watching()) std::erase(watching_, &connection);
  if (connection.is_due()) std::erase(due_, &connection);
  ChargeConnections(-CostOf(connection));
  delete &connection;
  --connections_;
  shared_.clients.Leave();
}

void Worker::DestroyAll(CloseReason reason) {
  for (Connection* connection : All()) Destroy(*connection, reason);
}

void Worker::BeginDrain() {
  if (draining_) return;
  draining_ = true;
  for (const auto& port : datagrams_) port->Stop();
  on_drained_.ArmTimer(options_.drain_ms);
  waiting_.clear();
  due_.clear();
  // One more look at everybody: what a client sent before now is answered.
  for (Connection* connection : All()) {
    if (!connection->blocked()) Run(*connection);
  }
  EndDrainWhenEmpty();
}

void Worker::EndDrainWhenEmpty() {
  if (draining_ && connections_ == 0) event_base_loopbreak(base_.get());
}

void Worker::Tick() {
  RefreshNow();
  try {
    TickAttended();
    Relieve(nullptr);
    TurnWheel();
  } catch (const std::bad_alloc&) {
    return;  // the next tick comes
  }
}

void Worker::TickAttended() {
  const bool crowded = reply_buffers() > options_.crowd;
  const Connection::Patience patience{
      crowded ? options_.crowded_timeout_s : options_.blocked_timeout_s,
      options_.handshake_timeout_s};
  // Backwards: whoever leaves the list has its place taken by one that had its tick.
  for (size_t i = attended_.size(); i-- > 0;) {
    if (i >= attended_.size()) continue;
    Connection& connection = *attended_[i];
    switch (connection.Tick(now_s(), patience)) {
      case Connection::Verdict::kStay:
        break;
      case Connection::Verdict::kTurn:
        Run(connection);
        break;
      case Connection::Verdict::kClose:
        Destroy(connection, CloseReason::kError);
        EndDrainWhenEmpty();
        break;
    }
  }
}

void Worker::TurnWheel() {
  const uint32_t now = now_s();
  const uint32_t limit = options_.idle_timeout_s;
  if (limit == 0) return;
  if (now - wheel_s_ > kBuckets) wheel_s_ = now - static_cast<uint32_t>(kBuckets);
  for (; wheel_s_ != now + 1; ++wheel_s_) {
    for (Connection* connection : InBucket(wheel_s_ % kBuckets)) {
      const uint32_t active = connection->active_s_.load(std::memory_order_relaxed);
      // We owe it something, or it is there to listen.
      const bool speaks = connection->blocked() || connection->waiting() || connection->watching();
      // Over, not at the limit: both ends of the wait are rounded down to seconds.
      if (!speaks && Elapsed(active, now) > limit) {
        stats().Add(ThreadCounter::idle_kicks);
        Destroy(*connection, CloseReason::kIdleTimeout);
        EndDrainWhenEmpty();
        continue;
      }
      MutexLock lock(ring_mutex_);
      Unhang(*connection);
      Hang(*connection, (speaks ? now : active) + limit + 1);
    }
  }
}

void Worker::Retry() {
  RefreshNow();
  // In the order they came: whoever waits again goes behind the others.
  const std::vector<Connection*> waiting = std::move(waiting_);
  waiting_.clear();
  for (Connection* connection : waiting) Run(*connection);
}

void Worker::RunDue() {
  RefreshNow();
  const std::vector<Connection*> due = std::move(due_);
  due_.clear();
  for (Connection* connection : due) Run(*connection);
}

void Worker::Hang(Connection& connection, uint32_t due_s) {
  // Later than the wheel reaches: looked at once a revolution.
  const uint32_t far = now_s() + static_cast<uint32_t>(kBuckets) - 1;
  if (due_s > far) due_s = far;
  if (due_s <= now_s()) due_s = now_s() + 1;
  HookBefore(ring_[due_s % kBuckets], connection);
}

void Worker::Unhang(Connection& connection) { Unhook(connection); }

std::vector<Connection*> Worker::InBucket(size_t bucket) const {
  std::vector<Connection*> found;
  const RingHook& head = ring_[bucket];
  for (RingHook* hook = head.after; hook != &head; hook = hook->after) {
    found.push_back(static_cast<Connection*>(hook));
  }
  return found;
}

std::vector<Connection*> Worker::All() const {
  std::vector<Connection*> found;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    const auto some = InBucket(bucket);
    found.insert(found.end(), some.begin(), some.end());
  }
  return found;
}

}  // namespace larder::server
