// core/memory/page_pool.h — the arena, and which of its pages are in use.
//
// Owner: Store::Impl.  Threads: any; mutex_ guards the free list.  Locks: rank kPool.
// Memory: one reservation of address space; a page costs memory once it is touched, and gives it
// back to the system in ReleaseExcess().  The index and what clients take are charged to the same
// limit, but for a small share of it.
//
// With a memory file the pages are the file's, and a page's room on its file
// system is taken before the page is handed out: a full file system is a pool that is dry, never a
// SIGBUS.  Room is left there for what a stop saves besides: the index and FILE.meta.  The limit
// cannot be raised then.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/mutex.h"
#include "core/memory/chunk.h"
#include "core/memory/client_memory.h"

namespace larder {

class PagePool {
 public:
  struct Options {
    uint64_t limit_bytes = 0;
    bool preallocate = false;  // touch every page at once, on huge pages where there are some
    bool lock = false;         // keep pages in memory (mlock)
    int file = -1;             // memory file of FileBytes(); borrowed
  };
  static constexpr uint64_t kUnchargedShare = 60;             // of the limit, one part in so many
  static constexpr uint64_t kLeastBytes = uint64_t{8} << 20;  // of pages, whatever the limit

  // What a memory file for that limit is long; the limit cannot grow beyond it.
  [[nodiscard]] static uint64_t FileBytes(uint64_t limit_bytes);

  // Reserves address space; ends the process with a message when there is none.
  explicit PagePool(const Options& options);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  [[nodiscard]] const ChunkSpace& space() const { return space_; }
  [[nodiscard]] size_t page_bytes() const { return space_.page_bytes(); }
  // Page indexes are below this.
  [[nodiscard]] size_t capacity() const { return capacity_; }

  // No page above this one was ever handed out.
  [[nodiscard]] PageIndex highest_page() const { return highest_.load(std::memory_order_relaxed); }

  // The pages that hold something from before, ascending; the others are as if never used.
  // `has_holes`: their room has to be taken again.  REQUIRES: the first call, on a pool with a
  // file. False: no memory.
  [[nodiscard]] bool Adopt(const std::vector<PageIndex>& used, bool has_holes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes Adopt() back: every page is as if never used.
  void Abandon() ABSL_LOCKS_EXCLUDED(mutex_);
  // What Options::preallocate asks for; does nothing without.
  void Preallocate() ABSL_LOCKS_EXCLUDED(mutex_);

  // A page to cut up; kNoPage at the limit.
  [[nodiscard]] PageIndex Acquire() ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(PageIndex page) ABSL_LOCKS_EXCLUDED(mutex_);

  // What the store takes besides pages: so many bytes more, or fewer.  Moves the limit for pages.
  void Charge(int64_t bytes) {
    charged_bytes_.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed);
  }
  void SetLimit(uint64_t limit_bytes) {
    limit_bytes_.store(limit_bytes, std::memory_order_relaxed);
    clients_.SetLimit(limit_bytes);
  }
  // What clients take now; moves the limit for pages too.
  [[nodiscard]] ClientMemory& clients() { return clients_; }
  [[nodiscard]] const ClientMemory& clients() const { return clients_; }
  [[nodiscard]] uint64_t limit_bytes() const {
    return limit_bytes_.load(std::memory_order_relaxed);
  }
  // Pages that may be backed by memory at present.
  [[nodiscard]] size_t LimitPages() const;
  // Pages in use by classes or free in the pool.
  [[nodiscard]] size_t backed_pages() const { return backed_.load(std::memory_order_relaxed); }
  [[nodiscard]] size_t free_pages() const { return free_count_.load(std::memory_order_relaxed); }
  // How many pages the classes hold above the limit: so many must be taken from them.
  [[nodiscard]] size_t ExcessPages() const;
  // Where the file system was found full: whether it still is.
  void LookForRoom();
  // Gives free pages above the limit back to the system.
  void ReleaseExcess() ABSL_LOCKS_EXCLUDED(mutex_);
  // With a file: has the system lay some more of the pages in use out as its own huge pages, if it
  // can, and says whether there were any.  Takes milliseconds; for a background thread, which also
  // calls ReleaseExcess().
  bool JoinPages() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  [[nodiscard]] bool has_file() const { return options_.file >= 0; }
  // Makes the page usable: accessible, and with room in the file.
  bool Open(PageIndex page);
  // Whether the file system has room for one more page, and for what a stop saves besides.
  [[nodiscard]] bool HasRoom() const;
  void NoteNoRoom() {
    room_bytes_.store(
        backed_pages() * page_bytes() + charged_bytes_.load(std::memory_order_relaxed),
        std::memory_order_relaxed);
  }
  // The next pages to join, as many as go at once; moves next_join_ behind them.
  struct Range {
    PageIndex first = 0;
    size_t count = 0;
  };
  Range TakeJoinable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives their memory back to the system.
  void GiveBack(PageIndex page, size_t count);

  const Options options_;
  char* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  size_t capacity_ = 0;
  ChunkSpace space_;
  std::atomic<uint64_t> limit_bytes_;
  std::atomic<uint64_t> charged_bytes_{0};
  ClientMemory clients_;
  std::atomic<size_t> backed_{0};
  std::atomic<size_t> free_count_{0};
  std::atomic<PageIndex> highest_{0};
  // With a file: how many bytes of pages and index its file system had room for, once it refused a
  // page.
  std::atomic<uint64_t> room_bytes_{UINT64_MAX};

  Mutex<LockRank::kPool> mutex_;
  std::vector<PageIndex> free_ ABSL_GUARDED_BY(mutex_);      // backed
  std::vector<PageIndex> unbacked_ ABSL_GUARDED_BY(mutex_);  // were used once, now given back
  PageIndex next_fresh_ ABSL_GUARDED_BY(mutex_) = 1;
  PageIndex next_join_ ABSL_GUARDED_BY(mutex_) = 0;  // pages before it were joined, or cannot be
  unsigned join_failures_ = 0;                       // in a row; of the thread that joins
};

}  // namespace larder
