#include "core/store.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/core/store_fixture.h"

namespace larder {
namespace {

std::string ValueFor(std::mt19937_64& random, size_t size) {
  std::string value(size, '\0');
  uint64_t word = random();
  for (char& c : value) {
    c = static_cast<char>('a' + word % 26);
    word = word * 6364136223846793005ULL + 1442695040888963407ULL;
  }
  return value;
}

}  // namespace

TEST_CASE("a stored value is read back with its flags", "[core][store]") {
  Fixture f;
  const size_t size =
      GENERATE(as<size_t>{}, 0, 1, 100, 4000, 16384, 16385, 65000, 70000, 131072, 1000000);
  CAPTURE(size);
  std::mt19937_64 random(size);
  const std::string value = ValueFor(random, size);
  const uint32_t flags = GENERATE(0U, 7U);
  CHECK(f.Put("k", value, StoreMode::kSet, kNever, flags) == StoreResult::kStored);
  uint32_t read_flags = 99;
  CHECK(f.Get("k", nullptr, &read_flags) == value);
  CHECK(read_flags == flags);
  CHECK(f.store.Delete(f.ctx, {.key = f.store.MakeKey("k")}) == DeleteResult::kDeleted);
  CHECK(f.Get("k") == "-");
  CHECK(f.store.Info().items == 0);
  CHECK(f.store.Info().item_bytes == 0);
  f.store.CheckInvariants();
}

TEST_CASE("each storage mode asks for what it needs", "[core][store]") {
  Fixture f;
  CHECK(f.Put("k", "1", StoreMode::kReplace) == StoreResult::kNotStored);
  CHECK(f.Put("k", "1", StoreMode::kAppend) == StoreResult::kNotStored);
  CHECK(f.Put("k", "1", StoreMode::kCas) == StoreResult::kNotFound);
  CHECK(f.Put("k", "1", StoreMode::kAdd, kNever, 5) == StoreResult::kStored);
  CHECK(f.Put("k", "2", StoreMode::kAdd) == StoreResult::kNotStored);
  CHECK(f.Put("k", "23", StoreMode::kAppend, kNever, 9) == StoreResult::kStored);
  CHECK(f.Put("k", "0", StoreMode::kPrepend) == StoreResult::kStored);
  uint64_t cas = 0;
  uint32_t flags = 0;
  CHECK(f.Get("k", &cas, &flags) == "0123");
  CHECK(flags == 5);
  CHECK(f.Put("k", "x", StoreMode::kCas, kNever, 0, cas + 1) == StoreResult::kExists);
  CHECK(f.Put("k", "x", StoreMode::kCas, kNever, 0, 0) == StoreResult::kExists);
  CHECK(f.Put("k", "x", StoreMode::kCas, kNever, 0, cas) == StoreResult::kStored);
  CHECK(f.Put("k", "y", StoreMode::kCas, kNever, 0, cas) == StoreResult::kExists);
  CHECK(f.Get("k") == "x");
}

TEST_CASE("append and prepend join values across the border of large ones", "[core][store]") {
  Fixture f;
  std::string model;
  std::mt19937_64 random(11);
  REQUIRE(f.Put("k", "") == StoreResult::kStored);
  for (int i = 0; i < 40; ++i) {
    const std::string part = ValueFor(random, random() % 9000);
    const bool append = random() % 2 == 0;
    model = append ? model + part : part + model;
    REQUIRE(f.Put("k", part, append ? StoreMode::kAppend : StoreMode::kPrepend) ==
            StoreResult::kStored);
    REQUIRE(f.Get("k") == model);
    f.store.CheckInvariants();
  }
}

TEST_CASE("counters wrap upwards, stop at zero downwards and keep their width", "[core][store]") {
  Fixture f;
  const Key key = f.store.MakeKey("n");
  const auto count = [&](bool down, uint64_t delta) {
    CounterAnswer answer;
    const CounterResult result =
        f.store.Count(f.ctx, {.key = key, .down = down, .delta = delta}, &answer);
    return std::pair(result, answer.value);
  };
  CHECK(count(false, 1).first == CounterResult::kNotFound);
  f.Put("n", "10");
  CHECK(count(false, 1) == std::pair(CounterResult::kDone, uint64_t{11}));
  CHECK(count(true, 2).first == CounterResult::kDone);
  CHECK(f.Get("n") == "9 ");
  CHECK(count(true, 100).first == CounterResult::kDone);
  CHECK(f.Get("n") == "0 ");
  CHECK(count(false, 18446744073709551615ULL).first == CounterResult::kDone);
  CHECK(f.Get("n") == "18446744073709551615");
  CHECK(count(false, 1).first == CounterResult::kDone);
  CHECK(f.Get("n") == "0                   ");
  for (const char* text : {"", "abc", "-1", "12abc", "99999999999999999999"}) {
    f.Put("n", text);
    CHECK(count(false, 1).first == CounterResult::kNotANumber);
  }
}

TEST_CASE("a join of a value that changes its size meanwhile is whole", "[core][store][threads]") {
  SystemClock clock;
  StoreOptions options;
  options.memory_bytes = 64 << 20;
  Store store(options, clock);
  const std::string large(kLargeValueBytes + 1000, 'L');
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  const auto put = [&](OpContext& ctx, StoreMode mode, std::string_view value) {
    return store.Put(ctx, {.key = store.MakeKey("k"), .mode = mode}, value);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
      while (!stop) (void)put(ctx, StoreMode::kAppend, "+");
    });
  }
  threads.emplace_back([&] {
    OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
    while (!stop) {
      store.Read(ctx, store.MakeKey("k"), {}, [&](const ValueView& view) {
        std::string_view value = view.bytes;  // empty when it lies in pieces
        while (value.ends_with('+')) value.remove_suffix(1);
        const bool sound = value.empty() || value == "s" || value == large;
        if (!sound) ++torn;
      });
    }
  });
  OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
  for (int i = 0; i < 3000; ++i) {
    (void)put(ctx, StoreMode::kSet, i % 2 == 0 ? std::string_view(large) : "s");
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == 0);
  store.CheckInvariants();
}

