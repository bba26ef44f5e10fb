// protocol/memcache/meta.h — what the meta commands share: the request as it is meant, short
// answers.

#pragma once

#include <array>
#include <string_view>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/meta_flags.h"

namespace larder::memcache {

// A meta command's line as it is meant.  Stays where it is made: its key may lie in it.
class MetaRequest {
 public:
  // Reads `args`, what is behind the key (and the length); the key is that of `ctx`.
  // `words_before`: words of the line that are not flags, for the limit.
  MetaRequest(const CommandContext& ctx, std::string_view args, size_t words_before);
  MetaRequest(const MetaRequest&) = delete;
  MetaRequest& operator=(const MetaRequest&) = delete;

  MetaFlags flags;
  Key key;                 // as it is, or with flag b decoded
  std::string_view error;  // to be answered; empty: all is well

 private:
  std::array<char, kMaxKeyBytes> room_;
};

Outcome AnswerText(CommandContext& ctx, std::string_view text);

// `code` and the flags that are echoed whatever happened: k and O.
Outcome AnswerCode(CommandContext& ctx, const MetaFlags& flags, std::string_view code,
                   const Key& key);

// The answer to an ms whose value came as an upload.  `line` is the request's, from its key on,
// without the length.
void AnswerMetaUpload(CommandContext& ctx, std::string_view line, StoreResult result,
                      const StoreAnswer& answer);

}  // namespace larder::memcache
