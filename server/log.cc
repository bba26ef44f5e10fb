#include "server/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace larder::server {
namespace {

int64_t WallMs() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

// RFC 3339, in UTC.
std::string TimeText(int64_t wall_ms) {
  const time_t seconds = wall_ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  char milliseconds[16];
  const int m =
      std::snprintf(milliseconds, sizeof(milliseconds), ".%03dZ", static_cast<int>(wall_ms % 1000));
  return std::string(text, n).append(milliseconds, static_cast<size_t>(m));
}

int SyslogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return LOG_ERR;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kDebug:
      return LOG_DEBUG;
  }
  return LOG_INFO;
}

UniqueFd OpenForAppending(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640));
}

// False when it cannot be written now.  A line is shorter than what a pipe takes at once, so that a
// pipe with room does not block.
bool WriteWhole(int fd, std::string_view text) {
  pollfd target{fd, POLLOUT, 0};
  if (poll(&target, 1, Log::kPatienceMs) <= 0) return false;
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;  // nowhere left to say it
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "info";
}

Log::~Log() { Stop(); }

absl::Status Log::Open(const std::string& target) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (target.empty() || target == "stderr") {
    target_ = Target::kStderr;
    return absl::OkStatus();
  }
  if (target == "syslog") {
    openlog("larder", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    target_ = Target::kSyslog;
    return absl::OkStatus();
  }
  UniqueFd file = OpenForAppending(target);
  if (!file.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("log file ", target));
  // A daemon leaves for /, so a relative name would be lost.
  char* const absolute = realpath(target.c_str(), nullptr);
  path_ = absolute != nullptr ? absolute : target;
  std::free(absolute);
  file_ = std::move(file);
  target_ = Target::kFile;
  return absl::OkStatus();
}

std::optional<absl::Status> Log::Reopen() {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (target_ != Target::kFile) return std::nullopt;
  UniqueFd file = OpenForAppending(path_);
  if (!file.valid()) return absl::ErrnoToStatus(errno, path_);
  file_ = std::move(file);
  return absl::OkStatus();
}

void Log::GiveTo(uid_t user, gid_t group) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  // Best effort: then it is written on, but cannot be opened anew.
  if (target_ == Target::kFile) (void)!fchown(file_.get(), user, group);
}

bool Log::Start() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (running_) return true;
    running_ = true;
  }
  try {
    thread_ = std::thread([this] { Loop(); });
  } catch (const std::system_error&) {
    const std::lock_guard<std::mutex> lock(mutex_);
    running_ = false;
    return false;
  }
  pthread_setname_np(thread_.native_handle(), "larder-log");
  return true;
}

void Log::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    running_ = false;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Log::Say(LogLevel level, std::string_view text) noexcept {
  if (!Writes(level)) return;
  try {
    Message message{level, WallMs(), std::string(text.substr(0, kMaxLine))};
    std::unique_lock<std::mutex> lock(mutex_);
    if (running_) {
      if (queue_.size() < kMaxQueued) {
        queue_.push_back(std::move(message));
      } else {
        ++lost_;
      }
      lock.unlock();
      changed_.notify_one();
      return;
    }
    lock.unlock();
    WriteAll({std::move(message)}, 0);
  } catch (const std::bad_alloc&) {
    return;  // there is nothing left to say it with
  }
}

void Log::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !queue_.empty() || lost_ > 0 || !running_; });
    const bool last = !running_;
    std::vector<Message> messages;
    messages.swap(queue_);
    const uint64_t lost = std::exchange(lost_, 0);
    lock.unlock();
    WriteAll(messages, lost);
    lock.lock();
    if (last && queue_.empty()) return;
  }
}

void Log::WriteAll(const std::vector<Message>& messages, uint64_t lost) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  for (size_t i = 0; i < messages.size(); ++i) {
    if (Write(messages[i])) continue;
    lost += messages.size() - i;
    break;
  }
  if (lost == 0) return;
  (void)Write({LogLevel::kWarning, WallMs(), std::to_string(lost) + " messages were lost"});
}

bool Log::Write(const Message& message) {
  if (target_ == Target::kSyslog) {
    syslog(SyslogLevel(message.level), "%s", message.text.c_str());
    return true;
  }
  std::string line = TimeText(message.wall_ms);
  line.append(" ").append(LevelName(message.level)).append(" ").append(message.text).append("\n");
  return WriteWhole(target_ == Target::kFile ? file_.get() : STDERR_FILENO, line);
}

}  // namespace larder::server
