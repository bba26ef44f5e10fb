// protocol/big_endian.h — numbers as networks write them: the highest byte first.
//
// All of these read or write exactly as many bytes as the number has, at any alignment.

#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace larder {

static_assert(std::endian::native == std::endian::little, "what follows swaps bytes");

[[nodiscard]] inline uint16_t LoadBig16(const char* from) {
  uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return __builtin_bswap16(value);
}

[[nodiscard]] inline uint32_t LoadBig32(const char* from) {
  uint32_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return __builtin_bswap32(value);
}

[[nodiscard]] inline uint64_t LoadBig64(const char* from) {
  uint64_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return __builtin_bswap64(value);
}

inline void StoreBig16(char* to, uint16_t value) {
  value = __builtin_bswap16(value);
  std::memcpy(to, &value, sizeof(value));
}

inline void StoreBig32(char* to, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(to, &value, sizeof(value));
}

inline void StoreBig64(char* to, uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof(value));
}

}  // namespace larder
