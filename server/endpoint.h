// server/endpoint.h — where to listen: what -l, -p and -s say, and the sockets made of it.
//
// Threads: any; the functions that resolve and bind block, and belong before serving.

#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/events.h"
#include "server/client_info.h"
#include "server/tls_options.h"

namespace larder::server {

// A file descriptor that is closed with its owner.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset();

 private:
  int fd_ = -1;
};

// One place to listen at, as written by the user.
struct Endpoint {
  std::string host;       // empty: every address
  int port = -1;          // 0..65535; 0 stands for any free port
  std::string unix_path;  // when set, nothing else counts but the mode
  mode_t unix_mode = 0700;
  std::optional<BindingProtocol> protocol = std::nullopt;  // proto[...]; otherwise -B counts
  TlsPrefix tls_prefix = TlsPrefix::kNone;
  std::optional<PeerCheck> tls = std::nullopt;  // what comes of it and -Z; null: plain
  std::string tag = {};                         // tag[...]; a name, of no effect

  [[nodiscard]] std::string ToString() const;
};

// Reads `host`, `host:port`, `[v6]`, `[v6]:port`, a bare v6 address or `*`, behind any of these
// prefixes in this order: `notls:`, `btls:` or `mtls:`, `proto[ascii|binary|negotiating]:`,
// `tag[name]:` or `tag_name_:`.  The error says what is wrong with `text`.
[[nodiscard]] absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text, int default_port);

// What comes of a listener's prefix: null for one without TLS.
[[nodiscard]] std::optional<PeerCheck> TlsOf(const TlsOptions& options, TlsPrefix prefix);

struct ListeningSocket {
  UniqueFd fd;
  int family = AF_UNSPEC;
  int port = 0;             // as bound; 0 for a unix socket
  std::string description;  // tcp:0.0.0.0:11211, tcp6:[::]:11211, unix:/path
  ListenerTraits traits;
};

// What connections to a socket of `family` need to know of the endpoint.
[[nodiscard]] ListenerTraits TraitsOf(const Endpoint& endpoint, int family);

// Binds and listens, non-blocking, close-on-exec.  One endpoint can give several sockets (IPv4 and
// IPv6); a family that the machine does not have is skipped as long as another one works.
[[nodiscard]] absl::StatusOr<std::vector<ListeningSocket>> Listen(const Endpoint& endpoint,
                                                                  int backlog);

// Binds sockets for datagrams, `copies` of them to each address of the endpoint, one behind the
// other: so many threads can share the port.
[[nodiscard]] absl::StatusOr<std::vector<ListeningSocket>> BindDatagrams(const Endpoint& endpoint,
                                                                         size_t copies);

// memcached's way to write an address: tcp:127.0.0.1:4711, tcp6:[::1]:4711, unix:/path, unix:@name.
[[nodiscard]] std::string DescribeAddress(const sockaddr_storage& address, socklen_t length);
// The same for the far end of a connected socket, or (`local`) for its near end.
[[nodiscard]] std::string DescribeSocket(int fd, bool local);

// The far end of a connected socket, in parts, as `watch` shows it.
struct Peer {
  std::string address = "unknown";  // 127.0.0.1, ::1, unix
  uint16_t port = 0;
  PeerKind kind = PeerKind::kTcp;
};
[[nodiscard]] Peer PeerOf(int fd);

// Of the replies to one client, what the kernel holds and has not sent.  It would take megabytes:
// a thousand clients that do not read then fill its memory for TCP, and everybody's packets are
// dropped for seconds.
inline constexpr int kMostUnsentInKernel = 128 << 10;

// Options that accepted sockets inherit from a listening one.  Best effort.
void PrepareTcpListener(int fd);

}  // namespace larder::server
