// core/store.h — the cache: keys to values, under one memory limit.
//
// Owner: Server (or a test).  Threads: any; each brings its own OpContext.
// Locks: every method takes and releases what it needs (docs/THREADS.md); none is held on return.
// Counting: a method counts what it did in the caller's ThreadStats; callers count nothing again.

#pragma once

#include <array>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/events.h"
#include "core/hot_keys.h"
#include "core/memory/client_memory.h"
#include "core/memory/memory_file.h"
#include "core/thread_stats.h"
#include "core/tuning.h"

namespace larder {

inline constexpr size_t kMaxKeyBytes = 250;
// Values up to here are copied in and out under the key's lock; larger ones are uploaded and
// pinned.
inline constexpr size_t kLargeValueBytes = 16 << 10;

struct StoreOptions {
  uint64_t memory_bytes = 64ULL << 20;  // -m
  size_t max_item_bytes = 1 << 20;      // -I: key, value and header together
  double growth_factor = 0;             // -f; 0: as GrowthFactor() says
  size_t min_chunk_payload = 16;        // -n: room for key, flags and value in the smallest chunk
  size_t max_chunk_bytes =
      64 << 10;  // slab_chunk_max, at least 17 KiB: the largest piece of a large value
  std::vector<size_t> chunk_sizes;  // slab_sizes; empty: by growth_factor
  bool use_cas = true;              // not -C
  bool evict = true;                // not -M
  bool lock_memory = false;         // -k
  bool preallocate = false;         // -L
  bool segmented = true;            // lru_segmented; false: one COLD queue
  unsigned hot_percent = 20;
  unsigned warm_percent = 40;
  double hot_max_factor = 0.2;
  double warm_max_factor = 2.0;
  int64_t temporary_ttl_seconds = -1;  // below it a new item goes to TEMP; negative: never
  bool maintainer = true;              // lru_maintainer
  bool crawler = true;                 // lru_crawler
  bool reassign = true;                // slab_reassign: Reassign() is allowed
  int automove = 1;                    // slab_automove: 0 only when nothing else helps, 1, 2
  double automove_ratio = 0.8;
  double automove_freeratio = 0.01;
  unsigned automove_window = 10;    // how long a class that was short of pages is minded
  unsigned crawler_sleep_us = 100;  // between two slices of a pass
  uint32_t crawler_tocrawl = 0;     // items a round; 0: all
  bool track_sizes = false;
  bool prefix_stats = false;      // -D: count by the keys' prefixes from the start
  char prefix_delimiter = ':';    // where a prefix ends
  unsigned threads = 4;           // how many will call; sizes the locks
  bool background = true;         // false: no thread of its own, RunMaintenance() instead
  uint64_t hash_seed = 0;         // 0: random
  EventSource* events = nullptr;  // of the background threads; outlives the store
  // Keeps the items over a restart; none: they end with the process.
  std::shared_ptr<MemoryFile> memory_file;
  // Told so often, by the thread that waits, how far a restart or the stop before it has come.
  std::function<void(const std::string& line)> progress;
  std::chrono::milliseconds progress_every{1000};
};

// The ratio of a chunk size to the one before that such a store has.
[[nodiscard]] double GrowthFactor(const StoreOptions& options);

// How a store with a memory file began.
struct RestoreReport {
  enum class Outcome : uint8_t { kNoFile, kNewFile, kRestored, kRefused };
  Outcome outcome = Outcome::kNoFile;
  uint64_t items = 0;    // that are here again
  uint64_t expired = 0;  // of them, those whose time was over meanwhile: they go soon
  uint64_t ms = 0;
  std::string refusal;  // which file, where in it, and why
};

// What a thread brings to each call.  Its owner refreshes `now` once a batch.
struct OpContext {
  ThreadStats* stats = nullptr;
  TimeMs now = kClockStartMs;
  EventSink* events = nullptr;
  uint32_t watched = 0;  // of EventStream; not 0 only with `events`; refreshed with `now`
  int client = 0;        // descriptor of the connection whose turn it is
  uint32_t until_sample = KeySketch::kOneIn;  // requests before the next one that `keys` counts
  KeySketch* keys = nullptr;

