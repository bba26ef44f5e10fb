// protocol/memcache/unfinished.h — what a session is in the middle of when Consume returns.
//
// Owner: a session.  Threads: its worker.  Kept small: every idle connection has one.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/store.h"
#include "protocol/memcache/long_reply.h"
#include "protocol/text_feed.h"

namespace larder::memcache {

// How the keys of a get line are to be answered.
struct KeyWalk {
  bool with_cas = false;
  bool any_key = false;        // one was answered already
  bool touches = false;        // gat: the items found end at
  Deadline deadline = kNever;  // this from now on
};

struct Unfinished {
  enum class Kind : uint8_t {
    kNothing,    // the next byte begins a command line
    kKeys,       // of a get line: the next byte is a blank, a key or the line's end
    kUpload,     // `left` bytes of a large value, and the line end behind it
    kSkip,       // `left` bytes nobody wants, then `reply`
    kSkipLine,   // everything up to the line's end, then `reply`
    kLongReply,  // a reply that comes piece by piece
    kFeed,       // watching: nothing but what the feed says, whatever the client sends
    kClosed,
  };

  Kind kind = Kind::kNothing;
  bool noreply = false;        // with kUpload
  bool joins = false;          // with kUpload: an append or prepend
  uint32_t left = 0;           // see kUpload, kSkip; a value's length fits 31 bits
  uint32_t progress_left = 0;  // what was left when the upload last got ahead
  uint32_t progress_ms = 0;    // when that was, modulo 2^32
  KeyWalk keys;
  std::string_view reply;  // a constant
  // What the kind goes on with.
  std::variant<std::monostate, std::unique_ptr<Upload>, std::unique_ptr<TextFeed>,
               std::unique_ptr<LongReply>>
      work;
  std::unique_ptr<std::string> meta_line;  // of an upload by ms: see AnswerMetaUpload

  // REQUIRES: the kind is that one's.
  [[nodiscard]] std::unique_ptr<Upload>& upload() { return Work<Upload>(); }
  [[nodiscard]] TextFeed& feed() { return *Work<TextFeed>(); }
  [[nodiscard]] LongReply& long_reply() { return *Work<LongReply>(); }

  void BeginKeys(const KeyWalk& walk) {
    kind = Kind::kKeys;
    keys = walk;
  }
  void BeginUpload(std::unique_ptr<Upload> begun, size_t bytes, TimeMs now) {
    kind = Kind::kUpload;
    work = std::move(begun);
    left = progress_left = static_cast<uint32_t>(bytes);
    progress_ms = static_cast<uint32_t>(now);
  }
  // An empty `answer`: none.
  void BeginSkip(size_t bytes, std::string_view answer) {
    kind = Kind::kSkip;
    work = std::monostate();
    meta_line.reset();
    left = static_cast<uint32_t>(bytes);
    reply = answer;
  }
  void BeginSkipLine(std::string_view answer) {
    kind = Kind::kSkipLine;
    reply = answer;
  }
  void BeginFeed(std::unique_ptr<TextFeed> begun) {
    kind = Kind::kFeed;
    work = std::move(begun);
  }
  void BeginLongReply(std::unique_ptr<LongReply> begun) {
    kind = Kind::kLongReply;
    work = std::move(begun);
  }
  void End() {
    kind = Kind::kNothing;
    work = std::monostate();
    meta_line.reset();
  }

 private:
  template <typename T>
  std::unique_ptr<T>& Work() {
    auto* const found = std::get_if<std::unique_ptr<T>>(&work);
    if (found == nullptr) std::abort();
    return *found;
  }
};

}  // namespace larder::memcache
