// tests/fuzz/swell.h — small inputs that say large ones, so that large values are tried as well.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace larder::test {

// In front of a byte n: once more, n + 1 times as much of the two bytes before it.
inline constexpr char kSwell = '\xf7';

// `bytes` with all of that written out; no more of it than two large values need.
[[nodiscard]] std::string Swell(std::string_view bytes);

}  // namespace larder::test
