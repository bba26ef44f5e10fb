#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "protocol/memcache/binary_command.h"
#include "tests/protocol/binary.h"
#include "tests/protocol/fixture.h"
#include "tests/protocol/stalled_uploads.h"

using namespace larder;
using test::Answers;
using test::CountExtras;
using test::Request;
using test::Show;
using test::StoreExtras;
using test::World;

namespace {

constexpr auto kBinary = test::Client::Dialect::kBinary;

class Client : public test::Client {
 public:
  explicit Client(World& world, size_t piece = std::string_view::npos)
      : test::Client(world, piece, kBinary) {}
  std::string Show(const std::vector<Request>& requests) {
    std::string bytes;
    for (const Request& one : requests) bytes += one.Bytes();
    return test::Show(Ask(bytes));
  }
};

Request Set(const std::string& key, const std::string& value, uint32_t flags = 0,
            uint32_t exptime = 0, uint64_t cas = 0) {
  return {0x01, key, value, StoreExtras(flags, exptime), cas};
}
Request Get(const std::string& key) { return {0x00, key}; }
const Request kNoop{0x0a};

size_t Piece() { return GENERATE(as<size_t>{}, 1, 7, 24, 25, 1'000'000); }

uint64_t CasOf(Client& client, const std::string& key) {
  return Answers(client.Ask(Get(key).Bytes())).at(0).cas;
}

}  // namespace

TEST_CASE("binary gets answer hits, misses and keys, each in its way", "[binary]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({Set("a", "val", 7)}) == "01:0\n");
  CHECK(client.Show({{0x00, "a"}, {0x09, "a"}, {0x0c, "a"}, {0x0d, "a"}, kNoop}) ==
        "00:0 e=00000007 val\n09:0 e=00000007 val\n"
        "0c:0 e=00000007 k=a val\n0d:0 e=00000007 k=a val\n0a:0\n");
  CHECK(client.Show({{0x00, "zz"}, {0x09, "zz"}, {0x0c, "zz"}, {0x0d, "zz"}, kNoop}) ==
        "00:1 Not found\n0c:1 k=zz\n0a:0\n");
  CHECK(client.Show({Set("empty", ""), Get("empty")}) == "01:0\n00:0 e=00000000\n");
  CHECK(client.Show({Set(std::string("\0\r\n ", 4), "v"), Get(std::string("\0\r\n ", 4))}) ==
        "01:0\n00:0 e=00000000 v\n");
  CHECK(client.session().idle());
}

TEST_CASE("binary stores keep to their modes", "[binary]") {
  World world;
  Client client(world, Piece());
  const std::string extras = StoreExtras(0, 0);
  CHECK(client.Show({{0x02, "a", "1", extras}, {0x02, "a", "2", extras}}) ==
        "02:0\n02:2 Data exists for key.\n");
  CHECK(client.Show({{0x03, "b", "1", extras}, {0x03, "a", "3", extras}, Get("a")}) ==
        "03:1 Not found\n03:0\n00:0 e=00000000 3\n");
  CHECK(client.Show({{0x0e, "a", ">"}, {0x0f, "a", "<"}, Get("a"), {0x0e, "b", "x"}}) ==
        "0e:0\n0f:0\n00:0 e=00000000 <3>\n0e:5 Not stored.\n");
  // The quiet ones say only what went wrong.
  CHECK(client.Show({{0x11, "q", "1", extras},
                     {0x12, "q", "2", extras},
                     {0x12, "r", "2", extras},
                     {0x13, "s", "3", extras},
                     {0x13, "q", "3", extras},
                     {0x19, "q", ">"},
                     {0x1a, "q", "<"},
                     {0x19, "s", ">"},
                     {0x1a, "s", "<"},
                     Get("q"),
                     kNoop}) ==
        "12:2 Data exists for key.\n13:1 Not found\n19:5 Not stored.\n1a:5 Not stored.\n"
        "00:0 e=00000000 <3>\n0a:0\n");
}

