#include "core/thread_stats.h"

#include <algorithm>

namespace larder {

uint64_t StatsTotals::get_hits() const {
  return (*this)[ClassCounter::hits_to_hot] + (*this)[ClassCounter::hits_to_warm] +
         (*this)[ClassCounter::hits_to_cold] + (*this)[ClassCounter::hits_to_temp];
}

uint64_t StatsTotals::operator[](ClassCounter c) const {
  uint64_t sum = 0;
  for (size_t id = 0; id < class_count; ++id) sum += Class(c, id);
  return sum;
}

void StatsRegistry::SetClasses(size_t count) {
  MutexLock lock(mutex_);
  class_count_ = std::min(count, kMaxClasses);
}

ThreadStats* StatsRegistry::NewCell() {
  MutexLock lock(mutex_);
  ThreadStats* cell = cells_.emplace_back(std::make_unique<ThreadStats>()).get();
  if (collects_prefixes_) Attach(*cell);
  return cell;
}

void StatsRegistry::Attach(ThreadStats& cell) {
  std::unique_ptr<PrefixTable>& table = tables_[&cell];
  if (table == nullptr) table = std::make_unique<PrefixTable>(delimiter_, prefix_bytes_);
  cell.set_prefixes(table.get());
}

void StatsRegistry::CollectPrefixes(bool wanted) {
  MutexLock lock(mutex_);
  collects_prefixes_ = wanted;
  for (const auto& cell : cells_) {
    if (wanted) {
      Attach(*cell);
    } else {
      cell->set_prefixes(nullptr);
    }
  }
}

bool StatsRegistry::collects_prefixes() const {
  MutexLock lock(mutex_);
  return collects_prefixes_;
}

void StatsRegistry::SetPrefixDelimiter(char delimiter) {
  MutexLock lock(mutex_);
  delimiter_ = delimiter;
}

std::vector<PrefixTable*> StatsRegistry::Tables() const {
  std::vector<PrefixTable*> tables;
  MutexLock lock(mutex_);
  for (const auto& [cell, table] : tables_) tables.push_back(table.get());
  return tables;
}

std::map<std::string, PrefixCounts> StatsRegistry::Prefixes() const {
  std::map<std::string, PrefixCounts> sums;
  for (const PrefixTable* table : Tables()) table->AddTo(&sums);
  return sums;
}

std::unique_ptr<StatsTotals> StatsRegistry::Sum() const {
  auto sum = std::make_unique<StatsTotals>();
  sum->class_count = class_count_;
  for (const auto& cell : cells_) {
    for (size_t i = 0; i < kThreadCounters; ++i) {
      sum->thread[i] += cell->Get(static_cast<ThreadCounter>(i));
    }
    for (size_t id = 0; id < class_count_; ++id) {
      for (size_t i = 0; i < kClassCounters; ++i) {
        sum->classes[id][i] += cell->Get(static_cast<ClassCounter>(i), id);
      }
    }
  }
  return sum;
}

std::unique_ptr<StatsTotals> StatsRegistry::Totals() const {
  MutexLock lock(mutex_);
  auto totals = Sum();
  for (size_t i = 0; i < kThreadCounters; ++i) totals->thread[i] -= baseline_.thread[i];
  for (size_t id = 0; id < class_count_; ++id) {
    for (size_t i = 0; i < kClassCounters; ++i) {
      totals->classes[id][i] -= baseline_.classes[id][i];
    }
  }
  return totals;
}

std::unique_ptr<StatsTotals> StatsRegistry::Lifetime() const {
  MutexLock lock(mutex_);
  return Sum();
}

void StatsRegistry::Reset() {
  for (PrefixTable* table : Tables()) table->Clear();
  MutexLock lock(mutex_);
  baseline_ = *Sum();
}

}  // namespace larder
