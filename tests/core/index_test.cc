#include "core/index.h"

#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <vector>

namespace larder {
namespace {

const void* NowhereToRead(Handle /*handle*/) { return nullptr; }

// A stripe of its own over entries whose hash the test chooses.
class Fixture {
  static constexpr size_t kCapacity = 4096;

 public:
  explicit Fixture(uint32_t start, size_t overflow_capacity = kCapacity) {
    const size_t bytes = 2 * kCapacity * sizeof(IndexStripe::Bucket);
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
    auto* buckets = static_cast<IndexStripe::Bucket*>(memory_);
    index.Init(buckets, kCapacity, buckets + kCapacity, overflow_capacity, start);
  }
  ~Fixture() { munmap(memory_, 2 * kCapacity * sizeof(IndexStripe::Bucket)); }

  void Insert(Handle handle, uint64_t hash) {
    hashes[handle] = hash;
    REQUIRE(index.Insert(
        hash, handle, [this](Handle other) { return hashes.at(other); }, NowhereToRead));
  }
  IndexStripe::Slot Find(Handle handle) {
    return index.Find(hashes.at(handle), [&](Handle other) { return other == handle; });
  }
  void Check() const {
    index.CheckInvariants([this](Handle handle) { return hashes.at(handle); });
  }

  IndexStripe index;
  std::map<Handle, uint64_t> hashes;

 private:
  void* memory_ = nullptr;
};

}  // namespace

TEST_CASE("the index agrees with a map after every step", "[core][index]") {
  const auto seed = GENERATE(take(3, random(1, 1000000)));
  const uint32_t start = GENERATE(1U, 7U, 64U);
  CAPTURE(seed, start);
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  Fixture f(start);
  std::vector<Handle> held;
  Handle next = 1;
  for (int step = 0; step < 2500; ++step) {
    if (held.empty() || random() % 3 != 0) {
      f.Insert(next, random());
      held.push_back(next++);
    } else {
      const size_t at = random() % held.size();
      const IndexStripe::Slot slot = f.Find(held[at]);
      REQUIRE(slot);
      f.index.Remove(f.hashes.at(held[at]), slot);
      REQUIRE_FALSE(f.Find(held[at]));
      held[at] = held.back();
      held.pop_back();
    }
    REQUIRE(f.index.size() == held.size());
    f.Check();
  }
  for (const Handle handle : held) REQUIRE(f.Find(handle));
}

TEST_CASE("equal hashes overflow their bucket and are all found", "[core][index]") {
  Fixture f(4);
  for (Handle handle = 1; handle <= 100; ++handle) f.Insert(handle, 0x1234'5678'00ff'0000ULL);
  f.Check();
  for (Handle handle = 1; handle <= 100; ++handle) {
    const IndexStripe::Slot slot = f.Find(handle);
    REQUIRE(slot);
    f.index.Remove(f.hashes.at(handle), slot);
    f.Check();
  }
  CHECK(f.index.size() == 0);
}

TEST_CASE("an index that has run out of overflow buckets loses nothing by growing",
          "[core][index]") {
  const size_t overflow_capacity = GENERATE(0U, 1U, 3U);
  CAPTURE(overflow_capacity);
  Fixture f(2, overflow_capacity);
  // Of the three buckets that two grow to, the middle one gets the end of one and the start of the
  // other.
  const auto at = [](double place) { return static_cast<uint64_t>(place * 0x1p32) << 32; };
  size_t refused = 0;
  for (Handle handle = 1; handle <= 200; ++handle) {
    f.hashes[handle] = at(handle % 2 == 0 ? 0.4 : 0.6);
    if (!f.index.Insert(
            f.hashes[handle], handle, [&](Handle other) { return f.hashes.at(other); },
            NowhereToRead)) {
      f.hashes.erase(handle);
      ++refused;
    }
    f.Check();
    for (const auto& [held, hash] : f.hashes) REQUIRE(f.Find(held));
  }
  CHECK(refused > 0);
  CHECK(f.hashes.size() >= 24 + overflow_capacity * IndexStripe::kSlots - 12);
}

TEST_CASE("an insert moves at most one bucket of a growing index", "[core][index]") {
  Fixture f(64);
  std::mt19937_64 random(5);
  size_t most = 0;
  for (Handle handle = 1; handle <= 20000; ++handle) {
    f.hashes[handle] = random();
    size_t rehashed = 0;
    REQUIRE(f.index.Insert(
        f.hashes[handle], handle,
        [&](Handle other) {
          ++rehashed;
          return f.hashes.at(other);
        },
        NowhereToRead));
    most = std::max(most, rehashed);
  }
  // Two old buckets feed a new one.
  CHECK(most > 0);
  CHECK(most <= 4 * IndexStripe::kSlots);
  f.Check();
}

TEST_CASE("an entry costs at most eleven bytes of index", "[core][index]") {
  Fixture f(64);
  std::mt19937_64 random(9);
  for (Handle handle = 1; handle <= 30000; ++handle) f.Insert(handle, random());
  const double bytes = static_cast<double>(f.index.MemoryBytes()) / 30000;
  CAPTURE(bytes);
  CHECK(bytes < 11);
}

}  // namespace larder
