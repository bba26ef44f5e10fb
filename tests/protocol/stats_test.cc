#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/protocol/fixture.h"

using namespace larder;
using test::Client;
using test::World;

namespace {

// The names of a stats reply, in order; checks its shape.
std::vector<std::string> Names(const std::string& reply) {
  std::istringstream in(reply);
  std::vector<std::string> names;
  std::string line;
  while (std::getline(in, line) && line != "END\r") {
    std::istringstream words(line);
    std::string stat;
    std::string name;
    words >> stat >> name;
    CHECK(stat == "STAT");
    names.push_back(name);
  }
  CHECK(line == "END\r");
  CHECK_FALSE(std::getline(in, line));
  return names;
}

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// memcached's order of the general group, with everything switched on that is by default.
constexpr char kGeneral[] =
    "pid uptime time version libevent pointer_size rusage_user rusage_system max_connections "
    "curr_connections total_connections rejected_connections connection_structures "
    "response_obj_oom response_obj_count response_obj_bytes read_buf_count read_buf_bytes "
    "read_buf_bytes_free read_buf_oom reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta "
    "get_hits get_misses get_expired get_flushed delete_misses delete_hits incr_misses incr_hits "
    "decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses "
    "store_too_large store_no_memory auth_cmds auth_errors bytes_read bytes_written "
    "limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us threads "
    "conn_yields hash_power_level hash_bytes hash_is_expanding slab_reassign_rescues "
    "slab_reassign_chunk_rescues slab_reassign_inline_reclaim slab_reassign_busy_items "
    "slab_reassign_busy_deletes slab_reassign_busy_nomem slab_reassign_last_busy_status "
    "slab_reassign_running slabs_moved lru_crawler_running lru_crawler_starts "
    "lru_maintainer_juggles malloc_fails log_worker_dropped log_worker_written "
    "log_watcher_skipped log_watcher_sent log_watchers unexpected_napi_ids round_robin_fallback "
    "bytes curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched "
    "evicted_active evictions reclaimed crawler_reclaimed crawler_items_checked "
    "lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru direct_reclaims "
    "lru_bumps_dropped";

std::vector<std::string> Split(const char* text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace

TEST_CASE("stats has memcached's names in memcached's order", "[protocol][stats]") {
  World world;
  const auto names = Names(Client(world).Ask("stats\r\n"));
  CHECK(names == Split(kGeneral));
  CHECK(names.size() == 93);
}

TEST_CASE("stats leaves out what is switched off", "[protocol][stats]") {
  StoreOptions options = World::Small();
  options.crawler = false;
  options.maintainer = false;
  World world(options);
  CHECK(Names(Client(world).Ask("stats\r\n")).size() == 84);
  CHECK_FALSE(Has(Names(Client(world).Ask("stats\r\n")), "idle_kicks"));
  world.host.settings[1].second = "60";
  CHECK(Has(Names(Client(world).Ask("stats\r\n")), "idle_kicks"));
}

TEST_CASE("stats has the server's numbers", "[protocol][stats]") {
  World world;
  const std::string reply = Client(world).Ask("stats\r\n");
  for (const auto* row :
       {"STAT pid 4711\r\n", "STAT version 1.6.45\r\n", "STAT libevent 2.1.12-stable\r\n",
        "STAT pointer_size 64\r\n", "STAT rusage_user 0.250000\r\n", "STAT accepting_conns 1\r\n",
        "STAT limit_maxbytes 67108864\r\n", "STAT hash_is_expanding 0\r\n"}) {
    CAPTURE(row);
    CHECK(reply.find(row) != std::string::npos);
  }
}

TEST_CASE("stats settings is what the server says", "[protocol][stats]") {
  World world;
  CHECK(Client(world).Ask("stats settings\r\n") ==
        "STAT maxbytes 67108864\r\nSTAT idle_timeout 0\r\nEND\r\n");
}

TEST_CASE("stats conns has a block for each connection", "[protocol][stats]") {
  World world;
  world.host.connections = {{26, "tcp:0.0.0.0:11211", "", "conn_listening", 12},
                            {28, "tcp:127.0.0.1:50000", "tcp:127.0.0.1:11211", "conn_read", 3}};
  CHECK(Client(world).Ask("stats conns\r\n") ==
        "STAT 26:addr tcp:0.0.0.0:11211\r\nSTAT 26:state conn_listening\r\n"
        "STAT 26:secs_since_last_cmd 12\r\nSTAT 28:addr tcp:127.0.0.1:50000\r\n"
        "STAT 28:listen_addr tcp:127.0.0.1:11211\r\nSTAT 28:state conn_read\r\n"
        "STAT 28:secs_since_last_cmd 3\r\nEND\r\n");
}

TEST_CASE("stats items and slabs have a block for each class in use", "[protocol][stats]") {
  World world;
  Client client(world);
  CHECK(client.Ask("set a 0 0 1\r\nx\r\nget a\r\n") == "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
  const std::string items = client.Ask("stats items\r\n");
  const auto item_names = Names(items);
  REQUIRE(item_names.size() == 28);
  CHECK(items.find(":number 1\r\n") != std::string::npos);
  CHECK(item_names.front().ends_with(":number"));
  CHECK(item_names.back().ends_with(":hits_to_temp"));

  const std::string slabs = client.Ask("stats slabs\r\n");
  const auto slab_names = Names(slabs);
  REQUIRE(slab_names.size() >= 17);
  CHECK(slab_names[0].ends_with(":chunk_size"));
  CHECK(slab_names[14].ends_with(":touch_hits"));
  CHECK(slab_names[slab_names.size() - 2] == "active_slabs");
  CHECK(slab_names.back() == "total_malloced");
}

TEST_CASE("stats reset forgets what was counted, not what is there", "[protocol][stats]") {
  World world;
  Client client(world);
  client.Ask("set a 0 0 1\r\nx\r\nget a\r\nget b\r\n");
  CHECK(client.Ask("stats reset\r\n") == "RESET\r\n");
  CHECK(world.host.resets == 1);
  const std::string reply = client.Ask("stats\r\n");
  for (const auto* row : {"STAT cmd_get 0\r\n", "STAT get_hits 0\r\n", "STAT get_misses 0\r\n",
                          "STAT cmd_set 0\r\n", "STAT curr_items 1\r\n"}) {
    CAPTURE(row);
    CHECK(reply.find(row) != std::string::npos);
  }
}

TEST_CASE("what is ours is in a group of its own", "[protocol][stats]") {
  World world;
  CHECK(Has(Names(Client(world).Ask("stats larder\r\n")), "larder_version"));
}

TEST_CASE("verbosity goes to the server, two at most", "[protocol][stats]") {
  World world;
  Client client(world);
  client.Ask("verbosity 1\r\n");
  CHECK(world.host.verbosity == 1);
  client.Ask("verbosity 17\r\n");
  CHECK(world.host.verbosity == 2);
}
