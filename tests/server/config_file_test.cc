#include "server/config_file.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "server/settings.h"

namespace larder::server {
namespace {

constexpr uint64_t kMiB = 1 << 20;

Options Accept(std::string_view text) {
  Options options;
  const Refusal refusal = ApplyConfig(text, "file", options);
  INFO(refusal.text);
  REQUIRE_FALSE(refusal.refused());
  return options;
}

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view text)
      : path_(std::filesystem::temp_directory_path() /
              ("larder-config-" + std::to_string(getpid()))) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Environment From(const std::map<std::string, std::string>& variables) {
  return [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

TEST_CASE("a configuration names flags and suboptions by their long names", "[server][config]") {
  const Options options = Accept(
      "# larder\n"
      "\n"
      "memory-limit = 128      # megabytes\n"
      "max_item_size=2m\r\n"
      "\tport 11311\n"
      "listen = \"127.0.0.1,[::1]:12000\"\n"
      "disable-cas\n"
      "disable-evictions = no\n"
      "verbose = yes\n"
      "idle_timeout = 7\n"
      "hot-lru-pct = 10\n"
      "track_sizes\n"
      "lru_crawler = off\n"
      "extended = warm_lru_pct=30,temporary_ttl=9");
  CHECK(options.store.memory_bytes == 128 * kMiB);
  CHECK(options.store.max_item_bytes == 2 * kMiB);
  CHECK(options.port == 11311);
  CHECK(options.listen == std::vector<std::string>{"127.0.0.1", "[::1]:12000"});
  CHECK_FALSE(options.store.use_cas);
  CHECK(options.store.evict);
  CHECK(options.verbosity == 1);
  CHECK(options.idle_timeout_seconds == 7);
  CHECK(options.store.hot_percent == 10);
  CHECK(options.store.track_sizes);
  CHECK_FALSE(options.store.crawler);
  CHECK(options.store.warm_percent == 30);
  CHECK(options.store.temporary_ttl_seconds == 9);
}

TEST_CASE("a switch can be taken back, the last line counts", "[server][config]") {
  const char* const switches[] = {
      "disable-evictions", "disable-cas",     "lock-memory",       "enable-largepages",
      "enable-sasl",       "enable-ssl",      "disable-flush-all", "disable-dumping",
      "disable-watch",     "enable-shutdown", "enable-coredumps",  "verbose",
      "track_sizes",       "lru_crawler",     "no_lru_crawler",    "no_slab_automove",
      "no_chunked_items",  "ssl_kernel_tls",  "ssl_session_cache", "no_maxconns_fast",
  };
  const auto shown = [](const Options& o) {
    const StoreOptions& s = o.store;
    std::ostringstream out;
    for (const bool is :
         {s.evict, s.use_cas, s.lock_memory, s.preallocate, o.sasl, o.tls.enabled, o.flush_enabled,
          o.dump_enabled, o.watch_enabled, o.shutdown_enabled, o.core_dumps, s.track_sizes,
          s.crawler, o.tls.kernel_tls, o.tls.session_cache, o.maxconns_fast}) {
      out << is;
    }
    out << ' ' << o.verbosity << ' ' << s.automove << ' ' << s.max_chunk_bytes;
    return out.str();
  };
  for (const std::string name : switches) {
    CAPTURE(name);
    const std::string on = shown(Accept(name));
    const std::string off = shown(Accept(name + " = no"));
    if (name != "lru_crawler") CHECK(shown(Options{}) != on);
    CHECK(on != off);
    CHECK(shown(Accept(name + "\n" + name + " = no")) == off);
    CHECK(shown(Accept(name + " = off\n" + name + " = yes")) == on);
  }
}

TEST_CASE("a byte order mark before the first line is no part of it", "[server][config]") {
  CHECK(Accept("\xEF\xBB\xBFmemory-limit = 128\n").store.memory_bytes == 128 * kMiB);
  CHECK(Accept("\xEF\xBB\xBF").store.memory_bytes == Options{}.store.memory_bytes);
  Options options;
  CHECK(ApplyConfig("port 1\n\xEF\xBB\xBFport 2\n", "file", options).refused());
}

TEST_CASE("no file puts the server into the background", "[server][config]") {
  for (const char* line : {"-d", "--daemon", "-d -vv", "-vd", "daemon", "daemon = yes"}) {
    CAPTURE(line);
    const Options options = Accept(line);
    CHECK_FALSE(options.daemon);
    REQUIRE(options.warnings.size() == 1);
    CHECK_THAT(options.warnings[0], Catch::StartsWith("-d: ignored"));
  }
  CHECK(Accept("daemon = no").warnings.empty());
}

TEST_CASE("Debian's memcached.conf is read as it stands", "[server][config]") {
  const Options options = Accept(
      "# memcached default config file\n"
      "# see memcached(1)\n"
      "\n"
      "# Run memcached as a daemon.\n"
      "-d\n"
      "\n"
      "# Log memcached's output to /var/log/memcached\n"
      "logfile /var/log/memcached.log\n"
      "\n"
      "# -vv\n"
      "-m 64\n"
      "-p 11311\n"
      "-u memcache\n"
      "-l 127.0.0.1\n"
      "-l ::1\n"
      "# -c 1024\n"
      "-o idle_timeout=9,track_sizes\n"
      "--max-item-size=2m\n"
      "-P /var/run/memcached/memcached.pid\n");
  CHECK(options.store.memory_bytes == 64 * kMiB);
  CHECK(options.port == 11311);
  CHECK(options.user == "memcache");
  CHECK(options.listen == std::vector<std::string>{"127.0.0.1", "::1"});
  CHECK(options.pid_file == "/var/run/memcached/memcached.pid");
  CHECK(options.idle_timeout_seconds == 9);
  CHECK(options.store.track_sizes);
  CHECK(options.store.max_item_bytes == 2 * kMiB);
  CHECK_FALSE(options.daemon);
  CHECK(options.verbosity == 0);
  REQUIRE(options.warnings.size() == 2);
  CHECK_THAT(options.warnings[0], Catch::StartsWith("-d: ignored"));
  CHECK_THAT(options.warnings[1], Catch::StartsWith("logfile: ignored"));
}

TEST_CASE("what is wrong in a configuration is named with file and line", "[server][config]") {
  struct Case {
    std::string text;
    std::string error;
  };
  const Case cases[] = {
      {"\n\nbogus = 1\n", "file:3: unknown option bogus"},
      {"port = 11211x\n", "file:1: -p"},
      {"port =\n", "file:1: port: it needs a value"},
      {"# x\ndisable-cas = maybe\n", "file:2: disable-cas: it is yes or no"},
      {"hot_lru_pct = 200\n", "file:1: -o hot_lru_pct"},
      {"idle_timeout\n", "file:1: -o idle_timeout: it needs a value"},
      {"track_sizes = maybe\n", "file:1: -o track_sizes: it is yes or no, not 'maybe'"},
      {"listen = ,\n", "file:1: -l: an address is missing"},
      {"-m\n", "file:1: -m: it needs a value"},
      {"-Q 5\n", "file:1: unknown option -Q"},
      {"--bogus\n", "file:1: unknown option --bogus"},
      {"-h\n", "file:1: --help has no place here"},
      {"config = other\n", "file:1: unknown option config"},
      {"--config other\n", "file:1: --config has no place here"},
      {"= 5\n", "file:1: unknown option"},
      {std::string("port = 1\0\n", 10), "file:1: not a text"},
      {"a" + std::string(kMaxConfigLine, 'a'), "file:1: a line of more than 4096"},
      {std::string(kMaxConfigBytes + 1, '\n'), "file: more than 64 kilobytes"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.text.substr(0, 100));
    Options options;
    const Refusal refusal = ApplyConfig(one.text, "file", options);
    CHECK(refusal.refused());
    CHECK_THAT(refusal.text, Catch::StartsWith(one.error));
  }
}

TEST_CASE("flags win over the environment, and that over the file", "[server][config]") {
  const TemporaryFile file("memory-limit = 128\nthreads = 3\nlisten = 127.0.0.1\nverbose\n");
  const std::map<std::string, std::string> variables = {{"MEMCACHED_THREADS", "2"},
                                                        {"MEMCACHED_MAX_CONNECTIONS", "77"},
                                                        {"MEMCACHED_LISTEN_ADDRESS", "127.0.0.2"}};
  const auto parse = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"--config", file.path()});
    ParsedCommandLine line = ParseCommandLine(args, From(variables));
    INFO(line.err);
    REQUIRE(line.run);
    return line.options;
  };
  const Options below = parse({});
  CHECK(below.store.memory_bytes == 128 * kMiB);
  CHECK(below.threads == 2);
  CHECK(below.max_connections == 77);
  CHECK(below.listen == std::vector<std::string>{"127.0.0.2"});
  CHECK(below.verbosity == 1);
  const Options options = parse({"-m", "64", "-c", "99", "-l", "127.0.0.3", "-vv"});
  CHECK(options.store.memory_bytes == 64 * kMiB);
  CHECK(options.threads == 2);
  CHECK(options.max_connections == 99);
  CHECK(options.listen == std::vector<std::string>{"127.0.0.3"});
  CHECK(options.verbosity == 2);
}

