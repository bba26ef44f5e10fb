#include "server/event_log.h"

#include <pthread.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "server/event_text.h"

namespace larder::server {
namespace {

int64_t WallMicros() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

}  // namespace

class EventLog::Sink final : public EventSink {
 public:
  Sink(EventLog& log, const Wakeup* wakeup)
      : EventSink(log.streams_),
        log_(log),
        numbers_(log.next_number_),
        wakeup_(wakeup),
        ring_(log.options_.worker_bytes) {}

  void Note(uint32_t streams, const EventData& event, std::string_view text) noexcept override {
    // One counter for all threads, so that their events can be put in order again.
    const uint64_t number = numbers_.fetch_add(1, std::memory_order_relaxed);
    ring_.Push({.number = number, .wall_us = WallMicros(), .streams = streams, .event = event},
               text);
    if (ring_.is_half_full()) log_.Hurry();
  }

  [[nodiscard]] EventRing& ring() { return ring_; }
  [[nodiscard]] const Wakeup* wakeup() const { return wakeup_; }

 private:
  EventLog& log_;
  std::atomic<uint64_t>& numbers_;
  const Wakeup* const wakeup_;
  EventRing ring_;
};

// One who watches: the text on its way to a connection.
class EventLog::Watcher {
 public:
  Watcher(uint32_t streams, uint64_t first_number, size_t limit, const Wakeup* wakeup)
      : streams_(streams), first_number_(first_number), limit_(limit), wakeup_(wakeup) {}

  [[nodiscard]] uint32_t streams() const { return streams_; }
  // Events before its time may still be in the rings.
  [[nodiscard]] bool Wants(const EventRing::Record& record) const {
    return (record.streams & streams_) != 0 && record.number >= first_number_;
  }

  // By the log's thread.  False: it reads too slowly, the line is lost.
  bool Append(std::string_view line) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    try {
      std::string notice;
      if (lost_ > 0) notice = "skipped=" + std::to_string(lost_) + "\n";
      if (text_.size() + notice.size() + line.size() <= limit_) {
        text_.append(notice).append(line);
        lost_ = 0;
        is_new_ = true;
        return true;
      }
    } catch (const std::bad_alloc&) {
      // Lost as if there had been no room.
    }
    ++lost_;
    return false;
  }
  // Lines that never came here.
  void AddLost(uint64_t lines) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    lost_ += lines;
  }
  // Wakes the reader if there is something new.  Signals under the lock, which never blocks: the
  // reader's worker can go as soon as Close() has returned.
  void Ring() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (std::exchange(is_new_, false) && wakeup_ != nullptr) wakeup_->Signal();
  }
  // Nobody reads any more.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    wakeup_ = nullptr;
  }
  // By the reader.
  std::string Take() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return std::exchange(text_, {});
  }

 private:
  const uint32_t streams_;
  const uint64_t first_number_;
  const size_t limit_;
  Mutex<LockRank::kLeaf> mutex_;
  const Wakeup* wakeup_ ABSL_GUARDED_BY(mutex_);
  std::string text_ ABSL_GUARDED_BY(mutex_);
  uint64_t lost_ ABSL_GUARDED_BY(mutex_) = 0;  // since the last line that was kept
  bool is_new_ ABSL_GUARDED_BY(mutex_) = false;
};

class EventLog::Feed final : public TextFeed {
 public:
  Feed(EventLog& log, std::shared_ptr<Watcher> watcher) : log_(log), watcher_(std::move(watcher)) {}
  ~Feed() override {
    log_.Leave(watcher_.get());
    watcher_->Close();
  }
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  std::string Take() override { return watcher_->Take(); }

 private:
  EventLog& log_;
  const std::shared_ptr<Watcher> watcher_;
};

EventLog::EventLog(const EventLogOptions& options, Print print)
    : options_(options), print_(std::move(print)) {}

EventLog::~EventLog() { Stop(); }

bool EventLog::Start() {
  try {
    thread_ = std::thread([this] { Loop(); });
  } catch (const std::system_error&) {
    return false;
  }
  pthread_setname_np(thread_.native_handle(), "larder-events");
  return true;
}

