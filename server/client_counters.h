// server/client_counters.h — how many clients there are and were; the gate between the acceptor,
// which counts them in, and the workers, which count them out.
//
// Owner: Network.  Threads: any.

#pragma once

#include <atomic>
#include <cstdint>

#include "server/event_loop.h"

namespace larder::server {

struct ClientCounters {
  std::atomic<uint64_t> current{0};
  std::atomic<uint64_t> total{0};
  std::atomic<uint64_t> rejected{0};
  // Times that accepting was stopped, and for how long altogether.
  std::atomic<uint64_t> disabled{0};
  std::atomic<uint64_t> disabled_us{0};
  std::atomic<bool> accepting{true};

  // The acceptor waits for a place; whoever frees one has to signal.
  std::atomic<bool> acceptor_waits{false};
  Wakeup place_free;

  // A client is gone, and its descriptor closed.
  void Leave() {
    current.fetch_sub(1);
    if (acceptor_waits.load()) place_free.Signal();
  }
};

}  // namespace larder::server
