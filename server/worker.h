// server/worker.h — a thread with an event loop and the clients it serves for as long as they stay.
//
// Owner: Network.  Threads: Adopt, Stop, Describe by any; everything else by the worker's own.
// Locks: the queue of new clients (a leaf), and the rings of connections (registry), which only the
// worker changes and which it alone may read without the lock.
// Time: a connection hangs in the bucket of the second in which it has to be looked at next (a
// timer wheel), so that dropping idle clients costs nothing a request and little a second.
// Source of the wheel: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", 1987.

#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/memory/client_memory.h"
#include "core/store.h"
#include "core/thread_stats.h"
#include "protocol/session.h"
#include "server/client_counters.h"
#include "server/client_info.h"
#include "server/connection.h"
#include "server/datagram_port.h"
#include "server/event_loop.h"
#include "server/stepped_charge.h"
#include "server/tls_credentials.h"

namespace larder::server {

// Makes the session of a client that began with `first_bytes` (at least one); the context is its
// worker's.  Null: it may not speak like that, and is closed.  Called from any worker.
using SessionFactory = std::function<std::unique_ptr<Session>(
    OpContext& context, const ClientInfo& client, std::string_view first_bytes)>;

// What all workers share, and nobody changes once they run.
struct WorkerShared {
  const Clock& clock;
  const SessionFactory& factory;
  const std::vector<ListenerTraits>& listeners;
  const TlsCredentials* tls;  // null: no listener speaks TLS
  ClientCounters& clients;
};

struct WorkerOptions {
  uint32_t idle_timeout_s = 0;  // 0: never
  // A client that has not taken a single byte of its reply for so long is dropped; 0: never.
  uint32_t blocked_timeout_s = 60;
  // With more replies stuck than this, on one worker, they are dropped after crowded_timeout_s: one
  // costs up to 200 KB, and patience with a few must not become the memory of all.
  uint64_t crowd = 256;
  uint32_t crowded_timeout_s = 2;
  // A client that has not finished its TLS handshake for so long is dropped; 0: never.
  uint32_t handshake_timeout_s = 10;
  uint64_t tick_ms = 1000;
  // Told what clients take; null: nobody is.  When clients that cannot go on hold all that they
  // may, a worker that holds more than its share of that, one of `workers`, drops those of its own
  // that have stood still for longest.
  ClientMemory* memory = nullptr;
  uint64_t workers = 1;
  // How long Stop() lets replies go out that a slow client has not taken yet.
  uint64_t drain_ms = 1000;
  // Completes the context of a worker before it starts; signalling `wakeup` makes it look whether
  // there is news for the connections that watch.  May be empty.
  std::function<void(OpContext& context, const Wakeup& wakeup)> equip;
};

// An accepted socket on its way to a worker.
struct NewClient {
  int fd = -1;
  uint16_t listener = 0;
};

// A copy of what is known of a connection.
struct ConnectionRow {
  int fd = -1;
  uint16_t listener = 0;
  ConnectionState state = ConnectionState::kRead;
  uint32_t idle_seconds = 0;
};

class Worker {
 public:
  // What a session may leave unconsumed, and a full read besides.
  static constexpr size_t kScratchBytes = Session::kMaxPending + 64 * 1024;

  // REQUIRES: everything referred to outlives it.
  Worker(const WorkerOptions& options, const WorkerShared& shared, ThreadStats& stats);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();  // stops and joins

  // A UDP socket to serve; before Start().
  void AddDatagrams(ListeningSocket socket, size_t reply_limit) {
    datagrams_.push_back(std::make_unique<DatagramPort>(*this, std::move(socket), reply_limit));
  }
  // False when the system refuses a loop or a thread.
  [[nodiscard]] bool Start(const std::string& name);
  // Takes the sockets over; they are counted in already.
  void Adopt(std::vector<NewClient>* clients) ABSL_LOCKS_EXCLUDED(queue_mutex_);
  // Answers what has arrived, lets replies out for options.drain_ms, closes; returns at once.
  void Stop();
  void Join();
  // Appends a row a connection.
  void Describe(std::vector<ConnectionRow>* rows) const ABSL_LOCKS_EXCLUDED(ring_mutex_);
  // ReplyBuffers of connections whose output is stuck.
  [[nodiscard]] uint64_t reply_buffers() const { return parked_.load(std::memory_order_relaxed); }

