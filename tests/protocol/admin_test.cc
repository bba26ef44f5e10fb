#include <catch2/catch.hpp>

#include "tests/protocol/fixture.h"

using namespace larder;
using test::Client;
using test::World;

TEST_CASE("shutdown stops the server only where it is allowed", "[protocol][admin]") {
  World world;
  CHECK(Client(world).Ask("shutdown\r\n") == "SERVER_ERROR: shutdown not enabled\r\n");
  CHECK(world.host.shutdowns == 0);
  world.session_options.shutdown_enabled = true;
  Client client(world);
  CHECK(client.Ask("shutdown now\r\n") == "CLIENT_ERROR invalid shutdown mode\r\n");
  CHECK_FALSE(client.closed());
  CHECK(client.Ask("version\r\nshutdown\r\nversion\r\n") == "VERSION 1.6.45\r\n");
  CHECK(client.closed());
  CHECK(world.host.shutdowns == 1);
  CHECK(Client(world).Ask("shutdown graceful\r\n").empty());
  CHECK(world.host.graceful_shutdowns == 1);
}

TEST_CASE("debugtime is no command but where a clock may be moved", "[protocol][admin]") {
  World world;
  CHECK(Client(world).Ask("debugtime 10\r\n") == "ERROR\r\n");
  SystemClock clock;
  world.session_options.movable_clock = &clock;
  Client client(world);
  CHECK(client.Ask("debugtime p\r\n") == "OK\r\n");
  const TimeMs before = clock.NowMs();
  CHECK(client.Ask("debugtime 100\r\n") == "OK\r\n");
  CHECK(clock.NowMs() == before + 100'000);
  CHECK(world.context.now == before + 100'000);
  CHECK(client.Ask("debugtime -50\r\n") == "OK\r\n");
  CHECK(clock.NowMs() == before + 50'000);
  CHECK(client.Ask("debugtime r\r\n") == "OK\r\n");
  CHECK(client.Ask("debugtime\r\ndebugtime x\r\n") == "ERROR\r\nERROR\r\n");
}

TEST_CASE("evicted_time is how long the last evicted item had not been used", "[protocol][stats]") {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  World world(options);
  Client client(world);
  const std::string value(10'000, 'v');
  for (int i = 0; i < 700; ++i) {
    client.Ask("set k" + std::to_string(i) + " 0 0 10000\r\n" + value + "\r\n");
  }
  world.Advance(42'000);
  for (int i = 0; i < 300; ++i) {
    client.Ask("set n" + std::to_string(i) + " 0 0 10000\r\n" + value + "\r\n");
  }
  CHECK(client.Ask("stats items\r\n").find(":evicted_time 4") != std::string::npos);
}
