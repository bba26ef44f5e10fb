// tools/bench/load.cc — starts the threads of a load together and joins what they saw.

#include "tools/bench/load.h"

#include <sys/resource.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "tools/bench/keys.h"
#include "tools/bench/load_thread.h"
#include "tools/bench/socket.h"

namespace larder::bench {
namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

// What this thread spent in a run queue: "<cpu ns> <run queue ns> ...", 0 where there is no such
// file.
double WaitSeconds() {
  uint64_t cpu_ns = 0;
  uint64_t wait_ns = 0;
  std::ifstream("/proc/thread-self/schedstat") >> cpu_ns >> wait_ns;
  return static_cast<double>(wait_ns) * 1e-9;
}

}  // namespace

LoadResult RunLoad(const Options& options) {
  LoadResult result;
  if (!StayOnCpu(options.cpu)) {
    result.tally.failure = "--cpu: no such core";
    return result;
  }
  const KeySpace key_space(options);
  Shared shared;
  shared.requests_left = options.requests;
  std::vector<std::unique_ptr<LoadThread>> loads;
  for (uint32_t i = 0; i < options.threads; ++i) {
    loads.push_back(std::make_unique<LoadThread>(options, key_space, &shared, i));
    if (!loads.back()->Prepare()) {
      result.tally.failure = loads.back()->tally().failure;
      return result;
    }
  }
  std::vector<std::thread> threads;
  for (size_t i = 1; i < loads.size(); ++i) {
    threads.emplace_back([&shared, load = loads[i].get()] {
      shared.is_go.wait(false);
      load->Run();
    });
  }
  const double cpu_start = CpuSeconds();
  const double wait_start = WaitSeconds();
  const uint64_t start = NowNs();
  shared.is_go = true;
  shared.is_go.notify_all();
  loads[0]->Run();
  result.client_wait_seconds = WaitSeconds() - wait_start;
  for (std::thread& thread : threads) thread.join();
  result.seconds = static_cast<double>(NowNs() - start) * 1e-9;
  result.client_cpu_seconds = CpuSeconds() - cpu_start;
  for (const auto& load : loads) result.tally.Merge(load->tally());
  return result;
}

}  // namespace larder::bench
