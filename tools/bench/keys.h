// tools/bench/keys.h — which key comes next, how it is spelled and what value it is given.
//
// Threads: KeySpace is read-only once made; an IndexSource belongs to one thread.
// A key's number decides its length, its value's length and its value's bytes, so a reply can be
// checked without remembering what was stored.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/bench/options.h"

namespace larder::bench {

// xoshiro256++ of D. Blackman and S. Vigna, 2019: cheap enough not to be the load's bottleneck.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // In [0, bound), for 0 < bound < 2^53.
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>(Fraction() * static_cast<double>(bound));
  }
  // In [0, 1).
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_[4];
};

class KeySpace {
 public:
  explicit KeySpace(const Options& options);

  // Writes the key of number `index` to `out`; returns where it ends.  REQUIRES: room for 250
  // bytes.
  char* WriteKey(char* out, uint64_t index, bool is_missing = false) const;

  // The bytes stored under key `index`; valid as long as this object.
  [[nodiscard]] std::string_view ValueOf(uint64_t index) const {
    return {filler_.data() + (index & (kFillerShift - 1)), SizeIn(value_size_, index)};
  }

  // The number in `key`; nullopt when WriteKey would not have written it.
  [[nodiscard]] std::optional<uint64_t> IndexOf(std::string_view key) const;

  [[nodiscard]] uint32_t max_value_bytes() const { return value_size_.max; }

 private:
  static constexpr uint64_t kFillerShift = 64;

  static uint32_t SizeIn(Range range, uint64_t index) {
    if (range.min == range.max) return range.min;
    const uint64_t mixed = (index + 1) * 0x9E3779B97F4A7C15ULL;
    return range.min + static_cast<uint32_t>((mixed >> 32) % (range.max - range.min + 1));
  }

  Range key_size_;
  Range value_size_;
  std::string filler_;
};

// W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
// distributions", 1996: exact, no table, so any number of keys costs the same.
class Zipf {
 public:
  Zipf(uint64_t count, double exponent);
  // A rank in [0, count); rank 0 is the most frequent.
  uint64_t Next(Random& random) const;

 private:
  [[nodiscard]] double Integral(double x) const;
  [[nodiscard]] double InverseIntegral(double y) const;

  double count_;
  double exponent_;
  double low_;
  double high_;
};

class IndexSource {
 public:
  // `sequence` is the counter that all threads of a sequential load share.
  IndexSource(const Options& options, std::atomic<uint64_t>* sequence);

  uint64_t Next(Random& random);

 private:
  uint64_t first_key_;
  uint64_t keys_;
  KeyOrder order_;
  Zipf zipf_;
  uint64_t scatter_;  // coprime to keys_: spreads the frequent ranks over the key space
  std::atomic<uint64_t>* sequence_;
};

}  // namespace larder::bench
