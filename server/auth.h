// server/auth.h — who is let in, as -S and -Y ask for it.
//
// Owner: Server.  Threads: Reload by the main thread; everything else by any worker.
// Sources: RFC 4616 (PLAIN), Cyrus SASL for everything else.

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "protocol/memcache/auth.h"
#include "server/options.h"
#include "server/password_table.h"

namespace larder::server {

class Guard : public memcache::Authenticator {
 public:
  // The file with the passwords; empty when they are kept elsewhere.
  [[nodiscard]] virtual std::string_view path() const { return {}; }
  // Reads that file again.  When it is bad, the users stay who they were.
  [[nodiscard]] virtual absl::Status Reload() { return absl::OkStatus(); }
};

// A file of passwords as it was when it was read last.
class PasswordFile {
 public:
  explicit PasswordFile(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] absl::Status Reload() ABSL_LOCKS_EXCLUDED(mutex_);
  // Nobody before the first Reload() that went well.
  [[nodiscard]] bool Knows(std::string_view user, std::string_view password) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string path_;
  mutable Mutex<LockRank::kLeaf> mutex_;
  std::shared_ptr<const PasswordTable> table_ ABSL_GUARDED_BY(mutex_);
};

// One client's PLAIN, against such a file.
class PlainExchange final : public memcache::SaslExchange {
 public:
  explicit PlainExchange(const PasswordFile& passwords) : passwords_(passwords) {}
  memcache::SaslResult Step(std::string_view message, std::string* challenge) override;

 private:
  const PasswordFile& passwords_;
  bool has_asked_ = false;
};

// Null when neither -S nor -Y was given.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Guard>> MakeGuard(const Options& options);

// server/auth_cyrus.cc
[[nodiscard]] absl::StatusOr<std::unique_ptr<Guard>> MakeCyrusGuard();

}  // namespace larder::server