  // What a connection uses during its turn; there is one turn at a time.
  struct Turn {
    std::unique_ptr<ReplyBuffer> reply;  // may be null; empty at first, and then left for the next
    size_t sent_bytes = 0;
  };

  // For its connections.
  [[nodiscard]] event_base* base() const { return base_.get(); }
  [[nodiscard]] char* scratch() const { return scratch_.get(); }
  [[nodiscard]] ThreadStats& stats() const { return *context_.stats; }
  [[nodiscard]] uint32_t now_s() const { return static_cast<uint32_t>(context_.now / 1000); }
  // Whose turn it is, for those who watch.
  void Serve(int fd) { context_.client = fd; }
  void RefreshNow() { context_.Refresh(shared_.clock.NowMs()); }
  [[nodiscard]] const ListenerTraits& listener(uint16_t index) const {
    return shared_.listeners[index];
  }
  void BeginTurn() { turn_.sent_bytes = 0; }
  void EndTurn() {
    if (turn_.reply == nullptr) return;
    turn_.reply->Clear();
    if (!turn_.reply->is_whole()) turn_.reply.reset();
  }
  [[nodiscard]] Turn& turn() { return turn_; }
  // The turn's reply goes with a connection that waits; and comes back with it.
  [[nodiscard]] std::unique_ptr<ReplyBuffer> Park();
  void Unpark(std::unique_ptr<ReplyBuffer> reply);
  // Null is nothing.
  void DropParked(std::unique_ptr<ReplyBuffer> reply);
  // The session of a client whose first bytes are there.
  [[nodiscard]] std::unique_ptr<Session> MakeSession(int fd, uint16_t listener,
                                                     std::string_view first_bytes);
  [[nodiscard]] std::unique_ptr<Session> MakeSession(const ClientInfo& client,
                                                     std::string_view first_bytes) {
    return shared_.factory(context_, client, first_bytes);
  }
  // Null when there is no memory.  REQUIRES: the listener's transport is kTls.
  [[nodiscard]] std::unique_ptr<TlsStream> NewTlsStream(int fd, uint16_t listener) const;
  // The front of `parts` in one piece, which is good until the next call: at least a record's worth
  // or all of them.
  [[nodiscard]] std::string_view NextRecord(std::span<const iovec> parts);
  [[nodiscard]] std::unique_ptr<ReplyBuffer> Borrow();
  // Null is nothing.
  void GiveBack(std::unique_ptr<ReplyBuffer> buffer);
  // After a turn that left it something; and when that is gone.
  void Charge(Connection::Held& held);
  void Release(Connection::Held& held);
  // Whether Tick() has to look at it every time: it uploads, or its output is stuck.
  void Attend(Connection& connection, bool attend);
  // From now on it gets a turn whenever there may be text for its session.
  void AddWatcher(Connection& connection) { watching_.push_back(&connection); }
  // To those who watch: the client's TLS handshake failed, and why.
  void NoteTlsError(int fd, std::string_view why) noexcept;
  // Gives it its turn, and destroys it when it is over.
  void Run(Connection& connection);

 private:
  static constexpr size_t kBuckets = 64;
  static constexpr size_t kPooledBuffers = 16;
  // An idle connection: its objects, and libevent's.
  static constexpr int64_t kConnectionBytes = 400;
  static constexpr int64_t kTlsBytes = 16 << 10;
  // Of clients that hold too much together: how long one may stand still, and how many go at once.
  static constexpr uint64_t kPatienceMs = 2000;
  static constexpr uint64_t kShortPatienceMs = 250;
  static constexpr unsigned kDropsAtOnce = 16;
  static constexpr uint64_t kRetryMs = 5;  // between two tries of those that wait for memory

