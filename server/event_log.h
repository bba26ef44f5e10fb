// server/event_log.h — takes the events of all threads, and prints them for those who watch.
//
// Owner: Server.  Threads: a worker pushes into the ring of its sink, without a lock; one thread of
// this, which sleeps while nobody watches, merges the rings, formats, and appends to the watchers'
// texts; a watcher's worker is woken and takes its text.  Nobody waits for anybody: a full ring and
// a full text lose events, which are counted, and a watcher is told ("skipped=3").  A ring that is
// half full wakes the thread: a lock then, taken by one worker between two looks of the thread.
// Memory: worker_bytes a thread, watcher_bytes (twice while they are being sent) a watcher.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "core/events.h"
#include "protocol/text_feed.h"
#include "server/event_loop.h"
#include "server/event_ring.h"

namespace larder::server {

struct EventLogOptions {
  size_t worker_bytes = 64 << 10;    // worker_logbuf_size
  size_t watcher_bytes = 256 << 10;  // watcher_logbuf_size
  size_t max_watchers = 20;          // memcached's
  // Of the thread, between two looks while somebody watches.
  std::chrono::milliseconds shortest_rest{2};
  std::chrono::milliseconds longest_rest{64};
};

struct EventLogCounts {
  uint64_t worker_dropped = 0;
  uint64_t worker_written = 0;
  uint64_t watcher_skipped = 0;
  uint64_t watcher_sent = 0;
  uint64_t watchers = 0;
};

class EventLog final : public EventSource {
 public:
  // `print` gets what -vv shows of the clients' conversations, from this object's thread.
  using Print = std::function<void(std::string_view text)>;

  explicit EventLog(const EventLogOptions& options, Print print = {});
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;
  ~EventLog() override;  // Stop().  REQUIRES: sinks and feeds are gone, or not used again.

  // False when the system refuses a thread.
  [[nodiscard]] bool Start();
  // Ends the thread: no Wakeup is signalled from then on.
  void Stop();

  // Any thread.
  [[nodiscard]] EventSink* NewSink() override { return NewSink(nullptr); }
  // For a worker: `wakeup` is signalled when a feed of its connections has text.
  [[nodiscard]] EventSink* NewSink(const Wakeup* wakeup) ABSL_LOCKS_EXCLUDED(mutex_);
  // What is said on `streams` from now on.  `sink` is that of the worker who will read.  Null: too
  // many watch already.  Throws bad_alloc.
  [[nodiscard]] std::unique_ptr<TextFeed> Watch(const EventSink* sink, uint32_t streams)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether Print gets the conversations.
  void SetPrinting(bool on) ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] EventLogCounts Counts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Sink;
  class Watcher;
  class Feed;

  static constexpr size_t kEventsPerRound = 20'000;

  void Loop();
  // Prints what there is, up to kEventsPerRound; returns how many it was.
  size_t Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  void Deliver(const EventRing::Record& record, std::string_view text);
  // Tells the audience what the rings have dropped since the last look.
  void TellDropped();
  // By a worker whose ring fills: look at once.
  void Hurry() noexcept;
  void Leave(const Watcher* watcher) ABSL_LOCKS_EXCLUDED(mutex_);
  void UpdateStreams() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EventLogOptions options_;
  const Print print_;
  std::atomic<uint32_t> streams_{0};
  std::atomic<uint64_t> next_number_{1};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> skipped_{0};

  mutable Mutex<LockRank::kLeaf> mutex_;
  std::vector<std::unique_ptr<Sink>> sinks_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
  bool printing_ ABSL_GUARDED_BY(mutex_) = false;

  // The thread's own.
  struct Head {
    Sink* sink = nullptr;
    bool is_full = false;
    EventRing::Record record;
    std::string text;
    std::array<uint64_t, kStreamBits> dropped{};  // that the audience was told of
  };
  std::vector<Head> heads_;
  std::vector<std::shared_ptr<Watcher>> audience_;
  std::string line_;

  std::mutex sleep_mutex_;  // outside the ranks: nothing is taken under it
  std::condition_variable changed_;
  bool stopping_ = false;
  std::atomic<bool> hurry_{false};
  std::thread thread_;
};

}  // namespace larder::server
