// tools/bench/replay.cc — the client of a replay: batches of gets, sets of what was missed.

#include "tools/bench/replay.h"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/out_buffer.h"
#include "tools/bench/socket.h"
#include "tools/bench/trace.h"

namespace larder::bench {
namespace {

constexpr size_t kBatch = 32;
constexpr size_t kReadBytes = size_t{1} << 18;

using KeyText = std::array<char, kTraceKeyBytes>;

KeyText TextOf(uint32_t key) {
  KeyText text;
  text.fill('0');
  text[0] = 'k';
  for (char* digit = text.data() + text.size(); key != 0; key /= 10) {
    *--digit = static_cast<char>('0' + key % 10);
  }
  return text;
}

void Append(OutBuffer* out, std::string_view text) {
  char* to = out->Reserve(text.size());
  std::memcpy(to, text.data(), text.size());
  out->Commit(to + text.size());
}

class Player {
 public:
  Player(Socket socket, const std::vector<TraceRequest>& trace, double rate)
      : socket_(std::move(socket)), trace_(trace), rate_(rate), filler_(size_t{1} << 16, 'v') {}

  // False, with error(), when the server closed the connection or answered nonsense.
  bool Play() {
    const uint64_t start = NowNs();
    size_t at = 0;
    while (at < trace_.size()) {
      const size_t end = BatchEnd(at);
      KeepPace(start, at);
      if (!PlayBatch(std::span(trace_).subspan(at, end - at))) return false;
      at = end;
    }
    return Send();  // the last stores
  }

  [[nodiscard]] uint64_t hits() const { return hits_; }
  [[nodiscard]] uint64_t latest_ms() const { return latest_ns_ / 1'000'000; }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  // Behind the last request that still belongs to the batch: no key comes twice.
  [[nodiscard]] size_t BatchEnd(size_t begin) const {
    const size_t most = std::min(begin + kBatch, trace_.size());
    for (size_t end = begin + 1; end < most; ++end) {
      for (size_t i = begin; i < end; ++i) {
        if (trace_[i].key == trace_[end].key) return end;
      }
    }
    return most;
  }

