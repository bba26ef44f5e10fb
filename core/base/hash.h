// core/base/hash.h — the key hash: 64 bits, seeded per store so that clients cannot aim at a
// bucket.
//
// Source: XXH3 of Y. Collet's xxHash, inlined.

#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace larder {

class KeyHasher {
 public:
  explicit KeyHasher(uint64_t seed) : seed_(seed) {}
  uint64_t operator()(std::string_view key) const {
    return XXH3_64bits_withSeed(key.data(), key.size(), seed_);
  }
  uint64_t seed() const { return seed_; }

 private:
  uint64_t seed_;
};

}  // namespace larder
