// core/store_impl.h — the parts of a Store and how they hang together.  Only for core/*.cc.
//
// Lock order: mover → stripe (several only in index order, or by TryLock) → class → pool.
// An item is alive while its stripe's index holds its handle; whoever changes it holds the stripe.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/index.h"
#include "core/item.h"
#include "core/memory/ghosts.h"
#include "core/memory/lazy_array.h"
#include "core/memory/page_pool.h"
#include "core/memory/slab_class.h"
#include "core/memory/slab_sizes.h"
#include "core/restart.h"
#include "core/store.h"

namespace larder {

using StripeMutex = Mutex<LockRank::kStripe>;
using StripeLock = MutexLock<LockRank::kStripe>;

// The keys whose hashes end alike: their index, and all that their commands change besides.
//
//   line 0:  [ unused, 24 ][ where the index lies, 40 ]              changes when the index grows
//   line 1:  [ its counts, 16 ][ mutex, 4 ][ - ][ cas ][ next_expiry ]   changes with each command
//
// A prefetch looks at line 0 without the lock, and takes nothing from whoever holds it; a command
// has to get only line 1 from the core that had the lock before.
struct alignas(64) Stripe {
  std::array<char, 64 - IndexStripe::kSteadyBytes> unused;
  IndexStripe index ABSL_GUARDED_BY(mutex);
  StripeMutex mutex;
  uint64_t cas ABSL_GUARDED_BY(mutex) = 0;               // the last CAS unique given out
  Deadline next_expiry ABSL_GUARDED_BY(mutex) = kNever;  // no item of the stripe ends before it
};
static_assert(sizeof(Stripe) == 128);

// Bounds what large values on their way in may hold, so that the ones let in can always finish.
class UploadGate {
 public:
  // Lets an upload of `bytes` in, unless those inside hold all of `budget`.
  [[nodiscard]] bool Enter(uint64_t bytes, uint64_t budget, TimeMs now);
  void Leave(uint64_t bytes) { inside_.fetch_sub(bytes, std::memory_order_relaxed); }
  // Somebody was turned away within the last second.
  [[nodiscard]] bool Waiting(TimeMs now) const {
    const TimeMs refused = last_refused_.load(std::memory_order_relaxed);
    return refused != 0 && now < refused + 1000;
  }

 private:
  std::atomic<uint64_t> inside_{0};
  std::atomic<TimeMs> last_refused_{0};
};

// What an item was when its value was read, null when there was none; a chunk may have been given
// to another item since.
struct Unchanged {
  const Item* item = nullptr;
  uint64_t cas = 0;
  Deadline deadline = kNever;
  std::string_view small;  // the value, unless it is large: then a pin keeps the item what it is

  [[nodiscard]] bool Is(const Item* now) const {
    if (now == nullptr || item == nullptr) return now == item;
    return now == item && now->cas() == cas && now->deadline() == deadline &&
           (now->has(kLarge) || now->small_value() == small);
  }
};

class Store::Impl {
 public:
  Impl(Store* facade, const StoreOptions& options, const Clock& clock);
  ~Impl();

  // --- Keys (store.cc) ---
  Key MakeKey(std::string_view bytes) const { return {bytes, hasher_(bytes)}; }
  Stripe& StripeOf(uint64_t hash) { return stripes_.get()[hash & stripe_mask_]; }
  using Visit = void (*)(void* arg, const ValueView& view);
  ReadResult Read(OpContext& ctx, const Key& key, const ReadOptions& options, Visit visit,
                  void* arg);
  ReadResult ReadPlain(OpContext& ctx, const Key& key, bool tokens, Visit visit, void* arg);
  DeleteResult Delete(OpContext& ctx, const DeleteRequest& request);
  CounterResult Count(OpContext& ctx, const CounterRequest& request, CounterAnswer* answer);
  bool Touch(OpContext& ctx, const Key& key, Deadline deadline);
  StoreResult Put(OpContext& ctx, const StoreRequest& request, std::string_view value,
                  StoreAnswer* answer);
  // For those who watch, or count by prefix.
  StoreResult PutWatched(OpContext& ctx, const StoreRequest& request, std::string_view value,
                         StoreAnswer* answer);
  void RefuseStore(OpContext& ctx, const StoreRequest& request, StoreResult why);
  bool FlushAll(OpContext& ctx, TimeMs when);
  bool FlushPrefix(OpContext& ctx, std::string_view prefix);

