// core/tuning.h — what of a store may be changed while it runs.
//
// Owner: Store.  Threads: any; each field is read and written by itself, and whoever reads it next
// goes by the new value.

#pragma once

#include <atomic>
#include <cstdint>

namespace larder {

struct StoreOptions;

struct StoreTuning {
  // What the options of the same names say.
  explicit StoreTuning(const StoreOptions& options);

  // The LRU.
  std::atomic<bool> segmented;
  std::atomic<unsigned> hot_percent;
  std::atomic<unsigned> warm_percent;
  std::atomic<double> hot_max_factor;
  std::atomic<double> warm_max_factor;
  std::atomic<int64_t> temporary_ttl_seconds;  // negative: no TEMP

  // The page mover.
  std::atomic<int> automove;
  std::atomic<double> automove_ratio;
  std::atomic<double> automove_freeratio;  // only kept: there is no flash tier
  std::atomic<unsigned> automove_window;

  // The crawler.
  std::atomic<bool> crawler;
  std::atomic<unsigned> crawler_sleep_us;
  std::atomic<uint32_t> crawler_tocrawl;  // items a round; 0: all
};

}  // namespace larder
