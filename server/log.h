// server/log.h — the server's log: one line a message, with time and level, to stderr, syslog or a
// file.
//
//   2026-11-21T16:12:05.123Z info larder 0.1.0 listens on tcp:127.0.0.1:11211
//
// Owner: main, or a test.  Threads: Say by any; the rest by the owner.
// A message is put into a queue and written by a thread of the log's own, so that nobody waits for
// a slow disk or terminal; when the queue is full messages are dropped, and their number is said.
// Before Start() and after Stop() whoever says something writes it.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "server/endpoint.h"

namespace larder::server {

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

// "error", "warning", "info", "debug".
[[nodiscard]] std::string_view LevelName(LogLevel level);

// What -v, -vv and -vvv ask for.
[[nodiscard]] inline LogLevel LevelOfVerbosity(int verbosity) {
  return verbosity > 0 ? LogLevel::kDebug : LogLevel::kInfo;
}

class Log {
 public:
  static constexpr size_t kMaxQueued = 1024;
  static constexpr size_t kMaxLine = 2048;  // of a message; the rest is cut off
  // How long a pipe that nobody reads is waited for; then what is to be written is lost.
  static constexpr int kPatienceMs = 200;

  Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log();

  // "stderr", "syslog", or a file to append to.  The process has one connection to syslog: two logs
  // share it.
  [[nodiscard]] absl::Status Open(const std::string& target);
  // The file anew, after it was moved away; when that fails the old one is written on.  Null: it
  // goes to no file.
  std::optional<absl::Status> Reopen();
  // Its file, when it is one, belongs to this user from now on, who can then open it anew.
  void GiveTo(uid_t user, gid_t group);
  // False when the system refuses a thread; the log works on without.
  bool Start();
  // Writes what is queued.
  void Stop();

  // Messages above it are not written.
  void SetLevel(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  [[nodiscard]] bool Writes(LogLevel level) const {
    return level <= level_.load(std::memory_order_relaxed);
  }
  void Say(LogLevel level, std::string_view text) noexcept;
  // Of the last Open().
  [[nodiscard]] bool is_stderr() const { return target_ == Target::kStderr; }

 private:
  enum class Target : uint8_t { kStderr, kSyslog, kFile };
  struct Message {
    LogLevel level = LogLevel::kInfo;
    int64_t wall_ms = 0;
    std::string text;
  };

  void Loop();
  // False when its target takes nothing.
  bool Write(const Message& message);
  void WriteAll(const std::vector<Message>& messages, uint64_t lost);

  std::atomic<LogLevel> level_{LogLevel::kInfo};

  std::mutex write_mutex_;  // outside the ranks, like mutex_: held by nobody who holds another lock
  Target target_ = Target::kStderr;
  std::string path_;
  UniqueFd file_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Message> queue_;
  uint64_t lost_ = 0;
  bool running_ = false;
  std::thread thread_;
};

}  // namespace larder::server
