// core/base/set_hash.h — telling whether two multisets are the same without holding either: by the
// sum of a hash of each element.
//
// The hash has random keys that nobody else knows.  Two sums that are equal are those of the same
// elements then, but for a chance of about 2^-64, also when somebody chose the elements, provided
// that those of one side are known to be all different.
//
// Source: M. Blum et al., "Checking the correctness of memories", Algorithmica 12, 1994; D. Clarke
// et al., "Incremental multiset hash functions", ASIACRYPT 2003.  The hash multiplies and folds, as
// wyhash does.
// Threads: any; immutable after construction.

#pragma once

#include <array>
#include <cstdint>

#include "absl/numeric/int128.h"

namespace larder {

class SetHash {
 public:
  using Keys = std::array<uint64_t, 2>;
  explicit SetHash(const Keys& keys) : keys_(keys) {}
  // Of the element (a, b).
  uint64_t operator()(uint64_t a, uint64_t b) const {
    const absl::uint128 product = absl::uint128(a ^ keys_[0]) * absl::uint128(b ^ keys_[1]);
    return absl::Uint128Low64(product) ^ absl::Uint128High64(product);
  }

 private:
  const Keys keys_;
};

}  // namespace larder
