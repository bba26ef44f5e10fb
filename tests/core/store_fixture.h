// tests/core/store_fixture.h — a store without threads, under a clock that stands still.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/store.h"

namespace larder {

// Without threads of its own; with `hash_seed` it chooses the same victims each time.
inline StoreOptions Quiet(uint64_t memory_bytes = StoreOptions{}.memory_bytes,
                          uint64_t hash_seed = 0) {
  StoreOptions options;
  options.memory_bytes = memory_bytes;
  options.hash_seed = hash_seed;
  options.background = false;
  return options;
}

inline StoreOptions SmallWithoutEviction() {
  StoreOptions options = Quiet(8 << 20);
  options.evict = false;
  return options;
}

// A store under a clock that stands still.
struct Fixture {
  explicit Fixture(const StoreOptions& options = Quiet()) : store(options, clock) {
    ctx.stats = store.stats().NewCell();
  }
  void Advance(uint64_t ms) {
    clock.Advance(ms);
    ctx.now = clock.NowMs();
  }
  StoreResult Put(std::string_view key, std::string_view value, StoreMode mode = StoreMode::kSet,
                  Deadline deadline = kNever, uint32_t flags = 0, uint64_t cas = 0) {
    const StoreRequest request{.key = store.MakeKey(key),
                               .mode = mode,
                               .flags = flags,
                               .deadline = deadline,
                               .compare_cas = cas};
    return store.Put(ctx, request, value);
  }
  // "-" for a miss.
  std::string Get(std::string_view key, uint64_t* cas = nullptr, uint32_t* flags = nullptr) {
    std::string value = "-";
    Pin pin;
    store.Read(ctx, store.MakeKey(key), {}, [&](const ValueView& view) {
      if (cas != nullptr) *cas = view.cas();
      if (flags != nullptr) *flags = view.flags;
      if (view.size <= kLargeValueBytes) {
        value = view.bytes;
      } else {
        pin = view.MakePin();
      }
    });
    if (pin.size() != 0) value = Text(pin);
    return value;
  }
  static std::string Text(const Pin& pin) {
    std::string text;
    while (text.size() < pin.size()) {
      std::span<const char> span;
      // Not a REQUIRE: threads call this, and Catch's assertions are for one thread.
      if (pin.Spans(text.size(), {&span, 1}) != 1) break;
      text.append(span.data(), span.size());
    }
    return text;
  }
  uint64_t Count(ThreadCounter counter) { return (*store.stats().Totals())[counter]; }
  uint64_t Count(ClassCounter counter) { return (*store.stats().Totals())[counter]; }

  ManualClock clock;
  Store store;
  OpContext ctx;
};

}  // namespace larder
