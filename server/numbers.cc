#include "server/numbers.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace larder::server {
namespace {

std::string_view WithoutPlus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

}  // namespace

std::optional<int64_t> ParseInteger(std::string_view text) {
  text = WithoutPlus(text);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> ParseFraction(std::string_view text) {
  text = WithoutPlus(text);
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<uint64_t> ParseBytes(std::string_view text, uint64_t unit) {
  text = WithoutPlus(text);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  if (suffix.size() == 2 && (suffix[1] == 'b' || suffix[1] == 'B')) suffix.remove_suffix(1);
  if (suffix.size() > 1) return std::nullopt;
  if (suffix.size() == 1) {
    switch (suffix[0]) {
      case 'k':
      case 'K':
        unit = 1ULL << 10;
        break;
      case 'm':
      case 'M':
        unit = 1ULL << 20;
        break;
      case 'g':
      case 'G':
        unit = 1ULL << 30;
        break;
      default:
        return std::nullopt;
    }
  }
  if (value > std::numeric_limits<uint64_t>::max() / unit) return std::nullopt;
  return value * unit;
}

std::optional<bool> ParseSwitch(std::string_view value) {
  for (const std::string_view yes : {"", "yes", "on", "true", "1"}) {
    if (value == yes) return true;
  }
  for (const std::string_view no : {"no", "off", "false", "0"}) {
    if (value == no) return false;
  }
  return std::nullopt;
}

std::string NotANumber(std::string_view what, std::string_view text) {
  const std::string line = std::string(what) + ": '" + std::string(text) + "'";
  int64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (end == last && end != text.data()) return line + " is out of range";
  if (error != std::errc()) return line + " is not a number";
  return line + " is not a number; did you mean " + std::to_string(value) + "?";
}

std::string NotASwitch(std::string_view what, std::string_view text) {
  return std::string(what) + ": it is yes or no, not '" + std::string(text) + "'";
}

}  // namespace larder::server
