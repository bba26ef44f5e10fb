// protocol/memcache/stats.h — the groups of `stats`, each by its exact name.

#pragma once

#include <string>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/memcache/stat_text.h"

namespace larder::memcache {

// What the rows of all groups are made from, read once for a reply.
struct StatSource {
  const StatsTotals& totals;
  const StoreInfo& store;
  const StoreOptions& options;
  const StoreTuning& tuning;
  const ServerInfo& server;
  bool has_idle_timeout;
};

// Writes the rows of the group of this name; false when there is none.
[[nodiscard]] bool WriteStats(Store& store, Host& host, std::string_view group, StatText& text);
void ResetStats(Store& store, Host& host);
// `stats detail on` and `off`; false when it is another word.
[[nodiscard]] bool SwitchDetail(Store& store, std::string_view word);
// What `stats detail dump` answers, its END included.
[[nodiscard]] std::string PrefixText(Store& store);

void GeneralStats(Store& store, Host& host, StatText& text);
void LarderStats(Store& store, Host& host, StatText& text);
// The keys asked for most, from the first one on.
void TopKeyStats(Store& store, Host& host, StatText& text);
void ItemStats(Store& store, Host& host, StatText& text);
void SlabStats(Store& store, Host& host, StatText& text);

}  // namespace larder::memcache
