// protocol/memcache/meta.h — what the meta commands share: the key as it is meant, short answers.

#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/meta_flags.h"

namespace larder::memcache {

// The key of a frame: as it is, or with flag b decoded into `room`.  Null when it cannot be.
std::optional<Key> MetaKey(CommandContext& ctx, const MetaFlags& flags,
                           std::array<char, kMaxKeyBytes>& room);

Outcome AnswerText(CommandContext& ctx, std::string_view text);

// `code` and the flags that are echoed whatever happened: k and O.
Outcome AnswerCode(CommandContext& ctx, const MetaFlags& flags, std::string_view code,
                   const Key& key);

// The answer to an ms whose value came as an upload.  `line` is the request's, from its key on,
// without the length.
void AnswerMetaUpload(CommandContext& ctx, std::string_view line, StoreResult result,
                      const StoreAnswer& answer);

}  // namespace larder::memcache
