// Memory files that were damaged, and such as were made to lie.

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/core/restart_fixture.h"

namespace larder {
namespace {

TEST_CASE("a description with any byte changed is refused", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  const std::string meta = Slurp(folder.meta());
  SavedStore saved;
  REQUIRE(DecodeSavedStore(meta, &saved).ok());
  CHECK(saved.items == 51);
  CHECK(EncodeSavedStore(saved) == meta);
  for (size_t at = 0; at < meta.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      std::string changed = meta;
      changed[at] = static_cast<char>(changed[at] ^ change);
      CAPTURE(at, change);
      const absl::Status status = DecodeSavedStore(changed, &saved);
      REQUIRE_FALSE(status.ok());
    }
  }
  for (size_t length = 0; length < meta.size(); ++length) {
    REQUIRE_FALSE(DecodeSavedStore(std::string_view(meta).substr(0, length), &saved).ok());
  }
  CHECK_FALSE(DecodeSavedStore(meta + "x", &saved).ok());
  CHECK_FALSE(DecodeSavedStore(meta + meta, &saved).ok());
}

TEST_CASE("a description of another format is refused as another version's", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  std::string description = Slurp(folder.meta());
  constexpr size_t kFormat = 16;  // behind the magic and the record's head
  description[kFormat] = static_cast<char>(description[kFormat] + 1);
  SealSavedStore(&description);
  Spill(folder.meta(), description);
  Life life(folder);
  CHECK(life.outcome() == Outcome::kRefused);
  CHECK(life.refusal().find("another version of larder (format") != std::string::npos);
  UseSample(life);
}

// Whoever changes a byte and the checksums too gets a refusal or a sound store.
TEST_CASE("a description with a byte changed under good checksums is refused or harmless",
          "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  const std::string before = file.description;
  size_t restored = 0;
  std::mt19937 random(3);
  for (size_t at = 0; at < before.size(); at += 1 + random() % 19) {
    file.description = before;
    file.description[at] = static_cast<char>(before[at] ^ static_cast<char>(1 + random() % 255));
    SealSavedStore(&file.description);
    SavedStore saved;
    if (!DecodeSavedStore(file.description, &saved).ok()) continue;
    CAPTURE(at);
    file.Write(folder);
    Life life(folder);
    restored += life.outcome() == Outcome::kRestored ? 1U : 0U;
    life.store->CheckInvariants();
    UseSample(life);
  }
  CHECK(restored > 0);  // clocks, epochs and counters of CAS may have any value
}

TEST_CASE("a page or stripe with a byte changed is refused", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  REQUIRE(file.saved.pages.size() > 3);
  std::mt19937 random(5);
  std::vector<std::pair<size_t, std::string>> places;  // with what a refusal says
  for (const SavedPage& page : file.saved.pages) {
    places.emplace_back(
        page.page * PageBytesFor(file.saved.memory_bytes) + random() % UsedBytes(file.saved, page),
        "byte ");
  }
  for (size_t i = 0; i < file.saved.stripes.size(); i += 1 + random() % 9) {
    const size_t used = file.saved.stripes[i].index.target * IndexStripe::kBucketBytes;
    const char* buckets = reinterpret_cast<char*>(file.Buckets(i));
    places.emplace_back(static_cast<size_t>(buckets - file.bytes.data()) + random() % used,
                        "stripe " + std::to_string(i));
  }
  for (const auto& [at, said] : places) {
    file.bytes[at] = static_cast<char>(file.bytes[at] ^ 4);
    file.Write(folder);
    file.bytes[at] = static_cast<char>(file.bytes[at] ^ 4);
    Life life(folder);
    CAPTURE(at, life.refusal());
    CHECK(life.outcome() == Outcome::kRefused);
    CHECK(life.refusal().find(folder.file() + ": " + said) == 0);
    CHECK(life.items() == 0);
    life.Put("k", "v");
    life.store->CheckInvariants();
  }
}

// Starts from the sample with one byte of it changed at a time, under checksums made good again.
// What of it is believed and what is not, both must be there, and leave a store that works.
void StartWithBytesChanged(uint32_t seed,
                           const std::function<char*(SavedFile&, std::mt19937&)>& choose) {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  std::mt19937 random(seed);
  size_t restored = 0;
  size_t refused = 0;
  for (int round = 0; round < 120; ++round) {
    char* const byte = choose(file, random);
    const char before = *byte;
    const auto change = static_cast<char>(1U + random() % 255U);
    CAPTURE(round, byte - file.bytes.data(), change);
    *byte = static_cast<char>(before ^ change);
    file.Seal();
    file.Write(folder);
    *byte = before;
    Life life(folder);
    ++(life.outcome() == Outcome::kRestored ? restored : refused);
    UseSample(life);
  }
  CHECK(restored > 0);
  CHECK(refused > 0);
}

TEST_CASE("items with a byte changed under good checksums are refused or harmless",
          "[core][restart]") {
  StartWithBytesChanged(11, [](SavedFile& file, std::mt19937& random) {
    const SavedPage& page = file.saved.pages[random() % file.saved.pages.size()];
    const size_t chunk_bytes = file.saved.chunk_sizes[page.class_id - 1];
    const size_t chunk =
        page.page * PageBytesFor(file.saved.memory_bytes) + random() % page.fresh * chunk_bytes;
    return file.bytes.data() + chunk + random() % 64;  // where its header is
  });
}

TEST_CASE("an index with a byte changed under good checksums is refused or harmless",
          "[core][restart]") {
  StartWithBytesChanged(13, [](SavedFile& file, std::mt19937& random) {
    const size_t stripe = random() % file.saved.stripes.size();
    auto* bucket = file.Buckets(stripe);
    // One with an entry, more often than not.
    const uint32_t buckets = file.saved.stripes[stripe].index.target;
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < buckets; ++i) {
      const uint32_t tags = bucket[i].tags[0] | bucket[i].tags[1] | bucket[i].tags[2];
      if (tags != 0 && random() % 2 == 0) chosen = i;
    }
    return reinterpret_cast<char*>(bucket + chosen) + random() % IndexStripe::kBucketBytes;
  });
}

