#include "server/datagram_frame.h"

namespace larder::server {
namespace {

uint16_t ReadUint16(std::string_view bytes, size_t at) {
  const auto high = static_cast<unsigned char>(bytes[at]);
  const auto low = static_cast<unsigned char>(bytes[at + 1]);
  return static_cast<uint16_t>(high << 8 | low);
}

void WriteUint16(DatagramHeader& header, size_t at, uint16_t value) {
  header[at] = static_cast<char>(value >> 8);
  header[at + 1] = static_cast<char>(value & 0xff);
}

}  // namespace

std::optional<DatagramRequest> ReadDatagram(std::string_view bytes) {
  if (bytes.size() <= kDatagramHeaderBytes) return std::nullopt;
  if (ReadUint16(bytes, 4) != 1) return std::nullopt;
  return DatagramRequest{ReadUint16(bytes, 0), bytes.substr(kDatagramHeaderBytes)};
}

DatagramHeader MakeDatagramHeader(uint16_t id, uint16_t sequence, uint16_t total) {
  DatagramHeader header{};
  WriteUint16(header, 0, id);
  WriteUint16(header, 2, sequence);
  WriteUint16(header, 4, total);
  return header;
}

}  // namespace larder::server
