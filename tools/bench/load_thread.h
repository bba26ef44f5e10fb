// tools/bench/load_thread.h — one thread's connections, driven by one epoll.
//
// Threads: each LoadThread runs on one; Shared is what they have in common, atomics only.
// Closed loop: a connection sends `pipeline` requests, awaits all replies, and sends again.
// Open loop: requests fall due at a fixed rate whatever the server does; one that is due on a busy
// connection waits in the client, and its latency runs from the moment it was due (G. Tene,
// "coordinated omission").

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tools/bench/keys.h"
#include "tools/bench/options.h"
#include "tools/bench/out_buffer.h"
#include "tools/bench/replies.h"
#include "tools/bench/requests.h"
#include "tools/bench/socket.h"
#include "tools/bench/tally.h"

namespace larder::bench {

struct Shared {
  std::atomic<uint64_t> sequence{0};  // of sequential keys
  std::atomic<uint64_t> requests_left{0};
  std::atomic<bool> is_go{false};
};

class LoadThread {
 public:
  LoadThread(const Options& options, const KeySpace& key_space, Shared* shared, uint32_t number);

  // Connects; false with tally().failure set when that failed.
  bool Prepare();
  // REQUIRES: Prepare() was true.
  void Run();

  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  struct Connection {
    Connection(Socket s, const KeySpace* key_space, bool verify)
        : socket(std::move(s)), reader(key_space, verify) {}
    Socket socket;
    ReplyReader reader;
    OutBuffer out;  // requests to send, from out_sent on
    size_t out_sent = 0;
    std::string unread;  // part of a reply line
    std::deque<Pending> pending;
    std::deque<uint64_t> due;  // open loop: requests that wait for room in the pipeline
    bool wants_write = false;  // as epoll was told
  };

  bool IsOver(uint64_t now) const { return !tally_.failure.empty() || now >= deadline_ns_; }
  uint64_t TakeRequests(uint64_t wanted);

  void StartBatch(Connection* connection, uint64_t now);
  void StartDue(Connection* connection);
  void ArriveUntil(uint64_t now);
  int WaitMs(uint64_t now) const;

  void Send(Connection* connection);
  void SetWantsWrite(Connection* connection, bool wants);
  void Receive(Connection* connection);
  size_t Discard(Connection* connection);
  void Complete(const Pending& pending, uint64_t now);
  void Continue(Connection* connection, uint64_t now);
  bool HasWork(uint64_t now) const;
  void Fail(const std::string& what);

  const Options& options_;
  const KeySpace& key_space_;
  Shared* shared_;
  uint32_t connection_count_;
  RequestWriter writer_;
  Random random_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Socket epoll_;
  std::vector<char> in_;  // shared by the connections, so that it stays in the cache
  Tally tally_;
  uint64_t deadline_ns_ = UINT64_MAX;
  double next_arrival_ns_ = 0;
  double gap_ns_ = 0;  // 0: closed loop
  size_t next_connection_ = 0;
  uint64_t in_flight_ = 0;  // replies due, and requests waiting to be sent
  bool is_dry_ = false;     // no request is left to take
};

}  // namespace larder::bench
