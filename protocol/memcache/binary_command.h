// protocol/memcache/binary_command.h — the row that an opcode is, and what its handler gets.
//
// A family of opcodes is one file with its table at the bottom; binary_table.cc joins them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/auth.h"
#include "protocol/memcache/binary_frame.h"
#include "protocol/memcache/command.h"

namespace larder::memcache {

struct BinaryContext;

enum class KeyShape : uint8_t { kNone, kKey, kMayLack };

// What most_value says.
inline constexpr uint32_t kNoValue = 0;
inline constexpr uint32_t kShortValue = kLargeValueBytes;  // always whole in a frame
inline constexpr uint32_t kAnyValue = kMaxBodyBytes;       // storage commands

enum BinaryFlag : uint8_t {
  kQuiet = 1,          // answers only what nobody expects: a get's hit, anything else's failure
  kAnswersKey = 2,     // the reply says the key
  kExtrasMayLack = 4,  // all of them
  kBeforeLogin = 8,    // also for a client that has not authenticated itself
};

struct BinarySpec {
  uint8_t opcode = 0;
  std::string_view name;
  Outcome (*handler)(BinaryContext& ctx, const BinaryFrame& frame) = nullptr;
  uint8_t extras_bytes = 0;
  KeyShape key = KeyShape::kNone;
  uint32_t most_value = kNoValue;
  unsigned flags = 0;  // of BinaryFlag

  [[nodiscard]] bool is_quiet() const { return (flags & kQuiet) != 0; }
};

// Opcodes that code asks for by name; the others stand in their rows only.
inline constexpr uint8_t kOpAdd = 0x02;
inline constexpr uint8_t kOpReplace = 0x03;
inline constexpr uint8_t kOpAddQuiet = 0x12;
inline constexpr uint8_t kOpReplaceQuiet = 0x13;

// The reply that an unfinished request will get.
struct PendingReply {
  uint32_t opaque = 0;
  Status status = Status::kOk;
  uint8_t opcode = 0;
};

// How far a client is with saying who it is.
struct Login {
  uint8_t failures = 0;
  bool is_admitted = false;
};

// What a handler works with.  `key` is the frame's, hashed.
struct BinaryContext {
  Store& store;
  OpContext& op;
  Host& host;
  const SessionOptions& options;
  ReplyBuffer& out;
  Unfinished& unfinished;
  PendingReply& pending;
  Login& login;
  std::unique_ptr<SaslExchange>& exchange;  // null but in the middle of one
  Key key;
};

// Null when there is no such opcode.
const BinarySpec* FindBinaryCommand(uint8_t opcode);

std::span<const BinarySpec> BinaryKeyedCommands();
std::span<const BinarySpec> BinaryStorageCommands();
std::span<const BinarySpec> BinaryAdminCommands();
std::span<const BinarySpec> BinarySaslCommands();

}  // namespace larder::memcache
