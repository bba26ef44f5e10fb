// tools/bench/report.cc — printing a LoadResult.

#include "tools/bench/report.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace larder::bench {
namespace {

struct Percentile {
  const char* name;
  double fraction;
};

constexpr Percentile kPercentiles[] = {
    {"p50", 0.50}, {"p90", 0.90}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
};

template <typename... Args>
void Append(std::string* out, const char* format, Args... args) {
  char line[256];
  const int size = std::snprintf(line, sizeof(line), format, args...);
  if (size > 0) out->append(line, std::min(static_cast<size_t>(size), sizeof(line) - 1));
}

double Micros(uint64_t ns) { return static_cast<double>(ns) / 1000.0; }

double PerSecond(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
}

}  // namespace

std::string JsonString(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out + "\"";
}

std::string ReportText(const LoadResult& result) {
  const Tally& t = result.tally;
  std::string out;
  Append(&out, "requests    %" PRIu64 " in %.3f s: %.0f/s", t.requests, result.seconds,
         PerSecond(t.requests, result.seconds));
  if (t.keys != t.requests) Append(&out, ", %.0f keys/s", PerSecond(t.keys, result.seconds));
  Append(&out, "\nhits        %" PRIu64 ", misses %" PRIu64 ", errors %" PRIu64, t.hits, t.misses,
         t.errors);
  if (t.mismatches > 0) Append(&out, ", wrong values %" PRIu64, t.mismatches);
  Append(&out, "\nbytes       %" PRIu64 " in, %" PRIu64 " out\nlatency us ", t.bytes_in,
         t.bytes_out);
  Append(&out, " min %.1f mean %.1f", Micros(t.latency.min()), t.latency.mean() / 1000.0);
  for (const Percentile& p : kPercentiles) {
    Append(&out, " %s %.1f", p.name, Micros(t.latency.Percentile(p.fraction)));
  }
  Append(&out, " max %.1f\nclient CPU  %.3f s, and %.3f s of waiting for a core\n",
         Micros(t.latency.max()), result.client_cpu_seconds, result.client_wait_seconds);
  if (!t.first_error.empty()) out += "first error: " + t.first_error + "\n";
  if (!t.failure.empty()) out += "failed: " + t.failure + "\n";
  return out;
}

std::string ReportJson(const LoadResult& result) {
  const Tally& t = result.tally;
  std::string out;
  Append(&out, "{\"requests\": %" PRIu64 ", \"keys\": %" PRIu64 ", \"seconds\": %.6f", t.requests,
         t.keys, result.seconds);
  Append(&out, ", \"requests_per_second\": %.1f, \"keys_per_second\": %.1f",
         PerSecond(t.requests, result.seconds), PerSecond(t.keys, result.seconds));
  Append(&out, ", \"hits\": %" PRIu64 ", \"misses\": %" PRIu64 ", \"errors\": %" PRIu64, t.hits,
         t.misses, t.errors);
  Append(&out, ", \"mismatches\": %" PRIu64 ", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64,
         t.mismatches, t.bytes_in, t.bytes_out);
  Append(&out, ", \"latency_us\": {\"min\": %.1f, \"mean\": %.1f", Micros(t.latency.min()),
         t.latency.mean() / 1000.0);
  for (const Percentile& p : kPercentiles) {
    Append(&out, ", \"%s\": %.1f", p.name, Micros(t.latency.Percentile(p.fraction)));
  }
  Append(&out, ", \"max\": %.1f}, \"client_cpu_seconds\": %.6f", Micros(t.latency.max()),
         result.client_cpu_seconds);
  Append(&out, ", \"client_wait_seconds\": %.6f", result.client_wait_seconds);
  out += ", \"first_error\": " + JsonString(t.first_error);
  out += ", \"failure\": " + JsonString(t.failure) + "}\n";
  return out;
}

}  // namespace larder::bench
