// tests/fuzz/twins.h — two stores that hear the same, one all at once and one in pieces.
//
// Whatever the bytes are, both must answer the same.  They live as long as the process: what one
// input leaves there, the next one finds.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/protocol/fixture.h"

namespace larder::test {

// Small, so that it is full soon.
[[nodiscard]] StoreOptions Tiny();

// Time passes, and what happens in the background; what prefixes have counted is forgotten.
void Age(World& world);

class Twins {
 public:
  Twins(Client::Dialect dialect, const StoreOptions& options);

  // One client's whole conversation.  Aborts when the two hear different answers.
  void Play(std::string_view bytes, size_t piece);
  void Age();

 private:
  const Client::Dialect dialect_;
  World whole_;
  World cut_;
  std::string heard_whole_;  // kept, as they may be long
  std::string heard_cut_;
};

// All stores that one fuzzer plays on.
class Stage {
 public:
  explicit Stage(Client::Dialect dialect);

  // `first` says how long the pieces are, and where it is played.  `alone`: not by twins, because
  // answers may tell what arrived together, or what memory is in use meanwhile.
  void Play(uint8_t first, std::string_view bytes, bool alone);

 private:
  void PlayAlone(std::string_view bytes, size_t piece);

  const Client::Dialect dialect_;
  Twins small_;
  // For large values: how soon their memory is free depends on the pieces, so there is always
  // enough of it, and often all of it.
  std::optional<Twins> roomy_;
  unsigned roomy_played_ = 0;
  World full_;  // it evicts nothing, and has no twin
  std::string heard_;
  unsigned played_ = 0;
};

// An input of a fuzzer: its first byte, and what stands behind it.  Returns what libFuzzer wants.
inline int PlayInput(const uint8_t* data, size_t size,
                     void (*play)(uint8_t first, std::string_view bytes)) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  play(data[0], bytes.substr(1));
  return 0;
}

// Whether `bytes` has a word so often that only the time for its long answers would grow.
[[nodiscard]] bool Repeats(std::string_view bytes, std::string_view word, size_t most);

}  // namespace larder::test
