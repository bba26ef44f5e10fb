#include "tests/fuzz/twins.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace larder::test {

StoreOptions Tiny() {
  StoreOptions options = World::Small();
  options.memory_bytes = 8 << 20;
  return options;
}

void Age(World& world) {
  world.Advance(1000);
  world.store.RunMaintenance(world.context);
  world.store.CheckInvariants();
  world.store.stats().Reset();
}

void Twins::Play(std::string_view bytes, size_t piece) {
  const std::string whole = Client(whole_, std::string_view::npos, dialect_).Ask(bytes);
  const std::string cut = Client(cut_, piece, dialect_).Ask(bytes);
  if (whole != cut) {
    std::fprintf(stderr, "whole:\n%s\nin pieces of %zu:\n%s\n", whole.c_str(), piece, cut.c_str());
    std::abort();
  }
  constexpr unsigned kEvery = 2048;
  if (++played_ % kEvery != 0) return;
  Age(whole_);
  Age(cut_);
}

bool Repeats(std::string_view bytes, std::string_view word, size_t most) {
  size_t count = 0;
  for (size_t at = bytes.find(word); at != std::string_view::npos;
       at = bytes.find(word, at + word.size())) {
    if (++count > most) return true;
  }
  return false;
}

}  // namespace larder::test
