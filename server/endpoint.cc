#include "server/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "server/numbers.h"
#include "server/socket_holder.h"

namespace larder::server {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::Status ErrnoStatus(int error, const char* what) {
  std::string text = what[0] == '\0' ? "" : std::string(what) + ": ";
  return {absl::ErrnoToStatusCode(error), text + std::strerror(error)};
}

// Why bind() or listen() refused `address`: "Address already in use by memcached, pid 4711".
absl::Status NotBound(int error, const addrinfo& info) {
  absl::Status status = ErrnoStatus(error, "");
  if (error != EADDRINUSE) return status;
  const std::string holder = SocketHolder(info.ai_addr, info.ai_socktype);
  if (holder.empty()) return status;
  return {status.code(), std::string(std::strerror(error)) + " by " + holder};
}

absl::Status BadEndpoint(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError("-l '" + std::string(text) + "': " + std::string(why));
}

void SwitchOn(int fd, int level, int option) {
  const int on = 1;
  // Best effort: a socket without it still serves.
  (void)setsockopt(fd, level, option, &on, sizeof(on));
}

std::string PortText(std::string_view ip, in_port_t port, bool v6) {
  std::string text = v6 ? "tcp6:[" : "tcp:";
  text.append(ip).append(v6 ? "]:" : ":").append(std::to_string(ntohs(port)));
  return text;
}

// What the machine lacks (IPv6 switched off): no reason to fail when another address works.
bool IsMissing(const absl::Status& status) {
  return status.code() == absl::ErrnoToStatusCode(EAFNOSUPPORT) ||
         status.code() == absl::ErrnoToStatusCode(EADDRNOTAVAIL);
}

// A bound socket as it is known from then on.
absl::StatusOr<ListeningSocket> Bound(UniqueFd fd, int family) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) < 0) {
    return ErrnoStatus(errno, "getsockname");
  }
  ListeningSocket result;
  result.family = family;
  const in_port_t port = family == AF_INET6
                             ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                             : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port;
  result.port = ntohs(port);
  result.description = DescribeAddress(bound, length);
  result.fd = std::move(fd);
  return result;
}

}  // namespace

void PrepareTcpListener(int fd) {
  SwitchOn(fd, SOL_SOCKET, SO_KEEPALIVE);
  SwitchOn(fd, IPPROTO_TCP, TCP_NODELAY);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kMostUnsentInKernel,
                   sizeof(kMostUnsentInKernel));
}

