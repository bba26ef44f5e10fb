// tests/fuzz/meta_fuzz.cc — the meta commands, whole and in pieces (see twins.h), and the two ways
// between a key and its base64.
//
// The first byte says how long the pieces are (see twins.h), kSwell stands for many (see swell.h).

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocol/memcache/key_codec.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/twins.h"

namespace larder::test {
namespace {

// What is a key is itself again; what is base64 is a key whose base64 means the same.
void CheckKeys(std::string_view bytes) {
  std::array<char, memcache::kMaxEncodedKey> encoded_room;
  std::array<char, kMaxKeyBytes> decoded_room;
  constexpr size_t kMostEncodable = kMaxKeyBytes / 4 * 3;
  const std::string_view key = bytes.substr(0, kMostEncodable);
  const std::string_view encoded = memcache::EncodeKey(key, encoded_room);
  if (memcache::DecodeKey(encoded, decoded_room) != key) std::abort();
  const std::string_view text = bytes.substr(0, kMaxKeyBytes);
  const std::string_view decoded = memcache::DecodeKey(text, decoded_room);
  if (decoded.empty()) return;
  const std::string_view again = memcache::EncodeKey(decoded, encoded_room);
  std::array<char, kMaxKeyBytes> again_room;
  if (again.size() != text.size() || memcache::DecodeKey(again, again_room) != decoded) {
    std::abort();
  }
}

void Play(uint8_t first, std::string_view bytes) {
  CheckKeys(bytes);
  for (const std::string_view other : {"watch", "stats", "dump", "memlimit", "slabs"}) {
    if (bytes.find(other) != std::string_view::npos) return;  // text_fuzz has them
  }
  static Stage& stage = *new Stage(Client::Dialect::kText);  // never freed
  stage.Play(first, bytes, false);
}

}  // namespace
}  // namespace larder::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return larder::test::PlayInput(data, size, larder::test::Play);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return larder::test::Mutate(data, size, max_size, seed, 1, [](std::string_view text, unsigned s) {
    return larder::test::RepairText(text, s % 2 == 0, s / 2);
  });
}
