// tools/bench/report.h — the figures of a run, for people and for programs.

#pragma once

#include <string>

#include "tools/bench/load.h"
#include "tools/bench/options.h"

namespace larder::bench {

// A few lines of text, the last one ended.
[[nodiscard]] std::string ReportText(const LoadResult& result);

// One JSON object on one line, ended; latencies in microseconds.
[[nodiscard]] std::string ReportJson(const LoadResult& result);

// `text` as a JSON string, quotes included; what is not printable ASCII becomes '?'.
[[nodiscard]] std::string JsonString(const std::string& text);

}  // namespace larder::bench
