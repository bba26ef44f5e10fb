#include "core/events.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/store.h"

namespace larder {
namespace {

struct Noted {
  uint32_t streams;
  EventData event;
  std::string text;
};

class RecordingSink final : public EventSink {
 public:
  using EventSink::EventSink;
  void Note(uint32_t streams, const EventData& event, std::string_view text) noexcept override {
    noted.push_back({streams, event, std::string(text)});
  }
  std::vector<Noted> noted;
};

StoreOptions Quiet(uint64_t memory_bytes = 64 << 20) {
  StoreOptions options;
  options.memory_bytes = memory_bytes;
  options.max_item_bytes = std::min<size_t>(1 << 20, memory_bytes / 8);
  options.threads = 1;
  options.background = false;
  return options;
}

struct Watched {
  Watched() : Watched(Quiet()) {}
  explicit Watched(const StoreOptions& options) : store(options, clock) {
    ctx.stats = store.stats().NewCell();
    ctx.events = &sink;
    ctx.client = 25;
    Watch(kFetchers | kMutations | kEvictions | kDeletions | kSysEvents);
  }
  void Watch(uint32_t mask) {
    streams.store(mask);
    ctx.Refresh(clock.NowMs());
    sink.noted.clear();
  }
  StoreResult Put(StoreMode mode, std::string_view key, std::string_view value,
                  Deadline deadline = kNever) {
    const StoreRequest request{.key = store.MakeKey(key), .mode = mode, .deadline = deadline};
    return store.Put(ctx, request, value);
  }
  void Get(std::string_view key) {
    store.Read(ctx, store.MakeKey(key), {}, [](const ValueView&) {});
  }

  ManualClock clock;
  std::atomic<uint32_t> streams{0};
  RecordingSink sink{streams};
  Store store;
  OpContext ctx;
};

TEST_CASE("a fetch is told with how it ended", "[core][events]") {
  Watched world;
  world.Watch(kFetchers);
  world.Get("a");
  world.Put(StoreMode::kSet, "a", "abc", world.ctx.now + 1000);
  world.sink.noted.clear();
  world.Get("a");
  world.clock.Advance(1000);
  world.ctx.Refresh(world.clock.NowMs());
  world.Get("a");
  world.Put(StoreMode::kSet, "a", "abc");
  world.store.FlushAll(world.ctx, world.ctx.now);
  world.Get("a");
  std::vector<int> statuses;
  for (const Noted& one : world.sink.noted) {
    CHECK(one.event.kind == EventKind::kItemGet);
    CHECK(one.event.client == 25);
    CHECK(one.text == "a");
    statuses.push_back(one.event.status);
  }
  // The set in between looks too.
  CHECK(statuses == std::vector<int>{1, 3, 0, 2});
  CHECK(world.sink.noted.front().event.size == 3);
  CHECK(world.sink.noted.front().event.class_id > 0);
}

TEST_CASE("a store is told with its result, of every size", "[core][events]") {
  Watched world;
  world.Watch(kMutations);
  const std::string large(100'000, 'x');
  CHECK(world.Put(StoreMode::kAdd, "a", "abc", world.ctx.now + 5000) == StoreResult::kStored);
  CHECK(world.Put(StoreMode::kAdd, "a", "abc") == StoreResult::kNotStored);
  CHECK(world.Put(StoreMode::kSet, "b", large) == StoreResult::kStored);
  CHECK(world.Put(StoreMode::kSet, "b", std::string(2 << 20, 'x')) == StoreResult::kTooLarge);
  REQUIRE(world.sink.noted.size() == 4);
  const EventData& first = world.sink.noted[0].event;
  CHECK(first.kind == EventKind::kItemStore);
  CHECK(first.command == static_cast<uint8_t>(StoreMode::kAdd));
  CHECK(first.ttl == 5);
  CHECK(first.size == 3);
  CHECK(world.sink.noted[1].event.status == static_cast<uint8_t>(StoreResult::kNotStored));
  CHECK(world.sink.noted[2].event.size == large.size());
  CHECK(world.sink.noted[3].event.status == static_cast<uint8_t>(StoreResult::kTooLarge));
}

TEST_CASE("an upload is told once, when it is finished or refused", "[core][events]") {
  Watched world;
  world.Watch(kMutations);
  const StoreRequest request{.key = world.store.MakeKey("up")};
  std::unique_ptr<Upload> upload;
  REQUIRE(world.store.BeginUpload(world.ctx, request, 20'000, &upload) == UploadRefusal::kNone);
  while (!upload->complete()) upload->Advance(upload->Buffer(world.ctx).size());
  CHECK(world.sink.noted.empty());
  CHECK(world.store.FinishUpload(world.ctx, std::move(upload)) == StoreResult::kStored);
  REQUIRE(world.sink.noted.size() == 1);
  CHECK(world.sink.noted[0].text == "up");
  CHECK(world.sink.noted[0].event.size == 20'000);
  CHECK(world.store.BeginUpload(world.ctx, request, 2 << 20, &upload) == UploadRefusal::kTooLarge);
  REQUIRE(world.sink.noted.size() == 2);
}

TEST_CASE("a deletion is told only when there was something", "[core][events]") {
  Watched world;
  world.Watch(kDeletions);
  world.store.Delete(world.ctx, {.key = world.store.MakeKey("a")});
  CHECK(world.sink.noted.empty());
  world.Put(StoreMode::kSet, "a", "abc");
  world.store.Delete(world.ctx, {.key = world.store.MakeKey("a")});
  REQUIRE(world.sink.noted.size() == 1);
  CHECK(world.sink.noted[0].event.kind == EventKind::kDeleted);
  CHECK(world.sink.noted[0].text == "a");
  CHECK(world.sink.noted[0].event.size == 3);
}

TEST_CASE("as many evictions are told as are counted", "[core][events]") {
  Watched world(Quiet(8 << 20));
  world.Watch(kEvictions);
  for (int i = 0; i < 8000; ++i) {
    const std::string key = "k" + std::to_string(i);
    REQUIRE(world.Put(StoreMode::kSet, key, std::string(2000, 'x')) == StoreResult::kStored);
  }
  const auto totals = world.store.stats().Totals();
  CHECK(world.sink.noted.size() == (*totals)[ClassCounter::evicted]);
  REQUIRE_FALSE(world.sink.noted.empty());
  CHECK(world.sink.noted[0].event.ttl == -1);
  CHECK(world.sink.noted[0].event.status == 0);
  CHECK(world.sink.noted[0].text.starts_with('k'));
}

TEST_CASE("nobody watching hears nothing", "[core][events]") {
  Watched world;
  world.Watch(0);
  world.Put(StoreMode::kSet, "a", "abc");
  world.Get("a");
  world.store.Delete(world.ctx, {.key = world.store.MakeKey("a")});
  CHECK(world.sink.noted.empty());
}

}  // namespace
}  // namespace larder
