// tools/bench/options.cc — the options of larder-bench, their limits and their help.

#include "tools/bench/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>

namespace larder::bench {
namespace {

constexpr uint32_t kMaxKeyBytes = 250;
constexpr uint32_t kMaxValueBytes = 1U << 30;

struct OpName {
  std::string_view name;
  Op op;
};

constexpr OpName kOpNames[] = {
    {"get", Op::kGet},   {"gets", Op::kGets},   {"miss", Op::kMiss},  {"mg", Op::kMetaGet},
    {"set", Op::kSet},   {"add", Op::kAdd},     {"ms", Op::kMetaSet}, {"delete", Op::kDelete},
    {"incr", Op::kIncr}, {"touch", Op::kTouch},
};

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "100" or "50-2000".
std::optional<Range> ParseRange(std::string_view text) {
  const size_t dash = text.find('-');
  const auto low = ParseNumber<uint32_t>(text.substr(0, dash));
  const auto high =
      dash == std::string_view::npos ? low : ParseNumber<uint32_t>(text.substr(dash + 1));
  if (!low || !high || *low > *high) return std::nullopt;
  return Range{*low, *high};
}

// "get" or "get=90,set=10".
std::optional<std::vector<WeightedOp>> ParseMix(std::string_view text) {
  std::vector<WeightedOp> mix;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = part.find('=');
    const auto weight = equals == std::string_view::npos
                            ? std::optional<uint32_t>(1)
                            : ParseNumber<uint32_t>(part.substr(equals + 1));
    const auto* found =
        std::find_if(std::begin(kOpNames), std::end(kOpNames),
                     [&](const OpName& o) { return o.name == part.substr(0, equals); });
    if (found == std::end(kOpNames) || !weight || *weight == 0 || *weight > 1'000'000) {
      return std::nullopt;
    }
    mix.push_back({found->op, *weight});
  }
  if (mix.empty()) return std::nullopt;
  return mix;
}

void AddEndpoint(CLI::App* app, Endpoint* endpoint) {
  app->add_option("--host", endpoint->host, "IPv4 address of the server")->capture_default_str();
  app->add_option("-p,--port", endpoint->port, "its TCP port")->capture_default_str();
  app->add_option("--unix", endpoint->unix_path, "its Unix socket, instead of host and port");
}

// Adds an option read by `parse` (string_view → optional<T>) into `*value`.
template <typename T, typename Parse>
void AddParsed(CLI::App* app, const std::string& name, T* value, Parse parse,
               const std::string& help) {
  app->add_option_function<std::string>(
      name,
      [value, parse, name](const std::string& text) {
        const auto parsed = parse(text);
        if (!parsed) throw CLI::ValidationError(name, "cannot read '" + text + "'");
        *value = *parsed;
      },
      help);
}

void AddLoad(CLI::App* app, Options* o) {
  AddEndpoint(app, &o->endpoint);
  app->add_option("-c,--connections", o->connections, "connections in all")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app->add_option("--threads", o->threads, "client threads")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--cpu", o->cpu, "core to stay on (default: any)");
  app->add_option("-P,--pipeline", o->pipeline, "requests sent together on a connection")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app->add_option("-k,--multiget", o->multiget, "keys in one get")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app->add_option("--rate", o->rate,
                  "open loop: requests a second in all; latency counts from the moment a request "
                  "was due")
      ->check(CLI::PositiveNumber);
  app->add_flag("--even", o->even_arrivals, "open loop: equal gaps (default: Poisson arrivals)");
  app->add_flag("--noreply", o->noreply, "stores: only the last of each pipeline is answered");
  app->add_option("-n,--requests", o->requests, "stop after so many requests");
  app->add_option("-s,--seconds", o->seconds, "stop after so long (default: 5, without -n)")
      ->check(CLI::PositiveNumber);
  AddParsed(app, "--op", &o->mix, ParseMix,
            "get gets miss mg set add ms delete incr touch, or a mix: get=90,set=10");
  app->add_option("--keys", o->keys, "how many different keys")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 32))
      ->capture_default_str();
  app->add_option("--first-key", o->first_key, "number of the first key")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 40))
      ->capture_default_str();
  app->add_option("--order", o->order, "uniform, sequential or zipf")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, KeyOrder>{{"uniform", KeyOrder::kUniform},
                                          {"sequential", KeyOrder::kSequential},
                                          {"zipf", KeyOrder::kZipf}}));
  app->add_option("--zipf", o->zipf, "exponent of --order zipf")
      ->check(CLI::Range(0.01, 10.0))
      ->capture_default_str();
  AddParsed(app, "--key-size", &o->key_size, ParseRange, "bytes, or a range: 20-30 (default: 24)");
  AddParsed(app, "--value-size", &o->value_size, ParseRange,
            "bytes, or a range: 50-2000 (default: 100)");
  app->add_flag("--numeric", o->numeric, "store decimal numbers, for incr");
  app->add_option("--exptime", o->exptime, "exptime of stores and touches")->capture_default_str();
  app->add_option("--seed", o->seed, "seed of the random keys")->capture_default_str();
  app->add_flag("--verify", o->verify, "compare every value with what its key was given");
  app->add_flag("--json", o->json, "print one JSON object instead of text");
}