  void Refresh(TimeMs at) {
    now = at;
    if (events != nullptr) watched = events->streams();
  }
  // A sample of the keys that are asked for goes to `sketch` from now on.
  void WatchKeys(KeySketch* sketch) { keys = sketch; }
  // One more request for a key: counted if it is its turn.
  void SampleKey(std::string_view key, uint64_t hash) {
    if (--until_sample != 0) [[likely]] {
      return;
    }
    until_sample = keys != nullptr ? keys->Count(key, hash) : ~uint32_t{0};
  }
  [[nodiscard]] bool IsWatched(uint32_t stream) const { return (watched & stream) != 0; }
};

// A key and its hash; borrows the bytes.  Made by Store::MakeKey.
struct Key {
  std::string_view bytes;
  uint64_t hash = 0;
};

// When an item ends, on the store's clock; 0: never; any other moment that is past: at once.
using Deadline = TimeMs;
inline constexpr Deadline kNever = 0;
inline constexpr Deadline kAtOnce = 1;

// Seconds from now on, the begun one counted whole; 0 when it is past.  REQUIRES: not kNever.
inline uint64_t SecondsLeft(Deadline deadline, TimeMs now) {
  return deadline > now ? (deadline - now + 999) / 1000 : 0;
}

enum class StoreMode : uint8_t { kSet, kAdd, kReplace, kAppend, kPrepend, kCas };
enum class StoreResult : uint8_t {
  kStored,
  kNotStored,
  kExists,
  kNotFound,
  kTooLarge,
  kOutOfMemory
};
enum class DeleteResult : uint8_t { kDeleted, kNotFound, kExists, kOutOfMemory };
enum class CounterResult : uint8_t { kDone, kNotFound, kNotANumber, kExists, kOutOfMemory };
enum class ReadResult : uint8_t { kHit, kMiss, kOutOfMemory };

// A large value that stays where it is, whatever happens to its key, until this is destroyed.
// Move-only; may be destroyed by any thread.  Must not outlive the Store.
class Pin {
 public:
  Pin() = default;
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin();

  [[nodiscard]] size_t size() const { return bytes_; }
  // The value in order, from byte `offset`: fills up to `out.size()` spans, returns how many.
  size_t Spans(size_t offset, std::span<std::span<const char>> out) const;
  // Its reader does not read: until this is destroyed, the value counts as held by such clients.
  void MarkStuck();

 private:
  friend class Store;
  friend struct ValueView;
  class Store* store_ = nullptr;
  void* item_ = nullptr;
  size_t bytes_ = 0;
  bool is_stuck_ = false;
};

// An item as a reader sees it, under the key's lock: valid only inside the visitor.  What nearly
// every reader wants lies ready; the rest is looked up in the item.
struct ValueView {
  size_t size = 0;
  std::string_view bytes;  // the value, when it lies in one piece (always up to kLargeValueBytes)
  uint32_t flags = 0;
  uint16_t class_id = 0;
  uint16_t bits = 0;       // of the item, before this read
  bool token_won = false;  // this reader is told to fetch a new value

  [[nodiscard]] std::string_view key() const;
  [[nodiscard]] uint64_t cas() const;
  [[nodiscard]] Deadline deadline() const;
  [[nodiscard]] TimeMs IdleMs(TimeMs now) const;  // since the read before this one, to the second
  [[nodiscard]] bool was_fetched() const;         // before this read
  [[nodiscard]] bool binary_key() const;          // the client sent the key encoded
  [[nodiscard]] bool stale() const;               // see ReadOptions
  [[nodiscard]] bool token_sent() const;          // somebody before was told to fetch a new value
  [[nodiscard]] size_t item_bytes() const;        // as statistics count them

  // Keeps a value of more than kLargeValueBytes for later sending.  REQUIRES: size is that large.
  [[nodiscard]] Pin MakePin() const;

  class Store* store = nullptr;
  void* item = nullptr;
};

// An item can be stale: still good to be shown, while one reader fetches a new value.  That reader
// is who gets the token: the first to read the item as stale, as about to expire (`recache`), or as
// just created (`create`).  Any new value ends both states.
struct ReadOptions {
  bool touch = false;          // gat: also sets the deadline, and counts as touch; see `tokens`
  Deadline deadline = kNever;  // with touch
  bool peek = false;           // leaves no trace of the read in the item
  bool uncounted = false;      // nor in the counters
  bool tokens = false;         // mg: the game of tokens, a miss is a get; the rest needs it:
  bool create = false;         // a miss makes an empty item, ending at `create_deadline`
  Deadline create_deadline = kNever;
  uint64_t create_cas = 0;       // its CAS; 0: the next one
  bool binary_key = false;       // for its ValueView
  bool recache = false;          // the token also for an item that ends in less than
  uint64_t recache_seconds = 0;  // so many seconds, begun ones counted whole

