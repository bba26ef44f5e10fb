// tests/scaling/line_counter.h — a simulated coherent cache: which lines wander between workers.
//
// Every worker has a private cache of 64-byte lines that never fills, kept coherent as MESI does:
// whoever writes a line takes it from all others, whoever reads one that another has written takes
// a copy.  The workers take turns on one thread, so the counts are the same in every run.
// Source of the accesses: the calls that the compiler's -fsanitize=thread puts at each of them.

#pragma once

#include <cstdint>
#include <vector>

namespace larder::scaling {

struct PlaceCounts {
  uint64_t place = 0;            // of the code, from where the program begins
  uint64_t shared_writes = 0;    // lines written that another worker writes too, once a batch
  uint64_t write_transfers = 0;  // writes of a line that another worker had
  uint64_t read_transfers = 0;   // reads of a line that another worker had written last
};

// From now on accesses are those of `worker` (below 64), and its next batch begins.
void BeginBatch(unsigned worker);
// Between batches: nobody's.
void EndBatch();
// Whether accesses are counted, and not only followed.
void SetCounting(bool on);
[[nodiscard]] std::vector<PlaceCounts> Counted();

}  // namespace larder::scaling
