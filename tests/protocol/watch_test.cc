#include <catch2/catch.hpp>
#include <string>

#include "tests/protocol/fixture.h"

namespace larder {
namespace {

using test::Client;
using test::World;

TEST_CASE("watch answers OK, and then only what its feed says", "[memcache][watch]") {
  World world;
  Client client(world);
  REQUIRE(client.Ask("watch\r\n") == "OK\r\n");
  CHECK(world.host.watched == kFetchers);
  CHECK(client.Ask("get a\r\nversion\r\n") == "");
  world.host.feed_text = "ts=1.000000 gid=1 type=item_get\n";
  CHECK(client.Ask("x") == "ts=1.000000 gid=1 type=item_get\n");
  CHECK(client.Ask("quit\r\n") == "");
  CHECK_FALSE(client.closed());
}

TEST_CASE("a session that ends gives its feed back", "[memcache][watch]") {
  World world;
  {
    Client client(world);
    REQUIRE(client.Ask("watch evictions\r\n") == "OK\r\n");
    CHECK(world.host.feeds == 1);
  }
  CHECK(world.host.feeds == 0);
}

TEST_CASE("watch takes the names of streams", "[memcache][watch]") {
  World world;
  Client client(world);
  SECTION("several") {
    CHECK(client.Ask("watch mutations evictions connevents deletions\r\n") == "OK\r\n");
    CHECK(world.host.watched == (kMutations | kEvictions | kConnEvents | kDeletions));
  }
  SECTION("those of the proxy, where nothing happens") {
    CHECK(client.Ask("watch proxyreqs proxyevents proxyuser sysevents rawcmds\r\n") == "OK\r\n");
    CHECK((world.host.watched & (kSysEvents | kRawCommands)) == (kSysEvents | kRawCommands));
  }
  SECTION("an unknown one") {
    CHECK(client.Ask("watch fetchers bogus\r\n") == "ERROR\r\n");
    CHECK(client.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  }
}

TEST_CASE("watch is refused where it cannot be", "[memcache][watch]") {
  World world;
  Client client(world);
  SECTION("behind another reply") {
    CHECK(client.Ask("get a\r\nwatch\r\n") ==
          "END\r\nERROR cannot pipeline other commands before watch\r\n");
    CHECK(client.Ask("version\r\n") == "VERSION 1.6.45\r\n");
  }
  SECTION("with -W") {
    world.session_options.watch_enabled = false;
    CHECK(client.Ask("watch\r\n") == "CLIENT_ERROR watch commands not allowed\r\n");
  }
  SECTION("when too many watch already") {
    world.host.too_many_watch = true;
    CHECK(client.Ask("watch\r\n") == "WATCHER_TOO_MANY log watcher limit reached\r\n");
  }
  CHECK(world.host.feeds == 0);
}

}  // namespace
}  // namespace larder
