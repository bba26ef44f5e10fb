#include "protocol/memcache/framer.h"

#include <algorithm>

#include "protocol/memcache/command_table.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

bool Refuse(Frame& frame, std::string_view text, size_t skip = 0) {
  frame.kind = FrameKind::kRefused;
  frame.refusal = text;
  frame.value_bytes = skip;
  return true;
}

bool Close(Frame& frame, std::string_view input) {
  frame.kind = FrameKind::kClose;
  frame.bytes = input.size();
  return true;
}

// How long a line that begins like this may be, without its '\n'; npos: as long as it likes.
size_t LongestLine(std::string_view line) {
  const size_t bytes = line.size();
  SkipBlanks(line);
  const size_t blanks = bytes - line.size();
  if (line.starts_with("get ") || line.starts_with("gets ")) {
    return blanks <= kMaxLeadingBlanks ? std::string_view::npos : kMaxOpenLine;
  }
  const bool touches = line.starts_with("gat ") || line.starts_with("gats ");
  return touches && blanks == 0 ? kMaxTouchLine : kMaxOpenLine;
}

// No line end among the first bytes: wait, or hang up, or answer the keys of a get as they come.
bool FrameOpenLine(std::string_view input, Frame& frame) {
  const size_t longest = LongestLine(input);
  if (input.size() > longest) return Close(frame, input);
  if (longest != std::string_view::npos || input.size() < Session::kMaxPending) return false;
  std::string_view line = input;
  SkipBlanks(line);
  const size_t blanks = input.size() - line.size();
  frame.command = FindCommand(line.substr(0, line.find(' ')));
  frame.bytes = blanks + frame.command->name.size() + 1;
  frame.kind = FrameKind::kOpenKeys;
  if (blanks > 0) {
    frame.kind = FrameKind::kLostLine;  // a line may not begin with a blank
    frame.refusal = kError;
  }
  return true;
}

bool FrameUnknown(std::string_view line, Frame& frame) {
  const std::string_view last = LastWord(line);
  if (last.starts_with("HTTP/")) {
    frame.kind = FrameKind::kClose;
    return true;
  }
  frame.kind = FrameKind::kUnknown;
  frame.noreply = last == kNoreply;
  return true;
}

// A get of one key, which is what most requests are, in one look at its bytes.
bool FrameOneGet(std::string_view input, Frame& frame) {
  static const CommandSpec* const kGet = FindCommand("get");
  constexpr size_t kKeyAt = 4;
  if (input.size() <= kKeyAt || Load32(input.data()) != Load32("get ")) return false;
  const std::string_view rest(input.data() + kKeyAt,
                              std::min(input.size() - kKeyAt, kMaxKeyBytes + kCrlf.size()));
  const size_t stop = FindEither(rest, ' ', '\n');
  if (stop == rest.size() || rest[stop] != '\n') return false;
  const size_t bytes = stop > 0 && rest[stop - 1] == '\r' ? stop - 1 : stop;
  if (bytes == 0 || bytes > kMaxKeyBytes) return false;
  frame.kind = FrameKind::kKeys;
  frame.command = kGet;
  frame.bytes = kKeyAt + stop + 1;
  frame.key = {rest.data(), bytes};
  frame.single_key = true;
  return true;
}

// The digits from `at` on, at most nine, which fit any number of a line; null when there are none.
// Returns what stands behind them.
const char* ReadShort(const char* at, const char* end, uint32_t& number) {
  constexpr ptrdiff_t kMostDigits = 9;
  const char* const from = at;
  const char* const stop = at + std::min(end - at, kMostDigits);
  uint32_t value = 0;
  for (; at < stop; ++at) {
    const uint32_t digit = static_cast<uint8_t>(*at) - uint32_t{'0'};
    if (digit > 9) break;
    value = value * 10 + digit;
  }
  number = value;
  return at == from ? nullptr : at;
}

