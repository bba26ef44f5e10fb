#include "server/network.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/server/runner.h"

namespace larder::server {
namespace {

NetworkOptions WithThreads(int threads) {
  NetworkOptions options;
  options.threads = threads;
  return options;
}

TEST_CASE("a pipeline is answered in order, whatever its size", "[server][connection]") {
  Runner runner(WithThreads(2));
  TestClient client = runner.Connect();
  std::string requests;
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    requests += "echo " + std::to_string(i) + "\n";
    expected += std::to_string(i) + "\n";
  }
  std::thread writer([&] { client.Send(requests); });
  CHECK(client.Read(expected.size()) == expected);
  writer.join();
  CHECK(runner.Count(ThreadCounter::bytes_read) == requests.size());
  CHECK(runner.Eventually(
      [&] { return runner.Count(ThreadCounter::bytes_written) == expected.size(); }));
}

TEST_CASE("a request that comes byte by byte is answered once", "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  for (const char c : std::string("echo slow\nec")) CHECK(client.Send(std::string(1, c)));
  CHECK(client.ReadUntil("\n") == "slow\n");
  CHECK(client.Ask("ho again\n") == "again\n");
}

TEST_CASE("a client has no session before its first byte, and then the one that byte chooses",
          "[server][connection]") {
  std::atomic<int> made{0};
  std::string seen;
  ClientInfo info;
  NetworkOptions options;
  options.endpoints.push_back({.host = "127.0.0.1", .port = 0, .unix_path = {}});
  options.endpoints.push_back(
      {.host = "127.0.0.1", .port = 0, .unix_path = {}, .protocol = BindingProtocol::kAscii});
  Runner runner(std::move(options),
                [&](OpContext&, const ClientInfo& client,
                    std::string_view first_bytes) -> std::unique_ptr<Session> {
                  seen = first_bytes;
                  info = client;
                  if (++made == 3) return nullptr;
                  return std::make_unique<FakeSession>();
                });
  TestClient silent = runner.Connect();
  TestClient client = runner.Connect();
  CHECK(client.Ask("echo a\n") == "a\n");
  CHECK(seen == "echo a\n");
  CHECK(client.Ask("echo b\n") == "b\n");
  CHECK(made == 1);
  CHECK(info.listener == 0);
  CHECK(info.protocol == BindingProtocol::kAuto);
  CHECK(info.transport == Transport::kTcp);
  TestClient other = TestClient::Tcp(runner.network->sockets()[1].port);
  CHECK(other.Ask("echo c\n") == "c\n");
  CHECK(made == 2);
  CHECK(info.listener == 1);
  CHECK(info.protocol == BindingProtocol::kAscii);
  CHECK(silent.Send("\x80"));
  CHECK(silent.IsClosed());
  CHECK(made == 3);
}

TEST_CASE("a half-closed client still gets all its replies", "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  REQUIRE(client.Send("big 3000000\nbig 3000000\necho end\n"));
  client.EndOutput();
  const std::string all = client.ReadAll();
  CHECK(all.size() == 6'000'004);
  CHECK(all.ends_with("end\n"));
}

TEST_CASE("a client that does not read costs a bounded amount, and gets everything when it does",
          "[server][connection]") {
  Runner runner;
  TestClient slow = runner.Connect();
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += "big 100000\n";
  REQUIRE(slow.Send(requests));
  // Others are served meanwhile, by the same worker.
  TestClient other = runner.Connect();
  for (int i = 0; i < 100; ++i) REQUIRE(other.Ask("echo x\n") == "x\n");
  CHECK(runner.Eventually([&] { return runner.network->reply_buffers() == 1; }));
  CHECK(slow.Read(20'000'000).size() == 20'000'000);
  CHECK(slow.Ask("echo done\n") == "done\n");
  CHECK(runner.Eventually([&] { return runner.network->reply_buffers() == 0; }));
}

TEST_CASE("a client whose output stands still for too long is dropped", "[server][connection]") {
  NetworkOptions options;
  options.worker.blocked_timeout_s = 60;
  Runner runner(options);
  TestClient slow = runner.Connect();
  REQUIRE(slow.Send("big 50000000\n"));
  REQUIRE(runner.Eventually([&] { return runner.network->reply_buffers() == 1; }));
  REQUIRE(runner.network->clients().current == 1);
  // The kernel's buffers have filled up once the counter stands.
  REQUIRE(runner.Eventually([&] {
    runner.clock.Advance(61'000);
    std::this_thread::yield();
    return runner.network->clients().current == 0;
  }));
  CHECK(slow.ReadAll().size() < 50'000'000);
}

TEST_CASE("patience with stuck replies ends sooner when there are many of them",
          "[server][connection]") {
  NetworkOptions options;
  options.worker.crowd = 1;
  Runner runner(options);
  TestClient one = runner.Connect();
  REQUIRE(one.Send("big 50000000\n"));
  REQUIRE(runner.Eventually([&] { return runner.network->reply_buffers() == 1; }));
  runner.clock.Advance(10'000);
  TestClient two = runner.Connect();
  REQUIRE(two.Send("big 50000000\n"));
  CHECK(runner.Eventually([&] {
    runner.clock.Advance(3000);
    std::this_thread::yield();
    return runner.network->clients().current < 2;
  }));
}

TEST_CASE("an upload goes straight to its place, cut wherever the network cuts",
          "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  const size_t bytes =
      GENERATE(size_t{1}, size_t{999}, size_t{1000}, size_t{1001}, size_t{300'000});
  CAPTURE(bytes);
  const std::string value(bytes, 'v');
  REQUIRE(client.Send("up " + std::to_string(bytes) + "\n" + value.substr(0, bytes / 2)));
  REQUIRE(client.Send(value.substr(bytes / 2) + "echo behind\n"));
  CHECK(client.ReadUntil("behind\n") == "got\nbehind\n");
}

TEST_CASE("a session that waits for memory is asked again", "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  CHECK(client.Ask("echo a\nwait 5\necho b\n", "b\n") == "a\nwaited\nb\n");
}

TEST_CASE("a client that leaves while its session waits is forgotten", "[server][connection]") {
  Runner runner;
  {
    TestClient client = runner.Connect();
    REQUIRE(client.Send("wait 3\necho b\n"));
  }
  CHECK(runner.Eventually([&] { return runner.network->clients().current == 0; }));
}

TEST_CASE("quit sends what is pending, then closes", "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  REQUIRE(client.Send("big 5000000\nquit\necho never\n"));
  CHECK(client.ReadAll().size() == 5'000'000);
}

TEST_CASE("a line longer than a session may leave closes the connection", "[server][connection]") {
  Runner runner;
  TestClient client = runner.Connect();
  client.Send(std::string(200'000, 'a'));
  CHECK(client.ReadAll().empty());
}

TEST_CASE("exactly as many clients as allowed are served, and the next is told",
          "[server][acceptor]") {
  NetworkOptions options = WithThreads(2);
  options.acceptor.max_clients = 5;
  Runner runner(options);
  std::vector<TestClient> served;
  for (int i = 0; i < 5; ++i) {
    served.push_back(runner.Connect());
    REQUIRE(served.back().Ask("echo in\n") == "in\n");
  }
  TestClient refused = runner.Connect();
  CHECK(refused.ReadAll() == "ERROR Too many open connections\r\n");
  CHECK(runner.network->clients().rejected == 1);
  CHECK(served[0].Ask("echo still\n") == "still\n");
  served.pop_back();
  REQUIRE(runner.Eventually([&] { return runner.network->clients().current == 4; }));
  CHECK(runner.Connect().Ask("echo place\n") == "place\n");
}

TEST_CASE("without maxconns_fast a client waits until there is a place", "[server][acceptor]") {
  NetworkOptions options;
  options.acceptor.max_clients = 1;
  options.acceptor.refuse_at_limit = false;
  Runner runner(options);
  TestClient first = runner.Connect();
  REQUIRE(first.Ask("echo 1\n") == "1\n");
  TestClient second = runner.Connect();  // by the kernel
  REQUIRE(second.Send("echo 2\n"));
  REQUIRE(runner.Eventually([&] { return !runner.network->clients().accepting; }));
  CHECK(runner.network->clients().disabled == 1);
  first.Close();
  CHECK(second.ReadUntil("\n") == "2\n");
  CHECK(runner.network->clients().rejected == 0);
}

TEST_CASE("out of descriptors a client is told, and accepting goes on", "[server][acceptor]") {
  std::atomic<int> complaints{0};
  NetworkOptions options;
  options.acceptor.on_no_descriptors = [&] { ++complaints; };
  Runner runner(options);
  TestClient before = runner.Connect();
  REQUIRE(before.Ask("echo in\n") == "in\n");
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  const UniqueFd probe(dup(before.fd()));
  // One more descriptor for the client's end, none for the server's.
  const rlimit tight{static_cast<rlim_t>(probe.get()) + 2, old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  TestClient late = runner.Connect();
  const std::string told = late.ReadAll();
  late.Close();
  TestClient later = runner.Connect();
  const std::string told_again = later.ReadAll();
  REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(told == "ERROR Too many open connections\r\n");
  CHECK(told_again == told);
  CHECK(runner.network->clients().rejected == 2);
  CHECK(complaints == 1);  // and not one a client
  CHECK(before.Ask("echo still\n") == "still\n");
  CHECK(runner.Connect().Ask("echo again\n") == "again\n");
}

TEST_CASE("idle clients are dropped after idle_timeout, busy ones are not", "[server][worker]") {
  NetworkOptions options;
  options.worker.idle_timeout_s = 10;
  Runner runner(options);
  TestClient idle = runner.Connect();
  TestClient busy = runner.Connect();
  REQUIRE(idle.Ask("echo a\n") == "a\n");
  for (int i = 0; i < 4; ++i) {
    runner.clock.Advance(4000);
    REQUIRE(busy.Ask("echo b\n") == "b\n");
  }
  CHECK(idle.IsClosed());
  CHECK(runner.Count(ThreadCounter::idle_kicks) == 1);
  CHECK(busy.Ask("echo c\n") == "c\n");
}

TEST_CASE("an idle_timeout longer than the wheel reaches still holds", "[server][worker]") {
  NetworkOptions options;
  options.worker.idle_timeout_s = 300;
  Runner runner(options);
  TestClient idle = runner.Connect();
  TestClient other = runner.Connect();
  REQUIRE(idle.Ask("echo a\n") == "a\n");
  for (int i = 0; i < 5; ++i) {
    runner.clock.Advance(59'000);
    REQUIRE(other.Ask("echo b\n") == "b\n");
  }
  CHECK(runner.Count(ThreadCounter::idle_kicks) == 0);
  CHECK(runner.network->clients().current == 2);
  runner.clock.Advance(10'000);
  CHECK(idle.IsClosed());
}

TEST_CASE("a clock that is moved back drops nobody", "[server][worker]") {
  NetworkOptions options;
  options.worker.idle_timeout_s = 10;
  Runner runner(options);
  runner.clock.Advance(100'000);
  TestClient early = runner.Connect();
  REQUIRE(early.Ask("echo a\n") == "a\n");
  runner.clock.MoveBack(50'000);
  // Its end shows that all have been looked at since.
  TestClient late = runner.Connect();
  REQUIRE(late.Ask("echo b\n") == "b\n");
  runner.clock.Advance(12'000);
  CHECK(late.IsClosed());
  CHECK(early.Ask("echo c\n") == "c\n");
  CHECK(runner.Count(ThreadCounter::idle_kicks) == 1);
}

TEST_CASE("stopping answers what was sent before, and closes", "[server][network]") {
  Runner runner(WithThreads(2));
  std::vector<TestClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(runner.Connect());
    REQUIRE(clients.back().Ask("echo in\n") == "in\n");
  }
  for (TestClient& client : clients) REQUIRE(client.Send("echo last\n"));
  runner.Stop();
  for (TestClient& client : clients) CHECK(client.ReadAll() == "last\n");
  CHECK(runner.network->clients().current == 0);
}

TEST_CASE("stopping does not wait long for a client that does not read", "[server][network]") {
  NetworkOptions options;
  options.worker.drain_ms = 50;
  Runner runner(options);
  TestClient slow = runner.Connect();
  REQUIRE(slow.Send("big 50000000\n"));
  REQUIRE(runner.Eventually([&] { return runner.network->reply_buffers() == 1; }));
  const auto start = std::chrono::steady_clock::now();
  runner.Stop();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("a unix socket has its mode, and replaces an old one", "[server][network]") {
  const std::string path =
      std::filesystem::temp_directory_path() / ("larder-test-" + std::to_string(getpid()));
  for (int i = 0; i < 2; ++i) {  // the first one leaves its file behind
    NetworkOptions options;
    options.endpoints.push_back({.host = {}, .port = 0, .unix_path = path, .unix_mode = 0640});
    Runner runner(options);
    struct stat info {};
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0640);
    TestClient client = TestClient::Unix(path);
    CHECK(client.Ask("echo unix\n") == "unix\n");
    CHECK(DescribeSocket(client.fd(), false) == "unix:" + path);
  }
  unlink(path.c_str());
}

TEST_CASE("two networks live in one process", "[server][network]") {
  Runner one;
  Runner two(WithThreads(2));
  CHECK(one.network->tcp_port() != two.network->tcp_port());
  CHECK(one.Connect().Ask("echo 1\n") == "1\n");
  CHECK(two.Connect().Ask("echo 2\n") == "2\n");
  one.Stop();
  CHECK(two.Connect().Ask("echo 3\n") == "3\n");
}

TEST_CASE("a busy port is an error that names the place", "[server][network]") {
  Runner runner;
  NetworkOptions options;
  options.endpoints.push_back(
      {.host = "127.0.0.1", .port = runner.network->tcp_port(), .unix_path = {}});
  Network second(options, runner.clock, runner.stats, MakeFakeSession);
  const auto status = second.Bind();
  REQUIRE_FALSE(status.ok());
  const std::string text(status.message().data(), status.message().size());
  CHECK(text.starts_with(
      "failed to listen on one of interface(s) 127.0.0.1: Address already in use"));
}

TEST_CASE("many quick clients leave nothing behind", "[server][network]") {
  Runner runner(WithThreads(2));
  for (int i = 0; i < 500; ++i) {
    TestClient client = runner.Connect();
    REQUIRE(client.connected());
    if (i % 3 != 0) REQUIRE(client.Ask("echo x\n") == "x\n");
  }
  CHECK(runner.Eventually([&] { return runner.network->clients().current == 0; }));
  CHECK(runner.Eventually([&] { return runner.network->clients().total == 500; }));
}

TEST_CASE("connections are described from any thread while they come and go", "[server][network]") {
  Runner runner(WithThreads(2));
  TestClient client = runner.Connect();
  REQUIRE(client.Ask("echo x\n") == "x\n");
  std::thread churn([&] {
    for (int i = 0; i < 200; ++i) runner.Connect().Ask("echo y\n");
  });
  bool always_there = true;
  for (int i = 0; i < 200; ++i) always_there &= !runner.network->Connections().empty();
  churn.join();
  CHECK(always_there);
  REQUIRE(runner.Eventually([&] { return runner.network->Connections().size() == 1; }));
  CHECK(runner.network->Connections()[0].state == ConnectionState::kRead);
}

}  // namespace
}  // namespace larder::server
