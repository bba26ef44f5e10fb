// server/status_text.h — what a status says, as a string of the standard library.

#pragma once

#include <string>

#include "absl/status/status.h"

namespace larder::server {

inline std::string Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace larder::server
