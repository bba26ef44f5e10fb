// tests/core/tokens_test.cc — stale items, tokens, created items: what the meta commands rest on.

#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "core/store.h"

namespace larder {
namespace {

struct World {
  World() : store(Quiet(), clock) { ctx.stats = store.stats().NewCell(); }
  static StoreOptions Quiet() {
    StoreOptions options;
    options.memory_bytes = 16 << 20;
    options.background = false;
    return options;
  }
  struct Seen {
    ReadResult result = ReadResult::kMiss;
    std::string value;
    uint64_t cas = 0;
    Deadline deadline = kNever;
    bool stale = false, sent = false, won = false, fetched = false, binary = false;
  };
  Seen Read(std::string_view key, ReadOptions options) {
    Seen seen;
    seen.result = store.Read(ctx, store.MakeKey(key), options, [&](const ValueView& view) {
      seen.value = view.bytes;
      seen.cas = view.cas();
      seen.deadline = view.deadline();
      seen.stale = view.stale();
      seen.sent = view.token_sent();
      seen.won = view.token_won;
      seen.fetched = view.was_fetched();
      seen.binary = view.binary_key();
    });
    return seen;
  }
  Seen Meta(std::string_view key) { return Read(key, {.tokens = true}); }
  StoreResult Put(std::string_view value, StoreRequest request) {
    request.key = store.MakeKey("k");
    return store.Put(ctx, request, value, &answer);
  }
  DeleteResult Delete(DeleteRequest request) {
    request.key = store.MakeKey("k");
    return store.Delete(ctx, request);
  }
  CounterResult Count(CounterRequest request) {
    request.key = store.MakeKey("k");
    return store.Count(ctx, request, &counted);
  }

