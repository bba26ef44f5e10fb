#include "server/socket_holder.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

namespace larder::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kListening = "0A";  // of the kernel's TCP states

struct Wanted {
  std::string address;  // as the kernel writes it: each 32 bits by themselves, hexadecimal
  unsigned port = 0;
};

bool IsWildcard(std::string_view address) {
  return address.find_first_not_of('0') == std::string_view::npos;
}

std::string Hex(const void* words, size_t count) {
  const auto* const word = static_cast<const uint32_t*>(words);
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    std::array<char, 9> digits;
    std::snprintf(digits.data(), digits.size(), "%08X", word[i]);
    text += digits.data();
  }
  return text;
}

Wanted WantedOf(const sockaddr* address) {
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    return {Hex(v6->sin6_addr.s6_addr32, 4), ntohs(v6->sin6_port)};
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
  return {Hex(&v4->sin_addr.s_addr, 1), ntohs(v4->sin_port)};
}

// The inode of the socket that a line of /proc/net/tcp or one of its like is about, when that is in
// the way.
std::optional<std::string> InodeIn(const std::string& line, const Wanted& wanted, bool listening) {
  std::istringstream words(line);
  std::string number;
  std::string local;
  std::string remote;
  std::string state;
  std::string inode;
  std::string skipped;
  words >> number >> local >> remote >> state;
  for (int i = 0; i < 5; ++i) words >> skipped;  // queues, timer, retransmissions, user, timeout
  if (!(words >> inode)) return std::nullopt;
  const size_t colon = local.find(':');
  if (colon == std::string::npos || (listening && state != kListening)) return std::nullopt;
  unsigned port = 0;
  std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
  const std::string_view address = std::string_view(local).substr(0, colon);
  const bool meets = address == wanted.address || IsWildcard(address) || IsWildcard(wanted.address);
  if (port != wanted.port || !meets) return std::nullopt;
  return inode;
}

// What a descriptor of a socket in the way is a link to.
std::vector<std::string> LinksInTheWay(const Wanted& wanted, int type) {
  const bool is_stream = type == SOCK_STREAM;
  const std::string table = is_stream ? "/proc/net/tcp" : "/proc/net/udp";
  std::vector<std::string> links;
  for (const std::string& path : {table, table + "6"}) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const auto inode = InodeIn(line, wanted, is_stream);
      if (inode) links.push_back("socket:[" + *inode + "]");
    }
  }
  return links;
}

bool HasOneOf(const std::vector<std::string>& links, const fs::path& process) {
  std::error_code error;
  for (fs::directory_iterator fd(process / "fd", error); !error && fd != fs::directory_iterator();
       fd.increment(error)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(fd->path(), gone);
    if (std::find(links.begin(), links.end(), target) != links.end()) return true;
  }
  return false;
}

// A process chooses its name itself: nothing in it may steer a terminal.
std::string NameOf(const fs::path& process) {
  std::string name;
  std::ifstream file(process / "comm");
  std::getline(file, name);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return name;
}

}  // namespace

std::string SocketHolder(const sockaddr* address, int type) {
  const std::vector<std::string> links = LinksInTheWay(WantedOf(address), type);
  if (links.empty()) return {};
  const std::string self = std::to_string(getpid());  // may have the port's IPv4 half already
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string pid = entry->path().filename();
    if (pid == self || pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (HasOneOf(links, entry->path())) return NameOf(entry->path()) + ", pid " + pid;
  }
  return {};
}

}  // namespace larder::server
