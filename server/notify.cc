#include "server/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/endpoint.h"

namespace larder::server {
namespace {

// A reload is told apart from the one before by its time.
int64_t MonotonicMicros() {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

absl::Status Notifier::Ready(const std::string& status) const {
  return Send(absl::StrCat("READY=1\nSTATUS=", status, "\n"));
}

absl::Status Notifier::Reloading() const {
  return Send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", MonotonicMicros(), "\n"));
}

absl::Status Notifier::Stopping(const std::string& status) const {
  return Send(absl::StrCat("STOPPING=1\nSTATUS=", status, "\n"));
}

absl::Status Notifier::Send(std::string_view message) const {
  if (address_.empty()) return absl::OkStatus();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((address_[0] != '/' && address_[0] != '@') || address_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET: '", address_, "' is no address"));
  }
  address_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (address_[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // Made anew each time: the manager may have been started anew too.
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() || sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("NOTIFY_SOCKET ", address_));
  }
  return absl::OkStatus();
}

}  // namespace larder::server
