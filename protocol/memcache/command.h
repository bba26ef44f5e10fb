// protocol/memcache/command.h — the row that a command is, and what its handler gets.
//
// A family of commands is one file with its table at the bottom; command_table.cc joins them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/memcache/session.h"
#include "protocol/memcache/unfinished.h"
#include "protocol/reply_buffer.h"

namespace larder::memcache {

struct Frame;
struct CommandContext;

// What the bytes of a command look like, which is all that the framer has to know.
enum class Shape : uint8_t {
  kWords,      // a line of words
  kKeys,       // a line of any number of keys
  kTouchKeys,  // an exptime, then keys
  kValue,      // a line that ends with a length, then that many bytes and a line end
  kMeta,       // a key, then flags
  kMetaValue,  // a key, a length and flags, then that many bytes and a line end
};

enum class Outcome : uint8_t {
  kDone,
  kUnfinished,  // ctx.unfinished says what is left
  kOutputFull,  // the same, and nothing can go on before output was sent
  kWaiting,     // nothing was done: show the frame again later
  kClose,
};

enum CommandFlag : uint8_t {
  kKeyFirst = 1,      // the first word is a key (or its beginning), measured and hashed beforehand
  kTakesNoreply = 2,  // a last word `noreply` silences it
  kTakesCas = 4,      // a CAS value behind the length
};

struct CommandSpec {
  std::string_view name;
  Outcome (*handler)(CommandContext& ctx, const Frame& frame) = nullptr;
  Shape shape = Shape::kWords;
  size_t min_words = 0;  // behind the name
  unsigned flags = 0;    // of CommandFlag
  std::string_view syntax;
  std::string_view long_key = {};  // the answer to a key that is too long; empty: a format error
};

// What a handler works with.  `key` is the frame's, hashed.
struct CommandContext {
  Store& store;
  OpContext& op;
  Host& host;
  const SessionOptions& options;
  ReplyBuffer& out;
  Unfinished& unfinished;
  Key key;
  // How much of the frame's bytes is used up, when not all: set by kUnfinished and kOutputFull.
  size_t consumed = 0;
};

std::span<const CommandSpec> RetrievalCommands();
std::span<const CommandSpec> StorageCommands();
std::span<const CommandSpec> KeyedCommands();
std::span<const CommandSpec> AdminCommands();
std::span<const CommandSpec> StatsCommands();
std::span<const CommandSpec> WatchCommands();
std::span<const CommandSpec> TuningCommands();
std::span<const CommandSpec> MetaCommands();
std::span<const CommandSpec> MetaStoreCommands();

}  // namespace larder::memcache
