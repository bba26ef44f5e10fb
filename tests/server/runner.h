// tests/server/runner.h — a Network of fake sessions on any free loopback port, in a thread of its
// own.
//
// Owner: a test.  Threads: one, but for the network's own.

#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "server/network.h"
#include "tests/server/client.h"
#include "tests/server/fake_session.h"

namespace larder::server {

inline std::unique_ptr<Session> MakeFakeSession(OpContext& /*context*/,
                                                const ClientInfo& /*client*/,
                                                std::string_view /*first_bytes*/) {
  return std::make_unique<FakeSession>();
}

class Runner {
 public:
  explicit Runner(NetworkOptions options = {}, SessionFactory factory = MakeFakeSession) {
    if (options.endpoints.empty()) {
      options.endpoints.push_back({.host = "127.0.0.1", .port = 0, .unix_path = {}});
    }
    options.worker.tick_ms = 5;
    network = std::make_unique<Network>(std::move(options), clock, stats, std::move(factory));
    REQUIRE(network->Bind().ok());
    REQUIRE(network->Start().ok());
    thread = std::thread([this] { network->Run(); });
  }
  ~Runner() { Stop(); }
  void Stop() {
    network->Stop();
    if (thread.joinable()) thread.join();
  }
  [[nodiscard]] TestClient Connect() const { return TestClient::Tcp(network->tcp_port()); }
  [[nodiscard]] uint64_t Count(ThreadCounter counter) const { return (*stats.Totals())[counter]; }
  // Waits until `true_now` holds; false after a long time.
  template <typename Condition>
  static bool Eventually(Condition&& true_now) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!true_now()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  ManualClock clock;
  StatsRegistry stats;
  std::unique_ptr<Network> network;
  std::thread thread;
};

}  // namespace larder::server
