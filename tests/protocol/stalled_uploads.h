// tests/protocol/stalled_uploads.h — clients that send no more, and one that waits for their room.

#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/protocol/fixture.h"

namespace larder::test {

template <typename AnyClient>
struct StalledUploads {
  std::vector<std::unique_ptr<AnyClient>> stalled;
  std::unique_ptr<AnyClient> waiting;
};

// `beginning`: of a request with a large value.
template <typename AnyClient>
StalledUploads<AnyClient> StallUploads(World& world, std::string_view beginning) {
  StalledUploads<AnyClient> uploads;
  for (int i = 0; i < 100; ++i) {
    auto client = std::make_unique<AnyClient>(world);
    CHECK(client->Ask(beginning).empty());
    if (client->waiting()) {
      uploads.waiting = std::move(client);
      break;
    }
    uploads.stalled.push_back(std::move(client));
  }
  REQUIRE(uploads.waiting != nullptr);
  REQUIRE_FALSE(uploads.stalled.empty());
  return uploads;
}

}  // namespace larder::test
