// core/maintenance.cc — what goes on behind the requests: LRU balance, expiry, flushes, page
// reserve.

#include <time.h>

#include <algorithm>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr unsigned kBalancePerClass = 500;  // moves under one lock
constexpr size_t kBucketsPerLock = 16;      // of the index, while the crawler holds a stripe
constexpr size_t kBucketsPerSlice = 128;    // about a thousand items, between two rests
constexpr size_t kWholePass = ~size_t{0};
constexpr TimeMs kCrawlEveryMs = 1000;
// What nobody asked for: the crawler rests so many times as long as it worked, 1 % of a core.
constexpr int64_t kRestFactor = 100;
// Epochs that may be in use at once, less one for safety.
constexpr uint64_t kEpochs = (1U << Item::kEpochBits) - 1;

// How long a thread sleeps after a round that had something to do, and at most, after several that
// had nothing: an idle store hardly wakes.
struct Pauses {
  std::chrono::milliseconds busy;
  std::chrono::milliseconds idle;
};
constexpr Pauses kMaintainerPauses{std::chrono::milliseconds(100), std::chrono::milliseconds(800)};
constexpr Pauses kMoverPauses{std::chrono::milliseconds(20), std::chrono::milliseconds(160)};
constexpr Pauses kCrawlerPauses{std::chrono::milliseconds(250), std::chrono::milliseconds(1000)};

std::chrono::microseconds ThreadCpu() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_nsec / 1000);
}

// What the crawler's thread has counted so far.
struct CrawlCounts {
  uint64_t examined = 0;
  uint64_t reclaimed = 0;
};

CrawlCounts CountCrawled(const ThreadStats& stats) {
  CrawlCounts sum;
  for (size_t id = 1; id < kMaxClasses; ++id) {
    sum.examined += stats.Get(ClassCounter::crawler_items_checked, id);
    sum.reclaimed += stats.Get(ClassCounter::crawler_reclaimed, id);
  }
  return sum;
}

}  // namespace

bool Store::Impl::RunMaintainer(OpContext& ctx) {
  ctx.stats->Add(ThreadCounter::maintainer_runs);
  bool moved = false;
  for (size_t id = 1; id <= sizes_.count(); ++id) {
    LruMoves moves;
    {
      ClassLock lock(classes_[id].mutex());
      if (classes_[id].items() == 0) continue;
      moves = classes_[id].Balance(Lru(), Ticks::At(ctx.now), kBalancePerClass);
    }
    CountMoves(ctx, id, moves);
    moved |= moves.to_cold + moves.to_warm + moves.within != 0;
  }
  return moved;
}

