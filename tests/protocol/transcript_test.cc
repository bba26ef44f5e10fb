#include "tests/protocol/transcript.h"

#include <catch2/catch.hpp>

using larder::test::Play;
using larder::test::ReadTranscript;

TEST_CASE("every transcript gets the replies it says, wherever the network cuts it",
          "[protocol][memcache][transcript]") {
  const auto* const name =
      GENERATE("lines.txt", "storage.txt", "retrieval.txt", "keyed.txt", "admin.txt", "noreply.txt",
               "stats.txt", "large.txt", "meta-1.6.45.txt", "meta.txt");
  const size_t piece = GENERATE(as<size_t>{}, 1, 2, 3, 5, 1000, 1'000'000);
  CAPTURE(name);
  for (const auto& scenario : ReadTranscript(name)) Play(scenario, piece);
}
