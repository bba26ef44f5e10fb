// server/numbers.h — texts of the command line to numbers: the whole text counts, or it is refused.
//
// Threads: any.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/options.h"

namespace larder::server {

// A decimal integer, sign allowed.
[[nodiscard]] std::optional<int64_t> ParseInteger(std::string_view text);
// A decimal fraction that is finite.
[[nodiscard]] std::optional<double> ParseFraction(std::string_view text);
// An integer with k, m or g behind it (1024s, any case, an optional b); a bare one counts `unit`s.
[[nodiscard]] std::optional<uint64_t> ParseBytes(std::string_view text, uint64_t unit);
// Yes, on, true, 1 or nothing at all; no, off, false or 0.
[[nodiscard]] std::optional<bool> ParseSwitch(std::string_view text);

// "-p: '11211x' is not a number; did you mean 11211?"
[[nodiscard]] std::string NotANumber(std::string_view what, std::string_view text);
// "-o track_sizes: it is yes or no, not 'maybe'"
[[nodiscard]] std::string NotASwitch(std::string_view what, std::string_view text);

}  // namespace larder::server
