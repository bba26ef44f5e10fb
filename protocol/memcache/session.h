// protocol/memcache/session.h — a client that speaks memcached's text or binary protocol.
//
// Owner: a connection.  Threads: its worker.  Facts: memcached's doc/protocol.txt and
// doc/protocol-binary.xml.

#pragma once

#include <memory>

#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/session.h"

namespace larder::memcache {

class Authenticator;

// What sessions of one server share.
struct SessionOptions {
  bool flush_enabled = true;               // not -F
  bool watch_enabled = true;               // not -W
  bool dump_enabled = true;                // not -X
  bool shutdown_enabled = false;           // -A
  SystemClock* movable_clock = nullptr;    // of debugtime; null: no such command
  Authenticator* authenticator = nullptr;  // null: everybody is let in
};

// `context` is the worker's: its clock reading must be fresh at each Consume().
// REQUIRES: all of them outlive the session.
std::unique_ptr<Session> MakeSession(Store& store, OpContext& context, Host& host,
                                     const SessionOptions& options);

// The same for a client whose first byte was 0x80.
std::unique_ptr<Session> MakeBinarySession(Store& store, OpContext& context, Host& host,
                                           const SessionOptions& options);

}  // namespace larder::memcache
