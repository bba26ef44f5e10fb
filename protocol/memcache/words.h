// protocol/memcache/words.h — cutting a command line at its blanks.
//
// Only the blank (0x20) separates; a TAB is part of a word.  Nothing here copies.

#pragma once

#include <string_view>

#include "core/base/bytes.h"

namespace larder::memcache {

inline constexpr std::string_view kNoreply = "noreply";

inline void SkipBlanks(std::string_view& text) {
  size_t n = 0;
  while (n < text.size() && text[n] == ' ') ++n;
  text.remove_prefix(n);
}

// The next word of `rest`, which becomes what is behind it; empty when there is none.
inline std::string_view NextWord(std::string_view& rest) {
  SkipBlanks(rest);
  const std::string_view word = rest.substr(0, FindEither(rest, ' ', ' '));
  rest.remove_prefix(word.size());
  return word;
}

// The last word of `text`; empty when there is none.
inline std::string_view LastWord(std::string_view text) {
  while (text.ends_with(' ')) text.remove_suffix(1);
  const size_t blank = text.rfind(' ');
  return blank == std::string_view::npos ? text : text.substr(blank + 1);
}

// Whether a word of `text` has more than `most` bytes.  Looks at few of them: among any most + 1 in
// a row there has to be a blank.
inline bool HasLongWord(std::string_view text, size_t most) {
  while (text.size() > most) {
    const size_t blank = text.substr(0, most + 1).rfind(' ');
    if (blank == std::string_view::npos) return true;
    text.remove_prefix(blank + 1);
  }
  return false;
}

inline bool AsksNoReply(std::string_view text) {
  // Cheap first: nearly every line ends with something else.
  if (text.size() < kNoreply.size()) return false;
  return LastWord(text) == kNoreply;
}

}  // namespace larder::memcache
