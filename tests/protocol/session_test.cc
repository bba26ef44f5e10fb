#include "protocol/session.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/protocol/fixture.h"
#include "tests/protocol/stalled_uploads.h"

using namespace larder;
using test::Client;
using test::Repeat;
using test::StallUploads;
using test::World;

namespace {

// get lines are longer than a session may keep: answered as they come.
std::string KeysLine(std::string_view key, size_t bytes) {
  return "get " + Repeat(std::string(key) + " ", bytes / (key.size() + 1)) + "\r\n";
}

std::string Set(std::string_view key, const std::string& value) {
  return "set " + std::string(key) + " 0 0 " + std::to_string(value.size()) + "\r\n" + value +
         "\r\n";
}

}  // namespace

TEST_CASE("a get line of any length is answered with bounded memory", "[protocol][memcache]") {
  World world;
  Client setter(world);
  const std::string value(10, 'v');
  REQUIRE(setter.Ask(Set("some_key", value)) == "STORED\r\n");
  const size_t piece = GENERATE(as<size_t>{}, 1000, 16'384, 65'536);
  Client client(world, piece);
  const std::string line = KeysLine("some_key", 5'000'000);
  const std::string hit = "VALUE some_key 0 10\r\n" + value + "\r\n";
  const std::string answer = client.Ask(line + "version\r\n");
  CHECK(answer.size() == hit.size() * (5'000'000 / 9) + 5 + 16);
  CHECK(answer.ends_with(hit + "END\r\nVERSION 1.6.45\r\n"));
  CHECK(client.most_kept() <= Session::kMaxPending);
  CHECK(client.most_pending() <= ReplyBuffer::kBlockBytes);
  CHECK(client.session().idle());
}

