// protocol/text_feed.h — text that somebody else writes for a session to pass on.
//
// Owner: the session; destroying it ends the feed.  Threads: the session's worker.

#pragma once

#include <string>

namespace larder {

class TextFeed {
 public:
  virtual ~TextFeed() = default;
  // All that has come since the last call, whole lines; empty when there is nothing.  Bounded by
  // whoever fills it: what nobody takes is lost, and said so in the text.
  [[nodiscard]] virtual std::string Take() = 0;
};

}  // namespace larder
