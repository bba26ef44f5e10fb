// server/help.h — the texts of -h, -i and -V.
//
// Threads: any.

#pragma once

#include <string>

namespace larder::server {

[[nodiscard]] std::string HelpText();
[[nodiscard]] std::string LicenceText();
[[nodiscard]] std::string VersionText();

}  // namespace larder::server
