// core/store_restart.cc — a store's memory file: what Save() leaves there, and how a new store
// takes it over.
//
// Items stay where they are on their pages; queues are linked by handles, which hold in any
// process.  The new store checks each page's checksum, walks over its chunks, checks each item, its
// pieces and its neighbours in the queue, sets its times to the new clock, and enters it into a new
// index.  Nothing is believed that could lead outside of the pages; what is not as it should be
// refuses the whole file.
//
// Threads: as many as serve later.  They take pages by turns; after each round of pages they take
// parts of the index by turns.  Nobody else knows the store yet, or any more: there are no locks.

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kMostThreads = 16;
constexpr size_t kPagesPerRound = 64;  // of up to 22,000 items each, 16 bytes an item
constexpr size_t kParts = 64;          // of the index, each in a processor's own cache
constexpr size_t kAhead = 16;          // entries
constexpr std::chrono::seconds kProgressEvery{1};

size_t ThreadsFor(const StoreOptions& options, size_t pages) {
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  return std::clamp<size_t>(std::min({size_t{options.threads}, cores, pages / 4}), 1, kMostThreads);
}

// Calls work(0), … work(threads - 1) at the same time; the first one here.
template <typename Work>
void InParallel(size_t threads, Work&& work) {
  std::vector<std::thread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back([&work, i] { work(i); });
  work(0);
  for (std::thread& other : others) other.join();
}

uint64_t MsSince(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
}

// Tells how far a long work has come, once a second.
class Progress {
 public:
  Progress(const StoreOptions& options, const char* what, size_t pages)
      : options_(options), what_(what), pages_(pages) {}
  void At(size_t page) {
    const auto now = std::chrono::steady_clock::now();
    if (!options_.progress || now - told_ < kProgressEvery) return;
    told_ = now;
    options_.progress(absl::StrCat(what_, " ", options_.memory_file->path(), ": ",
                                   std::min(page, pages_), " of ", pages_, " MiB"));
  }

 private:
  const StoreOptions& options_;
  const char* const what_;
  const size_t pages_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

}  // namespace

// --- Saving ---

SavedStore Store::Impl::Describe() {
  SavedStore saved;
  saved.memory_bytes = options_.memory_bytes;
  saved.max_item_bytes = options_.max_item_bytes;
  saved.handle_shift = static_cast<uint32_t>(std::countr_zero(space().granule()));
  saved.use_cas = options_.use_cas;
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    saved.chunk_sizes.push_back(static_cast<uint32_t>(sizes_.sizes()[id]));
    ClassLock lock(classes_[id].mutex());
    for (size_t s = 0; s < kSegments; ++s) {
      const SlabClass::Queue& queue = classes_[id].queue(static_cast<Segment>(s));
      if (queue.count == 0) continue;
      saved.queues.push_back({.class_id = static_cast<uint16_t>(id),
                              .segment = static_cast<uint8_t>(s),
                              .count = queue.count,
                              .head = queue.head,
                              .tail = queue.tail});
      saved.items += queue.count;
    }
  }
  saved.wall_ms = clock_.WallMs();
  saved.now_ms = clock_.NowMs();
  saved.hash_seed = hasher_.seed();
  saved.epoch = epoch_.load();
  saved.swept_epoch = swept_epoch_.load();
  for (uint64_t epoch = saved.swept_epoch + 1; epoch <= saved.epoch; ++epoch) {
    const Flush& flush = flushes_[epoch & Item::kEpochMask];
    saved.flushes.emplace_back(flush.prefix.data(), flush.prefix_bytes);
  }
  saved.flush_at = flush_at_.load();
  for (size_t i = 0; i < stripe_count_; ++i) {
    StripeLock lock(stripes_[i].mutex);
    saved.cas.push_back(stripes_[i].cas);
  }
  for (PageIndex page = 1; page <= pool_.highest_page(); ++page) {
    const uint16_t id = pages_[page].class_id.load();
    if (id != 0) saved.pages.push_back({.page = page, .class_id = id, .fresh = pages_[page].fresh});
  }
  return saved;
}