TEST_CASE("a file that cannot be read is refused by name", "[server][config]") {
  const std::vector<std::string> args = {"--config=/no/such/file"};
  const ParsedCommandLine line = ParseCommandLine(args);
  CHECK_FALSE(line.run);
  CHECK(line.exit_code == kExitUsage);
  CHECK_THAT(line.err, Catch::StartsWith("--config /no/such/file: cannot be read"));
}

TEST_CASE("the variables of container images are understood", "[server][config]") {
  const TemporaryFile file("256\n");
  std::map<std::string, std::string> variables = {
      {"MEMCACHED_PORT_NUMBER", "11311"},
      {"MEMCACHED_CACHE_SIZE_FILE", file.path()},
      {"MEMCACHED_MAX_ITEM_SIZE", "2m"},
      {"MEMCACHED_EXTRA_FLAGS", "-vv -o idle_timeout=5"},
      {"MEMCACHED_SASL_PWDB", "/etc/larder/users"},
      {"MEMCACHED_PORT", "tcp://10.0.0.1:11211"},  // a service of Kubernetes: not for us
  };
  Options options;
  Refusal refusal = ApplyEnvironment(From(variables), options);
  INFO(refusal.text);
  REQUIRE_FALSE(refusal.refused());
  CHECK(options.port == 11311);
  CHECK(options.store.memory_bytes == 256 * kMiB);
  CHECK(options.store.max_item_bytes == 2 * kMiB);
  CHECK(options.verbosity == 2);
  CHECK(options.idle_timeout_seconds == 5);
  CHECK(options.sasl_password_file == "/etc/larder/users");
  SECTION("a wrong one is named") {
    variables["MEMCACHED_THREADS"] = "many";
    refusal = ApplyEnvironment(From(variables), options);
    CHECK_THAT(refusal.text, Catch::StartsWith("MEMCACHED_THREADS: -t"));
  }
  SECTION("a password is not silently ignored") {
    variables["MEMCACHED_PASSWORD"] = "secret";
    refusal = ApplyEnvironment(From(variables), options);
    CHECK(refusal.refused());
    CHECK(refusal.text.find("secret") == std::string::npos);
  }
}

TEST_CASE("no bytes in a configuration do harm", "[server][config]") {
  std::mt19937 random(11);
  const std::vector<std::string> pieces = {
      "port", "-m",   "=", " ", "\n", "#",   "\"",         "listen", "64", "-o",
      ",",    "\xFF", "'", "-", "--", "yes", "slab_sizes", "-1",     "\r", "99999999999999999999"};
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (size_t n = random() % 30; n > 0; --n) text += pieces[random() % pieces.size()];
    Options options;
    const Refusal refusal = ApplyConfig(text, "file", options);
    if (refusal.refused()) CHECK_THAT(refusal.text, Catch::StartsWith("file:"));
  }
}

}  // namespace
}  // namespace larder::server