  // --- Large values (upload.cc) ---
  UploadRefusal BeginUpload(OpContext& ctx, const StoreRequest& request, size_t value_bytes,
                            std::unique_ptr<Upload>* upload);
  StoreResult FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload, StoreAnswer* answer);
  StoreResult LinkLarge(OpContext& ctx, class UploadImpl& upload, StoreAnswer* answer,
                        const Unchanged* only_over);
  StoreResult PutLarge(OpContext& ctx, const StoreRequest& request, std::string_view value,
                       StoreAnswer* answer);
  [[nodiscard]] bool HasRoomFor(size_t value_bytes);
  SlabClass& ClassOfPieces(size_t value_bytes);
  Pin MakePin(Item* item);
  void FreePieces(Handle first);
  // Drops one reference of a large item; the last one frees its memory.
  void Unref(Item* item);

  // --- Memory (allocation.cc) ---
  // A chunk of the class, at whatever price in evictions; kNoChunk: -M, or all memory is pinned.
  // Where that class can have none it is a larger class's, or a smaller one's down to `least_id`.
  // REQUIRES: no lock held.
  Handle Allocate(OpContext& ctx, size_t class_id, size_t least_id = kMaxClasses);
  Handle Borrow(OpContext& ctx, size_t class_id, size_t least_id, bool* freed);
  // The same with the lock of `held` held: only what can be had without waiting.
  Handle TryAllocate(OpContext& ctx, size_t class_id, Stripe* held);
  void Free(Handle chunk);
  // The class that serves `class_id` for the time being.
  size_t SettleClass(size_t class_id) {
    return classes_[class_id].has_pages() ? class_id : SettleNewClass(class_id);
  }
  size_t SettleNewClass(size_t class_id);
  [[nodiscard]] size_t ClassFor(size_t bytes) const { return sizes_.ClassFor(bytes); }
  SlabClass& Class(size_t id) { return classes_[id]; }
  SlabClass& ClassOf(Handle chunk) { return classes_[ClassIdOf(chunk)]; }
  [[nodiscard]] uint16_t ClassIdOf(Handle chunk) const {
    return pages_.get()[space().PageOf(chunk)].class_id.load(std::memory_order_relaxed);
  }
  // The class in whose queues the item hangs.
  SlabClass& LruClassOf(Handle item) {
    const Item* it = ItemAt(item);
    return ClassOf(it->has(kLarge) ? it->large()->first_piece : item);
  }
  [[nodiscard]] uint16_t LruClassIdOf(Handle item) const {
    const Item* it = ItemAt(item);
    return ClassIdOf(it->has(kLarge) ? it->large()->first_piece : item);
  }
  [[nodiscard]] const ChunkSpace& space() const { return pool_.space(); }
  [[nodiscard]] bool TooLarge(size_t key_bytes, size_t value_bytes) const;
  ClientMemory& client_memory() { return pool_.clients(); }

  // --- Pages (page_mover.cc) ---
  // Takes a page from another class (any class when 0, then for the pool) for `class_id`. REQUIRES:
  // no lock held.
  enum class Steal : uint8_t {
    kIfBetter,    // for the cache than evicting within the class
    kMust,        // also when it is not
    kAtAnyPrice,  // even a page of headers, and with each of those goes a large value
  };
  bool StealPage(OpContext& ctx, size_t class_id, Steal how);
  // Gives pages back to the pool while there are more than the limit, and keeps a few in reserve
  // while classes ask for them.  Whether there was something to do, here and below.
  bool RunPageMover(OpContext& ctx);
  [[nodiscard]] bool IsHungry(TimeMs now) const;
  // Keeps a page free for the class that was hungry last.
  void FillReserve(OpContext& ctx);
  LimitResult SetMemoryLimit(uint64_t bytes);
  ReassignResult Reassign(int64_t from, int64_t to);

  // --- Background (maintenance.cc) ---
  bool RunMaintainer(OpContext& ctx);
  // Removes expired and flushed items; at most about `buckets` buckets of the index.  True when the
  // pass is over.
  bool RunCrawler(OpContext& ctx, size_t buckets);
  bool StartCrawl();
  void RunAll(OpContext& ctx);

