// core/events.h — what happened, for whoever watches: a few numbers and a text, copied at once.
//
// Owner of a sink: whoever made it (the server's event log); a thread writes only to its own.
// Cost: while nobody watches, one test of OpContext::watched.  A sink never blocks and never
// allocates; when it is full the event is lost, and counted.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace larder {

// What can be watched; bits of a mask.
enum EventStream : uint32_t {
  kFetchers = 1 << 0,
  kMutations = 1 << 1,
  kEvictions = 1 << 2,
  kConnEvents = 1 << 3,
  kDeletions = 1 << 4,
  kSysEvents = 1 << 5,
  kRawCommands = 1 << 6,
  kProxyStreams = 1 << 7,   // accepted, silent: there is no proxy
  kConversation = 1 << 15,  // what -vv prints: requests and the first line of each reply
};

inline constexpr size_t kStreamBits = 16;

enum class EventKind : uint8_t {
  kItemGet,          // status: FetchStatus
  kItemStore,        // status: StoreResult, command: StoreMode
  kEviction,         // status: 1 when it was ever fetched
  kDeleted,          // command: DeleteCommand
  kConnectionNew,    // text: the address, command: PeerKind, size: the port
  kConnectionClose,  // the same, status: CloseReason
  kCrawl,            // size: items examined, count: of them reclaimed, age: milliseconds it took
  kPageMove,         // class_id: from, count: to
  kCommand,          // text: the request's line
  kReply,            // text: the reply's first line
  kTlsError,         // text: why a handshake failed
};

enum class FetchStatus : uint8_t { kNotFound, kFound, kFlushed, kExpired };
enum class DeleteCommand : uint8_t { kDelete, kMetaDelete };
enum class PeerKind : uint8_t { kLocal, kTcp, kUdp };
enum class CloseReason : uint8_t { kNormal, kError, kIdleTimeout, kShutdown };

struct EventData {
  EventKind kind = EventKind::kItemGet;
  uint8_t status = 0;
  uint8_t command = 0;
  uint8_t class_id = 0;
  int32_t client = 0;  // its descriptor; 0: nobody's
  int64_t ttl = 0;     // seconds that are left
  uint64_t size = 0;   // bytes of the value
  uint64_t count = 0;
  uint64_t age = 0;  // seconds since the last access
};

class EventSink {
 public:
  // `streams` is what is watched at present, and must outlive the sink.
  explicit EventSink(const std::atomic<uint32_t>& streams) : streams_(streams) {}
  virtual ~EventSink() = default;
  EventSink(const EventSink&) = delete;
  EventSink& operator=(const EventSink&) = delete;

  // For OpContext::watched, once a batch.
  [[nodiscard]] uint32_t streams() const { return streams_.load(std::memory_order_relaxed); }
  // Copies both, for all of `streams`.  Only by the thread whose sink it is.
  virtual void Note(uint32_t streams, const EventData& event, std::string_view text) noexcept = 0;

 private:
  const std::atomic<uint32_t>& streams_;
};

// Gives each thread a sink of its own; they live as long as this.
class EventSource {
 public:
  virtual ~EventSource() = default;
  // Null when there is no memory: then that thread's events are not seen.
  [[nodiscard]] virtual EventSink* NewSink() = 0;
};

}  // namespace larder