namespace {

absl::StatusOr<ListeningSocket> ListenAt(const addrinfo& info, int backlog) {
  UniqueFd fd(
      socket(info.ai_family, info.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info.ai_protocol));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  SwitchOn(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  PrepareTcpListener(fd.get());
  if (info.ai_family == AF_INET6) SwitchOn(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(fd.get(), info.ai_addr, info.ai_addrlen) < 0) return NotBound(errno, info);
  if (listen(fd.get(), backlog) < 0) return NotBound(errno, info);
  return Bound(std::move(fd), info.ai_family);
}

// A socket for datagrams; `shared`: others may be bound to the same address.
absl::StatusOr<ListeningSocket> BindDatagram(const addrinfo& info, bool shared) {
  UniqueFd fd(
      socket(info.ai_family, info.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, info.ai_protocol));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  if (shared) SwitchOn(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (info.ai_family == AF_INET6) SwitchOn(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(fd.get(), info.ai_addr, info.ai_addrlen) < 0) return NotBound(errno, info);
  auto bound = Bound(std::move(fd), info.ai_family);
  if (bound.ok()) bound->description.replace(0, 3, "udp");  // of tcp:... or tcp6:...
  return bound;
}

void SetPort(addrinfo& info, int port) {
  const in_port_t wire = htons(static_cast<uint16_t>(port));
  if (info.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(info.ai_addr)->sin6_port = wire;
  } else {
    reinterpret_cast<sockaddr_in*>(info.ai_addr)->sin_port = wire;
  }
}

// Calls bind_one(addrinfo) for each address of the endpoint.
template <typename BindOne>
absl::StatusOr<std::vector<ListeningSocket>> BindAll(const Endpoint& endpoint, int type,
                                                     BindOne bind_one) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  const std::string port = std::to_string(endpoint.port);
  addrinfo* raw = nullptr;
  const int error = getaddrinfo(endpoint.host.empty() ? nullptr : endpoint.host.c_str(),
                                port.c_str(), &hints, &raw);
  if (error != 0) {
    return absl::NotFoundError(gai_strerror(error));
  }
  const AddressList list(raw, &freeaddrinfo);
  std::vector<ListeningSocket> sockets;
  absl::Status missing = absl::NotFoundError("no address");
  for (addrinfo* info = list.get(); info != nullptr; info = info->ai_next) {
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6) continue;
    // Both families on one port when the kernel chooses it.
    const bool follow = endpoint.port == 0 && !sockets.empty();
    if (follow) SetPort(*info, sockets.front().port);
    auto one = bind_one(*info);
    if (!one.ok() && follow) {
      SetPort(*info, 0);
      one = bind_one(*info);
    }
    if (one.ok()) {
      sockets.push_back(*std::move(one));
      continue;
    }
    if (!IsMissing(one.status())) return one.status();
    missing = one.status();
  }
  if (sockets.empty()) return missing;
  return sockets;
}

absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(const Endpoint& endpoint, int backlog) {
  return BindAll(endpoint, SOCK_STREAM,
                 [&](const addrinfo& info) { return ListenAt(info, backlog); });
}

absl::StatusOr<std::vector<ListeningSocket>> ListenUnix(const Endpoint& endpoint, int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (endpoint.unix_path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("the path is longer than " +
                                      std::to_string(sizeof(address.sun_path) - 1) + " bytes");
  }
  endpoint.unix_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  struct stat old {};
  if (lstat(endpoint.unix_path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode)) {
    unlink(endpoint.unix_path.c_str());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return ErrnoStatus(errno, "");
  }
  // Before listen(), so that nobody can connect by the mode the umask happened to give.
  if (chmod(endpoint.unix_path.c_str(), endpoint.unix_mode) < 0) return ErrnoStatus(errno, "chmod");
  if (listen(fd.get(), backlog) < 0) return ErrnoStatus(errno, "listen");
  std::vector<ListeningSocket> sockets;
  ListeningSocket& socket = sockets.emplace_back();
  socket.fd = std::move(fd);
  socket.family = AF_UNIX;
  socket.description = "unix:" + endpoint.unix_path;
  return sockets;
}

absl::StatusOr<int> ParsePort(std::string_view text, std::string_view port) {
  const auto value = ParseInteger(port);
  if (!value || *value < 0 || *value > 65535) {
    return BadEndpoint(text, "'" + std::string(port) + "' is not a port");
  }
  return static_cast<int>(*value);
}

constexpr size_t kMaxTagBytes = 8;

absl::StatusOr<BindingProtocol> ParseProtocol(std::string_view text, std::string_view name) {
  if (name == "ascii") return BindingProtocol::kAscii;
  if (name == "binary") return BindingProtocol::kBinary;
  if (name == "negotiating" || name == "auto") return BindingProtocol::kAuto;
  if (name == "proxy") return BadEndpoint(text, "there is no proxy mode");
  return BadEndpoint(text, "proto[...] is one of ascii, binary, negotiating");
}

// Takes `start`, a name and `end` off the front of `rest`; null when it does not begin with
// `start`, an empty name when `end` is missing.
std::optional<std::string_view> TakePrefix(std::string_view start, std::string_view end,
                                           std::string_view* rest) {
  if (!rest->starts_with(start)) return std::nullopt;
  const size_t stop = rest->find(end, start.size());
  if (stop == std::string_view::npos) return std::string_view();
  const std::string_view name = rest->substr(start.size(), stop - start.size());
  rest->remove_prefix(stop + end.size());
  return name;
}

// Everything in front of the address.
absl::Status ParsePrefixes(std::string_view text, std::string_view* rest, Endpoint* endpoint) {
  constexpr std::pair<std::string_view, TlsPrefix> kTlsPrefixes[] = {
      {"notls:", TlsPrefix::kOff}, {"btls:", TlsPrefix::kBasic}, {"mtls:", TlsPrefix::kMutual}};
  for (const auto& [word, meaning] : kTlsPrefixes) {
    if (endpoint->tls_prefix != TlsPrefix::kNone || !rest->starts_with(word)) continue;
    endpoint->tls_prefix = meaning;
    rest->remove_prefix(word.size());
  }
  if (const auto name = TakePrefix("proto[", "]:", rest)) {
    const auto protocol = ParseProtocol(text, *name);
    if (!protocol.ok()) return protocol.status();
    endpoint->protocol = *protocol;
  }
  auto tag = TakePrefix("tag[", "]:", rest);
  if (!tag) tag = TakePrefix("tag_", "_:", rest);
  if (tag) {
    if (tag->empty() || tag->size() > kMaxTagBytes) {
      return BadEndpoint(text, "a tag is 1 to 8 characters, as in tag[name]:");
    }
    endpoint->tag = *tag;
  }
  return absl::OkStatus();
}

}  // namespace

void UniqueFd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

