// tests/fuzz/text_fuzz.cc — the text protocol, whole and in pieces (see twins.h).
//
// The first byte says how long the pieces are.

#include <cstdint>
#include <string_view>

#include "tests/fuzz/mutate.h"
#include "tests/fuzz/twins.h"

namespace larder::test {
namespace {

void Play(std::string_view bytes, size_t piece) {
  // Only watch may know, and does say, what arrived together with it.
  if (bytes.find("watch") != std::string_view::npos) return;
  if (Repeats(bytes, "stats", 2) || Repeats(bytes, "dump", 2)) return;
  static Twins& twins = *new Twins(Client::Dialect::kText);  // never freed
  twins.Play(bytes, piece);
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  larder::test::Play(bytes.substr(1), 1U + data[0]);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return larder::test::Mutate(data, size, max_size, seed, 1, [](std::string_view text, unsigned s) {
    return larder::test::RepairText(text, false, s);
  });
}
