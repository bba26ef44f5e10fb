#include "core/hot_keys.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/store.h"

namespace larder {
namespace {

// Draws ranks 0..n-1 with a probability of about 1/(rank+1)^s.
class Zipf {
 public:
  Zipf(size_t n, double s) : sums_(n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sums_[i] = sum += 1 / std::pow(static_cast<double>(i + 1), s);
  }
  size_t operator()(std::mt19937_64& random) const {
    const double at = std::uniform_real_distribution<double>(0, sums_.back())(random);
    return static_cast<size_t>(std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

TEST_CASE("Space-Saving counts at most its error too many, and never too few", "[core][hotkeys]") {
  KeySketch sketch;
  std::mt19937_64 random(1);
  const Zipf zipf(20'000, 1.0);
  std::vector<uint64_t> truth(20'000);
  constexpr uint64_t kSamples = 100'000;
  for (uint64_t i = 0; i < kSamples; ++i) {
    const size_t rank = zipf(random);
    ++truth[rank];
    const uint32_t next = sketch.Count("key" + std::to_string(rank), rank + 1);
    REQUIRE((next > KeySketch::kOneIn / 2 && next < KeySketch::kOneIn * 3 / 2 + 1));
  }
  std::vector<KeySketch::Counter> counters;
  CHECK(sketch.CopyTo(&counters) == kSamples);
  REQUIRE(counters.size() == KeySketch::kCounters);
  uint64_t sum = 0;
  std::vector<bool> has_counter(truth.size());
  for (const auto& one : counters) {
    const size_t rank = one.hash - 1;
    CAPTURE(one.key);
    CHECK(one.key == "key" + std::to_string(rank));
    CHECK(one.count >= truth[rank]);
    CHECK(one.count - one.error <= truth[rank]);
    CHECK(one.error <= kSamples / KeySketch::kCounters);
    sum += one.count;
    has_counter[rank] = true;
  }
  CHECK(sum == kSamples);
  for (size_t rank = 0; rank < truth.size(); ++rank) {
    if (truth[rank] > kSamples / KeySketch::kCounters) CHECK(has_counter[rank]);
  }
}

TEST_CASE("the most wanted keys of several threads are found through the store",
          "[core][hotkeys]") {
  ManualClock clock;
  StoreOptions options;
  options.background = false;
  options.threads = 2;
  Store store(options, clock);
  OpContext contexts[2];
  for (OpContext& ctx : contexts) {
    ctx.stats = store.stats().NewCell();
    ctx.WatchKeys(store.hot_keys().NewSketch());
    ctx.Refresh(clock.NowMs());
  }
  std::mt19937_64 random(7);
  const Zipf zipf(50'000, 1.1);
  std::vector<uint64_t> truth(50'000);
  constexpr int kRequests = 1'000'000;
  for (int i = 0; i < kRequests; ++i) {
    const size_t rank = zipf(random);
    ++truth[rank];
    store.Read(contexts[i % 2], store.MakeKey("key" + std::to_string(rank)), {},
               [](const ValueView&) {});
  }
  clock.Advance(10'000);
  const HotKeys::Report report = store.hot_keys().Top(10);
  CHECK(report.seconds == 10);
  CHECK(std::abs(static_cast<double>(report.samples) * KeySketch::kOneIn / kRequests - 1) < 0.05);
  REQUIRE(report.top.size() == 10);
  for (size_t i = 0; i < 10; ++i) {
    CAPTURE(i, report.top[i].key);
    const auto rank = static_cast<size_t>(std::stoul(report.top[i].key.substr(3)));
    CHECK(rank < 16);  // neighbours may change places
    const auto real = static_cast<double>(truth[rank]);
    CHECK(std::abs(static_cast<double>(report.top[i].requests) - real) < real / 3);
  }
  CHECK(report.top[0].key == "key0");
  store.hot_keys().Reset();
  CHECK(store.hot_keys().Top(10).top.empty());
  CHECK(store.hot_keys().Top(10).samples == 0);
}

TEST_CASE("a pattern of requests does not hide a key from the sample", "[core][hotkeys]") {
  ManualClock clock;
  StoreOptions options;
  options.background = false;
  Store store(options, clock);
  OpContext ctx;
  ctx.stats = store.stats().NewCell();
  ctx.WatchKeys(store.hot_keys().NewSketch());
  for (int i = 0; i < 640'000; ++i) {
    store.Read(ctx, store.MakeKey(i % 64 == 0 ? "rare" : "usual"), {}, [](const ValueView&) {});
  }
  const auto report = store.hot_keys().Top(2);
  REQUIRE(report.top.size() == 2);
  CHECK(report.top[1].key == "rare");
  CHECK(std::abs(static_cast<double>(report.top[1].requests) - 10'000) < 3'000);
}

TEST_CASE("keys that share nothing but their length are kept apart", "[core][hotkeys]") {
  KeySketch sketch;
  const std::string longest(250, 'x');
  sketch.Count(longest, 1);
  sketch.Count("", 2);
  std::vector<KeySketch::Counter> counters;
  sketch.CopyTo(&counters);
  REQUIRE(counters.size() == 2);
  CHECK(counters[0].key == longest);
  CHECK(counters[1].key.empty());
}

}  // namespace
}  // namespace larder
