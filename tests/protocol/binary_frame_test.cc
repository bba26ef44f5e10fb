#include "protocol/memcache/binary_frame.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "protocol/memcache/binary_command.h"
#include "tests/protocol/binary.h"

using namespace larder;
using namespace larder::memcache;
using test::Header;
using test::Request;

namespace {

// What a whole request of this row's shape looks like.
Request Example(const BinarySpec& row) {
  Request request;
  request.opcode = row.opcode;
  request.extras.assign(row.extras_bytes, '\1');
  if (row.key != KeyShape::kNone) request.key = "key";
  if (row.most_value > 0) request.value = "value";
  return request;
}

std::vector<const BinarySpec*> Rows() {
  std::vector<const BinarySpec*> rows;
  for (int opcode = 0; opcode < 256; ++opcode) {
    const BinarySpec* row = FindBinaryCommand(static_cast<uint8_t>(opcode));
    if (row != nullptr) rows.push_back(row);
  }
  return rows;
}

BinaryFrame Read(std::string_view input) {
  BinaryFrame frame;
  REQUIRE(ReadBinaryFrame(input, frame));
  return frame;
}

void CheckRefused(std::string_view input, Status status) {
  const BinaryFrame frame = Read(input);
  CHECK(frame.kind == BinaryFrameKind::kRefused);
  CHECK(frame.refusal == status);
}

}  // namespace

TEST_CASE("the opcodes are memcached's", "[binary][frame]") {
  std::string opcodes;
  for (const BinarySpec* row : Rows()) {
    opcodes += std::to_string(row->opcode) + ":" + std::string(row->name) + " ";
  }
  CHECK(opcodes ==
        "0:get 1:set 2:add 3:replace 4:delete 5:increment 6:decrement 7:quit 8:flush 9:getq "
        "10:noop 11:version 12:getk 13:getkq 14:append 15:prepend 16:stat 17:setq 18:addq "
        "19:replaceq 20:deleteq 21:incrementq 22:decrementq 23:quitq 24:flushq 25:appendq "
        "26:prependq 28:touch 29:gat 30:gatq 32:sasl_list 33:sasl_auth 34:sasl_step 35:gatk "
        "36:gatkq ");
}

TEST_CASE("a request is framed once its last byte is there", "[binary][frame]") {
  for (const BinarySpec* row : Rows()) {
    const Request request = Example(*row);
    const std::string bytes = request.Bytes() + "\x80more";
    const size_t whole = bytes.size() - 5;
    CAPTURE(row->name);
    for (size_t cut = 1; cut < whole; ++cut) {
      BinaryFrame frame;
      CHECK_FALSE(ReadBinaryFrame(std::string_view(bytes).substr(0, cut), frame));
    }
    for (const size_t cut : {whole, bytes.size()}) {
      const BinaryFrame frame = Read(std::string_view(bytes).substr(0, cut));
      CHECK(frame.kind == BinaryFrameKind::kRequest);
      CHECK(frame.bytes == whole);
      CHECK(frame.command == row);
      CHECK(frame.opaque == request.opaque);
      CHECK(frame.key == request.key);
      CHECK(frame.extras == request.extras);
      CHECK(frame.value == request.value);
    }
  }
}

