#include "server/server.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/server/client.h"

namespace larder::server {
namespace {

// A whole server on any free loopback port, running in a thread of its own.
class RunningServer {
 public:
  explicit RunningServer(std::vector<std::string> args = {}) {
    args.insert(args.begin(), {"-p", "-1", "-l", "127.0.0.1", "-t", "2", "-m", "64"});
    ParsedCommandLine line = ParseCommandLine(args);
    INFO(line.err);
    REQUIRE(line.run);
    server = std::make_unique<Server>(std::move(line.options), clock,
                                      ServerTuning{.tick_ms = 5, .blocked_timeout_s = 60});
    const Refusal refusal = server->Start();
    INFO(refusal.text);
    REQUIRE_FALSE(refusal.refused());
    thread = std::thread([this] { server->Run(); });
  }
  ~RunningServer() { Stop(); }
  void Stop() {
    server->Stop();
    if (thread.joinable()) thread.join();
  }
  [[nodiscard]] TestClient Connect() const { return TestClient::Tcp(server->network().tcp_port()); }

  ManualClock clock;
  std::unique_ptr<Server> server;
  std::thread thread;
};

std::string Stat(const std::string& stats, const std::string& name) {
  const std::string start = "STAT " + name + " ";
  const size_t at = stats.find(start);
  if (at == std::string::npos) return "missing";
  const size_t from = at + start.size();
  return stats.substr(from, stats.find("\r\n", from) - from);
}

TEST_CASE("a server keeps values of every size and gives them back", "[server]") {
  RunningServer running;
  TestClient client = running.Connect();
  const size_t bytes = GENERATE(size_t{0}, size_t{1}, size_t{1000}, size_t{20'000}, size_t{300'000},
                                size_t{1'000'000});
  CAPTURE(bytes);
  std::string value(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) value[i] = static_cast<char>('a' + i * 7 % 26);
  const std::string size = std::to_string(bytes);
  REQUIRE(client.Ask("set key 5 0 " + size + "\r\n" + value + "\r\n") == "STORED\r\n");
  const std::string expected = "VALUE key 5 " + size + "\r\n" + value + "\r\nEND\r\n";
  REQUIRE(client.Send("get key\r\n"));
  CHECK(client.Read(expected.size()) == expected);
  // Again and again, faster than anybody reads.
  std::string many;
  for (int i = 0; i < 20; ++i) many += "get key\r\n";
  REQUIRE(client.Send(many));
  for (int i = 0; i < 20; ++i) CHECK(client.Read(expected.size()) == expected);
}

TEST_CASE("many uploads at the same time all succeed", "[server]") {
  RunningServer running;
  const std::string value(900'000, 'u');
  std::vector<TestClient> clients;
  clients.reserve(20);
  for (int i = 0; i < 20; ++i) clients.push_back(running.Connect());
  for (size_t i = 0; i < clients.size(); ++i) {
    REQUIRE(clients[i].Send("set k" + std::to_string(i) + " 0 0 900000\r\n" +
                            value.substr(0, 450'000)));
  }
  for (TestClient& client : clients) REQUIRE(client.Send(value.substr(450'000) + "\r\n"));
  for (TestClient& client : clients) CHECK(client.ReadUntil("\n") == "STORED\r\n");
}

TEST_CASE("a client that goes away in the middle of an upload leaves nothing", "[server]") {
  RunningServer running;
  for (int i = 0; i < 30; ++i) {
    TestClient client = running.Connect();
    REQUIRE(client.Send("set k 0 0 1000000\r\n" + std::string(500'000, 'x')));
  }
  TestClient after = running.Connect();
  CHECK(after.Ask("get k\r\n") == "END\r\n");
  const std::string value(900'000, 'y');
  CHECK(after.Ask("set k 0 0 900000\r\n" + value + "\r\n") == "STORED\r\n");
}

TEST_CASE("stats tell about the server around the cache", "[server]") {
  RunningServer running({"-c", "77", "-I", "2m"});
  TestClient client = running.Connect();
  const std::string stats = client.Ask("stats\r\n", "END\r\n");
  CHECK(Stat(stats, "pid") == std::to_string(getpid()));
  CHECK(Stat(stats, "max_connections") == "77");
  CHECK(Stat(stats, "curr_connections") == "1");
  CHECK(Stat(stats, "total_connections") == "2");
  CHECK(Stat(stats, "threads") == "2");
  CHECK(Stat(stats, "accepting_conns") == "1");
  const std::string settings = client.Ask("stats settings\r\n", "END\r\n");
  CHECK(Stat(settings, "maxconns") == "77");
  CHECK(Stat(settings, "item_size_max") == "2097152");
  CHECK(Stat(settings, "inter") == "127.0.0.1");
  CHECK(Stat(settings, "tcpport") == std::to_string(running.server->network().tcp_port()));
  const std::string conns = client.Ask("stats conns\r\n", "END\r\n");
  CHECK_THAT(conns, Catch::Contains(":state conn_listening\r\n"));
  CHECK_THAT(conns, Catch::Contains(":state conn_parse_cmd\r\n"));
  CHECK_THAT(conns, Catch::Contains(":listen_addr tcp:127.0.0.1:"));
  CHECK(client.Ask("verbosity 2\r\n") == "OK\r\n");
  CHECK(Stat(client.Ask("stats settings\r\n", "END\r\n"), "verbosity") == "2");
}

TEST_CASE("the uptime and expiry follow the server's clock", "[server]") {
  RunningServer running;
  TestClient client = running.Connect();
  REQUIRE(client.Ask("set k 0 10 1\r\nv\r\n") == "STORED\r\n");
  running.clock.Advance(9000);
  CHECK(client.Ask("get k\r\n", "END\r\n") == "VALUE k 0 1\r\nv\r\nEND\r\n");
  running.clock.Advance(2000);
  CHECK(client.Ask("get k\r\n", "END\r\n") == "END\r\n");
  CHECK(Stat(client.Ask("stats\r\n", "END\r\n"), "uptime") == "11");
}

TEST_CASE("idle_timeout reaches the clients, and is counted", "[server]") {
  RunningServer running({"-o", "idle_timeout=5"});
  TestClient idle = running.Connect();
  REQUIRE(idle.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  running.clock.Advance(6000);
  CHECK(idle.IsClosed());
  CHECK(Stat(running.Connect().Ask("stats\r\n", "END\r\n"), "idle_kicks") == "1");
}

TEST_CASE("two servers in one process know nothing of each other", "[server]") {
  RunningServer one;
  RunningServer two;
  TestClient a = one.Connect();
  TestClient b = two.Connect();
  REQUIRE(a.Ask("set k 0 0 1\r\na\r\n") == "STORED\r\n");
  CHECK(b.Ask("get k\r\n", "END\r\n") == "END\r\n");
  CHECK(Stat(b.Ask("stats\r\n", "END\r\n"), "cmd_set") == "0");
  one.Stop();
  CHECK(a.IsClosed());
  CHECK(b.Ask("version\r\n") == "VERSION 1.6.45\r\n");
}

TEST_CASE("a server on a unix socket has no TCP port", "[server]") {
  const std::string path =
      std::filesystem::temp_directory_path() / ("larder-server-" + std::to_string(getpid()));
  RunningServer running({"-s", path});
  CHECK(running.server->network().tcp_port() == 0);
  CHECK(running.server->PortLines().empty());
  TestClient client = TestClient::Unix(path);
  CHECK(client.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  CHECK_THAT(client.Ask("stats conns\r\n", "END\r\n"), Catch::Contains("unix:" + path));
  running.Stop();
  unlink(path.c_str());
}

TEST_CASE("the port of an address is its UDP port, whatever -U says", "[server][udp]") {
  Endpoint any;
  any.host = "127.0.0.1";
  any.port = 0;
  // Somebody has it for TCP, where -p 0 leaves it alone.
  const auto taken = Listen(any, 1);
  REQUIRE(taken.ok());
  const int port = taken->front().port;
  RunningServer running({"-p", "0", "-U", "-1", "-l", "127.0.0.1:" + std::to_string(port)});
  CHECK(running.server->network().sockets().empty());
  const auto& addresses = running.server->network().datagram_addresses();
  REQUIRE(addresses.size() == 2);
  CHECK(addresses[0].port != port);  // of -l 127.0.0.1
  CHECK(addresses[1].port == port);
}

TEST_CASE("the ports file names each listening socket", "[server]") {
  RunningServer running;
  CHECK(running.server->PortLines() ==
        "TCP INET: " + std::to_string(running.server->network().tcp_port()) + "\n");
}

TEST_CASE("stopping with requests in flight answers them", "[server]") {
  RunningServer running;
  TestClient client = running.Connect();
  REQUIRE(client.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  REQUIRE(client.Send("set k 0 0 1\r\nv\r\nget k\r\n"));
  running.Stop();
  CHECK(client.ReadAll() == "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
}

}  // namespace
}  // namespace larder::server
