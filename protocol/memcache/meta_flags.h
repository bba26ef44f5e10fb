// protocol/memcache/meta_flags.h — the flags behind a meta command's key: read, and answered.
//
// A flag is one letter with its argument right behind it.  One list of letters serves all commands;
// a command ignores those that it has no use for.  Facts: memcached's doc/protocol.txt, "Meta
// Commands".  Nothing here allocates, and nothing keeps the line.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/reply_writer.h"

namespace larder::memcache {

// A set of letters, 'A' to 'z'.
using MetaLetters = uint64_t;
constexpr MetaLetters MetaLetter(char letter) { return uint64_t{1} << (letter - 'A'); }
constexpr MetaLetters MetaLettersOf(std::string_view letters) {
  MetaLetters set = 0;
  for (const char letter : letters) set |= MetaLetter(letter);
  return set;
}

// What a line asked for.
class MetaFlags {
 public:
  // Reads `args`, what is behind the key (and the length).  Returns the error to answer, empty when
  // all is well.  `words_before`: words of the line that are not flags, for the limit.
  std::string_view Parse(std::string_view args, size_t words_before);

  [[nodiscard]] bool has(char letter) const { return (seen_ & MetaLetter(letter)) != 0; }
  // The words of the flags, as they were sent; borrowed from the line.
  [[nodiscard]] std::string_view words() const { return words_; }
  [[nodiscard]] MetaLetters seen() const { return seen_; }

  // Arguments; what they are without their flag is said here.
  [[nodiscard]] int64_t ttl() const { return ttl_; }                     // T
  [[nodiscard]] int64_t create_ttl() const { return create_ttl_; }       // N
  [[nodiscard]] int64_t recache() const { return recache_; }             // R
  [[nodiscard]] uint64_t cas() const { return cas_; }                    // C
  [[nodiscard]] uint64_t new_cas() const { return new_cas_; }            // E, 0
  [[nodiscard]] uint64_t delta() const { return delta_; }                // D, 1
  [[nodiscard]] uint64_t initial() const { return initial_; }            // J, 0
  [[nodiscard]] uint32_t client_flags() const { return client_flags_; }  // F, 0
  [[nodiscard]] std::string_view mode() const { return mode_; }          // M, empty

 private:
  static constexpr size_t kMaxWords = 19;

  std::string_view Add(std::string_view word);
  std::string_view ReadArgument(char letter, std::string_view argument);

  MetaLetters seen_ = 0;
  std::string_view words_;
  int64_t ttl_ = 0;
  int64_t create_ttl_ = 0;
  int64_t recache_ = 0;
  uint64_t cas_ = 0;
  uint64_t new_cas_ = 0;
  uint64_t delta_ = 1;
  uint64_t initial_ = 0;
  uint32_t client_flags_ = 0;
  std::string_view mode_;
};

// What an answer can tell; a command sets what its letters need.
struct MetaFacts {
  std::string_view key;     // as it is in the store
  bool binary_key = false;  // so it is sent encoded
  uint64_t cas = 0;
  Deadline deadline = kNever;
  size_t size = 0;
  uint32_t client_flags = 0;
  bool was_fetched = false;
  TimeMs idle_ms = 0;
};

// Which letters a command answers.
inline constexpr MetaLetters kEchoLetters = MetaLettersOf("kO");

// Appends " " and the answer of each flag that is among `letters`.
void WriteMetaFlags(ReplyWriter& reply, const MetaFlags& flags, MetaLetters letters,
                    const MetaFacts& facts, TimeMs now);

}  // namespace larder::memcache
