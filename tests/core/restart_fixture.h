// tests/core/restart_fixture.h — lives of a store with a memory file, and that file between them.

#pragma once

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/index.h"
#include "core/item.h"
#include "core/memory/page_pool.h"
#include "core/restart.h"
#include "core/store.h"

namespace larder {

inline constexpr uint64_t kMemory = 8 << 20;

inline std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void Spill(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

// A folder for a memory file, in memory where that is possible; goes with the test.
struct Folder {
  Folder() {
    const bool has_shm = access("/dev/shm", W_OK | X_OK) == 0;
    std::string name =
        (has_shm ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        "larder-restart-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file() const { return path + "/items"; }
  [[nodiscard]] std::string meta() const { return path + "/items.meta"; }
  std::string path;
};

inline StoreOptions Small() {
  StoreOptions options;
  options.memory_bytes = kMemory;
  options.background = false;
  options.threads = 2;
  options.hash_seed = 1;
  return options;
}

// One life of a store.  Its clock starts anew, or at `start_ms`; the wall goes on from `wall_ms`.
struct Life {
  explicit Life(const Folder& folder, StoreOptions options = Small(),
                int64_t wall_ms = ManualClock::kWallStartMs, TimeMs start_ms = kClockStartMs)
      : clock(wall_ms - static_cast<int64_t>(start_ms - kClockStartMs)) {
    clock.Advance(start_ms - kClockStartMs);
    const absl::Status opened =
        MemoryFile::Open(folder.file(), options.memory_bytes, &options.memory_file);
    REQUIRE(opened.ok());
    store = std::make_unique<Store>(options, clock);
    ctx.stats = store->stats().NewCell();
    ctx.now = clock.NowMs();
  }
  void Advance(uint64_t ms) {
    clock.Advance(ms);
    ctx.now = clock.NowMs();
  }
  StoreResult Put(std::string_view key, std::string_view value, Deadline deadline = kNever,
                  uint32_t flags = 0) {
    return store->Put(ctx, {.key = store->MakeKey(key), .flags = flags, .deadline = deadline},
                      value);
  }
  // Everything that can be seen of an item; empty for a miss.
  std::string Get(std::string_view key) {
    std::string seen;
    Pin pin;
    store->Read(ctx, store->MakeKey(key), {}, [&](const ValueView& view) {
      seen = std::to_string(view.flags) + " " + std::to_string(view.cas()) + " " +
             (view.was_fetched() ? "read " : "new ") + (view.stale() ? "stale " : "");
      if (view.size > kLargeValueBytes) {
        pin = view.MakePin();
      } else {
        seen += view.bytes;
      }
    });
    for (size_t at = 0; at < pin.size();) {
      std::span<const char> span;
      REQUIRE(pin.Spans(at, {&span, 1}) == 1);
      seen.append(span.data(), span.size());
      at += span.size();
    }
    return seen;
  }
  uint64_t Save() {
    uint64_t items = 0;
    REQUIRE(store->Save(&items).ok());
    store.reset();
    return items;
  }
  [[nodiscard]] RestoreReport::Outcome outcome() const { return store->restore_report().outcome; }
  [[nodiscard]] const std::string& refusal() const { return store->restore_report().refusal; }
  [[nodiscard]] uint64_t items() const { return store->Info().items; }

  ManualClock clock;
  std::unique_ptr<Store> store;
  OpContext ctx;
};

using Outcome = RestoreReport::Outcome;

// A small cache with items of all kinds, saved.
inline void SaveSample(const Folder& folder) {
  Life life(folder);
  for (int i = 0; i < 50; ++i) {
    const auto n = static_cast<uint32_t>(i);
    life.Put("k" + std::to_string(i), std::string(size_t{n % 2} * 300, 'v'),
             i % 3 == 0 ? life.ctx.now + 100'000 + n : kNever, n % 4);
    life.Get("k" + std::to_string(i / 2));
  }
  life.Put("large", std::string(150'000, 'l'));
  REQUIRE(life.store->FlushPrefix(life.ctx, "k7"));
  REQUIRE(life.items() == 51);
  life.Save();
}

inline size_t UsedBytes(const SavedStore& saved, const SavedPage& page) {
  return size_t{page.fresh} * saved.chunk_sizes[page.class_id - 1];
}

// Writes the file, with holes where there is nothing.
inline void SpillFile(const Folder& folder, std::string_view bytes) {
  constexpr size_t kBlock = 4096;
  const std::string nothing(kBlock, '\0');
  Spill(folder.file(), "");
  std::filesystem::resize_file(folder.file(), bytes.size());
  std::fstream out(folder.file(), std::ios::binary | std::ios::in | std::ios::out);
  for (size_t at = 0; at < bytes.size(); at += kBlock) {
    const std::string_view block = bytes.substr(at, kBlock);
    if (block == std::string_view(nothing).substr(0, block.size())) continue;
    out.seekp(static_cast<off_t>(at));
    out.write(block.data(), std::ssize(block));
  }
}

// A saved file and its description, to be changed.
struct SavedFile {
  explicit SavedFile(const Folder& folder) : description(Slurp(folder.meta())) {
    const std::string read = Slurp(folder.file());
    lines.resize(read.size() / sizeof(Line));
    bytes = {lines.data()->data(), read.size()};
    read.copy(bytes.data(), bytes.size());
    REQUIRE(DecodeSavedStore(description, &saved).ok());
  }
  [[nodiscard]] char* Chunk(Handle handle) {
    return bytes.data() + (size_t{handle} << saved.handle_shift);
  }
  [[nodiscard]] size_t StripeBytes() const {
    return (bytes.size() - PagePool::FileBytes(saved.memory_bytes)) / saved.stripes.size();
  }
  // Buckets, and overflow buckets.
  [[nodiscard]] IndexStripe::Bucket* Buckets(size_t stripe, bool overflow = false) {
    return reinterpret_cast<IndexStripe::Bucket*>(
        bytes.data() + PagePool::FileBytes(saved.memory_bytes) + stripe * StripeBytes() +
        (overflow ? StripeBytes() / 2 : 0));
  }
  // Puts every checksum right.
  void Seal() {
    for (SavedPage& page : saved.pages) {
      page.checksum = PageChecksum(
          {bytes.data() + page.page * PageBytesFor(saved.memory_bytes), UsedBytes(saved, page)});
    }
    for (size_t i = 0; i < saved.stripes.size(); ++i) {
      SavedStripe& stripe = saved.stripes[i];
      stripe.checksum = 0;
      for (const bool overflow : {false, true}) {
        const size_t count = overflow ? stripe.index.overflow_fresh : stripe.index.target;
        stripe.checksum = AddToChecksum(
            stripe.checksum,
            {reinterpret_cast<char*>(Buckets(i, overflow)), count * IndexStripe::kBucketBytes});
      }
    }
    description = EncodeSavedStore(saved);
  }
  void Write(const Folder& folder) const {
    SpillFile(folder, {bytes.data(), bytes.size()});
    Spill(folder.meta(), description);
  }

  // Aligned as buckets are.
  struct alignas(IndexStripe::kBucketBytes) Line : std::array<char, IndexStripe::kBucketBytes> {};
  std::string description;
  std::vector<Line> lines;
  std::span<char> bytes;  // of the file, in `lines`
  SavedStore saved;
};

// What a store must stand whatever it was restored from.
inline void UseSample(Life& life) {
  for (int i = 0; i < 50; ++i) (void)life.Get("k" + std::to_string(i));
  (void)life.Get("large");
  for (int i = 0; i < 20; ++i) life.Put("n" + std::to_string(i), std::string(90'000, 'n'));
  life.store->RunMaintenance(life.ctx);
  life.store->CheckInvariants();
}

}  // namespace larder
