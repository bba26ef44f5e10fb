// tools/bench/replies.h — takes the replies of one connection apart and checks their framing.
//
// Threads: one.  Source: memcached's protocol.txt.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tools/bench/keys.h"
#include "tools/bench/requests.h"
#include "tools/bench/tally.h"

namespace larder::bench {

class ReplyReader {
 public:
  ReplyReader(const KeySpace* key_space, bool verify) : key_space_(key_space), verify_(verify) {}

  enum class Step : uint8_t {
    kMore,    // the reply to `pending` is not complete
    kDone,    // it is
    kBroken,  // not a reply: tally->failure says what was read
  };

  // Takes bytes of the reply to `pending` from the front of `*in`.  After kMore, what is left in
  // `*in` (part of a line) has to come again with more behind it.
  Step Read(const Pending& pending, std::string_view* in, Tally* tally);

  // How many bytes of a value are still to come; they may be thrown away unread, by Discarded().
  [[nodiscard]] uint64_t value_left() const { return verify_ ? 0 : value_left_; }
  void Discarded(uint64_t bytes) { value_left_ -= bytes; }

 private:
  enum class State : uint8_t { kLine, kValue, kValueEnd };

  Step OnLine(const Pending& pending, std::string_view line, Tally* tally);
  Step OnGetLine(const Pending& pending, std::string_view line, Tally* tally);
  Step OnMetaGetLine(std::string_view line, Tally* tally);
  Step OnPlainLine(const Pending& pending, std::string_view line, Tally* tally);
  Step OnError(std::string_view line, Tally* tally);
  Step BeginValue(std::string_view key, std::string_view bytes, std::string_view line,
                  Tally* tally);
  bool TakeValue(std::string_view* in, Tally* tally);

  const KeySpace* key_space_;
  bool verify_;
  bool is_reply_over_ = false;  // with the value's end: a meta get has no END
  State state_ = State::kLine;
  uint64_t value_left_ = 0;
  uint32_t hits_ = 0;          // of the reply being read
  std::string_view expected_;  // what is left of the value that --verify wants to see
};

}  // namespace larder::bench
