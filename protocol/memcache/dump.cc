#include "protocol/memcache/dump.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/uri.h"
#include "protocol/memcache/key_codec.h"
#include "protocol/memcache/long_reply.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/stat_text.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

// What GoOn looks at before it lets others go on.
constexpr size_t kSlicesAtOnce = 32;
constexpr uint32_t kMostParts = 64;  // as many as a store has stripes at least

// Moments of the store's clock as Unix seconds.
class UnixTime {
 public:
  UnixTime(const Clock& clock, TimeMs now) : wall_(clock.WallSeconds()), now_(now) {}

  [[nodiscard]] int64_t Past(TimeMs then) const {
    return wall_ - static_cast<int64_t>((now_ - std::min(now_, then)) / 1000);
  }
  // Rounded up: not yet over then.
  [[nodiscard]] int64_t Coming(TimeMs then) const {
    return wall_ + static_cast<int64_t>(SecondsLeft(then, now_));
  }

 private:
  int64_t wall_;
  TimeMs now_;
};

using LineWriter = void (*)(const ItemInfo& item, const UnixTime& time, std::string& line);

// key=<uri> exp=<unix, -1: never> la=<unix> cas= fetch=yes|no cls= size= flags= , and a bare
// newline.
void MetaLine(const ItemInfo& item, const UnixTime& time, std::string& line) {
  line = "key=";
  AppendUriEncoded(item.key, line);
  line.append(" exp=").append(item.deadline == kNever ? std::string("-1")
                                                      : StatNumber(time.Coming(item.deadline)));
  line.append(" la=").append(StatNumber(time.Past(item.last_access)));
  line.append(" cas=").append(StatNumber(item.cas));
  line.append(item.fetched ? " fetch=yes" : " fetch=no");
  line.append(" cls=").append(StatNumber(item.class_id));
  line.append(" size=").append(StatNumber(item.item_bytes));
  line.append(" flags=").append(StatNumber(item.flags)).append(" \n");
}

// A line that gets the item when it is sent back.
void MgLine(const ItemInfo& item, const UnixTime& /*time*/, std::string& line) {
  line = "mg ";
  if (item.binary_key || !FitsALine(item.key)) {
    std::array<char, kMaxEncodedKey> room;
    line.append(EncodeKey(item.key, room)).append(" b\r\n");
  } else {
    line.append(item.key).append(kCrlf);
  }
}

// ITEM <key> [<bytes> b; <unix, 0: never> s]
void CacheLine(const ItemInfo& item, const UnixTime& time, std::string& line) {
  line = "ITEM ";
  AppendForALine(item.key, line);
  line.append(" [").append(StatNumber(item.value_bytes)).append(" b; ");
  line.append(item.deadline == kNever ? std::string("0") : StatNumber(time.Coming(item.deadline)));
  line.append(" s]\r\n");
}

struct DumpFormat {
  LineWriter line;
  std::string_view end;
};

class Dump final : public LongReply {
 public:
  // At most `most` items.
  Dump(const DumpFormat& format, WalkFilter filter, uint64_t most)
      : format_(format), filter_(std::move(filter)), left_(most) {}

  Progress GoOn(Store& store, OpContext& op, ReplyBuffer& out) override {
    const UnixTime time(store.clock(), op.now);
    std::string line;
    for (size_t slices = 0; left_ > 0;) {
      for (; next_ < slice_.size() && left_ > 0; ++next_, --left_) {
        if (!out.HasRoom()) return Progress::kOutputFull;
        format_.line(slice_[next_], time, line);
        out.Append(line);
      }
      if (left_ == 0 || is_over_) break;
      if (slices++ == kSlicesAtOnce) return Progress::kLater;
      slice_.clear();
      next_ = 0;
      is_over_ = !store.Walk(op, filter_, &cursor_, &slice_);
    }
    if (!out.HasRoom()) return Progress::kOutputFull;
    out.Append(format_.end);
    return Progress::kDone;
  }

