// tests/protocol/binary.h — packets of the binary protocol, and what came back as a text to
// compare.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/memcache/binary_frame.h"

namespace larder::test {

struct Request {
  uint8_t opcode = 0;
  std::string key{};
  std::string value{};
  std::string extras{};
  uint64_t cas = 0;
  uint32_t opaque = 0x01020304;

  [[nodiscard]] std::string Bytes() const;
};

// The header of a request that says these sizes, whatever they are.
std::string Header(uint8_t opcode, uint16_t key_bytes, uint8_t extras_bytes, uint32_t body_bytes);

// Extras.
std::string Big32(uint32_t number);
std::string Big64(uint64_t number);
std::string StoreExtras(uint32_t flags, uint32_t exptime);
std::string CountExtras(uint64_t delta, uint64_t initial, uint32_t exptime);

struct Answer {
  uint8_t opcode = 0;
  memcache::Status status = memcache::Status::kOk;
  std::string extras;
  std::string key;
  std::string value;
  uint64_t cas = 0;
  uint32_t opaque = 0;
};

// Fails the test when `bytes` are not whole replies.
std::vector<Answer> Answers(std::string_view bytes);

// A line a reply: opcode and status in hex; extras, key and value when there are any.
std::string Show(std::string_view bytes);

}  // namespace larder::test
