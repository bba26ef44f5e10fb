// tests/fuzz/twins.h — two stores that hear the same, one all at once and one in pieces.
//
// Whatever the bytes are, both must answer the same.  They live as long as the process: what one
// input leaves there, the next one finds.

#pragma once

#include <cstddef>
#include <string_view>

#include "tests/protocol/fixture.h"

namespace larder::test {

// Small, so that it is full soon.
[[nodiscard]] StoreOptions Tiny();

// Time passes, and what happens in the background; what prefixes have counted is forgotten.
void Age(World& world);

class Twins {
 public:
  explicit Twins(Client::Dialect dialect) : dialect_(dialect) {}

  // One client's whole conversation.  Aborts when the two hear different answers.
  void Play(std::string_view bytes, size_t piece);

 private:
  const Client::Dialect dialect_;
  World whole_{Tiny()};
  World cut_{Tiny()};
  unsigned played_ = 0;
};

// Whether `bytes` has a word so often that only the time for its long answers would grow.
[[nodiscard]] bool Repeats(std::string_view bytes, std::string_view word, size_t most);

}  // namespace larder::test
