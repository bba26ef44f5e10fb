#include "core/hot_keys.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace larder {

// The key's own counter, a new one, or the smallest.
size_t KeySketch::FindCounter(uint64_t hash) {
  const auto begin = hashes_.begin();
  const auto end = begin + static_cast<ptrdiff_t>(used_);
  if (const auto found = std::find(begin, end, hash); found != end) {
    return static_cast<size_t>(found - begin);
  }
  if (used_ < kCounters) {
    counts_[used_] = errors_[used_] = 0;
    return used_++;
  }
  const auto least = std::min_element(counts_.begin(), counts_.end());
  return static_cast<size_t>(least - counts_.begin());
}

uint32_t KeySketch::Count(std::string_view key, uint64_t hash) noexcept {
  key = key.substr(0, kMaxKey);
  {
    MutexLock lock(mutex_);
    ++samples_;
    const size_t at = FindCounter(hash);
    if (hashes_[at] != hash || counts_[at] == 0) {
      hashes_[at] = hash;
      errors_[at] = counts_[at];
      keys_[at].size = static_cast<uint8_t>(key.size());
      std::memcpy(keys_[at].bytes.data(), key.data(), key.size());
    }
    ++counts_[at];
  }
  // G. Marsaglia, "Xorshift RNGs", 2003.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return kOneIn / 2 + 1 + static_cast<uint32_t>(random_ >> 32) % (kOneIn - 1);
}

uint64_t KeySketch::CopyTo(std::vector<Counter>* counters) const {
  std::vector<Counter> copies(kCounters);  // allocated before the lock is taken
  for (Counter& copy : copies) copy.key.reserve(kMaxKey);
  MutexLock lock(mutex_);
  for (size_t i = 0; i < used_; ++i) {
    copies[i].key.assign(keys_[i].bytes.data(), keys_[i].size);
    copies[i].hash = hashes_[i];
    copies[i].count = counts_[i];
    copies[i].error = errors_[i];
  }
  copies.resize(used_);
  *counters = std::move(copies);
  return samples_;
}

void KeySketch::Reset() {
  MutexLock lock(mutex_);
  used_ = 0;
  samples_ = 0;
  hashes_.fill(0);
  counts_.fill(0);
}

KeySketch* HotKeys::NewSketch() {
  auto sketch = std::make_unique<KeySketch>();
  MutexLock lock(mutex_);
  return sketches_.emplace_back(std::move(sketch)).get();
}

std::vector<KeySketch*> HotKeys::Sketches(TimeMs* since) const {
  std::vector<KeySketch*> sketches;
  MutexLock lock(mutex_);
  sketches.reserve(sketches_.size());
  for (const auto& one : sketches_) sketches.push_back(one.get());
  *since = since_;
  return sketches;
}

HotKeys::Report HotKeys::Top(size_t most) const {
  Report report;
  TimeMs since = 0;
  std::unordered_map<uint64_t, Entry> merged;
  std::vector<KeySketch::Counter> counters;
  for (const KeySketch* sketch : Sketches(&since)) {
    report.samples += sketch->CopyTo(&counters);
    for (KeySketch::Counter& one : counters) {
      Entry& entry = merged[one.hash];
      entry.key = std::move(one.key);
      entry.requests += one.count * KeySketch::kOneIn;
      entry.error += one.error * KeySketch::kOneIn;
    }
  }
  report.seconds = static_cast<double>(Elapsed(since, clock_.NowMs())) / 1000;
  report.top.reserve(merged.size());
  for (auto& [hash, entry] : merged) report.top.push_back(std::move(entry));
  std::sort(report.top.begin(), report.top.end(), [](const Entry& a, const Entry& b) {
    return a.requests != b.requests ? a.requests > b.requests : a.key < b.key;
  });
  if (report.top.size() > most) report.top.resize(most);
  return report;
}

void HotKeys::Reset() {
  TimeMs since = 0;
  for (KeySketch* sketch : Sketches(&since)) sketch->Reset();
  const TimeMs now = clock_.NowMs();
  MutexLock lock(mutex_);
  since_ = now;
}

}  // namespace larder
