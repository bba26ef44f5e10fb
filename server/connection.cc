#include "server/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "server/worker.h"

namespace larder::server {

std::string_view StateName(ConnectionState state) {
  switch (state) {
    case ConnectionState::kRead:
      return "conn_read";
    case ConnectionState::kParse:
      return "conn_parse_cmd";
    case ConnectionState::kUpload:
      return "conn_nread";
    case ConnectionState::kWaiting:
      return "conn_waiting";
    case ConnectionState::kWatch:
      return "conn_watch";
    case ConnectionState::kWrite:
      return "conn_mwrite";
  }
  return "conn_closed";
}

Connection::Connection(Worker& worker, UniqueFd fd, uint16_t listener)
    : worker_(worker),
      active_s_(worker.now_s()),
      fd_(fd.Release()),
      listener_(listener & kMostListeners),
      is_tls_(worker.listener(listener).transport == Transport::kTls) {}

Connection::~Connection() {
  if (polls() != Polls::kNothing) event_del(&event_);
  if (held_ != nullptr) worker_.DropParked(std::move(held_->reply));
  held_.reset();  // while TLS can still say goodbye
  close(fd_);
}

Connection::Held::~Held() { owner.worker_.Release(*this); }

void Connection::OnEvent(evutil_socket_t /*fd*/, short /*what*/, void* self) {
  auto* connection = static_cast<Connection*>(self);
  connection->worker_.RefreshNow();
  connection->worker_.Run(*connection);
}

Connection::Next Connection::Start() {
  WaitFor(Next::kRead);
  return waits_for_;
}

Connection::Next Connection::Turn() {
  active_s_.store(worker_.now_s(), std::memory_order_relaxed);
  worker_.BeginTurn();
  if (held_ != nullptr && held_->reply != nullptr) worker_.Unpark(std::move(held_->reply));
  const Next next = Advance();
  if (next == Next::kWrite) {
    Held& mine = held();
    mine.reply = worker_.Park();
    mine.reply->MarkStuck();
  } else if (held_ != nullptr && held_->input_bytes == 0 && !is_tls_) {
    held_.reset();
  }
  WaitFor(next);
  if (held_ != nullptr) worker_.Charge(*held_);
  return waits_for_;
}

Connection::Held& Connection::held() {
  if (held_ == nullptr) held_ = std::make_unique<Held>(*this);
  return *held_;
}

Connection::Verdict Connection::Tick(uint32_t now_s, const Patience& patience) {
  const uint32_t active = active_s_.load(std::memory_order_relaxed);
  if (blocked()) {
    const bool over = patience.blocked_s != 0 && Elapsed(active, now_s) >= patience.blocked_s;
    return over ? Verdict::kClose : Verdict::kStay;
  }
  if (is_due()) return Verdict::kStay;
  if (is_tls_ && is_shaking_hands()) {
    const uint32_t since = held_ == nullptr ? active : held_->shakes_hands_since_s;
    if (patience.handshake_s == 0 || Elapsed(since, now_s) < patience.handshake_s)
      return Verdict::kStay;
    worker_.stats().Add(ThreadCounter::ssl_handshake_errors);
    worker_.NoteTlsError(fd_, "timed out");
    return Verdict::kClose;
  }
  if (!is_uploading_) return Verdict::kStay;
  session_->Tick();
  // An upload that was given up wants no more bytes: the session has to say what now.
  return session_->UploadBuffer().empty() ? Verdict::kTurn : Verdict::kStay;
}

inline Connection::Next Connection::Advance() {
  if (is_tls_ && is_shaking_hands()) return ShakeHands();
  const bool upload_ended = is_uploading_ && session_->UploadBuffer().empty();
  const bool has_news = has_news_;
  has_news_ = false;
  const bool reads = waits_for_ == Next::kRead || waits_for_ == Next::kAgain;
  if (reads && !upload_ended && !has_news) return ReadTurn();
  if (waits_for_ == Next::kWrite) {
    const Sent sent = Flush();
    if (sent != Sent::kAll) return sent == Sent::kLost ? Next::kClose : Next::kWrite;
    if (is_closing_) return Settle({}, Next::kClose);
    // A buffer that was cut down while it was stuck takes no more.
    std::unique_ptr<ReplyBuffer>& reply = worker_.turn().reply;
    if (reply != nullptr && !reply->is_whole()) worker_.GiveBack(std::move(reply));
  }
  // What was put aside comes before anything new.
  const size_t kept = Unkeep();
  return Process({worker_.scratch(), kept});
}

Connection::Next Connection::ShakeHands() {
  if (held_ == nullptr) {
    held().shakes_hands_since_s = worker_.now_s();
    held_->tls = worker_.NewTlsStream(fd_, listener_);
    if (held_->tls == nullptr) return Next::kClose;
  }
  switch (tls()->ShakeHands()) {
    case TlsStream::Outcome::kDone:
      if (!tls()->is_resumed()) worker_.stats().Add(ThreadCounter::ssl_new_sessions);
      return ReadTurn();  // the first request may have come with the last of the handshake
    case TlsStream::Outcome::kWantsInput:
    case TlsStream::Outcome::kWantsOutput:
      return Next::kRead;
    case TlsStream::Outcome::kBroken:
      worker_.stats().Add(ThreadCounter::ssl_handshake_errors);
      worker_.NoteTlsError(fd_, tls()->problem());
      is_broken_ = true;
      Lingerless();  // an alert is on its way
      break;
    case TlsStream::Outcome::kOver:
      break;
  }
  return Next::kClose;
}

inline Connection::Next Connection::ReadTurn() {
  size_t turn_bytes = 0;
  while (turn_bytes < kReadTurnBytes) {
    const size_t kept = Unkeep();
    const Received received = Receive(kept);
    if (received.is_over) return Next::kClose;
    const size_t have = kept + received.bytes;
    turn_bytes += received.total;
    if (received.would_block) {
      Keep({worker_.scratch(), have});
      return Next::kRead;
    }
    const Next next = Process({worker_.scratch(), have});
    if (next != Next::kRead || received.drained) return next;
  }
  worker_.stats().Add(ThreadCounter::conn_yields);
  return Next::kRead;
}

inline Connection::Received Connection::Receive(size_t kept) {
  // A little more than the upload wants: its end and the next command come with the same call.
  constexpr size_t kBesideUpload = 2048;
  char* const scratch = worker_.scratch() + kept;
  const std::span<char> upload =
      is_uploading_ && kept == 0 ? session_->UploadBuffer() : std::span<char>();
  const size_t room = Worker::kScratchBytes - kept;
  if (is_tls_) return ReceiveTls(upload, {scratch, room});
  const size_t wanted = upload.empty() ? room : upload.size() + kBesideUpload;
  ssize_t n = 0;
  do {
    if (upload.empty()) {
      n = recv(fd_, scratch, room, 0);
    } else {
      const iovec parts[2] = {{upload.data(), upload.size()}, {scratch, kBesideUpload}};
      n = readv(fd_, parts, 2);
    }
  } while (n < 0 && errno == EINTR);
  Received received;
  if (n <= 0) {
    received.would_block = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    received.is_over = !received.would_block;
    is_broken_ = received.is_over && n < 0;
    return received;
  }
  const auto bytes = static_cast<size_t>(n);
  worker_.stats().Add(ThreadCounter::bytes_read, bytes);
  received.drained = bytes < wanted;
  const size_t uploaded = std::min(bytes, upload.size());
  if (uploaded > 0) session_->Uploaded(uploaded);
  received.total = bytes;
  received.bytes = bytes - uploaded;
  return received;
}

// Record by record, until there are no more, or no more room.
Connection::Received Connection::ReceiveTls(std::span<char> upload, std::span<char> room) {
  Received received;
  const bool is_upload = !upload.empty();
  std::span<char>& into = is_upload ? upload : room;
  while (!into.empty()) {
    const TlsStream::Moved moved = tls()->Read(into);
    if (moved.outcome == TlsStream::Outcome::kDone) {
      received.total += moved.bytes;
      into = into.subspan(moved.bytes);
      if (is_upload) session_->Uploaded(moved.bytes);
      continue;
    }
    received.drained = tls()->is_drained();
    // What came before the end counts; the end is met again.
    received.would_block = received.drained && received.total == 0;
    received.is_over = !received.drained && received.total == 0;
    is_broken_ = received.is_over && tls()->is_broken();
    if (received.is_over && moved.outcome == TlsStream::Outcome::kBroken) {
      worker_.stats().Add(ThreadCounter::ssl_proto_errors);
    }
    break;
  }
  if (!is_upload) received.bytes = received.total;
  worker_.stats().Add(ThreadCounter::bytes_read, received.total);
  return received;
}

inline Connection::Next Connection::Process(std::string_view input) {
  if (is_uploading_ && input.empty() && !session_->UploadBuffer().empty()) {
    set_state(ConnectionState::kUpload);
    return Next::kRead;
  }
  set_state(ConnectionState::kParse);
  if (session_ == nullptr && !Meet(input)) return Next::kClose;
  std::unique_ptr<ReplyBuffer>& reply = worker_.turn().reply;
  if (reply == nullptr) reply = worker_.Borrow();
  int idle_rounds = 0;  // rounds without any progress: a session that does that is broken
  while (idle_rounds < 3) {
    const size_t pending = reply->pending_bytes();
    const Session::Progress progress = session_->Consume(input, *reply);
    input.remove_prefix(progress.consumed);
    is_uploading_ = progress.state == SessionState::kUploading;
    const bool moved = progress.consumed > 0 || reply->pending_bytes() != pending;
    idle_rounds = moved ? 0 : idle_rounds + 1;
    switch (progress.state) {
      case SessionState::kNeedInput:
        return input.size() > Session::kMaxPending ? Next::kClose : Settle(input, Next::kRead);
      case SessionState::kOutputFull:
        switch (Flush()) {
          case Sent::kAll:
            if (pending > 0) idle_rounds = 0;
            break;
          case Sent::kStuck:
            Keep(input);
            set_state(ConnectionState::kWrite);
            return Next::kWrite;
          case Sent::kLost:
            return Next::kClose;
        }
        break;
      case SessionState::kUploading:
        if (input.empty() && !session_->UploadBuffer().empty()) return Settle({}, Next::kRead);
        if (FeedUpload(&input)) idle_rounds = 0;
        break;
      case SessionState::kWaiting:
        return Settle(input, Next::kWait);
      case SessionState::kWatching:
        BeginToWatch();
        return Settle({}, Next::kRead);
      case SessionState::kClosing:
        is_closing_ = true;
        return Settle({}, Next::kClose);
    }
  }
  return Next::kClose;
}

bool Connection::Meet(std::string_view first_bytes) {
  session_ = worker_.MakeSession(fd_, listener_, first_bytes);
  return session_ != nullptr;
}

void Connection::BeginToWatch() {
  if (!is_watching_) worker_.AddWatcher(*this);
  is_watching_ = true;
}

bool Connection::FeedUpload(std::string_view* input) {
  const std::span<char> buffer = session_->UploadBuffer();
  const size_t n = std::min(buffer.size(), input->size());
  if (n == 0) return false;
  std::memcpy(buffer.data(), input->data(), n);
  session_->Uploaded(n);
  input->remove_prefix(n);
  return true;
}

inline Connection::Next Connection::Settle(std::string_view rest, Next next) {
  Keep(rest);
  switch (Flush()) {
    case Sent::kAll:
      break;
    case Sent::kStuck:
      set_state(ConnectionState::kWrite);
      return Next::kWrite;
    case Sent::kLost:
      return Next::kClose;
  }
  if (next == Next::kClose) Lingerless();
  set_state(next == Next::kWait ? ConnectionState::kWaiting
            : is_uploading_     ? ConnectionState::kUpload
            : is_watching_      ? ConnectionState::kWatch
                                : ConnectionState::kRead);
  return next;
}

inline Connection::Sent Connection::Flush() {
  Worker::Turn& turn = worker_.turn();
  if (turn.reply == nullptr) return Sent::kAll;
  ReplyBuffer& reply = *turn.reply;
  while (!reply.empty()) {
    if (turn.sent_bytes >= kWriteTurnBytes) {
      worker_.stats().Add(ThreadCounter::conn_yields);
      return Sent::kStuck;
    }
    const Written written = is_tls_ ? WriteTls(reply) : Write(reply);
    worker_.stats().Add(ThreadCounter::bytes_written, written.bytes);
    reply.Drop(written.bytes);
    turn.sent_bytes += written.bytes;
    if (written.outcome != Sent::kAll) return written.outcome;
  }
  return Sent::kAll;
}

inline Connection::Written Connection::Write(const ReplyBuffer& reply) {
  const std::string_view run = reply.OneRun();
  if (run.empty()) return WriteParts(reply);
  ssize_t n = 0;
  do {
    n = send(fd_, run.data(), run.size(), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return OutcomeOf(n, run.size());
}

Connection::Written Connection::WriteParts(const ReplyBuffer& reply) {
  iovec parts[ReplyBuffer::kMaxSegments];
  const size_t count = reply.Gather(parts);
  size_t offered = 0;
  for (size_t i = 0; i < count; ++i) offered += parts[i].iov_len;
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  ssize_t n = 0;
  do {
    n = sendmsg(fd_, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return OutcomeOf(n, offered);
}

Connection::Written Connection::OutcomeOf(ssize_t sent, size_t offered) {
  if (sent < 0) return {0, errno == EAGAIN || errno == EWOULDBLOCK ? Sent::kStuck : Sent::kLost};
  const auto bytes = static_cast<size_t>(sent);
  return {bytes, bytes < offered ? Sent::kStuck : Sent::kAll};
}

// One record.  When it gets stuck OpenSSL has to be shown the same bytes again, wherever they lie
// then: nothing is appended to a reply, and nothing dropped, while it is stuck.
Connection::Written Connection::WriteTls(const ReplyBuffer& reply) {
  iovec parts[ReplyBuffer::kMaxSegments];
  const size_t count = reply.Gather(parts);
  const TlsStream::Moved moved = tls()->Write(worker_.NextRecord({parts, count}));
  switch (moved.outcome) {
    case TlsStream::Outcome::kDone:
      return {moved.bytes, Sent::kAll};
    case TlsStream::Outcome::kWantsInput:
    case TlsStream::Outcome::kWantsOutput:
      return {0, Sent::kStuck};
    case TlsStream::Outcome::kBroken:
      worker_.stats().Add(ThreadCounter::ssl_proto_errors);
      break;
    case TlsStream::Outcome::kOver:
      break;
  }
  return {0, Sent::kLost};
}

void Connection::Keep(std::string_view rest) {
  if (rest.empty()) return;
  Held& mine = held();
  mine.input = std::make_unique_for_overwrite<char[]>(rest.size());
  std::memcpy(mine.input.get(), rest.data(), rest.size());
  mine.input_bytes = rest.size();
}

size_t Connection::Unkeep() {
  if (held_ == nullptr) return 0;
  const size_t bytes = held_->input_bytes;
  if (bytes > 0) std::memcpy(worker_.scratch(), held_->input.get(), bytes);
  if (is_tls_) {
    held_->input.reset();
    held_->input_bytes = 0;
  } else {
    held_.reset();
  }
  return bytes;
}

inline void Connection::WaitFor(Next next) {
  // The socket does not know of what TLS still holds.
  if (is_tls_ && next == Next::kRead && tls() != nullptr && !tls()->is_drained()) {
    next = Next::kAgain;
  }
  if (next != waits_for_ || is_tls_) Rearm(&next);
  waits_for_ = next;
  if (next == Next::kClose) return;
  worker_.Attend(*this, next == Next::kWrite || is_uploading_ || (is_tls_ && is_shaking_hands()));
}

// kClose when the kernel refuses.
void Connection::Rearm(Next* next) {
  const Polls now = polls();
  Polls then = PollsFor(*next);
  if (now != then) {
    if (now != Polls::kNothing) event_del(&event_);
    if (then != Polls::kNothing) {
      const short what = then == Polls::kReadable ? EV_READ : EV_WRITE;
      event_assign(&event_, worker_.base(), fd_, static_cast<short>(what | EV_PERSIST), OnEvent,
                   this);
      if (event_add(&event_, nullptr) != 0) {
        *next = Next::kClose;
        then = Polls::kNothing;
      }
    }
  }
  if (tls() != nullptr) held_->polls = then;
}

Connection::Polls Connection::PollsFor(Next next) const {
  switch (next) {
    case Next::kRead:
      return is_tls_ && tls() != nullptr && tls()->reading_wants_output() ? Polls::kWritable
                                                                          : Polls::kReadable;
    case Next::kWrite:
      return is_tls_ && tls()->writing_wants_input() ? Polls::kReadable : Polls::kWritable;
    case Next::kWait:
    case Next::kAgain:
    case Next::kClose:
      break;
  }
  return Polls::kNothing;
}

// Closing with unread input would reset the connection and could take the last reply with it.
void Connection::Lingerless() {
  if (is_tls_) tls()->End();
  shutdown(fd_, SHUT_WR);
  (void)recv(fd_, worker_.scratch(), Worker::kScratchBytes, MSG_DONTWAIT);
}

}  // namespace larder::server
