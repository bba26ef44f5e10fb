// tools/bench/replay.h — plays a trace to a server as a cache in front of something slow: a get,
// and on a miss a set.

#pragma once

#include "tools/bench/options.h"

namespace larder::bench {

// Plays the trace, or with `optimum` computes what could be had; prints; returns the exit status.
//
// One connection.  Keys are asked for some at a time, in one get, but never one twice in it; what
// it missed is stored before the next one.  So any server sees one and the same order.
[[nodiscard]] int RunReplay(const ReplayOptions& options);

}  // namespace larder::bench
