// tests/protocol/transcript.h — reads and plays the files of tests/transcripts (see the README
// there).

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace larder::test {

// A piece of a `>` or `<` line.
struct Part {
  enum class Kind : uint8_t { kText, kCas, kNewCas, kNumber, kTime };
  Kind kind = Kind::kText;
  std::string text;     // kText
  int64_t seconds = 0;  // kTime: from now
};
using Parts = std::vector<Part>;

// One write and everything that must come of it.
struct Exchange {
  size_t line = 0;          // in the file
  uint64_t advance_ms = 0;  // before it
  Parts request;
  Parts reply;
  bool closes = false;
  std::vector<std::pair<std::string, uint64_t>> gains;
};

struct Scenario {
  std::string title;
  std::vector<std::string> options;
  std::vector<Exchange> exchanges;
};

// Every scenario of the file `name` (without folder).  Fails the test on a line it cannot read.
std::vector<Scenario> ReadTranscript(const std::string& name);

// Plays it to a new session on a new store, `piece` bytes at a time, and checks every reply.
void Play(const Scenario& scenario, size_t piece);

}  // namespace larder::test
