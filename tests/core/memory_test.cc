#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/memory/page_pool.h"
#include "core/memory/slab_class.h"
#include "core/memory/slab_sizes.h"

namespace larder {

// Of a pool with that limit.
constexpr size_t PagesPerMib(uint64_t limit_bytes) {
  return (size_t{1} << 20) / PageBytesFor(limit_bytes);
}

TEST_CASE("every size gets the smallest chunk that holds it", "[core][memory]") {
  const double factor = GENERATE(1.02, 1.04, 1.25, 2.0);
  const size_t granule = GENERATE(size_t{4}, size_t{8}, size_t{32});
  CAPTURE(factor, granule);
  const SlabSizes sizes(41, 64 << 10, factor, granule, {}, kMostPageBytes);
  REQUIRE(sizes.count() < kMaxClasses);
  for (size_t bytes = 1; bytes <= sizes.largest(); bytes += 1 + bytes / 97) {
    const size_t id = sizes.ClassFor(bytes);
    REQUIRE(id >= 1);
    REQUIRE(sizes.sizes()[id] >= bytes);
    REQUIRE((id == 1 || sizes.sizes()[id - 1] < bytes));
    REQUIRE(sizes.sizes()[id] % granule == 0);
  }
  CHECK(sizes.ClassFor(sizes.largest() + 1) == 0);
}

TEST_CASE("chunk sizes may be given one by one", "[core][memory]") {
  const SlabSizes sizes(41, 64 << 10, 1.25, 8, {100, 103, 500, 1001}, kMostPageBytes);
  CHECK(sizes.sizes() == std::vector<size_t>{0, 104, 504, 1008, 64 << 10});
}

TEST_CASE("what clients take is charged to the pages like the index", "[core][memory]") {
  PagePool pool({.limit_bytes = 100 << 20});
  constexpr size_t kPagesPerMib = PagesPerMib(100 << 20);
  pool.Charge(1 << 19);  // with the next all that is free of charge
  pool.clients().AddConnections(1 << 20);
  CHECK(pool.LimitPages() == 100 * kPagesPerMib);
  pool.clients().AddStuck(10 << 20);
  CHECK(pool.LimitPages() == 90 * kPagesPerMib);
  pool.clients().AddPinned(30 << 20);  // lies in pages already
  CHECK(pool.LimitPages() == 90 * kPagesPerMib);
  CHECK(pool.clients().stuck_limit() == 25 << 20);
  CHECK(pool.clients().is_over());
  pool.clients().AddPinned(-(20 << 20));
  CHECK_FALSE(pool.clients().is_over());
  pool.SetLimit(8 << 20);
  CHECK(pool.clients().stuck_limit() == ClientMemory::kLeastStuckBytes);
  pool.clients().AddStuck(-(10 << 20));
  CHECK(pool.LimitPages() == PagePool::kLeastBytes / pool.page_bytes());
}

TEST_CASE("the pool gives out no more pages than the limit, less what the index takes",
          "[core][memory]") {
  PagePool pool({.limit_bytes = 20 << 20});
  constexpr size_t kPagesPerMib = PagesPerMib(20 << 20);
  std::vector<PageIndex> pages;
  for (PageIndex page = pool.Acquire(); page != kNoPage; page = pool.Acquire()) {
    pages.push_back(page);
  }
  CHECK(pages.size() == 20 * kPagesPerMib);
  CHECK(std::set<PageIndex>(pages.begin(), pages.end()).size() == 20 * kPagesPerMib);
  pool.Charge(5 << 20);  // little of it is free of charge
  const size_t limit = pool.LimitPages();
  CHECK(limit == ((15 << 20) + (20 << 20) / PagePool::kUnchargedShare) / pool.page_bytes());
  CHECK(pool.ExcessPages() == pages.size() - limit);
  while (pages.size() > limit) {
    pool.Release(pages.back());
    pages.pop_back();
  }
  pool.ReleaseExcess();
  CHECK(pool.backed_pages() == limit);
  CHECK(pool.ExcessPages() == 0);
  CHECK(pool.Acquire() == kNoPage);
  pool.SetLimit(40 << 20);
  while (pool.Acquire() != kNoPage) {
  }
  CHECK(pool.backed_pages() ==
        ((35 << 20) + (40 << 20) / PagePool::kUnchargedShare) / pool.page_bytes());
}

// The queues of a class against deques, and its chunks against a set.
// A memory file of its own, and a pool over it.
struct FilePool {
  explicit FilePool(uint64_t limit_bytes) : file(memfd_create("pages", 0)) {
    REQUIRE(file >= 0);
    REQUIRE(ftruncate(file, static_cast<off_t>(PagePool::FileBytes(limit_bytes))) == 0);
    pool = std::make_unique<PagePool>(PagePool::Options{.limit_bytes = limit_bytes, .file = file});
  }
  ~FilePool() { close(file); }
  FilePool(const FilePool&) = delete;
  FilePool& operator=(const FilePool&) = delete;

