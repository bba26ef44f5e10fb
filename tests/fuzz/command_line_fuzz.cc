// tests/fuzz/command_line_fuzz.cc — any command line ends in a server that can start, or in a text.
//
// A NUL ends an argument.  Files are not read: --config has config_fuzz.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/options.h"
#include "server/settings.h"

namespace larder::server {
namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void Parse(std::string_view bytes) {
  if (bytes.find("--conf") != std::string_view::npos) return;
  std::vector<std::string> arguments;
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find('\0'), bytes.size());
    arguments.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  const ParsedCommandLine line = ParseCommandLine(arguments);
  if (!line.run) {
    Require(!line.out.empty() || !line.err.empty(), "it does not start, and says nothing");
    Require((line.exit_code == kExitOk) == line.err.empty(), "its exit code and its text disagree");
    return;
  }
  const Options& options = line.options;
  Require(line.exit_code == kExitOk && line.err.empty(), "it starts, and says that it does not");
  Require(options.threads > 0 && options.max_connections > 0, "nobody would be served");
  Require(options.port <= UINT16_MAX && options.udp_port <= UINT16_MAX, "no such port");
  Require(options.store.max_item_bytes <= options.store.memory_bytes / 2, "an item would not fit");
  Require(GrowthFactor(options.store) > 1.0, "classes would not grow");
  const StoreTuning tuning(options.store);
  Require(!SettingsRows(options, {.tuning = tuning}).empty(), "it has no settings");
}

}  // namespace
}  // namespace larder::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  larder::server::Parse({reinterpret_cast<const char*>(data), size});
  return 0;
}
