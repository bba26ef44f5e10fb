// server/tls_stream.h — one connection's TLS: encrypts and decrypts between a socket and its
// connection, and holds nothing but OpenSSL's state.
//
// Owner: Connection.  Threads: its worker.
// The socket is non-blocking, and every step can want either direction of it.  A step that wants
// something has to be taken again once the socket is ready, a Write() with the same bytes in front.
// OpenSSL is let have the socket by a BIO of ours, because its own one raises SIGPIPE and asks a
// drained socket again.  With kernel_tls it is OpenSSL's, which alone knows how.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

struct ssl_st;         // OpenSSL's SSL
struct ssl_ctx_st;     // SSL_CTX
struct bio_st;         // BIO
struct bio_method_st;  // BIO_METHOD

namespace larder::server {

class TlsStream {
 public:
  enum class Outcome : uint8_t {
    kDone,
    kWantsInput,
    kWantsOutput,
    kOver,    // the peer has ended its direction, or is gone
    kBroken,  // it does not keep to the protocol, or its certificate is refused
  };
  struct Moved {
    Outcome outcome;
    size_t bytes = 0;  // with kDone
  };

  struct MethodDeleter {
    void operator()(bio_method_st* method) const;
  };
  using SocketMethod = std::unique_ptr<bio_method_st, MethodDeleter>;
  // Null when there is no memory.
  [[nodiscard]] static SocketMethod MakeSocketMethod();

  // Null when there is no memory.  `method` null: OpenSSL's own.  REQUIRES: method outlives it.
  [[nodiscard]] static std::unique_ptr<TlsStream> Make(ssl_ctx_st* context,
                                                       const bio_method_st* method, int fd);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;
  ~TlsStream();  // End()

  // Goes on with the handshake, until kDone.
  [[nodiscard]] Outcome ShakeHands();
  [[nodiscard]] bool is_secured() const { return is_secured_; }
  // After the handshake: whether a session of before was taken up again.
  [[nodiscard]] bool is_resumed() const;
  // At most one record's worth.  REQUIRES: the handshake is done, room.
  [[nodiscard]] Moved Read(std::span<char> room);
  // At most one record's worth of the front of `bytes`.  REQUIRES: the handshake is done, bytes.
  [[nodiscard]] Moved Write(std::string_view bytes);
  // Says that nothing more comes, unless the peer could not understand it any more.
  void End();

  // It ended otherwise than the protocol wants.
  [[nodiscard]] bool is_broken() const { return is_broken_; }
  // OpenSSL's word for it, "wrong version number"; empty until then.
  [[nodiscard]] std::string_view problem() const { return problem_; }
  // The last Read() or ShakeHands() wants something of the socket: nothing is left inside.
  [[nodiscard]] bool is_drained() const { return is_drained_; }
  // What the last Read() or ShakeHands(), or Write(), wants is the other direction.
  [[nodiscard]] bool reading_wants_output() const { return reading_wants_output_; }
  [[nodiscard]] bool writing_wants_input() const { return writing_wants_input_; }

 private:
  explicit TlsStream(int fd) : fd_(fd) {}

  static int BioRead(bio_st* bio, char* out, int size);
  static int BioWrite(bio_st* bio, const char* in, int size);
  static long BioControl(bio_st* bio, int command, long number, void* pointer);
  [[nodiscard]] Outcome WhatNow(int result);
  [[nodiscard]] Outcome Noted(Outcome outcome);

  ssl_st* ssl_ = nullptr;
  const int fd_;
  const char* problem_ = "";  // one of OpenSSL's constants
  bool is_secured_ = false;   // the handshake is done
  bool is_ended_ = false;
  bool is_broken_ = false;
  bool has_record_stuck_ = false;
  bool is_drained_ = false;
  bool reading_wants_output_ = false;
  bool writing_wants_input_ = false;
  bool socket_is_empty_ = false;  // as far as is known since the last step began
  bool socket_is_over_ = false;
};

}  // namespace larder::server
