// tools/bench/trace.h — sequences of requests to judge a cache's choices by, and how many of them
// the best of all choices would have served.
//
// Deterministic: a name, a length, a seed and a size of memory make the same trace everywhere.

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace larder::bench {

struct TraceRequest {
  uint32_t key = 0;
  uint16_t value_bytes = 0;
  uint16_t ttl_seconds = 0;  // 0: never expires
};

struct TraceOptions {
  uint64_t requests = 0;  // 0: as many as the trace usually has
  uint64_t seed = 1;
  uint64_t memory_bytes = 64 << 20;  // of the cache: some traces are made to just not fit
};

struct TraceSpec {
  std::string_view name;
  std::string_view description;
  uint64_t requests;
  double rate;  // requests a second, where time matters; 0: as fast as they are answered
  void (*make)(const TraceOptions& options, std::vector<TraceRequest>* trace);
};

// What each key of a trace takes, and what an item takes beside key and value in OptimalHits.
inline constexpr uint32_t kTraceKeyBytes = 20;
inline constexpr uint32_t kTraceItemOverhead = 32;

[[nodiscard]] const std::vector<TraceSpec>& Traces();
// Null when there is none of that name.
[[nodiscard]] const TraceSpec* FindTrace(std::string_view name);
[[nodiscard]] std::vector<TraceRequest> MakeTrace(const TraceSpec& spec,
                                                  const TraceOptions& options);

// The hits of a cache of so many bytes that knows the future: it gives up what is used farthest
// from now, or what has just come.  L. Belady, "A study of replacement algorithms", 1966.  Where
// sizes are mixed that is not quite the best that can be had, which nobody can compute.
[[nodiscard]] uint64_t OptimalHits(const std::vector<TraceRequest>& trace, double rate,
                                   uint64_t memory_bytes);

}  // namespace larder::bench
