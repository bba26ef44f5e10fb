// core/thread_stats.h — what is counted, and where: one cell of counters a thread, summed on
// demand.
//
// Owner: StatsRegistry; a thread writes only to its own cell, everybody may read all of them.
// Threads: one writer a cell (load and store, never a locked instruction); readers see each counter
// whole, but not a snapshot of all of them at one moment.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/prefix_stats.h"

namespace larder {

inline constexpr size_t kMaxClasses = 256;  // ids 1..255; 0 is the pool of free pages

// name, meaning.  Names are memcached's where it has the counter.
#define LARDER_THREAD_COUNTERS(X)                                               \
  X(cmd_flush, "flush_all commands, refused ones included")                     \
  X(cmd_touch, "keys of touch, gat, gats")                                      \
  X(cmd_meta, "meta debug commands")                                            \
  X(get_misses, "keys asked for and not found")                                 \
  X(get_expired, "misses because the item's time was over")                     \
  X(get_flushed, "misses because of a flush_all")                               \
  X(delete_misses, "")                                                          \
  X(incr_misses, "")                                                            \
  X(decr_misses, "")                                                            \
  X(cas_misses, "")                                                             \
  X(touch_misses, "")                                                           \
  X(store_too_large, "values refused for their size")                           \
  X(store_no_memory, "values refused for want of memory")                       \
  X(auth_cmds, "")                                                              \
  X(auth_errors, "")                                                            \
  X(idle_kicks, "connections closed for idleness")                              \
  X(bytes_read, "from clients")                                                 \
  X(bytes_written, "to clients")                                                \
  X(conn_yields, "times a connection had to wait for others after -R requests") \
  X(ssl_new_sessions, "TLS handshakes that resumed no session")                 \
  X(ssl_handshake_errors, "TLS handshakes that failed or stood still")          \
  X(ssl_proto_errors, "TLS connections broken off after their handshake")       \
  X(pages_moved, "pages taken from one class for another")                      \
  X(reassign_rescues, "items moved out of a page that changed its class")       \
  X(reassign_evictions, "items evicted because their page changed its class")   \
  X(crawler_starts, "passes of the background expiry")                          \
  X(maintainer_runs, "rounds of the LRU maintainer")

// The same, kept for each slab class.
#define LARDER_CLASS_COUNTERS(X)                                         \
  X(cmd_set, "storage attempts that got memory")                         \
  X(hits_to_hot, "get hits, by the segment they found the item in")      \
  X(hits_to_warm, "")                                                    \
  X(hits_to_cold, "")                                                    \
  X(hits_to_temp, "")                                                    \
  X(touch_hits, "")                                                      \
  X(delete_hits, "")                                                     \
  X(incr_hits, "")                                                       \
  X(decr_hits, "")                                                       \
  X(cas_hits, "")                                                        \
  X(cas_badval, "")                                                      \
  X(linked, "items stored: entered the index, or written over in place") \
  X(items_added, "items that entered the index (never reset)")           \
  X(items_removed, "items that left it (never reset)")                   \
  X(bytes_added, "their bytes (never reset)")                            \
  X(bytes_removed, "their bytes (never reset)")                          \
  X(evicted, "items evicted to make room")                               \
  X(evicted_nonzero, "of them, with an expiry time")                     \
  X(evicted_unfetched, "of them, never read")                            \
  X(evicted_active, "of them, read since the last look")                 \
  X(outofmemory, "allocations that found nothing to evict")              \
  X(reclaimed, "allocations served by an expired item")                  \
  X(expired_unfetched, "items that expired and were never read")         \
  X(crawler_reclaimed, "items removed by the background expiry")         \
  X(crawler_items_checked, "items looked at by it")                      \
  X(lrutail_reflocked, "eviction candidates that were in use")           \
  X(moves_to_cold, "")                                                   \
  X(moves_to_warm, "")                                                   \
  X(moves_within_lru, "")                                                \
  X(direct_reclaims, "evictions done by a request, not by the maintainer")

#define LARDER_ENUMERATE(name, meaning) name,
enum class ThreadCounter : uint8_t { LARDER_THREAD_COUNTERS(LARDER_ENUMERATE) kCount };
enum class ClassCounter : uint8_t { LARDER_CLASS_COUNTERS(LARDER_ENUMERATE) kCount };
#undef LARDER_ENUMERATE

inline constexpr size_t kThreadCounters = static_cast<size_t>(ThreadCounter::kCount);
inline constexpr size_t kClassCounters = static_cast<size_t>(ClassCounter::kCount);

// One thread's counters.
class alignas(64) ThreadStats {
 public:
  // Only by the owning thread.
  void Add(ThreadCounter counter, uint64_t n = 1) {
    Bump(thread_[static_cast<size_t>(counter)], n);
  }
  void Add(ClassCounter counter, size_t class_id, uint64_t n = 1) {
    Bump(classes_[class_id][static_cast<size_t>(counter)], n);
  }
  // Where to count by prefix; null: nobody wants to know.
  [[nodiscard]] PrefixTable* prefixes() const { return prefixes_.load(std::memory_order_acquire); }
  void set_prefixes(PrefixTable* table) { prefixes_.store(table, std::memory_order_release); }
  // By anybody.
  [[nodiscard]] uint64_t Get(ThreadCounter counter) const {
    return thread_[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t Get(ClassCounter counter, size_t class_id) const {
    return classes_[class_id][static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }

 private:
  using Cell = std::atomic<uint64_t>;
  static void Bump(Cell& cell, uint64_t n) {
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::atomic<PrefixTable*> prefixes_{nullptr};
  std::array<Cell, kThreadCounters> thread_{};
  std::array<std::array<Cell, kClassCounters>, kMaxClasses> classes_{};
};

// Sums over all threads at one time, less what they were at the last reset.
struct StatsTotals {
  std::array<uint64_t, kThreadCounters> thread{};
  std::array<std::array<uint64_t, kClassCounters>, kMaxClasses> classes{};
  size_t class_count = kMaxClasses;  // the others stay zero

  [[nodiscard]] uint64_t operator[](ThreadCounter c) const {
    return thread[static_cast<size_t>(c)];
  }
  [[nodiscard]] uint64_t Class(ClassCounter c, size_t class_id) const {
    return classes[class_id][static_cast<size_t>(c)];
  }
  // Over all classes.
  [[nodiscard]] uint64_t operator[](ClassCounter c) const;
  // Keys asked for and found, in whatever segment; and asked for at all.
  [[nodiscard]] uint64_t get_hits() const;
  [[nodiscard]] uint64_t cmd_get() const { return get_hits() + (*this)[ThreadCounter::get_misses]; }
};

class StatsRegistry {
 public:
  // How many ids there are, 0 included; nothing is counted for others.  REQUIRES: nothing was yet.
  void SetClasses(size_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  // A new cell, which lives as long as this object.
  ThreadStats* NewCell() ABSL_LOCKS_EXCLUDED(mutex_);
  // About 50 KB: keep it off small stacks.
  [[nodiscard]] std::unique_ptr<StatsTotals> Totals() const ABSL_LOCKS_EXCLUDED(mutex_);
  // The same since the start, whatever was reset.
  [[nodiscard]] std::unique_ptr<StatsTotals> Lifetime() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether operations are counted by prefix from now on; what was counted stays.
  void CollectPrefixes(bool wanted) ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] bool collects_prefixes() const ABSL_LOCKS_EXCLUDED(mutex_);
  // REQUIRES: nothing was collected yet.
  void SetPrefixDelimiter(char delimiter) ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] std::map<std::string, PrefixCounts> Prefixes() const ABSL_LOCKS_EXCLUDED(mutex_);
  // From now on Totals() starts from zero, and no prefix is known.  No cell is written: their
  // owners never stop counting.
  void Reset() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  [[nodiscard]] std::unique_ptr<StatsTotals> Sum() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void Attach(ThreadStats& cell) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] std::vector<PrefixTable*> Tables() const ABSL_LOCKS_EXCLUDED(mutex_);

  std::atomic<size_t> prefix_bytes_{0};
  mutable Mutex<LockRank::kLeaf> mutex_;
  size_t class_count_ ABSL_GUARDED_BY(mutex_) = kMaxClasses;
  char delimiter_ ABSL_GUARDED_BY(mutex_) = ':';
  bool collects_prefixes_ ABSL_GUARDED_BY(mutex_) = false;
  // One a cell, once it has counted; never taken away while there is a cell that knows it.
  std::map<ThreadStats*, std::unique_ptr<PrefixTable>> tables_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<ThreadStats>> cells_ ABSL_GUARDED_BY(mutex_);
  StatsTotals baseline_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace larder