void AddProbe(CLI::App* app, ProbeOptions* o) {
  AddEndpoint(app, &o->endpoint);
  app->add_option("--pid", o->pid, "process id of the server, for its CPU time")->required();
  app->add_option("--cpu", o->cpu, "core to stay on (default: any)");
  app->add_option("-s,--seconds", o->seconds, "stop after so long, or at SIGINT or SIGTERM")
      ->capture_default_str();
  app->add_option("--gap-us", o->gap_us, "pause between requests")->capture_default_str();
  app->add_flag("--json", o->json, "print one JSON object instead of text");
}

void AddReplay(CLI::App* app, ReplayOptions* o) {
  AddEndpoint(app, &o->endpoint);
  app->add_option("trace", o->trace, "its name; a wrong one shows which there are")->required();
  app->add_option("-m,--memory", o->memory_mb, "MiB that the server has")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("-n,--requests", o->requests, "so many (default: the trace's own number)")
      ->check(CLI::Range(1, 1 << 30));
  app->add_option("--seed", o->seed, "seed of the trace")->capture_default_str();
  app->add_option("--cpu", o->cpu, "core to stay on (default: any)");
  app->add_flag("--optimum", o->optimum,
                "ask no server: what a cache would hit that knows the future");
  app->add_flag("--json", o->json, "print one JSON object instead of text");
}

// The digits of the largest key must fit the shortest key, after its first letter.
std::optional<std::string> Complaint(const Options& o) {
  const size_t digits = std::to_string(o.first_key + o.keys).size();
  if (o.key_size.min < digits + 1 || o.key_size.max > kMaxKeyBytes) {
    return "--key-size: " + std::to_string(digits + 1) + " to 250 bytes hold these keys";
  }
  if (o.value_size.max > kMaxValueBytes) return "--value-size: at most 1 GiB";
  if (o.threads > o.connections) return "--threads: more threads than connections";
  return std::nullopt;
}

}  // namespace

bool ParseCommandLine(int argc, char** argv, CommandLine* command_line, int* status) {
  CLI::App app{"larder-bench: load for a server of the memcached text protocol", "larder-bench"};
  AddLoad(&app, &command_line->load);
  CLI::App* probe = app.add_subcommand(
      "probe", "one request at a time, and how long the server itself took for the slowest");
  AddProbe(probe, &command_line->probe);
  CLI::App* replay = app.add_subcommand(
      "replay", "a trace of gets, and sets of what they missed: which share is found");
  AddReplay(replay, &command_line->replay);
  try {
    app.parse(argc, argv);
    if (const auto complaint = Complaint(command_line->load))
      throw CLI::ValidationError(*complaint);
  } catch (const CLI::ParseError& error) {
    *status = app.exit(error);
    return false;
  }
  command_line->is_probe = probe->parsed();
  command_line->is_replay = replay->parsed();
  Options& load = command_line->load;
  if (load.requests == 0 && load.seconds == 0) load.seconds = 5;
  return true;
}

}  // namespace larder::bench
