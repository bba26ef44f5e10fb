// server/process.h — what concerns the whole process: limits, user, background, pid file, signals.
//
// Owner: main.  Threads: the main one, before any other is started.

#pragma once

#include <functional>
#include <string>

#include "server/endpoint.h"
#include "server/options.h"

namespace larder::server {

// Core files (-r), open files (for -c), then the user (-u): limits can only be raised while the
// process is still root's.  `warnings` get what is not as wished but good enough.
[[nodiscard]] Refusal PrepareProcess(const Options& options, std::vector<std::string>* warnings);

// -k.  After the fork, for locks are not inherited.  False: not allowed, or only up to a limit.
[[nodiscard]] bool LockMemory();

// -d: the parent stays until the child says that it serves, so that a failing start is seen.
class Daemon {
 public:
  // Returns in the child with -1, in the parent with its exit code (the child's, when it failed).
  [[nodiscard]] int Fork();
  // Child: serving; the terminal is let go of, unless `keep_output`.
  void Ready(bool keep_output);

 private:
  UniqueFd ready_;
};

// Written to a temporary file and renamed; removed by the destructor.
class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile();
  [[nodiscard]] Refusal Write(const std::string& path);

 private:
  std::string path_;
};

// `text` under `path`, whole or not at all: written to `path` + `suffix`, then renamed.
[[nodiscard]] bool WriteFileAtomically(const std::string& path, const std::string& suffix,
                                       const std::string& text);

// Takes SIGTERM, SIGINT, SIGUSR1 and SIGHUP out of their usual way, for every thread started from
// here on, and ignores SIGPIPE.
class Signals {
 public:
  Signals();
  // Readable when one has come.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // The next one, 0 when there is none.
  [[nodiscard]] int Next() const;

 private:
  UniqueFd fd_;
};

}  // namespace larder::server
