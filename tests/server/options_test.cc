#include "server/options.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "server/argv.h"
#include "server/option_table.h"
#include "server/settings.h"

namespace larder::server {
namespace {

ParsedCommandLine Parse(const std::vector<std::string>& args) { return ParseCommandLine(args); }

Options Accept(const std::vector<std::string>& args) {
  ParsedCommandLine line = Parse(args);
  INFO(line.err);
  REQUIRE(line.run);
  return line.options;
}

std::vector<std::pair<std::string, std::string>> Settings(const Options& options,
                                                          int verbosity = 0) {
  const StoreTuning tuning(options.store);
  return SettingsRows(options, {.tuning = tuning,
                                .memory_bytes = options.store.memory_bytes,
                                .verbosity = verbosity,
                                .tcp_port = 0});
}

std::string ValueOf(const std::vector<std::pair<std::string, std::string>>& rows,
                    std::string_view name) {
  for (const auto& [key, text] : rows) {
    if (key == name) return text;
  }
  return "missing";
}

constexpr uint64_t kMiB = 1 << 20;

TEST_CASE("flags are read in every form that getopt_long knows", "[server][options]") {
  const std::vector<std::string> forms[] = {
      {"-m", "128"},
      {"-m128"},
      {"-m 128"},  // one element, as Helm charts write it
      {"--memory-limit=128"},
      {"--memory-limit", "128"},
      {"--memory-l", "128"},
      {"--memory-l=128"},
      {"-vm", "128"},
      {"-vm128"},
      {"-m", "64", "-m", "128"},  // the last wins
      {"stray", "-m", "128", "words"},
      {"-m", "128", "--", "-m", "1"},
      {"-m", "128m"},
      {"-m131072k"},
  };
  for (const auto& form : forms) {
    CAPTURE(form);
    CHECK(Accept(form).store.memory_bytes == 128 * kMiB);
  }
  CHECK(Accept({"-m", "2g"}).store.memory_bytes == 2048 * kMiB);
  CHECK(Accept({"-p", "-1"}).port == -1);
  CHECK(Accept({"-vv"}).verbosity == 2);
  CHECK(Accept({"-v", "--verbose"}).verbosity == 2);
}

TEST_CASE("settings show a number of any length", "[server][options]") {
  const std::string factor = '1' + std::string(300, '0');
  const std::string shown = ValueOf(Settings(Accept({"-f", factor})), "growth_factor");
  CHECK(shown.size() == factor.size() + 3);
  CHECK(shown.starts_with('1'));
  CHECK(shown.ends_with(".00"));
}

TEST_CASE("lists may be cut, repeated, or both", "[server][options]") {
  const Options options = Accept({"-l", "127.0.0.1,[::1]:12000;localhost", "-l*", "stray", "-o",
                                  "track_sizes", "-o hot_lru_pct=10,idle_timeout=7"});
  CHECK(options.listen == std::vector<std::string>{"127.0.0.1", "[::1]:12000", "localhost", "*"});
  CHECK(options.store.track_sizes);
  CHECK(options.store.hot_percent == 10);
  CHECK(options.idle_timeout_seconds == 7);
}

TEST_CASE("the value of a switch among -o says which way", "[server][options]") {
  const char* const switches[] = {"track_sizes",       "debug_commands", "no_chunked_items",
                                  "ssl_session_cache", "ssl_kernel_tls", "maxconns_fast",
                                  "no_maxconns_fast",  "lru_crawler",    "no_lru_crawler"};
  const auto shown = [](const std::string& suboption) {
    const Options o = Accept({"-o", suboption});
    return std::vector<size_t>{o.store.track_sizes, o.debug_commands, o.store.max_chunk_bytes,
                               o.tls.session_cache, o.tls.kernel_tls, o.maxconns_fast,
                               o.store.crawler};
  };
  for (const std::string name : switches) {
    CAPTURE(name);
    for (const char* yes : {"yes", "on", "true", "1"})
      CHECK(shown(name + "=" + yes) == shown(name));
    for (const char* no : {"no", "off", "false", "0"}) {
      CHECK(shown(name + "=" + no) != shown(name));
      CHECK(shown(name + "," + name + "=" + no) == shown(name + "=" + no));
    }
  }
}

TEST_CASE("the start lines of real deployments are accepted", "[server][options]") {
  SECTION("Debian") {
    const Options options = Accept({"-m", "64", "-p", "12011", "-u", "memcache", "-l", "127.0.0.1",
                                    "-P", "/var/run/memcached/memcached.pid"});
    CHECK(options.port == 12011);
    CHECK(options.user == "memcache");
    CHECK(options.pid_file == "/var/run/memcached/memcached.pid");
  }
  SECTION("Red Hat") {
    const Options options =
        Accept({"-p", "12011", "-u", "memcached", "-m", "64", "-c", "1024", "-l", "127.0.0.1,::1"});
    CHECK(options.listen.size() == 2);
  }
  SECTION("the docker image, without arguments") { CHECK(Accept({}).port == 11211); }
  SECTION("Helm stable") { Accept({"-m", "64", "-o", "modern", "-v"}); }
  SECTION("Helm charts of Loki and Mimir") {
    const Options options =
        Accept({"-m 8192", "--extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16",
                "-I 5m", "-c 16384", "-v", "-u 11211"});
    CHECK(options.store.memory_bytes == 8192 * kMiB);
    CHECK(options.store.max_item_bytes == 5 * kMiB);
    CHECK(options.max_connections == 16384);
    CHECK(options.user == "11211");
    CHECK(options.store.track_sizes);
    CHECK(options.warnings.size() == 2);  // both ext_ suboptions: there is no flash tier
  }
}

TEST_CASE("what cannot be done is refused with memcached's exit code", "[server][options]") {
  struct Case {
    std::vector<std::string> args;
    int exit_code;
    std::string text;
  };
  const Case cases[] = {
      {{"--bogus"}, 1, "unknown option --bogus"},
      {{"-Q"}, 1, "unknown option -Q"},
      {{"-m"}, 1, "needs a value"},
      {{"--en"}, 1, "ambiguous"},
      {{"-o", "bogus"}, 1, "Illegal suboption \"bogus\""},
      {{"-o", "bogus=1"}, 1, "Illegal suboption \"bogus=1\""},
      {{"-o", "hashpower"}, 1, "needs a value"},
      {{"-o", "hashpower="}, 1, "needs a value"},
      {{"-o", "track_sizes=maybe"}, 1, "-o track_sizes: it is yes or no, not 'maybe'"},
      {{"-o", "lru_crawler=2"}, 1, "-o lru_crawler: it is yes or no, not '2'"},
      {{"-l", ""}, 64, "-l: an address is missing"},
      {{"-l", "127.0.0.1", "-l", ",;"}, 64, "-l: an address is missing"},
      {{"-c", "99999999999"}, 1, "-c: more than 2147483647"},
      {{"-I", "-5"}, 64, "-I: '-5' is out of range"},
      {{"-t", "3x"}, 64, "-t: '3x' is not a number; did you mean 3?"},
      {{"-o", "hashpower=99"}, 1, "hashpower"},
      {{"-o", "slab_automove=7"}, 1, "slab_automove"},
      {{"-o", "idle_timeout=-3"}, 1, "idle_timeout"},
      {{"-o", "hot_lru_pct=50,warm_lru_pct=50"}, 64, "80"},
      {{"-o", "slab_sizes=100-50"}, 64, "rise"},
      {{"-o", "slab_sizes=100-524289"}, 64, "below slab_chunk_max (524288)"},
      {{"-o", "slab_sizes=100-524288,slab_chunk_max=64"}, 64, "below slab_chunk_max (65536)"},
      {{"-o", "proxy_config=x"}, 64, "proxy"},
      {{"-c", "0"}, 1, "Maximum connections must be greater than 0"},
      {{"-t", "0"}, 1, "Number of threads must be greater than 0"},
      {{"-R", "0"}, 1, "must be greater than 0"},
      {{"-f", "1"}, 1, "Factor must be greater than 1"},
      {{"-n", "0"}, 1, "Chunk size must be greater than 0"},
      {{"-p", "70000"}, 64, "Invalid port number 70000"},
      {{"-p", "11211x"}, 64, "did you mean 11211?"},
      {{"-m", "64x"}, 64, "did you mean 64?"},
      {{"-m", "-5"}, 64, "-m"},
      {{"-B", "foo"}, 64, "should be one of auto, binary, or ascii"},
      {{"-I", "10"}, 64, "less than 1024"},
      {{"-I", "2g", "-m", "8g"}, 64, "gigabyte"},
      {{"-I", "1500k"}, 64, "multiple"},
      {{"-I", "1k"}, 64, "chunk"},
      {{"-m", "1"}, 64, "1/2 of memory"},
      {{"-U", "70000"}, 64, "Invalid UDP port number 70000"},
      {{"-S", "-U", "11211"}, 64, "Cannot enable UDP while using binary SASL authentication"},
      {{"-Y", "file", "-U", "11211"}, 64, "Cannot use UDP with ascii authentication enabled"},
      {{"-Z"}, 64, "ssl_chain_cert"},
      {{"-Z", "-o", "ssl_chain_cert=c,ssl_verify_mode=2"}, 64, "ssl_ca_cert"},
      {{"-Z", "-o", "ssl_chain_cert=c", "-l", "mtls:*"}, 64, "ssl_ca_cert"},
      {{"-o", "ssl_verify_mode=4"}, 1, "between 0 and 3"},
      {{"-o", "ssl_keyformat=3"}, 1, "PEM"},
      {{"-o", "ssl_min_version=4"}, 1, "between 0 and 3"},
      {{"-o", "ssl_wbuf_size=0"}, 1, "ssl_wbuf_size"},
      {{"-l", "btls:*"}, 64, "needs -Z"},
      {{"-l", "mtls:*"}, 64, "needs -Z"},
      {{"-S", "-B", "ascii"}, 64, "cannot allow the ASCII protocol while using SASL"},
      {{"-S", "-B", "auto"}, 64, "cannot allow the ASCII protocol while using SASL"},
      {{"-S", "-l", "proto[ascii]:*"}, 64, "cannot allow the ASCII protocol while using SASL"},
      {{"-Y", "file", "-B", "binary"}, 64, "cannot allow the BINARY protocol"},
      {{"-Y", "file", "-B", "auto"}, 64, "cannot allow the BINARY protocol"},
      {{"-Y", "file", "-l", "proto[negotiating]:*"}, 64, "cannot allow the BINARY protocol"},
      {{"-S", "-Y", "file"}, 64, "only one of them"},
      {{"-Y", ""}, 64, "the path of the file is missing"},
      {{"-e", ""}, 64, "name of a file"},
      {{"-a", "9"}, 64, "octal"},
      {{"-D", "::"}, 64, "one character"},
      {{"-p", "0"}, 64, "nothing to listen on"},
      {{"-l", "127.0.0.1:99999"}, 64, "not a port"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.args);
    const ParsedCommandLine line = Parse(one.args);
    CHECK_FALSE(line.run);
    CHECK(line.exit_code == one.exit_code);
    CHECK_THAT(line.err, Catch::Contains(one.text));
    CHECK(line.err.ends_with('\n'));
  }
}

TEST_CASE("what has no meaning here yet is accepted, with a word where it matters",
          "[server][options]") {
  const Options options =
      Accept({"-U", "0", "-B", "ascii", "-X", "-W", "-F", "-A", "-D:", "-L", "-C", "-M", "-k", "-r",
              "-N2", "-o", "no_modern,hash_algorithm=jenkins,tail_repair_time=60,no_hashexpand",
              "-o", "lru_crawler,lru_crawler_sleep=10,drop_privileges,resp_obj_mem_limit=3"});
  CHECK_FALSE(options.flush_enabled);
  CHECK_FALSE(options.store.evict);
  CHECK_FALSE(options.store.use_cas);
  CHECK_FALSE(options.store.segmented);
  CHECK(options.store.crawler);
  CHECK(options.warnings.size() >= 6);
}

TEST_CASE("words that belong to no flag are ignored, and told", "[server][options]") {
  const Options options = Accept({"junk", "-p", "11311", "more", "--", "-p", "1"});
  CHECK(options.port == 11311);
  REQUIRE(options.warnings.size() == 4);
  CHECK(options.warnings[0] == "'junk': ignored, it belongs to no flag");
  CHECK(options.warnings[2] == "'-p': ignored, it belongs to no flag");
}

TEST_CASE("help, licence and version end the run, the first of them wins", "[server][options]") {
  const ParsedCommandLine version = Parse({"-V", "--bogus"});
  CHECK(version.exit_code == 0);
  CHECK_FALSE(version.run);
  CHECK(version.out == "larder " + std::string(Version()) + " (memcached 1.6.45 compatible)\n");
  CHECK(Parse({"-i"}).out.size() > version.out.size());
  const std::string help = Parse({"-h"}).out;
  for (const char* word : {"unix-socket", "sasl", "ext_path", "proxy_config", "enable-ssl",
                           "no_drop_privileges", "Examples", "[1.03]"}) {
    CHECK_THAT(help, Catch::Contains(word));
  }
  CHECK(Parse({"-t", "65", "-h"}).exit_code == 0);
}

TEST_CASE("each flag and suboption has one row", "[server][options]") {
  std::string letters;
  for (const OptionRow& row : OptionRows()) {
    CHECK(letters.find(row.letter) == std::string::npos);
    letters += row.letter;
  }
  for (const char flag : std::string("pUsaldPurkmMctvhiVfnLDRCbBISYZFXWAeoN")) {
    CAPTURE(flag);
    CHECK(letters.find(flag) != std::string::npos);
  }
  for (const SuboptionRow& row : SuboptionRows()) {
    size_t same = 0;
    for (const SuboptionRow& other : SuboptionRows())
      if (row.name == other.name) ++same;
    CHECK(same == 1);
  }
}

TEST_CASE("the defaults that the help names are the defaults", "[server][options]") {
  const auto defaults = Settings(Accept({}));
  for (const OptionRow& row : OptionRows()) {
    if (row.fallback.empty() || row.letter == 't' || row.letter == 'D' || row.letter == 'l') {
      continue;
    }
    const std::vector<std::string> args{std::string("-") + row.letter, std::string(row.fallback)};
    CAPTURE(args);
    CHECK(Settings(Accept(args)) == defaults);
  }
  for (const SuboptionRow& row : SuboptionRows()) {
    if (row.value == SuboptionValue::kNone || row.fallback.empty()) continue;
    if (row.fallback == "off") continue;
    const std::vector<std::string> args{"-o",
                                        std::string(row.name) + "=" + std::string(row.fallback)};
    CAPTURE(args);
    CHECK(Settings(Accept(args)) == defaults);
  }
}

TEST_CASE("small memory has coarser classes, unless it is told", "[server][settings]") {
  const auto factor = [](const std::vector<std::string>& args) {
    return ValueOf(Settings(Accept(args)), "growth_factor");
  };
  CHECK(factor({}) == "1.03");
  CHECK(factor({"-m", "63"}) == "1.08");
  CHECK(factor({"-m", "63", "-f", "1.03"}) == "1.03");
}

TEST_CASE("the settings show the options in memcached's format", "[server][settings]") {
  const Options options = Accept({"-m", "128", "-M", "-C", "-f", "1.25", "-t", "3", "-F", "-s",
                                  "/tmp/x", "-a", "770", "-o", "temporary_ttl=30"});
  const auto rows = Settings(options, 1);
  const auto value = [&](std::string_view name) { return ValueOf(rows, name); };
  CHECK(rows.front().first == "maxbytes");
  CHECK(rows.back().first == "client_flags_size");
  CHECK(rows.size() == 77);
  CHECK(value("maxbytes") == "134217728");
  CHECK(value("evictions") == "off");
  CHECK(value("cas_enabled") == "no");
  CHECK(value("growth_factor") == "1.25");
  CHECK(value("num_threads") == "3");
  CHECK(value("verbosity") == "1");
  CHECK(value("flush_enabled") == "no");
  CHECK(value("domain_socket") == "/tmp/x");
  CHECK(value("umask") == "770");
  CHECK(value("inter") == "NULL");
  CHECK(value("temp_lru") == "yes");
  CHECK(value("temporary_ttl") == "30");
  CHECK(value("slab_automove_ratio") == "0.80");
  CHECK(value("lru_crawler") == "yes");
}

}  // namespace
}  // namespace larder::server
