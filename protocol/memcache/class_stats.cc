// protocol/memcache/class_stats.cc — `stats items` and `stats slabs`: a block of rows for each slab
// class.

#include <memory>
#include <span>
#include <string>

#include "protocol/memcache/stats.h"

namespace larder::memcache {
namespace {

struct ClassSource {
  const StatsTotals& totals;
  const ClassInfo& info;
  const StoreTuning& tuning;
};

constexpr size_t kHot = 0;
constexpr size_t kWarm = 1;
constexpr size_t kCold = 2;
constexpr size_t kTemp = 3;

template <ClassCounter kCounter>
uint64_t Counted(const ClassSource& from) {
  return from.totals.Class(kCounter, from.info.id);
}

template <auto kMember>
uint64_t Has(const ClassSource& from) {
  return from.info.*kMember;
}

template <size_t kSegment>
uint64_t ItemsIn(const ClassSource& from) {
  return from.info.items[kSegment];
}

template <size_t kSegment>
uint64_t AgeOf(const ClassSource& from) {
  return from.info.age_seconds[kSegment];
}

uint64_t Zero(const ClassSource& /*from*/) { return 0; }

uint64_t AllItems(const ClassSource& from) {
  uint64_t sum = 0;
  for (const size_t n : from.info.items) sum += n;
  return sum;
}

uint64_t AllChunks(const ClassSource& from) { return from.info.pages * from.info.chunks_per_page; }

uint64_t AllHits(const ClassSource& from) {
  return Counted<ClassCounter::hits_to_hot>(from) + Counted<ClassCounter::hits_to_warm>(from) +
         Counted<ClassCounter::hits_to_cold>(from) + Counted<ClassCounter::hits_to_temp>(from);
}

bool IsSegmented(const ClassSource& from) {
  return from.tuning.segmented.load(std::memory_order_relaxed);
}
bool HasTemp(const ClassSource& from) {
  return IsSegmented(from) &&
         from.tuning.temporary_ttl_seconds.load(std::memory_order_relaxed) >= 0;
}

struct ClassRow {
  const char* name;
  uint64_t (*value)(const ClassSource& from);
  bool (*shown)(const ClassSource& from) = nullptr;  // null: always
};

constexpr ClassRow kItemRows[] = {
    {"number", AllItems},
    {"number_hot", ItemsIn<kHot>, IsSegmented},
    {"number_warm", ItemsIn<kWarm>, IsSegmented},
    {"number_cold", ItemsIn<kCold>, IsSegmented},
    {"number_temp", ItemsIn<kTemp>, HasTemp},
    {"age_hot", AgeOf<kHot>, IsSegmented},
    {"age_warm", AgeOf<kWarm>, IsSegmented},
    {"age", AgeOf<kCold>},
    {"mem_requested", Has<&ClassInfo::item_bytes>},
    {"evicted", Counted<ClassCounter::evicted>},
    {"evicted_nonzero", Counted<ClassCounter::evicted_nonzero>},
    {"evicted_time", Has<&ClassInfo::evicted_age_seconds>},
    {"outofmemory", Counted<ClassCounter::outofmemory>},
    {"tailrepairs", Zero},
    {"reclaimed", Counted<ClassCounter::reclaimed>},
    {"expired_unfetched", Counted<ClassCounter::expired_unfetched>},
    {"evicted_unfetched", Counted<ClassCounter::evicted_unfetched>},
    {"evicted_active", Counted<ClassCounter::evicted_active>, IsSegmented},
    {"crawler_reclaimed", Counted<ClassCounter::crawler_reclaimed>},
    {"crawler_items_checked", Counted<ClassCounter::crawler_items_checked>},
    {"lrutail_reflocked", Counted<ClassCounter::lrutail_reflocked>},
    {"moves_to_cold", Counted<ClassCounter::moves_to_cold>, IsSegmented},
    {"moves_to_warm", Counted<ClassCounter::moves_to_warm>, IsSegmented},
    {"moves_within_lru", Counted<ClassCounter::moves_within_lru>, IsSegmented},
    {"direct_reclaims", Counted<ClassCounter::direct_reclaims>, IsSegmented},
    {"hits_to_hot", Counted<ClassCounter::hits_to_hot>, IsSegmented},
    {"hits_to_warm", Counted<ClassCounter::hits_to_warm>, IsSegmented},
    {"hits_to_cold", Counted<ClassCounter::hits_to_cold>, IsSegmented},
    {"hits_to_temp", Counted<ClassCounter::hits_to_temp>, IsSegmented},
};

constexpr ClassRow kSlabRows[] = {
    {"chunk_size", Has<&ClassInfo::chunk_bytes>},
    {"chunks_per_page", Has<&ClassInfo::chunks_per_page>},
    {"total_pages", Has<&ClassInfo::pages>},
    {"total_chunks", AllChunks},
    {"used_chunks", Has<&ClassInfo::used_chunks>},
    {"free_chunks", Has<&ClassInfo::free_chunks>},
    {"free_chunks_end", Zero},
    {"get_hits", AllHits},
    {"cmd_set", Counted<ClassCounter::cmd_set>},
    {"delete_hits", Counted<ClassCounter::delete_hits>},
    {"incr_hits", Counted<ClassCounter::incr_hits>},
    {"decr_hits", Counted<ClassCounter::decr_hits>},
    {"cas_hits", Counted<ClassCounter::cas_hits>},
    {"cas_badval", Counted<ClassCounter::cas_badval>},
    {"touch_hits", Counted<ClassCounter::touch_hits>},
};

void WriteClass(std::span<const ClassRow> rows, const std::string& prefix, const ClassSource& from,
                StatText& text) {
  for (const ClassRow& row : rows) {
    if (row.shown != nullptr && !row.shown(from)) continue;
    text.Add(prefix, row.name, StatNumber(row.value(from)));
  }
}

}  // namespace

void ItemStats(Store& store, Host& /*host*/, StatText& text) {
  const std::unique_ptr<StatsTotals> totals = store.stats().Totals();
  for (const ClassInfo& info : store.Classes()) {
    const ClassSource from{*totals, info, store.tuning()};
    if (AllItems(from) == 0) continue;
    WriteClass(kItemRows, "items:" + StatNumber(info.id) + ":", from, text);
  }
}

void SlabStats(Store& store, Host& /*host*/, StatText& text) {
  const std::unique_ptr<StatsTotals> totals = store.stats().Totals();
  size_t active = 0;
  for (const ClassInfo& info : store.Classes()) {
    if (info.pages == 0) continue;
    ++active;
    WriteClass(kSlabRows, StatNumber(info.id) + ":", {*totals, info, store.tuning()}, text);
  }
  text.Add("active_slabs", active);
  text.Add("total_malloced", store.Info().page_bytes);
}

}  // namespace larder::memcache
