// protocol/memcache/unfinished.h — what a session is in the middle of when Consume returns.
//
// Owner: a session.  Threads: its worker.  Kept small: every idle connection has one.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/long_reply.h"
#include "protocol/text_feed.h"

namespace larder::memcache {

// How the keys of a get line are to be answered.
struct KeyWalk {
  bool with_cas = false;
  bool any_key = false;  // one was answered already
  ReadOptions options;
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
  uint32_t progress_left = 0;  // what was left at progress_at
  KeyWalk keys;
  size_t left = 0;
  std::string_view reply;  // a constant
  std::unique_ptr<Upload> upload;
  std::unique_ptr<std::string> meta_line;  // of an upload by ms: see AnswerMetaUpload
  std::unique_ptr<TextFeed> feed;
  TimeMs progress_at = 0;  // when the upload last got ahead
  std::unique_ptr<LongReply> long_reply;

  void BeginKeys(const KeyWalk& walk) {
    kind = Kind::kKeys;
    keys = walk;
  }
  void BeginUpload(std::unique_ptr<Upload> begun, size_t bytes, TimeMs now) {
    kind = Kind::kUpload;
    upload = std::move(begun);
    left = bytes;
    progress_at = now;
    progress_left = static_cast<uint32_t>(bytes);
  }
  // An empty `answer`: none.
  void BeginSkip(size_t bytes, std::string_view answer) {
    kind = Kind::kSkip;
    upload.reset();
    meta_line.reset();
    left = bytes;
    reply = answer;
  }
  void BeginSkipLine(std::string_view answer) {
    kind = Kind::kSkipLine;
    reply = answer;
  }
  void BeginFeed(std::unique_ptr<TextFeed> begun) {
    kind = Kind::kFeed;
    feed = std::move(begun);
  }
  void BeginLongReply(std::unique_ptr<LongReply> begun) {
    kind = Kind::kLongReply;
    long_reply = std::move(begun);
  }
  void End() {
    kind = Kind::kNothing;
    upload.reset();
    meta_line.reset();
    long_reply.reset();
  }
};

}  // namespace larder::memcache
