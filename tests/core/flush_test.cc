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

bool Has(Store& store, OpContext& ctx, std::string_view key) {
  return store.Read(ctx, store.MakeKey(key), {}, [](const ValueView&) {}) == ReadResult::kHit;
}

StoreResult Put(Store& store, OpContext& ctx, std::string_view key) {
  return store.Put(ctx, {.key = store.MakeKey(key)}, "value");
}

// With a crawler that comes by itself a flush may have to wait for it.
void Flush(Store& store, OpContext& ctx, std::string_view prefix) {
  while (!store.FlushPrefix(ctx, prefix)) std::this_thread::yield();
}

struct Fixture {
  static StoreOptions Quiet() {
    StoreOptions options;
    options.background = false;
    return options;
  }
  Fixture() : store(Quiet(), clock) {
    ctx.stats = store.stats().NewCell();
    ctx.now = clock.NowMs();
  }
  ManualClock clock;
  Store store;
  OpContext ctx;
};

}  // namespace

TEST_CASE("flush_prefix ends the keys that begin so, and no others", "[core][flush]") {
  Fixture f;
  for (const char* key : {"user:1", "user:2", "user", "use", "page:1", "u"}) {
    REQUIRE(Put(f.store, f.ctx, key) == StoreResult::kStored);
  }
  REQUIRE(f.store.FlushPrefix(f.ctx, "user:"));
  CHECK_FALSE(Has(f.store, f.ctx, "user:1"));
  for (const char* key : {"user", "use", "page:1", "u"}) CHECK(Has(f.store, f.ctx, key));
  // What comes after it lives.
  REQUIRE(Put(f.store, f.ctx, "user:2") == StoreResult::kStored);
  CHECK(Has(f.store, f.ctx, "user:2"));
  REQUIRE(f.store.FlushPrefix(f.ctx, "page:1 and more than there is"));
  CHECK(Has(f.store, f.ctx, "page:1"));
  REQUIRE(f.store.FlushPrefix(f.ctx, "page:1"));
  CHECK_FALSE(Has(f.store, f.ctx, "page:1"));
  CHECK((*f.store.stats().Totals())[ThreadCounter::cmd_flush] == 3);
  CHECK((*f.store.stats().Totals())[ThreadCounter::get_flushed] == 2);
}

TEST_CASE("the crawler frees what a prefix flush ended and keeps the rest", "[core][flush]") {
  Fixture f;
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(Put(f.store, f.ctx, (i % 2 == 0 ? "a:" : "b:") + std::to_string(i)) ==
            StoreResult::kStored);
  }
  REQUIRE(f.store.FlushPrefix(f.ctx, "a:"));
  f.store.RunMaintenance(f.ctx);
  CHECK(f.store.Info().items == 500);
  CHECK(Has(f.store, f.ctx, "b:1"));
  f.store.CheckInvariants();
}

TEST_CASE("a delayed flush whose time has come is not forgotten for a later one", "[core][flush]") {
  Fixture f;
  REQUIRE(Put(f.store, f.ctx, "a") == StoreResult::kStored);
  f.store.FlushAll(f.ctx, f.ctx.now + 10);
  f.clock.Advance(20);
  f.ctx.now = f.clock.NowMs();
  f.store.FlushAll(f.ctx, f.ctx.now + 1000);  // nothing has looked at the clock in between
  CHECK(!Has(f.store, f.ctx, "a"));
}

TEST_CASE("flushes of every kind agree with a map after every step", "[core][flush][model]") {
  Fixture f;
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::map<std::string, bool> model;
  TimeMs flush_at = 0;
  const auto random_key = [&] {
    std::string key;
    for (size_t n = 1 + random() % 4; n > 0; --n) key += static_cast<char>('a' + random() % 3);
    return key;
  };
  const auto erase_prefix = [&](const std::string& prefix) {
    std::erase_if(model, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  };
  for (int step = 0; step < 50'000; ++step) {
    CAPTURE(step);
    const std::string key = random_key();
    switch (random() % 16) {
      case 0:
        REQUIRE(f.store.FlushPrefix(f.ctx, key));
        erase_prefix(key);
        break;
      case 1:
        if (random() % 20 != 0) break;
        f.store.FlushAll(f.ctx, f.ctx.now);
        flush_at = 0;
        model.clear();
        break;
      case 2:
        if (random() % 20 != 0) break;
        flush_at = f.ctx.now + 1 + random() % 100;
        f.store.FlushAll(f.ctx, flush_at);
        break;
      case 3:
        if (random() % 50 == 0) f.store.RunMaintenance(f.ctx);
        break;
      case 4:
        f.clock.Advance(random() % 10);
        f.ctx.now = f.clock.NowMs();
        if (flush_at != 0 && f.ctx.now >= flush_at) {
          flush_at = 0;
          model.clear();
        }
        break;
      case 5:
        CHECK((f.store.Delete(f.ctx, {.key = f.store.MakeKey(key)}) == DeleteResult::kDeleted) ==
              (model.erase(key) == 1));
        break;
      case 6:
      case 7:
      case 8:
        REQUIRE(Put(f.store, f.ctx, key) == StoreResult::kStored);
        model[key] = true;
        break;
      default:
        if (Has(f.store, f.ctx, key) != model.contains(key)) FAIL("differs for " << key);
    }
  }
  f.store.CheckInvariants();
}

TEST_CASE("a prefix flush holds against concurrent sets, reads and other flushes",
          "[core][flush][threads]") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 300;
  SystemClock clock;
  StoreOptions options;
  options.memory_bytes = 32 << 20;
  Store store(options, clock);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
      const std::string mine = "thread" + std::to_string(t) + ":";
      const std::string stays = "stays" + std::to_string(t);
      if (Put(store, ctx, stays) != StoreResult::kStored) ++wrong;
      for (int round = 0; round < kRounds; ++round) {
        ctx.now = clock.NowMs();
        for (int i = 0; i < 20; ++i) {
          if (Put(store, ctx, mine + std::to_string(i)) != StoreResult::kStored) ++wrong;
        }
        for (int i = 0; i < 20; ++i) {
          if (!Has(store, ctx, mine + std::to_string(i))) ++wrong;
        }
        Flush(store, ctx, mine);
        for (int i = 0; i < 20; ++i) {
          if (Has(store, ctx, mine + std::to_string(i))) ++wrong;
        }
        if (!Has(store, ctx, stays)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace larder