// The first entry of the index, and one of another key.
struct Entry {
  IndexStripe::Bucket* bucket = nullptr;
  size_t stripe = 0;
  unsigned slot = 0;
};
uint32_t TagOf(const IndexStripe::Bucket& bucket, unsigned slot) {
  return bucket.tags[slot / 4] >> slot % 4 * 8 & 0xffU;
}
std::vector<Entry> EntriesOf(SavedFile& file) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < file.saved.stripes.size(); ++i) {
    for (uint32_t at = 0; at < file.saved.stripes[i].index.target; ++at) {
      IndexStripe::Bucket& bucket = file.Buckets(i)[at];
      for (unsigned slot = 0; slot < IndexStripe::kSlots; ++slot) {
        if (TagOf(bucket, slot) == 0) continue;
        entries.push_back({&bucket, i, slot});
      }
    }
  }
  return entries;
}

TEST_CASE("an index that lies about the items is refused", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  const std::vector<Entry> entries = EntriesOf(file);
  REQUIRE(entries.size() == 51);
  const Entry& one = entries.front();
  const Entry& other = entries.back();
  REQUIRE(one.stripe != other.stripe);
  auto& handle = one.bucket->handles[one.slot];
  auto& other_handle = other.bucket->handles[other.slot];
  SECTION("two items in each other's place") {
    const Handle was = handle;
    handle = other_handle.load();
    other_handle = was;
  }
  SECTION("one item twice, another not at all") { handle = other_handle.load(); }
  SECTION("no item") { handle = 0; }
  SECTION("behind the end") { handle = ~Handle{0}; }
  SECTION("within an item") { handle += 1; }
  SECTION("another tag") { one.bucket->tags[one.slot / 4] ^= 1U << one.slot % 4 * 8; }
  SECTION("an item less") { one.bucket->tags[one.slot / 4] = 0; }
  SECTION("an item more") {
    const unsigned free = one.slot == 0 ? 1 : 0;
    one.bucket->tags[0] = one.bucket->tags[0] | 0x0101;
    one.bucket->handles[free] = handle.load();
  }
  SECTION("an overflow bucket that is none") { one.bucket->overflow = 1; }
  SECTION("an overflow bucket in a ring") {
    one.bucket->overflow = 1;
    file.saved.stripes[one.stripe].index.overflow_fresh = 1;
    file.Buckets(one.stripe, true)[0].overflow = 1;
  }
  SECTION("an overflow bucket that is nowhere") {
    file.saved.stripes[one.stripe].index.overflow_fresh = 1;
  }
  SECTION("a free overflow bucket with an entry") {
    file.saved.stripes[one.stripe].index.overflow_fresh = 1;
    file.saved.stripes[one.stripe].index.overflow_free = 1;
    file.Buckets(one.stripe, true)[0].tags[0] = 1;
  }
  SECTION("another number of buckets") { --file.saved.stripes[one.stripe].index.target; }
  SECTION("more buckets than there can be") {
    file.saved.stripes[one.stripe].index.target = ~0U;
    file.saved.stripes[one.stripe].index.settled = ~0U;
    file.description = EncodeSavedStore(file.saved);
  }
  if (file.saved.stripes[one.stripe].index.target != ~0U) file.Seal();
  file.Write(folder);
  Life life(folder);
  CAPTURE(life.refusal());
  CHECK(life.outcome() == Outcome::kRefused);
  CHECK(life.refusal().find("index") != std::string::npos);
  CHECK(life.items() == 0);
  UseSample(life);
}

