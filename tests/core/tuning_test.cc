#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "core/store.h"

namespace larder {
namespace {

constexpr uint64_t kMiB = 1 << 20;

struct Fixture {
  static StoreOptions Quiet() {
    StoreOptions options;
    options.background = false;
    options.memory_bytes = 32 * kMiB;
    return options;
  }
  explicit Fixture(const StoreOptions& options = Quiet()) : store(options, clock) {
    ctx.stats = store.stats().NewCell();
    ctx.now = clock.NowMs();
  }
  StoreResult Put(const std::string& key, size_t size, Deadline deadline = kNever) {
    const StoreRequest request{.key = store.MakeKey(key), .deadline = deadline};
    return store.Put(ctx, request, std::string(size, 'v'));
  }
  bool Has(const std::string& key) {
    return store.Read(ctx, store.MakeKey(key), {}, [](const ValueView&) {}) == ReadResult::kHit;
  }
  size_t Items(size_t segment) {
    size_t sum = 0;
    for (const ClassInfo& info : store.Classes()) sum += info.items[segment];
    return sum;
  }
  ClassInfo ClassOf(size_t id) { return store.Classes()[id - 1]; }
  size_t LargestUsedClass() {
    size_t id = 0;
    for (const ClassInfo& info : store.Classes()) {
      if (info.pages > 1) id = info.id;
    }
    return id;
  }

  ManualClock clock;
  Store store;
  OpContext ctx;
};

constexpr size_t kHot = 0;
constexpr size_t kWarm = 1;
constexpr size_t kCold = 2;
constexpr size_t kTemp = 3;

}  // namespace

TEST_CASE("the memory limit goes down with the pages, and up at once", "[core][tuning][limit]") {
  Fixture f;
  for (int i = 0; i < 4000; ++i)
    REQUIRE(f.Put("k" + std::to_string(i), 10000) == StoreResult::kStored);
  CHECK(f.store.Info().page_bytes > 28 * kMiB);
  CHECK(f.store.SetMemoryLimit(12 * kMiB) == LimitResult::kDone);
  CHECK(f.store.Info().limit_bytes == 12 * kMiB);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.store.Info().page_bytes <= 12 * kMiB);
  CHECK(f.store.Info().item_bytes > 9 * kMiB);  // what fits is still there
  f.store.CheckInvariants();

  CHECK(f.store.SetMemoryLimit(256 * kMiB) == LimitResult::kDone);
  for (int i = 0; i < 20000; ++i)
    REQUIRE(f.Put("n" + std::to_string(i), 10000) == StoreResult::kStored);
  CHECK(f.Has("n0"));  // nothing had to go
  CHECK(f.store.Info().page_bytes > 190 * kMiB);
  f.store.CheckInvariants();
}

TEST_CASE("a memory limit that cannot be is refused and changes nothing", "[core][tuning][limit]") {
  StoreOptions options = Fixture::Quiet();
  options.max_item_bytes = 8 * kMiB;
  {
    Fixture f(options);
    CHECK(f.store.SetMemoryLimit(15 * kMiB) == LimitResult::kOutOfReach);  // for an item of 8 MiB
    CHECK(f.store.SetMemoryLimit(uint64_t{1} << 45) == LimitResult::kOutOfReach);
    CHECK(f.store.Info().limit_bytes == 32 * kMiB);
  }
  options.preallocate = true;
  Fixture f(options);
  CHECK(f.store.SetMemoryLimit(64 * kMiB) == LimitResult::kFixed);
}

TEST_CASE("without eviction a lower limit takes no item away", "[core][tuning][limit]") {
  StoreOptions options = Fixture::Quiet();
  options.evict = false;
  Fixture f(options);
  int stored = 0;
  while (f.Put("k" + std::to_string(stored), 10000) == StoreResult::kStored) ++stored;
  CHECK(f.store.SetMemoryLimit(12 * kMiB) == LimitResult::kDone);
  f.store.RunMaintenance(f.ctx);
  for (int i = 0; i < stored; ++i) REQUIRE(f.Has("k" + std::to_string(i)));
  CHECK(f.Put("one more", 10000) == StoreResult::kOutOfMemory);
}