// A set as clients write it, with its whole value: single blanks, short numbers, no signs.
bool FrameOneSet(std::string_view input, Frame& frame) {
  static const CommandSpec* const kSet = FindCommand("set");
  constexpr size_t kKeyAt = 4;
  constexpr std::string_view kSilent = " noreply";
  if (input.size() <= kKeyAt || Load32(input.data()) != Load32("set ")) return false;
  const std::string_view rest(input.data() + kKeyAt,
                              std::min(input.size() - kKeyAt, kMaxKeyBytes + 1));
  const size_t key_bytes = FindEither(rest, ' ', '\n');
  if (key_bytes == 0 || key_bytes == rest.size() || rest[key_bytes] != ' ') return false;
  const char* const end = input.data() + input.size();
  uint32_t flags = 0;
  uint32_t exptime = 0;
  uint32_t bytes = 0;
  const char* at = ReadShort(rest.data() + key_bytes + 1, end, flags);
  if (at == nullptr || at == end || *at != ' ') return false;
  at = ReadShort(at + 1, end, exptime);
  if (at == nullptr || at == end || *at != ' ') return false;
  at = ReadShort(at + 1, end, bytes);
  if (at == nullptr || at == end || bytes > kLargeValueBytes) return false;
  const bool noreply =
      *at == ' ' && std::string_view(at, static_cast<size_t>(end - at)).starts_with(kSilent);
  if (noreply) at += kSilent.size();
  const auto left = static_cast<size_t>(end - at);
  if (left < bytes + 2 * kCrlf.size() || at[0] != '\r' || at[1] != '\n') return false;
  at += kCrlf.size();
  frame.kind = FrameKind::kValue;
  frame.command = kSet;
  frame.noreply = noreply;
  frame.key = {rest.data(), key_bytes};
  frame.flags = flags;
  frame.exptime = exptime;
  frame.value_bytes = bytes;
  frame.value = {at, bytes};
  frame.properly_ended = at[bytes] == '\r' && at[bytes + 1] == '\n';
  frame.bytes = static_cast<size_t>(at - input.data()) + bytes + kCrlf.size();
  return true;
}

// `args` is what is left of the line at the front of `input`, without the line's end.
bool FrameKeys(std::string_view input, std::string_view args, Frame& frame) {
  const auto from = static_cast<size_t>(args.data() - input.data());
  frame.args = input.substr(from, frame.bytes - from);
  frame.key = NextWord(args);
  if (frame.key.empty() || frame.key.size() > kMaxKeyBytes) return Refuse(frame, kBadFormat);
  SkipBlanks(args);
  frame.single_key = args.empty();
  if (HasLongWord(args, kMaxKeyBytes)) return Refuse(frame, kBadFormat);
  frame.kind = FrameKind::kKeys;
  return true;
}

bool FrameTouchKeys(std::string_view input, std::string_view args, Frame& frame) {
  const auto exptime = ParseExptime(NextWord(args));
  SkipBlanks(args);
  if (args.empty()) return Refuse(frame, kBadFormat);
  if (!exptime) return Refuse(frame, kBadExptime);
  frame.exptime = *exptime;
  return FrameKeys(input, args, frame);
}

// The value behind the line, `frame.value_bytes` long, and its line end.  False when it is small
// and not all there.
bool TakeValue(std::string_view input, Frame& frame) {
  if (frame.value_bytes > kLargeValueBytes) {
    frame.kind = FrameKind::kLargeValue;
    // A size that is only promised takes no place among the uploads.
    return input.size() > frame.bytes;
  }
  const size_t whole = frame.value_bytes + kCrlf.size();
  if (input.size() - frame.bytes < whole) return false;
  frame.kind = FrameKind::kValue;
  frame.value = input.substr(frame.bytes, frame.value_bytes);
  frame.properly_ended = input.substr(frame.bytes + frame.value_bytes, kCrlf.size()) == kCrlf;
  frame.bytes += whole;
  return true;
}

// A line whose shape cannot be read leaves its value to be read as commands, because nobody knows
// how long it is; any other refused line takes its value with it.
bool FrameValue(std::string_view input, std::string_view args, Frame& frame) {
  frame.key = NextWord(args);
  const std::string_view flags_word = NextWord(args);
  const std::string_view exptime_word = NextWord(args);
  const auto bytes = ParseValueBytes(NextWord(args));
  if (!bytes) return Refuse(frame, kBadFormat);

  frame.noreply = AsksNoReply(args);
  const size_t skip = *bytes + kCrlf.size();
  const auto flags = ParseFlags(flags_word);
  const auto exptime = ParseExptime(exptime_word);
  if (!flags || !exptime || frame.key.size() > kMaxKeyBytes) {
    return Refuse(frame, kBadFormat, skip);
  }
  if ((frame.command->flags & kTakesCas) != 0) {
    const auto cas = ParseUint64(NextWord(args));
    if (!cas) return Refuse(frame, kBadFormat, skip);
    frame.cas = *cas;
  }
  frame.flags = *flags;
  frame.exptime = *exptime;
  frame.value_bytes = *bytes;
  return TakeValue(input, frame);
}

