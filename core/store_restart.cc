// core/store_restart.cc — a store's memory file: what Save() leaves there, and how a new store
// takes it over.
//
// Items stay where they are on their pages; queues are linked by handles, which hold in any
// process; and the index lies behind the pages in the same file.  The new store goes through all of
// it in the order of memory, and once: it checks each page's and each stripe's checksum, then each
// chunk, item and bucket by itself.  That they belong together, it sees without going from one to
// the other, from sums over sets (core/base/set_hash.h):
//
//   of every item, itself and its next one   =  of every item, its previous one and itself
//   of every item, where its key belongs     =  of every entry of the index, where it stands
//
// Where the clock does not go on from what it said at the stop (ContinuedClock), each item's times
// are set to the new one.  Nothing is believed that could lead outside of the pages; what is not as
// it should be refuses the whole file.
//
// Threads: as many as serve later.  They take pages and stripes by turns.  Nobody else knows the
// store yet, or any more: there are no locks.

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/set_hash.h"
#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kMostThreads = 16;
constexpr size_t kStripesPerTurn = 16;  // about as long as a page
constexpr TimeMs kSameMoment = 100;     // of two clocks

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

uint64_t StripeChecksum(const IndexStripe& index) {
  uint64_t checksum = 0;
  for (const std::span<const char> bytes : index.Bytes()) {
    checksum = AddToChecksum(checksum, bytes);
  }
  return checksum;
}

uint64_t MsSince(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::steady_clock::now() - start)
                                   .count());
}

// What the threads of a restart do by turns: some stripes, then a page each.
class Turns {
 public:
  explicit Turns(const SavedStore& saved)
      : stripes_(saved.stripes.size()), pages_(saved.pages.size()) {}
  [[nodiscard]] size_t count() const { return stripe_turns() + pages_; }
  [[nodiscard]] size_t FirstStripe(size_t turn) const {
    return std::min(turn * kStripesPerTurn, stripes_);
  }
  [[nodiscard]] size_t EndStripe(size_t turn) const { return FirstStripe(turn + 1); }
  [[nodiscard]] bool HasPage(size_t turn) const { return turn >= stripe_turns(); }
  [[nodiscard]] size_t PageOf(size_t turn) const { return turn - stripe_turns(); }

 private:
  [[nodiscard]] size_t stripe_turns() const {
    return (stripes_ + kStripesPerTurn - 1) / kStripesPerTurn;
  }
  const size_t stripes_;
  const size_t pages_;
};

// Tells how far a long work has come.
class Progress {
 public:
  Progress(const StoreOptions& options, const char* what, size_t pages)
      : options_(options),
        what_(what),
        pages_(pages),
        page_bytes_(PageBytesFor(options.memory_bytes)) {}
  void At(size_t page) {
    const auto now = std::chrono::steady_clock::now();
    if (!options_.progress || now - told_ < options_.progress_every) return;
    told_ = now;
    options_.progress(absl::StrCat(what_, " ", options_.memory_file->path(), ": ", Mib(page),
                                   " of ", Mib(pages_), " MiB"));
  }

 private:
  [[nodiscard]] size_t Mib(size_t pages) const {
    return std::min(pages, pages_) * page_bytes_ >> 20;
  }

  const StoreOptions& options_;
  const char* const what_;
  const size_t pages_;
  const size_t page_bytes_;
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
    Stripe& stripe = stripes_[i];
    StripeLock lock(stripe.mutex);
    // While the crawler is in a stripe nobody knows; it will have to begin that one anew.
    const bool is_crawled = crawl_.stripe == i && crawl_.bucket != 0;
    saved.stripes.push_back({.cas = stripe.cas,
                             .next_expiry = is_crawled ? kAtOnce : stripe.next_expiry,
                             .index = stripe.index.layout()});
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
  const Turns turns(saved);
  std::atomic<size_t> next{0};
  InParallel(ThreadsFor(options_, saved.pages.size()), [&](size_t thread) {
    for (size_t turn = next.fetch_add(1); turn < turns.count(); turn = next.fetch_add(1)) {
      for (size_t i = turns.FirstStripe(turn); i < turns.EndStripe(turn); ++i) {
        StripeLock lock(stripes_[i].mutex);
        saved.stripes[i].checksum = StripeChecksum(stripes_[i].index);
      }
      if (!turns.HasPage(turn)) continue;
      if (thread == 0) progress.At(turns.PageOf(turn));
      SavedPage& page = saved.pages[turns.PageOf(turn)];
      page.checksum = PageChecksum(
          {space().PageAddress(page.page), page.fresh * classes_[page.class_id].chunk_bytes()});
    }
  });
  *items = saved.items;
  return options_.memory_file->WriteMeta(EncodeSavedStore(saved));
}

// --- Restoring ---

