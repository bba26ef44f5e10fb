// tests/fuzz/binary_fuzz.cc — the binary protocol, whole and in pieces (see twins.h).
//
// The first byte says how long the pieces are (see twins.h), kSwell stands for many (see swell.h).

#include <cstdint>
#include <string_view>

#include "tests/fuzz/mutate.h"
#include "tests/fuzz/swell.h"
#include "tests/fuzz/twins.h"

namespace larder::test {
namespace {

void Play(uint8_t first, std::string_view bytes) {
  constexpr std::string_view kStat = "\x80\x10";
  if (Repeats(bytes, kStat, 2)) return;
  static Stage& stage = *new Stage(Client::Dialect::kBinary);  // never freed
  const auto has = [bytes](auto word) { return bytes.find(word) != std::string_view::npos; };
  stage.Play(first, bytes, has(kSwell) && has(kStat));
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return larder::test::PlayInput(data, size, larder::test::Play);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return larder::test::Mutate(data, size, max_size, seed, 1, larder::test::RepairPackets);
}
