// tests/fuzz/text_fuzz.cc — the text and meta protocols, whole and in pieces.
//
// The same conversation is played to two stores, once as it is and once cut into pieces: whatever
// the bytes are, the replies must be the same.  Both stores live as long as the process: what one
// input leaves there, the next one finds.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/protocol/fixture.h"

namespace larder::test {
namespace {

StoreOptions Tiny() {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  return options;
}

// Two worlds that have seen the same.
struct Pair {
  World whole{Tiny()};
  World cut{Tiny()};
};

std::string Play(World& world, std::string_view bytes, size_t piece) {
  return Client(world, piece).Ask(bytes);
}

void PlayBoth(std::string_view bytes, size_t piece) {
  // Only watch may know, and does say, what arrived together with it.
  if (bytes.find("watch") != std::string_view::npos) return;
  static Pair* const pair = new Pair;  // never freed: the process ends with its last input
  static unsigned count = 0;
  const std::string whole = Play(pair->whole, bytes, std::string_view::npos);
  const std::string cut = Play(pair->cut, bytes, piece);
  if (whole != cut) {
    std::fprintf(stderr, "whole:\n%s\nin pieces of %zu:\n%s\n", whole.c_str(), piece, cut.c_str());
    std::abort();
  }
  if (++count % 4096 == 0) {
    for (World* world : {&pair->whole, &pair->cut}) {
      world->Advance(1000);
      world->store.RunMaintenance(world->context);
      world->store.CheckInvariants();
    }
  }
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  larder::test::PlayBoth(bytes.substr(1), 1U + data[0]);
  return 0;
}