SetHash RandomSetHash() {
  SetHash::Keys keys{};
  // It has no reason to fail; then a file could lie to us, if it were made for that.
  (void)!getrandom(keys.data(), sizeof keys, 0);
  return SetHash(keys);
}

// Takes over what a SavedStore describes.  A store whose Restorer failed must be made anew.
class Restorer {
 public:
  Restorer(Store::Impl& impl, const SavedStore& saved)
      : impl_(impl),
        saved_(saved),
        threads_(ThreadsFor(impl.options_, saved.pages.size())),
        workers_(threads_),
        now_(impl.clock_.NowMs()),
        away_ms_(AwayMs(saved, impl.clock_.WallMs())),
        then_(saved.now_ms + away_ms_),
        clock_goes_on_(now_ + kSameMoment >= then_ && now_ <= then_ + kSameMoment) {}

  // Empty, or why not.
  std::string Run();
  [[nodiscard]] uint64_t items() const { return items_; }
  [[nodiscard]] uint64_t expired() const { return expired_; }

 private:
  // What has been seen of a queue.
  struct Queue {
    uint32_t count = 0;
    uint32_t heads = 0;
    uint32_t tails = 0;
    Handle head = kNoChunk;
    Handle tail = kNoChunk;
  };
  // Two neighbours in a queue.
  struct Link {
    Handle from = kNoChunk;
    Handle to = kNoChunk;
    uint64_t queue = 0;
    bool operator==(const Link&) const = default;
  };
  struct SeenKey {
    uint64_t hash;
    Handle handle;
  };
  // What one thread has seen; added up at the end.
  struct Worker {
    std::array<std::array<Queue, kSegments>, kMaxClasses> queues{};
    std::array<uint64_t, kMaxClasses> bytes{};
    uint64_t pieces = 0;        // seen on pages
    uint64_t owned_pieces = 0;  // seen from their items
    uint64_t expired = 0;
    uint64_t entries = 0;  // of the index
    // Sums of set_hash_, 0 in the end: of each item and its next one, less of each item's previous
    // one and itself; of each item and where its key belongs, less of each entry of the index and
    // where it stands.
    uint64_t links = 0;
    uint64_t places = 0;
    std::array<SeenKey, 64> keys;  // of items, for `places`
    size_t waiting = 0;            // of these
    // Of the item seen last, what is still to be taken from `links`.
    Link back;
    std::string failure;
  };

  bool AdoptPages();
  bool AdoptIndex();
  void VisitStripe(Worker& worker, size_t number);
  void ScanPage(Worker& worker, const SavedPage& saved);
  void ScanChunk(Worker& worker, PageInfo& page, uint16_t class_id, char* chunk);
  void ScanItem(Worker& worker, uint16_t class_id, Item& item, Handle handle);
  // What is wrong with the item on a chunk of `room` bytes; null: nothing, and it has *bytes of it.
  const char* CheckItem(const Item& item, size_t room, size_t* bytes) const;
  const char* CheckPieces(Worker& worker, const Item& item, Handle handle, uint64_t hash);
  [[nodiscard]] Deadline MovedDeadline(Deadline deadline) const;
  void MoveTimes(Item& item) const;
  void NoteKey(Worker& worker, Handle handle, uint64_t hash) const;
  void PlaceKeys(Worker& worker) const;
  void NoteQueue(Worker& worker, Handle handle, uint16_t class_id) const;
  void TakeBack(Worker& worker) const;
  void AddUp();
  std::string CheckSums();
  void Finish();

  [[nodiscard]] uint64_t HashOf(const Link& link) const {
    return set_hash_(uint64_t{link.from} << 32 | link.to, link.queue);
  }
  [[nodiscard]] uint64_t EntryHash(size_t stripe, size_t bucket, uint8_t tag, Handle handle) const {
    return set_hash_(uint64_t{stripe} << 32 | handle, bucket << 8 | tag);
  }
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
  const SetHash set_hash_ = RandomSetHash();
  const TimeMs now_;                         // of the new clock
  const TimeMs away_ms_;                     // from the stop to now, by the wall
  const TimeMs then_;                        // now, on the old clock
  const bool clock_goes_on_;                 // the new clock says what the old one would
  std::vector<IndexStripe::Places> places_;  // of the stripes
  uint64_t index_bytes_ = 0;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  uint64_t items_ = 0;
  uint64_t expired_ = 0;
};

