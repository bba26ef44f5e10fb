// core/base/bytes.h — comparing, copying and searching short runs of bytes without a call.
//
// For keys and small values, where a call of memcmp or memcpy costs as much as its work.

#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace larder {

inline uint64_t Load64(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

inline uint32_t Load32(const char* at) {
  uint32_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Word by word; the last word overlaps the one before it.
inline bool SameBytes(const char* a, const char* b, size_t n) {
  if (n >= 8) {
    for (size_t i = 0; i + 8 < n; i += 8) {
      if (Load64(a + i) != Load64(b + i)) return false;
    }
    return Load64(a + n - 8) == Load64(b + n - 8);
  }
  if (n >= 4) return Load32(a) == Load32(b) && Load32(a + n - 4) == Load32(b + n - 4);
  for (size_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

// REQUIRES: the two do not overlap.
inline void CopyBytes(char* to, const char* from, size_t n) {
  constexpr size_t kStep = 16;
  if (n > 4 * kStep) {
    std::memcpy(to, from, n);
  } else if (n >= kStep) {
    for (size_t i = 0; i + kStep < n; i += kStep) std::memcpy(to + i, from + i, kStep);
    std::memcpy(to + n - kStep, from + n - kStep, kStep);
  } else if (n >= 8) {
    std::memcpy(to, from, 8);
    std::memcpy(to + n - 8, from + n - 8, 8);
  } else {
    for (size_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

// Where the first `a` or `b` is in `text`; its size when there is none.
inline size_t FindEither(std::string_view text, char a, char b) {
  const char* const bytes = text.data();
  const size_t n = text.size();
  size_t i = 0;
#ifdef __SSE2__
  constexpr size_t kStep = 16;
  if (n >= kStep) {
    const __m128i wanted_a = _mm_set1_epi8(a);
    const __m128i wanted_b = _mm_set1_epi8(b);
    for (;;) {
      const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
      const __m128i hits =
          _mm_or_si128(_mm_cmpeq_epi8(some, wanted_a), _mm_cmpeq_epi8(some, wanted_b));
      if (const auto found = static_cast<unsigned>(_mm_movemask_epi8(hits)); found != 0) {
        return i + static_cast<size_t>(std::countr_zero(found));
      }
      i += kStep;
      if (i == n) return n;
      if (i > n - kStep) i = n - kStep;  // what was looked at before had none
    }
  }
#endif
  while (i < n && bytes[i] != a && bytes[i] != b) ++i;
  return i;
}

}  // namespace larder
