#include "protocol/memcache/auth.h"

namespace larder::memcache {

bool FailureLimit::Fail(uint8_t& failures_of_client, TimeMs now) {
  const uint64_t second = (now / 1000) << 32;
  uint64_t window = window_.load(std::memory_order_relaxed);
  uint64_t next = 0;
  do {
    const bool same = (window >> 32 << 32) == second;
    const uint64_t count = same ? window & 0xffffffff : 0;
    next = second | (count < kPerSecond ? count + 1 : count);
  } while (!window_.compare_exchange_weak(window, next, std::memory_order_relaxed));
  if (failures_of_client < kPerClient) ++failures_of_client;
  return failures_of_client >= kPerClient || (next & 0xffffffff) >= kPerSecond;
}

}  // namespace larder::memcache
