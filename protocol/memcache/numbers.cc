#include "protocol/memcache/numbers.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace larder::memcache {
namespace {

constexpr int64_t kMaxRelativeSeconds = 2592000;
// Far enough for anybody, near enough that its milliseconds cannot overflow.
constexpr int64_t kMaxAheadSeconds = int64_t{1} << 40;

// All of `text` as digits; from_chars alone would take a sign or stop early.
template <typename Number>
std::optional<Number> ParseDigits(std::string_view text, size_t max_chars) {
  constexpr size_t kShort = 9;  // any such number fits
  if (text.size() - 1 < kShort) {
    Number number = 0;
    for (const char c : text) {
      if (c < '0' || c > '9') return std::nullopt;
      number = number * 10 + static_cast<Number>(c - '0');
    }
    return number;
  }
  if (text.empty() || text.size() > max_chars || text.front() < '0' || text.front() > '9') {
    return std::nullopt;
  }
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::string_view WithoutPlus(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  return text;
}

}  // namespace

std::optional<uint64_t> ParseUint64(std::string_view text) {
  return ParseDigits<uint64_t>(text, 22);
}

std::optional<uint32_t> ParseUint32(std::string_view text) {
  return ParseDigits<uint32_t>(text, 11);
}

std::optional<int32_t> ParseInt32(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto digits = ParseDigits<int64_t>(text, 11);
  if (!digits) return std::nullopt;
  const int64_t value = negative ? -*digits : *digits;
  using Limits = std::numeric_limits<int32_t>;
  if (value < Limits::min() || value > Limits::max()) return std::nullopt;
  return static_cast<int32_t>(value);
}

std::optional<double> ParseDecimal(std::string_view text) {
  constexpr size_t kMostChars = 32;
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  // Neither "inf" nor "nan".
  const size_t first = text.find_first_not_of("-.");
  if (text.size() > kMostChars || first > 2 || text[first] < '0' || text[first] > '9') {
    return std::nullopt;
  }
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<ClassSet> ParseClasses(std::string_view text, size_t most) {
  ClassSet classes;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    const auto id = ParseUint32(text.substr(0, comma));
    if (!id || *id == 0 || *id > most || *id >= classes.size()) return std::nullopt;
    classes.set(*id);
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return classes;
}

std::optional<size_t> ParseValueBytes(std::string_view text) {
  const auto value = ParseDigits<uint32_t>(text, 11);
  constexpr uint32_t kMost = std::numeric_limits<int32_t>::max() - 2;
  if (!value || *value > kMost) return std::nullopt;
  return *value;
}

std::optional<uint32_t> ParseFlags(std::string_view text) {
  return ParseDigits<uint32_t>(WithoutPlus(text), std::string_view::npos);
}

std::optional<int64_t> ParseExptime(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto value =
      ParseDigits<uint64_t>(negative ? text : WithoutPlus(text), std::string_view::npos);
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value || *value > kMost + (negative ? 1 : 0)) return std::nullopt;
  return static_cast<int64_t>(negative ? 0 - *value : *value);
}

Deadline DeadlineOf(int64_t exptime, TimeMs now, const Clock& clock) {
  if (exptime == 0) return kNever;
  if (exptime < 0) return kAtOnce;
  int64_t ahead = exptime;
  if (exptime > kMaxRelativeSeconds) ahead = exptime - clock.WallSeconds();
  if (ahead <= 0) return kAtOnce;
  return now + static_cast<uint64_t>(std::min(ahead, kMaxAheadSeconds)) * 1000;
}

}  // namespace larder::memcache
