// server/acceptor.h — takes connections from the listening sockets, and turns away what is too
// many.
//
// Owner: Network.  Threads: the main loop's.
// At the limit of clients a new one gets an error line and is closed (or, with maxconns_fast off,
// is left in the kernel's queue until there is a place).  When the process is out of descriptors, a
// reserved one is given up for a moment, so that the client is told too and the queue keeps moving.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "server/client_counters.h"
#include "server/endpoint.h"
#include "server/event_loop.h"

namespace larder::server {

struct AcceptorOptions {
  uint64_t max_clients = 1024;
  bool refuse_at_limit = true;  // maxconns_fast
  // Called when the process is out of descriptors, at most once in kComplainEvery.
  std::function<void()> on_no_descriptors = {};
};

class Acceptor {
 public:
  // At most so many in one batch.
  static constexpr int kBatch = 64;
  // `hand(fd, listener)` takes a socket over; `flush()` follows the last one of a batch, and may
  // throw bad_alloc as long as it loses none.
  using Hand = std::function<void(int fd, uint16_t listener)>;
  using Flush = std::function<void()>;
  static constexpr std::chrono::minutes kComplainEvery{1};

  Acceptor(const AcceptorOptions& options, event_base* base, std::vector<ListeningSocket> sockets,
           ClientCounters& clients, Hand hand, Flush flush);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  [[nodiscard]] bool Start();
  // Closes the listening sockets.
  void Stop();

  // Constant after construction; readable by any thread until Stop().
  [[nodiscard]] const std::vector<ListeningSocket>& sockets() const { return sockets_; }

 private:
  static constexpr uint64_t kRetryMs = 10;

  enum class Step : uint8_t { kNext, kEnough };

  struct Listener {
    Acceptor* acceptor;
    uint16_t index;
    Event event;
  };

  void AcceptBatch(uint16_t listener);
  Step AcceptOne(uint16_t listener);
  Step OutOfDescriptors(int fd);
  void Refuse(UniqueFd client);
  void Complain();
  [[nodiscard]] bool IsFull() const { return clients_.current.load() >= options_.max_clients; }
  // Stops accepting until a client leaves.
  void WaitForPlace();
  // Stops accepting for kRetryMs.
  void Rest();
  void Disarm();
  void Resume();

  const AcceptorOptions options_;
  event_base* const base_;
  std::vector<ListeningSocket> sockets_;
  ClientCounters& clients_;
  Hand hand_;
  Flush flush_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  UniqueFd reserve_;
  Event on_place_free_;
  Event on_rested_;
  std::chrono::steady_clock::time_point disarmed_at_;
  std::optional<std::chrono::steady_clock::time_point> complained_at_;
  bool armed_ = false;
};

}  // namespace larder::server
