// protocol/memcache/framer.h — bytes to one complete request, its lengths checked.
//
// Blind to the store: what a frame means is its handler's business.  A frame borrows the input.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/bytes.h"
#include "protocol/memcache/command.h"
#include "protocol/session.h"

namespace larder::memcache {

// The limits of what a client may send.  A line without an end is waited for up to kMaxOpenLine,
// but get and gets go on without a limit: from Session::kMaxPending on they are answered key by
// key as they come.  That is an intended difference to memcached, which buffers such a line whole:
// with a key too long somewhere in it, the keys before it have been answered already.
inline constexpr size_t kMaxOpenLine = 2048;
inline constexpr size_t kMaxTouchLine = 16 << 10;  // of gat and gats
inline constexpr size_t kMaxLeadingBlanks = 100;
inline constexpr size_t kMinLine = 4;  // its end included

// The first ones are the handler's of the frame's command.
enum class FrameKind : uint8_t {
  kWords,       // `args` are the words behind the command
  kKeys,        // `args` runs up to and with the line's end, every key in it has been measured
  kValue,       // a storage command with its whole value
  kLargeValue,  // a storage command; `value_bytes` and a line end follow the frame
  kOpenKeys,    // get or gets and the blank behind; the keys follow, nobody looked at them
  kLostLine,    // too long to keep: skip to its end, then `refusal`
  kRefused,     // `refusal`; then skip `value_bytes` bytes
  kUnknown,     // no such command
  kClose,       // hang up without a word
};
inline constexpr FrameKind kLastHandled = FrameKind::kOpenKeys;
inline constexpr FrameKind kLastOrdinary = FrameKind::kValue;  // complete, and nothing else

struct Frame {
  FrameKind kind = FrameKind::kUnknown;
  bool noreply = false;
  bool single_key = false;      // kKeys: there is no second one
  bool properly_ended = false;  // kValue: a line end follows the value
  uint32_t flags = 0;
  const CommandSpec* command = nullptr;
  size_t bytes = 0;       // of the input, this frame takes
  std::string_view key;   // the first; empty when there is none
  std::string_view args;  // not of a single key
  std::string_view value;
  std::string_view refusal;
  size_t value_bytes = 0;
  int64_t exptime = 0;
  uint64_t cas = 0;

  // Whether what follows cannot be framed before this one is done.
  [[nodiscard]] bool ends_batch() const {
    if (kind <= kLastOrdinary) return false;
    return kind == FrameKind::kLargeValue || kind == FrameKind::kOpenKeys ||
           kind == FrameKind::kLostLine || kind == FrameKind::kClose ||
           (kind == FrameKind::kRefused && value_bytes > 0);
  }
};

// Fills `frame`, which is as it was made, from the front of `input`; false when more bytes must
// come first.
[[nodiscard]] bool ReadFrame(std::string_view input, Frame& frame);

enum class KeyStep : uint8_t { kKey, kLineEnd, kIncomplete, kTooLong };

// NextKey's answer where no key with a blank behind it begins at `at`.
KeyStep LastKey(std::string_view text, size_t& at, std::string_view& key);

// Finds the next key of a get line in `text` from `at` on, skipping blanks.  kKey: `key` is set and
// `at` is behind it.  kLineEnd: `at` is where the line end begins.  Otherwise `at` is where the
// unfinished or too long key begins.
inline KeyStep NextKey(std::string_view text, size_t& at, std::string_view& key) {
  while (at < text.size() && text[at] == ' ') ++at;
  const char* const from = text.data() + at;
  const size_t most = std::min(text.size() - at, kMaxKeyBytes + 1);
  const size_t stop = FindEither({from, most}, ' ', '\n');
  if (stop == most || from[stop] != ' ') return LastKey(text, at, key);
  key = {from, stop};
  at += stop;
  return KeyStep::kKey;
}

}  // namespace larder::memcache