TEST_CASE("an item ends at its deadline to the millisecond", "[core][store]") {
  Fixture f;
  f.Put("k", "v", StoreMode::kSet, f.ctx.now + 1500);
  f.Advance(1499);
  CHECK(f.Get("k") == "v");
  f.Advance(1);
  CHECK(f.Get("k") == "-");
  CHECK(f.Count(ThreadCounter::get_expired) == 1);
  f.Put("k", "v", StoreMode::kSet, kAtOnce);
  CHECK(f.Get("k") == "-");
}

TEST_CASE("touch sets a deadline, also on an item that had none, and keeps the CAS",
          "[core][store]") {
  Fixture f;
  const size_t size = GENERATE(as<size_t>{}, 3, 40000);
  const std::string value(size, 'v');
  f.Put("k", value);
  uint64_t before = 0;
  uint64_t after = 0;
  f.Get("k", &before);
  CHECK(f.store.Touch(f.ctx, f.store.MakeKey("k"), f.ctx.now + 1000));
  CHECK(f.Get("k", &after) == value);
  CHECK(before == after);
  f.store.CheckInvariants();
  f.Advance(1000);
  CHECK(f.Get("k") == "-");
  CHECK_FALSE(f.store.Touch(f.ctx, f.store.MakeKey("k"), kNever));
}

