#include "tests/fuzz/swell.h"

namespace larder::test {
namespace {

constexpr size_t kPair = 2;
constexpr size_t kMost = 36 << 10;

// How often a pair is there for each step of n: 256 steps are 18 KiB.  Words and lines stay as few
// as they are, for each would be answered.
size_t TimesOf(std::string_view pair) {
  return pair.find_first_of(" \n") == std::string_view::npos ? 36 : 0;
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
    const size_t start = swollen.size() - kPair;
    const size_t more = kPair * TimesOf(std::string_view(swollen).substr(start)) * steps;
    if (added + more > kMost) continue;
    added += more;
    for (const size_t end = swollen.size() + more; swollen.size() < end;) {  // it doubles each time
      swollen.append(swollen.substr(start, end - swollen.size()));
    }
  }
  return swollen;
}

}  // namespace larder::test
