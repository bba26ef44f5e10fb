#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "server/tls_credentials.h"
#include "tests/server/runner.h"
#include "tests/server/tls_client.h"

namespace larder::server {
namespace {

// A Runner whose only listener speaks TLS.
struct TlsRunner {
  explicit TlsRunner(NetworkOptions options = {}) {
    tls_options.enabled = true;
    tls_options.chain_cert = certificate.path();
    credentials = std::make_unique<TlsCredentials>(tls_options, clock);
    REQUIRE(credentials->Load().ok());
    options.tls = credentials.get();
    Endpoint endpoint;
    endpoint.host = "127.0.0.1";
    endpoint.port = 0;
    endpoint.tls = PeerCheck::kNone;
    options.endpoints.push_back(std::move(endpoint));
    runner.emplace(std::move(options));
  }
  [[nodiscard]] int port() const { return runner->network->tcp_port(); }
  [[nodiscard]] uint64_t clients() const { return runner->network->clients().current; }

  ManualClock clock;
  TestCertificate certificate;
  TlsOptions tls_options;
  std::unique_ptr<TlsCredentials> credentials;
  std::optional<Runner> runner;
};

std::string Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST_CASE("a TLS client is served, wherever the network cuts", "[server][tls]") {
  TlsRunner tls;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const size_t piece = GENERATE(size_t{1}, size_t{7}, size_t{100'000});
  CAPTURE(version, piece);
  TlsClient client(tls.port(), version);
  REQUIRE(client.ShakeHands(piece));
  REQUIRE(client.Send("echo a\necho", piece));
  CHECK(client.ReadUntil("\n") == "a\n");
  REQUIRE(client.Send(" b\nup 5000\n" + std::string(5000, 'v') + "echo c\n", piece));
  CHECK(client.ReadUntil("c\n") == "b\ngot\nc\n");
  REQUIRE(client.Send("quit\n"));
  CHECK(client.ReadAll().empty());
  CHECK(client.was_told_the_end());
}

TEST_CASE("more records than fit a turn are all answered, without another byte from the network",
          "[server][tls]") {
  TlsRunner tls;
  TlsClient client(tls.port());
  REQUIRE(client.ShakeHands());
  std::string requests;
  std::string expected;
  std::string wire;
  for (int i = 0; i < 60'000; ++i) {
    requests += "echo " + std::to_string(i) + "\n";
    expected += std::to_string(i) + "\n";
    // Records of many sizes, up to the largest.
    if (requests.size() > static_cast<size_t>(i % 17) * 1000) {
      wire += client.Encrypt(requests);
      requests.clear();
    }
  }
  wire += requests.empty() ? "" : client.Encrypt(requests);
  std::thread writer([&] { client.socket().Send(wire); });
  CHECK(client.Read(expected.size()) == expected);
  writer.join();
}

TEST_CASE(
    "a TLS client that does not read costs a bounded amount, and gets everything when it does",
    "[server][tls]") {
  TlsRunner tls;
  TlsClient slow(tls.port());
  REQUIRE(slow.ShakeHands());
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += "echo small\nbig 100000\n";
  REQUIRE(slow.Send(requests));
  TlsClient other(tls.port());
  REQUIRE(other.ShakeHands());
  for (int i = 0; i < 100; ++i) REQUIRE(other.Ask("echo x\n") == "x\n");
  CHECK(tls.runner->Eventually([&] { return tls.runner->network->reply_buffers() == 1; }));
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += "small\n" + std::string(100'000, 'x');
  CHECK(slow.Read(expected.size()) == expected);
  CHECK(slow.Ask("echo done\n") == "done\n");
}

TEST_CASE("a half-closed TLS client still gets all its replies", "[server][tls]") {
  TlsRunner tls;
  TlsClient client(tls.port());
  REQUIRE(client.ShakeHands());
  REQUIRE(client.Send("big 3000000\nbig 3000000\necho end\n"));
  client.socket().EndOutput();
  const std::string all = client.ReadAll();
  CHECK(all.size() == 6'000'004);
  CHECK(all.ends_with("end\n"));
}

TEST_CASE("a handshake that stands still is dropped, and counted", "[server][tls]") {
  TlsRunner tls;
  TlsClient silent(tls.port());
  TlsClient half(tls.port());
  const std::string hello = half.Begin();
  REQUIRE(half.socket().Send(hello.substr(0, hello.size() / 2)));
  TlsClient whole(tls.port());
  REQUIRE(whole.ShakeHands());
  REQUIRE(whole.Ask("echo a\n") == "a\n");
  REQUIRE(tls.runner->Eventually([&] { return tls.clients() == 3; }));
  // One byte now and then does not help.
  for (size_t i = 0; i < 10; ++i) {
    tls.runner->clock.Advance(2500);
    half.socket().Send(hello.substr(hello.size() / 2 + i, 1));
    std::this_thread::yield();
  }
  CHECK(silent.socket().IsClosed());
  CHECK(half.socket().IsClosed());
  CHECK(tls.runner->Eventually(
      [&] { return tls.runner->Count(ThreadCounter::ssl_handshake_errors) == 2; }));
  CHECK(whole.Ask("echo b\n") == "b\n");
}

TEST_CASE("what is no handshake is told so and dropped", "[server][tls]") {
  TlsRunner tls;
  TestClient plain = TestClient::Tcp(tls.port());
  constexpr std::string_view kNonsense("\x16\x03\x01\x00\x05hello, this is no TLS at all\n", 34);
  REQUIRE(plain.Send(kNonsense));
  const std::string answer = plain.ReadAll();
  CHECK(answer.substr(0, 1) == "\x15");  // an alert
  CHECK(tls.runner->Count(ThreadCounter::ssl_handshake_errors) == 1);
  CHECK(tls.runner->Eventually([&] { return tls.clients() == 0; }));
}

TEST_CASE("a client that only looks whether somebody is there is no error", "[server][tls]") {
  TlsRunner tls;
  TestClient::Tcp(tls.port()).Close();
  CHECK(tls.runner->Eventually([&] { return tls.runner->network->clients().total == 1; }));
  CHECK(tls.runner->Eventually([&] { return tls.clients() == 0; }));
  CHECK(tls.runner->Count(ThreadCounter::ssl_handshake_errors) == 0);
}

TEST_CASE("idle TLS clients are dropped after idle_timeout, and told", "[server][tls]") {
  NetworkOptions options;
  options.worker.idle_timeout_s = 10;
  TlsRunner tls(std::move(options));
  TlsClient idle(tls.port());
  REQUIRE(idle.ShakeHands());
  REQUIRE(idle.Ask("echo a\n") == "a\n");
  tls.runner->clock.Advance(11'000);
  CHECK(idle.ReadAll().empty());
  CHECK(idle.was_told_the_end());
  CHECK(tls.runner->Count(ThreadCounter::idle_kicks) == 1);
}

TEST_CASE("stopping answers what TLS clients sent before, and says goodbye", "[server][tls]") {
  TlsRunner tls;
  TlsClient client(tls.port());
  REQUIRE(client.ShakeHands());
  REQUIRE(client.Ask("echo in\n") == "in\n");
  TlsClient half(tls.port());
  REQUIRE(half.socket().Send(half.Begin().substr(0, 50)));
  REQUIRE(client.Send("echo last\n"));
  tls.runner->Stop();
  CHECK(client.ReadAll() == "last\n");
  CHECK(client.was_told_the_end());
}

TEST_CASE("a reload counts for those that come after it", "[server][tls]") {
  TlsRunner tls;
  TlsClient before(tls.port());
  REQUIRE(before.ShakeHands());
  tls.clock.Advance(5000);
  CHECK(tls.credentials->SecondsSinceLoad() == 5);
  const TestCertificate other;
  std::filesystem::copy_file(other.path(), tls.certificate.path(),
                             std::filesystem::copy_options::overwrite_existing);
  REQUIRE(tls.credentials->Load().ok());
  CHECK(tls.credentials->SecondsSinceLoad() == 0);
  TlsClient after(tls.port());
  REQUIRE(after.ShakeHands());
  CHECK(after.Ask("echo new\n") == "new\n");
  CHECK(before.Ask("echo old\n") == "old\n");
  std::ofstream(tls.certificate.path(), std::ios::trunc) << "nothing\n";
  CHECK_FALSE(tls.credentials->Load().ok());
  TlsClient still(tls.port());
  CHECK(still.ShakeHands());
}

TEST_CASE("certificates that cannot be used are named, with the reason", "[server][tls]") {
  const TestCertificate good;
  const TestCertificate other;
  TlsOptions options;
  options.chain_cert = good.path();
  REQUIRE(TlsContext::Load(options).ok());
  std::string expected;
  SECTION("no such file") {
    options.chain_cert = "/no/such/file";
    expected = "Error loading the certificate chain: /no/such/file: No such file or directory";
  }
  SECTION("no such key") {
    options.key = "/no/such/key";
    expected = "Error loading the key: /no/such/key: No such file or directory";
  }
  SECTION("the key of another certificate") {
    options.key = other.path();
    expected = "key values mismatch";
  }
  SECTION("a key in another format") {
    options.key_is_der = true;
    expected = "Error loading the key: " + good.path();
  }
  SECTION("no such authority") {
    options.ca_cert = "/no/such/ca";
    expected = "Error loading the CA certificate: /no/such/ca: No such file or directory";
  }
  SECTION("ciphers that nobody knows") {
    options.ciphers = "klingon";
    expected = "Error setting the provided cipher(s): klingon";
  }
  SECTION("new ciphers that nobody knows") {
    options.ciphers = "ECDHE+AESGCM:TLS_KLINGON";
    expected = "Error setting the provided cipher(s): ECDHE+AESGCM:TLS_KLINGON";
  }
  const auto loaded = TlsContext::Load(options);
  REQUIRE_FALSE(loaded.ok());
  const std::string text = Message(loaded.status());
  CHECK_THAT(text, Catch::Contains(expected));
  CHECK(text.find('\n') == std::string::npos);
}

}  // namespace
}  // namespace larder::server