// Looks at buckets [at, at + buckets) of the stripe and removes what is dead.  *next_expiry becomes
// the earliest deadline of those that stay.
void Store::Impl::CrawlStripe(OpContext& ctx, Stripe& stripe, size_t at, size_t buckets,
                              Deadline* next_expiry) {
  StripeLock lock(stripe.mutex);
  std::vector<Handle>& items = crawl_items_;
  items.clear();
  const size_t end = std::min(at + buckets, stripe.index.buckets());
  for (; at < end; ++at) {
    stripe.index.VisitBucket(at, [&](Handle handle) {
      __builtin_prefetch(space().Address(handle));
      items.push_back(handle);
    });
  }
  const uint32_t ticks = Ticks::At(ctx.now);
  for (const Handle handle : items) {
    Item* item = ItemAt(handle);
    const size_t class_id = LruClassOf(handle).id();
    ctx.stats->Add(ClassCounter::crawler_items_checked, class_id);
    crawled_items_.store(crawled_items_.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
    if (Expired(*item, ctx.now) || Flushed(*item)) {
      ctx.stats->Add(ClassCounter::crawler_reclaimed, class_id);
      if (!item->has(kFetched)) ctx.stats->Add(ClassCounter::expired_unfetched, class_id);
      const uint64_t hash = HashOf(handle);
      Unlink(ctx, stripe, hash, FindHandle(stripe, hash, handle));
      continue;
    }
    if (Ticks::Age(ticks, item->ticks()) > Ticks::kOldest) {
      item->set_ticks((ticks - Ticks::kOldest) & Ticks::kMask);
    }
    const Deadline deadline = item->deadline();
    if (deadline != kNever && (*next_expiry == kNever || deadline < *next_expiry)) {
      *next_expiry = deadline;
    }
  }
}

bool Store::Impl::RunCrawler(OpContext& ctx, size_t buckets) {
  const std::lock_guard<std::mutex> guard(crawl_mutex_);
  if (crawl_.stripe == 0 && crawl_.bucket == 0) {
    ctx.stats->Add(ThreadCounter::crawler_starts);
    crawl_.epoch_at_start = epoch_.load(std::memory_order_acquire);
    crawl_.asked = crawl_asked_.load(std::memory_order_relaxed);
    crawl_.every_item = crawl_.asked ||
                        swept_epoch_.load(std::memory_order_relaxed) != crawl_.epoch_at_start ||
                        ctx.now - last_refresh_ >= Ticks::kRefreshMs;
  }
  for (size_t done = 0; crawl_.stripe < stripe_count_ && done < buckets;) {
    Stripe& stripe = stripes_[crawl_.stripe];
    if (crawl_.bucket == 0) {
      StripeLock lock(stripe.mutex);
      const bool due = stripe.next_expiry != kNever && stripe.next_expiry <= ctx.now;
      if ((!crawl_.every_item && !due) || stripe.index.size() == 0) {
        ++crawl_.stripe;
        continue;
      }
      // What is linked from here on lowers it again.
      stripe.next_expiry = kNever;
      crawl_.next_expiry = kNever;
    }
    CrawlStripe(ctx, stripe, crawl_.bucket, kBucketsPerLock, &crawl_.next_expiry);
    crawl_.bucket += kBucketsPerLock;
    done += kBucketsPerLock;
    StripeLock lock(stripe.mutex);
    if (crawl_.bucket < stripe.index.buckets()) continue;
    NoteDeadline(stripe, crawl_.next_expiry);
    crawl_.bucket = 0;
    ++crawl_.stripe;
  }
  if (crawl_.stripe < stripe_count_) return false;
  if (crawl_.every_item) {
    swept_epoch_.store(crawl_.epoch_at_start, std::memory_order_release);
    last_refresh_ = ctx.now;
  }
  if (crawl_.asked) crawl_asked_.store(false, std::memory_order_relaxed);
  crawl_ = {};
  return true;
}

bool Store::Impl::StartCrawl() {
  const bool is_first = !crawl_asked_.exchange(true, std::memory_order_relaxed);
  WakeThreads();
  return is_first;
}

uint64_t Store::Impl::EpochsLeft() const {
  const uint64_t begun = epoch_.load(std::memory_order_relaxed);
  return kEpochs - 1 - (begun - swept_epoch_.load(std::memory_order_acquire));
}

void Store::Impl::BumpEpoch(OpContext& ctx, std::string_view prefix) {
  while (EpochsLeft() == 0) RunCrawler(ctx, kWholePass);
  const uint64_t next = epoch_.load(std::memory_order_relaxed) + 1;
  Flush& flush = flushes_[next & Item::kEpochMask];
  flush.prefix_bytes = static_cast<uint8_t>(prefix.copy(flush.prefix.data(), flush.prefix.size()));
  epoch_.store(next, std::memory_order_release);
}

bool Store::Impl::CrawlRound(OpContext& ctx) {
  const auto asked = [this] {
    return crawl_asked_.load(std::memory_order_relaxed) ||
           swept_epoch_.load(std::memory_order_relaxed) != epoch_.load(std::memory_order_relaxed);
  };
  // Also when it is switched off: flushes wait for it.
  const auto enabled = [this] {
    return tuning_.crawler.load(std::memory_order_relaxed) || EpochsLeft() < 2;
  };
  if (!enabled()) return false;
  if (!asked() && ctx.now < next_crawl_.load(std::memory_order_relaxed)) return false;
  crawling_.store(true, std::memory_order_relaxed);
  const bool watched = ctx.IsWatched(kSysEvents);
  const CrawlCounts counts = watched ? CountCrawled(*ctx.stats) : CrawlCounts{};
  const TimeMs began = ctx.now;
  const uint64_t first = crawled_items_.load(std::memory_order_relaxed);
  uint64_t checked = first;  // when the last slice ended
  for (auto cpu = ThreadCpu(); enabled() && !RunCrawler(ctx, kBucketsPerSlice); cpu = ThreadCpu()) {
    const uint64_t now_checked = crawled_items_.load(std::memory_order_relaxed);
    const uint32_t most = tuning_.crawler_tocrawl.load(std::memory_order_relaxed);
    if (most != 0 && now_checked - first >= most) break;
    std::chrono::microseconds rest{tuning_.crawler_sleep_us.load(std::memory_order_relaxed)};
    if (now_checked == checked) rest = {};
    if (!asked()) rest = std::max(rest, (ThreadCpu() - cpu) * kRestFactor);
    if (rest.count() != 0 && !Rest(rest)) break;
    checked = now_checked;
    ctx.now = clock_.NowMs();
  }
  crawling_.store(false, std::memory_order_relaxed);
  if (watched) {
    const CrawlCounts after = CountCrawled(*ctx.stats);
    const uint64_t examined = after.examined - counts.examined;
    const uint64_t reclaimed = after.reclaimed - counts.reclaimed;
    if (examined > 0) NoteCrawl(ctx, examined, reclaimed, Elapsed(began, clock_.NowMs()));
  }
  next_crawl_.store(ctx.now + kCrawlEveryMs, std::memory_order_relaxed);
  return true;
}

bool Store::Impl::Rest(std::chrono::microseconds time) {
  std::unique_lock<std::mutex> lock(stop_mutex_);
  return !stop_changed_.wait_for(lock, time, [this] { return stopping_; });
}

void Store::Impl::RunAll(OpContext& ctx) {
  ApplyPendingFlush(ctx);
  RunMaintainer(ctx);
  RunCrawler(ctx, kWholePass);
  RunPageMover(ctx);
}

void Store::Impl::WakeThreads() {
  {
    // Nobody is between looking and falling asleep.
    const std::lock_guard<std::mutex> lock(stop_mutex_);
    wakes_.fetch_add(1);
  }
  stop_changed_.notify_all();
}

void Store::Impl::ThreadMain(Round round, std::chrono::milliseconds busy_pause,
                             std::chrono::milliseconds idle_pause) {
  OpContext ctx{.stats = stats_.NewCell(), .now = clock_.NowMs()};
  if (options_.events != nullptr) ctx.events = options_.events->NewSink();
  std::chrono::milliseconds pause = busy_pause;
  std::unique_lock<std::mutex> lock(stop_mutex_);
  for (uint64_t wakes = 0; !stopping_;) {
    stop_changed_.wait_for(lock, pause, [&] { return stopping_ || wakes_.load() != wakes; });
    if (stopping_) return;
    lock.unlock();
    wakes = wakes_.load();
    ctx.Refresh(clock_.NowMs());
    ApplyPendingFlush(ctx);
    pause = (this->*round)(ctx) ? busy_pause : std::min(pause * 2, idle_pause);
    lock.lock();
  }
}

void Store::Impl::StartThreads() {
  const auto start = [this](const char* name, Round round, const Pauses& pauses) {
    threads_.emplace_back([=, this] { ThreadMain(round, pauses.busy, pauses.idle); });
    pthread_setname_np(threads_.back().native_handle(), name);
  };
  if (options_.maintainer) start("larder-lru", &Impl::RunMaintainer, kMaintainerPauses);
  start("larder-crawler", &Impl::CrawlRound, kCrawlerPauses);  // idle when it is not wanted
  start("larder-pages", &Impl::RunPageMover, kMoverPauses);
}

void Store::Impl::StopThreads() {
  {
    const std::lock_guard<std::mutex> lock(stop_mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace larder
