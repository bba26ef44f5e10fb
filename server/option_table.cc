#include "server/option_table.h"

#include <limits>

#include "server/numbers.h"

namespace larder::server {
namespace {

Refusal Usage(std::string text) { return {kExitUsage, std::move(text)}; }
Refusal Failure(std::string text) { return {kExitFailure, std::move(text)}; }

// An int of at least `least`, or why not.
Refusal ToInt(std::string_view flag, std::string_view text, int64_t least, std::string_view rule,
              int* out) {
  const auto value = ParseInteger(text);
  if (!value) return Usage(NotANumber(flag, text));
  if (*value < least) return Failure(std::string(flag) + ": " + std::string(rule));
  constexpr int kMost = std::numeric_limits<int>::max();
  if (*value > kMost) {
    return Failure(std::string(flag) + ": more than " + std::to_string(kMost));
  }
  *out = static_cast<int>(*value);
  return {};
}

Refusal SetPort(Options& options, std::string_view text) {
  const auto value = ParseInteger(text);
  if (!value) return Usage(NotANumber("-p", text));
  if (*value > 65535 || *value < -1) {
    return Usage("ERROR: Invalid port number " + std::string(text) + ".");
  }
  options.port = static_cast<int>(*value);
  options.port_given = true;
  return {};
}

Refusal SetUdpPort(Options& options, std::string_view text) {
  const auto value = ParseInteger(text);
  if (!value) return Usage(NotANumber("-U", text));
  if (*value > 65535 || *value < -1) {
    return Usage("ERROR: Invalid UDP port number " + std::string(text) + ".");
  }
  options.udp_port = static_cast<int>(*value);
  return {};
}

Refusal SetUnixPath(Options& options, std::string_view text) {
  if (text.empty()) return Usage("-s: the path of the socket is missing");
  options.unix_path = text;
  return {};
}

Refusal SetUnixMode(Options& options, std::string_view text) {
  unsigned mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || mode > 0777) {
      return Usage("-a: '" + std::string(text) + "' is not an octal mode such as 700");
    }
    mode = mode * 8 + static_cast<unsigned>(c - '0');
  }
  if (text.empty() || mode > 0777) return Usage("-a: an octal mode such as 700 is needed");
  options.unix_mode = static_cast<mode_t>(mode);
  return {};
}

Refusal AddListen(Options& options, std::string_view text) {
  const size_t before = options.listen.size();
  while (true) {
    const size_t cut = text.find_first_of(",;");
    const std::string_view one = text.substr(0, cut);
    if (!one.empty()) options.listen.emplace_back(one);
    if (cut == std::string_view::npos) break;
    text.remove_prefix(cut + 1);
  }
  if (options.listen.size() == before) return Usage("-l: an address is missing; * means all");
  return {};
}

Refusal SetBacklog(Options& options, std::string_view text) {
  return ToInt("-b", text, 0, "the backlog must not be negative", &options.backlog);
}

Refusal SetConnections(Options& options, std::string_view text) {
  return ToInt("-c", text, 1, "Maximum connections must be greater than 0",
               &options.max_connections);
}

Refusal SetProtocol(Options& options, std::string_view text) {
  options.is_protocol_given = true;
  if (text == "auto") {
    options.protocol = BindingProtocol::kAuto;
  } else if (text == "ascii") {
    options.protocol = BindingProtocol::kAscii;
  } else if (text == "binary") {
    options.protocol = BindingProtocol::kBinary;
  } else {
    return Usage("Invalid value for binding protocol: " + std::string(text) +
                 "\n -- should be one of auto, binary, or ascii");
  }
  return {};
}

Refusal SetMemory(Options& options, std::string_view text) {
  const auto bytes = ParseBytes(text, 1 << 20);
  if (!bytes) {
    const auto number = ParseInteger(text);
    if (number && *number < 0) return Usage("-m: memory cannot be negative");
    return Usage(NotANumber("-m", text) + " (megabytes, or 512m, 4g)");
  }
  options.store.memory_bytes = *bytes;
  return {};
}

Refusal SetItemSize(Options& options, std::string_view text) {
  const auto bytes = ParseBytes(text, 1);
  if (!bytes) return Usage(NotANumber("-I", text) + " (bytes, or 512k, 2m)");
  if (*bytes < 1024) return Usage("Item max size cannot be less than 1024 bytes.");
  if (*bytes > (1ULL << 30)) return Usage("Cannot set item size limit higher than a gigabyte.");
  options.store.max_item_bytes = static_cast<size_t>(*bytes);
  return {};
}

Refusal SetFactor(Options& options, std::string_view text) {
  const auto factor = ParseFraction(text);
  if (!factor) return Usage(NotANumber("-f", text));
  if (*factor <= 1.0) return Failure("-f: Factor must be greater than 1");
  options.store.growth_factor = *factor;
  return {};
}

Refusal SetMinChunk(Options& options, std::string_view text) {
  int bytes = 0;
  Refusal refusal = ToInt("-n", text, 1, "Chunk size must be greater than 0", &bytes);
  if (refusal.refused()) return refusal;
  options.store.min_chunk_payload = static_cast<size_t>(bytes);
  return {};
}

