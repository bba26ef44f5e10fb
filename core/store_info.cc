// core/store_info.cc — building a store, taking it apart, and what it tells of itself.

#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kSizeStep = 32;            // of `stats sizes`
constexpr size_t kSizeSteps = 64 * 1024;    // larger items are counted with the last
constexpr size_t kIndexReserveDivisor = 6;  // entries a bucket that the reservation reckons with

// Every value that is not large must fit one chunk, with the longest key and all options.
constexpr size_t kLeastLargestChunk = kLargeValueBytes + 1024;
static_assert(Item::kHeaderBytes + Item::OptionBytes(kOptionMask) + kMaxKeyBytes < 1024);

uint64_t RandomSeed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed || seed == 0) seed = 0x9e3779b97f4a7c15ULL;
  return seed;
}

constexpr size_t kFewestStripes = 64;
constexpr size_t kMostStripes = 4096;

// So many that threads hardly meet; but each costs a system page or two, which a small memory would
// feel.
size_t StripesFor(unsigned threads, uint64_t memory_bytes) {
  constexpr size_t kPerThread = 64;
  constexpr uint64_t kAmpleMemory = 1 << 20;  // a stripe, when threads do not ask for more
  constexpr uint64_t kLeastMemory = 128 << 10;
  const size_t wanted =
      std::max(std::bit_ceil(kPerThread * threads), std::bit_floor(memory_bytes / kAmpleMemory));
  const size_t bearable = std::bit_floor(memory_bytes / kLeastMemory);
  return std::clamp(std::min(wanted, bearable), kFewestStripes, kMostStripes);
}

// Shorter pages have shorter chunks, so that their ends are not lost: a page has four of the
// largest by default.
size_t LargestChunk(size_t max_chunk_bytes, size_t page_bytes) {
  return std::clamp(max_chunk_bytes / (kMostPageBytes / page_bytes), kLeastLargestChunk,
                    page_bytes);
}

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "store invariant broken: %s\n", what);
  std::abort();
}

}  // namespace

// With few pages a class each for the finest sizes would leave most of them without one.
double GrowthFactor(const StoreOptions& options) {
  constexpr uint64_t kSmallMemory = uint64_t{64} << 20;
  constexpr double kFine = 1.03;
  constexpr double kCoarse = 1.08;
  if (options.growth_factor != 0) return options.growth_factor;
  return options.memory_bytes < kSmallMemory ? kCoarse : kFine;
}

StoreTuning::StoreTuning(const StoreOptions& options)
    : segmented(options.segmented),
      hot_percent(options.hot_percent),
      warm_percent(options.warm_percent),
      hot_max_factor(options.hot_max_factor),
      warm_max_factor(options.warm_max_factor),
      temporary_ttl_seconds(options.temporary_ttl_seconds),
      automove(options.automove),
      automove_ratio(options.automove_ratio),
      automove_freeratio(options.automove_freeratio),
      automove_window(options.automove_window),
      crawler(options.crawler),
      crawler_sleep_us(options.crawler_sleep_us),
      crawler_tocrawl(options.crawler_tocrawl) {}

Store::Impl::Impl(Store* facade, const StoreOptions& options, const Clock& clock)
    : facade_(facade),
      options_(options),
      clock_(clock),
      hot_keys_(clock),
      restored_(ReadMemoryFile(options)),
      hasher_(HashSeed(options, restored_)),
      pool_({.limit_bytes = options.memory_bytes,
             .preallocate = options.preallocate,
             .lock = options.lock_memory,
             .file = options.memory_file != nullptr ? options.memory_file->fd() : -1}),
      sizes_(Item::kHeaderBytes + (options.use_cas ? 8 : 0) + options.min_chunk_payload,
             LargestChunk(options.max_chunk_bytes, pool_.page_bytes()), GrowthFactor(options),
             pool_.space().granule(), options.chunk_sizes, pool_.page_bytes()),
      ghosts_(options.memory_bytes),
      tuning_(options),
      pages_(pool_.capacity() + 1),
      classes_(std::make_unique<SlabClass[]>(sizes_.count() + 1)),
      size_histogram_(options.track_sizes ? kSizeSteps : 0) {
  pool_.Charge(static_cast<int64_t>(ghosts_.bytes()));
  InitClasses();
  MakeStripes(restored_.saved != nullptr ? restored_.saved->stripes.size() : 0);
  ReserveIndex();
  if (restored_.saved != nullptr) Restore();
  pool_.Preallocate();
  stats_.SetClasses(sizes_.count() + 1);
  stats_.SetPrefixDelimiter(options_.prefix_delimiter);
  stats_.CollectPrefixes(options_.prefix_stats);
  if (options_.background) StartThreads();
}

