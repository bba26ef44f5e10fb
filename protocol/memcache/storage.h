// protocol/memcache/storage.h — what a stored, or refused, value is answered with.

#pragma once

#include <string_view>

#include "core/store.h"
#include "protocol/memcache/command.h"

namespace larder::memcache {

std::string_view StoreReply(StoreResult result);

// For a value that was put behind or before another one.  `fits_alone`: it is not itself over the
// limit, so that kTooLarge is about the two together, which memcached calls not stored.
StoreResult JoinResult(StoreResult result, bool fits_alone);

// Stores a small value; a join that is too large only together is kNotStored.
StoreResult PutValue(CommandContext& ctx, const StoreRequest& request, std::string_view value,
                     StoreAnswer* answer);

// Begins the upload of the large value that follows `frame`, or to skip it.
Outcome BeginLarge(CommandContext& ctx, const Frame& frame, const StoreRequest& request);

}  // namespace larder::memcache