// Whether two keys are the same, only going from the index to the items could tell.
TEST_CASE("a key that is there twice is harmless", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  const auto item_of = [&](const Entry& entry) {
    return reinterpret_cast<Item*>(file.Chunk(entry.bucket->handles[entry.slot]));
  };
  const std::vector<Entry> entries = EntriesOf(file);
  const auto entry_of = [&](std::string_view key) {
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
      return item_of(entry)->key() == key;
    });
    REQUIRE(found != entries.end());
    return *found;
  };
  const Entry first = entry_of("k11");
  const Entry second = entry_of("k12");
  std::memcpy(item_of(second)->key_data(), "k11", 3);
  // Its entry goes to where the key belongs.
  const unsigned free = first.slot + 1;
  REQUIRE(free < IndexStripe::kSlots);
  REQUIRE(TagOf(*first.bucket, free) == 0);
  first.bucket->tags[free / 4] |= TagOf(*first.bucket, first.slot) << free % 4 * 8;
  first.bucket->handles[free] = second.bucket->handles[second.slot].load();
  second.bucket->tags[second.slot / 4] ^= TagOf(*second.bucket, second.slot) << second.slot % 4 * 8;
  file.Seal();
  file.Write(folder);
  Life life(folder);
  CAPTURE(life.refusal());
  REQUIRE(life.outcome() == Outcome::kRestored);
  life.store->CheckInvariants();
  CHECK(life.Get("k12").empty());
  for (uint64_t left = 51; left > 49; --left) {
    CHECK(life.items() == left);
    CHECK_FALSE(life.Get("k11").empty());
    const DeleteRequest request{.key = life.store->MakeKey("k11")};
    CHECK(life.store->Delete(life.ctx, request) == DeleteResult::kDeleted);
    life.store->CheckInvariants();
  }
  CHECK(life.Get("k11").empty());
  UseSample(life);
}

TEST_CASE("an index with free overflow buckets is good", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  file.saved.stripes[3].index.overflow_fresh = 2;
  file.saved.stripes[3].index.overflow_free = 2;
  file.Buckets(3, true)[1].overflow = 1;
  file.Seal();
  file.Write(folder);
  Life life(folder);
  CAPTURE(life.refusal());
  CHECK(life.outcome() == Outcome::kRestored);
  UseSample(life);
}