TEST_CASE("a request of another shape than its row is refused", "[binary][frame]") {
  for (const BinarySpec* row : Rows()) {
    CAPTURE(row->name);
    Request wrong = Example(*row);
    wrong.extras += '\1';
    CheckRefused(wrong.Bytes(), Status::kInvalid);
    wrong = Example(*row);
    if (row->extras_bytes > 0) {
      wrong.extras.pop_back();
      CheckRefused(wrong.Bytes(), Status::kInvalid);
    }
    wrong = Example(*row);
    if (row->key == KeyShape::kNone) {
      wrong.key = "k";
      CheckRefused(wrong.Bytes(), Status::kInvalid);
    } else if (row->key == KeyShape::kKey) {
      wrong.key.clear();
      CheckRefused(wrong.Bytes(), Status::kInvalid);
    }
    wrong = Example(*row);
    if (row->most_value == kNoValue) {
      wrong.value = "v";
      CheckRefused(wrong.Bytes(), Status::kInvalid);
    }
    wrong = Example(*row);
    if (row->key != KeyShape::kNone) {
      wrong.key.assign(250, 'k');
      CHECK(Read(wrong.Bytes()).kind == BinaryFrameKind::kRequest);
      wrong.key.assign(251, 'k');
      CheckRefused(wrong.Bytes(), Status::kInvalid);
    }
  }
}

TEST_CASE("lengths that contradict each other are refused by the header alone", "[binary][frame]") {
  for (int opcode = 0; opcode < 256; ++opcode) {
    const auto op = static_cast<uint8_t>(opcode);
    CheckRefused(Header(op, 3, 0, 2), Status::kUnknownCommand);
    CheckRefused(Header(op, 3, 8, 10), Status::kUnknownCommand);
    CheckRefused(Header(op, 0xffff, 0xff, 0), Status::kUnknownCommand);
    CheckRefused(Header(op, 251, 0, 251), Status::kInvalid);
    CheckRefused(Header(op, 1, 8, (1U << 30) + 1), Status::kInvalid);
    CheckRefused(Header(op, 1, 8, 0x7fffffff), Status::kInvalid);
    CheckRefused(Header(op, 1, 8, 0x80000000), Status::kInvalid);
    CheckRefused(Header(op, 1, 8, 0xffffffff), Status::kInvalid);
  }
}

TEST_CASE("a large value is not waited for, but for its first byte", "[binary][frame]") {
  Request set{0x01, "key", std::string(kLargeValueBytes, 'v'), test::StoreExtras(0, 0)};
  std::string bytes = set.Bytes();
  BinaryFrame frame;
  CHECK_FALSE(ReadBinaryFrame(bytes.substr(0, bytes.size() - 1), frame));
  CHECK(Read(bytes).kind == BinaryFrameKind::kRequest);
  set.value += 'v';
  bytes = set.Bytes();
  constexpr size_t kHead = kBinaryHeaderBytes + 8 + 3;
  CHECK_FALSE(ReadBinaryFrame(std::string_view(bytes).substr(0, kHead), frame));
  frame = Read(bytes.substr(0, kHead + 1));
  CHECK(frame.kind == BinaryFrameKind::kLargeValue);
  CHECK(frame.bytes == kHead);
  CHECK(frame.value_bytes == kLargeValueBytes + 1);
  CHECK(frame.ends_batch());
}

TEST_CASE("what begins with another byte is not this protocol", "[binary][frame]") {
  for (const std::string_view input : {"get a\r\n", "\x81", "\x7f", "\n"}) {
    CHECK(Read(input).kind == BinaryFrameKind::kClose);
  }
}

TEST_CASE("any header is framed within its bounds", "[binary][frame][fuzz]") {
  const auto seed = GENERATE(take(5, random(0U, 1'000'000'000U)));
  CAPTURE(seed);
  std::minstd_rand random(seed + 1);
  for (int i = 0; i < 20'000; ++i) {
    std::string input(1 + random() % 400, '\0');
    for (char& one : input) one = static_cast<char>(random() % 3 == 0 ? random() : 0);
    input[0] = kBinaryRequest;
    BinaryFrame frame;
    if (!ReadBinaryFrame(input, frame)) continue;
    if (frame.bytes > input.size()) FAIL("more than there is");
    if (frame.key.size() > kMaxKeyBytes) FAIL("a key too long");
    if (frame.kind == BinaryFrameKind::kRequest && frame.command == nullptr) FAIL("no row");
    if (frame.value_bytes > kMaxBodyBytes) FAIL("a value too large");
  }
}
