// protocol/memcache/storage.h — what a stored, or refused, value is answered with.

#pragma once

#include <string_view>

#include "core/store.h"

namespace larder::memcache {

std::string_view StoreReply(StoreResult result);

}  // namespace larder::memcache