  void KeepPace(uint64_t start, size_t at) {
    if (rate_ == 0) return;
    const auto due = start + static_cast<uint64_t>(static_cast<double>(at) / rate_ * 1e9);
    const uint64_t now = NowNs();
    if (now >= due) {
      latest_ns_ = std::max(latest_ns_, now - due);
      return;
    }
    const timespec until{static_cast<time_t>(due / 1'000'000'000),
                         static_cast<long>(due % 1'000'000'000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  }

  bool PlayBatch(std::span<const TraceRequest> batch) {
    Append(&out_, "get");
    for (const TraceRequest& request : batch) {
      const KeyText key = TextOf(request.key);
      Append(&out_, " ");
      Append(&out_, {key.data(), key.size()});
    }
    Append(&out_, "\r\n");
    if (!Send()) return false;
    size_t next = 0;
    for (;;) {
      std::string_view line;
      if (!ReadLine(&line)) return false;
      if (line == "END") break;
      const uint32_t key = KeyOf(line);
      while (next < batch.size() && batch[next].key != key) Store(batch[next++]);
      if (next == batch.size()) return Fail("unexpected reply: " + std::string(line));
      const size_t value_bytes = batch[next++].value_bytes;
      ++hits_;
      if (!Skip(value_bytes + 2)) return false;
    }
    while (next < batch.size()) Store(batch[next++]);
    return true;
  }

  // Goes out together with the next get.
  void Store(const TraceRequest& request) {
    char line[80];
    const KeyText key = TextOf(request.key);
    const int size = std::snprintf(line, sizeof line, "set %.*s 0 %u %u noreply\r\n",
                                   static_cast<int>(key.size()), key.data(), request.ttl_seconds,
                                   unsigned{request.value_bytes});
    Append(&out_, {line, static_cast<size_t>(size)});
    Append(&out_, std::string_view(filler_).substr(0, request.value_bytes));
    Append(&out_, "\r\n");
  }

  // "VALUE k0000000000000000042 0 100" → 42; any other line → a key of no trace.
  static uint32_t KeyOf(std::string_view line) {
    constexpr std::string_view kBefore = "VALUE k";
    uint32_t key = ~uint32_t{0};
    if (line.substr(0, kBefore.size()) == kBefore) {
      line.remove_prefix(kBefore.size());
      std::from_chars(line.data(), line.data() + line.size(), key);
    }
    return key;
  }

  bool Send() {
    size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t count =
          ::send(socket_.fd(), out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return Fail(std::string("send: ") + std::strerror(errno));
      sent += static_cast<size_t>(count);
    }
    out_.Clear();
    return true;
  }

  // What was read goes; more comes behind what is left.  No line or piece of a value that is waited
  // for is as long as the buffer.
  bool Receive() {
    std::memmove(in_.data(), in_.data() + read_, filled_ - read_);
    filled_ -= read_;
    read_ = 0;
    if (filled_ == in_.size()) return Fail("a line without end");
    ssize_t count = 0;
    do {
      count = ::recv(socket_.fd(), in_.data() + filled_, in_.size() - filled_, 0);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) return Fail("the server closed the connection");
    filled_ += static_cast<size_t>(count);
    return true;
  }

  // The line is good until the next call.
  bool ReadLine(std::string_view* line) {
    size_t end = 0;
    while ((end = Unread().find("\r\n")) == std::string_view::npos) {
      if (!Receive()) return false;
    }
    *line = Unread().substr(0, end);
    read_ += end + 2;
    return true;
  }

  [[nodiscard]] std::string_view Unread() const { return {in_.data() + read_, filled_ - read_}; }

  bool Skip(size_t bytes) {
    while (filled_ - read_ < bytes) {
      if (!Receive()) return false;
    }
    read_ += bytes;
    return true;
  }

  bool Fail(std::string why) {
    error_ = std::move(why);
    return false;
  }

  Socket socket_;
  const std::vector<TraceRequest>& trace_;
  double rate_;
  std::string filler_;
  OutBuffer out_;
  std::vector<char> in_ = std::vector<char>(kReadBytes);
  size_t read_ = 0;    // of in_
  size_t filled_ = 0;  // likewise
  uint64_t hits_ = 0;
  uint64_t latest_ns_ = 0;
  std::string error_;
};

void Print(const ReplayOptions& options, size_t requests, uint64_t hits, uint64_t latest_ms) {
  const double ratio = static_cast<double>(hits) / static_cast<double>(requests);
  const char* const format =
      options.json ? R"({"trace":"%s","requests":%zu,"hits":%llu,"ratio":%.5f,"latest_ms":%llu})"
                     "\n"
                   : "%s: %zu requests, %llu hits, ratio %.5f; at worst %llu ms late\n";
  std::printf(format, options.trace.c_str(), requests, static_cast<unsigned long long>(hits), ratio,
              static_cast<unsigned long long>(latest_ms));
}

}  // namespace

int RunReplay(const ReplayOptions& options) {
  const TraceSpec* const spec = FindTrace(options.trace);
  if (spec == nullptr) {
    std::fprintf(stderr, "no such trace: %s; there are\n", options.trace.c_str());
    for (const TraceSpec& known : Traces()) {
      std::fprintf(stderr, "  %-18.*s%.*s\n", static_cast<int>(known.name.size()),
                   known.name.data(), static_cast<int>(known.description.size()),
                   known.description.data());
    }
    return 2;
  }
  const uint64_t memory = uint64_t{options.memory_mb} << 20;
  const std::vector<TraceRequest> trace = MakeTrace(
      *spec, {.requests = options.requests, .seed = options.seed, .memory_bytes = memory});
  if (options.optimum) {
    Print(options, trace.size(), OptimalHits(trace, spec->rate, memory), 0);
    return 0;
  }
  std::string error;
  Socket socket = Connect(options.endpoint, &error);
  if (!StayOnCpu(options.cpu)) error = "--cpu: no such core";
  if (socket.is_open() && error.empty()) {
    Player player(std::move(socket), trace, spec->rate);
    if (player.Play()) {
      Print(options, trace.size(), player.hits(), player.latest_ms());
      return 0;
    }
    error = player.error();
  }
  std::fprintf(stderr, "larder-bench replay: %s\n", error.c_str());
  return 1;
}

}  // namespace larder::bench
