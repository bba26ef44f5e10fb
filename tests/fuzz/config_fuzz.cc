// tests/fuzz/config_fuzz.cc — the file of --config: any bytes are applied or refused, by line.
//
// The whole text must come to the same end as its lines one after the other, and a refusal must say
// which line it is about.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/config_file.h"
#include "server/settings.h"

namespace larder::server {
namespace {

[[noreturn]] void Broken(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

auto Shown(const Options& options) {
  const StoreTuning tuning(options.store);
  return SettingsRows(options, {.tuning = tuning});
}

void Apply(std::string_view text) {
  Options whole;
  const Refusal refusal = ApplyConfig(text, "file", whole);
  Options by_line;
  size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    ++number;
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const Refusal one = ApplyConfig(line, "file", by_line);
    if (!one.refused()) continue;
    if (!refusal.refused()) Broken("a line is refused, its file is not");
    const std::string place = "file:" + std::to_string(number) + ": ";
    if (!refusal.text.starts_with(place) || refusal.text.size() == place.size()) {
      Broken("a refusal says another line, or nothing");
    }
    return;
  }
  if (refusal.refused()) Broken("a file is refused, none of its lines is");
  if (Shown(whole) != Shown(by_line) || whole.warnings != by_line.warnings) {
    Broken("a file says something else than its lines");
  }
}

}  // namespace
}  // namespace larder::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  larder::server::Apply({reinterpret_cast<const char*>(data), size});
  return 0;
}
