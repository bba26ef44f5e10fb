// tools/bench/options.h — what the command line asked for.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace larder::bench {

enum class Op : uint8_t {
  kGet,
  kGets,
  kMiss,  // a get of a key that nobody stores
  kMetaGet,
  kSet,
  kAdd,
  kMetaSet,
  kDelete,
  kIncr,
  kTouch,
};

enum class KeyOrder : uint8_t { kUniform, kSequential, kZipf };

struct Range {
  uint32_t min = 0;
  uint32_t max = 0;
};

struct WeightedOp {
  Op op;
  uint32_t weight;
};

struct Endpoint {
  std::string host = "127.0.0.1";
  uint16_t port = 11211;
  std::string unix_path;  // used instead of host and port when not empty
};

struct Options {
  Endpoint endpoint;

  uint32_t connections = 50;  // in all
  uint32_t threads = 1;
  int cpu = -1;  // the core to stay on; -1: any

  uint32_t pipeline = 1;       // requests sent together and awaited together
  uint32_t multiget = 1;       // keys in one get
  double rate = 0;             // requests a second in all; 0: closed loop
  bool even_arrivals = false;  // open loop: equal gaps instead of Poisson's
  bool noreply = false;        // stores: all but the last of each pipeline go without a reply
  uint64_t requests = 0;       // stop after so many (0: no such limit)
  double seconds = 0;          // stop after so long (0: no such limit)

  std::vector<WeightedOp> mix = {{Op::kGet, 1}};
  uint64_t keys = 1'000'000;
  uint64_t first_key = 0;
  KeyOrder order = KeyOrder::kUniform;
  double zipf = 0.99;
  Range key_size{24, 24};
  Range value_size{100, 100};
  bool numeric = false;  // store decimal numbers, as incr needs them
  uint32_t exptime = 0;
  uint64_t seed = 1;

  bool verify = false;  // look at the bytes of every value
  bool json = false;
};

struct ProbeOptions {
  Endpoint endpoint;
  int pid = 0;
  int cpu = -1;
  double seconds = 60;
  uint32_t gap_us = 0;
  bool json = false;
};

struct ReplayOptions {
  Endpoint endpoint;
  std::string trace;
  uint32_t memory_mb = 64;  // of the server: some traces are made to just not fit
  uint64_t requests = 0;    // 0: as many as the trace usually has
  uint64_t seed = 1;
  int cpu = -1;
  bool optimum = false;  // no server: the hits of a cache that knows the future
  bool json = false;
};

struct CommandLine {
  Options load;
  ProbeOptions probe;
  ReplayOptions replay;
  bool is_probe = false;
  bool is_replay = false;
};

// Fills `*command_line`.  Returns false with the exit status in `*status` when there is nothing to
// run: --help was answered, or the arguments were wrong and that has been said on stderr.
[[nodiscard]] bool ParseCommandLine(int argc, char** argv, CommandLine* command_line, int* status);

}  // namespace larder::bench