absl::Status Store::Impl::Save(uint64_t* items) {
  StopThreads();
  SavedStore saved = Describe();
  Progress progress(options_, "saving", saved.pages.size());
  std::atomic<size_t> next{0};
  InParallel(ThreadsFor(options_, saved.pages.size()), [&](size_t thread) {
    for (size_t at = next.fetch_add(1); at < saved.pages.size(); at = next.fetch_add(1)) {
      if (thread == 0) progress.At(at);
      SavedPage& page = saved.pages[at];
      page.checksum = PageChecksum(
          {space().PageAddress(page.page), page.fresh * classes_[page.class_id].chunk_bytes()});
    }
  });
  *items = saved.items;
  return options_.memory_file->WriteMeta(EncodeSavedStore(saved));
}

// --- Restoring ---

// Takes over what a SavedStore describes.  A store whose Restorer failed must be made anew.
class Restorer {
 public:
  Restorer(Store::Impl& impl, const SavedStore& saved)
      : impl_(impl),
        saved_(saved),
        threads_(ThreadsFor(impl.options_, saved.pages.size())),
        workers_(threads_),
        part_shift_(std::countr_zero(impl.stripe_count_) - std::countr_zero(kParts)),
        now_(impl.clock_.NowMs()),
        away_ms_(static_cast<TimeMs>(std::max<int64_t>(0, impl.clock_.WallMs() - saved.wall_ms))),
        then_(saved.now_ms + away_ms_) {}

  // Empty, or why not.
  std::string Run();
  [[nodiscard]] uint64_t items() const { return items_; }
  [[nodiscard]] uint64_t expired() const { return expired_; }

 private:
  struct Entry {
    uint64_t hash;
    Handle handle;
    uint32_t ends;  // its deadline in seconds, rounded down; 0: none
  };
  // What has been seen of a queue.
  struct Queue {
    uint32_t count = 0;
    uint32_t heads = 0;
    uint32_t tails = 0;
    Handle head = kNoChunk;
    Handle tail = kNoChunk;
  };
  struct Neighbours {
    Handle item;
    Handle next;
    uint16_t class_id;
    Segment segment;
  };
  struct Worker {
    std::array<std::vector<Entry>, kParts> entries;
    std::array<std::array<Queue, kSegments>, kMaxClasses> queues{};
    std::array<uint64_t, kMaxClasses> bytes{};
    std::array<Neighbours, kAhead> neighbours;  // to be looked at, on their way into the cache
    size_t waiting = 0;                         // of these
    uint64_t pieces = 0;                        // seen on pages
    uint64_t owned_pieces = 0;                  // seen from their items
    uint64_t expired = 0;
    std::string failure;
  };

  bool AdoptPages();
  void ScanPages(size_t thread, size_t end);
  void ScanPage(Worker& worker, const SavedPage& saved);
  void ScanChunk(Worker& worker, PageInfo& page, uint16_t class_id, char* chunk);
  void ScanItem(Worker& worker, uint16_t class_id, Item& item, Handle handle);
  // What is wrong with the item on a chunk of `room` bytes; null: nothing, and it has *bytes of it.
  const char* CheckItem(const Item& item, size_t room, size_t* bytes) const;
  const char* CheckPieces(Worker& worker, const Item& item, Handle handle, uint64_t hash);
  Deadline MoveTimes(Worker& worker, Item& item) const;
  void NoteQueue(Worker& worker, Handle handle, uint16_t class_id);
  void CheckNeighbours(Worker& worker);
  [[nodiscard]] bool IsNext(const Neighbours& pair) const;
  void InsertPart(Worker& worker, size_t part);
  std::string CheckQueues();
  void Finish();

  // The class of the chunk that `handle` names, 0 when it names none that was handed out.
  [[nodiscard]] uint16_t ClassOfChunk(Handle handle) const;
  void Fail(Worker& worker, std::string why) {
    if (worker.failure.empty()) worker.failure = std::move(why);
    failed_.store(true, std::memory_order_relaxed);
  }
  void FailAt(Worker& worker, Handle handle, const char* why) {
    const size_t at =
        static_cast<size_t>(impl_.space().Address(handle) - impl_.space().PageAddress(0));
    Fail(worker, absl::StrCat("byte ", at, ": ", why));
  }