TEST_CASE("flush_all ends what was stored before it and nothing after", "[core][store]") {
  Fixture f;
  f.Put("a", "1");
  f.store.FlushAll(f.ctx, f.ctx.now);
  f.Put("b", "2");
  CHECK(f.Get("a") == "-");
  CHECK(f.Get("b") == "2");
  f.store.FlushAll(f.ctx, f.ctx.now + 5000);
  f.Advance(4999);
  f.Put("c", "3");
  CHECK(f.Get("b") == "2");
  f.Advance(1);
  CHECK(f.Get("b") == "-");
  CHECK(f.Get("c") == "-");
  f.Put("d", "4");
  for (int i = 0; i < 100; ++i) {  // more than there are epochs
    f.store.FlushAll(f.ctx, f.ctx.now);
    CHECK(f.Get("d") == "-");
    f.Put("d", "4");
    CHECK(f.Get("d") == "4");
  }
  f.store.RunMaintenance(f.ctx);
  CHECK(f.store.Info().items == 1);
  f.store.CheckInvariants();
}

TEST_CASE("the crawler gives back what expired", "[core][store]") {
  Fixture f;
  for (int i = 0; i < 20000; ++i) {
    f.Put("k" + std::to_string(i), "value", StoreMode::kSet,
          i % 2 == 0 ? f.ctx.now + 1000 : kNever);
  }
  f.Advance(1000);
  f.store.RunMaintenance(f.ctx);
  CHECK(f.store.Info().items == 10000);
  CHECK(f.Count(ClassCounter::crawler_reclaimed) == 10000);
  f.store.CheckInvariants();
}

TEST_CASE("a full cache evicts and never refuses", "[core][store][evict]") {
  StoreOptions options = Quiet(8 << 20);
  options.max_item_bytes = 4 << 20;
  Fixture f(options);
  std::mt19937_64 random(3);
  for (int i = 0; i < 30000; ++i) {
    const size_t size = random() % 50 == 0 ? random() % 1'000'000 : random() % 6000;
    REQUIRE(f.Put("k" + std::to_string(i), ValueFor(random, size)) == StoreResult::kStored);
    if (i % 5000 == 0) f.store.CheckInvariants();
  }
  CHECK(f.store.Info().page_bytes <= 8 << 20);
  CHECK(f.Count(ClassCounter::outofmemory) == 0);
  f.store.CheckInvariants();
}

TEST_CASE("every value finds a chunk, however small chunks are asked to be", "[core][store]") {
  StoreOptions options = Quiet();
  SECTION("slab_chunk_max") { options.max_chunk_bytes = 1024; }
  SECTION("slab_sizes") { options.chunk_sizes = {64, 200}; }
  Fixture f(options);
  for (const size_t size : {0UL, 100UL, 2000UL, 16384UL, 16385UL, 300000UL}) {
    const std::string value(size, 'v');
    REQUIRE(f.Put(std::string(250, 'k'), value, StoreMode::kSet, f.ctx.now + 1000, 7) ==
            StoreResult::kStored);
    CHECK(f.Get(std::string(250, 'k')) == value);
  }
  f.store.CheckInvariants();
}

TEST_CASE("without eviction a full cache refuses, and a refused set removes the old value",
          "[core][store][evict]") {
  Fixture f(SmallWithoutEviction());
  const std::string value(1000, 'v');
  int stored = 0;
  while (f.Put("k" + std::to_string(stored), value) == StoreResult::kStored) ++stored;
  CHECK(stored > 6000);
  CHECK(f.Put("k1", std::string(5000, 'x'), StoreMode::kSet) == StoreResult::kOutOfMemory);
  CHECK(f.Get("k1") == "-");
  CHECK(f.Get("k2") == value);
  f.store.CheckInvariants();
}

