// protocol/memcache/binary_storage.h — what a stored, or refused, value is answered with.

#pragma once

#include "core/store.h"
#include "protocol/memcache/binary_frame.h"

namespace larder::memcache {

// `fits_alone`: the value is not itself over the limit; a join is then only "not stored".
Status StoreStatus(uint8_t opcode, StoreResult result, bool fits_alone);

}  // namespace larder::memcache