  Store::Impl& impl_;
  const SavedStore& saved_;
  const size_t threads_;
  std::vector<Worker> workers_;
  const int part_shift_;
  const TimeMs now_;      // of the new clock
  const TimeMs away_ms_;  // from the stop to now, by the wall
  const TimeMs then_;     // now, on the old clock
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  bool index_is_ready_ = false;  // its memory is there
  uint64_t items_ = 0;
  uint64_t expired_ = 0;
};

std::string Restorer::Run() {
  if (!AdoptPages()) return "there is no room for its pages";
  Progress progress(impl_.options_, "restoring", saved_.pages.size());
  for (size_t start = 0; start < saved_.pages.size(); start += kPagesPerRound) {
    progress.At(start);
    const size_t end = std::min(start + kPagesPerRound, saved_.pages.size());
    next_.store(start);
    InParallel(threads_, [&](size_t thread) { ScanPages(thread, end); });
    next_.store(0);
    InParallel(threads_, [&](size_t thread) {
      for (size_t part = next_.fetch_add(1); part < kParts && !failed_; part = next_.fetch_add(1)) {
        InsertPart(workers_[thread], part);
      }
    });
    index_is_ready_ = true;
    for (const Worker& worker : workers_) {
      if (!worker.failure.empty()) return worker.failure;
    }
  }
  std::string why = CheckQueues();
  if (why.empty()) Finish();
  return why;
}

bool Restorer::AdoptPages() {
  std::vector<PageIndex> used;
  for (const SavedPage& page : saved_.pages) {
    used.push_back(page.page);
    impl_.pages_[page.page].Reset(page.class_id);
    impl_.pages_[page.page].fresh = page.fresh;
  }
  return impl_.pool_.Adopt(used);
}

void Restorer::ScanPages(size_t thread, size_t end) {
  Worker& worker = workers_[thread];
  for (size_t at = next_.fetch_add(1); at < end && !failed_; at = next_.fetch_add(1)) {
    ScanPage(worker, saved_.pages[at]);
  }
  CheckNeighbours(worker);
}

void Restorer::ScanPage(Worker& worker, const SavedPage& saved) {
  char* base = impl_.space().PageAddress(saved.page);
  PageInfo& page = impl_.pages_[saved.page];
  const size_t chunk_bytes = impl_.classes_[saved.class_id].chunk_bytes();
  const size_t used_bytes = saved.fresh * chunk_bytes;
  uint64_t checksum = 0;
  size_t chunk = 0;
  for (size_t at = 0; at < used_bytes && !failed_.load(std::memory_order_relaxed);) {
    const size_t slice = std::min(kChecksumSlice, used_bytes - at);
    checksum = AddToChecksum(checksum, {base + at, slice});
    at += slice;
    // Only what was summed up may be changed.
    for (; chunk + chunk_bytes <= at; chunk += chunk_bytes) {
      ScanChunk(worker, page, saved.class_id, base + chunk);
    }
  }
  if (checksum != saved.checksum) {
    Fail(worker, absl::StrCat("byte ", saved.page * kPageBytes, ": the page's checksum differs"));
  }
}

void Restorer::ScanChunk(Worker& worker, PageInfo& page, uint16_t class_id, char* chunk) {
  auto* header = reinterpret_cast<ChunkHeader*>(chunk);
  const Handle handle = impl_.space().HandleOf(chunk);
  const uint16_t bits = header->bits.load(std::memory_order_relaxed);
  if ((bits & kPiece) != 0) {
    ++worker.pieces;
    ++page.used;
  } else if ((bits & kLinked) != 0) {
    ++page.used;
    ScanItem(worker, class_id, *reinterpret_cast<Item*>(chunk), handle);
  } else {
    header->bits.store(0, std::memory_order_relaxed);
    header->next = page.free_head;
    page.free_head = handle;
    ++page.free_count;
  }
}

