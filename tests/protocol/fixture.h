// tests/protocol/fixture.h — a store, a manual clock and sessions on them, without a server.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/memcache/session.h"
#include "protocol/reply_buffer.h"

namespace larder::test {

// The server that a session sees.
class FakeHost final : public memcache::Host {
 public:
  class FakeFeed final : public TextFeed {
   public:
    explicit FakeFeed(FakeHost& host) : host_(host) { ++host_.feeds; }
    ~FakeFeed() override { --host_.feeds; }
    FakeFeed(const FakeFeed&) = delete;
    FakeFeed& operator=(const FakeFeed&) = delete;
    std::string Take() override { return std::exchange(host_.feed_text, {}); }

   private:
    FakeHost& host_;
  };

  memcache::ServerInfo Info() override {
    memcache::ServerInfo info;
    info.pid = 4711;
    info.libevent_version = "2.1.12-stable";
    info.user_cpu_seconds = 0.25;
    info.max_connections = 1024;
    info.threads = 4;
    return info;
  }
  std::vector<std::pair<std::string, std::string>> Settings() override { return settings; }
  std::vector<memcache::ConnectionInfo> Connections() override { return connections; }
  void SetVerbosity(int level) override { verbosity = level; }
  void ResetStats() override { ++resets; }
  void Shutdown(bool graceful) override { (graceful ? graceful_shutdowns : shutdowns) += 1; }
  std::unique_ptr<TextFeed> Watch(OpContext& /*op*/, uint32_t streams) override {
    watched = streams;
    if (too_many_watch) return nullptr;
    return std::make_unique<FakeFeed>(*this);
  }
  std::string RefreshCerts() override { return "Error TLS not enabled"; }

  std::vector<std::pair<std::string, std::string>> settings = {{"maxbytes", "67108864"},
                                                               {"idle_timeout", "0"}};
  std::vector<memcache::ConnectionInfo> connections;
  int verbosity = -1;
  int resets = 0;
  int shutdowns = 0;
  int graceful_shutdowns = 0;
  // Of a session that watches: what it asked for, and what it is told next.
  uint32_t watched = 0;
  bool too_many_watch = false;
  std::string feed_text;
  int feeds = 0;
};

// Everything below one server's sessions.
struct World {
  explicit World(const StoreOptions& options = Small()) : store(options, clock) {
    context.stats = store.stats().NewCell();
    context.now = clock.NowMs();
  }
  // Without background threads, so that nothing happens by itself.
  static StoreOptions Small() {
    StoreOptions options;
    options.background = false;
    options.threads = 1;
    options.hash_seed = 1;
    return options;
  }
  void Advance(uint64_t ms) {
    clock.Advance(ms);
    context.now = clock.NowMs();
  }

  ManualClock clock;
  Store store;
  OpContext context;
  FakeHost host;
  memcache::SessionOptions session_options;
};

// One client, and the connection that the server would have for it: keeps what a session did not
// take, and sends everything as soon as there is something.
class Client {
 public:
  enum class Dialect { kText, kBinary };

  // `piece`: how many bytes arrive at a time.
  explicit Client(World& world, size_t piece = std::string_view::npos,
                  Dialect dialect = Dialect::kText)
      : session_((dialect == Dialect::kText ? memcache::MakeSession : memcache::MakeBinarySession)(
            world.store, world.context, world.host, world.session_options)),
        piece_(piece) {}

  // Sends `bytes`; returns everything that was answered.
  std::string Ask(std::string_view bytes);
  // The same, behind what `answer` has.
  void Ask(std::string_view bytes, std::string& answer);
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool waiting() const { return waiting_; }
  // The most bytes that the session ever left behind, and the most that `out` held.
  [[nodiscard]] size_t most_kept() const { return most_kept_; }
  [[nodiscard]] size_t most_pending() const { return most_pending_; }
  [[nodiscard]] Session& session() { return *session_; }

 private:
  void Receive(std::string_view bytes, std::string& answer);
  void Run(std::string& answer);
  void Send(std::string& answer);

  std::unique_ptr<Session> session_;
  size_t piece_;
  std::unique_ptr<ReplyBuffer> out_ = std::make_unique<ReplyBuffer>();
  std::string kept_;
  bool uploading_ = false;
  bool waiting_ = false;
  bool closed_ = false;
  size_t most_kept_ = 0;
  size_t most_pending_ = 0;
};

// `text`, `n` times.
std::string Repeat(std::string_view text, size_t n);

}  // namespace larder::test
