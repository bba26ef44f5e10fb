#include "server/process.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace larder::server {
namespace {

std::string Because(const std::string& what, int error) {
  return what + ": " + std::strerror(error);
}

Refusal AllowCoreDumps() {
  rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_CORE, &limit) == 0) return {};
  if (getrlimit(RLIMIT_CORE, &limit) != 0) return {kExitOsError, Because("-r", errno)};
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_CORE, &limit);
  if (limit.rlim_max == 0) return {kExitOsError, "-r: core files are not allowed here"};
  return {};
}

// Clients, and what the server needs besides: two for each worker, listeners, files, spare ones.
Refusal AllowClients(const Options& options, std::vector<std::string>* warnings) {
  const auto clients = static_cast<rlim_t>(options.max_connections);
  const rlim_t wanted = clients + 64 + 4 * static_cast<rlim_t>(options.threads);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {kExitOsError, Because("open files", errno)};
  if (limit.rlim_cur >= wanted) return {};
  rlimit raised{wanted, std::max(wanted, limit.rlim_max)};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return {};
  raised = {limit.rlim_max, limit.rlim_max};
  (void)setrlimit(RLIMIT_NOFILE, &raised);
  const std::string most = std::to_string(limit.rlim_max);
  if (limit.rlim_max < clients) {
    return {kExitOsError, "-c " + std::to_string(clients) + ": only " + most +
                              " open files are allowed here; raise that limit (ulimit -n), start "
                              "as root, or ask for fewer clients"};
  }
  warnings->push_back("-c " + std::to_string(clients) + ": with " + most +
                      " open files a few clients less can be served");
  return {};
}

Refusal BecomeUser(const Options& options) {
  if (getuid() != 0 && geteuid() != 0) return {};  // -u counts for root only
  if (options.user.empty()) {
    return {kExitUsage,
            "can't run as root without the -u switch\n"
            "must add '-u root' to start as root, or better '-u nobody' or a user of its own"};
  }
  const passwd* user = getpwnam(options.user.c_str());
  if (user == nullptr) {
    return {kExitNoUser, "can't find the user " + options.user + " to switch to"};
  }
  // Locked memory (-k) is limited for users, not for root.
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  if (options.store.lock_memory) (void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
  if (user->pw_uid == 0) return {};
  if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
      setuid(user->pw_uid) != 0) {
    return {kExitOsError, Because("failed to become user " + options.user, errno)};
  }
  return {};
}

}  // namespace

Refusal PrepareProcess(const Options& options, std::vector<std::string>* warnings) {
  if (options.core_dumps) {
    if (Refusal refusal = AllowCoreDumps(); refusal.refused()) return refusal;
  }
  if (Refusal refusal = AllowClients(options, warnings); refusal.refused()) return refusal;
  return BecomeUser(options);
}

bool LockMemory() {
  // Under a limit, locking what is mapped later would make those mappings fail one day.
  rlimit limit{};
  const bool is_unlimited =
      getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
  return mlockall(MCL_CURRENT | MCL_ONFAULT | (is_unlimited ? MCL_FUTURE : 0)) == 0 && is_unlimited;
}

int Daemon::Fork() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return kExitOsError;
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) return kExitOsError;
  if (child == 0) {
    setsid();
    ready_ = std::move(write_end);
    return -1;
  }
  write_end.Reset();
  char byte = 0;
  ssize_t n = 0;
  do {
    n = read(read_end.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) return kExitOk;
  int status = 0;
  if (waitpid(child, &status, 0) == child && WIFEXITED(status)) {
    return std::max(WEXITSTATUS(status), kExitFailure);
  }
  return kExitOsError;
}

void Daemon::Ready(bool keep_output) {
  if (!ready_.valid()) return;
  if (chdir("/") != 0) std::perror("chdir /");
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; null.valid() && fd < (keep_output ? 1 : 3); ++fd) dup2(null.get(), fd);
  const char byte = 1;
  [[maybe_unused]] const ssize_t n = write(ready_.get(), &byte, 1);
  ready_.Reset();
}

PidFile::~PidFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

Refusal PidFile::Write(const std::string& path) {
  if (!WriteFileAtomically(path, ".tmp", std::to_string(getpid()) + "\n")) {
    return {kExitOsError, Because("-P " + path, errno)};
  }
  // The daemon leaves for /, so a relative name would be lost.
  char* absolute = realpath(path.c_str(), nullptr);
  path_ = absolute != nullptr ? absolute : path;
  std::free(absolute);
  return {};
}

bool WriteFileAtomically(const std::string& path, const std::string& suffix,
                         const std::string& text) {
  const std::string temporary = path + suffix;
  UniqueFd file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return false;
  const ssize_t n = write(file.get(), text.data(), text.size());
  if (n != static_cast<ssize_t>(text.size())) {
    if (n >= 0) errno = ENOSPC;
    return false;
  }
  return rename(temporary.c_str(), path.c_str()) == 0;
}

Signals::Signals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int one : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&set, one);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = UniqueFd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

int Signals::Next() const {
  signalfd_siginfo info{};
  const ssize_t n = read(fd_.get(), &info, sizeof(info));
  return n == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace larder::server
