// tests/scaling/locks_main.cc — larder-locks: the workload on threads, and how often they met at a
// lock.  Prints one JSON object, counts a million requests.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/lock_counts.h"
#include "tests/scaling/workload.h"

namespace {

using namespace larder;
using namespace larder::scaling;

constexpr const char* kRanks[] = {"registry", "mover", "stripe", "class", "pool", "leaf"};

struct PlayedBy {
  LockCounts locks;
  uint64_t cpu_ns = 0;
};

uint64_t ThreadCpuNs() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

// All players play `batches` each, at the same time; what their threads counted.
PlayedBy PlayAll(std::vector<std::unique_ptr<Player>>& players, uint64_t batches) {
  std::vector<PlayedBy> played(players.size());
  std::vector<std::thread> threads;
  std::atomic<bool> is_go{false};
  for (size_t i = 0; i < players.size(); ++i) {
    threads.emplace_back([&, i] {
      is_go.wait(false);
      lock_counts = {};
      const uint64_t start = ThreadCpuNs();
      for (uint64_t n = 0; n < batches; ++n) players[i]->Play();
      played[i] = {lock_counts, ThreadCpuNs() - start};
    });
  }
  is_go = true;
  is_go.notify_all();
  for (std::thread& thread : threads) thread.join();
  PlayedBy sum;
  for (const PlayedBy& one : played) {
    sum.cpu_ns += one.cpu_ns;
    for (size_t rank = 0; rank < kLockRanks; ++rank) {
      sum.locks.taken[rank] += one.locks.taken[rank];
      sum.locks.contended[rank] += one.locks.contended[rank];
      sum.locks.refused[rank] += one.locks.refused[rank];
      sum.locks.slept[rank] += one.locks.slept[rank];
      sum.locks.samples[rank] += one.locks.samples[rank];
      sum.locks.held_ns[rank] += one.locks.held_ns[rank];
    }
  }
  return sum;
}

// What Taken() and Released() see of themselves.
double ClockNs() {
  constexpr int kLooks = 100'000;
  LockCounts counts;
  for (uint64_t i = 0; i < kLooks * LockCounts::kSampleOneIn; ++i) {
    counts.Taken(0, &counts);
    counts.Released(0, &counts);
  }
  return static_cast<double>(counts.held_ns[0]) / static_cast<double>(counts.samples[0]);
}

// From one core to another and back, in nanoseconds: the least of many tries, each too short to be
// interrupted often, halved.
double TransferNs() {
  using Clock = std::chrono::steady_clock;
  constexpr uint64_t kTurns = 1000;
  constexpr uint64_t kTurnsBefore = 100;  // until both threads run
  constexpr int kTries = 2000;
  struct alignas(128) Ball {
    std::atomic<uint64_t> at{0};
  } ball;
  double least = 1e9;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    ball.at = 0;
    const auto play = [&ball](uint64_t begin, uint64_t end) {
      for (uint64_t turn = begin; turn < end; turn += 2) {
        while (ball.at.load(std::memory_order_acquire) != turn) {
        }
        ball.at.store(turn + 1, std::memory_order_release);
      }
    };
    std::thread other([&play] { play(1, 2 * (kTurnsBefore + kTurns)); });
    play(0, 2 * kTurnsBefore);
    const auto start = Clock::now();
    play(2 * kTurnsBefore, 2 * (kTurnsBefore + kTurns));
    const std::chrono::duration<double, std::nano> took = Clock::now() - start;
    other.join();
    least = std::min(least, took.count() / (2 * kTurns));
  }
  return least;
}

template <typename ByRank>
void Print(const char* name, ByRank&& by_rank) {
  std::printf(", \"%s\": {", name);
  for (size_t rank = 0; rank < kLockRanks; ++rank) {
    std::printf("%s\"%s\": %.1f", rank == 0 ? "" : ", ", kRanks[rank], by_rank(rank));
  }
  std::printf("}");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--transfer") {
    std::printf("{\"transfer_ns\": %.1f}\n", TransferNs());
    return 0;
  }
  World world(ParseSpec(argc, argv));
  const Spec& spec = world.spec;
  std::vector<std::unique_ptr<Player>> players = MakePlayers(world);
  const uint64_t batches = spec.batches();
  (void)PlayAll(players, batches);
  const PlayedBy played = PlayAll(players, batches);
  const LockCounts& locks = played.locks;
  const auto requests = static_cast<double>(batches * spec.pipeline * spec.workers);
  const auto a_million = [requests](const auto& counts) {
    return [&counts, requests](size_t rank) {
      return static_cast<double>(counts[rank]) * 1e6 / requests;
    };
  };
  const double clock_ns = ClockNs();
  std::printf("{\"requests\": %.0f, \"cpu_ns\": %.1f", requests,
              static_cast<double>(played.cpu_ns) / requests);
  Print("taken", a_million(locks.taken));
  Print("contended", a_million(locks.contended));
  Print("refused", a_million(locks.refused));
  Print("slept", a_million(locks.slept));
  Print("held_ns", [&](size_t rank) {
    if (locks.samples[rank] == 0) return 0.0;
    const double looks = static_cast<double>(locks.samples[rank]);
    return std::max(0.0, static_cast<double>(locks.held_ns[rank]) / looks - clock_ns);
  });
  std::printf("}\n");
  return 0;
}
