// server/notify.h — tells the service manager how the server is: sd_notify(3), in a few lines.
//
// Owner: main.  Threads: the main one.  Nothing here waits: a manager that does not read misses it.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace larder::server {

class Notifier {
 public:
  // `address` as in NOTIFY_SOCKET: a path, or @ and a name of Linux' own.  Null or empty: there is
  // nobody to tell, and everything below succeeds.
  explicit Notifier(const char* address) : address_(address == nullptr ? "" : address) {}

  // Serving, and what it would say of itself.
  [[nodiscard]] absl::Status Ready(const std::string& status) const;
  // Files are read again; Ready() ends it.
  [[nodiscard]] absl::Status Reloading() const;
  [[nodiscard]] absl::Status Stopping(const std::string& status) const;

 private:
  [[nodiscard]] absl::Status Send(std::string_view message) const;

  const std::string address_;
};

}  // namespace larder::server