  // Nothing about the item is to change but what any read changes.
  [[nodiscard]] bool plain() const { return !touch && !peek && !uncounted && !create && !recache; }
};

// Metadata of a value to be stored.
struct StoreRequest {
  Key key{};
  StoreMode mode = StoreMode::kSet;
  uint32_t flags = 0;
  Deadline deadline = kNever;
  uint64_t compare_cas = 0;  // with kCas, where 0 never matches; joins compare it unless it is 0
  uint64_t new_cas = 0;      // the CAS of what is stored; 0: the next one
  bool or_stale = false;    // with kCas: a lower compare_cas stores too, as stale, to end as before
  bool binary_key = false;  // for ValueView
  bool join_creates = false;     // append or prepend to nothing stores
  bool refusal_deletes = false;  // in every mode what could not be replaced goes, as with kSet
};

// What became of it.
struct StoreAnswer {
  uint64_t cas = 0;  // of the new item; 0 when nothing was stored
  size_t size = 0;   // of the value that is stored, or was to be
};

// How an item is to go.
struct DeleteRequest {
  Key key{};
  std::optional<uint64_t> compare_cas{};  // only if that is its CAS
  bool mark_stale = false;                // it stays, as stale (see ReadOptions)
  bool drop_value = false;                // it stays, as an empty one: flags, deadline as below
  uint32_t flags = 0;
  std::optional<Deadline> deadline{};              // of what stays
  uint64_t new_cas = 0;                            // of what stays; 0: the next one
  DeleteCommand command = DeleteCommand::kDelete;  // for those who watch
};

// Counting up or down.
struct CounterRequest {
  Key key{};
  bool down = false;  // not below 0; up wraps at 2^64
  uint64_t delta = 1;
  std::optional<uint64_t> compare_cas{};
  bool create = false;  // a miss makes an item of `initial`, ending at `create_deadline`
  uint64_t initial = 0;
  Deadline create_deadline = kNever;
  std::optional<Deadline> deadline{};  // a new one for an item that is there
  uint64_t new_cas = 0;                // 0: the next one
  bool binary_key = false;             // of a created item
};

struct CounterAnswer {
  uint64_t value = 0;
  uint64_t cas = 0;
  Deadline deadline = kNever;
};

// A large value on its way in.  One thread; move by pointer; destroying it unfinished frees
// everything.
class Upload {
 public:
  virtual ~Upload() = default;
  // Memory for the next bytes; never empty while !complete(), except when there is no memory, and
  // then failed() is true.  Allocates a piece at a time: what was not received is not held.
  virtual std::span<char> Buffer(OpContext& ctx) = 0;
  // `n` bytes were written to the front of Buffer().
  virtual void Advance(size_t n) = 0;
  [[nodiscard]] virtual bool complete() const = 0;
  [[nodiscard]] virtual bool failed() const = 0;
};

// What BeginUpload can answer besides an upload.
enum class UploadRefusal : uint8_t {
  kNone,
  kTooLarge,     // over max_item_bytes; for kSet the old value is gone, as memcached does it
  kOutOfMemory,  // -M and full, or clients that cannot go on hold all that they may
  kBusy,         // uploads already hold as much as they may: ask again after a few milliseconds
};

// What SetMemoryLimit() says to a new limit.
enum class LimitResult : uint8_t {
  kDone,
  kFixed,       // all memory was taken at the start, or is a memory file
  kOutOfReach,  // above the address space reserved at the start, or too small for -I
};

// What Reassign() says to the wish to move a page.
enum class ReassignResult : uint8_t { kStarted, kBusy, kBadClass, kNoSpare, kSame };

// One slab class, for statistics.
struct ClassInfo {
  size_t id = 0;
  size_t chunk_bytes = 0;
  size_t chunks_per_page = 0;
  size_t pages = 0;
  size_t used_chunks = 0;
  size_t free_chunks = 0;
  std::array<size_t, 4> items{};          // HOT WARM COLD TEMP
  size_t item_bytes = 0;                  // requested bytes of its items
  std::array<uint32_t, 4> age_seconds{};  // of the segment's tail
  uint32_t evicted_age_seconds = 0;       // of the last item that was evicted, since its last use
};

// The whole store, for statistics.
struct StoreInfo {
  uint64_t limit_bytes = 0;
  uint64_t item_bytes = 0;  // header, key, value and options of every item
  uint64_t items = 0;
  uint64_t page_bytes = 0;  // pages taken from the system
  uint64_t free_pages = 0;  // of them in the pool
  uint64_t index_bytes = 0;
  uint64_t client_bytes = 0;  // charged to the limit, see ClientMemory; of them those
  uint64_t stuck_bytes = 0;   // of clients that cannot go on; they also keep
  uint64_t pinned_bytes = 0;  // of values; and both may be
  uint64_t stuck_limit = 0;
  uint64_t clients_dropped = 0;  // for that limit
  unsigned index_power = 0;      // log2 of the index's slots
  bool index_growing = false;
  bool crawler_running = false;
  bool reassign_running = false;
};

// An item, for dumps and debugging.  Copies.
struct ItemInfo {
  std::string key;
  Deadline deadline = kNever;
  TimeMs last_access = 0;
  uint64_t cas = 0;
  bool fetched = false;
  bool binary_key = false;  // came encoded
  size_t class_id = 0;
  size_t item_bytes = 0;
  size_t value_bytes = 0;
  uint32_t flags = 0;
};

// Which items a walk shows.
struct WalkFilter {
  std::bitset<kMaxClasses> classes;  // none: all
  std::string prefix;                // of the key
  unsigned part = 0;                 // the walk is cut into `parts`; no item is in two
  unsigned parts = 1;
};

// How far a walk has come; as it is made it stands at the beginning.
struct WalkCursor {
  size_t stripe = 0;
  uint64_t place = 0;
};

class Store {
 public:
  // REQUIRES: `clock` outlives it.
  Store(const StoreOptions& options, const Clock& clock);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  [[nodiscard]] const StoreOptions& options() const;
  [[nodiscard]] StatsRegistry& stats();
  [[nodiscard]] const Clock& clock() const;