std::string Restorer::Run() {
  if (!AdoptIndex()) return "an index of another shape";
  if (!AdoptPages()) return "there is no room for it";
  Progress progress(impl_.options_, "restoring", saved_.pages.size());
  const Turns turns(saved_);
  InParallel(threads_, [&](size_t thread) {
    Worker& worker = workers_[thread];
    for (size_t turn = next_.fetch_add(1); turn < turns.count() && !failed_;
         turn = next_.fetch_add(1)) {
      for (size_t i = turns.FirstStripe(turn); i < turns.EndStripe(turn); ++i) {
        VisitStripe(worker, i);
      }
      if (!turns.HasPage(turn)) continue;
      if (thread == 0) progress.At(turns.PageOf(turn));
      ScanPage(worker, saved_.pages[turns.PageOf(turn)]);
    }
    TakeBack(worker);
    PlaceKeys(worker);
  });
  for (const Worker& worker : workers_) {
    if (!worker.failure.empty()) return worker.failure;
  }
  AddUp();
  std::string why = CheckSums();
  if (why.empty()) Finish();
  return why;
}

bool Restorer::AdoptIndex() {
  if (saved_.stripes.size() != impl_.stripe_count_) return false;
  for (size_t i = 0; i < impl_.stripe_count_; ++i) {
    Stripe& stripe = impl_.stripes_[i];
    StripeLock lock(stripe.mutex);
    if (!stripe.index.Adopt(saved_.stripes[i].index)) return false;
    places_.emplace_back(saved_.stripes[i].index);
    index_bytes_ += stripe.index.MemoryBytes();
  }
  return true;
}

// A hole, such as a copy of the file may have, is filled now: later there may be no room for it.
bool Restorer::AdoptPages() {
  std::vector<PageIndex> used;
  for (const SavedPage& page : saved_.pages) {
    used.push_back(page.page);
    impl_.pages_[page.page].Reset(page.class_id);
    impl_.pages_[page.page].fresh = page.fresh;
  }
  const bool has_holes = impl_.options_.memory_file->IsSmallerThan(
      used.size() * impl_.pool_.page_bytes() + index_bytes_);
  for (size_t i = 0; has_holes && i < impl_.stripe_count_; ++i) {
    StripeLock lock(impl_.stripes_[i].mutex);
    if (!impl_.stripes_[i].index.TakeRoom()) return false;
  }
  return impl_.pool_.Adopt(used, has_holes);
}

void Restorer::VisitStripe(Worker& worker, size_t number) {
  Stripe& stripe = impl_.stripes_[number];
  StripeLock lock(stripe.mutex);
  if (StripeChecksum(stripe.index) != saved_.stripes[number].checksum) {
    return Fail(worker, absl::StrCat("stripe ", number, " of the index: its checksum differs"));
  }
  uint64_t sum = 0;
  const bool is_sound = stripe.index.VisitAll([&](size_t bucket, uint8_t tag, Handle handle) {
    sum += EntryHash(number, bucket, tag, handle);
  });
  if (!is_sound) Fail(worker, absl::StrCat("stripe ", number, " of the index: its buckets"));
  worker.places -= sum;
  worker.entries += stripe.index.size();
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
      for (size_t line = 0; line < chunk_bytes; line += 64) {
        __builtin_prefetch(base + chunk + kChecksumSlice + line);
      }
      ScanChunk(worker, page, saved.class_id, base + chunk);
    }
  }
  if (checksum != saved.checksum) {
    Fail(worker, absl::StrCat("byte ", saved.page * impl_.pool_.page_bytes(),
                              ": the page's checksum differs"));
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
    // Who held it then is gone; written only when it must be.
    if (item.large()->refs.load() != 1) item.large()->refs.store(1);
    if (item.large()->stuck_pins.load() != 0) item.large()->stuck_pins.store(0);
    bytes += item.large()->value_bytes;
    class_id = ClassOfChunk(item.large()->first_piece);
  }
  const Deadline deadline = item.deadline();
  if (deadline != kNever && deadline <= then_) ++worker.expired;
  if (!clock_goes_on_) MoveTimes(item);
  worker.bytes[class_id] += bytes;
  NoteQueue(worker, handle, class_id);
  NoteKey(worker, handle, hash);
  if (impl_.options_.track_sizes) impl_.TrackSize(item, 1);
}

