// server/options.h — what the command line asked for, and how it is read.
//
// Owner: main, then Server (a copy, unchanged from then on).  Threads: any, once parsed.
// Facts: memcached's command line, flag for flag; larder --help says what each does here.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/store.h"
#include "server/client_info.h"
#include "server/tls_options.h"

namespace larder::server {

// sysexits.h, as memcached uses them; kExitFailure is for flags it does not know.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitNoUser = 67;
inline constexpr int kExitOsError = 71;

struct Options {
  // The engine: -m -I -f -n -C -M -k -L and the -o suboptions about memory.
  StoreOptions store;
  std::string memory_file;       // -e; main opens it
  bool chunk_max_given = false;  // slab_chunk_max, or what implies it

  // Network.
  bool port_given = false;
  int port = 11211;                   // -p; 0: no TCP, -1: any free port
  int udp_port = 0;                   // -U; 0: no UDP, -1: any free port
  size_t udp_reply_bytes = 64 << 10;  // udp_reply_limit: of the replies to one datagram
  std::string unix_path;              // -s; when set there is no TCP
  mode_t unix_mode = 0700;            // -a
  std::vector<std::string> listen;    // -l, cut at commas and semicolons; empty: every address
  int backlog = 1024;                 // -b
  int max_connections = 1024;         // -c
  bool maxconns_fast = true;          // false: stop accepting at the limit instead of refusing
  int idle_timeout_seconds = 0;       // 0: never
  BindingProtocol protocol = BindingProtocol::kAuto;  // -B
  TlsOptions tls;                                     // -Z, ssl_*
  bool is_protocol_given = false;

  // Authentication.
  bool sasl = false;               // -S
  std::string password_file;       // -Y
  std::string sasl_password_file;  // MEMCACHED_SASL_PWDB; empty: SASL's own configuration

  // Process.
  bool daemon = false;      // -d
  std::string pid_file;     // -P
  std::string user;         // -u
  bool core_dumps = false;  // -r
  int threads = 0;          // -t; 0 until parsed: one per core
  int verbosity = 0;        // -v, at most 3

  // Commands.
  bool flush_enabled = true;      // not -F
  bool dump_enabled = true;       // not -X
  bool watch_enabled = true;      // not -W
  bool shutdown_enabled = false;  // -A
  bool debug_commands = false;    // debugtime

  // Taken and shown again in `stats settings`, but of no effect on this engine.
  int reqs_per_event = 20;  // -R
  int hashpower = 0;
  std::string hash_algorithm = "xxh3";
  int tail_repair_seconds = 0;
  int watcher_logbuf_kb = 256;
  int worker_logbuf_kb = 64;
  int read_buf_mem_limit_mb = 0;
  std::string napi_ids;  // -N

  std::string log_target = "stderr";  // or syslog, or a file's path

  // One line each, for whoever starts the server.
  std::vector<std::string> warnings;

  [[nodiscard]] bool authenticates() const { return sasl || !password_file.empty(); }
};

// Why a command line is refused.  Default: it is not.
struct Refusal {
  int exit_code = kExitOk;
  std::string text;

  [[nodiscard]] bool refused() const { return exit_code != kExitOk; }
};

struct ParsedCommandLine {
  bool run = false;  // otherwise print `out` and `err`, and exit with `exit_code`
  int exit_code = kExitOk;
  std::string out;  // for stdout: help, version, licence
  std::string err;  // for stderr
  Options options;
};

struct Endpoint;

// Whether the other options allow for such a listener; `where` names it, as in "-l 'mtls:*'".
[[nodiscard]] Refusal CheckListener(const Options& options, const std::string& where,
                                    const Endpoint& one);
// Whether they allow for UDP.
[[nodiscard]] Refusal CheckDatagrams(const Options& options);

// The value of an environment variable, null when there is none.
using Environment = std::function<const char*(const char* name)>;

// `args` without the program's name.  Accepts what getopt_long does: clusters, values attached or
// apart (also inside one element, "-m 64"), unambiguous prefixes of long names, repetitions (the
// last wins), words that belong to nothing (ignored, with a warning).  Flags win over the
// environment, and that over the files of --config.  Starts nothing, and touches no files but
// those.
[[nodiscard]] ParsedCommandLine ParseCommandLine(std::span<const std::string> args,
                                                 const Environment& environment = {});

// Version of larder, "0.1.0".
[[nodiscard]] std::string_view Version();

}  // namespace larder::server
