#include "server/inherited.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "server/numbers.h"

namespace larder::server {
namespace {

constexpr int kFirst = 3;      // behind stdin, stdout and stderr
constexpr int kMost = 32'000;  // more than that are listeners nowhere

Refusal Usage(std::string text) { return {kExitUsage, std::move(text)}; }

// "LISTEN_FDS: descriptor 4 (metrics)".
std::string NameOf(const InheritedDescriptor& one) {
  std::string text = "LISTEN_FDS: descriptor " + std::to_string(one.fd);
  return one.name.empty() ? text : text + " (" + one.name + ")";
}

std::vector<std::string> Cut(std::string_view text, char at) {
  std::vector<std::string> words;
  while (true) {
    const size_t end = text.find(at);
    words.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end + 1);
  }
}

// What its name says about who may connect, and how.
Endpoint EndpointOf(const std::string& name) {
  Endpoint endpoint;
  for (const std::string& word : Cut(name, ',')) {
    if (word == "notls") endpoint.tls_prefix = TlsPrefix::kOff;
    if (word == "btls") endpoint.tls_prefix = TlsPrefix::kBasic;
    if (word == "mtls") endpoint.tls_prefix = TlsPrefix::kMutual;
    if (word == "ascii") endpoint.protocol = BindingProtocol::kAscii;
    if (word == "binary") endpoint.protocol = BindingProtocol::kBinary;
  }
  return endpoint;
}

int SocketOption(int fd, int option) {
  int value = -1;
  socklen_t length = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

// What kind of socket it is; SOCK_RAW for one that cannot be served, and then `why` says so.
int KindOf(int fd, int family, std::string* why) {
  struct stat file {};
  if (fstat(fd, &file) != 0) return *why = std::strerror(errno), SOCK_RAW;
  if (!S_ISSOCK(file.st_mode)) return *why = "it is no socket", SOCK_RAW;
  const bool is_internet = family == AF_INET || family == AF_INET6;
  const int type = SocketOption(fd, SO_TYPE);
  if (type == SOCK_DGRAM && is_internet) return SOCK_DGRAM;
  if (type != SOCK_STREAM || !(is_internet || family == AF_UNIX)) {
    return *why = "it is no TCP, UDP or unix stream socket", SOCK_RAW;
  }
  if (SocketOption(fd, SO_ACCEPTCONN) != 1) {
    return *why = "it does not listen (systemd: Accept=no)", SOCK_RAW;
  }
  return SOCK_STREAM;
}

Refusal Prepare(const InheritedDescriptor& one, int family, int kind) {
  const int flags = fcntl(one.fd, F_GETFL);
  if (flags < 0 || fcntl(one.fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
      fcntl(one.fd, F_SETFD, FD_CLOEXEC) < 0) {
    return {kExitOsError, NameOf(one) + ": " + std::strerror(errno)};
  }
  if (kind == SOCK_STREAM && family != AF_UNIX) PrepareTcpListener(one.fd);
  return {};
}

int PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return 0;
}

Refusal Adopt(const InheritedDescriptor& one, const Options& options, InheritedSockets* sockets) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  // When it is no socket, KindOf() says so.
  (void)getsockname(one.fd, reinterpret_cast<sockaddr*>(&address), &length);
  const int family = address.ss_family;
  std::string why;
  const int kind = KindOf(one.fd, family, &why);
  if (kind == SOCK_RAW) return Usage(NameOf(one) + ": " + why);
  ListeningSocket socket;
  socket.fd = UniqueFd(one.fd);
  socket.family = family;
  socket.port = PortOf(address);
  socket.description = DescribeAddress(address, length);
  if (Refusal refusal = Prepare(one, family, kind); refusal.refused()) return refusal;

  Endpoint endpoint = EndpointOf(one.name);
  if (family == AF_UNIX) endpoint.unix_path = socket.description;
  if (Refusal refusal = CheckListener(options, NameOf(one), endpoint); refusal.refused()) {
    return refusal;
  }
  if (!endpoint.protocol) endpoint.protocol = options.protocol;
  endpoint.tls = TlsOf(options.tls, endpoint.tls_prefix);
  socket.traits = TraitsOf(endpoint, family);
  if (kind == SOCK_STREAM) {
    sockets->listening.push_back(std::move(socket));
    return {};
  }
  if (Refusal refusal = CheckDatagrams(options); refusal.refused()) return refusal;
  socket.description.replace(0, 3, "udp");  // of tcp:... or tcp6:...
  socket.traits.transport = Transport::kUdp;
  sockets->datagrams.push_back(std::move(socket));
  return {};
}

// As if the flags had asked for what came.
void DescribeIn(Options& options, const InheritedSockets& sockets) {
  if (!options.listen.empty() || !options.unix_path.empty()) {
    options.warnings.emplace_back("-l, -s: of no effect, the sockets come from LISTEN_FDS");
  }
  options.listen.clear();
  options.unix_path.clear();
  options.port = 0;
  options.udp_port = sockets.datagrams.empty() ? 0 : sockets.datagrams.front().port;
  for (const ListeningSocket& one : sockets.listening) {
    if (one.family == AF_UNIX && options.unix_path.empty()) {
      if (options.tls.enabled) {
        options.warnings.emplace_back("-Z: what goes through a unix socket is not encrypted");
      }
      options.unix_path = one.description.substr(std::string_view("unix:").size());
    }
    if (options.port == 0) options.port = one.port;
  }
}

}  // namespace

Refusal ReadListenVariables(const Environment& environment, pid_t self,
                            std::vector<InheritedDescriptor>* descriptors) {
  const char* pid_text = environment("LISTEN_PID");
  const char* count_text = environment("LISTEN_FDS");
  if (pid_text == nullptr || count_text == nullptr) return {};
  const auto pid = ParseInteger(pid_text);
  if (!pid || *pid <= 0) return Usage("LISTEN_PID: '" + std::string(pid_text) + "' is no pid");
  if (*pid != self) return {};  // whoever started this had them
  const auto count = ParseInteger(count_text);
  if (!count || *count <= 0 || *count > kMost) {
    return Usage("LISTEN_FDS: '" + std::string(count_text) + "' is no number of sockets");
  }
  std::vector<std::string> names(static_cast<size_t>(*count));
  if (const char* text = environment("LISTEN_FDNAMES"); text != nullptr && *text != '\0') {
    names = Cut(text, ':');
    if (names.size() != static_cast<size_t>(*count)) {
      return Usage("LISTEN_FDNAMES: " + std::to_string(names.size()) + " names for " +
                   std::to_string(*count) + " sockets");
    }
  }
  for (std::string& name : names) {
    const int fd = kFirst + static_cast<int>(descriptors->size());
    descriptors->push_back({fd, std::move(name)});
  }
  return {};
}

Refusal AdoptSockets(const std::vector<InheritedDescriptor>& descriptors, Options& options,
                     InheritedSockets* sockets) {
  for (const InheritedDescriptor& one : descriptors) {
    if (Refusal refusal = Adopt(one, options, sockets); refusal.refused()) return refusal;
  }
  if (!sockets->empty()) DescribeIn(options, *sockets);
  return {};
}

}  // namespace larder::server
