#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"

namespace larder {
namespace {

StoreOptions Quiet() {
  StoreOptions options;
  options.background = false;
  options.hash_seed = 7;
  return options;
}

struct Fixture {
  Fixture() : store(Quiet(), clock) {
    ctx.stats = store.stats().NewCell();
    ctx.now = clock.NowMs();
  }
  void Put(const std::string& key, size_t size = 1, Deadline deadline = kNever) {
    const StoreRequest request{.key = store.MakeKey(key), .deadline = deadline};
    REQUIRE(store.Put(ctx, request, std::string(size, 'v')) == StoreResult::kStored);
  }
  // How often each key is shown; `between` runs between the slices.
  template <typename Between>
  std::map<std::string, int> Walk(const WalkFilter& filter, Between&& between) {
    std::map<std::string, int> seen;
    WalkCursor cursor;
    std::vector<ItemInfo> items;
    bool more = true;
    while (more) {
      items.clear();
      more = store.Walk(ctx, filter, &cursor, &items);
      CHECK(items.size() < 1000);  // bounded, whatever there is
      for (const ItemInfo& item : items) ++seen[item.key];
      between();
    }
    return seen;
  }
  std::map<std::string, int> Walk(const WalkFilter& filter = {}) {
    return Walk(filter, [] {});
  }

  ManualClock clock;
  Store store;
  OpContext ctx;
};

}  // namespace

TEST_CASE("a walk shows each live item once, with what is known of it", "[core][walk]") {
  Fixture f;
  CHECK(f.Walk().empty());
  for (int i = 0; i < 3000; ++i) f.Put("k" + std::to_string(i));
  f.Put("large", 100'000);
  f.Put("over", 1, f.ctx.now + 1000);
  f.clock.Advance(1000);
  f.ctx.now = f.clock.NowMs();
  const auto seen = f.Walk();
  CHECK(seen.size() == 3001);
  for (const auto& [key, count] : seen) CHECK(count == 1);
  CHECK_FALSE(seen.contains("over"));
  REQUIRE(f.store.FlushPrefix(f.ctx, "k1"));
  CHECK(f.Walk().size() == 3001 - 1111);
}

TEST_CASE("items that are there throughout a walk are shown once while the index grows",
          "[core][walk][index]") {
  Fixture f;
  std::mt19937 random(1);
  constexpr int kThere = 200'000;
  for (int i = 0; i < kThere; ++i) f.Put("there" + std::to_string(i));
  int added = 0;
  const auto seen = f.Walk({}, [&] {
    for (int i = 0; i < 300; ++i) f.Put("new" + std::to_string(added++));
    for (int i = 0; i < 50; ++i) {
      const int gone = static_cast<int>(random() % static_cast<unsigned>(added));
      (void)f.store.Delete(f.ctx, {.key = f.store.MakeKey("new" + std::to_string(gone))});
    }
  });
  CHECK(added > 300'000);  // the index has more than doubled meanwhile
  int there = 0;
  for (const auto& [key, count] : seen) {
    if (count != 1) FAIL("shown " << count << " times: " << key);
    if (key.starts_with("there")) ++there;
  }
  CHECK(there == kThere);
}

TEST_CASE("the parts of a walk make up the whole and share nothing", "[core][walk]") {
  Fixture f;
  for (int i = 0; i < 5000; ++i) f.Put("k" + std::to_string(i));
  const unsigned parts = GENERATE(1U, 2U, 3U, 7U, 64U);
  std::map<std::string, int> all;
  for (unsigned part = 0; part < parts; ++part) {
    WalkFilter filter;
    filter.part = part;
    filter.parts = parts;
    for (const auto& [key, count] : f.Walk(filter)) all[key] += count;
  }
  CHECK(all.size() == 5000);
  for (const auto& [key, count] : all) {
    if (count != 1) FAIL("shown " << count << " times: " << key);
  }
}

TEST_CASE("a walk shows only what its filter lets through", "[core][walk]") {
  Fixture f;
  for (int i = 0; i < 100; ++i) f.Put("a:" + std::to_string(i), 10);
  for (int i = 0; i < 100; ++i) f.Put("b:" + std::to_string(i), 1000);
  WalkFilter filter;
  filter.prefix = "a:1";
  CHECK(f.Walk(filter).size() == 11);
  size_t large_class = 0;
  for (const ClassInfo& info : f.store.Classes()) {
    if (info.items[0] != 0) large_class = info.id;
  }
  filter = {};
  filter.classes.set(large_class);
  CHECK(f.Walk(filter).size() == 100);
  filter.prefix = "a:";
  CHECK(f.Walk(filter).empty());
}

TEST_CASE("walks and changes by many threads do not disturb each other", "[core][walk][threads]") {
  SystemClock clock;
  StoreOptions options;
  options.memory_bytes = 128 << 20;
  Store store(options, clock);
  OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
  constexpr int kThere = 20'000;
  for (int i = 0; i < kThere; ++i) {
    const std::string key = "there" + std::to_string(i);
    const StoreRequest request{.key = store.MakeKey(key)};
    REQUIRE(store.Put(ctx, request, "v") == StoreResult::kStored);
  }
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      OpContext mine{.stats = store.stats().NewCell(), .now = clock.NowMs()};
      for (int i = 0; !stop; ++i) {
        const std::string key = "t" + std::to_string(t) + ":" + std::to_string(i % 50'000);
        (void)store.Put(mine, {.key = store.MakeKey(key)}, "value");
        if (i % 3 == 0) (void)store.Delete(mine, {.key = store.MakeKey(key)});
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      OpContext mine{.stats = store.stats().NewCell(), .now = clock.NowMs()};
      for (int round = 0; round < 3; ++round) {
        std::map<std::string, int> seen;
        WalkCursor cursor;
        std::vector<ItemInfo> items;
        bool more = true;
        while (more) {
          items.clear();
          more = store.Walk(mine, {}, &cursor, &items);
          for (const ItemInfo& item : items) ++seen[item.key];
        }
        int there = 0;
        for (const auto& [key, count] : seen) {
          if (count != 1) ++wrong;
          if (key.starts_with("there")) ++there;
        }
        if (there != kThere) ++wrong;
      }
    });
  }
  threads[2].join();
  threads[3].join();
  stop = true;
  threads[0].join();
  threads[1].join();
  CHECK(wrong == 0);
}

}  // namespace larder
