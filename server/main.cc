// server/main.cc — larder: reads the command line, prepares the process, serves until a signal.

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/memory/chunk.h"
#include "core/restart.h"
#include "server/inherited.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/process.h"
#include "server/server.h"
#include "server/status_text.h"

namespace {

using namespace larder;          // NOLINT(google-build-using-namespace): the program's own
using namespace larder::server;  // NOLINT(google-build-using-namespace)

// The program's; a Server gets it handed in.
Log& TheLog() {
  static Log log;
  return log;
}

void Say(const std::string& text) { TheLog().Say(LogLevel::kInfo, text); }
void SayWarning(const std::string& text) { TheLog().Say(LogLevel::kWarning, text); }
void SayDetail(const std::string& text) { TheLog().Say(LogLevel::kDebug, text); }

// Why it did not start stands on stderr as it is, whatever the log: scripts look for the words.
int Fail(const Refusal& refusal) {
  std::fprintf(stderr, "%s\n", refusal.text.c_str());
  if (!TheLog().is_stderr()) TheLog().Say(LogLevel::kError, refusal.text);
  return refusal.exit_code;
}

std::string Size(uint64_t bytes) {
  if (bytes % (1ULL << 30) == 0) return std::to_string(bytes >> 30) + " GiB";
  if (bytes % (1ULL << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  if (bytes % (1ULL << 10) == 0) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes) + " bytes";
}

std::string SocketNames(Server& server) {
  std::string names;
  for (const ListeningSocket& one : server.network().sockets()) {
    names += (names.empty() ? "" : ", ") + one.description;
  }
  for (const auto& one : server.network().datagram_addresses()) {
    names += (names.empty() ? "" : ", ") + one.description;
  }
  return names;
}

void SayWhatRuns(Server& server) {
  const Options& options = server.options();
  Say("larder " + std::string(Version()) + " listens on " + SocketNames(server));
  Say("memory " + Size(options.store.memory_bytes) + ", items up to " +
      Size(options.store.max_item_bytes) + (options.store.evict ? "" : ", no eviction"));
  Say(std::to_string(options.threads) + " threads, " + std::to_string(options.max_connections) +
      " clients at most");
  if (options.verbosity < 2) return;
  size_t id = 0;
  for (const size_t chunk : server.store().ChunkSizes()) {
    char line[96];
    const int n = std::snprintf(line, sizeof(line), "slab class %3zu: chunk size %9zu perslab %7zu",
                                ++id, chunk, PageBytesFor(options.store.memory_bytes) / chunk);
    SayDetail(std::string(line, static_cast<size_t>(n)));
  }
}

// A service manager that cannot be told is no reason to stop.
void Told(const absl::Status& status) {
  if (!status.ok()) SayWarning(Text(status));
}

void SayOutcome(const std::string& what, const absl::Status& status) {
  if (status.ok()) return Say("SIGHUP: " + what + ": OK");
  SayWarning("SIGHUP: " + what + ", as before: " + Text(status));
}

// Reads again everything that can be read again; what fails keeps nothing else from it.
void OnHangup(Server& server, const Notifier& manager) {
  Told(manager.Reloading());
  if (const auto log = TheLog().Reopen(); log) SayOutcome("log", *log);
  if (const auto users = server.ReloadUsers(); users) SayOutcome("users", *users);
  if (const auto certs = server.ReloadCertificates(); certs) SayOutcome("certificates", *certs);
  Say("SIGHUP: done");
  Told(manager.Ready("serves on " + SocketNames(server)));
}

void OnSignal(Server& server, const Signals& signals, const Notifier& manager) {
  for (int one = signals.Next(); one != 0; one = signals.Next()) {
    if (one == SIGHUP) {
      OnHangup(server, manager);
      continue;
    }
    Told(manager.Stopping(server.options().memory_file.empty() ? "stopping" : "saving the items"));
    if (one == SIGUSR1) {
      Say("Gracefully stopping");
    } else {
      SayDetail(one == SIGINT ? "SIGINT: stopping" : "SIGTERM: stopping");
    }
    server.Stop();
  }
}

// "1234567 items from FILE in 99 ms (80 ms per million)".
std::string Moved(uint64_t items, const char* way, const std::string& path, uint64_t ms) {
  std::string text = std::to_string(items) + (items == 1 ? " item " : " items ") + way + " " +
                     path + " in " + std::to_string(ms) + " ms";
  if (items > 0) text += " (" + std::to_string(ms * 1'000'000 / items) + " ms per million)";
  return text;
}

// Also with no file system behind it that would tell: -e works until that is full.
void SayWhatFits(const Options& options) {
  struct statvfs space {};
  if (fstatvfs(options.store.memory_file->fd(), &space) != 0) return;
  struct stat file {};
  if (fstat(options.store.memory_file->fd(), &file) != 0) return;
  const uint64_t room =
      uint64_t{space.f_bavail} * space.f_frsize + static_cast<uint64_t>(file.st_blocks) * 512;
  if (room >= options.store.memory_bytes) return;
  SayWarning(options.memory_file + ": its file system has room for " + std::to_string(room >> 20) +
             " MiB of -m " + std::to_string(options.store.memory_bytes >> 20));
}

Refusal OpenMemoryFile(Options& options) {
  if (options.memory_file.empty()) return {};
  const absl::Status status =
      MemoryFile::Open(options.memory_file, options.store.memory_bytes, &options.store.memory_file);
  if (!status.ok()) return {kExitOsError, "-e: " + Text(status)};
  options.store.progress = [](const std::string& line) { Say(line); };
  SayWhatFits(options);
  return {};
}

TimeMs ClockStart(const Options& options) {
  const MemoryFile* file = options.store.memory_file.get();
  return file == nullptr ? kClockStartMs : ContinuedClock(file->meta(), SystemClock().WallMs());
}

void SayWhatWasRestored(Server& server) {
  const RestoreReport& report = server.store().restore_report();
  switch (report.outcome) {
    case RestoreReport::Outcome::kNoFile:
      return;
    case RestoreReport::Outcome::kNewFile:
      return Say(server.options().memory_file + " is new: nothing to restore");
    case RestoreReport::Outcome::kRefused:
      return SayWarning("nothing restored: " + report.refusal);
    case RestoreReport::Outcome::kRestored:
      Say("restored " + Moved(report.items, "from", server.options().memory_file, report.ms) +
          (report.expired == 0 ? ""
                               : ", " + std::to_string(report.expired) + " expired meanwhile"));
  }
}

// Nobody could open it again.
bool IsRemoved(const MemoryFile& memory_file) {
  struct stat file {};
  return fstat(memory_file.fd(), &file) == 0 && file.st_nlink == 0;
}

// The last thing of a server with a memory file.  False: they could not be saved.
bool SaveItems(Server& server) {
  const std::string& path = server.options().memory_file;
  if (path.empty()) return true;
  if (IsRemoved(*server.options().store.memory_file)) {
    TheLog().Say(LogLevel::kError,
                 "the items are lost: " + path + ": it was removed while the server ran");
    return false;
  }
  const auto start = std::chrono::steady_clock::now();
  uint64_t items = 0;
  if (const absl::Status status = server.SaveItems(&items); !status.ok()) {
    TheLog().Say(LogLevel::kError, "the items are lost: " + Text(status));
    return false;
  }
  const auto took = std::chrono::steady_clock::now() - start;
  Say("saved " + Moved(items, "to", path,
                       static_cast<uint64_t>(
                           std::chrono::duration_cast<std::chrono::milliseconds>(took).count())));
  return true;
}

// memcached's chunks may be larger: such sizes are no reason not to start.
void WarnOfLargeChunks(Server& server) {
  const StoreOptions& asked = server.options().store;
  const size_t largest = server.store().ChunkSizes().back();
  const std::string why = "no chunk is larger than " + std::to_string(largest) + " bytes";
  if (!asked.chunk_sizes.empty() && asked.chunk_sizes.back() > largest) {
    SayWarning("-o slab_sizes: " + why + ", sizes above that are left out");
  }
  if (asked.min_chunk_payload > largest) SayWarning("-n: " + why);
}

// Whatever comes of it, the variables are nobody else's business afterwards.
Refusal TakeInheritedSockets(const Environment& environment, Options& options,
                             InheritedSockets* sockets) {
  std::vector<InheritedDescriptor> descriptors;
  Refusal refusal = ReadListenVariables(environment, getpid(), &descriptors);
  if (!refusal.refused()) refusal = AdoptSockets(descriptors, options, sockets);
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  return refusal;
}

int Serve(Options options, InheritedSockets inherited, Daemon& daemon) {
  const Signals signals;
  (void)TheLog().Start();  // without a thread of its own it works on
  const std::string pid_path = options.pid_file;
  if (const Refusal refusal = OpenMemoryFile(options); refusal.refused()) return Fail(refusal);
  SystemClock clock(ClockStart(options));
  ServerTuning tuning;
  tuning.on_shutdown = [](bool graceful) { kill(getpid(), graceful ? SIGUSR1 : SIGINT); };
  if (options.debug_commands) tuning.movable_clock = &clock;
  Server server(std::move(options), clock, tuning, &TheLog());
  WarnOfLargeChunks(server);
  SayWhatWasRestored(server);
  if (const Refusal refusal = server.Start(std::move(inherited)); refusal.refused()) {
    (void)SaveItems(server);  // it fails anyway
    return Fail(refusal);
  }
  PidFile pid_file;
  if (!pid_path.empty()) {
    if (const Refusal refusal = pid_file.Write(pid_path); refusal.refused()) {
      SayWarning(refusal.text);
    }
  }
  const char* port_path = getenv("MEMCACHED_PORT_FILENAME");
  if (port_path != nullptr && !WriteFileAtomically(port_path, ".lck", server.PortLines())) {
    (void)SaveItems(server);
    return Fail({kExitOsError, std::string(port_path) + ": cannot write the port numbers"});
  }
  SayWhatRuns(server);
  const Notifier manager(getenv("NOTIFY_SOCKET"));
  server.network().Watch(signals.fd(), [&] { OnSignal(server, signals, manager); });
  daemon.Ready(server.options().verbosity > 0);
  Told(manager.Ready("serves on " + SocketNames(server)));
  server.Run();
  return SaveItems(server) ? kExitOk : kExitOsError;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  const Environment environment = [](const char* name) -> const char* { return getenv(name); };
  ParsedCommandLine line = ParseCommandLine(args, environment);
  std::fputs(line.out.c_str(), stdout);
  std::fputs(line.err.c_str(), stderr);
  if (!line.run) return line.exit_code;
  Options& options = line.options;
  TheLog().SetLevel(LevelOfVerbosity(options.verbosity));
  // First of all: nothing else may have opened a descriptor yet.
  InheritedSockets inherited;
  if (const Refusal refusal = TakeInheritedSockets(environment, options, &inherited);
      refusal.refused()) {
    return Fail(refusal);
  }
  if (const absl::Status status = TheLog().Open(options.log_target); !status.ok()) {
    return Fail({kExitOsError, Text(status)});
  }
  if (const passwd* user = getpwnam(options.user.c_str()); geteuid() == 0 && user != nullptr) {
    TheLog().GiveTo(user->pw_uid, user->pw_gid);
  }
  if (const Refusal refusal = PrepareProcess(options, &options.warnings); refusal.refused()) {
    return Fail(refusal);
  }
  Daemon daemon;
  if (options.daemon) {
    if (const int code = daemon.Fork(); code >= 0) return code;
  }
  if (options.store.lock_memory && !LockMemory()) {
    options.warnings.emplace_back("-k: the memory could not be locked (see ulimit -l)");
  }
  for (const std::string& warning : options.warnings) SayWarning(warning);
  const int exit_code = Serve(std::move(options), std::move(inherited), daemon);
  TheLog().Stop();
  return exit_code;
}