bool FrameMeta(std::string_view args, Frame& frame) {
  frame.key = NextWord(args);
  frame.args = args;
  if (frame.key.empty()) return Refuse(frame, kBadFormat);
  if (frame.key.size() > kMaxKeyBytes) {
    const std::string_view text = frame.command->long_key;
    return Refuse(frame, text.empty() ? kBadFormat : text);
  }
  frame.kind = FrameKind::kWords;
  return true;
}

bool FrameMetaValue(std::string_view input, std::string_view args, Frame& frame) {
  frame.key = NextWord(args);
  const auto bytes = ParseValueBytes(NextWord(args));
  frame.args = args;
  if (!bytes) return Refuse(frame, kBadFormat);
  if (frame.key.size() > kMaxKeyBytes) return Refuse(frame, kBadFormat, *bytes + kCrlf.size());
  frame.value_bytes = *bytes;
  return TakeValue(input, frame);
}

bool FrameWords(std::string_view args, Frame& frame) {
  frame.args = args;
  std::string_view rest = args;
  std::string_view behind_key = args;
  for (size_t i = 0; i < frame.command->min_words; ++i) {
    const std::string_view word = NextWord(rest);
    if (word.empty()) return Refuse(frame, kBadFormat);
    if (i == 0 && (frame.command->flags & kKeyFirst) != 0) {
      frame.key = word;
      behind_key = rest;
    }
  }
  // A key may be called noreply; in any other word's place it silences what it is refused with.
  frame.noreply = (frame.command->flags & kTakesNoreply) != 0 && AsksNoReply(behind_key);
  if (frame.key.size() > kMaxKeyBytes) return Refuse(frame, kBadFormat);
  frame.kind = FrameKind::kWords;
  return true;
}

[[gnu::noinline]] bool FrameAny(std::string_view input, Frame& frame) {
  // Where a line is too long to be kept must not depend on how the network cut it.
  const size_t newline = input.substr(0, Session::kMaxPending).find('\n');
  if (newline == std::string_view::npos) return FrameOpenLine(input, frame);

  frame.bytes = newline + 1;
  if (frame.bytes < kMinLine) return Refuse(frame, kBadFormat);
  std::string_view line = input.substr(0, newline);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::string_view name = line.substr(0, line.find(' '));
  const std::string_view args = line.substr(name.size());
  frame.command = FindCommand(name);
  // Alike whether the line came whole or in pieces.
  if (newline > kMaxOpenLine && newline > LongestLine(line)) return Close(frame, input);
  if (frame.command == nullptr) return FrameUnknown(line, frame);
  switch (frame.command->shape) {
    case Shape::kWords:
      return FrameWords(args, frame);
    case Shape::kKeys:
      return FrameKeys(input, args, frame);
    case Shape::kTouchKeys:
      return FrameTouchKeys(input, args, frame);
    case Shape::kValue:
      return FrameValue(input, args, frame);
    case Shape::kMeta:
      return FrameMeta(args, frame);
    case Shape::kMetaValue:
      return FrameMetaValue(input, args, frame);
  }
  return false;
}

}  // namespace

bool ReadFrame(std::string_view input, Frame& frame) {
  if (FrameOneGet(input, frame) || FrameOneSet(input, frame)) return true;
  return FrameAny(input, frame);
}

KeyStep LastKey(std::string_view text, size_t& at, std::string_view& key) {
  // One more than a key may have, and what can end it.
  const std::string_view window = text.substr(at, kMaxKeyBytes + 2);
  const size_t stop = FindEither(window, ' ', '\n');
  if (stop == window.size()) {
    // 250 bytes of key and a '\r' may still become a key and a line end.
    const bool may_fit = window.size() <= kMaxKeyBytes ||
                         (window.size() == kMaxKeyBytes + 1 && window.back() == '\r');
    return may_fit ? KeyStep::kIncomplete : KeyStep::kTooLong;
  }
  size_t bytes = stop;
  if (window[stop] == '\n' && bytes > 0 && window[bytes - 1] == '\r') --bytes;
  if (bytes > kMaxKeyBytes) return KeyStep::kTooLong;
  if (bytes == 0) return KeyStep::kLineEnd;
  key = window.substr(0, bytes);
  at += bytes;
  return KeyStep::kKey;
}

}  // namespace larder::memcache
