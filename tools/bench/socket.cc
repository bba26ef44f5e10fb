// tools/bench/socket.cc — connecting, the clock and the core to stay on.

#include "tools/bench/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace larder::bench {
namespace {

Socket ConnectTo(int family, const sockaddr* address, socklen_t size, std::string* error) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open() || ::connect(socket.fd(), address, size) != 0) {
    *error = std::string("connect: ") + std::strerror(errno);
    return Socket();
  }
  return socket;
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket Connect(const Endpoint& endpoint, std::string* error) {
  if (!endpoint.unix_path.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (endpoint.unix_path.size() >= sizeof(address.sun_path)) {
      *error = "connect: path too long";
      return Socket();
    }
    std::memcpy(address.sun_path, endpoint.unix_path.c_str(), endpoint.unix_path.size() + 1);
    return ConnectTo(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address), error);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  if (inet_pton(AF_INET, endpoint.host.c_str(), &address.sin_addr) != 1) {
    *error = "not an IPv4 address: " + endpoint.host;
    return Socket();
  }
  Socket socket =
      ConnectTo(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address), error);
  const int on = 1;
  if (socket.is_open()) setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return socket;
}

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

bool StayOnCpu(int cpu) {
  if (cpu < 0) return true;
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

}  // namespace larder::bench
