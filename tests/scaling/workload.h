// tests/scaling/workload.h — workers of a server without sockets: each has a session, and plays
// batches of requests on the store that all of them share.
//
// Threads: a Player belongs to one thread at a time.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/store.h"
#include "protocol/memcache/session.h"
#include "protocol/reply_buffer.h"
#include "tests/protocol/fixture.h"
#include "tools/bench/keys.h"

namespace larder::scaling {

enum class Mix : uint8_t { kGet, kSet, kGetsAndSets, kNewKeys };

struct Spec {
  unsigned workers = 2;
  Mix mix = Mix::kGet;
  bool is_zipf = false;  // exponent 0.99; else all keys alike
  uint64_t keys = 1'000'000;
  uint64_t memory_mb = 512;
  uint64_t requests = 1'000'000;  // of all workers, after as many again to warm up
  unsigned pipeline = 16;

  // Of each worker, that make up `requests`.
  [[nodiscard]] uint64_t batches() const { return requests / pipeline / workers; }
};

// --workers N --mix get|set|mixed|new --order uniform|zipf --keys N --memory-mb N --requests N
// --pipeline N
// Ends the process when it cannot.
Spec ParseSpec(int argc, char** argv);

// What the workers share.
class World {
 public:
  explicit World(const Spec& spec);

  const Spec spec;
  ManualClock clock;
  Store store;
  test::FakeHost host;
  memcache::SessionOptions session_options;
  bench::Options load;
  bench::KeySpace key_space;
  std::atomic<uint64_t> next_new_key;
};

class alignas(64) Player {
 public:
  Player(World& world, unsigned number);

  // One batch of spec.pipeline requests.
  void Play() {
    Compose();
    Send();
  }
  void Compose();
  void Send();
  // Stores keys [first, end).
  void Fill(uint64_t first, uint64_t end);

 private:
  void AppendGet(uint64_t key);
  void AppendSet(uint64_t key);
  void Append();

  World& world_;
  OpContext context_;
  bench::Random random_;
  bench::IndexSource keys_;
  std::unique_ptr<Session> session_;
  ReplyBuffer out_;
  std::string requests_;
};

// One a worker, after the first has stored all keys.
std::vector<std::unique_ptr<Player>> MakePlayers(World& world);

}  // namespace larder::scaling
