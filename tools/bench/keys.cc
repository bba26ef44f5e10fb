// tools/bench/keys.cc — random numbers, key spelling and the Zipf sampler.

#include "tools/bench/keys.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

namespace larder::bench {
namespace {

constexpr char kDigitPairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

uint64_t SplitMix(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// About keys / golden ratio, then the next number that shares no factor with `keys`.
uint64_t CoprimeNear(uint64_t keys) {
  auto candidate = static_cast<uint64_t>(static_cast<double>(keys) * 0.6180339887);
  if (candidate == 0) candidate = 1;
  while (std::gcd(candidate, keys) != 1) ++candidate;
  return candidate;
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix(&seed);
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

KeySpace::KeySpace(const Options& options)
    : key_size_(options.key_size),
      value_size_(options.numeric ? Range{10, 10} : options.value_size) {
  filler_.resize(value_size_.max + kFillerShift);
  Random random(options.seed);
  for (char& c : filler_) {
    c = options.numeric ? '1' : static_cast<char>('a' + random.Below(26));
  }
}

char* KeySpace::WriteKey(char* out, uint64_t index, bool is_missing) const {
  const uint32_t size = SizeIn(key_size_, index);
  std::memset(out, '0', size);
  char* digit = out + size;
  while (index >= 100) {
    digit -= 2;
    std::memcpy(digit, kDigitPairs + 2 * (index % 100), 2);
    index /= 100;
  }
  if (index >= 10) {
    std::memcpy(digit - 2, kDigitPairs + 2 * index, 2);
  } else {
    digit[-1] = static_cast<char>('0' + index);
  }
  *out = is_missing ? 'm' : 'k';
  return out + size;
}

std::optional<uint64_t> KeySpace::IndexOf(std::string_view key) const {
  if (key.size() < key_size_.min || key.size() > key_size_.max || key[0] != 'k') {
    return std::nullopt;
  }
  uint64_t index = 0;
  for (const char c : key.substr(1)) {
    if (c < '0' || c > '9') return std::nullopt;
    index = index * 10 + static_cast<uint64_t>(c - '0');
  }
  if (SizeIn(key_size_, index) != key.size()) return std::nullopt;
  return index;
}

Zipf::Zipf(uint64_t count, double exponent)
    : count_(static_cast<double>(count)),
      exponent_(exponent),
      low_(Integral(1.5) - 1.0),
      high_(Integral(count_ + 0.5)) {}

// The integral of x^-exponent, up to a constant.
double Zipf::Integral(double x) const {
  const double log_x = std::log(x);
  const double t = (1.0 - exponent_) * log_x;
  return std::abs(t) < 1e-8 ? log_x : log_x * std::expm1(t) / t;
}

double Zipf::InverseIntegral(double y) const {
  const double t = y * (1.0 - exponent_);
  return std::abs(t) < 1e-8 ? std::exp(y) : std::exp(y * std::log1p(t) / t);
}

uint64_t Zipf::Next(Random& random) const {
  while (true) {
    const double u = high_ + random.Fraction() * (low_ - high_);
    const double x = InverseIntegral(u);
    const double k = std::min(std::max(std::floor(x + 0.5), 1.0), count_);
    if (u >= Integral(k + 0.5) - std::exp(-exponent_ * std::log(k))) {
      return static_cast<uint64_t>(k) - 1;
    }
  }
}

IndexSource::IndexSource(const Options& options, std::atomic<uint64_t>* sequence)
    : first_key_(options.first_key),
      keys_(options.keys),
      order_(options.order),
      zipf_(options.keys, options.zipf),
      scatter_(CoprimeNear(options.keys)),
      sequence_(sequence) {}

uint64_t IndexSource::Next(Random& random) {
  switch (order_) {
    case KeyOrder::kSequential:
      return first_key_ + sequence_->fetch_add(1, std::memory_order_relaxed) % keys_;
    case KeyOrder::kZipf:
      return first_key_ + zipf_.Next(random) * scatter_ % keys_;
    case KeyOrder::kUniform:
      break;
  }
  return first_key_ + random.Below(keys_);
}

}  // namespace larder::bench
