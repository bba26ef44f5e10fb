// tests/fuzz/mutate.h — makes the lengths in mutated requests right again, so that what lies behind
// their checks is reached as well.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// libFuzzer's own mutations; returns the new size.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace larder::test {

// Lines of the text protocol: what storage commands say is as long as the line behind them.
// `wants_meta`: a line that is no meta command gets the front of one, which `seed` picks.
[[nodiscard]] std::string RepairText(std::string_view lines, bool wants_meta, unsigned seed);

// Packets of the binary protocol: magic, sizes of extras and key as the opcode wants them, and a
// body that is there.
[[nodiscard]] std::string RepairPackets(std::string_view packets, unsigned seed);

// One mutation of `data`, of which the first `head` bytes are the fuzzer's own; what follows is
// given to `repair(text, seed)` half of the time.
template <typename Repair>
size_t Mutate(uint8_t* data, size_t size, size_t max_size, unsigned seed, size_t head,
              Repair&& repair) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0 || size <= head) return size;
  const std::string repaired =
      repair(std::string_view(reinterpret_cast<const char*>(data) + head, size - head), seed / 2);
  const size_t bytes = repaired.copy(reinterpret_cast<char*>(data) + head, max_size - head);
  return head + bytes;
}

}  // namespace larder::test