uint64_t Store::Impl::HashSeed(const StoreOptions& options, const Restored& restored) {
  if (restored.saved != nullptr) return restored.saved->hash_seed;
  return options.hash_seed != 0 ? options.hash_seed : RandomSeed();
}

// A restored store keeps its stripes, though another number of threads would begin with others.
void Store::Impl::MakeStripes(size_t kept) {
  const bool can_be = std::has_single_bit(kept) && kept >= kFewestStripes && kept <= kMostStripes;
  stripe_count_ = can_be ? kept : StripesFor(options_.threads, options_.memory_bytes);
  stripe_mask_ = stripe_count_ - 1;
  stripes_ = std::make_unique<Stripe[]>(stripe_count_);
}

void Store::Impl::InitClasses() {
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    classes_[id].Init(static_cast<uint16_t>(id), sizes_.sizes()[id], pool_.space(), pages_.get());
  }
}

void Store::Impl::ReserveIndex() {
  const size_t most_items = pool_.capacity() * (pool_.page_bytes() / sizes_.sizes()[1]);
  const size_t buckets = std::max<size_t>(1024, most_items / stripe_count_ / kIndexReserveDivisor);
  const size_t stripe_bytes = 2 * buckets * IndexStripe::kBucketBytes;  // and as many for overflow
  index_mapping_bytes_ = stripe_count_ * stripe_bytes;
  MemoryFile* const file = options_.memory_file.get();
  index_mapping_ = file != nullptr ? file->MapTail(index_mapping_bytes_)
                                   : mmap(nullptr, index_mapping_bytes_, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (index_mapping_ == MAP_FAILED || index_mapping_ == nullptr) {
    std::perror("larder: cannot reserve address space for the index");
    std::exit(71);
  }
  // Stripes start at different sizes, so that they grow at different times.
  constexpr size_t kLeastStart = 43;
  constexpr size_t kMostStart = 64;
  uint64_t bytes = 0;
  for (size_t i = 0; i < stripe_count_; ++i) {
    char* base = static_cast<char*>(index_mapping_) + i * stripe_bytes;
    auto* main = reinterpret_cast<IndexStripe::Bucket*>(base);
    const size_t spread = i % (kMostStart - kLeastStart + 1);
    const auto start = static_cast<uint32_t>(kLeastStart + spread);
    StripeLock lock(stripes_[i].mutex);
    stripes_[i].index.Init(main, buckets, main + buckets, buckets, start, file);
    if (restored_.saved == nullptr && !stripes_[i].index.TakeRoom()) {
      std::fprintf(stderr, "larder: %s: no room for the index\n", file->path().c_str());
      std::exit(71);
    }
    bytes += stripes_[i].index.MemoryBytes();
  }
  ChargeIndex(index_bytes_.load(std::memory_order_relaxed), bytes);
}

Store::Impl::~Impl() {
  StopThreads();
#ifndef NDEBUG
  CheckInvariants();
#endif
  ReleaseIndex();
}

void Store::Impl::ReleaseIndex() {
  if (options_.memory_file != nullptr) return options_.memory_file->UnmapTail();
  munmap(index_mapping_, index_mapping_bytes_);
}

StoreInfo Store::Impl::Info() {
  StoreInfo info;
  const auto totals = stats_.Lifetime();
  info.limit_bytes = pool_.limit_bytes();
  info.item_bytes = (*totals)[ClassCounter::bytes_added] - (*totals)[ClassCounter::bytes_removed];
  info.items = (*totals)[ClassCounter::items_added] - (*totals)[ClassCounter::items_removed];
  info.page_bytes = pool_.backed_pages() * pool_.page_bytes();
  info.free_pages = pool_.free_pages();
  info.index_bytes = index_bytes_.load(std::memory_order_relaxed);
  const ClientMemory& clients = pool_.clients();
  info.client_bytes = clients.charge();
  info.stuck_bytes = clients.stuck();
  info.pinned_bytes = clients.pinned();
  info.stuck_limit = clients.stuck_limit();
  info.clients_dropped = clients.dropped();
  size_t buckets = 0;
  for (size_t i = 0; i < stripe_count_; ++i) {
    StripeLock lock(stripes_[i].mutex);
    buckets += stripes_[i].index.buckets();
    info.index_growing = info.index_growing || stripes_[i].index.growing();
  }
  info.index_power = static_cast<unsigned>(std::bit_width(buckets * IndexStripe::kSlots) - 1);
  info.crawler_running = crawling_.load(std::memory_order_relaxed);
  info.reassign_running = asked_move_.load(std::memory_order_relaxed) != 0;
  return info;
}

std::vector<ClassInfo> Store::Impl::Classes() {
  std::vector<ClassInfo> classes;
  const auto totals = stats_.Lifetime();
  const uint32_t now = Ticks::At(clock_.NowMs());
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    ClassInfo info{.id = id,
                   .chunk_bytes = classes_[id].chunk_bytes(),
                   .chunks_per_page = classes_[id].chunks_per_page()};
    ClassLock lock(classes_[id].mutex());
    info.pages = classes_[id].pages();
    info.used_chunks = classes_[id].used();
    info.free_chunks = classes_[id].available();
    info.item_bytes = totals->Class(ClassCounter::bytes_added, id) -
                      totals->Class(ClassCounter::bytes_removed, id);
    info.evicted_age_seconds = static_cast<uint32_t>(
        evictions_[id].ticks.load(std::memory_order_relaxed) * Ticks::kMs / 1000);
    for (size_t s = 0; s < kSegments; ++s) {
      info.items[s] = classes_[id].items(static_cast<Segment>(s));
      info.age_seconds[s] = static_cast<uint32_t>(
          classes_[id].TailAge(static_cast<Segment>(s), now) * Ticks::kMs / 1000);
    }
    classes.push_back(info);
  }
  return classes;
}

