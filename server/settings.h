// server/settings.h — the rows of `stats settings`: the options, in memcached's order and format.
//
// Threads: any.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/options.h"

namespace larder::server {

// What is now, not what was asked for.
struct LiveSettings {
  const StoreTuning& tuning;
  uint64_t memory_bytes = 0;
  bool detail_enabled = false;
  int verbosity = 0;
  int tcp_port = 0;
  int udp_port = 0;
};

[[nodiscard]] std::vector<std::pair<std::string, std::string>> SettingsRows(
    const Options& options, const LiveSettings& live);

}  // namespace larder::server
