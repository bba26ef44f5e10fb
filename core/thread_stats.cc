#include "core/thread_stats.h"

namespace larder {

uint64_t StatsTotals::operator[](ClassCounter c) const {
  uint64_t sum = 0;
  for (const auto& row : classes) sum += row[static_cast<size_t>(c)];
  return sum;
}

ThreadStats* StatsRegistry::NewCell() {
  MutexLock lock(mutex_);
  return cells_.emplace_back(std::make_unique<ThreadStats>()).get();
}

std::unique_ptr<StatsTotals> StatsRegistry::Sum() const {
  auto sum = std::make_unique<StatsTotals>();
  for (const auto& cell : cells_) {
    for (size_t i = 0; i < kThreadCounters; ++i) {
      sum->thread[i] += cell->Get(static_cast<ThreadCounter>(i));
    }
    for (size_t id = 0; id < kMaxClasses; ++id) {
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
  for (size_t id = 0; id < kMaxClasses; ++id) {
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
  MutexLock lock(mutex_);
  baseline_ = *Sum();
}

}  // namespace larder
