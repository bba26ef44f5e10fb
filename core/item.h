// core/item.h — the item: a key, its value and what belongs to them, in one chunk.
//
// clang-format off
//
//   byte 0        4        8           12     14      16    17
//        +--------+--------+-----------+------+-------+-----+---------+-------+-------+-----+-------+
//        | next   | prev   | ticks 28  | bits | value | key | cas 8   | flags | dead- | key | value |
//        |        |        | epoch 4   |      | bytes | len | if kept | 4 if  | line 5|     |       |
//        |        |        |           |      |       |     |         | not 0 | if any|     |       |
//        +--------+--------+-----------+------+-------+-----+---------+-------+-------+-----+-------+
//
// A value of more than kLargeValueBytes is not in the item: a LargeHeader stands in its place, and
// the bytes lie in a chain of pieces, each a chunk of its own:
//
//   byte 0        4        8           12     14      16         24
//        +--------+--------+-----------+------+-------+----------+---------
//        | next   | owner  | bytes     | bits | -     | key hash | bytes...
//        +--------+--------+-----------+------+-------+----------+---------
// clang-format on
//
// next, prev: guarded by the class's lock.  Everything else: by the key's lock, but the atomics may
// be read by anybody, and the segment and kActive bits also change under the class's lock.

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/base/bytes.h"
#include "core/memory/chunk.h"
#include "core/store.h"

namespace larder {

enum class Segment : uint8_t { kHot = 0, kWarm = 1, kCold = 2, kTemp = 3 };
inline constexpr size_t kSegments = 4;

// Bits of an item or piece.  The three lowest say which optional fields there are.
inline constexpr uint16_t kHasCas = 1 << 0;
inline constexpr uint16_t kHasFlags = 1 << 1;
inline constexpr uint16_t kHasDeadline = 1 << 2;
inline constexpr uint16_t kOptionMask = 7;
inline constexpr uint16_t kLarge = 1 << 3;    // LargeHeader instead of a value
inline constexpr uint16_t kLinked = 1 << 4;   // in the index and in its class's LRU
inline constexpr unsigned kSegmentShift = 5;  // two bits
inline constexpr uint16_t kSegmentMask = 3 << kSegmentShift;
inline constexpr uint16_t kFetched = 1 << 7;     // read at least once
inline constexpr uint16_t kActive = 1 << 8;      // read since the LRU last looked
inline constexpr uint16_t kPiece = 1 << 9;       // not an item: a piece of a large value
inline constexpr uint16_t kTaken = 1 << 10;      // not on a free list; set from PopFree to PushFree
inline constexpr uint16_t kStale = 1 << 11;      // good enough until somebody has a new value
inline constexpr uint16_t kTokenSent = 1 << 12;  // somebody was told to fetch one
inline constexpr uint16_t kBinaryKey = 1 << 13;  // the key came encoded

// What every chunk starts with: an item as its slab class sees it.  A chunk not in use has no bits,
// and is linked through `next`.
struct ChunkHeader {
  Handle next;
  Handle prev;
  std::atomic<uint32_t> word;
  std::atomic<uint16_t> bits;

  [[nodiscard]] Segment segment() const {
    return static_cast<Segment>((bits.load(std::memory_order_relaxed) & kSegmentMask) >>
                                kSegmentShift);
  }
  // By the holder of the class's lock; other bits may change meanwhile.
  void set_segment(Segment segment) {
    uint16_t old = bits.load(std::memory_order_relaxed);
    unsigned wanted = 0;
    do {
      wanted = (old & ~unsigned{kSegmentMask}) | static_cast<unsigned>(segment) << kSegmentShift;
    } while (
        !bits.compare_exchange_weak(old, static_cast<uint16_t>(wanted), std::memory_order_relaxed));
  }
};

struct LargeHeader {
  uint32_t value_bytes;
  std::atomic<uint32_t> refs;  // one for being linked, one a pin; the last one frees it all
  Handle first_piece;
  std::atomic<uint32_t> stuck_pins;  // of the pins, those of replies that nobody reads
};
static_assert(sizeof(LargeHeader) == 16);

struct Piece {
  Handle next;
  Handle owner;  // the item; kNoChunk until the upload is finished
  uint32_t bytes;
  std::atomic<uint16_t> bits;
  uint16_t unused;
  std::array<char, sizeof(uint64_t)> hash_bytes;  // chunks are aligned to 4

  // Of the key.
  [[nodiscard]] uint64_t hash() const { return std::bit_cast<uint64_t>(hash_bytes); }
  [[nodiscard]] char* data() { return reinterpret_cast<char*>(this) + sizeof(Piece); }
};
static_assert(sizeof(Piece) == 24 && alignof(Piece) == 4 &&
              offsetof(Piece, bits) == offsetof(ChunkHeader, bits));

// Time as items keep it: 16 ms of the store's clock, modulo 2^28.  That spans 49 days, half of
// which are needed to tell past from future: the crawler sees to it that no item looks idle for
// longer than kOldest.
class Ticks {
 public:
  static constexpr TimeMs kMs = 16;
  static constexpr uint32_t kMask = (1U << 28) - 1;

