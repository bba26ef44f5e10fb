// server/settings.h — the rows of `stats settings`: the options, in memcached's order and format.
//
// Threads: any.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/options.h"

namespace larder::server {

// `verbosity` and `tcp_port` are what they are now, not what was asked for.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> SettingsRows(const Options& options,
                                                                            int verbosity,
                                                                            int tcp_port);

}  // namespace larder::server
