// core/base/uri.h — keys as dumps and watchers print them: percent-encoded, so that any byte fits a
// line.
//
// Source: RFC 3986, section 2.3, unreserved characters.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace larder {

inline constexpr std::string_view kHexDigits = "0123456789ABCDEF";

// Appends `text` with every byte but letters, digits and -._~ as %HH.
inline void AppendUriEncoded(std::string_view text, std::string& out) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.append("%").append(1, kHexDigits[byte >> 4]).append(1, kHexDigits[byte & 15]);
  }
}

// True when the key can stand in a line of text without ending the word or the line.
inline bool FitsALine(std::string_view key) {
  return key.find_first_of(" \r\n") == std::string_view::npos;
}

// As it is when it can stand in a line of text, else encoded.
inline void AppendForALine(std::string_view key, std::string& out) {
  if (FitsALine(key)) {
    out.append(key);
  } else {
    AppendUriEncoded(key, out);
  }
}

// The other way; null when a % is not followed by two hexadecimal digits.
inline std::optional<std::string> UriDecoded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = high < 0 ? -1 : digit(text[i + 2]);
    if (low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace larder
