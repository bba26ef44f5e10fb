// server/datagram_port.h — a worker's UDP socket: each datagram is a conversation of its own.
//
// Every worker has a socket of its own on the same port (SO_REUSEPORT); the kernel deals the
// clients out.  Nothing is kept between two datagrams.
//
// UDP senders can lie about who they are, so an answer must not be a weapon: what is not a request
// gets silence, a reply has a limit, and nobody is answered who sends from a server's own port (two
// servers would answer each other's errors for ever).
//
// Owner: Worker.  Threads: that worker.

#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/session.h"
#include "server/client_info.h"
#include "server/endpoint.h"
#include "server/event_loop.h"

namespace larder::server {

class Worker;

// Runs `input`, a whole conversation, through `session`, and appends the replies to `text`.  False
// when there are more than `limit` bytes of them.  What is left unfinished is forgotten.
[[nodiscard]] bool Converse(Session& session, std::string_view input, size_t limit,
                            ReplyBuffer& reply, std::string* text);

class DatagramPort {
 public:
  // Bytes of the replies to one datagram.
  static constexpr size_t kDefaultReplyLimit = 64 << 10;

  // `worker` outlives it.
  DatagramPort(Worker& worker, ListeningSocket socket, size_t reply_limit);
  DatagramPort(const DatagramPort&) = delete;
  DatagramPort& operator=(const DatagramPort&) = delete;
  ~DatagramPort() = default;

  // False when the kernel refuses.
  [[nodiscard]] bool Start(event_base* base);
  void Stop() { on_readable_.Disarm(); }

 private:
  static constexpr int kBatch = 64;  // datagrams in one turn

  void Turn();
  void Answer(std::string_view datagram, const sockaddr_storage& peer, socklen_t peer_bytes);
  void Send(uint16_t id, std::string_view reply, const sockaddr_storage& peer,
            socklen_t peer_bytes);

  Worker& worker_;
  ListeningSocket socket_;
  const size_t reply_limit_;
  Event on_readable_;
  std::string reply_;  // of the datagram at hand; kept for its memory
};

}  // namespace larder::server