  // Which keys are asked for most, by threads whose contexts have a sketch of it.
  [[nodiscard]] HotKeys& hot_keys();

  [[nodiscard]] Key MakeKey(std::string_view bytes) const;
  // Hashes the keys of a batch, but for empty ones, and has their buckets fetched, then the items
  // behind them, so that the cache misses overlap.
  void Prepare(std::span<Key> keys) const;

  // On a hit calls `visit` once, under the key's lock: it must be short, and not call the store. An
  // item just created is visited too, but the result is kMiss.  kOutOfMemory: it could not be.
  // Counts cmd_get / touch and the hit or miss.
  template <typename Visitor>
  ReadResult Read(OpContext& ctx, const Key& key, const ReadOptions& options, Visitor&& visit);
  // The same without any option: the shortest way to a value.
  template <typename Visitor>
  ReadResult Read(OpContext& ctx, const Key& key, Visitor&& visit);

  // Stores a value given whole; copies it.  `answer` may be null.  kTooLarge and kOutOfMemory
  // delete the old value when the mode is kSet.
  StoreResult Put(OpContext& ctx, const StoreRequest& request, std::string_view value,
                  StoreAnswer* answer = nullptr);

  // For values of more than kLargeValueBytes that are still to come.  The key is copied.  The
  // checks of mode and CAS happen in FinishUpload.
  [[nodiscard]] UploadRefusal BeginUpload(OpContext& ctx, const StoreRequest& request,
                                          size_t value_bytes, std::unique_ptr<Upload>* upload);
  // Links the value under its key.  REQUIRES: upload->complete().
  StoreResult FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload,
                           StoreAnswer* answer = nullptr);
  // Refused the value of `request` without storing anything (too large, out of memory): counts it
  // and, for kSet, deletes the old value.
  void RefuseStore(OpContext& ctx, const StoreRequest& request, StoreResult why);
  // True while somebody waits for upload memory: then a stalled upload should be given up.
  [[nodiscard]] bool UploadsWaiting() const;

