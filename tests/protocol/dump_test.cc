#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <sstream>
#include <string>

#include "tests/protocol/fixture.h"

using namespace larder;
using test::Client;
using test::World;

namespace {

size_t Lines(const std::string& text, const std::string& start) {
  std::istringstream in(text);
  size_t count = 0;
  for (std::string line; std::getline(in, line);) count += line.starts_with(start) ? 1U : 0U;
  return count;
}

// As a server does it, which shows a waiting session its input again later.
std::string AskPatiently(Client& client, const std::string& request) {
  std::string answer = client.Ask(request);
  while (client.waiting()) answer += client.Ask("");
  return answer;
}

void Fill(Client& client, const std::string& prefix, int count) {
  std::string sets;
  for (int i = 0; i < count; ++i)
    sets += "set " + prefix + std::to_string(i) + " 0 0 1 noreply\r\nx\r\n";
  CHECK(client.Ask(sets).empty());
}

}  // namespace

TEST_CASE("metadump tells of each item what memcached tells", "[protocol][dump]") {
  World world;
  Client client(world);
  CHECK(client.Ask("set a%b\x01 5 100 3\r\nabc\r\n") == "STORED\r\n");
  world.Advance(30'000);
  CHECK(client.Ask("lru_crawler metadump all\r\n") ==
        "OK\r\nkey=a%25b%01 exp=1700000102 la=1700000002 cas=1 fetch=no cls=1 size=41 flags=5 \n"
        "END\r\n");
  client.Ask("get a%b\x01\r\n");
  CHECK(client.Ask("lru_crawler metadump hash\r\n") ==
        "OK\r\nkey=a%25b%01 exp=1700000102 la=1700000032 cas=1 fetch=yes cls=1 size=41 flags=5 \n"
        "END\r\n");
  CHECK(client.Ask("lru_crawler mgdump all\r\n") == "OK\r\nmg a%b\x01\r\nEN\r\n");
  CHECK(client.Ask("stats cachedump 1 0\r\n") == "ITEM a%b\x01 [3 b; 1700000102 s]\r\nEND\r\n");
}

TEST_CASE("a dump longer than the buffer is sent piece by piece", "[protocol][dump]") {
  World world;
  Client client(world);
  Fill(client, "key", 20'000);
  const std::string dump = AskPatiently(client, "lru_crawler metadump all\r\nversion\r\n");
  CHECK(Lines(dump, "key=key") == 20'000);
  CHECK(dump.starts_with("OK\r\n"));
  CHECK(dump.ends_with("\nEND\r\nVERSION 1.6.45\r\n"));
  CHECK(client.most_pending() <= ReplyBuffer::kBlockBytes);
}

TEST_CASE("dumps behind other requests, and several at once, simply work", "[protocol][dump]") {
  World world;
  Client one(world);
  Client two(world);
  Fill(one, "key", 5000);
  const std::string dump =
      AskPatiently(one, "get nothing\r\nlru_crawler mgdump all\r\nlru_crawler mgdump all\r\n");
  CHECK(dump.starts_with("END\r\nOK\r\nmg key"));
  CHECK(Lines(dump, "mg key") == 10'000);
  CHECK(Lines(AskPatiently(two, "lru_crawler metadump hash\r\n"), "key=key") == 5000);
}

TEST_CASE("a dump that finds little among much lets others go on", "[protocol][dump]") {
  World world;
  Client client(world);
  Fill(client, "key", 20'000);
  client.Ask("set a:needle 0 0 1\r\nx\r\n");
  std::string answer = client.Ask("lru_crawler metadump all prefix=a%3A\r\n");
  CHECK(client.waiting());
  int turns = 0;
  for (; client.waiting(); ++turns) answer += client.Ask("");
  CHECK(turns >= 3);
  CHECK(Lines(answer, "key=") == 1);
  CHECK(Lines(answer, "key=a%3Aneedle ") == 1);
}

TEST_CASE("the parts of a dump make up the whole", "[protocol][dump]") {
  World world;
  Client client(world);
  Fill(client, "key", 1000);
  std::set<std::string> keys;
  size_t lines = 0;
  for (const char* part : {"1/3", "2/3", "3/3"}) {
    std::istringstream in(
        AskPatiently(client, std::string("lru_crawler mgdump all part=") + part + "\r\n"));
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with("mg ")) continue;
      keys.insert(line);
      ++lines;
    }
  }
  CHECK(lines == 1000);
  CHECK(keys.size() == 1000);
}

TEST_CASE("what no dump can be is refused", "[protocol][dump]") {
  World world;
  Client client(world);
  for (const char* request :
       {"lru_crawler metadump all prefix=%4", "lru_crawler metadump all prefix=%zz",
        "lru_crawler metadump all part=0/4", "lru_crawler metadump all part=5/4",
        "lru_crawler metadump all part=1/65", "lru_crawler metadump all part=1",
        "lru_crawler metadump all bogus"}) {
    CAPTURE(request);
    CHECK(client.Ask(std::string(request) + "\r\n") == "CLIENT_ERROR bad command line format\r\n");
  }
  CHECK(client.Ask("lru_crawler metadump\r\n") == "ERROR\r\n");
  CHECK(client.Ask("lru_crawler metadump x\r\n") == "BADCLASS invalid class id\r\n");
  CHECK(client.Ask("lru_crawler mgdump 1,999\r\n") == "BADCLASS invalid class id\r\n");
  CHECK(client.Ask("lru_crawler metadump 1,2\r\n") == "OK\r\nEND\r\n");
}
