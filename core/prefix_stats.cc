#include "core/prefix_stats.h"

namespace larder {
namespace {

// Of an entry, besides its prefix.
constexpr size_t kEntryBytes = 112;

}  // namespace

PrefixCounts* PrefixTable::Of(std::string_view key) {
  const size_t end = key.find(delimiter_);
  if (end == std::string_view::npos) return nullptr;
  const std::string_view prefix = key.substr(0, end);
  if (const auto found = counts_.find(prefix); found != counts_.end()) return &found->second;
  const size_t bytes = prefix.size() + kEntryBytes;
  if (counts_.size() >= kMaxPrefixes) return nullptr;
  if (bytes_.load(std::memory_order_relaxed) + bytes > kMostBytes) return nullptr;
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return &counts_[std::string(prefix)];
}

void PrefixTable::CountGet(std::string_view key, bool hit) {
  MutexLock lock(mutex_);
  PrefixCounts* counts = Of(key);
  if (counts == nullptr) return;
  ++counts->gets;
  if (hit) ++counts->hits;
}

void PrefixTable::CountSet(std::string_view key) {
  MutexLock lock(mutex_);
  if (PrefixCounts* counts = Of(key)) ++counts->sets;
}

void PrefixTable::CountDelete(std::string_view key) {
  MutexLock lock(mutex_);
  if (PrefixCounts* counts = Of(key)) ++counts->deletes;
}

void PrefixTable::AddTo(std::map<std::string, PrefixCounts>* sums) const {
  MutexLock lock(mutex_);
  for (const auto& [prefix, counts] : counts_) {
    auto found = sums->find(prefix);
    if (found == sums->end()) {
      if (sums->size() >= kMaxPrefixes) continue;
      found = sums->emplace(prefix, PrefixCounts{}).first;
    }
    found->second.gets += counts.gets;
    found->second.hits += counts.hits;
    found->second.sets += counts.sets;
    found->second.deletes += counts.deletes;
  }
}

void PrefixTable::Clear() {
  MutexLock lock(mutex_);
  size_t bytes = 0;
  for (const auto& [prefix, counts] : counts_) bytes += prefix.size() + kEntryBytes;
  counts_.clear();
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace larder
