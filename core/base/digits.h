// core/base/digits.h — a whole number as decimal text, without a string.

#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <string_view>

namespace larder {

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
  std::array<char, 20> text_;  // 2^64 - 1, -2^63
  size_t size_;
};

}  // namespace larder