const char* Restorer::CheckItem(const Item& item, size_t room, size_t* bytes) const {
  const uint16_t bits = item.bits();
  if ((bits & kTaken) == 0) return "an item on a free chunk";
  if (item.key_bytes() == 0 || item.key_bytes() > kMaxKeyBytes) return "an item's key length";
  if (((bits & kHasCas) != 0) != impl_.options_.use_cas) return "an item's CAS";
  const size_t front = Item::kHeaderBytes + item.key_bytes() +
                       Item::OptionBytes(static_cast<uint16_t>(bits & kOptionMask));
  if ((bits & kLarge) == 0) {
    // Readers tell a large value by its length.
    if (item.small_value().size() > kLargeValueBytes) return "an item's length";
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
        piece->owner != handle || piece->hash() != hash) {
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

// From the old clock to the new one.
Deadline Restorer::MovedDeadline(Deadline deadline) const {
  if (deadline == kNever || clock_goes_on_) return deadline;
  return deadline <= then_ ? kAtOnce : deadline - then_ + now_;
}

void Restorer::MoveTimes(Item& item) const {
  const uint64_t age =
      Ticks::Age(Ticks::At(saved_.now_ms), item.ticks()) + uint64_t{away_ms_} / Ticks::kMs;
  item.set_ticks(
      (Ticks::At(now_) - static_cast<uint32_t>(std::min<uint64_t>(age, Ticks::kOldest))) &
      Ticks::kMask);
  if (item.has(kHasDeadline)) item.set_deadline(MovedDeadline(item.deadline()));
}

void Restorer::NoteKey(Worker& worker, Handle handle, uint64_t hash) const {
  worker.keys[worker.waiting++] = {hash, handle};
  if (worker.waiting == worker.keys.size()) PlaceKeys(worker);
}

// Many at once, so that the processor works on several.
void Restorer::PlaceKeys(Worker& worker) const {
  uint64_t sum = 0;
  const uint64_t mask = impl_.stripe_mask_;
  const std::span<const IndexStripe::Places> places = places_;
  for (const SeenKey& key : std::span(worker.keys).first(worker.waiting)) {
    const size_t stripe = key.hash & mask;
    sum += EntryHash(stripe, places[stripe].BucketOf(key.hash), IndexStripe::TagOf(key.hash),
                     key.handle);
  }
  worker.places += sum;
  worker.waiting = 0;
}

// Who is everybody's neighbour's neighbour, with one head and one tail, is in one queue; but for
// rings apart from it, which a file made by hand can have: their items are found and deleted like
// others, and never met by who follows the queue.
void Restorer::NoteQueue(Worker& worker, Handle handle, uint16_t class_id) const {
  const auto* header = impl_.space().At<ChunkHeader>(handle);
  const auto segment = static_cast<size_t>(header->segment());
  Queue& queue = worker.queues[class_id][segment];
  const uint64_t which = class_id * kSegments + segment;
  ++queue.count;
  if (header->prev == kNoChunk) {
    ++queue.heads;
    queue.head = handle;
  }
  const Link on{.from = handle, .to = header->next, .queue = which};
  if (on.to == kNoChunk) {
    ++queue.tails;
    queue.tail = handle;
  }
  // Neighbours often lie side by side: then what is to be added is what is to be taken away.
  if (on != worker.back) {
    TakeBack(worker);
    if (on.to != kNoChunk) worker.links += HashOf(on);
  }
  worker.back = {.from = header->prev, .to = handle, .queue = which};
}

void Restorer::TakeBack(Worker& worker) const {
  if (worker.back.from != kNoChunk) worker.links -= HashOf(worker.back);
  worker.back = {};
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

void Restorer::AddUp() {
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
    all.links += one.links;
    all.places += one.places;
    all.entries += one.entries;
  }
}

// Whether what was seen is what the file says, and fits together.
std::string Restorer::CheckSums() {
  const Worker& all = workers_[0];
  expired_ = all.expired;
  if (all.pieces != all.owned_pieces) return "pieces that belong to no large item";
  if (all.links != 0) return "an item's neighbour";
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
  if (all.places != 0 || all.entries != items_) return "an index of other items";
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
  for (size_t i = 0; i < impl_.stripe_count_; ++i) {
    Stripe& stripe = impl_.stripes_[i];
    StripeLock lock(stripe.mutex);
    stripe.cas = saved_.stripes[i].cas;
    stripe.next_expiry = MovedDeadline(saved_.stripes[i].next_expiry);
  }
  impl_.ChargeIndex(impl_.index_bytes_.load(std::memory_order_relaxed), index_bytes_);
  impl_.epoch_.store(saved_.epoch);
  impl_.swept_epoch_.store(saved_.swept_epoch);
  for (size_t i = 0; i < saved_.flushes.size(); ++i) {
    auto& flush = impl_.flushes_[(saved_.swept_epoch + 1 + i) & Item::kEpochMask];
    flush.prefix_bytes =
        static_cast<uint8_t>(saved_.flushes[i].copy(flush.prefix.data(), flush.prefix.size()));
  }
  if (saved_.flush_at != 0) {
    impl_.flush_at_.store(MovedDeadline(saved_.flush_at));
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
  if (why.empty() && !file.had_length_with_tail(index_mapping_bytes_)) {
    why = "it has another length than it was kept with";
  }
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
  pages_.Clear();
  classes_ = std::make_unique<SlabClass[]>(sizes_.count() + 1);
  for (auto& count : size_histogram_) count.store(0, std::memory_order_relaxed);
  InitClasses();
  ReleaseIndex();
  MakeStripes(0);
  ReserveIndex();
}

}  // namespace larder
