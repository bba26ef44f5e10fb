#include "server/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <new>

namespace larder::server {

void TlsStream::MethodDeleter::operator()(bio_method_st* method) const { BIO_meth_free(method); }

TlsStream::SocketMethod TlsStream::MakeSocketMethod() {
  SocketMethod method(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "larder socket"));
  if (method == nullptr || BIO_meth_set_read(method.get(), BioRead) != 1 ||
      BIO_meth_set_write(method.get(), BioWrite) != 1 ||
      BIO_meth_set_ctrl(method.get(), BioControl) != 1) {
    return nullptr;
  }
  return method;
}

std::unique_ptr<TlsStream> TlsStream::Make(SSL_CTX* context, const BIO_METHOD* method, int fd) {
  ERR_clear_error();
  std::unique_ptr<TlsStream> stream(new (std::nothrow) TlsStream(fd));
  if (stream == nullptr) return nullptr;
  stream->ssl_ = SSL_new(context);
  if (stream->ssl_ == nullptr) return nullptr;
  if (method == nullptr) {
    if (SSL_set_fd(stream->ssl_, fd) != 1) return nullptr;
  } else {
    BIO* bio = BIO_new(method);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, stream.get());
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl_, bio, bio);
  }
  SSL_set_accept_state(stream->ssl_);
  return stream;
}

TlsStream::~TlsStream() {
  if (ssl_ == nullptr) return;
  End();
  SSL_free(ssl_);
}

int TlsStream::BioRead(BIO* bio, char* out, int size) {
  auto* self = static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  ssize_t n = -1;
  if (self->socket_is_empty_) {
    errno = EAGAIN;
  } else {
    do {
      n = recv(self->fd_, out, static_cast<size_t>(size), 0);
    } while (n < 0 && errno == EINTR);
    self->socket_is_empty_ = n < size;
  }
  if (n == 0) self->socket_is_over_ = true;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

int TlsStream::BioWrite(BIO* bio, const char* in, int size) {
  const auto* self = static_cast<const TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  ssize_t n = 0;
  do {
    n = send(self->fd_, in, static_cast<size_t>(size), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

long TlsStream::BioControl(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:  // nothing is kept back
      return 1;
    case BIO_CTRL_EOF:
      return static_cast<const TlsStream*>(BIO_get_data(bio))->socket_is_over_ ? 1 : 0;
    default:
      return 0;
  }
}

TlsStream::Outcome TlsStream::WhatNow(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Outcome::kWantsInput;
    case SSL_ERROR_WANT_WRITE:
      return Outcome::kWantsOutput;
    case SSL_ERROR_ZERO_RETURN:
      return Outcome::kOver;
    case SSL_ERROR_SYSCALL:
      is_broken_ = true;
      return Outcome::kOver;
    default:
      is_broken_ = true;
      if (const char* why = ERR_reason_error_string(ERR_peek_last_error()); why != nullptr) {
        problem_ = why;
      }
      return Outcome::kBroken;
  }
}

// Of a step that reads.
TlsStream::Outcome TlsStream::Noted(Outcome outcome) {
  is_drained_ = outcome == Outcome::kWantsInput || outcome == Outcome::kWantsOutput;
  reading_wants_output_ = outcome == Outcome::kWantsOutput;
  return outcome;
}

TlsStream::Outcome TlsStream::ShakeHands() {
  socket_is_empty_ = false;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) return Noted(WhatNow(result));
  is_secured_ = true;
  return Noted(Outcome::kDone);
}

bool TlsStream::is_resumed() const { return SSL_session_reused(ssl_) == 1; }

TlsStream::Moved TlsStream::Read(std::span<char> room) {
  // It was ready again, or nobody would ask.
  if (is_drained_) socket_is_empty_ = false;
  ERR_clear_error();
  size_t bytes = 0;
  const int result = SSL_read_ex(ssl_, room.data(), room.size(), &bytes);
  if (result != 1) return {Noted(WhatNow(result))};
  return {Noted(Outcome::kDone), bytes};
}

TlsStream::Moved TlsStream::Write(std::string_view bytes) {
  ERR_clear_error();
  size_t written = 0;
  const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &written);
  const Outcome outcome = result == 1 ? Outcome::kDone : WhatNow(result);
  has_record_stuck_ = outcome != Outcome::kDone;
  writing_wants_input_ = outcome == Outcome::kWantsInput;
  return {outcome, written};
}

void TlsStream::End() {
  if (!is_secured_ || is_ended_ || is_broken_ || has_record_stuck_) return;
  is_ended_ = true;
  ERR_clear_error();
  (void)SSL_shutdown(ssl_);
}

}  // namespace larder::server
