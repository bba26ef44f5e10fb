// tests/fuzz/replay_main.cc — plays inputs to one fuzz target, without libFuzzer: FOLDER|FILE...
//
// Each as it is, and each mutated in a few fixed ways.  Exits with 1 when there is no input at all.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                                                size_t max_size, unsigned seed);
// For the targets' own mutators: nothing is done to what they repair.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

size_t LLVMFuzzerMutate(uint8_t* /*data*/, size_t size, size_t /*max_size*/) { return size; }

namespace {

constexpr size_t kMostBytes = 4096;
constexpr unsigned kMutations = 8;

std::vector<std::filesystem::path> Inputs(const std::vector<std::string>& places) {
  std::vector<std::filesystem::path> paths;
  for (const std::string& place : places) {
    if (!std::filesystem::is_directory(place)) {
      paths.emplace_back(place);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(place)) {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// In memory of its own, so that reading behind its end is seen.
void Play(const std::vector<uint8_t>& bytes) {
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

void PlayMutated(std::vector<uint8_t> bytes) {
  const size_t size = bytes.size();
  if (LLVMFuzzerCustomMutator == nullptr || size > kMostBytes) return;
  bytes.resize(kMostBytes);
  for (unsigned seed = 0; seed < kMutations; ++seed) {
    std::vector<uint8_t> mutated(bytes);
    mutated.resize(LLVMFuzzerCustomMutator(mutated.data(), size, mutated.size(), seed));
    Play(mutated);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::filesystem::path> paths = Inputs({argv + 1, argv + argc});
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(file),
                                 std::istreambuf_iterator<char>()};
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    Play(bytes);
    PlayMutated(bytes);
  }
  std::printf("%zu inputs\n", paths.size());
  return paths.empty() ? 1 : 0;
}
