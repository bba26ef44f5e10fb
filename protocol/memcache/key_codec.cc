#include "protocol/memcache/key_codec.h"

#include <cstdint>

namespace larder::memcache {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNone = 64;

constexpr std::array<uint8_t, 256> kValues = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kNone);
  uint8_t value = 0;
  for (const char letter : kAlphabet) values[static_cast<unsigned char>(letter)] = value++;
  return values;
}();

}  // namespace

std::string_view DecodeKey(std::string_view text, std::array<char, kMaxKeyBytes>& room) {
  if (text.empty() || text.size() % 4 != 0) return {};
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  size_t out = 0;
  for (size_t at = 0; at < text.size(); at += 4) {
    const size_t digits = at + 4 == text.size() ? 4 - padding : 4;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; ++i) {
      const uint8_t value =
          i < digits ? kValues[static_cast<unsigned char>(text[at + i])] : uint8_t{0};
      if (value == kNone) return {};
      bits = bits << 6 | value;
    }
    for (size_t i = 0; i + 1 < digits; ++i) room[out++] = static_cast<char>(bits >> (16 - 8 * i));
  }
  return {room.data(), out};
}

std::string_view EncodeKey(std::string_view key, std::array<char, kMaxEncodedKey>& room) {
  size_t out = 0;
  for (size_t at = 0; at < key.size(); at += 3) {
    const size_t bytes = key.size() - at < 3 ? key.size() - at : 3;
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < bytes ? static_cast<unsigned char>(key[at + i]) : 0U);
    }
    for (size_t i = 0; i < 4; ++i) {
      room[out++] = i <= bytes ? kAlphabet[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return {room.data(), out};
}

}  // namespace larder::memcache
