#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <string>

#include "tests/protocol/fixture.h"

namespace larder {
namespace {

using test::Client;
using test::World;

std::string Stat(const std::string& stats, const std::string& name) {
  const std::string start = "STAT " + name + " ";
  const size_t at = stats.find(start);
  if (at == std::string::npos) return "missing";
  return stats.substr(at + start.size(), stats.find("\r\n", at) - at - start.size());
}

TEST_CASE("stats topkeys finds the keys that clients want most", "[memcache][stats][topkeys]") {
  World world;
  world.context.WatchKeys(world.store.hot_keys().NewSketch());
  Client client(world);
  REQUIRE(client.Ask("set key/0 0 0 1\r\nx\r\n") == "STORED\r\n");
  // About Zipf with s = 1: the rank is 2^u for an even u.
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> even(0, 14);
  const auto key = [&] {
    return "key/" + std::to_string(static_cast<int>(std::exp2(even(random))) - 1);
  };
  for (int i = 0; i < 40'000; ++i) {
    std::string requests;
    for (int k = 0; k < 5; ++k) requests += "get " + key() + "\r\n";
    requests += "get " + key() + " " + key() + " " + key() + "\r\n";
    requests += "mg " + key() + " v\r\nincr " + key() + " 1\r\n";
    client.Ask(requests);
  }
  world.Advance(100'000);
  const std::string stats = client.Ask("stats topkeys\r\n");
  CHECK(Stat(stats, "one_in") == "512");
  CHECK(Stat(stats, "seconds") == "100");
  CHECK(std::abs(std::stod(Stat(stats, "samples")) * 512 - 400'000) < 40'000);
  CHECK(Stat(stats, "1:key") == "key%2F0");
  CHECK(Stat(stats, "2:key") == "key%2F1");
  // A fourteenth of all requests each, for rank 0, and for ranks 1 and 2 together.
  CHECK(std::abs(std::stod(Stat(stats, "1:requests")) - 400'000.0 / 14) < 8'000);
  CHECK(std::abs(std::stod(Stat(stats, "1:per_second")) - 4'000.0 / 14) < 80);
  CHECK(Stat(stats, "20:key") != "missing");
  CHECK(Stat(stats, "21:key") == "missing");
  SECTION("and forgets them with the other counters") {
    REQUIRE(client.Ask("stats reset\r\n") == "RESET\r\n");
    const std::string after = client.Ask("stats topkeys\r\n");
    CHECK(after == "STAT one_in 512\r\nSTAT samples 0\r\nSTAT seconds 0\r\nEND\r\n");
  }
  SECTION("unless keys may not be listed") {
    world.session_options.dump_enabled = false;
    CHECK(client.Ask("stats topkeys\r\n") == "CLIENT_ERROR stats topkeys not allowed\r\n");
  }
}

}  // namespace
}  // namespace larder