// A ring of items apart from its queue cannot be seen without following the queue.
TEST_CASE("a queue with a ring apart from it is refused or harmless", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    for (int i = 0; i < 100; ++i) life.Put("k" + std::to_string(i), std::string(500, 'v'));
    life.Save();
  }
  SavedFile file(folder);
  REQUIRE(file.saved.queues.size() == 1);
  const auto at = [&](Handle handle) { return reinterpret_cast<ChunkHeader*>(file.Chunk(handle)); };
  const Handle head = file.saved.queues[0].head;
  const Handle tail = file.saved.queues[0].tail;
  const Handle first = at(head)->next;
  const Handle last = at(tail)->prev;
  at(head)->next = tail;
  at(tail)->prev = head;
  at(first)->prev = last;
  at(last)->next = first;
  file.Seal();
  file.Write(folder);
  Life life(folder);
  CAPTURE(life.refusal());
  if (life.outcome() == Outcome::kRestored) {
    CHECK(life.items() == 100);
    for (int i = 0; i < 30'000; ++i) {
      (void)life.Put("n" + std::to_string(i), std::string(500, 'n'));
      if (i % 1000 == 0) life.store->RunMaintenance(life.ctx);
    }
    for (int i = 0; i < 100; ++i) {
      life.store->Delete(life.ctx, {.key = life.store->MakeKey("k" + std::to_string(i))});
    }
  }
  life.store->CheckInvariants();
}

TEST_CASE("what lies behind the index in use is not believed", "[core][restart]") {
  const Folder folder;
  SaveSample(folder);
  SavedFile file(folder);
  constexpr uint32_t kTags = 0x07070707;
  constexpr Handle kNowhere = 0xfffffff0;
  for (size_t i = 0; i < file.saved.stripes.size(); ++i) {
    const IndexStripe::Layout& layout = file.saved.stripes[i].index;
    for (IndexStripe::Bucket* behind :
         {file.Buckets(i) + layout.target,
          file.Buckets(i, /*overflow=*/true) + layout.overflow_fresh}) {
      for (auto& tags : behind->tags) tags = kTags;
      for (auto& handle : behind->handles) handle = kNowhere;
      behind->overflow = kNowhere;
    }
  }
  file.Write(folder);
  Life life(folder);
  REQUIRE(life.outcome() == Outcome::kRestored);
  for (int i = 0; i < 60'000; ++i) life.Put("n" + std::to_string(i), "v");
  life.store->CheckInvariants();
}

TEST_CASE("a small item as long as a large one is refused", "[core][restart]") {
  const Folder folder;
  {
    Life life(folder);
    REQUIRE(life.Put("key", std::string(kLargeValueBytes, 'v')) == StoreResult::kStored);
    CHECK(life.Save() == 1);
  }
  SavedFile file(folder);
  constexpr size_t kValueBytesAt = 14;  // of an item, see core/item.h
  bool is_found = false;
  for (const SavedPage& page : file.saved.pages) {
    const size_t chunk_bytes = file.saved.chunk_sizes[page.class_id - 1];
    for (size_t i = 0; i < page.fresh; ++i) {
      char* const chunk =
          file.bytes.data() + page.page * PageBytesFor(file.saved.memory_bytes) + i * chunk_bytes;
      uint16_t value_bytes = 0;
      std::memcpy(&value_bytes, chunk + kValueBytesAt, sizeof value_bytes);
      if (value_bytes != kLargeValueBytes) continue;
      ++value_bytes;
      std::memcpy(chunk + kValueBytesAt, &value_bytes, sizeof value_bytes);
      is_found = true;
    }
  }
  REQUIRE(is_found);
  file.Seal();
  file.Write(folder);
  const Life life(folder);
  CHECK(life.outcome() == Outcome::kRefused);
  CHECK(life.refusal().find("an item's length") != std::string::npos);
}

}  // namespace
}  // namespace larder
