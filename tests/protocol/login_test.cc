#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "protocol/memcache/auth.h"
#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/text_login.h"
#include "tests/protocol/binary.h"
#include "tests/protocol/fixture.h"

using namespace larder;
using namespace larder::memcache;
using test::Request;
using test::Show;
using test::World;

namespace {

constexpr size_t kAll = std::string_view::npos;
constexpr auto kBinary = test::Client::Dialect::kBinary;

// ASK wants to be asked once more; WAIT never ends.
class FakeExchange final : public SaslExchange {
 public:
  explicit FakeExchange(std::string_view mechanism) : mechanism_(mechanism) {}
  SaslResult Step(std::string_view message, std::string* challenge) override {
    if (mechanism_ == "WAIT" || (mechanism_ == "ASK" && steps_++ == 0)) {
      *challenge = "who?";
      return SaslResult::kContinue;
    }
    return message == "joe/secret" ? SaslResult::kAdmitted : SaslResult::kFailed;
  }

 private:
  std::string mechanism_;
  int steps_ = 0;
};

class FakeAuthenticator final : public Authenticator {
 public:
  bool Knows(std::string_view user, std::string_view password) override {
    return user == "joe" && password == "secret";
  }
  std::string Mechanisms() override { return "PLAIN ASK WAIT"; }
  std::unique_ptr<SaslExchange> BeginSasl(std::string_view mechanism) override {
    if (mechanism == "NONE") return nullptr;
    return std::make_unique<FakeExchange>(mechanism);
  }
};

struct GuardedWorld : World {
  GuardedWorld() { session_options.authenticator = &authenticator; }
  [[nodiscard]] uint64_t Counter(ThreadCounter counter) {
    return (*store.stats().Totals())[counter];
  }
  FakeAuthenticator authenticator;
};

size_t Piece() { return GENERATE(as<size_t>{}, 1, 5, 100'000); }

const std::string kLogin = "set auth 0 0 10\r\njoe secret\r\n";
const std::string kWrong = "set auth 0 0 9\r\njoe wrong\r\n";
const std::string kFailure = "CLIENT_ERROR authentication failure\r\n";
const std::string kOutside = "CLIENT_ERROR unauthenticated\r\n";

const Request kGet{0x00, "a"};
const Request kSet{0x01, "a", "v", test::StoreExtras(0, 0)};
const Request kVersionRequest{0x0b};
Request Auth(const std::string& mechanism, const std::string& message) {
  return {0x21, mechanism, message};
}
Request StepWith(const std::string& message) { return {0x22, "ASK", message}; }
const Request kGood = Auth("PLAIN", "joe/secret");
const Request kBad = Auth("PLAIN", "joe/wrong");

std::string Ask(test::Client& client, const std::vector<Request>& requests) {
  std::string bytes;
  for (const Request& one : requests) bytes += one.Bytes();
  return Show(client.Ask(bytes));
}

}  // namespace

TEST_CASE("a text client says who it is before anything else", "[login][memcache]") {
  GuardedWorld world;
  test::Client client(world, Piece());
  CHECK(client.Ask("get a\r\n") == kOutside);
  CHECK(client.Ask("version\r\n") == kOutside);
  CHECK(client.Ask("set a 0 0 x\r\n") == kOutside);
  CHECK(client.Ask("add a 0 0 10\r\njoe secret\r\n") == kOutside + kOutside);
  CHECK(client.Ask("set a 0 0 3\r\njoe\r\n") == "CLIENT_ERROR bad authentication token format\r\n");
  CHECK(client.Ask("set a 0 0 8\r\njoe secretx") ==
        "CLIENT_ERROR bad command line termination\r\n");
  CHECK(client.Ask("secretx\r\n") == kOutside);
  CHECK(client.Ask(kWrong) == kFailure);
  CHECK(client.Ask("version\r\n") == kOutside);
  CHECK(world.Counter(ThreadCounter::auth_cmds) == 1);
  CHECK(world.Counter(ThreadCounter::auth_errors) == 1);
  // Key, flags, time and further words are anything.
  CHECK(client.Ask("set x y z 14 noreply\r\njoe secret a b\r\nget auth\r\n") ==
        "STORED\r\nEND\r\n");
  CHECK(client.Ask("set a 0 0 1\r\nv\r\nget a\r\n") == "STORED\r\nVALUE a 0 1\r\nv\r\nEND\r\n");
  CHECK(world.Counter(ThreadCounter::auth_cmds) == 2);
  CHECK(client.session().idle());
}

TEST_CASE("what no login can be ends an unauthenticated text client", "[login][memcache]") {
  GuardedWorld world;
  test::Client client(world, Piece());
  SECTION("a line too short") { CHECK(client.Ask("mn\r\n").empty()); }
  SECTION("2 KB without a line end") { CHECK(client.Ask(std::string(2049, 'x')).empty()); }
  SECTION("a token too long, of which nothing is read") {
    CHECK(client.Ask("set a 0 0 16385\r\n" + std::string(100, 'x')) ==
          "CLIENT_ERROR auth token too long\r\n");
  }
  SECTION("a size that only an upload could have") {
    CHECK(client.Ask("set a 0 0 4294967295\r\n") == "CLIENT_ERROR auth token too long\r\n");
  }
  CHECK(client.closed());
  CHECK(client.Ask(kLogin).empty());
}

TEST_CASE("the largest token fits, and is not kept longer than it takes", "[login][memcache]") {
  GuardedWorld world;
  test::Client client(world, Piece());
  CHECK(client.Ask("set a 0 0 16384\r\n" + std::string(16384, 'x') + "\r\n") ==
        "CLIENT_ERROR bad authentication token format\r\n");
  CHECK(client.most_kept() <= Session::kMaxPending);
  CHECK(client.Ask(kLogin) == "STORED\r\n");
}

TEST_CASE("a client that fails too often is closed, also a text client", "[login]") {
  GuardedWorld world;
  test::Client client(world);
  std::string all;
  for (int i = 0; i < 20; ++i) all += kWrong;
  CHECK(client.Ask(all + kLogin) == test::Repeat(kFailure, FailureLimit::kPerClient));
  CHECK(client.closed());
}

TEST_CASE("many failures in a second cost every further one its connection", "[login]") {
  GuardedWorld world;
  for (uint32_t i = 1; i < FailureLimit::kPerSecond; ++i) {
    test::Client client(world);
    CHECK(client.Ask(kWrong) == kFailure);
    CHECK_FALSE(client.closed());
  }
  {
    test::Client client(world);
    CHECK(client.Ask(kWrong) == kFailure);
    CHECK(client.closed());
  }
  // Nobody who knows the password is kept out.
  test::Client good(world);
  CHECK(good.Ask(kLogin) == "STORED\r\n");
  world.Advance(1000);
  test::Client later(world);
  CHECK(later.Ask(kWrong) == kFailure);
  CHECK_FALSE(later.closed());
}

TEST_CASE("before it is known, a binary client may ask for versions and mechanisms only",
          "[login][binary]") {
  for (int opcode = 0; opcode < 256; ++opcode) {
    GuardedWorld world;
    test::Client client(world, kAll, kBinary);
    const auto* row = FindBinaryCommand(static_cast<uint8_t>(opcode));
    Request request{static_cast<uint8_t>(opcode)};
    if (row != nullptr) request.extras.assign(row->extras_bytes, '\0');
    if (row != nullptr && row->key != KeyShape::kNone) request.key = "NONE";
    const std::string answer = Ask(client, {request, kVersionRequest});
    CAPTURE(opcode, answer);
    if (opcode == 0x0b || opcode == 0x20 || opcode == 0x21 || opcode == 0x22) {
      CHECK_FALSE(client.closed());
      CHECK_THAT(answer, Catch::EndsWith("0b:0 1.6.45\n"));
    } else {
      CHECK(client.closed());
      CHECK_THAT(answer, Catch::EndsWith(":20 Auth failure.\n"));
    }
    CHECK(world.store.Info().items == 0);
  }
}

TEST_CASE("an unknown binary client's upload is refused before it begins", "[login][binary]") {
  GuardedWorld world;
  test::Client client(world, kAll, kBinary);
  const Request large{0x01, "a", std::string(500'000, 'v'), test::StoreExtras(0, 0)};
  CHECK(Ask(client, {large}) == "01:20 Auth failure.\n");
  CHECK(client.closed());
  CHECK(world.store.Info().items == 0);
}

TEST_CASE("SASL lets a binary client in", "[login][binary]") {
  GuardedWorld world;
  test::Client client(world, Piece(), kBinary);
  CHECK(Ask(client, {{0x20}}) == "20:0 PLAIN ASK WAIT\n");
  SECTION("with the first message") {
    CHECK(Ask(client, {kGood, kSet, kGet}) == "21:0 Authenticated\n01:0\n00:0 e=00000000 v\n");
  }
  SECTION("with a second one") {
    CHECK(Ask(client, {Auth("ASK", ""), StepWith("joe/secret"), kSet}) ==
          "21:21 who?\n22:0 Authenticated\n01:0\n");
    CHECK(world.Counter(ThreadCounter::auth_cmds) == 2);
    CHECK(world.Counter(ThreadCounter::auth_errors) == 0);
  }
  SECTION("after it failed") {
    CHECK(Ask(client, {kBad, Auth("NONE", "x"), kGood, kSet}) ==
          "21:20 Auth failure.\n21:20 Auth failure.\n21:0 Authenticated\n01:0\n");
    CHECK(world.Counter(ThreadCounter::auth_cmds) == 3);
    CHECK(world.Counter(ThreadCounter::auth_errors) == 2);
  }
  CHECK_FALSE(client.closed());
}

// CVE-2013-7239: a client that had failed once could go on as if it had not.
TEST_CASE("whatever fails leaves a binary client outside", "[login][binary][cve]") {
  GuardedWorld world;
  test::Client client(world, Piece(), kBinary);
  const std::string refused = "00:20 Auth failure.\n";
  SECTION("a wrong password") {
    CHECK(Ask(client, {kBad, kGet}) == "21:20 Auth failure.\n" + refused);
  }
  SECTION("a step without a beginning") {
    CHECK(Ask(client, {StepWith("joe/secret"), kGet}) == "22:20 Auth failure.\n" + refused);
  }
  SECTION("an exchange not yet over") {
    CHECK(Ask(client, {Auth("WAIT", "joe/secret"), kGet}) == "21:21 who?\n" + refused);
  }
  SECTION("the second step after a first that failed") {
    CHECK(Ask(client, {Auth("ASK", ""), StepWith("x"), StepWith("joe/secret"), kGet}) ==
          "21:21 who?\n22:20 Auth failure.\n22:20 Auth failure.\n" + refused);
  }
  SECTION("another beginning, for one that was inside") {
    CHECK(Ask(client, {kGood, kBad, kGet}) ==
          "21:0 Authenticated\n21:20 Auth failure.\n" + refused);
  }
  SECTION("a step, for one that was inside") {
    CHECK(Ask(client, {kGood, StepWith("x"), kGet}) ==
          "21:0 Authenticated\n22:20 Auth failure.\n" + refused);
  }
  CHECK(client.closed());
}

TEST_CASE("a name of a mechanism has at most 32 bytes, a message 16 KiB", "[login][binary]") {
  GuardedWorld world;
  test::Client client(world, Piece(), kBinary);
  CHECK(Ask(client, {Auth(std::string(33, 'M'), "x"), kVersionRequest}) ==
        "21:4 Invalid arguments\n0b:0 1.6.45\n");
  CHECK(Ask(client, {Auth("PLAIN", std::string(16'385, 'x'))}) == "21:4 Invalid arguments\n");
  CHECK(client.closed());
}

TEST_CASE("binary guesses are limited", "[login][binary]") {
  GuardedWorld world;
  test::Client client(world, kAll, kBinary);
  std::vector<Request> many(20, kBad);
  many.push_back(kGood);
  CHECK(Ask(client, many) == test::Repeat("21:20 Auth failure.\n", FailureLimit::kPerClient));
  CHECK(client.closed());
}

TEST_CASE("without an authenticator there is no SASL", "[login][binary]") {
  World world;
  test::Client client(world, Piece(), kBinary);
  CHECK(Ask(client, {{0x20}, kGood, StepWith("x"), kSet}) ==
        "20:81 Unknown command\n21:81 Unknown command\n22:81 Unknown command\n01:0\n");
}
