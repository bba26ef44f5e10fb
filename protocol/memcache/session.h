// protocol/memcache/session.h — a client that speaks memcached's classic text protocol.
//
// Owner: a connection.  Threads: its worker.  Facts: memcached's doc/protocol.txt.

#pragma once

#include <memory>

#include "core/store.h"
#include "protocol/memcache/host.h"
#include "protocol/session.h"

namespace larder::memcache {

// What sessions of one server share.
struct SessionOptions {
  bool flush_enabled = true;  // not -F
};

// `context` is the worker's: its clock reading must be fresh at each Consume().
// REQUIRES: all of them outlive the session.
std::unique_ptr<Session> MakeSession(Store& store, OpContext& context, Host& host,
                                     const SessionOptions& options);

}  // namespace larder::memcache
