// server/argv.h — a getopt_long command line, made plain: one "--name" or "--name=value" a word.
//
// Threads: any.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/options.h"

namespace larder::server {

struct PlainArguments {
  Refusal refusal;  // unknown or ambiguous flag, or its value is missing
  std::vector<std::string> words;
  std::vector<std::string> strays;  // that belong to no flag
  std::string ended_by;  // the first of help, license, version; what stands behind it is not read
};

// Adds a warning for the words that belong to no flag.
void WarnOfStrays(const PlainArguments& plain, Options& options);

// Cuts clusters of letters, completes unambiguous prefixes, joins values to their flags, sets
// apart words that belong to no flag.  A blank before a value is skipped ("-m 64" as one element).
[[nodiscard]] PlainArguments NormaliseArguments(std::span<const std::string> args);

}  // namespace larder::server
