// protocol/session.h — one client's conversation: bytes in, bytes out, no socket and no thread.
//
// Owner: the connection.  Threads: the connection's worker only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/reply_buffer.h"

namespace larder {

enum class SessionState : uint8_t {
  kNeedInput,   // everything that was complete is done
  kOutputFull,  // send `out`, then call Consume again with the bytes that are left
  kUploading,   // the next bytes belong into UploadBuffer()
  kWaiting,     // no memory for a large value just now: call Consume again in a few milliseconds
  kWatching,    // send `out`; Consume again when there is input, or text for its feed
  kClosing,     // send what is in `out`, then close
};

class Session {
 public:
  struct Progress {
    size_t consumed = 0;
    SessionState state = SessionState::kNeedInput;
  };
  // Bytes of an unfinished request that a session may leave unconsumed, and so the least that a
  // caller must be able to keep and show again.
  static constexpr size_t kMaxPending = 64 << 10;

  virtual ~Session() = default;

  // Takes as many whole requests as `input` holds, in batches, and appends their replies to `out`.
  // Bytes not consumed must come again, in front of the new ones.  Never leaves more than
  // kMaxPending bytes when it returns kNeedInput.
  virtual Progress Consume(std::string_view input, ReplyBuffer& out) = 0;

  // In kUploading: where to read to, straight from the socket.  Empty when Consume must be called
  // instead (with input or without).
  virtual std::span<char> UploadBuffer() = 0;
  // `n` bytes were put into UploadBuffer().  Call Consume (also with no input) when it comes back
  // empty.
  virtual void Uploaded(size_t n) = 0;

  // Once a second or so while connected: gives up an upload that stands still while others wait.
  virtual void Tick() = 0;
  // True between requests: nothing is half received.
  [[nodiscard]] virtual bool idle() const = 0;
};

}  // namespace larder