TEST_CASE("slabs reassign moves one page and keeps the items that find room",
          "[core][tuning][pages]") {
  Fixture f;
  for (int i = 0; i < 1000; ++i)
    REQUIRE(f.Put("k" + std::to_string(i), 10000) == StoreResult::kStored);
  const auto from = static_cast<int64_t>(f.LargestUsedClass());
  REQUIRE(from > 2);
  const size_t pages = f.ClassOf(f.LargestUsedClass()).pages;
  CHECK(f.store.Reassign(from, from) == ReassignResult::kSame);
  CHECK(f.store.Reassign(1, 2) == ReassignResult::kNoSpare);
  CHECK(f.store.Reassign(from, 100'000) == ReassignResult::kBadClass);
  CHECK(f.store.Reassign(-2, 1) == ReassignResult::kBadClass);
  const int64_t source = GENERATE(0, 1) == 0 ? from : -1;
  CHECK(f.store.Reassign(source, 1) == ReassignResult::kStarted);
  CHECK(f.store.Reassign(source, 1) == ReassignResult::kBusy);
  CHECK(f.store.Info().reassign_running);
  f.store.RunMaintenance(f.ctx);
  CHECK_FALSE(f.store.Info().reassign_running);
  CHECK(f.ClassOf(static_cast<size_t>(from)).pages == pages - 1);
  CHECK(f.ClassOf(1).pages == 1);
  f.store.CheckInvariants();

  CHECK(f.store.Reassign(from, 0) == ReassignResult::kStarted);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.ClassOf(static_cast<size_t>(from)).pages == pages - 2);
  CHECK(f.store.Info().free_pages >= 1);
  f.store.CheckInvariants();
}

TEST_CASE("lru mode flat makes one queue of three, segmented three of one", "[core][tuning][lru]") {
  Fixture f;
  for (int i = 0; i < 100; ++i) REQUIRE(f.Put("k" + std::to_string(i), 10) == StoreResult::kStored);
  CHECK(f.Items(kHot) == 100);
  f.store.tuning().segmented.store(false);
  REQUIRE(f.Put("flat", 10) == StoreResult::kStored);
  CHECK(f.Items(kCold) == 1);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.Items(kCold) == 101);
  CHECK(f.Items(kHot) + f.Items(kWarm) == 0);
  f.store.tuning().segmented.store(true);
  REQUIRE(f.Put("hot", 10) == StoreResult::kStored);
  CHECK(f.Items(kHot) == 1);
  f.store.CheckInvariants();
}

TEST_CASE("lru tune sets the shares that the maintainer keeps", "[core][tuning][lru]") {
  Fixture f;
  f.store.tuning().hot_percent.store(5);
  for (int i = 0; i < 100; ++i) REQUIRE(f.Put("k" + std::to_string(i), 10) == StoreResult::kStored);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.Items(kHot) == 100);  // nobody has read them, and nobody needs the room
  for (int i = 0; i < 100; ++i) {
    f.store.Read(f.ctx, f.store.MakeKey("k" + std::to_string(i)), [](const ValueView&) {});
  }
  f.store.RunMaintenance(f.ctx);
  CHECK(f.Items(kHot) == 5);
  f.store.tuning().hot_percent.store(60);
  for (int i = 0; i < 100; ++i) REQUIRE(f.Put("n" + std::to_string(i), 10) == StoreResult::kStored);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.Items(kHot) > 80);
}

TEST_CASE("lru temp_ttl sends short-lived items to their own queue", "[core][tuning][lru]") {
  Fixture f;
  REQUIRE(f.Put("a", 10, f.ctx.now + 5000) == StoreResult::kStored);
  CHECK(f.Items(kTemp) == 0);
  f.store.tuning().temporary_ttl_seconds.store(10);
  REQUIRE(f.Put("b", 10, f.ctx.now + 5000) == StoreResult::kStored);
  REQUIRE(f.Put("c", 10, f.ctx.now + 50000) == StoreResult::kStored);
  CHECK(f.Items(kTemp) == 1);
}

TEST_CASE("the crawler can be stopped, started and asked for a pass", "[core][tuning][crawler]") {
  SystemClock clock;
  StoreOptions options;
  options.crawler = false;
  options.memory_bytes = 16 * kMiB;
  Store store(options, clock);
  OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
  const StoreRequest request{.key = store.MakeKey("k"), .deadline = kAtOnce};
  const auto checked = [&] {
    return (*store.stats().Totals())[ClassCounter::crawler_items_checked];
  };
  REQUIRE(store.Put(ctx, request, "v") == StoreResult::kStored);
  CHECK(store.StartCrawl());
  CHECK_FALSE(store.StartCrawl());  // asked for already
  CHECK(checked() == 0);
  store.tuning().crawler.store(true);
  while (store.Info().items != 0) std::this_thread::yield();
  CHECK(checked() >= 1);
}

}  // namespace larder
