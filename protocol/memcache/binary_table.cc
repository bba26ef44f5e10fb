// protocol/memcache/binary_table.cc — every opcode's row.

#include <array>
#include <cstdlib>

#include "protocol/memcache/binary_command.h"

namespace larder::memcache {
namespace {

class OpcodeTable {
 public:
  OpcodeTable() {
    for (const auto family : {BinaryKeyedCommands(), BinaryStorageCommands(), BinaryAdminCommands(),
                              BinarySaslCommands()}) {
      for (const BinarySpec& spec : family) {
        if (rows_[spec.opcode] != nullptr) std::abort();
        rows_[spec.opcode] = &spec;
      }
    }
  }
  [[nodiscard]] const BinarySpec* Find(uint8_t opcode) const { return rows_[opcode]; }

 private:
  std::array<const BinarySpec*, 256> rows_{};
};

}  // namespace

const BinarySpec* FindBinaryCommand(uint8_t opcode) {
  static const OpcodeTable kTable;
  return kTable.Find(opcode);
}

}  // namespace larder::memcache
