// server/config_file.h — options from a file and from the environment, for --config and for
// containers.
//
// Threads: the main one, at the start.  What a file says is bounded and never trusted: its size,
// its lines, and each value by the rules of the command line.
//
//   memory-limit = 64          a flag by its long name; a switch by its name alone, or = yes, = no
//   hot_lru_pct = 30           a suboption of -o by its name
//   -m 64                      a flag as on the command line, one a line, as in /etc/memcached.conf
//   # a comment                also behind a value, after a blank

#pragma once

#include <string>
#include <string_view>

#include "server/options.h"

namespace larder::server {

inline constexpr size_t kMaxConfigBytes = 64 << 10;
inline constexpr size_t kMaxConfigLine = 4096;

// Applies every line of `text` to `options`.  A refusal names `file` and the line.
[[nodiscard]] Refusal ApplyConfig(std::string_view text, const std::string& file, Options& options);

// The same for the file at `path`; one that cannot be read is refused (kExitUsage).
[[nodiscard]] Refusal ApplyConfigFile(const std::string& path, Options& options);

// Applies the variables of the usual container images: MEMCACHED_CACHE_SIZE and so on, each also
// as a file's path with _FILE behind its name.
[[nodiscard]] Refusal ApplyEnvironment(const Environment& environment, Options& options);

}  // namespace larder::server
