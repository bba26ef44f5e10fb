// protocol/memcache/storage.h — what a stored, or refused, value is answered with.

#pragma once

#include <string_view>

#include "core/store.h"

namespace larder::memcache {

std::string_view StoreReply(StoreResult result);

// The same for a value that was put behind or before another one.  `fits_alone`: it is not itself
// over the limit, so that kTooLarge is about the two together, which memcached calls NOT_STORED.
std::string_view JoinReply(StoreResult result, bool fits_alone);

}  // namespace larder::memcache