TEST_CASE("a CAS makes any binary store conditional", "[binary][cas]") {
  World world;
  Client client(world, Piece());
  const auto opcode = GENERATE(as<uint8_t>{}, 0x01, 0x02, 0x03);
  CAPTURE(opcode);
  const std::string extras = StoreExtras(0, 0);
  const std::string op = "0" + std::to_string(opcode);
  CHECK(client.Show({Set("a", "1")}) == "01:0\n");
  const uint64_t cas = CasOf(client, "a");
  REQUIRE(cas != 0);
  CHECK(client.Show({{opcode, "a", "2", extras, cas + 1}}) == op + ":2 Data exists for key.\n");
  CHECK(client.Show({{opcode, "b", "2", extras, cas}}) == op + ":1 Not found\n");
  const auto stored = Answers(client.Ask(Request{opcode, "a", "2", extras, cas}.Bytes()));
  REQUIRE(stored.size() == 1);
  CHECK(stored[0].status == memcache::Status::kOk);
  CHECK(stored[0].cas == CasOf(client, "a"));
  CHECK(stored[0].cas != cas);
  CHECK(stored[0].opaque == 0x01020304);
}

TEST_CASE("with -C, binary stores take no notice of a CAS, others find no equal", "[binary][cas]") {
  StoreOptions options = World::Small();
  options.use_cas = false;
  World world(options);
  Client client(world);
  CHECK(client.Show({Set("a", "1", 0, 0, 5), Set("a", "2", 0, 0, 5), Get("a")}) ==
        "01:0\n01:0\n00:0 e=00000000 2\n");
  CHECK(client.Show({{0x03, "a", "3", StoreExtras(0, 0), 5}}) == "03:0\n");
  CHECK(client.Show({{0x02, "a", "4", StoreExtras(0, 0), 5}}) == "02:2 Data exists for key.\n");
  CHECK(client.Show({{0x0e, "a", "4", "", 5}, Get("a")}) == "0e:0\n00:0 e=00000000 34\n");
  CHECK(client.Show({{0x04, "a", "", "", 5}}) == "04:2 Data exists for key.\n");
}

TEST_CASE("binary joins, deletes and counters honour a CAS", "[binary][cas]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({Set("a", "1")}) == "01:0\n");
  const uint64_t cas = CasOf(client, "a");
  const uint64_t wrong = cas + 7;
  const std::string by_one = CountExtras(1, 0, 0xffffffff);
  const std::string exists = " Data exists for key.\n";
  CHECK(client.Show({{0x0e, "a", "x", "", wrong}}) == "0e:2" + exists);
  CHECK(client.Show({{0x19, "a", "x", "", wrong}}) == "19:2" + exists);
  CHECK(client.Show({{0x0f, "zz", "x", "", wrong}}) == "0f:5 Not stored.\n");
  CHECK(client.Show({{0x05, "a", "", by_one, wrong}}) == "05:2" + exists);
  CHECK(client.Show({{0x04, "a", "", "", wrong}, {0x14, "a", "", "", wrong}}) ==
        "04:2" + exists + "14:2" + exists);
  CHECK(client.Show({{0x04, "zz", "", "", wrong}}) == "04:1 Not found\n");
  CHECK(client.Show({{0x04, "a", "", "", cas}, {0x04, "a"}, {0x14, "a"}}) ==
        "04:0\n04:1 Not found\n14:1 Not found\n");
  // What can be no number is told first.
  CHECK(client.Show({Set("e", ""), {0x05, "e", "", by_one, wrong}}) ==
        "01:0\n05:6 Non-numeric server-side value for incr or decr\n");
  CHECK(client.Show({Set("t", "text"), {0x05, "t", "", by_one, wrong}}) == "01:0\n05:2" + exists);
}

TEST_CASE("binary counters create, count, stop at 0 and refuse what is no number", "[binary]") {
  World world;
  Client client(world, Piece());
  const auto number = [](const std::string& answer) { return Answers(answer).at(0).value; };
  CHECK(number(client.Ask(Request{0x05, "n", "", CountExtras(1, 10, 0)}.Bytes())) ==
        test::Big64(10));
  CHECK(number(client.Ask(Request{0x05, "n", "", CountExtras(1, 10, 0)}.Bytes())) ==
        test::Big64(11));
  CHECK(number(client.Ask(Request{0x06, "n", "", CountExtras(100, 10, 0)}.Bytes())) ==
        test::Big64(0));
  CHECK(number(client.Ask(Request{0x05, "n", "", CountExtras(~0ULL, 0, 0)}.Bytes())) ==
        test::Big64(~0ULL));
  CHECK(number(client.Ask(Request{0x05, "n", "", CountExtras(2, 0, 0)}.Bytes())) == test::Big64(1));
  const std::string never = CountExtras(1, 10, 0xffffffff);
  CHECK(client.Show({{0x05, "m", "", never}, {0x06, "m", "", never}, {0x15, "m", "", never}}) ==
        "05:1 Not found\n06:1 Not found\n15:1 Not found\n");
  CHECK(client.Show({{0x15, "q", "", CountExtras(1, 10, 0)},
                     {0x16, "q", "", CountExtras(1, 10, 0)},
                     Get("q"),
                     Set("t", "text"),
                     {0x15, "t", "", never}}) ==
        "00:0 e=00000000 9 \n01:0\n15:6 Non-numeric server-side value for incr or decr\n");
  // A created one ends when it is told to.
  CHECK(client.Show({{0x15, "short", "", CountExtras(1, 10, 5)}, Get("short")}) ==
        "00:0 e=00000000 10\n");
  world.Advance(6000);
  CHECK(client.Show({Get("short")}) == "00:1 Not found\n");
}

