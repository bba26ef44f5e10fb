// protocol/memcache/dump.h — listing keys: lru_crawler metadump and mgdump, stats cachedump.

#pragma once

#include <string_view>

#include "protocol/memcache/command.h"

namespace larder::memcache {

// `rest` is what stands behind the word.
Outcome MetaDump(CommandContext& ctx, std::string_view rest);
Outcome MgDump(CommandContext& ctx, std::string_view rest);
Outcome CacheDump(CommandContext& ctx, std::string_view rest);

}  // namespace larder::memcache
