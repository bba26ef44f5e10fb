// core/restart.h — what a stopped store leaves behind besides its pages, and how that is written
// down: FILE.meta.
//
//   [ magic 8 ] then records, in a fixed order, each once:
//   [ type 4 ][ payload bytes 4 ][ payload ][ checksum 8, of all of the record before it ]
//   and the last one's payload is the checksum of everything before that record.
//
// Numbers are little-endian.  The decoder trusts nothing: it reads no byte that is not there,
// checks each number's range and that what refers to something refers to what exists.  The pages,
// the items on them and the index are for core/store_restart.cc to check.
// Threads: any; pure functions.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/index.h"
#include "core/memory/chunk.h"
#include "core/store.h"

namespace larder {

// A page that belongs to a class.
struct SavedPage {
  PageIndex page = kNoPage;
  uint16_t class_id = 0;
  uint32_t fresh = 0;     // chunks ever handed out: what lies behind them is nothing
  uint64_t checksum = 0;  // of those
};

// One segment of a class, if it has items.
struct SavedQueue {
  uint16_t class_id = 0;
  uint8_t segment = 0;
  uint32_t count = 0;
  Handle head = kNoChunk;
  Handle tail = kNoChunk;
};

// What the commands on a stripe's keys change besides its items.
struct SavedStripe {
  uint64_t cas = 0;  // the last one given out
  Deadline next_expiry = kNever;
  IndexStripe::Layout index;
  uint64_t checksum = 0;  // of its buckets
};

struct SavedStore {
  // Settings that a file is good for.
  uint64_t memory_bytes = 0;
  uint64_t max_item_bytes = 0;
  uint32_t handle_shift = 0;
  bool use_cas = true;
  std::vector<uint32_t> chunk_sizes;  // of class 1, 2, …

  // The moment of the stop, and what was known then.
  int64_t wall_ms = 0;
  TimeMs now_ms = 0;
  uint64_t hash_seed = 0;
  uint64_t items = 0;
  uint64_t epoch = 0;
  uint64_t swept_epoch = 0;
  std::vector<std::string> flushes;  // the prefixes of the flushes after swept_epoch, to epoch
  TimeMs flush_at = 0;

  std::vector<SavedStripe> stripes;
  std::vector<SavedPage> pages;  // by page
  std::vector<SavedQueue> queues;
};

[[nodiscard]] std::string EncodeSavedStore(const SavedStore& saved);

// The message of a failure says at which byte, in which record and why.
[[nodiscard]] absl::Status DecodeSavedStore(std::string_view bytes, SavedStore* saved);

// Where a clock had best begin whose store takes over what `meta` describes, at `wall_ms`: there
// the times that items keep go on, and none has to be rewritten.  kClockStartMs when that cannot
// be.
[[nodiscard]] TimeMs ContinuedClock(std::string_view meta, int64_t wall_ms);

// The time from the stop to now, by the wall; one that was set back counts as none.
[[nodiscard]] TimeMs AwayMs(const SavedStore& saved, int64_t wall_ms);

// A page's checksum is made a slice at a time, starting from 0: who reads the slices anyway finds
// them in the cache.
inline constexpr size_t kChecksumSlice = size_t{16} << 10;
[[nodiscard]] uint64_t AddToChecksum(uint64_t checksum, std::span<const char> slice);
[[nodiscard]] uint64_t PageChecksum(std::span<const char> bytes);

// Puts right every checksum of an encoding that is well formed otherwise; for tests, which want to
// get past them.
void SealSavedStore(std::string* bytes);

}  // namespace larder
