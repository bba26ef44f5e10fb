// protocol/memcache/top_keys.cc — `stats topkeys`: which keys are asked for most.
//
//   STAT one_in 512           a request in so many was counted, by chance
//   STAT samples 15625        so many were, in
//   STAT seconds 10           so many seconds: since the start, or the last `stats reset`
//   STAT 1:key user%3A1       the most wanted key, URI-encoded
//   STAT 1:requests 250112    for it, estimated
//   STAT 1:per_second 25011   on average
//   STAT 1:error 640          of them, at most so many were for other keys

#include <algorithm>
#include <cmath>
#include <string>

#include "core/base/uri.h"
#include "protocol/memcache/stats.h"

namespace larder::memcache {
namespace {

constexpr size_t kShown = 20;

}  // namespace

void TopKeyStats(Store& store, Host& /*host*/, StatText& text) {
  const HotKeys::Report report = store.hot_keys().Top(kShown);
  text.Add("one_in", KeySketch::kOneIn);
  text.Add("samples", report.samples);
  text.Add("seconds", static_cast<uint64_t>(report.seconds));
  size_t rank = 0;
  for (const HotKeys::Entry& entry : report.top) {
    const std::string prefix = StatNumber(++rank) + ":";
    std::string key;
    AppendUriEncoded(entry.key, key);
    text.Add(prefix, "key", key);
    text.Add(prefix, "requests", StatNumber(entry.requests));
    const double seconds = std::max(report.seconds, 1.0);
    const double per_second = std::round(static_cast<double>(entry.requests) / seconds);
    text.Add(prefix, "per_second", StatNumber(static_cast<uint64_t>(per_second)));
    text.Add(prefix, "error", StatNumber(entry.error));
  }
}

}  // namespace larder::memcache