void Store::Impl::TrackSize(const Item& item, int64_t change) {
  const size_t step = std::min(item.total_bytes() / kSizeStep, kSizeSteps - 1);
  size_histogram_[step].fetch_add(change, std::memory_order_relaxed);
}

std::vector<std::pair<size_t, uint64_t>> Store::Impl::Sizes() const {
  std::vector<std::pair<size_t, uint64_t>> sizes;
  for (size_t step = 0; step < size_histogram_.size(); ++step) {
    const int64_t count = size_histogram_[step].load(std::memory_order_relaxed);
    if (count > 0) sizes.emplace_back((step + 1) * kSizeStep, static_cast<uint64_t>(count));
  }
  return sizes;
}

void Store::Impl::CheckInvariants() {
  std::vector<uint32_t> used(pool_.capacity() + 1);
  size_t items = 0;
  const auto note = [&](Handle chunk) { ++used[space().PageOf(chunk)]; };
  const auto check_pieces = [&](Handle handle, const Item* item) {
    size_t bytes = 0;
    for (Handle at = item->large()->first_piece; at != kNoChunk;) {
      const auto* piece = space().At<Piece>(at);
      Require(piece->owner == handle, "a piece knows its item");
      note(at);
      bytes += piece->bytes;
      at = piece->next;
    }
    Require(bytes == item->value_bytes(), "the pieces make up the value");
  };
  for (size_t i = 0; i < stripe_count_; ++i) {
    Stripe& stripe = stripes_[i];
    StripeLock lock(stripe.mutex);
    stripe.index.CheckInvariants([this](Handle handle) { return HashOf(handle); });
    for (size_t at = 0; at < stripe.index.buckets(); ++at) {
      stripe.index.VisitBucket(at, [&](Handle handle) {
        const Item* item = ItemAt(handle);
        Require(item->has(kLinked), "an item in the index is linked");
        Require((HashOf(handle) & stripe_mask_) == i, "an item is in the stripe of its hash");
        Require(item->shape().bytes() <= ClassOf(handle).chunk_bytes(), "an item fits its chunk");
        note(handle);
        ++items;
        if (item->has(kLarge)) check_pieces(handle, item);
      });
    }
  }
  size_t in_queues = 0;
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    ClassLock lock(classes_[id].mutex());
    classes_[id].CheckInvariants([&](Handle item) {
      Require(ItemAt(item)->has(kLinked), "an item in the LRU is linked");
      Require(&LruClassOf(item) == &classes_[id], "an item is in the LRU of its class");
      ++in_queues;
    });
    size_t sum = 0;
    for (PageIndex page = 1; page <= pool_.highest_page(); ++page) {
      if (pages_[page].class_id.load(std::memory_order_relaxed) != id) continue;
      Require(pages_[page].used >= used[page], "every item's chunk counts as used");
      sum += pages_[page].used;
    }
    Require(sum == classes_[id].used(), "the chunks used are those of the pages");
  }
  Require(items == in_queues, "index and LRU hold the same items");
  const StoreInfo info = Info();
  Require(items == info.items, "the items counted are the items held");
}

}  // namespace larder