void Restorer::ScanItem(Worker& worker, uint16_t class_id, Item& item, Handle handle) {
  size_t bytes = 0;
  const char* why = CheckItem(item, impl_.classes_[class_id].chunk_bytes(), &bytes);
  if (why != nullptr) return FailAt(worker, handle, why);
  const uint64_t hash = impl_.hasher_(item.key());
  if (item.has(kLarge)) {
    why = CheckPieces(worker, item, handle, hash);
    if (why != nullptr) return FailAt(worker, handle, why);
    item.large()->refs.store(1, std::memory_order_relaxed);
    item.large()->stuck_pins.store(0, std::memory_order_relaxed);
    bytes += item.large()->value_bytes;
    class_id = ClassOfChunk(item.large()->first_piece);
  }
  const Deadline deadline = MoveTimes(worker, item);
  worker.bytes[class_id] += bytes;
  NoteQueue(worker, handle, class_id);
  if (impl_.options_.track_sizes) impl_.TrackSize(item, 1);
  const auto ends = static_cast<uint32_t>(deadline / 1000);
  const size_t stripe = hash & impl_.stripe_mask_;
  worker.entries[stripe >> part_shift_].push_back(
      {.hash = hash, .handle = handle, .ends = deadline == kNever ? 0 : std::max(ends, 1U)});
}

const char* Restorer::CheckItem(const Item& item, size_t room, size_t* bytes) const {
  const uint16_t bits = item.bits();
  if ((bits & kTaken) == 0) return "an item on a free chunk";
  if (item.key_bytes() == 0 || item.key_bytes() > kMaxKeyBytes) return "an item's key length";
  if (((bits & kHasCas) != 0) != impl_.options_.use_cas) return "an item's CAS";
  const size_t front = Item::kHeaderBytes + item.key_bytes() +
                       Item::OptionBytes(static_cast<uint16_t>(bits & kOptionMask));
  if ((bits & kLarge) == 0) {
    *bytes = front + item.small_value().size();
    return *bytes > room ? "an item longer than its chunk" : nullptr;
  }
  *bytes = Item::AlignUp(front) + sizeof(LargeHeader);
  if ((bits & kHasDeadline) == 0 || *bytes > room) return "a large item's header";
  const size_t value_bytes = item.large()->value_bytes;
  const bool is_large =
      value_bytes > kLargeValueBytes && value_bytes <= impl_.options_.max_item_bytes;
  return is_large ? nullptr : "a large item's length";
}

const char* Restorer::CheckPieces(Worker& worker, const Item& item, Handle handle, uint64_t hash) {
  size_t bytes = 0;
  for (Handle at = item.large()->first_piece; at != kNoChunk;) {
    const uint16_t class_id = ClassOfChunk(at);
    if (class_id == 0) return "a large item's piece that is no chunk";
    const auto* piece = impl_.space().At<Piece>(at);
    if ((piece->bits.load(std::memory_order_relaxed) & (kPiece | kTaken)) != (kPiece | kTaken) ||
        piece->owner != handle || piece->hash != hash) {
      return "a large item's piece that belongs to another";
    }
    const size_t room = impl_.classes_[class_id].chunk_bytes();
    if (piece->bytes == 0 || room < sizeof(Piece) || piece->bytes > room - sizeof(Piece)) {
      return "a piece's length";
    }
    bytes += piece->bytes;
    if (bytes > item.value_bytes()) return "pieces of more than their item";
    ++worker.owned_pieces;
    at = piece->next;
  }
  return bytes == item.value_bytes() ? nullptr : "pieces of less than their item";
}