std::string Endpoint::ToString() const {
  if (!unix_path.empty()) return unix_path;
  const bool v6 = host.find(':') != std::string::npos;
  std::string text = host.empty() ? "*" : v6 ? "[" + host + "]" : host;
  return text + ":" + std::to_string(port);
}

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text, int default_port) {
  Endpoint endpoint;
  endpoint.port = default_port;
  std::string_view rest = text;
  if (const auto status = ParsePrefixes(text, &rest, &endpoint); !status.ok()) return status;
  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return BadEndpoint(text, "there is no ] after [");
    endpoint.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!rest.empty() && rest[0] != ':') return BadEndpoint(text, "after ] a :port is expected");
    if (!rest.empty()) port = rest.substr(1);
    if (!rest.empty() && port.empty()) return BadEndpoint(text, "the port is missing");
  } else {
    const size_t colon = rest.find(':');
    const bool bare_v6 = colon != std::string_view::npos && rest.rfind(':') != colon;
    endpoint.host = bare_v6 ? rest : rest.substr(0, colon);
    if (!bare_v6 && colon != std::string_view::npos) {
      port = rest.substr(colon + 1);
      if (port.empty()) return BadEndpoint(text, "the port is missing");
    }
  }
  if (endpoint.host == "*") endpoint.host.clear();
  if (!port.empty()) {
    const auto number = ParsePort(text, port);
    if (!number.ok()) return number.status();
    endpoint.port = *number;
  }
  return endpoint;
}

std::optional<PeerCheck> TlsOf(const TlsOptions& options, TlsPrefix prefix) {
  if (!options.enabled) return std::nullopt;
  switch (prefix) {
    case TlsPrefix::kNone:
      return options.peer_check;
    case TlsPrefix::kOff:
      break;
    case TlsPrefix::kBasic:
      return PeerCheck::kNone;
    case TlsPrefix::kMutual:
      return PeerCheck::kRequire;
  }
  return std::nullopt;
}

ListenerTraits TraitsOf(const Endpoint& endpoint, int family) {
  ListenerTraits traits;
  traits.protocol = endpoint.protocol.value_or(BindingProtocol::kAuto);
  traits.transport = family == AF_UNIX          ? Transport::kUnix
                     : endpoint.tls.has_value() ? Transport::kTls
                                                : Transport::kTcp;
  traits.peer_check = endpoint.tls.value_or(PeerCheck::kNone);
  return traits;
}

absl::StatusOr<std::vector<ListeningSocket>> Listen(const Endpoint& endpoint, int backlog) {
  auto sockets =
      endpoint.unix_path.empty() ? ListenTcp(endpoint, backlog) : ListenUnix(endpoint, backlog);
  if (!sockets.ok()) return sockets;
  for (ListeningSocket& one : *sockets) one.traits = TraitsOf(endpoint, one.family);
  return sockets;
}

std::string DescribeAddress(const sockaddr_storage& address, socklen_t length) {
  char ip[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, ip, sizeof(ip));
    return PortText(ip, v4.sin_port, false);
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, ip, sizeof(ip));
    return PortText(ip, v6.sin6_port, true);
  }
  if (address.ss_family == AF_UNIX) {
    const auto& un = reinterpret_cast<const sockaddr_un&>(address);
    const size_t room =
        length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
    // A name of Linux' own begins with a NUL and may have more of them; written with an @.
    if (room > 1 && un.sun_path[0] == '\0') {
      return "unix:@" + std::string(un.sun_path + 1, strnlen(un.sun_path + 1, room - 1));
    }
    return "unix:" + std::string(un.sun_path, strnlen(un.sun_path, room));
  }
  return "?";
}

std::string DescribeSocket(int fd, bool local) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  const int error = local ? getsockname(fd, raw, &length) : getpeername(fd, raw, &length);
  return error < 0 ? "?" : DescribeAddress(address, length);
}

Peer PeerOf(int fd) {
  Peer peer;
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return peer;
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    peer.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    peer.port = ntohs(v6.sin6_port);
  } else if (address.ss_family == AF_UNIX) {
    return {"unix", 0, PeerKind::kLocal};
  }
  if (text[0] != '\0') peer.address = text;
  return peer;
}

absl::StatusOr<std::vector<ListeningSocket>> BindDatagrams(const Endpoint& endpoint,
                                                           size_t copies) {
  // The first time not shared: a port that somebody else has is refused, not shared with them.
  if (endpoint.port != 0) {
    auto probe = BindAll(endpoint, SOCK_DGRAM,
                         [](const addrinfo& info) { return BindDatagram(info, false); });
    if (!probe.ok()) return probe.status();
  }
  std::vector<ListeningSocket> sockets;
  Endpoint same = endpoint;
  for (size_t i = 0; i < copies; ++i) {
    auto more =
        BindAll(same, SOCK_DGRAM, [](const addrinfo& info) { return BindDatagram(info, true); });
    if (!more.ok()) return more.status();
    same.port = more->front().port;
    for (ListeningSocket& one : *more) sockets.push_back(std::move(one));
  }
  return sockets;
}

}  // namespace larder::server
