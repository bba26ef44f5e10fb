// tools/bench/socket.h — a connected socket that closes itself, and the clock.

#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "tools/bench/options.h"

namespace larder::bench {

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Connects, blocking; Nagle's delay is off.  Not open, with `*error` set, when that failed.
[[nodiscard]] Socket Connect(const Endpoint& endpoint, std::string* error);

// Monotonic nanoseconds.
[[nodiscard]] uint64_t NowNs();

// Keeps the calling thread on `cpu`; does nothing for -1.  False when the system refuses.
[[nodiscard]] bool StayOnCpu(int cpu);

}  // namespace larder::bench
