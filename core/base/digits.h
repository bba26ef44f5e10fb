// core/base/digits.h — whole numbers as decimal text, without a string.

#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace larder {

inline constexpr size_t kMaxDecimal = 20;  // bytes: 2^64 - 1, -2^63

// Writes the digits to `to`, which has room for kMaxDecimal of them; returns their end.  Short ones
// without a loop.
inline char* WriteDecimal(char* to, uint64_t number) {
  const auto digit = [](uint64_t value) { return static_cast<char>('0' + value); };
  if (number < 10) {
    *to = digit(number);
    return to + 1;
  }
  if (number < 100) {
    to[0] = digit(number / 10);
    to[1] = digit(number % 10);
    return to + 2;
  }
  if (number < 1000) {
    to[0] = digit(number / 100);
    to[1] = digit(number / 10 % 10);
    to[2] = digit(number % 10);
    return to + 3;
  }
  return std::to_chars(to, to + kMaxDecimal, number).ptr;
}

class Digits {
 public:
  template <std::integral Number>
  explicit Digits(Number number) {
    const char* const end = std::to_chars(text_.data(), text_.data() + text_.size(), number).ptr;
    size_ = static_cast<size_t>(end - text_.data());
  }
  Digits(const Digits&) = delete;
  Digits& operator=(const Digits&) = delete;

  // Borrowed from this.
  [[nodiscard]] std::string_view text() const { return {text_.data(), size_}; }

 private:
  std::array<char, kMaxDecimal> text_;
  size_t size_;
};

}  // namespace larder
