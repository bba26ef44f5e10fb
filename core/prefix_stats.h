// core/prefix_stats.h — gets, hits, sets and deletes by the keys' prefixes (`stats detail`).
//
// A prefix is what stands before the first delimiter; keys without one are not counted.
//
// Owner: StatsRegistry, one table a thread.  Threads: a table is written by its own and read, and
// cleared, by anybody; its lock is one that requests of other threads never take.
// Memory: kMaxPrefixes entries a table, kMostBytes in all tables of a store; what comes then is not
// counted.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/base/mutex.h"

namespace larder {

struct PrefixCounts {
  uint64_t gets = 0;
  uint64_t hits = 0;
  uint64_t sets = 0;
  uint64_t deletes = 0;
};

class PrefixTable {
 public:
  static constexpr size_t kMaxPrefixes = 65536;
  static constexpr size_t kMostBytes = 32 << 20;

  // `bytes` is what all tables of the store hold.  REQUIRES: it outlives this.
  PrefixTable(char delimiter, std::atomic<size_t>& bytes) : delimiter_(delimiter), bytes_(bytes) {}
  ~PrefixTable() { Clear(); }
  PrefixTable(const PrefixTable&) = delete;
  PrefixTable& operator=(const PrefixTable&) = delete;

  void CountGet(std::string_view key, bool hit) ABSL_LOCKS_EXCLUDED(mutex_);
  void CountSet(std::string_view key) ABSL_LOCKS_EXCLUDED(mutex_);
  void CountDelete(std::string_view key) ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds what is here to `sums`, which may grow to kMaxPrefixes.
  void AddTo(std::map<std::string, PrefixCounts>* sums) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Clear() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  // Null: not to be counted.
  PrefixCounts* Of(std::string_view key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const char delimiter_;
  std::atomic<size_t>& bytes_;
  mutable Mutex<LockRank::kLeaf> mutex_;
  std::unordered_map<std::string, PrefixCounts, Hash, std::equal_to<>> counts_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace larder