// From the old clock to the new one.  The new deadline.
Deadline Restorer::MoveTimes(Worker& worker, Item& item) const {
  const uint64_t age =
      Ticks::Age(Ticks::At(saved_.now_ms), item.ticks()) + uint64_t{away_ms_} / Ticks::kMs;
  item.set_ticks(
      (Ticks::At(now_) - static_cast<uint32_t>(std::min<uint64_t>(age, Ticks::kOldest))) &
      Ticks::kMask);
  Deadline deadline = item.deadline();
  if (deadline == kNever) return kNever;
  if (deadline <= then_) {
    ++worker.expired;
    deadline = kAtOnce;
  } else {
    deadline = deadline - then_ + now_;
  }
  item.set_deadline(deadline);
  return deadline;
}

// Who is everybody's neighbour's neighbour, with one head and one tail, is in one queue.
void Restorer::NoteQueue(Worker& worker, Handle handle, uint16_t class_id) {
  const auto* header = impl_.space().At<ChunkHeader>(handle);
  const Segment segment = header->segment();
  Queue& queue = worker.queues[class_id][static_cast<size_t>(segment)];
  ++queue.count;
  if (header->prev == kNoChunk) {
    ++queue.heads;
    queue.head = handle;
  }
  if (header->next == kNoChunk) {
    ++queue.tails;
    queue.tail = handle;
    return;
  }
  __builtin_prefetch(impl_.space().Address(header->next));
  worker.neighbours[worker.waiting++] = {handle, header->next, class_id, segment};
  if (worker.waiting == kAhead) CheckNeighbours(worker);
}

void Restorer::CheckNeighbours(Worker& worker) {
  for (size_t i = 0; i < worker.waiting; ++i) {
    const Neighbours& pair = worker.neighbours[i];
    if (!IsNext(pair)) FailAt(worker, pair.item, "an item's neighbour");
  }
  worker.waiting = 0;
}

bool Restorer::IsNext(const Neighbours& pair) const {
  const uint16_t class_id = ClassOfChunk(pair.next);
  if (class_id == 0) return false;
  const auto* header = impl_.space().At<ChunkHeader>(pair.next);
  if (header->prev != pair.item || header->segment() != pair.segment) return false;
  const uint16_t bits = header->bits.load(std::memory_order_relaxed);
  if ((bits & (kLinked | kPiece)) != kLinked) return false;
  if ((bits & kLarge) == 0) return class_id == pair.class_id;
  const auto* item = impl_.space().At<Item>(pair.next);
  size_t bytes = 0;
  return CheckItem(*item, impl_.classes_[class_id].chunk_bytes(), &bytes) == nullptr &&
         ClassOfChunk(item->large()->first_piece) == pair.class_id;
}

uint16_t Restorer::ClassOfChunk(Handle handle) const {
  const PageIndex index = impl_.space().PageOf(handle);
  if (index >= impl_.pool_.capacity()) return 0;
  const PageInfo& page = impl_.pages_[index];
  const uint16_t class_id = page.class_id.load(std::memory_order_relaxed);
  if (class_id == 0) return 0;
  const auto chunk_bytes = static_cast<uint32_t>(impl_.classes_[class_id].chunk_bytes());
  const auto offset =
      static_cast<uint32_t>(impl_.space().Address(handle) - impl_.space().PageAddress(index));
  return offset % chunk_bytes == 0 && offset / chunk_bytes < page.fresh ? class_id : uint16_t{0};
}

// Every stripe of the part belongs to this thread alone.
void Restorer::InsertPart(Worker& worker, size_t part) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const size_t stripes = impl_.stripe_count_ / kParts;
  for (size_t i = part * stripes; !index_is_ready_ && i < (part + 1) * stripes; ++i) {
    impl_.stripes_[i].index.Populate();
  }
  for (Worker& from : workers_) {
    std::vector<Entry>& entries = from.entries[part];
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i + kAhead < entries.size()) {
        const uint64_t soon = entries[i + kAhead].hash;
        impl_.StripeOf(soon).index.PrefetchBucket(soon);
      }
      const Entry& entry = entries[i];
      Stripe& stripe = impl_.StripeOf(entry.hash);
      const auto same_key = [&](Handle other) {
        return impl_.ItemAt(other)->key() == impl_.ItemAt(entry.handle)->key();
      };
      const auto added = stripe.index.AddNew(entry.hash, entry.handle, same_key);
      if (added == IndexStripe::Added::kThere) {
        FailAt(worker, entry.handle, "a key that another item has");
      } else if (added == IndexStripe::Added::kFull) {
        FailAt(worker, entry.handle, "more items than the index can hold");
      }
      if (entry.ends != 0) impl_.NoteDeadline(stripe, Deadline{entry.ends} * 1000);
    }
    entries.clear();
  }
}