 private:
  const DumpFormat format_;
  const WalkFilter filter_;
  uint64_t left_;
  WalkCursor cursor_;
  bool is_over_ = false;  // nothing comes behind the slice
  std::vector<ItemInfo> slice_;
  size_t next_ = 0;
};

Outcome Answer(CommandContext& ctx, std::string_view text) {
  ctx.out.Append(text);
  return Outcome::kDone;
}

Outcome Begin(CommandContext& ctx, const DumpFormat& format, WalkFilter filter, uint64_t most) {
  ctx.unfinished.BeginLongReply(std::make_unique<Dump>(format, std::move(filter), most));
  return Outcome::kUnfinished;
}

// part=<i>/<n>, i from 1.
bool ReadPart(std::string_view text, WalkFilter* filter) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const auto part = ParseUint32(text.substr(0, slash));
  const auto parts = ParseUint32(text.substr(slash + 1));
  if (!part || !parts || *part == 0 || *part > *parts || *parts > kMostParts) return false;
  filter->part = *part - 1;
  filter->parts = *parts;
  return true;
}

// prefix=<uri-encoded> and part=<i>/<n>, in any order.
bool ReadOptions(std::string_view rest, WalkFilter* filter) {
  constexpr std::string_view kPrefix = "prefix=";
  constexpr std::string_view kPart = "part=";
  for (std::string_view word = NextWord(rest); !word.empty(); word = NextWord(rest)) {
    if (word.starts_with(kPrefix)) {
      auto prefix = UriDecoded(word.substr(kPrefix.size()));
      if (!prefix || prefix->size() > kMaxKeyBytes) return false;
      filter->prefix = *std::move(prefix);
    } else if (!word.starts_with(kPart) || !ReadPart(word.substr(kPart.size()), filter)) {
      return false;
    }
  }
  return true;
}

Outcome BeginFiltered(CommandContext& ctx, std::string_view rest, const DumpFormat& format) {
  if (!ctx.options.dump_enabled) return Answer(ctx, kMetadumpNotAllowed);
  const std::string_view which = NextWord(rest);
  if (which.empty()) return Answer(ctx, kError);
  WalkFilter filter;
  if (which != "all" && which != "hash") {
    const auto classes = ParseClasses(which, ctx.store.ChunkSizes().size());
    if (!classes) return Answer(ctx, kBadClassId);
    filter.classes = *classes;
  }
  if (!ReadOptions(rest, &filter)) return Answer(ctx, kBadFormat);
  ctx.out.Append(kOk);
  return Begin(ctx, format, std::move(filter), ~uint64_t{0});
}

}  // namespace

Outcome MetaDump(CommandContext& ctx, std::string_view rest) {
  return BeginFiltered(ctx, rest, {MetaLine, kEnd});
}

Outcome MgDump(CommandContext& ctx, std::string_view rest) {
  return BeginFiltered(ctx, rest, {MgLine, kMetaEnd});
}

Outcome CacheDump(CommandContext& ctx, std::string_view rest) {
  if (!ctx.options.dump_enabled) return Answer(ctx, kCachedumpNotAllowed);
  const std::string_view class_word = NextWord(rest);
  const std::string_view limit_word = NextWord(rest);
  if (limit_word.empty()) return Answer(ctx, kBadCachedump);
  const auto class_id = ParseUint32(class_word);
  const auto limit = ParseUint32(limit_word);
  if (!class_id || !limit) return Answer(ctx, kBadFormat);
  if (*class_id > ctx.store.ChunkSizes().size()) return Answer(ctx, kIllegalSlabId);
  if (*class_id == 0) return Answer(ctx, kEnd);
  WalkFilter filter;
  filter.classes.set(*class_id);
  return Begin(ctx, {CacheLine, kEnd}, std::move(filter), *limit == 0 ? ~uint64_t{0} : *limit);
}

}  // namespace larder::memcache