  // Takes page 1 and those behind it, and writes what only this page has all over it.
  void Take(size_t pages) {
    for (PageIndex page = 1; page <= pages; ++page) {
      REQUIRE(pool->Acquire() == page);
      std::fill_n(Words(page), pool->page_bytes() / sizeof(uint64_t), Mark(page));
    }
  }
  uint64_t* Words(PageIndex page) const {
    return reinterpret_cast<uint64_t*>(pool->space().PageAddress(page));
  }
  static uint64_t Mark(PageIndex page) { return 0x9e37'79b9'7f4a'7c15ULL * page; }
  // Whether every word of the page is `word`.
  [[nodiscard]] bool Holds(PageIndex page, uint64_t word) const {
    const uint64_t* words = Words(page);
    return std::all_of(words, words + pool->page_bytes() / sizeof(uint64_t),
                       [&](uint64_t one) { return one == word; });
  }
  [[nodiscard]] size_t FileKilobytes() const {
    struct stat status {};
    REQUIRE(fstat(file, &status) == 0);
    return static_cast<size_t>(status.st_blocks) / 2;
  }
  // Often enough for all of its pages.
  void Join() const {
    for (size_t i = 0; i < pool->capacity(); ++i) pool->JoinPages();
  }

  int file;
  std::unique_ptr<PagePool> pool;
};

// How much of this process' shared memory is mapped as huge pages.
size_t JoinedKilobytes() {
  std::ifstream maps("/proc/self/smaps");
  size_t sum = 0;
  for (std::string word; maps >> word;) {
    size_t kilobytes = 0;
    if (word == "ShmemPmdMapped:" && maps >> kilobytes) sum += kilobytes;
  }
  return sum;
}

// Whether this system joins pages when it is asked to.
bool CanJoin() {
  FilePool probe(8 << 20);
  probe.Take(3 * PagesPerMib(8 << 20));
  const size_t before = JoinedKilobytes();
  probe.Join();
  return JoinedKilobytes() != before;
}

// At most so many MiB: the system may lack huge pages for some.
void CheckJoined(size_t kilobytes_before, size_t mebibytes) {
  const size_t joined = JoinedKilobytes() - kilobytes_before;
  CHECK(joined <= mebibytes * 1024);
  if (CanJoin()) CHECK(joined > 0);
}

TEST_CASE("pages that are joined keep what they hold, and holes stay holes", "[core][memory]") {
  FilePool f(32 << 20);
  constexpr size_t kPageBytes = PageBytesFor(32 << 20);
  constexpr size_t kPagesPerMib = PagesPerMib(32 << 20);
  constexpr size_t kPages = 20 * kPagesPerMib;
  constexpr size_t kPageKilobytes = kPageBytes / 1024;
  std::set<PageIndex> given_back = {13 * kPagesPerMib + 1};
  for (PageIndex page = 8 * kPagesPerMib; page < 10 * kPagesPerMib; ++page) given_back.insert(page);
  f.Take(kPages);
  for (const PageIndex page : given_back) f.pool->Release(page);
  f.pool->SetLimit((kPages - given_back.size()) * kPageBytes);
  f.pool->ReleaseExcess();
  const size_t taken = f.FileKilobytes();
  REQUIRE(taken == (kPages - given_back.size()) * kPageKilobytes);
  const size_t joined_before = JoinedKilobytes();
  f.Join();
  for (PageIndex page = 1; page <= kPages; ++page) {
    CAPTURE(page);
    if (!given_back.contains(page)) CHECK(f.Holds(page, FilePool::Mark(page)));
  }
  CHECK(f.FileKilobytes() == taken);
  // All MiB of 2 to 19 but 8 and 9, and 13 with its neighbour; 20 has none that is in use.
  CheckJoined(joined_before, 14);
  // What comes back is joined too.
  const size_t joined_at_first = JoinedKilobytes();
  f.pool->SetLimit(32 << 20);
  for (size_t i = 0; i < given_back.size(); ++i) {
    const PageIndex page = f.pool->Acquire();
    REQUIRE(given_back.contains(page));
    std::fill_n(f.Words(page), kPageBytes / sizeof(uint64_t), FilePool::Mark(page));
  }
  f.Join();
  for (PageIndex page = 1; page <= kPages; ++page) CHECK(f.Holds(page, FilePool::Mark(page)));
  CheckJoined(joined_at_first, 4);
}

TEST_CASE("pages that cannot be joined stay as they are, and others are joined", "[core][memory]") {
  FilePool f(32 << 20);
  constexpr size_t kPageBytes = PageBytesFor(32 << 20);
  constexpr size_t kPagesPerMib = PagesPerMib(32 << 20);
  constexpr size_t kPages = 22 * kPagesPerMib - 1;
  f.Take(kPages);
  // The system has nothing to join where there is nothing.
  constexpr PageIndex kHole = 2 * kPagesPerMib;
  constexpr size_t kHolePages = 8 * kPagesPerMib;
  REQUIRE(fallocate(f.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kHole * kPageBytes,
                    kHolePages * kPageBytes) == 0);
  const size_t joined_before = JoinedKilobytes();
  f.Join();
  for (PageIndex page = 1; page <= kPages; ++page) {
    const bool is_hole = page >= kHole && page < kHole + kHolePages;
    CAPTURE(page);
    CHECK(f.Holds(page, is_hole ? 0 : FilePool::Mark(page)));
  }
  CheckJoined(joined_before, 12);
}

TEST_CASE("without a memory file no pages are joined", "[core][memory]") {
  PagePool pool({.limit_bytes = 16 << 20});
  while (pool.Acquire() != kNoPage) {
  }
  const size_t joined_before = JoinedKilobytes();
  for (int i = 0; i < 16; ++i) pool.JoinPages();
  CHECK(JoinedKilobytes() == joined_before);
}

TEST_CASE("a slab class agrees with a model after every step", "[core][memory][lru]") {
  const auto seed = GENERATE(take(4, random(1, 1000000)));
  CAPTURE(seed);
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  PagePool pool({.limit_bytes = 64 << 20});
  std::vector<PageInfo> pages(pool.capacity() + 1);
  SlabClass slab_class;
  slab_class.Init(1, 60 * 1024, pool.space(), pages.data());
  std::map<size_t, std::deque<Handle>> queues;  // front: most recent
  std::set<Handle> used;
  ClassLock lock(slab_class.mutex());
  for (int step = 0; step < 3000; ++step) {
    const auto segment = static_cast<Segment>(random() % kSegments);
    auto& queue = queues[static_cast<size_t>(segment)];
    switch (random() % 4) {
      case 0: {
        Handle chunk = slab_class.PopFree();
        if (chunk == kNoChunk) {
          const PageIndex page = pool.Acquire();
          if (page == kNoPage) break;
          slab_class.AddPage(page);
          chunk = slab_class.PopFree();
        }
        REQUIRE(chunk != kNoChunk);
        REQUIRE(used.insert(chunk).second);
        pool.space().At<Item>(chunk)->Init({.key_bytes = 1}, 0, 0, 0);
        slab_class.LinkFront(chunk, segment);
        queue.push_front(chunk);
        break;
      }
      case 1: {
        if (queue.empty()) break;
        const size_t at = random() % queue.size();
        const Handle chunk = queue[at];
        queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(at));
        slab_class.Unlink(chunk);
        used.erase(chunk);
        const PageIndex page = slab_class.PushFree(chunk);
        if (page != kNoPage) pool.Release(page);
        break;
      }
      case 2: {
        if (queue.empty()) break;
        const size_t at = random() % queue.size();
        const Handle fresh = slab_class.PopFree();
        if (fresh == kNoChunk) break;
        const Handle old = queue[at];
        pool.space().At<Item>(fresh)->Init({.key_bytes = 1}, 0, 0, 0);
        pool.space().At<ChunkHeader>(fresh)->set_segment(segment);
        slab_class.Replace(old, fresh);
        queue[at] = fresh;
        used.erase(old);
        used.insert(fresh);
        const PageIndex page = slab_class.PushFree(old);
        if (page != kNoPage) pool.Release(page);
        break;
      }
      default:
        break;
    }
    std::set<Handle> seen;
    slab_class.CheckInvariants([&](Handle item) { seen.insert(item); });
    REQUIRE(seen == used);
    REQUIRE(slab_class.used() == used.size());
    for (size_t s = 0; s < kSegments; ++s) {
      const Handle tail = slab_class.tail(static_cast<Segment>(s));
      REQUIRE(tail == (queues[s].empty() ? kNoChunk : queues[s].back()));
    }
  }
}

TEST_CASE("a page that is drained hands out nothing and leaves when it is empty",
          "[core][memory]") {
  PagePool pool({.limit_bytes = 64 << 20});
  std::vector<PageInfo> pages(pool.capacity() + 1);
  SlabClass slab_class;
  slab_class.Init(1, 25 * 1024, pool.space(), pages.data());
  ClassLock lock(slab_class.mutex());
  const PageIndex page = pool.Acquire();
  slab_class.AddPage(page);
  const Handle a = slab_class.PopFree();
  const Handle b = slab_class.PopFree();
  REQUIRE(slab_class.StartDraining(page));
  CHECK_FALSE(slab_class.StartDraining(page));
  CHECK(slab_class.PopFree() == kNoChunk);
  CHECK(slab_class.PushFree(a) == kNoPage);
  SECTION("not empty: back in service with all its free chunks") {
    // b is in somebody's hands, not yet written to: it must not be handed out again.
    CHECK_FALSE(slab_class.FinishDraining(page));
    CHECK(slab_class.available() == 9);
    for (int i = 0; i < 9; ++i) {
      const Handle chunk = slab_class.PopFree();
      CHECK(chunk != kNoChunk);
      CHECK(chunk != b);
    }
    CHECK(slab_class.PopFree() == kNoChunk);
  }
  SECTION("empty: it leaves") {
    CHECK(slab_class.PushFree(b) == kNoPage);
    CHECK(slab_class.FinishDraining(page));
    CHECK(slab_class.pages() == 0);
    CHECK(slab_class.available() == 0);
  }
}

TEST_CASE(
    "victims come from HOT's end while it is over its share, and what was read from there stays",
    "[core][memory][lru]") {
  PagePool pool({.limit_bytes = 64 << 20});
  std::vector<PageInfo> pages(pool.capacity() + 1);
  SlabClass slab_class;
  slab_class.Init(1, 1024, pool.space(), pages.data());
  ClassLock lock(slab_class.mutex());
  slab_class.AddPage(pool.Acquire());
  std::vector<Handle> items;
  for (int i = 0; i < 100; ++i) {
    items.push_back(slab_class.PopFree());
    pool.space().At<Item>(items.back())->Init({.key_bytes = 1}, 0, 0, 0);
    slab_class.LinkFront(items.back(), Segment::kHot);
  }
  const LruTuning tuning;
  LruMoves moves;
  pool.space().At<Item>(items[0])->SetBits(kActive);
  CHECK(slab_class.PickVictim(tuning, 0, 0, &moves) == items[1]);
  CHECK(pool.space().At<Item>(items[0])->segment() == Segment::kWarm);
  CHECK(slab_class.PickVictim(tuning, 0, 1, &moves) == items[2]);
  // What nobody reads stays in HOT, whatever the shares, while there is room.
  (void)slab_class.Balance(tuning, 0, 1000);
  CHECK(slab_class.items(Segment::kHot) == 99);
  // Then what was read gets all but HOT's share: WARM first, and what WARM has no room for is COLD.
  for (const Handle item : items) pool.space().At<Item>(item)->SetBits(kActive);
  (void)slab_class.Balance(tuning, 0, 1000);
  CHECK(slab_class.items(Segment::kHot) == 20);
  CHECK(slab_class.items(Segment::kWarm) == 40);
  CHECK(slab_class.items(Segment::kCold) == 40);
  // HOT has no more than its share: COLD's end is next, but for what was read again.
  const Handle coldest = slab_class.tail(Segment::kCold);
  pool.space().At<Item>(coldest)->SetBits(kActive);
  const Handle next = slab_class.Before(coldest);
  CHECK(slab_class.PickVictim(tuning, 0, 0, &moves) == next);
  CHECK(pool.space().At<Item>(coldest)->segment() == Segment::kWarm);
  slab_class.CheckInvariants([](Handle) {});
}

}  // namespace larder
