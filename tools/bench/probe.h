// tools/bench/probe.h — how long the server keeps one request waiting, and how much of that was it.
//
// One connection, one request at a time, a get and a set by turns.  On a busy machine a slow reply
// says little by itself, so each is set against the server's CPU time during the request (the
// process's clock) and the time its busiest thread and the probe stood in a run queue
// (/proc/<pid>/task/<tid>/schedstat).

#pragma once

#include "tools/bench/options.h"

namespace larder::bench {

// Runs until the time is over or SIGINT or SIGTERM comes, prints, and returns the exit status.
[[nodiscard]] int RunProbe(const ProbeOptions& options);

}  // namespace larder::bench
