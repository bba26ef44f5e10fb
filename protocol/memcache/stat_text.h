// protocol/memcache/stat_text.h — the rows of a stats reply: lines, or packets.
//
// Owner: one stats command.  Not for the hot path: it builds a string.

#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/digits.h"

namespace larder::memcache {

// A number as stats print it; a double has six digits behind the point.
std::string StatNumber(double value);

template <std::integral Number>
std::string StatNumber(Number value) {
  return std::string(Digits(value).text());
}

class StatText {
 public:
  // Lines of text.
  StatText() = default;
  // Packets that answer a request with this opaque.
  explicit StatText(uint32_t opaque) : is_packets_(true), opaque_(opaque) {}

  // STAT <name> <value>
  void Add(std::string_view name, std::string_view value) { Add({}, name, value); }
  template <std::integral Number>
  void Add(std::string_view name, Number value) {
    Add({}, name, StatNumber(value));
  }
  // STAT <prefix><name> <value>; the prefix ends with its own colon.
  void Add(std::string_view prefix, std::string_view name, std::string_view value) {
    if (is_packets_) {
      AddPacket(prefix, name, value);
    } else {
      text_.append("STAT ").append(prefix).append(name).append(" ").append(value).append("\r\n");
    }
  }
  // The rows and what ends them.
  [[nodiscard]] std::string Take() && {
    if (is_packets_) {
      AddPacket({}, {}, {});
    } else {
      text_.append("END\r\n");
    }
    return std::move(text_);
  }

 private:
  void AddPacket(std::string_view prefix, std::string_view name, std::string_view value);

  bool is_packets_ = false;
  uint32_t opaque_ = 0;
  std::string text_;
};

}  // namespace larder::memcache
