// A store that stops and one that takes its memory file over.

#include "core/restart.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "tests/core/restart_fixture.h"

namespace larder {
namespace {

TEST_CASE("a new memory file has nothing to restore", "[core][restart]") {
  const Folder folder;
  Life life(folder);
  CHECK(life.outcome() == Outcome::kNewFile);
  CHECK(life.items() == 0);
  CHECK(life.Save() == 0);
  const Life next(folder);
  CHECK(next.outcome() == Outcome::kRestored);
  CHECK(next.items() == 0);
}

TEST_CASE("every kind of item comes back as it was", "[core][restart]") {
  const Folder folder;
  std::mt19937 random(7);
  const auto text = [&](size_t bytes) {
    std::string made(bytes, ' ');
    for (char& c : made) c = static_cast<char>('a' + random() % 26);
    return made;
  };
  const bool use_cas = GENERATE(true, false);
  StoreOptions options = Small();
  options.use_cas = use_cas;
  options.memory_bytes = 64 << 20;
  options.track_sizes = true;
  std::map<std::string, std::string> seen;
  std::vector<std::pair<size_t, uint64_t>> sizes;
  {
    Life life(folder, options);
    size_t n = 0;
    for (const size_t bytes :
         std::vector<size_t>{0, 1, 10, 100, 1000, 10'000, 16'384, 16'385, 70'000, 300'000}) {
      for (const uint32_t flags : {0U, 7U}) {
        for (const Deadline deadline : {kNever, Deadline{5'000'000}}) {
          const std::string key = "key" + std::to_string(n) + std::string((n + 1) * 5, 'k');
          ++n;
          REQUIRE(life.Put(key, text(bytes), deadline, flags) == StoreResult::kStored);
          if (n % 2 == 0) (void)life.Get(key);
        }
      }
    }
    for (size_t i = 0; i < n; ++i) {
      const std::string key = "key" + std::to_string(i) + std::string((i + 1) * 5, 'k');
      life.Get(key);
      seen[key] = life.Get(key);
      REQUIRE(!seen[key].empty());
    }
    // Deleted ones leave free chunks behind.
    life.store->Delete(life.ctx, {.key = life.store->MakeKey("key3" + std::string(20, 'k'))});
    seen.erase("key3" + std::string(20, 'k'));
    sizes = life.store->Sizes();
    CHECK(life.Save() == seen.size());
  }
  Life life(folder, options);
  INFO(life.refusal());
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.items() == seen.size());
  CHECK(life.store->restore_report().items == seen.size());
  CHECK(life.store->Sizes() == sizes);
  life.store->CheckInvariants();
  for (const auto& [key, value] : seen) CHECK(life.Get(key) == value);
  // And the store lives on.
  for (size_t i = 0; i < 3000; ++i) {
    REQUIRE(life.Put("new" + std::to_string(i), text(random() % 40'000)) == StoreResult::kStored);
  }
  life.store->CheckInvariants();
}

TEST_CASE("thousands of items come back, twice", "[core][restart]") {
  const Folder folder;
  const auto key = [](int i) { return "k" + std::to_string(i); };
  StoreOptions options = Small();
  options.memory_bytes = GENERATE(uint64_t{8}, uint64_t{512}) << 20;  // few stripes, and many
  {
    Life life(folder, options);
    for (int i = 0; i < 40'000; ++i) life.Put(key(i), "value of " + key(i));
    CHECK(life.Save() == 40'000);
  }
  for (int round = 0; round < 2; ++round) {
    options.threads = round == 0 ? 2 : 32;  // would begin with more stripes
    Life life(folder, options);
    INFO(life.refusal());
    REQUIRE(life.outcome() == Outcome::kRestored);
    life.store->CheckInvariants();
    CHECK(life.items() == 40'000);
    for (int i = 0; i < 40'000; ++i) {
      const std::string seen = life.Get(key(i));
      REQUIRE(seen.ends_with(" value of " + key(i)));
    }
    // The index goes on growing where it was.
    for (int i = 0; i < 20'000; ++i) life.Put("more" + key(i), "");
    life.store->CheckInvariants();
    for (int i = 0; i < 20'000; ++i) {
      life.store->Delete(life.ctx, {.key = life.store->MakeKey("more" + key(i))});
    }
    CHECK(life.Save() == 40'000);
  }
}

TEST_CASE("how far a restart has come is told in MiB", "[core][restart]") {
  const Folder folder;
  StoreOptions options = Small();
  options.threads = 1;
  options.progress_every = {};
  std::vector<std::string> lines;
  options.progress = [&](const std::string& line) { lines.push_back(line); };
  uint64_t bytes = 0;
  const auto check = [&](const std::string& what) {
    const uint64_t page = PageBytesFor(kMemory);
    const auto line = [&](uint64_t at) {
      return what + " " + folder.file() + ": " + std::to_string(at >> 20) + " of " +
             std::to_string(bytes >> 20) + " MiB";
    };
    REQUIRE(lines.size() == bytes / page);
    CHECK(lines.front() == line(0));
    CHECK(lines.back() == line(bytes - page));
    lines.clear();
  };
  {
    Life life(folder, options);
    for (int i = 0; i < 400; ++i) life.Put("k" + std::to_string(i), std::string(10'000, 'x'));
    bytes = life.store->Info().page_bytes;
    REQUIRE(bytes >= 4 << 20);
    life.Save();
    check("saving");
  }
  const Life life(folder, options);
  check("restoring");
}

TEST_CASE("eviction goes on where it was", "[core][restart]") {
  const Folder twin_folder;
  const Folder folder;
  const auto fill = [](Life& life) {
    // Full, with some read once and some twice.
    for (int i = 0; i < 12'000; ++i) {
      life.Put("k" + std::to_string(i), std::string(1000, 'v'));
      life.Advance(20);
      if (i % 7 == 0) life.Get("k" + std::to_string(i));
      if (i % 14 == 0) life.Get("k" + std::to_string(i));
      if (i % 100 == 0) life.store->RunMaintenance(life.ctx);
    }
  };
  const auto left = [](Life& life) {
    for (int i = 0; i < 4000; ++i) {
      life.Put("n" + std::to_string(i), std::string(1000, 'v'));
    }
    std::string which;
    for (int i = 0; i < 12'000; ++i) {
      which += life.Get("k" + std::to_string(i)).empty() ? '-' : '+';
    }
    return which;
  };
  Life twin(twin_folder);
  fill(twin);
  {
    Life life(folder);
    fill(life);
    life.Save();
  }
  Life life(folder, Small(), twin.clock.WallMs());
  REQUIRE(life.outcome() == Outcome::kRestored);
  const std::vector<ClassInfo> ours = life.store->Classes();
  const std::vector<ClassInfo> theirs = twin.store->Classes();
  for (size_t i = 0; i < ours.size(); ++i) {
    CHECK(ours[i].items == theirs[i].items);
    CHECK(ours[i].pages == theirs[i].pages);
    CHECK(ours[i].used_chunks == theirs[i].used_chunks);
    CHECK(ours[i].free_chunks == theirs[i].free_chunks);
    CHECK(ours[i].item_bytes == theirs[i].item_bytes);
    for (size_t s = 0; s < 4; ++s) {
      CHECK(ours[i].age_seconds[s] + 3 >= theirs[i].age_seconds[s]);
      CHECK(ours[i].age_seconds[s] <= theirs[i].age_seconds[s] + 3);
    }
  }
  // Which keys were evicted unread is forgotten: a few new ones are mistaken for them, or not.
  const std::string survivors = left(life);
  const std::string expected = left(twin);
  size_t differences = 0;
  for (size_t i = 0; i < survivors.size(); ++i) differences += survivors[i] != expected[i];
  CHECK(differences <= survivors.size() / 100);
  CHECK(survivors.find('+') != std::string::npos);
  CHECK(survivors.find('-') != std::string::npos);
}

TEST_CASE("the time between counts for what expires", "[core][restart]") {
  const Folder folder;
  int64_t wall = 0;
  {
    Life life(folder);
    life.Advance(100'000);
    const TimeMs now = life.ctx.now;
    life.Put("past", "v", now + 500);
    life.Put("soon", "v", now + 10'000);
    life.Put("late", "v", now + 60'000);
    life.Put("ever", "v");
    life.Put("large", std::string(20'000, 'l'), now + 60'000);
    life.Advance(1000);
    wall = life.clock.WallMs();
    life.Save();
  }
  // Eight seconds later by the wall, of which a manual clock starts with two; or an hour earlier,
  // which counts as no time at all.
  const bool backwards = GENERATE(false, true);
  Life life(folder, Small(), backwards ? wall - 3'600'000 : wall + 6'000);
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.store->restore_report().expired == 1);
  CHECK(life.Get("past").empty());
  life.Advance(backwards ? 8'999 : 999);
  CHECK_FALSE(life.Get("soon").empty());
  life.Advance(1);
  CHECK(life.Get("soon").empty());
  CHECK_FALSE(life.Get("late").empty());
  life.Advance(60'000);
  CHECK(life.Get("late").empty());
  CHECK(life.Get("large").empty());
  CHECK_FALSE(life.Get("ever").empty());
  life.store->RunMaintenance(life.ctx);
  CHECK(life.items() == 1);
}

TEST_CASE("no item is written where the clock goes on", "[core][restart]") {
  const Folder folder;
  int64_t wall = 0;
  TimeMs start = 0;
  {
    Life life(folder);
    life.Advance(100'000);
    const TimeMs now = life.ctx.now;
    for (int i = 0; i < 500; ++i) {
      life.Put("k" + std::to_string(i), "v", i % 2 == 0 ? now + 10'000 : kNever);
    }
    life.Put("large", std::string(90'000, 'l'));
    life.Put("past", "v", now + 500);
    life.store->FlushAll(life.ctx, now + 20'000);
    wall = life.clock.WallMs() + 6'000;
    life.Save();
    const std::string description = Slurp(folder.meta());
    start = ContinuedClock(description, wall);
    CHECK(start == now + 6'000);
    // A wall that was set back is no time; an absence of days begins anew.
    CHECK(ContinuedClock(description, wall - 3'600'000) == now);
    CHECK(ContinuedClock(description, wall + int64_t{2} * 86'400'000) == kClockStartMs);
    CHECK(ContinuedClock("no description", wall) == kClockStartMs);
  }
  const SavedFile before(folder);
  Life life(folder, Small(), wall - static_cast<int64_t>(kClockStartMs), start);
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.store->restore_report().expired == 1);
  CHECK(std::ranges::equal(Slurp(folder.file()), before.bytes));
  CHECK(life.Get("past").empty());
  life.Advance(3'999);
  CHECK_FALSE(life.Get("k0").empty());
  life.Advance(1);
  CHECK(life.Get("k0").empty());
  CHECK_FALSE(life.Get("k1").empty());
  life.store->CheckInvariants();
  life.store->RunMaintenance(life.ctx);
  CHECK(life.items() == 251);  // what nobody asked for is gone too
  life.Advance(10'000);
  CHECK(life.Get("k1").empty());
}

TEST_CASE("items of a cache that was away for years come back old", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    life.Put("ever", "v");
    life.Put("mortal", "v", life.ctx.now + 3'600'000);
    life.Save();
  }
  Life life(folder, Small(), ManualClock::kWallStartMs + int64_t{5} * 365 * 86'400'000);
  REQUIRE(life.outcome() == Outcome::kRestored);
  TimeMs age = 0;
  life.store->Read(life.ctx, life.store->MakeKey("ever"), {.peek = true},
                   [&](const ValueView& view) { age = view.IdleMs(life.ctx.now); });
  CHECK(age <= life.ctx.now);
  CHECK_FALSE(life.Get("ever").empty());
  CHECK(life.Get("mortal").empty());
  uint32_t oldest = 0;
  for (const ClassInfo& info : life.store->Classes()) {
    for (const uint32_t seconds : info.age_seconds) oldest = std::max(oldest, seconds);
  }
  CHECK(oldest <= 19 * 86'400);
}

TEST_CASE("flushes reach over a restart", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    life.Put("old", "v");
    life.store->FlushAll(life.ctx, life.ctx.now);
    life.Put("user:1", "v");
    life.Put("page:1", "v");
    REQUIRE(life.store->FlushPrefix(life.ctx, "user:"));
    life.Put("user:2", "v");
    life.store->FlushAll(life.ctx, life.ctx.now + 30'000);
    life.Save();
  }
  Life life(folder);
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.Get("old").empty());
  CHECK(life.Get("user:1").empty());
  CHECK_FALSE(life.Get("page:1").empty());
  CHECK_FALSE(life.Get("user:2").empty());
  life.Advance(29'000);
  CHECK_FALSE(life.Get("page:1").empty());
  life.Advance(1'001);
  CHECK(life.Get("page:1").empty());
  life.store->RunMaintenance(life.ctx);
  CHECK(life.items() == 0);
}

TEST_CASE("no CAS comes twice", "[core][restart]") {
  const Folder folder;
  uint64_t before = 0;
  {
    Life life(folder);
    for (int i = 0; i < 100; ++i) life.Put("k", std::to_string(i));
    StoreAnswer answer;
    life.store->Put(life.ctx, {.key = life.store->MakeKey("k")}, "last", &answer);
    before = answer.cas;
    life.store->Delete(life.ctx, {.key = life.store->MakeKey("k")});
    life.Save();
  }
  StoreOptions options = Small();
  options.threads = GENERATE(2U, 32U);
  Life life(folder, options);
  REQUIRE(life.outcome() == Outcome::kRestored);
  StoreAnswer answer;
  life.store->Put(life.ctx, {.key = life.store->MakeKey("k")}, "new", &answer);
  CHECK(answer.cas > before);
}

TEST_CASE("other settings are refused by name, and leave a working cache", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    for (int i = 0; i < 1000; ++i) life.Put("k" + std::to_string(i), std::string(500, 'v'));
    life.Save();
  }
  StoreOptions other = Small();
  std::string named;
  SECTION("-m") { other.memory_bytes = 16 << 20, named = "-m"; }
  SECTION("-I") { other.max_item_bytes = 2 << 20, named = "-I"; }
  SECTION("-f") { other.growth_factor = 1.25, named = "-f"; }
  SECTION("-n") { other.min_chunk_payload = 48, named = "-n"; }
  SECTION("-C") { other.use_cas = false, named = "-C"; }
  SECTION("slab_chunk_max") { other.max_chunk_bytes = 128 << 10, named = "slab_chunk_max"; }
  Life life(folder, other);
  CHECK(life.outcome() == Outcome::kRefused);
  INFO(life.refusal());
  CHECK(life.refusal().find(named) != std::string::npos);
  CHECK(life.refusal().find(folder.file()) == 0);
  CHECK(life.items() == 0);
  for (int i = 0; i < 20'000; ++i) {
    REQUIRE(life.Put("k" + std::to_string(i), std::string(500, 'v')) == StoreResult::kStored);
  }
  life.store->CheckInvariants();
  const uint64_t items = life.items();
  CHECK(life.Save() == items);
  Life again(folder, other);
  CHECK(again.outcome() == Outcome::kRestored);
  CHECK(again.items() == items);
}

TEST_CASE("a refused file has no say in the index of the new cache", "[core][restart]") {
  const Folder folder;
  StoreOptions larger = Small();
  larger.memory_bytes = uint64_t{1} << 30;
  uint64_t its_index = 0;
  {
    Life life(folder, larger);
    life.Put("k", "v");
    its_index = life.store->Info().index_bytes;
    life.Save();
  }
  Life life(folder, Small());
  REQUIRE(life.outcome() == Outcome::kRefused);
  CHECK(life.store->Info().index_bytes * 4 <= its_index);
}

TEST_CASE("a store that did not stop in good order is not restored", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    life.Put("k", "v");  // and no Save()
  }
  Life life(folder);
  CHECK(life.outcome() == Outcome::kRefused);
  CHECK(life.refusal().find("did not stop in good order") != std::string::npos);
  CHECK(life.Get("k").empty());
}

TEST_CASE("a start takes the description away before it serves", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    life.Put("k", "v");
    life.Save();
  }
  CHECK(std::filesystem::exists(folder.meta()));
  { const Life life(folder); }
  CHECK_FALSE(std::filesystem::exists(folder.meta()));
  const Life life(folder);
  CHECK(life.outcome() == Outcome::kRefused);
}

TEST_CASE("a memory file has one user at a time", "[core][restart]") {
  const Folder folder;
  const Life life(folder);
  std::shared_ptr<MemoryFile> second;
  const absl::Status status = MemoryFile::Open(folder.file(), kMemory, &second);
  CHECK_FALSE(status.ok());
  CHECK(std::string(status.message()).find("another server") != std::string::npos);
  CHECK(second == nullptr);
}

TEST_CASE("what is no regular file is no memory file", "[core][restart]") {
  const Folder folder;
  std::shared_ptr<MemoryFile> file;
  CHECK_FALSE(MemoryFile::Open(folder.path, kMemory, &file).ok());
  CHECK_FALSE(MemoryFile::Open(folder.path + "/none/items", kMemory, &file).ok());
  CHECK_FALSE(MemoryFile::Open("/dev/null", kMemory, &file).ok());
  REQUIRE(mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
  CHECK_FALSE(MemoryFile::Open(folder.path + "/pipe", kMemory, &file).ok());
}

TEST_CASE("a description that cannot be taken away ends the start", "[core][restart]") {
  const Folder folder;
  std::filesystem::create_directory(folder.meta());
  std::shared_ptr<MemoryFile> file;
  const absl::Status opened = MemoryFile::Open(folder.file(), kMemory, &file);
  CHECK_THAT(std::string(opened.message()),
             Catch::StartsWith(folder.meta() + ": cannot be removed"));
  CHECK(file == nullptr);
}

TEST_CASE("a file of another length is refused", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  REQUIRE(truncate(folder.file().c_str(), kMemory / 2) == 0);
  Life life(folder);
  CHECK(life.outcome() == Outcome::kRefused);
  INFO(life.refusal());
  CHECK(life.refusal().find("length") != std::string::npos);
  CHECK(life.Put("k", "v") == StoreResult::kStored);
}

TEST_CASE("the pages that were not in use give their memory back", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    for (int i = 0; i < 100; ++i) life.Put("l" + std::to_string(i), std::string(50'000, 'l'));
    for (int i = 0; i < 100; ++i) {
      life.store->Delete(life.ctx, {.key = life.store->MakeKey("l" + std::to_string(i))});
    }
    life.Put("k", "v");
    life.Save();
  }
  Life life(folder);
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.store->Info().free_pages == 0);
  struct stat status {};
  REQUIRE(stat(folder.file().c_str(), &status) == 0);
  // The file system may keep a block or two for itself.
  const StoreInfo info = life.store->Info();
  CHECK(static_cast<uint64_t>(status.st_blocks) * 512 <=
        info.page_bytes + info.index_bytes + 65'536);
  // All of the limit can be had again.
  for (int i = 0; i < 400; ++i) {
    REQUIRE(life.Put("l" + std::to_string(i), std::string(50'000, 'l')) == StoreResult::kStored);
  }
  CHECK(life.store->Info().page_bytes >= kMemory / 2);
}

TEST_CASE("the limit of a store with a memory file is fixed", "[core][restart]") {
  const Folder folder;
  const Life life(folder);
  CHECK(life.store->SetMemoryLimit(kMemory * 2) == LimitResult::kFixed);
}

TEST_CASE("taking all memory at once goes with a memory file", "[core][restart]") {
  const Folder folder;
  StoreOptions options = Small();
  options.preallocate = true;
  {
    Life life(folder, options);
    for (int i = 0; i < 1000; ++i) life.Put("k" + std::to_string(i), std::string(500, 'v'));
    CHECK(life.store->Info().page_bytes + PageBytesFor(kMemory) >= kMemory);
    CHECK(life.Save() == 1000);
  }
  Life life(folder, options);
  REQUIRE(life.outcome() == Outcome::kRestored);
  CHECK(life.items() == 1000);
  CHECK(life.store->Info().page_bytes + PageBytesFor(kMemory) >= kMemory);
  life.store->CheckInvariants();
}

}  // namespace
}  // namespace larder