  DeleteResult Delete(OpContext& ctx, const DeleteRequest& request);
  // True when there was such an item.
  bool Touch(OpContext& ctx, const Key& key, Deadline deadline);
  // A shorter text is padded with blanks behind.
  CounterResult Count(OpContext& ctx, const CounterRequest& request, CounterAnswer* answer);
  // Everything stored before `when` is gone from then on; a moment not after now: at once.
  // Counts cmd_flush.  O(1); the memory comes back in the background.  False, and nothing done:
  // more than a dozen flushes within one round of the crawler, ask again in a few milliseconds.
  bool FlushAll(OpContext& ctx, TimeMs when);
  // The same at once for the keys that begin with `prefix`, of 1 to kMaxKeyBytes bytes.
  [[nodiscard]] bool FlushPrefix(OpContext& ctx, std::string_view prefix);

  // What clients take, for whoever serves them to fill in.
  [[nodiscard]] ClientMemory& client_memory();

  // What may be changed at run time.
  [[nodiscard]] StoreTuning& tuning();
  // From now on; a lower limit gives pages back in the background.  Without eviction only free
  // ones.
  LimitResult SetMemoryLimit(uint64_t bytes);
  // Moves a page of class `from` (-1: of any) to `to` in the background; class 0 is the pool.
  ReassignResult Reassign(int64_t from, int64_t to);
  // Looks at every item in the background, now.  False: that is going on.
  bool StartCrawl();

  // Appends copies of the next items that the filter lets through: looks at about kWalkSlice items,
  // so 100 us, and finds none of them perhaps.  False: that was all.  An item that is there from
  // the first call to the last is shown once, others once or not at all.
  static constexpr size_t kWalkSlice = 128;
  bool Walk(OpContext& ctx, const WalkFilter& filter, WalkCursor* cursor,
            std::vector<ItemInfo>* out);

  // Statistics.
  [[nodiscard]] StoreInfo Info() const;
  [[nodiscard]] std::vector<ClassInfo> Classes() const;
  // Items by size, in steps of 32 bytes: (upper bound, count).  Empty unless track_sizes.
  [[nodiscard]] std::vector<std::pair<size_t, uint64_t>> Sizes() const;
  // Every class's chunk size, in order of id from 1.
  [[nodiscard]] std::vector<size_t> ChunkSizes() const;
  // Bytes that an item of this shape takes from its class: header, options, key and value.
  [[nodiscard]] size_t ItemBytes(size_t key_bytes, size_t value_bytes, bool flags,
                                 bool expires) const;

  // What became of the memory file's items.
  [[nodiscard]] const RestoreReport& restore_report() const;
  // Ends the background work and leaves everything in the memory file for the next start; how many
  // items there are goes to *items.  REQUIRES: a memory file; no upload, no pin and no other thread
  // is left.  Afterwards the store may only be destroyed.
  [[nodiscard]] absl::Status Save(uint64_t* items);

  // One round of everything that the background threads do; for tests (background = false).
  void RunMaintenance(OpContext& ctx);
  // Dies on the first broken invariant.  Stops nobody: REQUIRES that no other thread is calling.
  void CheckInvariants() const;

  class Impl;  // core/store_impl.h
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  friend class Pin;
  friend struct ValueView;
  // The untyped half of Read: locks, finds, marks, counts; calls `visit(arg, view)` on a hit.
  using Visit = void (*)(void* arg, const ValueView& view);
  ReadResult ReadWith(OpContext& ctx, const Key& key, const ReadOptions& options, Visit visit,
                      void* arg);
  ReadResult ReadPlain(OpContext& ctx, const Key& key, Visit visit, void* arg);
  template <typename Visitor>
  static void VisitWith(void* arg, const ValueView& view) {
    (*static_cast<std::remove_reference_t<Visitor>*>(arg))(view);
  }

  std::unique_ptr<Impl> impl_;
};

template <typename Visitor>
ReadResult Store::Read(OpContext& ctx, const Key& key, const ReadOptions& options,
                       Visitor&& visit) {
  return ReadWith(ctx, key, options, VisitWith<Visitor>, &visit);
}

template <typename Visitor>
ReadResult Store::Read(OpContext& ctx, const Key& key, Visitor&& visit) {
  return ReadPlain(ctx, key, VisitWith<Visitor>, &visit);
}

}  // namespace larder