  // --- Events (events.cc): called only while somebody watches ---
  void NoteFetch(OpContext& ctx, std::string_view key, FetchStatus status, const Item* item,
                 Handle handle);
  void NoteStore(OpContext& ctx, const StoreRequest& request, StoreResult result,
                 size_t value_bytes);
  void NoteEviction(OpContext& ctx, const Item& item, size_t class_id);
  void NoteDelete(OpContext& ctx, Handle handle, DeleteCommand command);
  void NoteCrawl(OpContext& ctx, uint64_t examined, uint64_t reclaimed, uint64_t ms);
  void NotePageMove(OpContext& ctx, size_t from, size_t to);

  // --- Restart (store_restart.cc) ---
  absl::Status Save(uint64_t* items);

  // --- Dumps (walk.cc) ---
  bool WalkSome(OpContext& ctx, const WalkFilter& filter, WalkCursor* cursor,
                std::vector<ItemInfo>* out);

  // --- Statistics (store_info.cc) ---
  StoreInfo Info();
  std::vector<ClassInfo> Classes();
  std::vector<std::pair<size_t, uint64_t>> Sizes() const;
  void CheckInvariants();

 private:
  friend class Store;
  friend class ChunkSource;
  friend class UploadImpl;
  friend class Restorer;

  // --- Under a stripe's lock (store.cc) ---
  // The live item of `key`; a dead one is unlinked on the way.
  IndexStripe::Slot FindLive(OpContext& ctx, Stripe& stripe, const Key& key,
                             bool count_read = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex) {
    const IndexStripe::Slot slot = stripe.index.Find(
        key.hash, [&](Handle handle) { return ItemAt(handle)->HasKey(key.bytes); });
    if (!ctx.IsWatched(kFetchers)) [[likely]] {
      if (!slot) return slot;
      Item& item = *ItemAt(slot.handle());
      if (!Flushed(item) && !Expired(item, ctx.now)) return slot;
    }
    return FindDead(ctx, stripe, key, slot, count_read);
  }
  // What FindLive found is dead, or somebody watches.
  IndexStripe::Slot FindDead(OpContext& ctx, Stripe& stripe, const Key& key, IndexStripe::Slot slot,
                             bool count_read) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  IndexStripe::Slot FindHandle(Stripe& stripe, uint64_t hash, Handle handle)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  [[nodiscard]] bool Expired(const Item& item, TimeMs now) const {
    const Deadline deadline = item.deadline();
    return deadline != kNever && deadline <= now;
  }
  // Whether a flush meant the item.  By the holder of the key's lock: an older item that none meant
  // is given the present epoch, so that this is asked once a flush.
  [[nodiscard]] bool Flushed(Item& item) {
    const uint64_t now = epoch_.load(std::memory_order_acquire);
    return item.epoch() != (now & Item::kEpochMask) && FlushedSince(item, now);
  }
  [[nodiscard]] bool FlushedSince(Item& item, uint64_t now);
  // Puts the finished item under its key, in place of `old` if there is one; `new_cas` as in the
  // requests.  False: no room in the index, nothing changed.
  bool Link(OpContext& ctx, Stripe& stripe, uint64_t hash, Handle handle, IndexStripe::Slot old,
            uint64_t new_cas = 0) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  static uint64_t NextCas(Stripe& stripe, uint64_t wanted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex) {
    const uint64_t next = ++stripe.cas;
    return wanted != 0 ? wanted : next;
  }
  void Unlink(OpContext& ctx, Stripe& stripe, uint64_t hash, IndexStripe::Slot slot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  // Puts a copy that differs in its shape only in place of the item at `slot`: nothing is stored.
  void Replace(OpContext& ctx, Stripe& stripe, IndexStripe::Slot slot, Handle copy)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  // Into the LRU and the counts; the index knows it already.  The class whose queue it is in.
  size_t Attach(OpContext& ctx, Handle handle, bool is_wanted);
  // Out of the LRU and the counts, and freed; the index knows it no more.
  void Detach(OpContext& ctx, Handle handle);
  void CountUnlinked(OpContext& ctx, const Item& item, size_t class_id);
  // The queue that a new item begins in.
  [[nodiscard]] Segment FirstSegment(Deadline deadline, TimeMs now) const {
    if (!tuning_.segmented.load(std::memory_order_relaxed)) return Segment::kCold;
    const int64_t temporary = tuning_.temporary_ttl_seconds.load(std::memory_order_relaxed);
    const bool is_short = temporary >= 0 && deadline != kNever &&
                          deadline <= now + static_cast<uint64_t>(temporary) * 1000;
    return is_short ? Segment::kTemp : Segment::kHot;
  }
  void MarkRead(Item& item, TimeMs now);
  // What the mode says to the old item: a result, or nullopt to go on and store.
  std::optional<StoreResult> Decide(OpContext& ctx, const StoreRequest& request, Item* old,
                                    Handle old_handle);
  std::optional<StoreResult> PutLocked(OpContext& ctx, Stripe& stripe, class ChunkSource& source,
                                       const StoreRequest& request, std::string_view value,
                                       StoreAnswer* answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  // A cas that stores over a newer item than it knows of: what is stored is stale, and ends when
  // that one would have.
  static bool StoresStale(const StoreRequest& request, const Item& old) {
    return request.mode == StoreMode::kCas && request.or_stale && request.compare_cas != 0 &&
           request.compare_cas < old.cas();
  }
  // The bits that a new item has from its request, and from `stale_over`, the item that it stales.
  static uint16_t BitsOf(const StoreRequest& request, const Item* stale_over) {
    const unsigned token = stale_over == nullptr ? 0U : stale_over->bits() & kTokenSent;
    return static_cast<uint16_t>((request.binary_key ? kBinaryKey : 0U) |
                                 (stale_over != nullptr ? kStale : 0U) | token);
  }
  bool FitsInPlace(const Item& old, size_t old_class, const Item::Shape& shape, size_t class_id,
                   Segment first_segment);
  void Overwrite(OpContext& ctx, Stripe& stripe, const StoreRequest& request,
                 std::string_view value, Item& item, size_t class_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  [[nodiscard]] size_t ItemShapeBytes(const StoreRequest& request, size_t value_bytes) const;
  StoreResult Concat(OpContext& ctx, const StoreRequest& request, std::string_view value,
                     StoreAnswer* answer);
  std::optional<StoreResult> ConcatLocked(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                          const StoreRequest& request, std::string_view value,
                                          StoreAnswer* answer, bool* is_large)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  struct JoinedTo;
  StoreResult FindJoined(OpContext& ctx, StoreRequest* request, size_t value_bytes, JoinedTo* old);
  std::optional<StoreResult> ConcatLarge(OpContext& ctx, const StoreRequest& request,
                                         std::string_view value, class UploadImpl* pieces,
                                         StoreAnswer* answer);
  std::optional<CounterResult> CountLocked(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                           const CounterRequest& request, CounterAnswer* answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  Item* LengthenCounter(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                        const CounterRequest& request, IndexStripe::Slot slot,
                        std::string_view digits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  std::optional<CounterResult> CreateCounter(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                             const CounterRequest& request, CounterAnswer* answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  std::optional<DeleteResult> DeleteLocked(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                           const DeleteRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  std::optional<DeleteResult> DropValue(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                        const DeleteRequest& request, IndexStripe::Slot slot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  // Sets the deadline, in a new chunk if the item has no field for one.
  std::optional<bool> SetDeadline(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                  IndexStripe::Slot* slot, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  std::optional<ReadResult> ReadLocked(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                       const Key& key, const ReadOptions& options, Visit visit,
                                       void* arg) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  std::optional<ReadResult> Create(OpContext& ctx, Stripe& stripe, ChunkSource& source,
                                   const Key& key, const ReadOptions& options, Visit visit,
                                   void* arg) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  ValueView ViewOf(Item* item, uint16_t class_id);
  [[nodiscard]] std::string_view OnePiece(const Item& item) const;
  void CountRead(OpContext& ctx, const ReadOptions& options, IndexStripe::Slot slot);
  static ClassCounter HitCounter(const Item& item) {
    return static_cast<ClassCounter>(static_cast<unsigned>(ClassCounter::hits_to_hot) +
                                     static_cast<unsigned>(item.segment()));
  }
  // Calls op(stripe, source) with the key's stripe locked until it has a result; between the calls
  // gets the chunk that it lacked.
  template <typename Op>
  auto Mutate(OpContext& ctx, const Key& key, Op&& op);

  // A new chunk of `class_id` turned into an item of `shape`, with key; the value is the caller's.
  Item* BuildItem(Handle chunk, const Item::Shape& shape, std::string_view key, TimeMs now,
                  Deadline deadline);
  void ApplyPendingFlush(OpContext& ctx) {
    if (flush_at_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      ApplyFlush(ctx);
  }
  void ApplyFlush(OpContext& ctx);
  // REQUIRES: flush_mutex_ is held.
  void BumpEpoch(OpContext& ctx, std::string_view prefix);
  // False: another one begins just now, or the crawler has to come by first.
  bool BeginFlush(OpContext& ctx, std::string_view prefix);
  // Flushes that can begin before the crawler has been everywhere.
  [[nodiscard]] uint64_t EpochsLeft() const;
  // The crawler's thread sees to it that there are some; without it whoever flushes does.
  [[nodiscard]] bool BackgroundSweeps() const { return !threads_.empty(); }

  // --- Eviction (allocation.cc) ---
  // Evicts one item of the class; its chunk, or kNoChunk with *freed when others were freed
  // instead.
  Handle EvictOne(OpContext& ctx, SlabClass& slab_class, bool* freed);
  Handle EvictHeld(OpContext& ctx, SlabClass& slab_class, Stripe* held);
  // The item is linked: takes it out, for good.  Its chunk when small, else kNoChunk.
  Handle Evict(OpContext& ctx, Stripe& stripe, uint64_t hash, IndexStripe::Slot slot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  // The index has no room where `hash` belongs: of the items there, the one used longest ago goes.
  bool EvictBeside(OpContext& ctx, Stripe& stripe, uint64_t hash)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);
  Handle PickVictim(OpContext& ctx, SlabClass& slab_class, unsigned skip, uint64_t* hash);
  // Which item a class will evict next, most likely: so that it is in the CPU's cache by then.
  struct NextVictim {
    Handle handle = kNoChunk;
    uint64_t hash = 0;  // of its key, if it is still the item that it was
  };
  void FetchVictim(SlabClass& slab_class, NextVictim& next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(slab_class.mutex());
  [[nodiscard]] bool TimeToAskPool(const SlabClass& slab_class) const;
  bool AddPageFromPool(SlabClass& slab_class);
  // A chunk of the class that nobody has, of a new page if need be; kNoChunk: none.
  Handle TakeUnused(SlabClass& slab_class);
  // Without evictions only what has expired or was flushed makes room: first at the ends of the
  // class's queues, then wherever the crawler meets it.  False: none was found, or not yet.
  // REQUIRES: no lock held.
  bool Reclaim(OpContext& ctx, SlabClass& slab_class);
  bool ReclaimTails(OpContext& ctx, SlabClass& slab_class);
  bool TimeToSteal(SlabClass& slab_class);
  void CountMoves(OpContext& ctx, size_t class_id, const LruMoves& moves);

  // --- Page mover (page_mover.cc) ---
  struct Donor {
    SlabClass* slab_class = nullptr;
    bool fragmented = false;  // has a page's worth of free chunks: no item need go
    size_t taker = 0;         // the class that wants the page; 0: the pool
  };
  Donor FindDonor(TimeMs now, size_t for_class, bool must);
  static double ExcessAfterGiving(SlabClass& other, uint32_t ticks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(other.mutex());
  static double ExcessAfterTaking(SlabClass& own, uint32_t ticks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(own.mutex());
  PageIndex PickPage(SlabClass& donor, bool fragmented, unsigned attempt);
  bool TakePage(OpContext& ctx, const Donor& donor, Steal how, PageIndex* page)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mover_mutex_);
  bool CanMove(SlabClass& donor, PageIndex page, Steal how);
  void Evacuate(OpContext& ctx, SlabClass& donor, PageIndex page);
  void EvacuateItem(OpContext& ctx, SlabClass& donor, Handle handle);
  void EvacuatePiece(OpContext& ctx, SlabClass& donor, Handle handle);
  Handle RescueChunk(OpContext& ctx, SlabClass& donor, bool worth_an_eviction);
  void MovePiece(Item* item, Handle from, Handle to);
  void MoveItem(OpContext& ctx, Stripe& stripe, IndexStripe::Slot slot, Handle to)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex);

  // A page that Reassign() asked for.
  void MoveAskedPage(OpContext& ctx);
  [[nodiscard]] LruTuning Lru() const {
    return {.segmented = tuning_.segmented.load(std::memory_order_relaxed),
            .hot_percent = tuning_.hot_percent.load(std::memory_order_relaxed),
            .warm_percent = tuning_.warm_percent.load(std::memory_order_relaxed),
            .hot_max_factor = tuning_.hot_max_factor.load(std::memory_order_relaxed),
            .warm_max_factor = tuning_.warm_max_factor.load(std::memory_order_relaxed)};
  }

  // By the holder of the key's lock.
  void Show(const WalkFilter& filter, uint64_t from_place, const std::vector<Handle>& handles,
            TimeMs now, std::vector<ItemInfo>* out);
  // Under its stripe's lock: whether the filter lets the item through, and it is alive.
  bool IsWalked(const WalkFilter& filter, Handle handle, TimeMs now);
  [[nodiscard]] ItemInfo InfoOf(Handle handle, TimeMs now);

  // What a memory file says, before there is a store to put it into.
  struct Restored {
    std::unique_ptr<SavedStore> saved;  // null: nothing to restore
    RestoreReport report;
  };
  static Restored ReadMemoryFile(const StoreOptions& options);
  static uint64_t HashSeed(const StoreOptions& options, const Restored& restored);
  // As many as a restored store had, if there can be so many; 0: by the options.
  void MakeStripes(size_t kept);
  // Takes the saved items over, or refuses them and leaves everything empty.
  void Restore();
  [[nodiscard]] SavedStore Describe();
  void InitClasses();
  void ReserveIndex();
  void ReleaseIndex();
  void StartThreads();
  void StopThreads();
  using Round = bool (Impl::*)(OpContext&);
  void ThreadMain(Round round, std::chrono::milliseconds busy_pause,
                  std::chrono::milliseconds idle_pause);
  // There is something to do for one of the threads.
  void WakeThreads();
  // The index, or a stripe's part of it, took `before` bytes and takes `now`.
  void ChargeIndex(uint64_t before, uint64_t now);
  bool CrawlRound(OpContext& ctx);
  // False: the store is being taken apart.
  bool Rest(std::chrono::microseconds time);
  void CrawlStripe(OpContext& ctx, Stripe& stripe, size_t at, size_t buckets,
                   Deadline* next_expiry);
  void TrackSize(const Item& item, int64_t change);
  void NoteDeadline(Stripe& stripe, Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(stripe.mutex) {
    if (deadline != kNever && (stripe.next_expiry == kNever || deadline < stripe.next_expiry)) {
      stripe.next_expiry = deadline;
    }
  }

  [[nodiscard]] Item* ItemAt(Handle handle) const { return space().At<Item>(handle); }
  [[nodiscard]] uint64_t HashOf(Handle handle) const { return hasher_(ItemAt(handle)->key()); }

  Store* const facade_;
  const StoreOptions options_;
  const Clock& clock_;
  StatsRegistry stats_;
  HotKeys hot_keys_;
  Restored restored_;
  const KeyHasher hasher_;
  PagePool pool_;
  const SlabSizes sizes_;
  Ghosts ghosts_;
  StoreTuning tuning_;
  LazyArray<PageInfo> pages_;
  std::unique_ptr<SlabClass[]> classes_;  // by id; 0 is not used

  size_t stripe_count_ = 0;
  uint64_t stripe_mask_ = 0;
  std::unique_ptr<Stripe[]> stripes_;
  void* index_mapping_ = nullptr;
  size_t index_mapping_bytes_ = 0;
  // What follows changes, and what stands before is read by every request.
  alignas(64) std::atomic<uint64_t> index_bytes_{0};

  UploadGate uploads_;

  // Each flush begins an epoch.  An item of an older one is dead if the prefix of a flush since
  // then begins its key; flush_all has the empty prefix.  An epoch's number may be used again once
  // a whole pass of the crawler, begun after it ended, has removed its items or given them a later
  // one: those up to swept_epoch_.  flushes_[e] is written before epoch e is published and not
  // again before no item needs it; readers hold a stripe, which that pass has to lock.
  struct Flush {
    uint8_t prefix_bytes = 0;
    std::array<char, kMaxKeyBytes> prefix{};
  };
  std::array<Flush, 1U << Item::kEpochBits> flushes_;  // by epoch, modulo their number
  std::atomic<uint64_t> epoch_{0};
  std::atomic<uint64_t> swept_epoch_{0};
  std::atomic<TimeMs> flush_at_{0};
  std::mutex flush_mutex_;

  alignas(64) Mutex<LockRank::kMover> mover_mutex_;  // away from what every request reads
  // Evictions between two looks for a better page; looking takes as long as one or two of them.
  static constexpr size_t kRarestLook = 256;
  // What evictions note of a class, on a line of its own.
  struct alignas(64) ClassEvictions {
    NextVictim next;                      // guarded by the class's lock
    std::atomic<uint32_t> since_look{0};  // evictions since it asked for another one's page
    std::atomic<uint32_t> ticks{0};       // ClassInfo's evicted_age
    std::atomic<uint32_t> demand{0};      // while it has no pages
  };
  std::array<ClassEvictions, kMaxClasses> evictions_{};
  std::atomic<TimeMs> next_reclaim_{0};  // Reclaim() need not look at the index before
  std::atomic<TimeMs> last_hunger_{0};   // when a class last took a page of another
  std::atomic<size_t> hungry_class_{0};  // which one
  // A page move that was asked for: kAsked, source and destination; 0: none.
  static constexpr uint32_t kAsked = 1U << 31;
  static constexpr unsigned kSourceShift = 8;
  static_assert(kMaxClasses == 1U << kSourceShift);
  std::atomic<uint32_t> asked_move_{0};

  struct CrawlPosition {
    size_t stripe = 0;
    size_t bucket = 0;
    Deadline next_expiry = kNever;
    uint64_t epoch_at_start = 0;
    bool asked = false;       // by StartCrawl()
    bool every_item = false;  // also of stripes where nothing is known to be dead
  };
  std::mutex crawl_mutex_;
  CrawlPosition crawl_;
  std::vector<Handle> crawl_items_;  // of the buckets being looked at
  std::atomic<TimeMs> next_crawl_{0};
  std::atomic<bool> crawl_asked_{false};
  std::atomic<bool> crawling_{false};
  std::atomic<uint64_t> crawled_items_{0};  // ever
  TimeMs last_refresh_ = 0;                 // of the ages, guarded by crawl_mutex_

  std::vector<std::atomic<int64_t>> size_histogram_;  // by 32 bytes; empty unless track_sizes

  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  std::atomic<uint64_t> wakes_{0};
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// Chunks for one operation on one key: a spare brought along, or what can be had under the lock.
class ChunkSource {
 public:
  ChunkSource(Store::Impl& impl, OpContext& ctx) : impl_(impl), ctx_(ctx) {}
  ~ChunkSource() {
    if (spare_ != kNoChunk) impl_.Free(spare_);
  }
  ChunkSource(const ChunkSource&) = delete;
  ChunkSource& operator=(const ChunkSource&) = delete;

  // Under the lock of `held`: a chunk of the class; kNoChunk: give up, Refill() without the lock,
  // retry.  `kept`: an item of that stripe that the operation goes by, if there is one; it should
  // not be what goes to make room.
  Handle Take(size_t class_id, Stripe* held, Item* kept) {
    if (spare_ != kNoChunk && spare_class_ == class_id) {
      return std::exchange(spare_, kNoChunk);
    }
    wanted_ = class_id;
    if (exhausted_) return kNoChunk;
    const Handle chunk = impl_.TryAllocate(ctx_, class_id, held);
    if (chunk == kNoChunk && kept != nullptr) kept->SetBits(kActive);
    return chunk;
  }
  // No memory was to be had for the last Take(): answer so.
  [[nodiscard]] bool exhausted() const { return exhausted_; }
  // Without any lock: gets what the last Take() could not.
  void Refill() {
    if (spare_ != kNoChunk) impl_.Free(spare_);
    spare_class_ = wanted_;
    spare_ = impl_.Allocate(ctx_, wanted_);
    exhausted_ = spare_ == kNoChunk;
  }

 private:
  Store::Impl& impl_;
  OpContext& ctx_;
  Handle spare_ = kNoChunk;
  size_t spare_class_ = 0;
  size_t wanted_ = 0;
  bool exhausted_ = false;
};

template <typename Op>
auto Store::Impl::Mutate(OpContext& ctx, const Key& key, Op&& op) {
  ChunkSource source(*this, ctx);
  ctx.SampleKey(key.bytes, key.hash);
  Stripe& stripe = StripeOf(key.hash);
  for (;;) {
    {
      StripeLock lock(stripe.mutex);
      if (auto result = op(stripe, source)) return *result;
    }
    source.Refill();
  }
}

}  // namespace larder
