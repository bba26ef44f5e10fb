// server/tls_credentials.h — the certificate, key and rules that new TLS connections begin with.
//
// Owner: Server.  Threads: any.  A set of them is immutable once loaded; a reload puts a new one in
// its place, and connections that began before keep theirs for as long as they live.
// Sessions are resumed only with the set, and only by the kind of listener, that they began with:
// after a reload everybody proves itself anew, and nobody passes a check by another door.
// Locks: reload_mutex_ for one reload at a time, mutex_ (a leaf) around the swap.

#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/tls_options.h"
#include "server/tls_stream.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace larder::server {

// A certificate with its key, loaded and checked.
class TlsContext {
 public:
  // The error is one line that names the file and why.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const TlsContext>> Load(
      const TlsOptions& options);

  // OpenSSL's context for listeners with this check.  REQUIRES: it is kNone or the one of the
  // options, or the options have a ca_cert.
  [[nodiscard]] ssl_ctx_st* For(PeerCheck check) const {
    return contexts_[static_cast<size_t>(check)].get();
  }

 private:
  struct Deleter {
    void operator()(ssl_ctx_st* context) const;
  };
  using Context = std::unique_ptr<ssl_ctx_st, Deleter>;

  static absl::StatusOr<Context> LoadOne(const TlsOptions& options, PeerCheck check);

  std::array<Context, kPeerChecks> contexts_;
};

class TlsCredentials {
 public:
  // REQUIRES: both outlive it.
  TlsCredentials(const TlsOptions& options, const Clock& clock);

  // Reads the files; at first, and again when they have changed.  On failure, which the error says
  // in one line, what was loaded before stays.  Blocks for some milliseconds.
  [[nodiscard]] absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] int64_t SecondsSinceLoad() const ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] const TlsOptions& options() const { return options_; }

  // The most that goes into one record.
  [[nodiscard]] size_t record_bytes() const { return record_bytes_; }
  // The stream of a new connection; null when there is no memory for it.  REQUIRES: Load()
  // succeeded once.
  [[nodiscard]] std::unique_ptr<TlsStream> NewStream(int fd, PeerCheck check) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const TlsOptions& options_;
  const Clock& clock_;
  const size_t record_bytes_;
  const TlsStream::SocketMethod method_;
  std::mutex reload_mutex_;
  mutable Mutex<LockRank::kLeaf> mutex_;
  std::shared_ptr<const TlsContext> current_ ABSL_GUARDED_BY(mutex_);
  TimeMs loaded_at_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace larder::server
