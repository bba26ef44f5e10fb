#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>

#include "core/store.h"
#include "tests/core/store_fixture.h"

namespace larder {

TEST_CASE("after a change of value size the memory serves the new size", "[core][store][pages]") {
  Fixture f(Quiet(64 << 20));
  for (const size_t size : {100UL, 2000UL, 50000UL}) {
    const std::string value(size, 'v');
    const size_t count = (size_t{64} << 20) / size * 3 / 2;
    for (size_t i = 0; i < count; ++i) {
      f.Put(std::to_string(size) + "." + std::to_string(i), value);
      if (i % 1000 == 0) f.Advance(100);
    }
    size_t held = 0;
    for (const ClassInfo& info : f.store.Classes()) {
      if (info.chunk_bytes >= size && info.chunk_bytes < 2 * size) {
        held += info.pages;
      }
    }
    CAPTURE(size, held);
    CHECK(held >= 64 * 8 / 10);
    f.store.CheckInvariants();
  }
}

TEST_CASE("an item that is read stays, one that is not goes", "[core][store][lru]") {
  Fixture f(Quiet(16 << 20));
  const std::string value(500, 'v');
  for (int i = 0; i < 1000; ++i) f.Put("hot" + std::to_string(i), value);
  for (int i = 0; i < 200000; ++i) {
    f.Put("cold" + std::to_string(i), value);
    if (i % 10 == 0) f.Get("hot" + std::to_string(i / 10 % 1000));
    if (i % 1000 == 0) f.Advance(1000);
  }
  int kept = 0;
  for (int i = 0; i < 1000; ++i) kept += f.Get("hot" + std::to_string(i)) == value ? 1 : 0;
  CHECK(kept >= 990);
}

TEST_CASE("an item that is read stays when the pages around it go", "[core][store][pages]") {
  Fixture f(Quiet(32 << 20));
  const std::string value(4000, 'v');
  for (int i = 0; i < 10'000; ++i) f.Put("cold" + std::to_string(i), value);
  // In chunks of the oldest items, so among the next victims.
  for (int i = 0; i < 10; ++i) f.Put("hot" + std::to_string(i), value);
  for (int turn = 0; turn < 3; ++turn) {
    for (int i = 0; i < 10; ++i) REQUIRE(f.Get("hot" + std::to_string(i)) == value);
  }
  for (int64_t charged = 0; charged < 20; charged += 4) {
    f.store.client_memory().AddStuck(4 << 20);
    f.store.RunMaintenance(f.ctx);
    for (int i = 0; i < 10; ++i) REQUIRE(f.Get("hot" + std::to_string(i)) == value);
  }
  CHECK(f.store.Info().page_bytes <= 13 << 20);
  f.store.CheckInvariants();
}

TEST_CASE("a key that comes back after it went unread is not put on probation again",
          "[core][store][lru]") {
  Fixture f(Quiet(16 << 20, 1));
  const std::string value(400, 'v');
  const auto in_warm = [&] {
    size_t sum = 0;
    for (const ClassInfo& info : f.store.Classes()) sum += info.items[1];
    return sum;
  };
  f.Put("back", value);
  int others = 0;
  while (f.store.Info().items == static_cast<uint64_t>(others) + 1) {
    f.Put("other" + std::to_string(others++), value);
  }
  REQUIRE(f.Get("back") == "-");
  CHECK(in_warm() == 0);
  f.Put("back", value);
  CHECK(in_warm() == 1);
  // A value in place of one that was read is as good as that one.
  f.Put("new", value);
  f.Get("new");
  f.Put("new", std::string(800, 'v'));
  CHECK(in_warm() == 2);
  f.store.CheckInvariants();
}

TEST_CASE("what is changed is not what goes to make room for it", "[core][store][lru]") {
  Fixture f(Quiet(16 << 20, 1));
  const std::string value(400, '7');
  const auto key = [](uint64_t i) { return "k" + std::to_string(1'000'000 + i); };
  uint64_t stored = 0;
  while (f.store.Info().items == stored) f.Put(key(stored++), value);
  const auto is_there = [&](const std::string& name) {
    bool found = false;
    f.store.Read(f.ctx, f.store.MakeKey(name), {.peek = true},
                 [&](const ValueView&) { found = true; });
    return found;
  };
  const uint64_t evicted = f.Count(ClassCounter::evicted);
  uint64_t oldest = 0;
  for (int round = 0; round < 300; ++round, ++oldest) {
    while (!is_there(key(oldest))) ++oldest;  // nothing is read, so it is the next to go
    CAPTURE(round, oldest);
    switch (round % 3) {
      case 0:
        REQUIRE(f.Put(key(oldest), "8", StoreMode::kAppend) == StoreResult::kStored);
        break;
      case 1:
        REQUIRE(f.Put(key(oldest), value + "12345678", StoreMode::kReplace) ==
                StoreResult::kStored);
        break;
      default:
        REQUIRE(f.store.Touch(f.ctx, f.store.MakeKey(key(oldest)), f.ctx.now + 1'000'000));
    }
  }
  CHECK(f.Count(ClassCounter::evicted) > evicted);
  f.store.CheckInvariants();
}

TEST_CASE("without evictions what has ended makes room at once", "[core][store]") {
  Fixture f(SmallWithoutEviction());
  const auto key = [](const char* kind, int i) { return kind + std::to_string(i); };
  const std::string value(900, 'v');
  int stored = 0;
  const auto fill = [&](const char* kind, Deadline deadline) {
    stored = 0;
    while (f.Put(key(kind, stored), value, StoreMode::kSet, deadline) == StoreResult::kStored) {
      ++stored;
    }
    REQUIRE(stored > 5000);
  };
  fill("old", f.ctx.now + 1000);
  REQUIRE(f.Put("refused", value) == StoreResult::kOutOfMemory);
  size_t size = 900;
  SECTION("it expired, and is of the same size") { f.Advance(2000); }
  SECTION("it was flushed") { REQUIRE(f.store.FlushAll(f.ctx, f.ctx.now)); }
  SECTION("it expired, and is of another size") {
    f.Advance(2000);
    size = 400;
  }
  SECTION("it expired, and is no large value") {
    f.Advance(2000);
    size = 60'000;
  }
  const size_t count = 900 * static_cast<size_t>(stored) * 8 / 10 / size;
  for (size_t i = 0; i < count; ++i) {
    CAPTURE(i, count);
    REQUIRE(f.Put("new" + std::to_string(i), std::string(size, 'n')) == StoreResult::kStored);
  }
  for (size_t i = 0; i < count; ++i) REQUIRE(f.Get("new" + std::to_string(i)).size() == size);
  CHECK(f.Count(ClassCounter::evicted) == 0);
  f.store.CheckInvariants();
}

TEST_CASE("without evictions nothing that lives is lost, whatever ends beside it",
          "[core][store]") {
  Fixture f(SmallWithoutEviction());
  std::mt19937_64 random(1);
  std::map<std::string, size_t> kept;
  for (int i = 0; i < 60'000; ++i) {
    const std::string key = "k" + std::to_string(i);
    const size_t size = 50 + random() % 2000;
    const bool is_short = random() % 4 != 0;
    const bool stored =
        f.Put(key, std::string(size, 'v'), StoreMode::kSet,
              is_short ? f.ctx.now + 200 + random() % 500 : kNever) == StoreResult::kStored;
    if (stored && !is_short && kept.size() < 1500) kept[key] = size;
    if (stored && !is_short && !kept.contains(key)) {
      f.store.Delete(f.ctx, {.key = f.store.MakeKey(key)});
    }
    if (i % 10 == 0) f.Advance(1);
  }
  REQUIRE(kept.size() == 1500);
  for (const auto& [key, size] : kept) REQUIRE(f.Get(key).size() == size);
  CHECK(f.Count(ClassCounter::evicted) == 0);
  CHECK(f.Count(ClassCounter::reclaimed) + f.Count(ClassCounter::crawler_reclaimed) > 10'000);
  f.store.CheckInvariants();
}

TEST_CASE("where expired items were, others find room before a live one goes", "[core][store]") {
  Fixture f(Quiet(10 << 20, 1));
  const std::string value(1000, 'v');
  constexpr int kItems = 8000;
  for (int i = 0; i < kItems; ++i) {
    f.Put("old" + std::to_string(i), value, StoreMode::kSet, f.ctx.now + 2000);
  }
  f.Advance(3000);
  f.store.RunMaintenance(f.ctx);
  // Without a deadline they are of another class.
  for (int i = 0; i < kItems; ++i) f.Put("new" + std::to_string(i), value);
  CHECK(f.Count(ClassCounter::evicted) < kItems / 100);
}

TEST_CASE("what is read survives a scan, and a write-only load is a plain queue",
          "[core][store][lru]") {
  Fixture f(Quiet(16 << 20, 1));
  const std::string value(1000, 'v');
  const auto name = [](const char* kind, int i) { return kind + std::to_string(i); };
  for (int i = 0; i < 5000; ++i) f.Put(name("used", i), value);
  for (int i = 0; i < 5000; ++i) f.Get(name("used", i));
  for (int i = 0; i < 100'000; ++i) f.Put(name("scan", i), value);
  int kept = 0;
  for (int i = 0; i < 5000; ++i) kept += f.Get(name("used", i)) == value ? 1 : 0;
  CHECK(kept > 4900);
  // None of those is read: each stays until as many came as there is room for.
  const int room = static_cast<int>(f.store.Info().items) - kept;
  int recent = 0;
  for (int i = 0; i < room; ++i) recent += f.Get(name("scan", 99'999 - i)) == value ? 1 : 0;
  CHECK(recent > room * 8 / 10);
  f.store.CheckInvariants();
}

}  // namespace larder
