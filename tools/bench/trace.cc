// tools/bench/trace.cc — the traces, and the optimum of a trace.

#include "tools/bench/trace.h"

#include <cmath>
#include <limits>
#include <queue>
#include <unordered_map>
#include <utility>

#include "tools/bench/keys.h"

namespace larder::bench {
namespace {

constexpr uint64_t kPacedRequests = 1'500'000;
constexpr uint64_t kFastRequests = 2'000'000;
constexpr double kPace = 120'000;
constexpr double kSlowPace = 75'000;       // where most batches are short
constexpr uint32_t kOtherKeys = 1U << 30;  // those of a scan, of one-hit wonders, of a second phase

uint64_t Mix(uint64_t x) {
  x = (x + 1) * 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  return x ^ (x >> 31);
}

// The value's size belongs to the key: as many small ones as large ones, on a scale of ratios.
uint16_t SizeOf(uint32_t key, double low, double high) {
  const double fraction = static_cast<double>(Mix(key) >> 11) * 0x1.0p-53;
  return static_cast<uint16_t>(low * std::pow(high / low, fraction));
}

TraceRequest Mixed(uint64_t key, double scale = 1) {
  const auto number = static_cast<uint32_t>(key);
  return {number, SizeOf(number, 20 * scale, 2000 * scale), 0};
}

void MakeZipf(const TraceOptions& options, uint64_t keys, double exponent, double scale,
              std::vector<TraceRequest>* trace) {
  constexpr uint64_t kWithTtl = 4;  // one key in four expires, after 2 to 8 seconds
  Random random(options.seed);
  const Zipf zipf(keys, exponent);
  for (uint64_t i = 0; i < options.requests; ++i) {
    TraceRequest request = Mixed(zipf.Next(random), scale);
    const uint64_t chance = Mix(~uint64_t{request.key});
    if (chance % kWithTtl == 0) request.ttl_seconds = static_cast<uint16_t>(2 + chance / 8 % 7);
    trace->push_back(request);
  }
}

void MakeZipf08(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  MakeZipf(options, 1'000'000, 0.8, 1, trace);
}
void MakeZipf10(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  MakeZipf(options, 1'000'000, 1.0, 1, trace);
}
void MakeZipf12(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  MakeZipf(options, 4'000'000, 1.2, 3, trace);
}

void MakeOneHit(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  constexpr double kShare = 0.3;
  Random random(options.seed);
  const Zipf zipf(500'000, 1.0);
  uint32_t next = kOtherKeys;
  for (uint64_t i = 0; i < options.requests; ++i) {
    trace->push_back(Mixed(random.Fraction() < kShare ? next++ : zipf.Next(random)));
  }
}

void MakeScan(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  Random random(options.seed);
  const Zipf zipf(500'000, 1.0);
  uint32_t next = kOtherKeys;
  for (uint64_t i = 0; i < options.requests; ++i) {
    const uint64_t tenth = i * 10 / options.requests;
    const bool scans = tenth == 4 || tenth == 5 || tenth == 8;
    trace->push_back(Mixed(scans && i % 2 == 0 ? next++ : zipf.Next(random)));
  }
}

void MakeSizeShift(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  Random random(options.seed);
  const Zipf zipf(1'000'000, 1.0);
  for (uint64_t i = 0; i < options.requests; ++i) {
    const auto key = static_cast<uint32_t>(zipf.Next(random));
    if (i < options.requests / 2) {
      trace->push_back({key, SizeOf(key, 20, 200), 0});
    } else {
      trace->push_back({kOtherKeys + key, SizeOf(key, 200, 2000), 0});
    }
  }
}

void MakePopularityShift(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  constexpr uint64_t kPhases = 5;
  constexpr uint64_t kKeys = 500'000;
  Random random(options.seed);
  const Zipf zipf(kKeys, 1.0);
  for (uint64_t i = 0; i < options.requests; ++i) {
    const uint64_t phase = i * kPhases / options.requests;
    trace->push_back(Mixed((zipf.Next(random) + phase * (kKeys / kPhases)) % kKeys));
  }
}

void MakeLoop(const TraceOptions& options, std::vector<TraceRequest>* trace) {
  constexpr double kOver = 1.15;
  uint64_t bytes = 0;
  uint32_t keys = 0;
  do {
    bytes += Mixed(keys++).value_bytes + kTraceKeyBytes + kTraceItemOverhead;
  } while (static_cast<double>(bytes) < kOver * static_cast<double>(options.memory_bytes));
  const auto first = static_cast<uint32_t>(options.seed % 1000) * (kOtherKeys / 1000);
  for (uint64_t i = 0; i < options.requests; ++i) trace->push_back(Mixed(first + i % keys));
}

constexpr uint64_t kNeverAgain = std::numeric_limits<uint64_t>::max();

// For each request when its key is asked for next, before it has expired.
std::vector<uint64_t> NextUses(const std::vector<TraceRequest>& trace, double rate) {
  std::vector<uint64_t> next(trace.size(), kNeverAgain);
  std::unordered_map<uint32_t, uint64_t> last;
  for (uint64_t i = trace.size(); i-- > 0;) {
    const auto [at, is_new] = last.try_emplace(trace[i].key, i);
    if (is_new) continue;
    next[i] = at->second;
    at->second = i;
  }
  if (rate == 0) return next;
  // Only a miss stores, so the deadline is that of the first request since the last one.
  std::unordered_map<uint32_t, double> deadlines;
  for (uint64_t i = 0; i < trace.size(); ++i) {
    if (trace[i].ttl_seconds == 0) continue;
    const double now = static_cast<double>(i) / rate;
    double& deadline = deadlines[trace[i].key];
    if (deadline <= now) deadline = now + trace[i].ttl_seconds;
    if (next[i] != kNeverAgain && static_cast<double>(next[i]) / rate >= deadline) {
      next[i] = kNeverAgain;
    }
  }
  return next;
}

}  // namespace

const std::vector<TraceSpec>& Traces() {
  static const std::vector<TraceSpec> kTraces = {
      {"zipf-0.8", "Zipf 0.8, a million keys, a quarter with TTLs", kPacedRequests, kPace,
       MakeZipf08},
      {"zipf-1.0", "Zipf 1.0, a million keys, a quarter with TTLs", kPacedRequests, kPace,
       MakeZipf10},
      {"zipf-1.2", "Zipf 1.2, four million keys with larger values, a quarter with TTLs",
       kPacedRequests, kSlowPace, MakeZipf12},
      {"one-hit", "30 % of keys that never come again, the rest Zipf 1.0", kFastRequests, 0,
       MakeOneHit},
      {"scan", "Zipf 1.0, and two scans as fast as everything else", kFastRequests, 0, MakeScan},
      {"size-shift", "Zipf 1.0, half way other keys with values ten times as large", kFastRequests,
       0, MakeSizeShift},
      {"popularity-shift", "Zipf 1.0, other keys are popular after each fifth", kFastRequests, 0,
       MakePopularityShift},
      {"loop", "key after key, round and round, 15 % more than fits", kFastRequests, 0, MakeLoop},
  };
  return kTraces;
}

const TraceSpec* FindTrace(std::string_view name) {
  for (const TraceSpec& spec : Traces()) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

std::vector<TraceRequest> MakeTrace(const TraceSpec& spec, const TraceOptions& options) {
  TraceOptions wanted = options;
  if (wanted.requests == 0) wanted.requests = spec.requests;
  std::vector<TraceRequest> trace;
  trace.reserve(wanted.requests);
  spec.make(wanted, &trace);
  return trace;
}

uint64_t OptimalHits(const std::vector<TraceRequest>& trace, double rate, uint64_t memory_bytes) {
  const std::vector<uint64_t> next = NextUses(trace, rate);
  std::priority_queue<std::pair<uint64_t, uint32_t>> by_next_use;    // also of what was used since
  std::unordered_map<uint32_t, std::pair<uint64_t, uint32_t>> held;  // next use, bytes
  uint64_t bytes = 0;
  uint64_t hits = 0;
  for (uint64_t i = 0; i < trace.size(); ++i) {
    const uint32_t key = trace[i].key;
    const uint32_t cost = kTraceKeyBytes + trace[i].value_bytes + kTraceItemOverhead;
    const auto found = held.find(key);
    if (found != held.end()) {
      ++hits;
      bytes -= cost;
      held.erase(found);
    }
    if (next[i] == kNeverAgain) continue;
    held[key] = {next[i], cost};
    bytes += cost;
    by_next_use.emplace(next[i], key);
    while (bytes > memory_bytes) {
      const auto [use, farthest] = by_next_use.top();
      by_next_use.pop();
      const auto at = held.find(farthest);
      if (at == held.end() || at->second.first != use) continue;
      bytes -= at->second.second;
      held.erase(at);
    }
  }
  return hits;
}

}  // namespace larder::bench
