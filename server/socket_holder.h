// server/socket_holder.h — who has the port that could not be had: for the line that says so.
//
// Threads: any; blocks, reads /proc, and belongs before serving.

#pragma once

#include <sys/socket.h>

#include <string>

namespace larder::server {

// "memcached, pid 4711" for a process that serves `address` (or every address of its port) by
// sockets of `type`, SOCK_STREAM or SOCK_DGRAM; empty when the system does not tell, as it does not
// of other users' processes.  REQUIRES: an address of AF_INET or AF_INET6.
[[nodiscard]] std::string SocketHolder(const sockaddr* address, int type);

}  // namespace larder::server