TEST_CASE("binary touch and gat set the time, and tell what was there", "[binary]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({Set("a", "v", 3, 10)}) == "01:0\n");
  const std::string hundred = test::Big32(100);
  CHECK(client.Show({{0x1c, "a", "", hundred}, {0x1c, "zz", "", hundred}}) ==
        "1c:0 e=00000003\n1c:1 Not found\n");
  world.Advance(50'000);
  CHECK(client.Show({{0x1d, "a", "", hundred},
                     {0x1e, "a", "", hundred},
                     {0x23, "a", "", hundred},
                     {0x24, "a", "", hundred}}) ==
        "1d:0 e=00000003 v\n1e:0 e=00000003 v\n23:0 e=00000003 k=a v\n24:0 e=00000003 k=a v\n");
  CHECK(client.Show({{0x1d, "zz", "", hundred},
                     {0x1e, "zz", "", hundred},
                     {0x23, "zz", "", hundred},
                     {0x24, "zz", "", hundred}}) == "1d:1 Not found\n23:1 k=zz\n");
  world.Advance(99'000);
  CHECK(client.Show({Get("a")}) == "00:0 e=00000003 v\n");
  world.Advance(2'000);
  CHECK(client.Show({Get("a")}) == "00:1 Not found\n");
}

TEST_CASE("an expiry of the binary protocol is unsigned", "[binary]") {
  World world;
  Client client(world);
  CHECK(client.Show({Set("a", "v", 0, 0xffffffff), Get("a")}) == "01:0\n00:0 e=00000000 v\n");
  CHECK(client.Show({Set("a", "v", 0, 0x80000000), Get("a")}) == "01:0\n00:0 e=00000000 v\n");
}

TEST_CASE("binary flush, version, noop, quit and unknown opcodes", "[binary]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({Set("a", "v"), {0x08}, Get("a")}) == "01:0\n08:0\n00:1 Not found\n");
  CHECK(client.Show({Set("a", "v"), {0x18}, Get("a")}) == "01:0\n00:1 Not found\n");
  CHECK(client.Show({Set("a", "v"), {0x08, "", "", test::Big32(10)}, Get("a")}) ==
        "01:0\n08:0\n00:0 e=00000000 v\n");
  world.Advance(11'000);
  CHECK(client.Show({Get("a")}) == "00:1 Not found\n");
  CHECK(client.Show({{0x0b}, kNoop}) == "0b:0 1.6.45\n0a:0\n");
  // Whatever their body is, it is skipped.
  CHECK(client.Show({{0x1b, "", "", test::Big32(1)}, {0x30, "k", "v"}, {0xff}, kNoop}) ==
        "1b:81 Unknown command\n30:81 Unknown command\nff:81 Unknown command\n0a:0\n");
  CHECK(client.Show({{0xee, "k", std::string(200'000, 'x')}, kNoop}) ==
        "ee:81 Unknown command\n0a:0\n");
  CHECK(client.most_kept() <= Session::kMaxPending);
  SECTION("quit is answered") { CHECK(client.Show({kNoop, {0x07}, kNoop}) == "0a:0\n07:0\n"); }
  SECTION("the quiet one is not") { CHECK(client.Show({kNoop, {0x17}, kNoop}) == "0a:0\n"); }
  SECTION("another magic closes without a word") {
    CHECK(Show(client.Ask(kNoop.Bytes() + "version\r\n")) == "0a:0\n");
  }
  CHECK(client.closed());
}

TEST_CASE("with flush disabled, the binary one is refused", "[binary]") {
  World world;
  world.session_options.flush_enabled = false;
  Client client(world);
  CHECK(client.Show({Set("a", "v"), {0x08}, {0x18}, Get("a")}) ==
        "01:0\n08:20 Auth failure.\n18:20 Auth failure.\n00:0 e=00000000 v\n");
}

TEST_CASE("binary stats are packets, the last of them empty", "[binary][stats]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({{0x10, "settings"}, kNoop}) ==
        "10:0 k=maxbytes 67108864\n10:0 k=idle_timeout 0\n10:0\n0a:0\n");
  const auto general = Answers(client.Ask(Request{0x10}.Bytes()));
  REQUIRE(general.size() > 60);
  CHECK(general[0].key == "pid");
  CHECK(general[0].value == "4711");
  CHECK(general[0].opaque == 0x01020304);
  CHECK(general.back().key.empty());
  CHECK(client.Show({{0x10, "reset"}}) == "10:0\n");
  CHECK(world.host.resets == 1);
  CHECK(client.Show({{0x10, "sizes"}}) == "10:0 k=sizes_status disabled\n10:0\n");
  CHECK(client.Show({{0x10, "nosuch"}, {0x10, "conns"}, {0x10, "res"}}) ==
        "10:1 Not found\n10:1 Not found\n10:1 Not found\n");
}

TEST_CASE("binary stats switch detail on and off, and dump it", "[binary][stats]") {
  World world;
  Client client(world, Piece());
  CHECK(client.Show({{0x10, "detail on"}, Set("a:1", "v"), Get("a:2")}) ==
        "10:0\n01:0\n00:1 Not found\n");
  const std::string counted = "PREFIX a get 1 hit 0 set 1 del 0\r\nEND\r\n";
  CHECK(client.Show({{0x10, "detail off"}, Get("a:1")}) == "10:0\n00:0 e=00000000 v\n");
  CHECK(client.Show({{0x10, "detail dump"}}) == "10:0 k=detailed " + counted + "\n10:0\n");
  CHECK(client.Show({{0x10, "detail"}, {0x10, "detail x"}}) == "10:1 Not found\n10:1 Not found\n");
}

TEST_CASE("with dumps disabled, binary stats tell no key", "[binary][stats]") {
  World world;
  world.session_options.dump_enabled = false;
  Client client(world);
  CHECK(client.Show(
            {{0x10, "detail on"}, {0x10, "detail dump"}, {0x10, "topkeys"}, {0x10, "sizes"}}) ==
        "10:20 Auth failure.\n10:20 Auth failure.\n10:20 Auth failure.\n"
        "10:0 k=sizes_status disabled\n10:0\n");
}

TEST_CASE("large values go in and out of the binary protocol whole", "[binary][large]") {
  World world;
  Client client(world, GENERATE(as<size_t>{}, 999, 16'384, 70'000, 10'000'000));
  const size_t bytes = GENERATE(as<size_t>{}, 16'384, 16'385, 100'000, 1'000'000);
  CAPTURE(bytes);
  std::string value(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) value[i] = static_cast<char>('a' + i * 7 % 26);
  const std::string extras = StoreExtras(5, 0);
  CHECK(client.Show({{0x01, "a", value, extras}, {0x00, "a"}, {0x0d, "a"}, kNoop}) ==
        "01:0\n00:0 e=00000005 " + value + "\n0d:0 e=00000005 k=a " + value + "\n0a:0\n");
  CHECK(client.Show({{0x11, "b", value, extras}, {0x12, "b", value, extras}, kNoop}) ==
        "12:2 Data exists for key.\n0a:0\n");
  CHECK(client.Show({{0x13, "c", value, extras}, {0x19, "c", value}, kNoop}) ==
        "13:1 Not found\n19:5 Not stored.\n0a:0\n");
  CHECK(client.Show({{0x01, "a", value, extras, 1ULL << 60}}) == "01:2 Data exists for key.\n");
  if (bytes < 500'000) {
    CHECK(client.Show({{0x0e, "a", value}, Get("a")}) ==
          "0e:0\n00:0 e=00000005 " + value + value + "\n");
  } else {
    CHECK(client.Show({{0x0e, "a", value}, {0x1a, "a", value}}) ==
          "0e:5 Not stored.\n1a:5 Not stored.\n");
  }
  CHECK(client.most_kept() <= Session::kMaxPending);
  CHECK(client.session().idle());
}

TEST_CASE("an object too large is swallowed without being kept", "[binary][large]") {
  World world;
  Client client(world, GENERATE(as<size_t>{}, 5'000, 10'000'000));
  const std::string value(2'000'000, 'v');
  const std::string extras = StoreExtras(0, 0);
  CHECK(client.Show({Set("a", "1"), {0x02, "a", value, extras}, {0x0e, "a", value}, Get("a")}) ==
        "01:0\n02:3 Too large.\n0e:3 Too large.\n00:0 e=00000000 1\n");
  CHECK(client.Show({{0x11, "a", value, extras}, Get("a"), kNoop}) ==
        "11:3 Too large.\n00:1 Not found\n0a:0\n");
  CHECK(client.most_kept() <= Session::kMaxPending);
}

TEST_CASE("a stalled binary upload is given up when others wait", "[binary][large]") {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  World world(options);
  const std::string set = Set("k", std::string(1'000'000, 'v')).Bytes();
  const auto [stalled, waiting] = test::StallUploads<Client>(world, set.substr(0, 100));
  world.Advance(1000);
  CHECK(waiting->Ask("").empty());
  stalled[0]->session().Tick();
  CHECK(Show(waiting->Ask(set.substr(100))) == "01:0\n");
  CHECK(Show(stalled[0]->Ask(set.substr(100) + kNoop.Bytes())) == "01:82 Out of memory\n0a:0\n");
}

TEST_CASE("a binary client that does not read stops its session", "[binary]") {
  World world;
  const size_t value_bytes = GENERATE(as<size_t>{}, 10, 16'000, 100'000);
  const std::string value(value_bytes, 'v');
  {
    Client setter(world);
    REQUIRE(setter.Show({Set("k", value)}) == "01:0\n");
  }
  std::string input;
  for (int i = 0; i < 3000; ++i) input += Request{0x0d, "k"}.Bytes();
  input += kNoop.Bytes();
  const auto session =
      MakeBinarySession(world.store, world.context, world.host, world.session_options);
  ReplyBuffer out;
  size_t answered = 0;
  for (size_t round = 0; !input.empty(); ++round) {
    const Session::Progress progress = session->Consume(input, out);
    input.erase(0, progress.consumed);
    if (out.pending_bytes() > ReplyBuffer::kBlockBytes + ReplyBuffer::kMaxSegments * value_bytes) {
      FAIL("holds more than it may");
    }
    if (round > 10'000) FAIL("does not end");
    answered += out.pending_bytes();
    out.Drop(out.pending_bytes());
  }
  CHECK(answered == 3000 * (24 + 4 + 1 + value_bytes) + 24);
  CHECK(session->idle());
}

TEST_CASE("random packets are answered the same, wherever the network cuts them",
          "[binary][fuzz]") {
  const auto seed = GENERATE(take(40, random(0U, 1'000'000'000U)));
  CAPTURE(seed);
  std::minstd_rand random(seed + 1);
  std::string input;
  for (int i = 0; i < 400; ++i) {
    Request request;
    request.opcode = static_cast<uint8_t>(random() % 0x28);
    const auto* row = memcache::FindBinaryCommand(request.opcode);
    if (request.opcode == 0x07 || request.opcode == 0x17) continue;
    if (request.opcode == memcache::kOpStat) continue;  // the time is in it
    if (row != nullptr) request.extras.assign(row->extras_bytes, '\0');
    if (row == nullptr || row->key != memcache::KeyShape::kNone) {
      request.key = std::string(1, static_cast<char>('a' + random() % 4));
    }
    if (row == nullptr || row->most_value > 0) {
      request.value.assign(random() % 20 == 0 ? 17'000 + random() % 60'000 : random() % 40, '1');
    }
    request.cas = random() % 5 == 0 ? 1 + random() % 30 : 0;
    input += request.Bytes();
  }
  // Some of them are broken on the way, in half of the runs.
  if (seed % 2 == 0) {
    for (int i = 0; i < 5; ++i) input[random() % input.size()] = static_cast<char>(random());
  }
  World world;
  Client all_at_once(world);
  const std::string answer = all_at_once.Ask(input);
  world.store.CheckInvariants();
  World other_world;
  Client in_pieces(other_world, 1 + random() % 100);
  CHECK(in_pieces.Ask(input) == answer);
  CHECK(in_pieces.closed() == all_at_once.closed());
}