Refusal SetThreads(Options& options, std::string_view text) {
  Refusal refusal =
      ToInt("-t", text, 1, "Number of threads must be greater than 0", &options.threads);
  if (refusal.refused()) return refusal;
  if (options.threads > 1024) return Failure("-t: more than 1024 threads");
  if (options.threads > 64) {
    options.warnings.emplace_back(
        "-t: so many worker threads are rarely of use; one a core is the default");
  }
  return {};
}

Refusal SetReqsPerEvent(Options& options, std::string_view text) {
  return ToInt("-R", text, 1, "Number of requests per event must be greater than 0",
               &options.reqs_per_event);
}

Refusal SetDelimiter(Options& options, std::string_view text) {
  if (text.size() != 1) return Usage("-D: exactly one character is needed, such as -D :");
  options.store.prefix_delimiter = text[0];
  options.store.prefix_stats = true;
  return {};
}

Refusal SetNapiIds(Options& options, std::string_view text) {
  options.napi_ids = text;
  options.warnings.emplace_back(
      "-N: connections are dealt round-robin, NAPI ids are not looked at");
  return {};
}

// Switches.
Refusal SwitchOff(bool* what, std::string_view value) {
  *what = value == kSwitchedOff;
  return {};
}
Refusal SetDaemon(Options& o, std::string_view value) { return Switch(&o.daemon, value); }
Refusal SetCoreDumps(Options& o, std::string_view value) { return Switch(&o.core_dumps, value); }
Refusal SetLockMemory(Options& o, std::string_view value) {
  return Switch(&o.store.lock_memory, value);
}
Refusal SetNoEvictions(Options& o, std::string_view value) {
  return SwitchOff(&o.store.evict, value);
}
Refusal SetNoCas(Options& o, std::string_view value) { return SwitchOff(&o.store.use_cas, value); }
Refusal SetNoFlush(Options& o, std::string_view value) {
  return SwitchOff(&o.flush_enabled, value);
}
Refusal SetNoDump(Options& o, std::string_view value) { return SwitchOff(&o.dump_enabled, value); }
Refusal SetTls(Options& o, std::string_view value) { return Switch(&o.tls.enabled, value); }
Refusal SetSasl(Options& o, std::string_view value) { return Switch(&o.sasl, value); }
Refusal SetNoWatch(Options& o, std::string_view value) {
  return SwitchOff(&o.watch_enabled, value);
}
Refusal SetLargePages(Options& o, std::string_view value) {
  return Switch(&o.store.preallocate, value);
}
Refusal SetShutdown(Options& o, std::string_view value) {
  return Switch(&o.shutdown_enabled, value);
}
Refusal MoreVerbose(Options& o, std::string_view value) {
  if (value == kSwitchedOff) {
    o.verbosity = 0;
  } else if (o.verbosity < 3) {
    ++o.verbosity;
  }
  return {};
}

Refusal SetPasswordFile(Options& o, std::string_view text) {
  if (text.empty()) return Usage("-Y: the path of the file is missing");
  return o.password_file = text, Refusal{};
}
Refusal SetUser(Options& o, std::string_view text) { return o.user = text, Refusal{}; }
Refusal SetPidFile(Options& o, std::string_view text) { return o.pid_file = text, Refusal{}; }
// -h, -i and -V end the run before any row is applied.
Refusal Nothing(Options& /*options*/, std::string_view /*text*/) { return {}; }

Refusal SetMemoryFile(Options& o, std::string_view text) {
  if (text.empty()) return Usage("-e: the name of a file is missing");
  o.memory_file = text;
  return {};
}

constexpr auto kNetwork = OptionGroup::kNetwork;
constexpr auto kMemory = OptionGroup::kMemory;
constexpr auto kWork = OptionGroup::kWork;
constexpr auto kSecurity = OptionGroup::kSecurity;
constexpr auto kProcess = OptionGroup::kProcess;
constexpr auto kInformation = OptionGroup::kInformation;