// Adds the workers' sights up and compares them with what the file says.
std::string Restorer::CheckQueues() {
  Worker& all = workers_[0];
  for (size_t i = 1; i < workers_.size(); ++i) {
    const Worker& one = workers_[i];
    for (size_t id = 0; id < kMaxClasses; ++id) {
      all.bytes[id] += one.bytes[id];
      for (size_t s = 0; s < kSegments; ++s) {
        Queue& sum = all.queues[id][s];
        const Queue& more = one.queues[id][s];
        sum.count += more.count;
        sum.heads += more.heads;
        sum.tails += more.tails;
        sum.head |= more.head;  // there is one, or it is wrong anyway
        sum.tail |= more.tail;
      }
    }
    all.pieces += one.pieces;
    all.owned_pieces += one.owned_pieces;
    all.expired += one.expired;
  }
  expired_ = all.expired;
  if (all.pieces != all.owned_pieces) return "pieces that belong to no large item";
  std::array<std::array<const SavedQueue*, kSegments>, kMaxClasses> said{};
  for (const SavedQueue& queue : saved_.queues) said[queue.class_id][queue.segment] = &queue;
  for (size_t id = 0; id < kMaxClasses; ++id) {
    for (size_t s = 0; s < kSegments; ++s) {
      const Queue& queue = all.queues[id][s];
      const SavedQueue* one = said[id][s];
      const bool is_as_said = one == nullptr ? queue.count == 0
                                             : queue.count == one->count && queue.heads == 1 &&
                                                   queue.tails == 1 && queue.head == one->head &&
                                                   queue.tail == one->tail;
      if (!is_as_said) return absl::StrCat("the queue of class ", id, ", segment ", s);
      items_ += queue.count;
    }
  }
  return "";
}

void Restorer::Finish() {
  ThreadStats& stats = *impl_.stats_.NewCell();
  for (const SavedPage& page : saved_.pages) {
    SlabClass& slab_class = impl_.classes_[page.class_id];
    ClassLock lock(slab_class.mutex());
    slab_class.AdoptPage(page.page);
  }
  for (const SavedQueue& queue : saved_.queues) {
    SlabClass& slab_class = impl_.classes_[queue.class_id];
    ClassLock lock(slab_class.mutex());
    slab_class.AdoptQueue(static_cast<Segment>(queue.segment),
                          {.head = queue.head, .tail = queue.tail, .count = queue.count});
    stats.Add(ClassCounter::items_added, queue.class_id, queue.count);
  }
  for (size_t id = 0; id < kMaxClasses; ++id) {
    stats.Add(ClassCounter::bytes_added, id, workers_[0].bytes[id]);
  }
  // With another number of threads the stripes are others: then each starts behind all of them.
  const uint64_t highest = *std::max_element(saved_.cas.begin(), saved_.cas.end());
  uint64_t index_bytes = 0;
  for (size_t i = 0; i < impl_.stripe_count_; ++i) {
    StripeLock lock(impl_.stripes_[i].mutex);
    impl_.stripes_[i].cas = saved_.cas.size() == impl_.stripe_count_ ? saved_.cas[i] : highest;
    index_bytes += impl_.stripes_[i].index.MemoryBytes();
  }
  impl_.index_bytes_.store(index_bytes, std::memory_order_relaxed);
  impl_.pool_.SetCharge(index_bytes);
  impl_.epoch_.store(saved_.epoch);
  impl_.swept_epoch_.store(saved_.swept_epoch);
  for (size_t i = 0; i < saved_.flushes.size(); ++i) {
    auto& flush = impl_.flushes_[(saved_.swept_epoch + 1 + i) & Item::kEpochMask];
    flush.prefix_bytes =
        static_cast<uint8_t>(saved_.flushes[i].copy(flush.prefix.data(), flush.prefix.size()));
  }
  if (saved_.flush_at != 0) {
    impl_.flush_at_.store(saved_.flush_at <= then_ ? now_ : saved_.flush_at - then_ + now_);
  }
}

