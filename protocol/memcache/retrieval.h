// protocol/memcache/retrieval.h — answering the keys of a get line, as many as there is room for.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "protocol/memcache/command.h"

namespace larder::memcache {

enum class WalkEnd : uint8_t {
  kLineDone,    // up to and with the line end, and END was sent
  kOutputFull,  // stopped before a key, or before the line end
  kNeedInput,   // stopped before an unfinished key
  kBadKey,      // stopped before a key that is too long; nothing was said about it
};

struct WalkResult {
  size_t consumed = 0;
  WalkEnd end = WalkEnd::kLineDone;
};

// Answers the keys at the front of `text`, in order, up to the line's end.  Updates `walk`.
WalkResult AnswerKeys(CommandContext& ctx, KeyWalk& walk, std::string_view text);

}  // namespace larder::memcache