TEST_CASE("a count that finds no memory for a longer number has changed nothing",
          "[core][store][evict]") {
  Fixture f(SmallWithoutEviction());
  const Deadline before = f.ctx.now + 100'000;
  REQUIRE(f.Put("counter", "9", StoreMode::kSet, before) == StoreResult::kStored);
  uint64_t cas = 0;
  CHECK(f.Get("counter", &cas) == "9");
  // Nothing is left in the counter's class, nor in any that it could use.
  for (size_t size = 1000; size > 0; size /= 2) {
    const auto name = [&](int i) { return std::to_string(size) + "-" + std::to_string(i); };
    int stored = 0;
    while (f.Put(name(stored), std::string(size, 'v'), StoreMode::kAdd) == StoreResult::kStored) {
      ++stored;
    }
  }
  CounterAnswer answer;
  const CounterRequest request{
      .key = f.store.MakeKey("counter"), .delta = 1, .deadline = f.ctx.now + 5000};
  REQUIRE(f.store.Count(f.ctx, request, &answer) == CounterResult::kOutOfMemory);
  f.store.Read(f.ctx, request.key, {}, [&](const ValueView& view) {
    CHECK(view.bytes == "9");
    CHECK(view.cas() == cas);
    CHECK(view.deadline() == before);
  });
  f.Advance(6000);
  CHECK(f.Get("counter") == "9");
}

TEST_CASE("a pinned value stays whole whatever happens to its key", "[core][store][pin]") {
  Fixture f(Quiet(8 << 20));
  const std::string value(300000, 'p');
  f.Put("k", value);
  Pin pin;
  f.store.Read(f.ctx, f.store.MakeKey("k"), {},
               [&](const ValueView& view) { pin = view.MakePin(); });
  SECTION("deleted") { f.store.Delete(f.ctx, {.key = f.store.MakeKey("k")}); }
  SECTION("replaced") { f.Put("k", "x"); }
  SECTION("under eviction and page moves") {
    for (int i = 0; i < 50000; ++i) f.Put("o" + std::to_string(i), std::string(1000, 'o'));
  }
  CHECK(Fixture::Text(pin) == value);
  pin = Pin();
  f.store.CheckInvariants();
}

TEST_CASE("an upload arrives in pieces and leaves nothing when it is given up",
          "[core][store][upload]") {
  Fixture f;
  const size_t size = 200000;
  const StoreRequest request{.key = f.store.MakeKey("k"), .flags = 3};
  std::unique_ptr<Upload> upload;
  REQUIRE(f.store.BeginUpload(f.ctx, request, size, &upload) == UploadRefusal::kNone);
  const size_t piece = GENERATE(as<size_t>{}, 1000, 65536, 200000);
  const size_t until = GENERATE(as<size_t>{}, 0, 100000, 200000);
  size_t sent = 0;
  while (sent < until) {
    const auto room = upload->Buffer(f.ctx);
    REQUIRE_FALSE(room.empty());
    const size_t n = std::min({room.size(), piece, until - sent});
    std::fill_n(room.begin(), n, 'u');
    upload->Advance(n);
    sent += n;
  }
  if (until == size) {
    REQUIRE(upload->complete());
    CHECK(f.store.FinishUpload(f.ctx, std::move(upload)) == StoreResult::kStored);
    CHECK(f.Get("k") == std::string(size, 'u'));
    f.store.Delete(f.ctx, {.key = request.key});
  } else {
    upload.reset();
    CHECK(f.Get("k") == "-");
  }
  for (const ClassInfo& info : f.store.Classes()) CHECK(info.used_chunks == 0);
}

