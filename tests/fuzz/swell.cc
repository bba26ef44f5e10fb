#include "tests/fuzz/swell.h"

namespace larder::test {
namespace {

constexpr size_t kPair = 2;
constexpr size_t kMost = 36 << 10;

// How often a pair is there for each step of n.  256 steps of a value are 24 KiB, those of words a
// line that is longer than a line may be; empty lines stay as few as they are.
size_t TimesOf(std::string_view pair) {
  if (pair.find('\n') != std::string_view::npos) return 0;
  return pair.find(' ') == std::string_view::npos ? 48 : 5;
}

}  // namespace

std::string Swell(std::string_view bytes) {
  if (bytes.find(kSwell) == std::string_view::npos) return std::string(bytes);
  std::string swollen;
  size_t added = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != kSwell || i + 1 == bytes.size() || swollen.size() < kPair) {
      swollen += bytes[i];
      continue;
    }
    const size_t steps = 1U + static_cast<unsigned char>(bytes[++i]);
    const std::string pair = swollen.substr(swollen.size() - kPair);
    const size_t times = TimesOf(pair) * steps;
    if (added + kPair * times > kMost) continue;
    for (size_t n = 0; n < times; ++n) swollen += pair;
    added += kPair * times;
  }
  return swollen;
}

}  // namespace larder::test
