// protocol/memcache/tuning.cc — commands that steer the engine while it runs: slabs, lru,
// lru_crawler, cache_memlimit, and extstore, which there is nothing to steer for.

#include <span>

#include "protocol/memcache/command.h"
#include "protocol/memcache/dump.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

constexpr unsigned kMaxPercents = 80;  // of HOT and WARM together
constexpr uint32_t kLeastWindow = 3;
constexpr uint32_t kMostWindow = 1800;
constexpr uint32_t kMostSleepUs = 1'000'000;
constexpr uint32_t kLeastMegabytes = 8;
constexpr uint32_t kMostMegabytes = 1'000'000'000;

// A word that chooses what a command does: `act` gets the words behind it, and answers.
struct Subcommand {
  std::string_view name;
  size_t min_words;  // behind it
  std::string_view (*act)(CommandContext& ctx, std::string_view rest);
};

// The answer of the subcommand that `rest` begins with; ERROR when there is none, or too few words.
std::string_view Choose(CommandContext& ctx, std::span<const Subcommand> from,
                        std::string_view rest) {
  const std::string_view name = NextWord(rest);
  for (const Subcommand& one : from) {
    if (one.name != name) continue;
    std::string_view words = rest;
    for (size_t i = 0; i < one.min_words; ++i) {
      if (NextWord(words).empty()) return kError;
    }
    return one.act(ctx, rest);
  }
  return kError;
}

// --- slabs ---

std::string_view Reassign(CommandContext& ctx, std::string_view rest) {
  const auto from = ParseInt32(NextWord(rest));
  const auto to = ParseInt32(NextWord(rest));
  if (!ctx.store.options().reassign) return kReassignDisabled;
  if (!from || !to) return kBadFormat;
  switch (ctx.store.Reassign(*from, *to)) {
    case ReassignResult::kStarted:
      return kOk;
    case ReassignResult::kBusy:
      return kReassignBusy;
    case ReassignResult::kBadClass:
      return kReassignBadClass;
    case ReassignResult::kNoSpare:
      return kReassignNoSpare;
    case ReassignResult::kSame:
      return kReassignSame;
  }
  return kError;
}

std::string_view Automove(CommandContext& ctx, std::string_view rest) {
  StoreTuning& tuning = ctx.store.tuning();
  const std::string_view what = NextWord(rest);
  if (what == "ratio" || what == "freeratio") {
    const auto ratio = ParseDecimal(NextWord(rest));
    if (!ratio) return kError;
    (what == "ratio" ? tuning.automove_ratio : tuning.automove_freeratio).store(*ratio);
    return kOk;
  }
  if (what == "window") {
    const auto window = ParseUint32(NextWord(rest));
    if (!window) return kBadFormat;
    if (*window < kLeastWindow || *window > kMostWindow) return kBadWindow;
    tuning.automove_window.store(*window);
    return kOk;
  }
  const auto level = ParseUint32(what);
  if (!level) return kBadFormat;
  if (*level > 2) return kError;
  tuning.automove.store(static_cast<int>(*level));
  return kOk;
}

constexpr Subcommand kSlabs[] = {{"reassign", 2, Reassign}, {"automove", 1, Automove}};

// --- lru ---

std::string_view Tune(CommandContext& ctx, std::string_view rest) {
  const auto hot = ParseUint32(NextWord(rest));
  const auto warm = ParseUint32(NextWord(rest));
  const auto hot_factor = ParseDecimal(NextWord(rest));
  const auto warm_factor = ParseDecimal(NextWord(rest));
  if (!hot || !warm || !hot_factor || !warm_factor) return kError;
  if (uint64_t{*hot} + *warm > kMaxPercents) return kBadPercents;
  if (*hot_factor <= 0 || *warm_factor <= 0) return kBadAgeFactors;
  StoreTuning& tuning = ctx.store.tuning();
  tuning.hot_percent.store(*hot);
  tuning.warm_percent.store(*warm);
  tuning.hot_max_factor.store(*hot_factor);
  tuning.warm_max_factor.store(*warm_factor);
  return kOk;
}

std::string_view Mode(CommandContext& ctx, std::string_view rest) {
  const std::string_view mode = NextWord(rest);
  if (!ctx.store.options().maintainer || (mode != "flat" && mode != "segmented")) return kError;
  ctx.store.tuning().segmented.store(mode == "segmented");
  return kOk;
}

std::string_view TemporaryTtl(CommandContext& ctx, std::string_view rest) {
  const auto seconds = ParseInt32(NextWord(rest));
  if (!ctx.store.options().maintainer || !seconds) return kError;
  ctx.store.tuning().temporary_ttl_seconds.store(*seconds < 0 ? -1 : *seconds);
  return kOk;
}

constexpr Subcommand kLru[] = {{"tune", 4, Tune}, {"mode", 1, Mode}, {"temp_ttl", 1, TemporaryTtl}};

// --- lru_crawler ---

std::string_view Enable(CommandContext& ctx, std::string_view /*rest*/) {
  return ctx.store.tuning().crawler.exchange(true) ? kCrawlerRuns : kOk;
}

