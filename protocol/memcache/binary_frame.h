// protocol/memcache/binary_frame.h — bytes to one request of the binary protocol, its lengths
// checked, and the header of a reply.
//
// Blind to the store: what a frame means is its handler's business.  A frame borrows the input.
// Source: memcached's doc/protocol-binary.xml, and what the server does where the two differ.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/store.h"

namespace larder::memcache {

struct BinarySpec;

//  byte  0      1        2          4             5          6                  8
//       +------+--------+----------+-------------+----------+------------------+
//       |magic | opcode | key size | extras size | 0 (type) | vbucket / status |
//       +------+--------+----------+-------------+----------+------------------+
//       | body size: extras, key and value (4)   | opaque, echoed (4)          |
//       +----------------------------------------+-----------------------------+
//       | CAS (8)                                                              |
//       +----------------------------------------------------------------------+
//       | extras, then key, then value                                         |
inline constexpr size_t kBinaryHeaderBytes = 24;
inline constexpr char kBinaryRequest = '\x80';
inline constexpr char kBinaryReply = '\x81';

// A body that says it is larger is an error in the header, not a large value.
inline constexpr uint32_t kMaxBodyBytes = 1U << 30;

// Of the reply of which StatText makes many.
inline constexpr uint8_t kOpStat = 0x10;

enum class Status : uint16_t {
  kOk = 0,
  kNotFound = 1,
  kExists = 2,
  kTooLarge = 3,
  kInvalid = 4,
  kNotStored = 5,
  kNotANumber = 6,
  kAuthFailure = 0x20,
  kAuthContinue = 0x21,
  kUnknownCommand = 0x81,
  kOutOfMemory = 0x82,
};

// What stands in the body of a reply with this status and nothing else to say.
[[nodiscard]] std::string_view StatusText(Status status);

enum class BinaryFrameKind : uint8_t {
  kRequest,     // whole, its shape is that of its row
  kLargeValue,  // a storage command; `value_bytes` follow the frame
  kUnknown,     // no such opcode; `value_bytes` follow the frame
  kRefused,     // `refusal`, then the connection is of no use: nobody knows where the next begins
  kClose,       // not this protocol: hang up without a word
};

struct BinaryFrame {
  BinaryFrameKind kind = BinaryFrameKind::kClose;
  uint8_t opcode = 0;
  Status refusal = Status::kOk;
  uint32_t opaque = 0;  // as it came
  uint64_t cas = 0;
  const BinarySpec* command = nullptr;
  size_t bytes = 0;  // of the input, this frame takes
  std::string_view extras;
  std::string_view key;  // empty when there is none
  std::string_view value;
  size_t value_bytes = 0;

  // Whether what follows cannot be framed before this one is done.
  [[nodiscard]] bool ends_batch() const {
    return kind != BinaryFrameKind::kRequest &&
           (kind != BinaryFrameKind::kUnknown || value_bytes > 0);
  }
};

// Fills `frame`, which is as it was made, from the front of `input`, which is not empty; false
// when more bytes must come first.  Waits for at most kLargeValueBytes behind the key.
[[nodiscard]] bool ReadBinaryFrame(std::string_view input, BinaryFrame& frame);

struct ReplyHeader {
  uint8_t opcode = 0;
  uint8_t extras_bytes = 0;
  uint16_t key_bytes = 0;
  Status status = Status::kOk;
  uint32_t body_bytes = 0;
  uint32_t opaque = 0;  // as it came
  uint64_t cas = 0;
};

// Writes kBinaryHeaderBytes.
void WriteReplyHeader(const ReplyHeader& header, char* to);

}  // namespace larder::memcache
