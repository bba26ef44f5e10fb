#include "tests/protocol/binary.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>

#include "protocol/big_endian.h"

namespace larder::test {
namespace {

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char one : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(one));
    text += two;
  }
  return text;
}

}  // namespace

std::string Header(uint8_t opcode, uint16_t key_bytes, uint8_t extras_bytes, uint32_t body_bytes) {
  std::string header(memcache::kBinaryHeaderBytes, '\0');
  header[0] = memcache::kBinaryRequest;
  header[1] = static_cast<char>(opcode);
  StoreBig16(&header[2], key_bytes);
  header[4] = static_cast<char>(extras_bytes);
  StoreBig32(&header[8], body_bytes);
  return header;
}

std::string Request::Bytes() const {
  std::string all =
      Header(opcode, static_cast<uint16_t>(key.size()), static_cast<uint8_t>(extras.size()),
             static_cast<uint32_t>(extras.size() + key.size() + value.size()));
  std::memcpy(&all[12], &opaque, sizeof(opaque));
  StoreBig64(&all[16], cas);
  return all + extras + key + value;
}

std::string Big32(uint32_t number) {
  std::string bytes(4, '\0');
  StoreBig32(bytes.data(), number);
  return bytes;
}

std::string Big64(uint64_t number) {
  std::string bytes(8, '\0');
  StoreBig64(bytes.data(), number);
  return bytes;
}

std::string StoreExtras(uint32_t flags, uint32_t exptime) { return Big32(flags) + Big32(exptime); }

std::string CountExtras(uint64_t delta, uint64_t initial, uint32_t exptime) {
  return Big64(delta) + Big64(initial) + Big32(exptime);
}

std::vector<Answer> Answers(std::string_view bytes) {
  std::vector<Answer> answers;
  while (!bytes.empty()) {
    if (bytes.size() < memcache::kBinaryHeaderBytes || bytes[0] != memcache::kBinaryReply) {
      FAIL("no reply: " << Hex(bytes.substr(0, 30)));
    }
    Answer one;
    one.opcode = static_cast<uint8_t>(bytes[1]);
    const size_t key = LoadBig16(&bytes[2]);
    const size_t extras = static_cast<unsigned char>(bytes[4]);
    if (bytes[5] != 0) FAIL("a data type");
    one.status = static_cast<memcache::Status>(LoadBig16(&bytes[6]));
    const size_t body = LoadBig32(&bytes[8]);
    std::memcpy(&one.opaque, &bytes[12], sizeof(one.opaque));
    one.cas = LoadBig64(&bytes[16]);
    bytes.remove_prefix(memcache::kBinaryHeaderBytes);
    if (body > bytes.size() || key + extras > body) FAIL("sizes of a reply");
    one.extras = bytes.substr(0, extras);
    one.key = bytes.substr(extras, key);
    one.value = bytes.substr(extras + key, body - extras - key);
    bytes.remove_prefix(body);
    answers.push_back(std::move(one));
  }
  return answers;
}

std::string Show(std::string_view bytes) {
  std::string text;
  for (const Answer& one : Answers(bytes)) {
    char start[32];
    std::snprintf(start, sizeof(start), "%02x:%x", one.opcode, static_cast<unsigned>(one.status));
    text += start;
    if (!one.extras.empty()) text += " e=" + Hex(one.extras);
    if (!one.key.empty()) text += " k=" + one.key;
    if (!one.value.empty()) text += " " + one.value;
    text += "\n";
  }
  return text;
}

}  // namespace larder::test
