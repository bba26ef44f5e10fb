#include "core/restart.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/hash.h"
#include "core/item.h"
#include "core/thread_stats.h"

namespace larder {
namespace {

constexpr std::string_view kMagic = "larder\x1a\n";
static_assert(kMagic.size() == 8);

// Written to disk: append only.
enum class Record : uint32_t {
  kLayout = 1,
  kSettings = 2,
  kState = 3,
  kStripes = 4,
  kPages = 5,
  kQueues = 6,
  kEnd = 7
};

constexpr const char* NameOf(Record record) {
  switch (record) {
    case Record::kLayout:
      return "layout";
    case Record::kSettings:
      return "settings";
    case Record::kState:
      return "state";
    case Record::kStripes:
      return "stripes";
    case Record::kPages:
      return "pages";
    case Record::kQueues:
      return "queues";
    case Record::kEnd:
      return "end";
  }
  return "";
}

constexpr size_t kRecordHead = 8;
constexpr size_t kChecksumBytes = 8;
constexpr size_t kStripeBytes = 44;
constexpr size_t kPageRowBytes = 18;
constexpr size_t kQueueBytes = 15;
constexpr uint64_t kMostStripes = 1 << 16;
// Of the store's clock: half of what a deadline can say.
constexpr TimeMs kLatestClock = Item::kLastDeadline / 2;

// An absence for longer makes ages that items could not say (Ticks): then they are set anew.
constexpr TimeMs kLongestContinued = TimeMs{24} * 3600 * 1000;

// What another build may have changed without saying so.  A change of meaning that none of the
// others shows is a new `format`.
struct LayoutRow {
  const char* name;
  uint64_t value;
};
const std::array kLayout = {
    LayoutRow{"format", 2},
    LayoutRow{"page size", kMostPageBytes},
    LayoutRow{"least page size", kLeastPageBytes},
    LayoutRow{"item header", Item::kHeaderBytes},
    LayoutRow{"option fields", Item::OptionBytes(kOptionMask)},
    LayoutRow{"option bits", kHasCas | kHasFlags << 4 | kHasDeadline << 8},
    LayoutRow{"state bits", uint64_t{kLarge} | uint64_t{kLinked} << 12 | uint64_t{kTaken} << 24 |
                                uint64_t{kPiece} << 36 | uint64_t{kActive} << 48},
    LayoutRow{"segment bits", uint64_t{kSegmentMask} | uint64_t{kFetched} << 16},
    LayoutRow{"epoch bits", Item::kEpochBits},
    LayoutRow{"tick", Ticks::kMs},
    LayoutRow{"large value", kLargeValueBytes},
    LayoutRow{"large header", sizeof(LargeHeader)},
    LayoutRow{"piece header", sizeof(Piece)},
    LayoutRow{"index bucket", IndexStripe::kBucketBytes},
    LayoutRow{"index slots", IndexStripe::kSlots},
    LayoutRow{"key hash", KeyHasher(1)("larder")},
};

uint64_t Checksum(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

template <typename Int>
void Put(std::string* out, Int value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutRecord(std::string* out, Record record, std::string_view payload) {
  const size_t start = out->size();
  Put(out, static_cast<uint32_t>(record));
  Put(out, static_cast<uint32_t>(payload.size()));
  out->append(payload);
  Put(out, Checksum(std::string_view(*out).substr(start)));
}

// Reads numbers one after the other; past the end they are 0 and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename Int>
  Int Get() {
    Int value{};
    if (bytes_.size() < sizeof value) {
      ok_ = false;
      bytes_ = {};
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  std::string_view GetBytes(size_t count) {
    if (bytes_.size() < count) {
      ok_ = false;
      count = 0;
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  // A count of rows of `row_bytes` that fill exactly what is left.
  size_t GetCount(size_t row_bytes) {
    const auto count = Get<uint32_t>();
    if (ok_ && bytes_.size() != size_t{count} * row_bytes) ok_ = false;
    return ok_ ? count : 0;
  }
  [[nodiscard]] size_t left() const { return bytes_.size(); }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

// --- One pair of functions a record.  A decoder's answer: empty, or what is wrong. ---

std::string EncodeLayout(const SavedStore& /*saved*/) {
  std::string out;
  for (const LayoutRow& row : kLayout) Put(&out, row.value);
  return out;
}

std::string DecodeLayout(Reader& in, SavedStore* /*saved*/) {
  for (const LayoutRow& row : kLayout) {
    const auto value = in.Get<uint64_t>();
    if (!in.ok()) return "written by another version of larder";
    if (value != row.value) {
      return absl::StrCat("written by another version of larder (", row.name, " ", value, ", here ",
                          row.value, ")");
    }
  }
  return in.AtEnd() ? "" : "written by another version of larder";
}

std::string EncodeSettings(const SavedStore& saved) {
  std::string out;
  Put(&out, saved.memory_bytes);
  Put(&out, saved.max_item_bytes);
  Put(&out, saved.handle_shift);
  Put(&out, uint8_t{saved.use_cas});
  Put(&out, static_cast<uint32_t>(saved.chunk_sizes.size()));
  for (const uint32_t size : saved.chunk_sizes) Put(&out, size);
  return out;
}

std::string DecodeSettings(Reader& in, SavedStore* saved) {
  saved->memory_bytes = in.Get<uint64_t>();
  saved->max_item_bytes = in.Get<uint64_t>();
  saved->handle_shift = in.Get<uint32_t>();
  const auto use_cas = in.Get<uint8_t>();
  saved->use_cas = use_cas != 0;
  const size_t classes = in.GetCount(sizeof(uint32_t));
  if (!in.ok()) return "wrong length";
  if (use_cas > 1 || saved->handle_shift < 2 || saved->handle_shift > 16 || classes == 0 ||
      classes >= kMaxClasses) {
    return "a setting out of range";
  }
  const size_t granule = size_t{1} << saved->handle_shift;
  for (size_t i = 0; i < classes; ++i) {
    const auto size = in.Get<uint32_t>();
    if (size < Item::kHeaderBytes || size > PageBytesFor(saved->memory_bytes) ||
        size % granule != 0) {
      return absl::StrCat("class ", i + 1, " has chunks of ", size, " bytes");
    }
    saved->chunk_sizes.push_back(size);
  }
  return "";
}

std::string EncodeState(const SavedStore& saved) {
  std::string out;
  Put(&out, saved.wall_ms);
  Put(&out, saved.now_ms);
  Put(&out, saved.hash_seed);
  Put(&out, saved.items);
  Put(&out, saved.epoch);
  Put(&out, saved.swept_epoch);
  Put(&out, saved.flush_at);
  for (const std::string& prefix : saved.flushes) {
    Put(&out, static_cast<uint8_t>(prefix.size()));
    out += prefix;
  }
  return out;
}

std::string DecodeState(Reader& in, SavedStore* saved) {
  saved->wall_ms = in.Get<int64_t>();
  saved->now_ms = in.Get<TimeMs>();
  saved->hash_seed = in.Get<uint64_t>();
  saved->items = in.Get<uint64_t>();
  saved->epoch = in.Get<uint64_t>();
  saved->swept_epoch = in.Get<uint64_t>();
  saved->flush_at = in.Get<TimeMs>();
  if (!in.ok()) return "wrong length";
  // Year 10000; what lies before 1970 is no time either.
  constexpr int64_t kLatestWall = 253'402'300'800'000;
  if (saved->wall_ms < 0 || saved->wall_ms > kLatestWall || saved->now_ms < kClockStartMs ||
      saved->now_ms > kLatestClock || saved->flush_at > Item::kLastDeadline) {
    return "a time out of range";
  }
  if (saved->hash_seed == 0) return "no hash seed";
  if (saved->swept_epoch > saved->epoch || saved->epoch - saved->swept_epoch > Item::kEpochMask) {
    return "flush epochs out of range";
  }
  for (uint64_t epoch = saved->swept_epoch; epoch < saved->epoch; ++epoch) {
    const auto length = in.Get<uint8_t>();
    if (length > kMaxKeyBytes) return "a flush prefix longer than a key";
    saved->flushes.emplace_back(in.GetBytes(length));
  }
  return in.AtEnd() ? "" : "wrong length";
}

std::string EncodeStripes(const SavedStore& saved) {
  std::string out;
  Put(&out, static_cast<uint32_t>(saved.stripes.size()));
  for (const SavedStripe& stripe : saved.stripes) {
    Put(&out, stripe.cas);
    Put(&out, stripe.next_expiry);
    Put(&out, stripe.index.settled);
    Put(&out, stripe.index.target);
    Put(&out, stripe.index.frontier);
    Put(&out, stripe.index.overflow_fresh);
    Put(&out, stripe.index.overflow_free);
    Put(&out, stripe.checksum);
  }
  return out;
}

std::string DecodeStripes(Reader& in, SavedStore* saved) {
  const size_t count = in.GetCount(kStripeBytes);
  if (!in.ok()) return "wrong length";
  if (count == 0 || count > kMostStripes) return absl::StrCat(count, " stripes");
  saved->stripes.resize(count);
  for (SavedStripe& stripe : saved->stripes) {
    stripe.cas = in.Get<uint64_t>();
    stripe.next_expiry = in.Get<Deadline>();
    stripe.index.settled = in.Get<uint32_t>();
    stripe.index.target = in.Get<uint32_t>();
    stripe.index.frontier = in.Get<uint32_t>();
    stripe.index.overflow_fresh = in.Get<uint32_t>();
    stripe.index.overflow_free = in.Get<uint32_t>();
    stripe.checksum = in.Get<uint64_t>();
    if (stripe.next_expiry > Item::kLastDeadline) return "a time out of range";
  }
  return "";
}

std::string EncodePages(const SavedStore& saved) {
  std::string out;
  Put(&out, static_cast<uint32_t>(saved.pages.size()));
  for (const SavedPage& page : saved.pages) {
    Put(&out, page.page);
    Put(&out, page.class_id);
    Put(&out, page.fresh);
    Put(&out, page.checksum);
  }
  return out;
}

std::string DecodePages(Reader& in, SavedStore* saved) {
  const size_t count = in.GetCount(kPageRowBytes);
  if (!in.ok()) return "wrong length";
  saved->pages.resize(count);
  const size_t page_bytes = PageBytesFor(saved->memory_bytes);
  const uint64_t most_pages = (uint64_t{1} << 32 << saved->handle_shift) / page_bytes;
  PageIndex last = kNoPage;
  for (SavedPage& page : saved->pages) {
    page.page = in.Get<PageIndex>();
    page.class_id = in.Get<uint16_t>();
    page.fresh = in.Get<uint32_t>();
    page.checksum = in.Get<uint64_t>();
    if (page.page <= last || page.page >= most_pages) {
      return absl::StrCat("page ", page.page, " after page ", last);
    }
    if (page.class_id == 0 || page.class_id > saved->chunk_sizes.size() ||
        page.fresh > page_bytes / saved->chunk_sizes[page.class_id - 1]) {
      return absl::StrCat("page ", page.page, " of class ", page.class_id, " with ", page.fresh,
                          " chunks");
    }
    last = page.page;
  }
  return "";
}

std::string EncodeQueues(const SavedStore& saved) {
  std::string out;
  Put(&out, static_cast<uint32_t>(saved.queues.size()));
  for (const SavedQueue& queue : saved.queues) {
    Put(&out, queue.class_id);
    Put(&out, queue.segment);
    Put(&out, queue.count);
    Put(&out, queue.head);
    Put(&out, queue.tail);
  }
  return out;
}

// Whether `handle` names a chunk that was handed out.
bool IsChunk(const SavedStore& saved, Handle handle) {
  const uint64_t at = uint64_t{handle} << saved.handle_shift;
  const size_t page_bytes = PageBytesFor(saved.memory_bytes);
  const auto page =
      std::lower_bound(saved.pages.begin(), saved.pages.end(), at / page_bytes,
                       [](const SavedPage& one, uint64_t wanted) { return one.page < wanted; });
  if (page == saved.pages.end() || page->page != at / page_bytes) return false;
  const uint32_t chunk_bytes = saved.chunk_sizes[page->class_id - 1];
  const uint64_t offset = at % page_bytes;
  return offset % chunk_bytes == 0 && offset / chunk_bytes < page->fresh;
}

std::string DecodeQueues(Reader& in, SavedStore* saved) {
  const size_t count = in.GetCount(kQueueBytes);
  if (!in.ok()) return "wrong length";
  saved->queues.resize(count);
  unsigned last = 0;
  uint64_t items = 0;
  for (SavedQueue& queue : saved->queues) {
    queue.class_id = in.Get<uint16_t>();
    queue.segment = in.Get<uint8_t>();
    queue.count = in.Get<uint32_t>();
    queue.head = in.Get<Handle>();
    queue.tail = in.Get<Handle>();
    const unsigned place = queue.class_id * static_cast<unsigned>(kSegments) + queue.segment;
    if (queue.segment >= kSegments || queue.class_id == 0 ||
        queue.class_id > saved->chunk_sizes.size() || place <= last) {
      return absl::StrCat("segment ", queue.segment, " of class ", queue.class_id);
    }
    if (queue.count == 0 || (queue.count == 1) != (queue.head == queue.tail) ||
        !IsChunk(*saved, queue.head) || !IsChunk(*saved, queue.tail)) {
      return absl::StrCat("segment ", queue.segment, " of class ", queue.class_id,
                          " begins or ends nowhere");
    }
    last = place;
    items += queue.count;
  }
  if (items != saved->items) return absl::StrCat(items, " items of ", saved->items);
  return "";
}

struct Codec {
  Record record;
  std::string (*encode)(const SavedStore&);
  std::string (*decode)(Reader&, SavedStore*);
};
constexpr std::array kCodecs = {
    Codec{Record::kLayout, EncodeLayout, DecodeLayout},
    Codec{Record::kSettings, EncodeSettings, DecodeSettings},
    Codec{Record::kState, EncodeState, DecodeState},
    Codec{Record::kStripes, EncodeStripes, DecodeStripes},
    Codec{Record::kPages, EncodePages, DecodePages},
    Codec{Record::kQueues, EncodeQueues, DecodeQueues},
};

// Cuts `record` off what is left at *at; its payload, or what is wrong.
std::string CutRecord(std::string_view bytes, size_t* at, Record record,
                      std::string_view* payload) {
  const std::string_view rest = bytes.substr(*at);
  Reader head(rest);
  const auto type = head.Get<uint32_t>();
  const auto length = head.Get<uint32_t>();
  if (!head.ok()) return "the file ends here";
  if (type != static_cast<uint32_t>(record)) return absl::StrCat("a record of type ", type);
  if (head.left() < kChecksumBytes || length > head.left() - kChecksumBytes) {
    return "the file ends within it";
  }
  Reader sum(rest.substr(kRecordHead + length));
  if (sum.Get<uint64_t>() != Checksum(rest.substr(0, kRecordHead + length))) {
    return "its checksum differs";
  }
  *payload = rest.substr(kRecordHead, length);
  *at += kRecordHead + length + kChecksumBytes;
  return "";
}

absl::Status Wrong(size_t at, Record record, const std::string& why) {
  return absl::DataLossError(absl::StrCat("byte ", at, ", ", NameOf(record), ": ", why));
}

}  // namespace

std::string EncodeSavedStore(const SavedStore& saved) {
  std::string out(kMagic);
  for (const Codec& codec : kCodecs) PutRecord(&out, codec.record, codec.encode(saved));
  std::string whole;
  Put(&whole, Checksum(out));
  PutRecord(&out, Record::kEnd, whole);
  return out;
}

absl::Status DecodeSavedStore(std::string_view bytes, SavedStore* saved) {
  *saved = {};
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError("byte 0: not written by larder");
  }
  size_t at = kMagic.size();
  std::string_view payload;
  for (const Codec& codec : kCodecs) {
    const size_t start = at;
    std::string why = CutRecord(bytes, &at, codec.record, &payload);
    if (why.empty()) {
      Reader in(payload);
      why = codec.decode(in, saved);
    }
    if (!why.empty()) return Wrong(start, codec.record, why);
  }
  const size_t start = at;
  std::string why = CutRecord(bytes, &at, Record::kEnd, &payload);
  if (why.empty()) {
    Reader in(payload);
    const bool same = in.Get<uint64_t>() == Checksum(bytes.substr(0, start));
    if (!same || !in.AtEnd()) why = "the checksum of the file differs";
    if (at != bytes.size()) why = "something follows";
  }
  return why.empty() ? absl::OkStatus() : Wrong(start, Record::kEnd, why);
}

TimeMs AwayMs(const SavedStore& saved, int64_t wall_ms) {
  return static_cast<TimeMs>(std::max<int64_t>(0, wall_ms - saved.wall_ms));
}

TimeMs ContinuedClock(std::string_view meta, int64_t wall_ms) {
  SavedStore saved;
  if (!DecodeSavedStore(meta, &saved).ok()) return kClockStartMs;
  const TimeMs away_ms = AwayMs(saved, wall_ms);
  if (away_ms > kLongestContinued || saved.now_ms > kLatestClock / 2) return kClockStartMs;
  return saved.now_ms + away_ms;
}

uint64_t AddToChecksum(uint64_t checksum, std::span<const char> slice) {
  return XXH3_64bits_withSeed(slice.data(), slice.size(), checksum);
}

uint64_t PageChecksum(std::span<const char> bytes) {
  uint64_t checksum = 0;
  while (!bytes.empty()) {
    const std::span<const char> slice = bytes.first(std::min(bytes.size(), kChecksumSlice));
    checksum = AddToChecksum(checksum, slice);
    bytes = bytes.subspan(slice.size());
  }
  return checksum;
}

void SealSavedStore(std::string* bytes) {
  size_t at = kMagic.size();
  while (at < bytes->size()) {
    Reader head(std::string_view(*bytes).substr(at));
    const auto type = head.Get<uint32_t>();
    const auto length = head.Get<uint32_t>();
    if (!head.ok() || head.left() < kChecksumBytes || length > head.left() - kChecksumBytes) return;
    const size_t end = at + kRecordHead + length;
    if (type == static_cast<uint32_t>(Record::kEnd) && length == kChecksumBytes) {
      const uint64_t whole = Checksum(std::string_view(*bytes).substr(0, at));
      std::memcpy(bytes->data() + at + kRecordHead, &whole, sizeof whole);
    }
    const uint64_t sum = Checksum(std::string_view(*bytes).substr(at, end - at));
    std::memcpy(bytes->data() + end, &sum, sizeof sum);
    at = end + kChecksumBytes;
  }
}

}  // namespace larder