  static uint32_t At(TimeMs ms) { return static_cast<uint32_t>(ms / kMs) & kMask; }
  static constexpr uint32_t kOldest = kMask / 8 * 3;  // 18 days
  // How often items must be looked at for that.
  static constexpr TimeMs kRefreshMs = TimeMs{kMask / 16} * kMs;  // 3 days

  // From `then` to `now`; 0 when `then` is later, by the clock of a thread that read it later.
  static uint32_t Age(uint32_t now, uint32_t then) {
    const uint32_t age = (now - then) & kMask;
    return age > kMask / 2 ? 0 : age;
  }
};

class Item {
 public:
  static constexpr size_t kHeaderBytes = 17;
  static constexpr unsigned kEpochBits = 4;
  static constexpr uint32_t kEpochMask = (1U << kEpochBits) - 1;
  static constexpr size_t kDeadlineBytes = 5;
  static constexpr Deadline kLastDeadline = (Deadline{1} << 40) - 1;  // 34 years of uptime

  // What has to be known to size and write an item.
  struct Shape {
    uint8_t key_bytes = 0;
    size_t value_bytes = 0;
    uint32_t flags = 0;
    bool has_cas = true;
    bool has_deadline = false;

    [[nodiscard]] bool large() const { return value_bytes > kLargeValueBytes; }
    [[nodiscard]] uint16_t options() const {
      return static_cast<uint16_t>((has_cas ? kHasCas : 0) | (flags != 0 ? kHasFlags : 0) |
                                   (has_deadline || large() ? kHasDeadline : 0));
    }
    // Bytes of the item's own chunk.
    [[nodiscard]] size_t bytes() const {
      const size_t front = kHeaderBytes + OptionBytes(options()) + key_bytes;
      return large() ? AlignUp(front) + sizeof(LargeHeader) : front + value_bytes;
    }
  };

  // Writes header and options; key, value and CAS are the caller's.  `this` is a free chunk.
  void Init(const Shape& shape, uint32_t ticks, uint32_t epoch, Deadline deadline) {
    word_.store(ticks << kEpochBits | (epoch & kEpochMask), std::memory_order_relaxed);
    const auto bits =
        static_cast<uint16_t>(kTaken | shape.options() | (shape.large() ? kLarge : 0));
    bits_.store(bits, std::memory_order_relaxed);
    value_bytes_ = shape.large() ? uint16_t{0} : static_cast<uint16_t>(shape.value_bytes);
    key_bytes_ = shape.key_bytes;
    if ((bits & kHasFlags) != 0) std::memcpy(Option(kHasFlags), &shape.flags, sizeof shape.flags);
    if ((bits & kHasDeadline) != 0) set_deadline(deadline);
  }

  // A new small value with the same options as before.  REQUIRES: it fits the chunk.
  void Rewrite(uint32_t flags, Deadline deadline, std::string_view value) {
    const auto options = static_cast<uint16_t>(bits() & kOptionMask);
    if ((options & kHasFlags) != 0) std::memcpy(Option(kHasFlags), &flags, sizeof flags);
    if ((options & kHasDeadline) != 0) set_deadline(deadline);
    value_bytes_ = static_cast<uint16_t>(value.size());
    char* const to = Base() + kHeaderBytes + OptionBytes(options) + key_bytes_;
    CopyBytes(to, value.data(), value.size());
  }

