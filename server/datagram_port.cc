#include "server/datagram_port.h"

#include <netinet/in.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "server/datagram_frame.h"
#include "server/worker.h"

namespace larder::server {
namespace {

constexpr std::string_view kReplyTooLarge = "SERVER_ERROR reply too large for UDP\r\n";
// A session that neither takes nor says anything for so many rounds has nothing more to say.
constexpr int kIdleRounds = 3;

int PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
}

bool MoveReply(ReplyBuffer& reply, size_t limit, std::string* text) {
  if (text->size() + reply.pending_bytes() > limit) return false;
  while (!reply.empty()) {
    iovec parts[ReplyBuffer::kMaxSegments];
    const size_t count = reply.Gather(parts);
    size_t moved = 0;
    for (const iovec& part : std::span(parts).first(count)) {
      text->append(static_cast<const char*>(part.iov_base), part.iov_len);
      moved += part.iov_len;
    }
    reply.Drop(moved);
  }
  return true;
}

size_t FeedUpload(Session& session, std::string_view input) {
  const std::span<char> room = session.UploadBuffer();
  const size_t n = std::min(room.size(), input.size());
  if (n == 0) return 0;
  std::memcpy(room.data(), input.data(), n);
  session.Uploaded(n);
  return n;
}

}  // namespace

bool Converse(Session& session, std::string_view input, size_t limit, ReplyBuffer& reply,
              std::string* text) {
  for (int idle = 0; idle < kIdleRounds;) {
    const Session::Progress progress = session.Consume(input, reply);
    input.remove_prefix(progress.consumed);
    bool moved = progress.consumed > 0 || !reply.empty();
    if (!MoveReply(reply, limit, text)) return false;
    if (progress.state == SessionState::kUploading) {
      const size_t fed = FeedUpload(session, input);
      input.remove_prefix(fed);
      moved = moved || fed > 0;
    } else if (progress.state != SessionState::kOutputFull) {
      return true;
    }
    idle = moved ? 0 : idle + 1;
  }
  return true;
}

DatagramPort::DatagramPort(Worker& worker, ListeningSocket socket, size_t reply_limit)
    : worker_(worker), socket_(std::move(socket)), reply_limit_(reply_limit) {}

bool DatagramPort::Start(event_base* base) {
  on_readable_.Assign(
      base, socket_.fd.get(), EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* self) { static_cast<DatagramPort*>(self)->Turn(); }, this);
  return on_readable_.Arm();
}

void DatagramPort::Turn() {
  worker_.RefreshNow();
  for (int i = 0; i < kBatch; ++i) {
    sockaddr_storage peer{};
    socklen_t peer_bytes = sizeof(peer);
    const ssize_t n = recvfrom(socket_.fd.get(), worker_.scratch(), Worker::kScratchBytes,
                               MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&peer), &peer_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    worker_.stats().Add(ThreadCounter::bytes_read, static_cast<size_t>(n));
    if (PortOf(peer) == socket_.port || PortOf(peer) == 0) continue;
    try {
      Answer({worker_.scratch(), static_cast<size_t>(n)}, peer, peer_bytes);
    } catch (const std::bad_alloc&) {
      reply_ = {};  // this one is lost, as any datagram may be
    }
  }
}

void DatagramPort::Answer(std::string_view datagram, const sockaddr_storage& peer,
                          socklen_t peer_bytes) {
  const auto request = ReadDatagram(datagram);
  if (!request) return;
  const ClientInfo client{.fd = socket_.fd.get(),
                          .listener = 0,
                          .protocol = socket_.traits.protocol,
                          .transport = Transport::kUdp};
  worker_.Serve(client.fd);
  const std::unique_ptr<Session> session = worker_.MakeSession(client, request->payload);
  if (session == nullptr) return;
  reply_.clear();
  std::unique_ptr<ReplyBuffer> buffer = worker_.Borrow();
  const bool fits = Converse(*session, request->payload, reply_limit_, *buffer, &reply_);
  worker_.GiveBack(std::move(buffer));
  if (!fits) {
    if (request->payload.front() == kBinaryMagic) return;  // it has no such answer
    reply_ = kReplyTooLarge;
  }
  Send(request->id, reply_, peer, peer_bytes);
}

void DatagramPort::Send(uint16_t id, std::string_view reply, const sockaddr_storage& peer,
                        socklen_t peer_bytes) {
  const size_t total = (reply.size() + kDatagramPayloadBytes - 1) / kDatagramPayloadBytes;
  for (size_t i = 0; i < total; ++i) {
    DatagramHeader header =
        MakeDatagramHeader(id, static_cast<uint16_t>(i), static_cast<uint16_t>(total));
    const std::string_view piece = reply.substr(i * kDatagramPayloadBytes, kDatagramPayloadBytes);
    iovec parts[2] = {{header.data(), header.size()},
                      {const_cast<char*>(piece.data()), piece.size()}};
    msghdr message{};
    message.msg_name = const_cast<sockaddr_storage*>(&peer);
    message.msg_namelen = peer_bytes;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    // What does not fit the socket is lost, as datagrams are.
    const ssize_t n = sendmsg(socket_.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return;
    worker_.stats().Add(ThreadCounter::bytes_written, static_cast<size_t>(n));
  }
}

}  // namespace larder::server