TEST_CASE("a page that is taken does not cost the newest large values", "[core][store][upload]") {
  Fixture f(Quiet(16 << 20));
  const auto key = [](int i) { return "large" + std::to_string(i); };
  std::mt19937_64 random(7);
  int count = 0;
  // Of several lengths, so that pages come to hold pieces of all ages.
  for (; count < 1000; ++count) {
    f.Advance(20);
    REQUIRE(f.Put(key(count), std::string(70'000 + random() % 10 * 65'000, 'l')) ==
            StoreResult::kStored);
  }
  const uint64_t moved = f.Count(ThreadCounter::pages_moved);
  for (int i = 0; f.Count(ThreadCounter::pages_moved) < moved + 12; ++i) {
    REQUIRE(i < 100'000);
    REQUIRE(f.Put("small" + std::to_string(i), std::string(300, 's')) == StoreResult::kStored);
  }
  for (int i = count - 20; i < count; ++i) {
    CAPTURE(i);
    CHECK((f.Get(key(i)) != "-"));
  }
}

TEST_CASE("uploads beyond half the memory have to wait", "[core][store][upload]") {
  Fixture f(Quiet(16 << 20));
  std::vector<std::unique_ptr<Upload>> uploads;
  const StoreRequest request{.key = f.store.MakeKey("k")};
  std::unique_ptr<Upload> upload;
  while (f.store.BeginUpload(f.ctx, request, 1000000, &upload) == UploadRefusal::kNone) {
    uploads.push_back(std::move(upload));
  }
  CHECK(uploads.size() == 8);
  CHECK(f.store.UploadsWaiting());
  uploads.pop_back();
  CHECK(f.store.BeginUpload(f.ctx, request, 1000000, &upload) == UploadRefusal::kNone);
}

// Uploads on their way can neither be moved nor evicted; here each page holds a piece of one.
TEST_CASE("a class finds room among the pieces of unfinished uploads", "[core][store][upload]") {
  Fixture f(Quiet(16 << 20));
  const auto begin = [&](const std::string& key, size_t size) {
    std::unique_ptr<Upload> upload;
    REQUIRE(f.store.BeginUpload(f.ctx, {.key = f.store.MakeKey(key)}, size, &upload) ==
            UploadRefusal::kNone);
    return upload;
  };
  std::vector<std::unique_ptr<Upload>> unfinished;
  size_t pieces = 0;
  for (int i = 0; i < 100; ++i) {
    std::unique_ptr<Upload> filler = begin("filler" + std::to_string(i), 917'000);
    while (!filler->complete()) {
      const auto room = filler->Buffer(f.ctx);
      REQUIRE_FALSE(room.empty());
      std::fill_n(room.begin(), room.size(), 'f');
      filler->Advance(room.size());
      if (++pieces % 3 != 0 || unfinished.size() == 80) continue;
      unfinished.push_back(begin("unfinished" + std::to_string(pieces), 70'000));
      REQUIRE_FALSE(unfinished.back()->Buffer(f.ctx).empty());
    }
    REQUIRE(f.store.FinishUpload(f.ctx, std::move(filler)) == StoreResult::kStored);
  }
  const uint64_t before = f.Count(ClassCounter::evicted);
  size_t stored = 0;
  for (const size_t bytes :
       std::initializer_list<size_t>{10, 1000, 5000, 10'000, 20'000, 60'000, 200'000}) {
    CAPTURE(bytes);
    CHECK(f.Put("new", std::string(bytes, 'n')) == StoreResult::kStored);
    ++stored;
    CHECK((f.Get("new") == std::string(bytes, 'n')));  // in brackets: not to be printed
  }
  // Not the page of the headers, and with it all that is there.
  CHECK(f.Count(ClassCounter::evicted) - before <= stored);
  CHECK(f.Count(ClassCounter::outofmemory) == 0);
  f.store.CheckInvariants();
}

TEST_CASE("random operations agree with a map", "[core][store][model]") {
  const auto seed = GENERATE(take(4, random(1, 1000000)));
  CAPTURE(seed);
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  Fixture f;
  std::map<std::string, std::string> model;
  for (int step = 0; step < 30000; ++step) {
    const std::string key = "key" + std::to_string(random() % 500);
    const size_t size = random() % 100 == 0 ? random() % 60000 : random() % 300;
    const auto found = model.find(key);
    switch (random() % 8) {
      case 0:
      case 1:
        model[key] = ValueFor(random, size);
        REQUIRE(f.Put(key, model[key], StoreMode::kSet, random() % 3 == 0 ? f.ctx.now + 9999999 : 0,
                      static_cast<uint32_t>(random() % 2)) == StoreResult::kStored);
        break;
      case 2: {
        const std::string value = ValueFor(random, size);
        const bool stored = f.Put(key, value, StoreMode::kAdd) == StoreResult::kStored;
        REQUIRE(stored == (found == model.end()));
        if (stored) model[key] = value;
        break;
      }
      case 3: {
        const std::string value = ValueFor(random, size);
        const bool stored = f.Put(key, value, StoreMode::kAppend) == StoreResult::kStored;
        REQUIRE(stored == (found != model.end()));
        if (stored) model[key] += value;
        if (stored && model[key].size() > 500000) {
          REQUIRE(f.store.Delete(f.ctx, {.key = f.store.MakeKey(key)}) == DeleteResult::kDeleted);
          model.erase(key);
        }
        break;
      }
      case 4:
        REQUIRE((f.store.Delete(f.ctx, {.key = f.store.MakeKey(key)}) == DeleteResult::kDeleted) ==
                (found != model.end()));
        model.erase(key);
        break;
      case 5:
        REQUIRE(f.store.Touch(f.ctx, f.store.MakeKey(key), f.ctx.now + 9999999) ==
                (found != model.end()));
        break;
      default:
        REQUIRE(f.Get(key) == (found == model.end() ? "-" : found->second));
    }
    if (step % 1000 == 0) {
      f.store.RunMaintenance(f.ctx);
      f.store.CheckInvariants();
    }
  }
  REQUIRE(f.store.Info().items == model.size());
}

TEST_CASE("the index grows to millions and finds every key", "[core][store][index]") {
  Fixture f;
  const int count = 300000;
  for (int i = 0; i < count; ++i)
    REQUIRE(f.Put("key:" + std::to_string(i), "v") == StoreResult::kStored);
  int found = 0;
  for (int i = 0; i < count; ++i) found += f.Get("key:" + std::to_string(i)) == "v" ? 1 : 0;
  CHECK(found == count);
  f.store.CheckInvariants();
}

TEST_CASE("many threads read no torn, foreign or stale value", "[core][store][threads]") {
  StoreOptions options;
  options.memory_bytes = 16 << 20;
  options.threads = 8;
  SystemClock clock;
  Store store(options, clock);
  std::atomic<uint64_t> bad{0};
  std::atomic<uint64_t> hits{0};
  const auto work = [&](unsigned id) {
    std::mt19937_64 random(id);
    OpContext ctx{.stats = store.stats().NewCell(), .now = clock.NowMs()};
    for (int i = 0; i < 30000; ++i) {
      if (i % 64 == 0) ctx.now = clock.NowMs();
      const std::string name = "key" + std::to_string(random() % 5000);
      const Key key = store.MakeKey(name);
      const size_t size = random() % 40 == 0 ? random() % 100000 : random() % 3000;
      switch (random() % 16) {
        case 0:
          store.Delete(ctx, {.key = key});
          break;
        case 1:
          store.Touch(ctx, key, ctx.now + 20);
          break;
        case 2:
          if (i % 1000 == 0) store.FlushAll(ctx, ctx.now);
          break;
        case 3:
        case 4:
        case 5:
        case 6: {
          // key|letter...: a reader can tell a torn value and a foreign one.
          std::string value = name + "|";
          value.append(size, static_cast<char>('a' + random() % 26));
          store.Put(ctx, {.key = key, .deadline = random() % 4 == 0 ? ctx.now + 30 : 0}, value);
          break;
        }
        default: {
          Pin pin;
          std::string value;
          const auto result = store.Read(ctx, key, {}, [&](const ValueView& view) {
            if (view.size > kLargeValueBytes) {
              pin = view.MakePin();
            } else {
              value = view.bytes;
            }
          });
          if (result == ReadResult::kMiss) break;
          if (pin.size() != 0) value = Fixture::Text(pin);
          ++hits;
          const size_t bar = name.size();
          const bool whole = value.compare(0, bar, name) == 0 && value[bar] == '|' &&
                             value.find_first_not_of(value.back(), bar + 1) == std::string::npos;
          if (!whole && value.size() != bar + 1) ++bad;
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
  CHECK(bad == 0);
  CHECK(hits > 1000);
  store.CheckInvariants();
}

}  // namespace larder