TEST_CASE("a key too long in an endless get line ends it, and the rest of the line is skipped",
          "[protocol][memcache]") {
  World world;
  Client client(world, GENERATE(as<size_t>{}, 999, 70'000));
  CHECK(client.Ask("set a 0 0 1\r\nx\r\n") == "STORED\r\n");
  const std::string line =
      "get a " + Repeat("b ", 50'000) + std::string(251, 'k') + " a" + Repeat(" a", 50'000);
  CHECK(client.Ask(line + "\r\nget a\r\n") ==
        "VALUE a 0 1\r\nx\r\nCLIENT_ERROR bad command line format\r\n"
        "VALUE a 0 1\r\nx\r\nEND\r\n");
}

TEST_CASE("an endless get line of blanks is badly formed", "[protocol][memcache]") {
  World world;
  Client client(world, 10'000);
  CHECK(client.Ask("get " + std::string(200'000, ' ') + "\r\nversion\r\n") ==
        "CLIENT_ERROR bad command line format\r\nVERSION 1.6.45\r\n");
}

TEST_CASE("a client that does not read stops its session, which goes on where it was",
          "[protocol][memcache]") {
  World world;
  const size_t value_bytes = GENERATE(as<size_t>{}, 10, 16'000, 100'000);
  const std::string value(value_bytes, 'v');
  {
    Client setter(world);
    REQUIRE(setter.Ask(Set("k", value)) == "STORED\r\n");
  }
  const std::string hit = "VALUE k 0 " + std::to_string(value_bytes) + "\r\n" + value + "\r\n";
  const bool one_line = GENERATE(true, false);
  std::string input = one_line ? "get" + Repeat(" k", 5000) + "\r\n" : Repeat("get k\r\n", 5000);
  const auto session = MakeSession(world.store, world.context, world.host, world.session_options);
  ReplyBuffer out;
  size_t answered = 0;
  for (size_t round = 0; !input.empty(); ++round) {
    const Session::Progress progress = session->Consume(input, out);
    input.erase(0, progress.consumed);
    // Nothing is read: it must not take another request.
    if (progress.state == SessionState::kOutputFull) {
      const size_t pending = out.pending_bytes();
      const Session::Progress again = session->Consume(input, out);
      if (again.consumed != 0 || out.pending_bytes() != pending) FAIL("went on when full");
    }
    if (round > 10'000) FAIL("does not end");
    answered += out.pending_bytes();
    out.Drop(out.pending_bytes());
  }
  CHECK(answered == 5000 * hit.size() + (one_line ? 5 : 25'000));
  CHECK(session->idle());
}

TEST_CASE("a thousand pipelined requests are done in order", "[protocol][memcache]") {
  World world;
  Client client(world, GENERATE(as<size_t>{}, 1, 17, 1'000'000));
  std::string input = "set n 0 0 4\r\n0000\r\n";
  std::string answer = "STORED\r\n";
  for (int i = 1; i <= 1000; ++i) {
    input += "incr n 1\r\nget nope\r\n";
    answer += std::to_string(i) + "\r\nEND\r\n";
  }
  CHECK(client.Ask(input) == answer);
}

TEST_CASE("an upload is read straight into its place", "[protocol][memcache]") {
  World world;
  const auto session = MakeSession(world.store, world.context, world.host, world.session_options);
  ReplyBuffer out;
  const std::string head = "set a 0 0 100000\r\nxxx";
  auto progress = session->Consume(head, out);
  CHECK(progress.consumed == head.size());
  REQUIRE(progress.state == SessionState::kUploading);
  CHECK_FALSE(session->idle());
  size_t left = 100'000 - 3;
  while (left > 0) {
    const std::span<char> room = session->UploadBuffer();
    REQUIRE_FALSE(room.empty());
    REQUIRE(room.size() <= left);
    const size_t n = (room.size() + 1) / 2;
    std::fill_n(room.begin(), n, 'y');
    session->Uploaded(n);
    left -= n;
  }
  CHECK(session->UploadBuffer().empty());
  CHECK(session->Consume({}, out).state == SessionState::kNeedInput);
  CHECK(session->Consume("\r", out).consumed == 0);
  CHECK(out.empty());
  progress = session->Consume("\r\nget b\r\n", out);
  CHECK(progress.consumed == 9);
  CHECK(out.ToString() == "STORED\r\nEND\r\n");
  CHECK(session->idle());
  Client reader(world);
  CHECK(reader.Ask("get a\r\n") ==
        "VALUE a 0 100000\r\nxxx" + std::string(99'997, 'y') + "\r\nEND\r\n");
}

TEST_CASE("a client that goes away in an upload leaves nothing behind", "[protocol][memcache]") {
  World world;
  {
    const auto session = MakeSession(world.store, world.context, world.host, world.session_options);
    ReplyBuffer out;
    CHECK(session->Consume("set a 0 0 100000\r\nxxx", out).state == SessionState::kUploading);
  }
  Client client(world);
  CHECK(client.Ask("get a\r\n") == "END\r\n");
  world.store.CheckInvariants();
}

TEST_CASE("nothing is answered behind quit", "[protocol][memcache]") {
  World world;
  Client client(world);
  CHECK(client.Ask("version\r\nquit\r\nversion\r\n") == "VERSION 1.6.45\r\n");
  CHECK(client.closed());
  ReplyBuffer out;
  CHECK(client.session().Consume("version\r\n", out).state == SessionState::kClosing);
  CHECK(out.empty());
}

TEST_CASE("random requests are answered the same, wherever the network cuts them",
          "[protocol][memcache][fuzz]") {
  constexpr std::string_view kWords[] = {
      "get ",   "gets ", "set ",      "cas ",  "a",   "b ",      " ",      "0 ",        "1 ",
      "17000 ", "\r\n",  "\n",        "\r",    "xyz", "noreply", "incr ",  "delete ",   "touch ",
      "gat ",   "-1 ",   "99999999 ", "stats", "mg ", "append ", "20000 ", "flush_all", "add "};
  const auto seed = GENERATE(take(30, random(0U, 1'000'000'000U)));
  CAPTURE(seed);
  std::minstd_rand random(seed + 1);
  World world;
  std::string input;
  for (int i = 0; i < 3000; ++i) input += kWords[random() % std::size(kWords)];
  for (int i = 0; i < 30; ++i) input[random() % input.size()] = static_cast<char>(random());
  Client all_at_once(world);
  const std::string answer = all_at_once.Ask(input);
  world.store.CheckInvariants();
  World other_world;
  Client in_pieces(other_world, 1 + random() % 100);
  CHECK(in_pieces.Ask(input) == answer);
  CHECK(in_pieces.closed() == all_at_once.closed());
}

TEST_CASE("an upload that finds no room waits, and a stalled one is given up for it",
          "[protocol][memcache]") {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  World world(options);
  const std::string value(1'000'000, 'v');
  const std::string set = Set("k", value);
  const auto [stalled, waiting] = StallUploads<Client>(world, set.substr(0, 100));

  SECTION("the waiting one goes on when another one is through") {
    CHECK(stalled[0]->Ask(set.substr(100)) == "STORED\r\n");
    CHECK(waiting->Ask(set.substr(100)) == "STORED\r\n");
  }
  SECTION("or when another one stands still for a second") {
    stalled[0]->session().Tick();
    CHECK(waiting->Ask("").empty());
    CHECK(waiting->waiting());
    world.Advance(1000);
    CHECK(waiting->Ask("").empty());
    stalled[0]->session().Tick();
    CHECK(waiting->Ask(set.substr(100)) == "STORED\r\n");
    // What is still to come of it is skipped.
    CHECK(stalled[0]->Ask(set.substr(100, 500'000)).empty());
    CHECK(stalled[0]->Ask(set.substr(500'100) + "get nope\r\n") ==
          "SERVER_ERROR Out of memory during read\r\nEND\r\n");
  }
  SECTION("one that moves is left alone") {
    world.Advance(900);
    CHECK(stalled[0]->Ask(set.substr(100, 70'000)).empty());
    world.Advance(200);
    CHECK(waiting->Ask("").empty());
    stalled[0]->session().Tick();
    CHECK(stalled[0]->Ask(set.substr(70'100)) == "STORED\r\n");
  }
  SECTION("a byte now and then is not moving") {
    world.Advance(900);
    CHECK(stalled[0]->Ask(set.substr(100, 10)).empty());
    world.Advance(200);
    CHECK(waiting->Ask("").empty());
    stalled[0]->session().Tick();
    CHECK(stalled[0]->Ask(set.substr(110)) == "SERVER_ERROR Out of memory during read\r\n");
  }
}

TEST_CASE("a large value that memory runs out for is refused, and the rest of it is skipped",
          "[protocol][memcache]") {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  options.evict = false;
  World world(options);
  Client client(world, GENERATE(as<size_t>{}, 5000, 10'000'000));
  const std::string value(900'000, 'v');
  std::string reply = "STORED\r\n";
  for (int i = 0; i < 20 && reply == "STORED\r\n"; ++i) {
    reply = client.Ask(Set("k" + std::to_string(i), value));
  }
  CHECK(reply == "SERVER_ERROR out of memory storing object\r\n");  // said before the first byte
  CHECK(client.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  CHECK(client.Ask("get k0\r\n") == "VALUE k0 0 900000\r\n" + value + "\r\nEND\r\n");
}

TEST_CASE("uploads are joined in order, small to large and large to large",
          "[protocol][memcache]") {
  World world;
  Client client(world);
  std::mt19937 random(7);
  std::string model(random() % 30'000, '-');
  REQUIRE(client.Ask(Set("k", model)) == "STORED\r\n");
  for (int step = 0; step < 12; ++step) {
    const std::string part(17'000 + random() % 90'000, static_cast<char>('a' + step));
    const bool append = random() % 2 == 0;
    const std::string line = (append ? "append" : "prepend") + std::string(" k 9 0 ") +
                             std::to_string(part.size()) + "\r\n" + part + "\r\n";
    const std::string wanted = append ? model + part : part + model;
    if (wanted.size() + 200 > world.store.options().max_item_bytes) break;
    REQUIRE(client.Ask(line) == "STORED\r\n");
    model = wanted;
    REQUIRE(client.Ask("get k\r\n") ==
            "VALUE k 0 " + std::to_string(model.size()) + "\r\n" + model + "\r\nEND\r\n");
  }
  CHECK(client.Ask("append nope 0 0 20000\r\n" + std::string(20'000, 'x') + "\r\n") ==
        "NOT_STORED\r\n");
  CHECK(client.Ask("delete k\r\n") == "DELETED\r\n");
  for (const ClassInfo& info : world.store.Classes()) CHECK(info.used_chunks == 0);
}

TEST_CASE("an upload that cannot fit is refused before its first byte without eviction",
          "[protocol][memcache]") {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  options.evict = false;
  World world(options);
  Client client(world);
  int stored = 0;
  while (client.Ask(Set("k" + std::to_string(stored), std::string(60'000, 'v'))) == "STORED\r\n") {
    ++stored;
  }
  REQUIRE(stored > 50);
  CHECK(client.Ask("set late 0 0 900000\r\nv").empty());  // its bytes are skipped
  CHECK(client.Ask(std::string(899'999, 'v') + "\r\n") ==
        "SERVER_ERROR out of memory storing object\r\n");
  CHECK(world.store.Info().items == static_cast<uint64_t>(stored));
}

TEST_CASE("a small limit also refuses small values", "[protocol][memcache]") {
  StoreOptions options = World::Small();
  options.max_item_bytes = 2048;
  World world(options);
  Client client(world);
  const std::string value(1500, 'x');
  const std::string more(1500, 'y');
  const std::string too_large(3000, 'z');
  const std::string found = "VALUE a 0 1500\r\n" + value + "\r\nEND\r\n";
  CHECK(client.Ask(Set("a", value)) == "STORED\r\n");
  CHECK(client.Ask("append a 0 0 1500\r\n" + more + "\r\nget a\r\n") == "NOT_STORED\r\n" + found);
  CHECK(client.Ask("append a 0 0 3000\r\n" + too_large + "\r\nget a\r\n") ==
        "SERVER_ERROR object too large for cache\r\n" + found);
  CHECK(client.Ask("add a 0 0 3000\r\n" + too_large + "\r\nget a\r\n") ==
        "SERVER_ERROR object too large for cache\r\n" + found);
  CHECK(client.Ask(Set("a", too_large) + "get a\r\n") ==
        "SERVER_ERROR object too large for cache\r\nEND\r\n");
}