  void Loop(const std::string& name);
  void TakeNewClients() ABSL_LOCKS_EXCLUDED(queue_mutex_);
  void Welcome(NewClient client);
  // What follows a turn; false: the connection is no more.
  bool After(Connection& connection, Connection::Next next) {
    if (next == Connection::Next::kRead && !draining_) [[likely]]
      return true;
    return AfterOther(connection, next);
  }
  bool AfterOther(Connection& connection, Connection::Next next);
  void Destroy(Connection& connection, CloseReason reason);
  void DestroyAll(CloseReason reason);
  // To those who watch, while there are any.
  void NoteConnection(EventKind kind, int fd, CloseReason reason) noexcept;
  [[nodiscard]] Peer TakePeer(int fd);
  void BringNews();
  void BeginDrain();
  void EndDrainWhenEmpty();
  void Tick();
  void TickAttended();
  void TurnWheel();
  void Retry();
  // Drops clients that hold too much, but not `except`, whose turn it was.
  void Relieve(const Connection* except) {
    if (held_ring_.after != &held_ring_) [[unlikely]]
      DropHolders(except);
  }
  void DropHolders(const Connection* except);
  void Count(int parked) {
    parked_.store(parked_.load(std::memory_order_relaxed) + static_cast<uint64_t>(int64_t{parked}),
                  std::memory_order_relaxed);
  }
  bool TakesBytes(Connection::Held& held);
  void ChargeStuck(int64_t bytes, int64_t pins);
  void ChargeConnections(int64_t bytes);
  [[nodiscard]] static int64_t CostOf(const Connection& connection);
  void RunDue();

  // Into the bucket of the second it is due.
  void Hang(Connection& connection, uint32_t due_s) ABSL_EXCLUSIVE_LOCKS_REQUIRED(ring_mutex_);
  static void Unhang(Connection& connection);
  std::vector<Connection*> InBucket(size_t bucket) const;
  std::vector<Connection*> All() const;

  const WorkerOptions options_;
  const WorkerShared shared_;
  OpContext context_;

  EventBase base_;
  Wakeup wakeup_;
  Event on_wakeup_;
  Event on_tick_;
  Event on_retry_;
  Event on_due_;
  Event on_drained_;
  std::vector<std::unique_ptr<DatagramPort>> datagrams_;
  std::unique_ptr<char[]> scratch_;
  std::unique_ptr<char[]> record_;  // null until NextRecord() has something to put together
  Turn turn_;
  std::vector<std::unique_ptr<ReplyBuffer>> pool_;
  std::vector<Connection*> attended_;
  std::vector<Connection*> waiting_;
  std::vector<Connection*> watching_;
  std::vector<Connection*> due_;
  // Of the clients that came while somebody watched: one that has left has no address any more.
  std::unordered_map<int, Peer> peers_;
  RingHook held_ring_;  // of Connection::Held, the one that stood still for longest first
  SteppedCharge stuck_;
  int64_t stuck_pins_ = 0;
  SteppedCharge connection_bytes_;
  uint32_t wheel_s_ = 0;  // seconds before it have been looked at
  size_t connections_ = 0;
  bool draining_ = false;
  std::atomic<uint64_t> parked_{0};
  std::atomic<bool> stop_{false};

  mutable Mutex<LockRank::kRegistry> ring_mutex_;
  std::array<RingHook, kBuckets> ring_;  // changed under the lock, by the worker only

  Mutex<LockRank::kLeaf> queue_mutex_;
  std::vector<NewClient> queue_ ABSL_GUARDED_BY(queue_mutex_);

  std::thread thread_;
};

}  // namespace larder::server