  [[nodiscard]] uint16_t bits() const { return bits_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint16_t BitsAcquire() const { return bits_.load(std::memory_order_acquire); }
  [[nodiscard]] bool has(uint16_t bit) const { return (bits() & bit) != 0; }
  void SetBits(uint16_t set) { bits_.fetch_or(set, std::memory_order_relaxed); }
  void ClearBits(uint16_t clear) {
    bits_.fetch_and(static_cast<uint16_t>(~clear), std::memory_order_relaxed);
  }
  // Publishes a finished item to the page mover, which reads keys without the key's lock.
  void MarkLinked() { bits_.fetch_or(kLinked, std::memory_order_release); }
  [[nodiscard]] Segment segment() const {
    return static_cast<Segment>((bits() & kSegmentMask) >> kSegmentShift);
  }

  [[nodiscard]] uint32_t ticks() const {
    return word_.load(std::memory_order_relaxed) >> kEpochBits;
  }
  [[nodiscard]] uint32_t epoch() const {
    return word_.load(std::memory_order_relaxed) & kEpochMask;
  }
  // By the holder of the key's lock only.
  void set_ticks(uint32_t ticks) {
    word_.store(ticks << kEpochBits | epoch(), std::memory_order_relaxed);
  }
  void set_epoch(uint32_t epoch) {
    word_.store(ticks() << kEpochBits | (epoch & kEpochMask), std::memory_order_relaxed);
  }

  [[nodiscard]] uint64_t cas() const {
    uint64_t cas = 0;
    if (has(kHasCas)) std::memcpy(&cas, Option(kHasCas), sizeof cas);
    return cas;
  }
  void set_cas(uint64_t cas) {
    if (has(kHasCas)) std::memcpy(Option(kHasCas), &cas, sizeof cas);
  }
  [[nodiscard]] uint32_t flags() const {
    uint32_t flags = 0;
    if (has(kHasFlags)) std::memcpy(&flags, Option(kHasFlags), sizeof flags);
    return flags;
  }
  [[nodiscard]] Deadline deadline() const {
    Deadline deadline = 0;  // little-endian: the low five bytes
    if (has(kHasDeadline)) std::memcpy(&deadline, Option(kHasDeadline), kDeadlineBytes);
    return deadline;
  }
  // REQUIRES: the item has the field.
  void set_deadline(Deadline deadline) {
    if (deadline > kLastDeadline) deadline = kLastDeadline;
    std::memcpy(Option(kHasDeadline), &deadline, kDeadlineBytes);
  }

  [[nodiscard]] uint8_t key_bytes() const { return key_bytes_; }
  [[nodiscard]] char* key_data() { return Base() + KeyOffset(); }
  [[nodiscard]] std::string_view key() const { return {Base() + KeyOffset(), key_bytes_}; }
  [[nodiscard]] bool HasKey(std::string_view key) const {
    return key.size() == key_bytes_ && SameBytes(Base() + KeyOffset(), key.data(), key.size());
  }
  [[nodiscard]] LargeHeader* large() { return reinterpret_cast<LargeHeader*>(Base() + LargeAt()); }
  [[nodiscard]] const LargeHeader* large() const {
    return reinterpret_cast<const LargeHeader*>(Base() + LargeAt());
  }
  [[nodiscard]] size_t value_bytes() const {
    return has(kLarge) ? large()->value_bytes : value_bytes_;
  }
  // The value, when it is small.
  [[nodiscard]] char* value_data() { return Base() + KeyOffset() + key_bytes_; }
  [[nodiscard]] std::string_view small_value() const {
    return {Base() + KeyOffset() + key_bytes_, value_bytes_};
  }
  [[nodiscard]] Shape shape() const {
    return {.key_bytes = key_bytes_,
            .value_bytes = value_bytes(),
            .flags = flags(),
            .has_cas = has(kHasCas),
            .has_deadline = has(kHasDeadline)};
  }
  // Of its own chunk and all pieces' payload: what statistics call the item's size.
  [[nodiscard]] size_t total_bytes() const {
    if (has(kLarge)) return LargeAt() + sizeof(LargeHeader) + large()->value_bytes;
    return KeyOffset() + key_bytes_ + value_bytes_;
  }

  // Of the options in `options`, which are kOptionMask's bits.
  static constexpr size_t OptionBytes(uint16_t options) { return kOptionBytes[options]; }
  static constexpr size_t AlignUp(size_t bytes) { return (bytes + 7) & ~size_t{7}; }

 private:
  static constexpr std::array<uint8_t, kOptionMask + 1> kOptionBytes = [] {
    std::array<uint8_t, kOptionMask + 1> bytes{};
    for (unsigned options = 0; options <= kOptionMask; ++options) {
      bytes[options] = static_cast<uint8_t>(((options & kHasCas) != 0 ? 8 : 0) +
                                            ((options & kHasFlags) != 0 ? 4 : 0) +
                                            ((options & kHasDeadline) != 0 ? kDeadlineBytes : 0));
    }
    return bytes;
  }();

  [[nodiscard]] char* Base() { return reinterpret_cast<char*>(this); }
  [[nodiscard]] const char* Base() const { return reinterpret_cast<const char*>(this); }
  [[nodiscard]] size_t KeyOffset() const {
    return kHeaderBytes + OptionBytes(static_cast<uint16_t>(bits() & kOptionMask));
  }
  [[nodiscard]] size_t LargeAt() const { return AlignUp(KeyOffset() + key_bytes_); }
  // Where option `which` is: behind the ones below it.
  [[nodiscard]] char* Option(uint16_t which) {
    return Base() + kHeaderBytes + OptionBytes(static_cast<uint16_t>(bits() & (which - 1)));
  }
  [[nodiscard]] const char* Option(uint16_t which) const {
    return Base() + kHeaderBytes + OptionBytes(static_cast<uint16_t>(bits() & (which - 1)));
  }

  [[maybe_unused]] Handle next_;  // the class's, through ChunkHeader
  [[maybe_unused]] Handle prev_;
  std::atomic<uint32_t> word_;
  std::atomic<uint16_t> bits_;
  uint16_t value_bytes_;
  uint8_t key_bytes_;

  friend struct ItemLayout;
};

struct ItemLayout {
  static_assert(offsetof(Item, next_) == 0 && offsetof(Item, prev_) == 4);
  static_assert(offsetof(Item, word_) == 8 && offsetof(Item, bits_) == offsetof(ChunkHeader, bits));
  static_assert(offsetof(Item, key_bytes_) + 1 == Item::kHeaderBytes);
};

}  // namespace larder