namespace {

// Empty, or what a file was kept with that is not so now.
std::string OtherSettings(const SavedStore& saved, const SavedStore& mine) {
  const auto differs = [](const char* what, uint64_t was, uint64_t is) {
    return absl::StrCat("kept with other settings: ", what, " was ", was, ", is ", is);
  };
  if (saved.memory_bytes != mine.memory_bytes) {
    return differs("-m in bytes", saved.memory_bytes, mine.memory_bytes);
  }
  if (saved.max_item_bytes != mine.max_item_bytes) {
    return differs("-I in bytes", saved.max_item_bytes, mine.max_item_bytes);
  }
  if (saved.use_cas != mine.use_cas) {
    return absl::StrCat("kept with other settings: it was ", saved.use_cas ? "without" : "with",
                        " -C");
  }
  if (saved.chunk_sizes != mine.chunk_sizes || saved.handle_shift != mine.handle_shift) {
    return "kept with other settings: the slab classes differ (-f, -n, slab_chunk_max, slab_sizes)";
  }
  return "";
}

}  // namespace

Store::Impl::Restored Store::Impl::ReadMemoryFile(const StoreOptions& options) {
  Restored restored;
  if (options.memory_file == nullptr) return restored;
  MemoryFile& file = *options.memory_file;
  RestoreReport& report = restored.report;
  if (file.had_meta()) {
    auto saved = std::make_unique<SavedStore>();
    const absl::Status status = DecodeSavedStore(file.meta(), saved.get());
    file.ForgetMeta();
    if (status.ok()) {
      restored.saved = std::move(saved);
      return restored;
    }
    report.outcome = RestoreReport::Outcome::kRefused;
    report.refusal = absl::StrCat(file.meta_path(), ": ", status.message());
    (void)file.Clear();  // what is left of it is never read
  } else if (file.was_empty()) {
    report.outcome = RestoreReport::Outcome::kNewFile;
  } else {
    report.outcome = RestoreReport::Outcome::kRefused;
    report.refusal = absl::StrCat(
        file.path(), ": there is no ", file.meta_path(),
        ": its last user did not stop in good order (crash, SIGKILL or power failure)");
  }
  return restored;
}

void Store::Impl::Restore() {
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<SavedStore> saved = std::move(restored_.saved);
  RestoreReport& report = restored_.report;
  const MemoryFile& file = *options_.memory_file;
  std::string why = OtherSettings(*saved, Describe());
  if (why.empty() && !file.had_right_length()) why = "it has another length than it was kept with";
  if (why.empty() && !saved->pages.empty() && saved->pages.back().page >= pool_.capacity()) {
    why = "a page behind the end";
  }
  if (why.empty()) {
    Restorer restorer(*this, *saved);
    why = restorer.Run();
    report.items = restorer.items();
    report.expired = restorer.expired();
  }
  report.ms = MsSince(start);
  if (why.empty()) {
    report.outcome = RestoreReport::Outcome::kRestored;
    return;
  }
  report = {.outcome = RestoreReport::Outcome::kRefused,
            .ms = report.ms,
            .refusal = absl::StrCat(file.path(), ": ", why)};
  pool_.Abandon();
  (void)file.Clear();  // what is left of it is never read
  pages_ = std::make_unique<PageInfo[]>(pool_.capacity() + 1);
  classes_ = std::make_unique<SlabClass[]>(sizes_.count() + 1);
  stripes_ = std::make_unique<Stripe[]>(stripe_count_);
  for (auto& count : size_histogram_) count.store(0, std::memory_order_relaxed);
  InitClasses();
  ReleaseIndex();
  ReserveIndex();
}

}  // namespace larder
