// server/connection.h — one client: its socket and its event, between the kernel and a Session.
//
// Owner: Worker.  Threads: that worker only, but for the copies that Describe() takes.
// Memory: while idle this object and the session, nothing else; before its first byte, which can
// choose the dialect, not even a session.  Input that is not consumed is kept in a block of just
// its size, output that is stuck in a ReplyBuffer borrowed from the worker. A connection reads or
// writes, never both: while a reply is stuck, nothing more is read, so a client that does not read
// costs one ReplyBuffer and one scratch buffer's worth of input.
// TLS: its stream is made at the first byte, stands between the socket and everything else, and can
// hold input that the socket no longer has; then the connection asks for another turn by itself.

#pragma once

#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "protocol/session.h"
#include "server/event_loop.h"
#include "server/tls_stream.h"

namespace larder::server {

class Worker;

// What `stats conns` shows.
enum class ConnectionState : uint8_t { kRead, kParse, kUpload, kWaiting, kWatch, kWrite };

// memcached's name of it, conn_read and so on.
[[nodiscard]] std::string_view StateName(ConnectionState state);

// A place in a doubly linked ring.
struct RingHook {
  RingHook* before = nullptr;
  RingHook* after = nullptr;
};

class Connection : private RingHook {
 public:
  // Bytes read and written in one turn before others get theirs.
  static constexpr size_t kReadTurnBytes = 256 * 1024;
  static constexpr size_t kWriteTurnBytes = 1024 * 1024;

  // Index of the last listening socket there may be.
  static constexpr uint16_t kMostListeners = 0x7fff;

  Connection(Worker& worker, UniqueFd fd, uint16_t listener);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // What to wait for next; kAgain: nothing, its turn comes again after the others'; kClose:
  // nothing, destroy it.
  enum class Next : uint8_t { kRead, kWrite, kWait, kAgain, kClose };

  // Begins to read.
  [[nodiscard]] Next Start();
  // Its turn: the socket is ready, or its time to wait is over.  Throws bad_alloc, after which it
  // has to be destroyed.
  [[nodiscard]] Next Turn();
  // Once a tick, while attended: see Worker.  kClose: its output stood still, or its handshake was
  // not done, for so many seconds (0: no limit); kTurn: its session has something to say.
  enum class Verdict : uint8_t { kStay, kTurn, kClose };
  struct Patience {
    uint32_t blocked_s;
    uint32_t handshake_s;
  };
  [[nodiscard]] Verdict Tick(uint32_t now_s, const Patience& patience);

  // Its output is stuck.
  [[nodiscard]] bool blocked() const { return waits_for_ == Next::kWrite; }
  // Its session waits for memory.
  [[nodiscard]] bool waiting() const { return waits_for_ == Next::kWait; }
  // It is told what happens; see Worker::BringNews.
  [[nodiscard]] bool watching() const { return is_watching_; }
  // It wants another turn.
  [[nodiscard]] bool is_due() const { return waits_for_ == Next::kAgain; }

 private:
  friend class Worker;

  enum class Sent : uint8_t { kAll, kStuck, kLost };
  struct Received {
    size_t total = 0;
    size_t bytes = 0;      // of them, in the scratch buffer; the others went into the upload
    bool drained = false;  // the socket had no more
    bool is_over = false;  // end of input, or broken
    bool would_block = false;
  };
  struct Written {
    size_t bytes = 0;
    Sent outcome = Sent::kAll;
  };
  enum class Polls : uint8_t { kNothing, kReadable, kWritable };

  Next Advance();
  Next ShakeHands();
  Next ReadTurn();
  Received Receive(size_t kept);
  Received ReceiveTls(std::span<char> upload, std::span<char> room);
  Next Process(std::string_view input);
  // Makes the session.  False: the client may not speak like that.
  bool Meet(std::string_view first_bytes);
  void BeginToWatch();
  // Puts the front of `input` into the upload.  False when the session takes nothing at all.
  bool FeedUpload(std::string_view* input);
  Next Settle(std::string_view rest, Next next);
  Sent Flush();
  Written Write(const ReplyBuffer& reply);
  Written WriteParts(const ReplyBuffer& reply);
  // Of what the kernel says it took, with errno.
  static Written OutcomeOf(ssize_t sent, size_t offered);
  Written WriteTls(const ReplyBuffer& reply);
  void Keep(std::string_view rest);
  // Moves what was kept to the front of the scratch buffer; returns how much.
  size_t Unkeep();
  void WaitFor(Next next);
  void Rearm(Next* next);
  // What event_ is armed for, and what it has to be armed for.
  [[nodiscard]] Polls polls() const {
    return tls() == nullptr ? PollsFor(waits_for_) : held_->polls;
  }
  [[nodiscard]] Polls PollsFor(Next next) const;
  void Lingerless();
  static void OnEvent(evutil_socket_t fd, short what, void* self);

  void set_state(ConnectionState state) { state_.store(state, std::memory_order_relaxed); }

  // What a client that cannot go on holds, and one that speaks TLS; others do without.
  // Hangs in its worker's ring of clients that cannot go on, unless the worker is what it waits
  // for.
  struct Held : RingHook {
    explicit Held(Connection& its_owner) : owner(its_owner) {}
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

    // Of what is bounded: TLS is charged with the connection.
    [[nodiscard]] size_t stuck_bytes() const {
      return input_bytes + (reply == nullptr ? 0 : reply->memory_bytes());
    }
    [[nodiscard]] size_t stuck_pins() const { return reply == nullptr ? 0 : reply->pinned_bytes(); }

    Connection& owner;
    TimeMs moved_at = 0;       // when it last had a turn, or was seen to take bytes
    int unsent = INT_MAX;      // in the kernel, when last looked at
    size_t charged_bytes = 0;  // what the worker was told
    size_t charged_pins = 0;
    std::unique_ptr<ReplyBuffer> reply;  // not empty
    std::unique_ptr<char[]> input;
    size_t input_bytes = 0;
    std::unique_ptr<TlsStream> tls;
    Polls polls = Polls::kReadable;  // with tls
    uint32_t shakes_hands_since_s = 0;
  };
  Held& held();
  // Null before the first byte of a client.
  [[nodiscard]] TlsStream* tls() const { return held_ == nullptr ? nullptr : held_->tls.get(); }
  // With TLS only.
  [[nodiscard]] bool is_shaking_hands() const { return tls() == nullptr || !tls()->is_secured(); }

  event event_{};
  Worker& worker_;
  std::unique_ptr<Session> session_;  // null until the client has spoken
  std::unique_ptr<Held> held_;
  std::atomic<uint32_t> active_s_;
  uint32_t attended_at_ = 0;  // its index in the worker's list, plus 1; 0: not attended
  int fd_;
  const uint16_t listener_ : 15;  // read by any thread, with its neighbour
  const bool is_tls_ : 1;
  std::atomic<ConnectionState> state_{ConnectionState::kRead};
  Next waits_for_ : 3 = Next::kClose;
  bool is_uploading_ : 1 = false;
  bool is_closing_ : 1 = false;
  bool is_watching_ : 1 = false;
  bool has_news_ : 1 = false;   // with is_watching_: there may be text for its session
  bool is_broken_ : 1 = false;  // the connection was lost, not closed
};

// Its share of the promise of 400 bytes an idle client: with malloc's header it fills 192; session
// and libevent's map take the rest.
static_assert(sizeof(Connection) <= 184);

}  // namespace larder::server
