// tools/bench/load.h — runs the load and says what came of it.

#pragma once

#include "tools/bench/options.h"
#include "tools/bench/tally.h"

namespace larder::bench {

struct LoadResult {
  Tally tally;
  double seconds = 0;  // from the first request to the last reply
  double client_cpu_seconds = 0;
  double client_wait_seconds = 0;  // ready to run, and something else had the core
};

// Blocks until the requests or the seconds asked for are over.
[[nodiscard]] LoadResult RunLoad(const Options& options);

}  // namespace larder::bench