  ManualClock clock;
  Store store;
  OpContext ctx{.now = clock.NowMs()};
  StoreAnswer answer;
  CounterAnswer counted;
};

constexpr size_t kLarge = kLargeValueBytes * 3;

TEST_CASE("the first to miss creates the item and holds its token", "[core][tokens]") {
  World w;
  const ReadOptions create{
      .tokens = true, .create = true, .create_deadline = w.ctx.now + 30'000, .binary_key = true};
  const auto first = w.Read("k", create);
  CHECK(first.result == ReadResult::kMiss);
  CHECK((first.won && !first.sent && first.value.empty() && first.binary));
  CHECK(first.deadline == w.ctx.now + 30'000);
  const auto second = w.Read("k", create);
  CHECK(second.result == ReadResult::kHit);
  CHECK((!second.won && second.sent));
  CHECK(w.Put("new", {}) == StoreResult::kStored);
  const auto third = w.Meta("k");
  CHECK((!third.won && !third.sent && !third.stale && !third.binary));
  w.store.CheckInvariants();
}

TEST_CASE("one reader is told to refresh an item that ends soon", "[core][tokens]") {
  World w;
  REQUIRE(w.Put("v", {.deadline = w.ctx.now + 30'000}) == StoreResult::kStored);
  const auto within = [&](uint64_t seconds) {
    return w.Read("k", {.tokens = true, .recache = true, .recache_seconds = seconds});
  };
  CHECK_FALSE(within(20).won);
  CHECK_FALSE(within(30).won);
  CHECK(within(31).won);
  const auto again = within(31);
  CHECK((!again.won && again.sent));
  REQUIRE(w.Put("v", {}) == StoreResult::kStored);
  CHECK_FALSE(within(60).won);  // it never ends
}

TEST_CASE("a value marked stale is shown, and one reader is told to replace it", "[core][tokens]") {
  World w;
  const size_t size = GENERATE(size_t{2}, kLarge);
  const std::string value(size, 'v');
  REQUIRE(w.Put(value, {.flags = 7}) == StoreResult::kStored);
  const uint64_t before = w.answer.cas;
  REQUIRE(w.Delete({.mark_stale = true, .deadline = w.ctx.now + 30'000}) == DeleteResult::kDeleted);
  const auto first = w.Meta("k");
  CHECK((first.stale && first.won && !first.sent));
  CHECK(first.cas != before);
  CHECK(first.deadline == w.ctx.now + 30'000);
  const auto second = w.Meta("k");
  CHECK((second.stale && !second.won && second.sent));
  // Marked again: the token is to be won again.
  REQUIRE(w.Delete({.mark_stale = true, .new_cas = 77}) == DeleteResult::kDeleted);
  const auto third = w.Meta("k");
  CHECK((third.won && third.cas == 77));
  w.store.CheckInvariants();
}

TEST_CASE("plain reads neither win nor spend tokens", "[core][tokens]") {
  World w;
  REQUIRE(w.Put("v", {}) == StoreResult::kStored);
  REQUIRE(w.Delete({.mark_stale = true}) == DeleteResult::kDeleted);
  CHECK_FALSE(w.Read("k", {}).won);
  CHECK_FALSE(w.Read("k", {.touch = true, .deadline = w.ctx.now + 1000}).won);
  CHECK(w.Meta("k").won);
}

TEST_CASE("a peek leaves no trace", "[core][tokens]") {
  World w;
  REQUIRE(w.Put("v", {}) == StoreResult::kStored);
  CHECK_FALSE(w.Read("k", {.peek = true}).fetched);
  CHECK_FALSE(w.Read("k", {.peek = true}).fetched);
  CHECK_FALSE(w.Read("k", {}).fetched);
  CHECK(w.Read("k", {}).fetched);
  const auto totals = w.store.stats().Totals();
  const uint64_t gets = totals->cmd_get();
  (void)w.Read("k", {.uncounted = true});
  CHECK(w.store.stats().Totals()->cmd_get() == gets);
}

TEST_CASE("a cas with a lower number stores a stale value where that is allowed",
          "[core][tokens]") {
  World w;
  const size_t size = GENERATE(size_t{2}, kLarge);
  const std::string value(size, 'z');
  REQUIRE(w.Put("old", {.deadline = w.ctx.now + 9000, .new_cas = 500}) == StoreResult::kStored);
  StoreRequest cas{.mode = StoreMode::kCas, .compare_cas = 499};
  CHECK(w.Put(value, cas) == StoreResult::kExists);
  cas.or_stale = true;
  CHECK(w.Put(value, cas) == StoreResult::kStored);
  CHECK(w.answer.size == value.size());
  const auto seen = w.Meta("k");
  CHECK((seen.stale && seen.won));
  CHECK(seen.deadline == w.ctx.now + 9000);
  cas.compare_cas = seen.cas + 1;  // a higher one never stores
  CHECK(w.Put(value, cas) == StoreResult::kExists);
  w.store.CheckInvariants();
}

TEST_CASE("a join can compare, and can create", "[core][tokens]") {
  World w;
  const size_t size = GENERATE(size_t{2}, kLarge);
  const std::string value(size, 'j');
  StoreRequest join{.mode = StoreMode::kAppend};
  CHECK(w.Put(value, join) == StoreResult::kNotStored);
  join.join_creates = true;
  join.deadline = w.ctx.now + 5000;
  CHECK(w.Put(value, join) == StoreResult::kStored);
  CHECK(w.answer.size == size);
  const uint64_t cas = w.answer.cas;
  join.compare_cas = cas + 1;
  CHECK(w.Put(value, join) == StoreResult::kExists);
  join.compare_cas = cas;
  join.new_cas = 4711;
  CHECK(w.Put(value, join) == StoreResult::kStored);
  CHECK(w.answer.size == 2 * size);
  CHECK(w.answer.cas == 4711);
  CHECK(w.Meta("k").deadline == w.ctx.now + 5000);
  w.store.CheckInvariants();
}

TEST_CASE("a delete can compare, and can leave an empty item behind", "[core][tokens]") {
  World w;
  const size_t size = GENERATE(size_t{2}, kLarge);
  REQUIRE(w.Put(std::string(size, 'v'), {.flags = 5, .deadline = w.ctx.now + 1000, .new_cas = 7}) ==
          StoreResult::kStored);
  CHECK(w.Delete({.compare_cas = 8}) == DeleteResult::kExists);
  CHECK(w.Delete({.mark_stale = true, .drop_value = true, .new_cas = 900}) ==
        DeleteResult::kDeleted);
  const auto seen = w.Meta("k");
  CHECK((seen.stale && seen.won && seen.value.empty()));
  CHECK((seen.cas == 900 && seen.deadline == kNever));
  CHECK(w.Delete({.compare_cas = 900}) == DeleteResult::kDeleted);
  CHECK(w.Delete({}) == DeleteResult::kNotFound);
  w.store.CheckInvariants();
}

TEST_CASE("a counter can be created, compared and given another end", "[core][tokens]") {
  World w;
  CHECK(w.Count({.create = true, .initial = 100, .create_deadline = w.ctx.now + 1000}) ==
        CounterResult::kDone);
  CHECK((w.counted.value == 100 && w.counted.deadline == w.ctx.now + 1000));
  CHECK(w.Count({.create = true, .initial = 100}) == CounterResult::kDone);
  CHECK(w.counted.value == 101);
  CHECK(w.Count({.compare_cas = w.counted.cas + 1}) == CounterResult::kExists);
  CHECK(w.Count({.delta = 9'000, .compare_cas = w.counted.cas, .new_cas = 50}) ==
        CounterResult::kDone);
  CHECK((w.counted.value == 9101 && w.counted.cas == 50));
  CHECK(w.Count({.down = true, .deadline = w.ctx.now + 7000}) == CounterResult::kDone);
  CHECK(w.Meta("k").deadline == w.ctx.now + 7000);
  w.store.CheckInvariants();
}

}  // namespace
}  // namespace larder
