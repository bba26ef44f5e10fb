// tests/server/client.h — a blocking client on a raw socket, which gives up instead of hanging.
//
// Owner: a test.  Threads: one.

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <string_view>

#include "server/endpoint.h"

namespace larder::server {

// What a client of any kind reads up to and with `end`.
template <typename Client>
std::string ReadUntil(Client& client, std::string_view end) {
  std::string text;
  while (!text.ends_with(end)) {
    const std::string one = client.Read(1);
    if (one.empty()) break;
    text += one;
  }
  return text;
}

class TestClient {
 public:
  static constexpr int kTimeoutMs = 20'000;

  static TestClient Tcp(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return TestClient(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  static TestClient Unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return TestClient(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // False when the far end is gone or does not read for too long.
  bool Send(std::string_view text) {
    while (!text.empty()) {
      if (!Wait(POLLOUT)) return false;
      const ssize_t n = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EAGAIN) continue;
      if (n < 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void EndOutput() { shutdown(fd_.get(), SHUT_WR); }

  // Exactly `n` bytes, or fewer when the far end closes or nothing comes for too long.
  std::string Read(size_t n) {
    std::string text(n, '\0');
    size_t have = 0;
    while (have < n && Wait(POLLIN)) {
      const ssize_t got = recv(fd_.get(), text.data() + have, n - have, 0);
      if (got <= 0) break;
      have += static_cast<size_t>(got);
    }
    text.resize(have);
    return text;
  }
  // What is there, waiting for at least a byte; empty when the far end closes.
  std::string ReadSome() {
    char buffer[16384];
    const ssize_t got = Wait(POLLIN) ? recv(fd_.get(), buffer, sizeof(buffer), 0) : 0;
    return got <= 0 ? "" : std::string(buffer, static_cast<size_t>(got));
  }
  std::string ReadUntil(std::string_view end) { return larder::server::ReadUntil(*this, end); }
  // Everything until the far end closes.
  std::string ReadAll() {
    std::string text;
    char buffer[65536];
    while (Wait(POLLIN)) {
      const ssize_t got = recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text;
  }
  // True when the far end closed (or reset) and nothing is left to read.
  bool IsClosed() {
    char byte = 0;
    return Wait(POLLIN) && recv(fd_.get(), &byte, 1, 0) <= 0;
  }
  std::string Ask(std::string_view request, std::string_view end = "\n") {
    return Send(request) ? ReadUntil(end) : "";
  }
  void Close() { fd_.Reset(); }

 private:
  TestClient(int family, const sockaddr* address, socklen_t length)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        connected_(connect(fd_.get(), address, length) == 0) {}

  bool Wait(short what) {
    pollfd one{fd_.get(), what, 0};
    return poll(&one, 1, kTimeoutMs) > 0;
  }

  UniqueFd fd_;
  bool connected_ = false;
};

}  // namespace larder::server
