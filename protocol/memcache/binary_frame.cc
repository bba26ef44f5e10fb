#include "protocol/memcache/binary_frame.h"

#include <cstring>

#include "protocol/big_endian.h"
#include "protocol/memcache/binary_command.h"

namespace larder::memcache {
namespace {

bool Refuse(BinaryFrame& frame, Status why) {
  frame.kind = BinaryFrameKind::kRefused;
  frame.refusal = why;
  return true;
}

bool HasShape(const BinarySpec& command, size_t extras, size_t key, size_t value) {
  const bool fits =
      extras == command.extras_bytes || (extras == 0 && (command.flags & kExtrasMayLack) != 0);
  switch (command.key) {
    case KeyShape::kNone:
      if (key != 0) return false;
      break;
    case KeyShape::kKey:
      if (key == 0) return false;
      break;
    case KeyShape::kMayLack:
      break;
  }
  return fits && value <= command.most_value;
}

}  // namespace

std::string_view StatusText(Status status) {
  switch (status) {
    case Status::kOk:
    case Status::kAuthContinue:
      return {};
    case Status::kNotFound:
      return "Not found";
    case Status::kExists:
      return "Data exists for key.";
    case Status::kTooLarge:
      return "Too large.";
    case Status::kInvalid:
      return "Invalid arguments";
    case Status::kNotStored:
      return "Not stored.";
    case Status::kNotANumber:
      return "Non-numeric server-side value for incr or decr";
    case Status::kAuthFailure:
      return "Auth failure.";
    case Status::kUnknownCommand:
      return "Unknown command";
    case Status::kOutOfMemory:
      return "Out of memory";
  }
  return {};
}

bool ReadBinaryFrame(std::string_view input, BinaryFrame& frame) {
  if (input.front() != kBinaryRequest) {
    frame.bytes = input.size();
    return true;
  }
  if (input.size() < kBinaryHeaderBytes) return false;
  const char* const header = input.data();
  const size_t key_bytes = LoadBig16(header + 2);
  const size_t extras_bytes = static_cast<unsigned char>(header[4]);
  const size_t body_bytes = LoadBig32(header + 8);
  frame.opcode = static_cast<uint8_t>(header[1]);
  std::memcpy(&frame.opaque, header + 12, sizeof(frame.opaque));
  frame.cas = LoadBig64(header + 16);
  frame.bytes = kBinaryHeaderBytes;
  frame.command = FindBinaryCommand(frame.opcode);
  if (key_bytes + extras_bytes > body_bytes) return Refuse(frame, Status::kUnknownCommand);
  if (key_bytes > kMaxKeyBytes || body_bytes > kMaxBodyBytes) {
    return Refuse(frame, Status::kInvalid);
  }
  if (frame.command == nullptr) {
    frame.kind = BinaryFrameKind::kUnknown;
    frame.value_bytes = body_bytes;
    return true;
  }
  frame.value_bytes = body_bytes - key_bytes - extras_bytes;
  if (!HasShape(*frame.command, extras_bytes, key_bytes, frame.value_bytes)) {
    return Refuse(frame, Status::kInvalid);
  }
  const size_t head_bytes = kBinaryHeaderBytes + extras_bytes + key_bytes;
  const bool is_large = frame.value_bytes > kLargeValueBytes;
  // A size that is only promised takes no place among the uploads.
  if (input.size() < head_bytes + (is_large ? 1 : frame.value_bytes)) return false;
  frame.kind = is_large ? BinaryFrameKind::kLargeValue : BinaryFrameKind::kRequest;
  frame.extras = input.substr(kBinaryHeaderBytes, extras_bytes);
  frame.key = input.substr(kBinaryHeaderBytes + extras_bytes, key_bytes);
  frame.bytes = head_bytes;
  if (!is_large) {
    frame.value = input.substr(head_bytes, frame.value_bytes);
    frame.bytes += frame.value_bytes;
  }
  return true;
}

void WriteReplyHeader(const ReplyHeader& header, char* to) {
  to[0] = kBinaryReply;
  to[1] = static_cast<char>(header.opcode);
  StoreBig16(to + 2, header.key_bytes);
  to[4] = static_cast<char>(header.extras_bytes);
  to[5] = 0;
  StoreBig16(to + 6, static_cast<uint16_t>(header.status));
  StoreBig32(to + 8, header.body_bytes);
  std::memcpy(to + 12, &header.opaque, sizeof(header.opaque));
  StoreBig64(to + 16, header.cas);
}

}  // namespace larder::memcache
