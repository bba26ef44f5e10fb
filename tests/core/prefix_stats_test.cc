#include "core/prefix_stats.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"

namespace larder {

TEST_CASE("prefixes are bounded in number and in bytes", "[core][prefix]") {
  std::atomic<size_t> bytes{0};
  {
    PrefixTable table(':', bytes);
    for (size_t i = 0; i < PrefixTable::kMaxPrefixes + 100; ++i) {
      table.CountSet(std::to_string(i) + ":k");
    }
    std::map<std::string, PrefixCounts> sums;
    table.AddTo(&sums);
    CHECK(sums.size() == PrefixTable::kMaxPrefixes);
    table.CountSet("0:again");  // a known one goes on counting
    sums.clear();
    table.AddTo(&sums);
    CHECK(sums["0"].sets == 2);
    PrefixTable other(':', bytes);
    const std::string long_part(240, 'x');
    for (size_t i = 0; i < PrefixTable::kMaxPrefixes; ++i) {
      other.CountSet(long_part + std::to_string(i) + ":");
    }
    PrefixTable third(':', bytes);
    for (size_t i = 0; i < PrefixTable::kMaxPrefixes; ++i) {
      third.CountSet(long_part + std::to_string(i) + ":");
    }
    CHECK(bytes <= PrefixTable::kMostBytes);
    CHECK(bytes > PrefixTable::kMostBytes - 1000);
  }
  CHECK(bytes == 0);
}

TEST_CASE("threads count by prefix while it is switched, read and reset",
          "[core][prefix][threads]") {
  SystemClock clock;
  StoreOptions options;
  options.prefix_stats = true;
  Store store(options, clock);
  constexpr int kThreads = 4;
  constexpr uint64_t kRounds = 5000;
  const auto work = [&] {
    OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
    for (uint64_t i = 0; i < kRounds; ++i) {
      (void)store.Put(ctx, {.key = store.MakeKey("p:k")}, "v");
      (void)store.Read(ctx, store.MakeKey("p:k"), {}, [](const ValueView&) {});
    }
  };
  const auto run = [&](auto&& meanwhile) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) threads.emplace_back(work);
    meanwhile();
    for (std::thread& thread : threads) thread.join();
  };
  run([&] { (void)store.stats().Prefixes(); });
  auto sums = store.stats().Prefixes();
  CHECK(sums.size() == 1);
  CHECK(sums["p"].sets == kThreads * kRounds);
  CHECK(sums["p"].gets == kThreads * kRounds);
  CHECK(sums["p"].hits == kThreads * kRounds);
  run([&] {
    for (int i = 0; i < 50; ++i) {
      store.stats().CollectPrefixes(i % 2 == 0);
      store.stats().Reset();
    }
  });
  store.stats().CollectPrefixes(false);
  store.stats().Reset();
  run([] {});
  CHECK(store.stats().Prefixes().empty());
}

}  // namespace larder