void EventLog::Stop() {
  {
    const std::lock_guard<std::mutex> lock(sleep_mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

EventSink* EventLog::NewSink(const Wakeup* wakeup) {
  try {
    auto sink = std::make_unique<Sink>(*this, wakeup);
    MutexLock lock(mutex_);
    return sinks_.emplace_back(std::move(sink)).get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

std::unique_ptr<TextFeed> EventLog::Watch(const EventSink* sink, uint32_t streams) {
  std::unique_ptr<TextFeed> feed;
  {
    MutexLock lock(mutex_);
    if (watchers_.size() >= options_.max_watchers) return nullptr;
    const Wakeup* wakeup = nullptr;
    for (const auto& one : sinks_) {
      if (one.get() == sink) wakeup = one->wakeup();
    }
    auto watcher = std::make_shared<Watcher>(streams, next_number_.load(std::memory_order_relaxed),
                                             options_.watcher_bytes, wakeup);
    watchers_.reserve(watchers_.size() + 1);
    feed = std::make_unique<Feed>(*this, watcher);
    watchers_.push_back(std::move(watcher));
    UpdateStreams();
  }
  { const std::lock_guard<std::mutex> lock(sleep_mutex_); }
  changed_.notify_all();
  return feed;
}

void EventLog::Leave(const Watcher* watcher) {
  MutexLock lock(mutex_);
  std::erase_if(watchers_, [&](const auto& one) { return one.get() == watcher; });
  UpdateStreams();
}

void EventLog::SetPrinting(bool on) {
  {
    MutexLock lock(mutex_);
    printing_ = on && print_ != nullptr;
    UpdateStreams();
  }
  { const std::lock_guard<std::mutex> lock(sleep_mutex_); }
  changed_.notify_all();
}

void EventLog::UpdateStreams() {
  uint32_t streams = printing_ ? uint32_t{kConversation} : 0;
  for (const auto& watcher : watchers_) streams |= watcher->streams();
  streams_.store(streams, std::memory_order_relaxed);
}

EventLogCounts EventLog::Counts() const {
  EventLogCounts counts;
  MutexLock lock(mutex_);
  for (const auto& sink : sinks_) {
    counts.worker_dropped += sink->ring().dropped();
    counts.worker_written += sink->ring().written();
  }
  counts.watcher_sent = sent_.load(std::memory_order_relaxed);
  counts.watcher_skipped = skipped_.load(std::memory_order_relaxed);
  counts.watchers = watchers_.size();
  return counts;
}

void EventLog::Loop() {
  std::chrono::milliseconds pause = options_.shortest_rest;
  std::unique_lock<std::mutex> lock(sleep_mutex_);
  while (!stopping_) {
    if (streams_.load(std::memory_order_relaxed) == 0) {
      changed_.wait(lock);
      continue;  // look at both again
    }
    lock.unlock();
    hurry_.store(false, std::memory_order_relaxed);
    size_t printed = 0;
    try {
      printed = Drain();
    } catch (const std::bad_alloc&) {
      printed = 0;  // the rings fill meanwhile, and drop
    }
    lock.lock();
    if (printed == kEventsPerRound) continue;
    pause = printed > 0 ? options_.shortest_rest : std::min(pause * 2, options_.longest_rest);
    if (!stopping_ && !hurry_.load(std::memory_order_relaxed)) changed_.wait_for(lock, pause);
  }
}

// Each thread's events are in order; of all threads' next ones the oldest goes first.
size_t EventLog::Drain() {
  {
    MutexLock lock(mutex_);
    audience_ = watchers_;
    for (size_t i = heads_.size(); i < sinks_.size(); ++i) {
      heads_.push_back(
          {.sink = sinks_[i].get(), .is_full = false, .record = {}, .text = {}, .dropped = {}});
    }
  }
  size_t printed = 0;
  for (; printed < kEventsPerRound; ++printed) {
    Head* oldest = nullptr;
    for (Head& head : heads_) {
      if (!head.is_full) head.is_full = head.sink->ring().Take(&head.record, &head.text);
      if (!head.is_full) continue;
      if (oldest == nullptr || head.record.number < oldest->record.number) oldest = &head;
    }
    if (oldest == nullptr) break;
    Deliver(oldest->record, oldest->text);
    oldest->is_full = false;
  }
  TellDropped();  // behind what was kept: a full ring drops the newest
  for (const auto& watcher : audience_) watcher->Ring();
  audience_.clear();
  return printed;
}

void EventLog::TellDropped() {
  for (Head& head : heads_) {
    for (size_t bit = 0; bit < kStreamBits; ++bit) {
      const uint64_t dropped = head.sink->ring().dropped_of(bit);
      const uint64_t lost = dropped - std::exchange(head.dropped[bit], dropped);
      if (lost == 0) continue;
      for (const auto& watcher : audience_) {
        if ((watcher->streams() >> bit & 1) != 0) watcher->AddLost(lost);
      }
    }
  }
}

// At most one worker at a time finds the flag unset.
void EventLog::Hurry() noexcept {
  if (hurry_.load(std::memory_order_relaxed) || hurry_.exchange(true)) return;
  { const std::lock_guard<std::mutex> lock(sleep_mutex_); }
  changed_.notify_all();
}

void EventLog::Deliver(const EventRing::Record& record, std::string_view text) {
  line_.clear();
  for (const auto& watcher : audience_) {
    if (!watcher->Wants(record)) continue;
    if (line_.empty()) AppendEventLine(record, text, line_);
    (watcher->Append(line_) ? sent_ : skipped_).fetch_add(1, std::memory_order_relaxed);
  }
  if ((record.streams & kConversation) != 0 && print_ != nullptr) {
    line_.clear();
    AppendConversation(record, text, line_);
    print_(line_);
  }
}

}  // namespace larder::server
