// tests/scaling/lines_main.cc — larder-lines: the workload in turns, and which cache lines had to
// go from one worker to another.  Prints one JSON object; the figures are the same in every run.

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/scaling/line_counter.h"
#include "tests/scaling/workload.h"

namespace {

using namespace larder::scaling;

// Time passes as if each worker answered a million requests a second.
constexpr uint64_t kRequestsAMillisecond = 1000;

void PlayAll(World& world, std::vector<std::unique_ptr<Player>>& players, uint64_t rounds) {
  const uint64_t rounds_a_ms = kRequestsAMillisecond / world.spec.pipeline;
  for (uint64_t round = 0; round < rounds; ++round) {
    for (unsigned i = 0; i < players.size(); ++i) {
      players[i]->Compose();
      BeginBatch(i);
      players[i]->Send();
      EndBatch();
    }
    if (round % rounds_a_ms == 0) world.clock.Advance(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  World world(ParseSpec(argc, argv));
  const Spec& spec = world.spec;
  std::vector<std::unique_ptr<Player>> players = MakePlayers(world);
  const uint64_t rounds = spec.batches();
  PlayAll(world, players, rounds);
  SetCounting(true);
  PlayAll(world, players, rounds);
  std::printf("{\"requests\": %" PRIu64 ", \"places\": [", rounds * spec.pipeline * spec.workers);
  const char* comma = "";
  for (const PlaceCounts& one : Counted()) {
    std::printf("%s\n  [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", comma, one.place,
                one.shared_writes, one.write_transfers, one.read_transfers);
    comma = ",";
  }
  std::printf("]}\n");
  return 0;
}
