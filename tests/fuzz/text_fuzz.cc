// tests/fuzz/text_fuzz.cc — the text protocol, whole and in pieces (see twins.h).
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
  if (Repeats(bytes, "stats", 2) || Repeats(bytes, "dump", 2)) return;
  static Stage& stage = *new Stage(Client::Dialect::kText);  // never freed
  const auto has = [bytes](auto word) { return bytes.find(word) != std::string_view::npos; };
  const bool tells_memory = has("stats") || has("dump") || has("memlimit") || has("slabs");
  // Only watch may know, and does say, what arrived together with it.
  stage.Play(first, bytes, has("watch") || (has(kSwell) && tells_memory));
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return larder::test::PlayInput(data, size, larder::test::Play);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return larder::test::Mutate(data, size, max_size, seed, 1, [](std::string_view text, unsigned s) {
    return larder::test::RepairText(text, false, s);
  });
}
