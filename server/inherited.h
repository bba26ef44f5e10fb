// server/inherited.h — sockets that the server is started with instead of making them: systemd's
// socket activation.
//
// Threads: the main one, before any other is started.
// Source: sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "server/endpoint.h"
#include "server/options.h"

namespace larder::server {

struct InheritedSockets {
  std::vector<ListeningSocket> listening;
  std::vector<ListeningSocket> datagrams;  // one a UDP address

  [[nodiscard]] bool empty() const { return listening.empty() && datagrams.empty(); }
};

// One of them as it is handed over: its number, and its name, which may be empty.
struct InheritedDescriptor {
  int fd = -1;
  std::string name;
};

// Those that the variables promise the process `self`; none when they are not set, or are another
// process's.  Refused when they make no sense.
[[nodiscard]] Refusal ReadListenVariables(const Environment& environment, pid_t self,
                                          std::vector<InheritedDescriptor>* descriptors);

// Takes them over: non-blocking, closed on exec, and found to be listening TCP or unix sockets or
// UDP ones.  Words of a name, cut at commas, say what a listener's prefixes do: notls, btls, mtls,
// ascii, binary; other words say nothing.  The options are made to tell what is served: -l, -p, -s
// and -U are of no effect beside inherited sockets.
[[nodiscard]] Refusal AdoptSockets(const std::vector<InheritedDescriptor>& descriptors,
                                   Options& options, InheritedSockets* sockets);

}  // namespace larder::server
