// tools/bench/probe.cc — the stall probe.

#include "tools/bench/probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/histogram.h"
#include "tools/bench/report.h"
#include "tools/bench/socket.h"

namespace larder::bench {
namespace {

constexpr int kCalibrationRounds = 500;

volatile std::sig_atomic_t is_stopped = 0;

void OnSignal(int) { is_stopped = 1; }

// Reads "<cpu ns> <run queue ns> <times it ran>" of one thread; the file stays open.
class SchedStat {
 public:
  explicit SchedStat(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

  struct Sample {
    uint64_t wait_ns = 0;
    uint64_t runs = 0;
  };

  [[nodiscard]] Sample Read() const {
    std::array<char, 96> text;
    const ssize_t size = ::pread(file_.fd(), text.data(), text.size(), 0);
    Sample sample;
    if (size <= 0) return sample;
    const char* begin = text.data();
    const char* end = begin + size;
    const char* word = std::find(begin, end, ' ');
    if (word == end) return sample;
    word = std::from_chars(word + 1, end, sample.wait_ns).ptr;
    if (word < end) std::from_chars(word + 1, end, sample.runs);
    return sample;
  }

 private:
  Socket file_;
};

// The CPU time of another process, all threads: unlike schedstat it is exact while they run.
uint64_t ProcessCpuNs(int pid) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

class Probe {
 public:
  explicit Probe(const ProbeOptions& options)
      : options_(options), own_("/proc/thread-self/schedstat") {}

  // False, with error() set, when the server cannot be reached or watched.
  bool Prepare() {
    if (!StayOnCpu(options_.cpu)) return Failed("--cpu: no such core");
    socket_ = Connect(options_.endpoint, &error_);
    if (!socket_.is_open()) return false;
    if (ProcessCpuNs(options_.pid) == 0) return Failed("--pid: cannot read its CPU time");
    return FindWorker();
  }

  bool Run() {
    const uint64_t end = NowNs() + static_cast<uint64_t>(options_.seconds * 1e9);
    uint64_t last = NowNs();
    while (is_stopped == 0 && last < end) {
      if (!Measure()) return false;
      last = NowNs();
      if (options_.gap_us > 0) ::usleep(options_.gap_us);
    }
    return true;
  }

  [[nodiscard]] const std::string& error() const { return error_; }

  void Print() const {
    if (options_.json) {
      std::printf(
          "{\"requests\": %llu, \"max_wall_us\": %.1f, \"p99.9_wall_us\": %.1f, "
          "\"max_unqueued_us\": %.1f, \"p99.9_unqueued_us\": %.1f, "
          "\"max_server_us\": %.1f, \"error\": %s}\n",
          static_cast<unsigned long long>(wall_.count()), Micros(wall_.max()),
          Micros(wall_.Percentile(0.999)), Micros(unqueued_.max()),
          Micros(unqueued_.Percentile(0.999)), Micros(server_.max()), JsonString(error_).c_str());
      return;
    }
    std::printf("requests               %llu\n", static_cast<unsigned long long>(wall_.count()));
    PrintLine("latency us            ", wall_);
    PrintLine("  less run queues     ", unqueued_);
    PrintLine("  the server's own    ", server_);
    if (!error_.empty()) std::printf("failed: %s\n", error_.c_str());
  }

 private:
  static double Micros(uint64_t ns) { return static_cast<double>(ns) / 1000.0; }

  static void PrintLine(const char* name, const Histogram& h) {
    std::printf("%s p50 %.1f p99 %.1f p99.9 %.1f max %.1f\n", name, Micros(h.Percentile(0.5)),
                Micros(h.Percentile(0.99)), Micros(h.Percentile(0.999)), Micros(h.max()));
  }

  bool Failed(const std::string& what) {
    error_ = what;
    return false;
  }

  // The thread that wakes up most often while only the probe's requests run.
  bool FindWorker() {
    std::vector<SchedStat> threads;
    const std::string path = "/proc/" + std::to_string(options_.pid) + "/task";
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return Failed("--pid: no such process");
    while (const dirent* entry = ::readdir(directory)) {
      if (entry->d_name[0] != '.') threads.emplace_back(path + "/" + entry->d_name + "/schedstat");
    }
    ::closedir(directory);
    std::vector<uint64_t> before;
    before.reserve(threads.size());
    for (const SchedStat& thread : threads) before.push_back(thread.Read().runs);
    for (int i = 0; i < kCalibrationRounds; ++i) {
      if (!Exchange(i % 2 == 0)) return false;
    }
    size_t best = 0;
    uint64_t most = 0;
    for (size_t i = 0; i < threads.size(); ++i) {
      const uint64_t runs = threads[i].Read().runs - before[i];
      if (runs >= most) best = i;
      most = std::max(most, runs);
    }
    worker_.emplace(std::move(threads[best]));
    return true;
  }

  bool Measure() {
    const uint64_t worker_wait = worker_->Read().wait_ns;
    const uint64_t own_wait = own_.Read().wait_ns;
    const uint64_t cpu = ProcessCpuNs(options_.pid);
    const uint64_t start = NowNs();
    is_get_ = !is_get_;
    if (!Exchange(is_get_)) return false;
    const uint64_t wall = NowNs() - start;
    const uint64_t cpu_spent = ProcessCpuNs(options_.pid) - cpu;
    const uint64_t queued =
        (worker_->Read().wait_ns - worker_wait) + (own_.Read().wait_ns - own_wait);
    wall_.Record(wall);
    const uint64_t unqueued = wall - std::min(wall, queued);
    unqueued_.Record(unqueued);
    server_.Record(std::min(unqueued, cpu_spent));
    return true;
  }

  // One request and its whole reply.
  bool Exchange(bool is_get) {
    const std::string_view request =
        is_get ? "get larder-bench-probe\r\n" : "set larder-bench-probe 0 0 10\r\n0123456789\r\n";
    if (::send(socket_.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
      return Failed(std::string("send: ") + std::strerror(errno));
    }
    std::array<char, 512> reply;
    size_t size = 0;
    while (size < reply.size()) {
      const ssize_t got = ::recv(socket_.fd(), reply.data() + size, reply.size() - size, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return Failed("the server closed the connection");
      size += static_cast<size_t>(got);
      const std::string_view text(reply.data(), size);
      if (text.ends_with(is_get ? "END\r\n" : "STORED\r\n")) return true;
      if (text.find("ERROR") != std::string_view::npos) break;
    }
    return Failed("unexpected reply: " + std::string(reply.data(), std::min<size_t>(size, 60)));
  }

  const ProbeOptions& options_;
  SchedStat own_;
  std::optional<SchedStat> worker_;
  Socket socket_;
  std::string error_;
  bool is_get_ = false;
  Histogram wall_;
  Histogram unqueued_;
  Histogram server_;  // at most unqueued, and at most what the server computed
};

}  // namespace

int RunProbe(const ProbeOptions& options) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  Probe probe(options);
  const bool is_good = probe.Prepare() && probe.Run();
  if (!is_good) std::fprintf(stderr, "larder-bench: %s\n", probe.error().c_str());
  probe.Print();
  return is_good ? 0 : 1;
}

}  // namespace larder::bench
