// tools/bench/tally.h — what one thread saw; merged into the run's result.

#pragma once

#include <cstdint>
#include <string>

#include "tools/bench/histogram.h"

namespace larder::bench {

struct Tally {
  uint64_t requests = 0;  // completed; a noreply store counts when its batch is answered
  uint64_t keys = 0;
  uint64_t hits = 0;
  uint64_t misses = 0;      // also NOT_FOUND, NOT_STORED and EXISTS
  uint64_t errors = 0;      // ERROR, CLIENT_ERROR and SERVER_ERROR replies
  uint64_t mismatches = 0;  // --verify: a value that its key was not given
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  Histogram latency;
  std::string first_error;  // text of the first error reply
  std::string failure;      // why the thread gave up; empty when it did not

  void Merge(const Tally& other) {
    requests += other.requests;
    keys += other.keys;
    hits += other.hits;
    misses += other.misses;
    errors += other.errors;
    mismatches += other.mismatches;
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    latency.Merge(other.latency);
    if (first_error.empty()) first_error = other.first_error;
    if (failure.empty()) failure = other.failure;
  }

  [[nodiscard]] bool is_clean() const { return errors == 0 && mismatches == 0 && failure.empty(); }
};

}  // namespace larder::bench