constexpr OptionRow kRows[] = {
    {'p', "port", "num", kNetwork, "TCP port; 0: none, -1: any free one", "11211", "-p 11311",
     SetPort},
    {'U', "udp-port", "num", kNetwork,
     "UDP port of the addresses without one of their own; 0: no UDP, -1: any free one", "0", "",
     SetUdpPort},
    {'s', "unix-socket", "file", kNetwork, "listen on this unix socket instead of TCP", "",
     "-s /run/larder.sock", SetUnixPath},
    {'a', "unix-mask", "mode", kNetwork, "access mode of the unix socket, octal", "700", "-a 770",
     SetUnixMode},
    {'l', "listen", "addr", kNetwork,
     "addresses to listen on, cut at commas: host, host:port, [v6]:port, *; in front of one "
     "notls:, "
     "btls: or mtls: (with -Z), then proto[ascii|binary|negotiating]:, then tag[name]:",
     "*", "-l 127.0.0.1,[::1]:11212", AddListen},
    {'b', "listen-backlog", "num", kNetwork, "connections the kernel keeps ready to be accepted",
     "1024", "", SetBacklog},
    {'c', "conn-limit", "num", kNetwork, "clients served at the same time", "1024", "-c 16384",
     SetConnections},
    {'B', "protocol", "name", kNetwork, "auto (by a client's first byte), ascii or binary", "auto",
     "", SetProtocol},
    {'N', "napi-ids", "num", kNetwork, "accepted, of no effect", "", "", SetNapiIds},

    {'m', "memory-limit", "size", kMemory, "memory for items: megabytes, or 512m, 4g", "64",
     "-m 4g", SetMemory},
    {'M', "disable-evictions", "", kMemory, "when full, refuse to store instead of evicting", "",
     "", SetNoEvictions},
    {'I', "max-item-size", "size", kMemory, "largest item: bytes, or 512k, 2m (1k to 1024m)", "1m",
     "-I 5m", SetItemSize},
    {'f', "slab-growth-factor", "num", kMemory,
     "ratio of one chunk size to the one before; below -m 64 1.08", "1.03", "-f 1.25", SetFactor},
    {'n', "slab-min-size", "bytes", kMemory, "room for key, flags and value in the smallest chunk",
     "16", "", SetMinChunk},
    {'L', "enable-largepages", "", kMemory, "take all memory at the start, in large pages", "", "",
     SetLargePages},
    {'k', "lock-memory", "", kMemory, "lock all memory, so that it is never swapped out", "", "",
     SetLockMemory},
    {'C', "disable-cas", "", kMemory, "keep no CAS numbers: 8 bytes less an item", "", "",
     SetNoCas},
    {'e', "memory-file", "file", kMemory, "keep items in this file over a restart", "",
     "-e /dev/shm/larder", SetMemoryFile},

    {'t', "threads", "num", kWork, "worker threads", "one a core", "-t 4", SetThreads},
    {'R', "max-reqs-per-event", "num", kWork, "accepted; batches are bounded by bytes here", "20",
     "", SetReqsPerEvent},
    {'D', "prefix-delimiter", "char", kWork, "end of a key's prefix, for statistics by prefix", ":",
     "", SetDelimiter},
    {'o', "extended", "list", kWork, "suboptions, cut at commas; listed below", "",
     "-o idle_timeout=300,track_sizes", ApplySuboptions},

    {'S', "enable-sasl", "", kSecurity,
     "SASL: clients must authenticate themselves, by the binary protocol only; users are SASL's, "
     "or those of the file that MEMCACHED_SASL_PWDB names",
     "", "", SetSasl},
    {'Y', "auth-file", "file", kSecurity,
     "users, a line user:password each, read again on SIGHUP; text protocol only", "",
     "-Y /etc/larder/users", SetPasswordFile},
    {'Z', "enable-ssl", "", kSecurity, "TLS on every TCP listener but those with notls:", "",
     "-Z -o ssl_chain_cert=cert.pem,ssl_key=key.pem", SetTls},
    {'F', "disable-flush-all", "", kSecurity, "refuse flush_all", "", "", SetNoFlush},
    {'X', "disable-dumping", "", kSecurity, "refuse commands that list keys", "", "", SetNoDump},
    {'W', "disable-watch", "", kSecurity, "refuse the watch command", "", "", SetNoWatch},
    {'A', "enable-shutdown", "", kSecurity, "allow the shutdown command", "", "", SetShutdown},

    {'\0', "config", "file", kProcess,
     "read options from this file too; flags and the environment win", "",
     "--config /etc/memcached.conf", Nothing},
    {'d', "daemon", "", kProcess, "run in the background", "", "", SetDaemon},
    {'P', "pidfile", "file", kProcess, "write the process id to this file", "",
     "-P /run/larder.pid", SetPidFile},
    {'u', "user", "name", kProcess, "become this user; needed when started by root", "",
     "-u memcache", SetUser},
    {'r', "enable-coredumps", "", kProcess, "allow core files of any size", "", "", SetCoreDumps},

    {'v', "verbose", "", kInformation, "say more; -vv and -vvv even more", "", "", MoreVerbose},
    {'h', "help", "", kInformation, "print this and exit", "", "", Nothing},
    {'i', "license", "", kInformation, "print the licence and exit", "", "", Nothing},
    {'V', "version", "", kInformation, "print the version and exit", "", "", Nothing},
};

}  // namespace

std::string_view GroupTitle(OptionGroup group) {
  switch (group) {
    case OptionGroup::kNetwork:
      return "Network";
    case OptionGroup::kMemory:
      return "Memory";
    case OptionGroup::kWork:
      return "Work";
    case OptionGroup::kSecurity:
      return "Security";
    case OptionGroup::kProcess:
      return "Process";
    case OptionGroup::kInformation:
      return "Information";
  }
  return "";
}

std::span<const OptionRow> OptionRows() { return kRows; }

}  // namespace larder::server