std::string_view Disable(CommandContext& ctx, std::string_view /*rest*/) {
  ctx.store.tuning().crawler.store(false);
  return kOk;
}

std::string_view Sleep(CommandContext& ctx, std::string_view rest) {
  const auto us = ParseUint32(NextWord(rest));
  if (!us) return kBadFormat;
  if (*us > kMostSleepUs) return kSleepTooLong;
  ctx.store.tuning().crawler_sleep_us.store(*us);
  return kOk;
}

std::string_view ToCrawl(CommandContext& ctx, std::string_view rest) {
  const auto items = ParseUint32(NextWord(rest));
  if (!items) return kBadFormat;
  ctx.store.tuning().crawler_tocrawl.store(*items);
  return kOk;
}

// Every class is crawled, whichever were named: the crawler goes through the index.
std::string_view Crawl(CommandContext& ctx, std::string_view rest) {
  if (!ctx.store.tuning().crawler.load()) return kCrawlerDisabled;
  const std::string_view which = NextWord(rest);
  if (which == "hash") return kCrawlerUnknownError;
  if (which != "all" && !ParseClasses(which, ctx.store.ChunkSizes().size())) return kBadClassId;
  return ctx.store.StartCrawl() ? kOk : kCrawlerBusy;
}

constexpr Subcommand kCrawler[] = {{"enable", 0, Enable},
                                   {"disable", 0, Disable},
                                   {"sleep", 1, Sleep},
                                   {"tocrawl", 1, ToCrawl},
                                   {"crawl", 1, Crawl}};

// --- extstore ---

// There is no flash tier; whoever tunes one gets the answers that memcached gives.
template <bool kFraction>
std::string_view Ignore(CommandContext& /*ctx*/, std::string_view rest) {
  const std::string_view word = NextWord(rest);
  const bool good = kFraction ? ParseDecimal(word).has_value() : ParseUint32(word).has_value();
  return good ? kOk : kError;
}

constexpr Subcommand kExtstore[] = {
    {"item_size", 1, Ignore<false>},     {"item_age", 1, Ignore<false>},
    {"low_ttl", 1, Ignore<false>},       {"recache_rate", 1, Ignore<false>},
    {"compact_under", 1, Ignore<false>}, {"drop_under", 1, Ignore<false>},
    {"max_sleep", 1, Ignore<false>},     {"max_frag", 1, Ignore<true>},
    {"drop_unread", 1, Ignore<false>},
};

// --- The commands ---

Outcome Answer(CommandContext& ctx, const Frame& frame, std::string_view text) {
  if (!frame.noreply) ctx.out.Append(text);
  return Outcome::kDone;
}

template <const auto& kTable>
Outcome Steer(CommandContext& ctx, const Frame& frame) {
  return Answer(ctx, frame, Choose(ctx, kTable, frame.args));
}

Outcome LruCrawler(CommandContext& ctx, const Frame& frame) {
  std::string_view rest = frame.args;
  const std::string_view word = NextWord(rest);
  if (word == "metadump") return MetaDump(ctx, rest);
  if (word == "mgdump") return MgDump(ctx, rest);
  return Steer<kCrawler>(ctx, frame);
}

// cache_memlimit megabytes → the limit from now on; pages above it are given back in the
// background.
Outcome MemoryLimit(CommandContext& ctx, const Frame& frame) {
  std::string_view rest = frame.args;
  const auto megabytes = ParseUint32(NextWord(rest));
  if (!megabytes) return Answer(ctx, frame, kError);
  if (*megabytes < kLeastMegabytes) return Answer(ctx, frame, kLimitTooSmall);
  if (*megabytes > kMostMegabytes) return Answer(ctx, frame, kLimitInBytes);
  const LimitResult result = ctx.store.SetMemoryLimit(uint64_t{*megabytes} << 20);
  return Answer(ctx, frame, result == LimitResult::kDone ? kOk : kLimitOutOfBounds);
}

constexpr CommandSpec kTuningCommands[] = {
    {"slabs", Steer<kSlabs>, Shape::kWords, 0, kTakesNoreply,
     "reassign from to | automove 0|1|2 | automove ratio|freeratio|window n [noreply]"},
    {"lru", Steer<kLru>, Shape::kWords, 0, kTakesNoreply,
     "tune hot% warm% hotfactor warmfactor | mode flat|segmented | temp_ttl seconds [noreply]"},
    {"lru_crawler", LruCrawler, Shape::kWords, 0, kTakesNoreply,
     "enable | disable | sleep us | tocrawl n | crawl ids|all [noreply] | "
     "metadump|mgdump ids|all|hash [prefix=uri] [part=i/n]"},
    {"cache_memlimit", MemoryLimit, Shape::kWords, 0, kTakesNoreply, "megabytes [noreply]"},
    {"extstore", Steer<kExtstore>, Shape::kWords, 0, kTakesNoreply, "option n [noreply]"},
};

}  // namespace

std::span<const CommandSpec> TuningCommands() { return kTuningCommands; }

}  // namespace larder::memcache
