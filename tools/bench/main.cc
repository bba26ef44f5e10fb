// tools/bench/main.cc — larder-bench: load for a server of the memcached text protocol.

#include <cstdio>
#include <string>

#include "tools/bench/load.h"
#include "tools/bench/options.h"
#include "tools/bench/probe.h"
#include "tools/bench/replay.h"
#include "tools/bench/report.h"

int main(int argc, char** argv) {
  using namespace larder::bench;
  CommandLine command_line;
  int status = 0;
  if (!ParseCommandLine(argc, argv, &command_line, &status)) return status;
  if (command_line.is_probe) return RunProbe(command_line.probe);
  if (command_line.is_replay) return RunReplay(command_line.replay);
  const LoadResult result = RunLoad(command_line.load);
  const std::string report = command_line.load.json ? ReportJson(result) : ReportText(result);
  std::fputs(report.c_str(), stdout);
  return result.tally.is_clean() ? 0 : 1;
}
