// core/base/uri.h — keys as dumps and watchers print them: percent-encoded, so that any byte fits a
// line.
//
// Source: RFC 3986, section 2.3, unreserved characters.

#pragma once

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

}  // namespace larder
