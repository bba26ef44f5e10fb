// tests/scaling/line_counter.cc — answers the compiler's calls at each access to memory.

#include "tests/scaling/line_counter.h"

#include <pthread.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

extern "C" {
extern const char __executable_start;                        // NOLINT: the linker's
void* __real_memcpy(void* to, const void* from, size_t n);   // NOLINT
void* __real_memmove(void* to, const void* from, size_t n);  // NOLINT
void* __real_memset(void* to, int value, size_t n);          // NOLINT
}

namespace larder::scaling {
namespace {

constexpr size_t kLines = size_t{1} << 24;  // of the table
constexpr unsigned kLineShift = 6;
constexpr int kNobody = -1;

struct Line {
  uint64_t number = 0;      // address / 64; 0: free
  uint64_t holders = 0;     // a bit a worker
  uint64_t writers = 0;     // ever
  uint32_t batch = 0;       // the last one that wrote it while others do
  int32_t owner = kNobody;  // whose copy is newer than memory
};

class Counter {
 public:
  Counter() : lines_(static_cast<Line*>(std::calloc(kLines, sizeof(Line)))) {
    pthread_attr_t attributes;
    void* base = nullptr;
    size_t bytes = 0;
    if (lines_ == nullptr || pthread_getattr_np(pthread_self(), &attributes) != 0) std::abort();
    pthread_attr_getstack(&attributes, &base, &bytes);
    pthread_attr_destroy(&attributes);
    stack_ = reinterpret_cast<uint64_t>(base);
    stack_end_ = stack_ + bytes;
  }

  void Access(const void* address, size_t bytes, bool is_write, const void* place) {
    const auto at = reinterpret_cast<uint64_t>(address);
    // The workers' stacks are one here, and each its own in a server.
    if (worker == kNobody || bytes == 0 || (at >= stack_ && at < stack_end_)) return;
    for (uint64_t n = at >> kLineShift; n <= (at + bytes - 1) >> kLineShift; ++n) {
      Touch(LineOf(n), is_write, place);
    }
  }

  int worker = kNobody;
  uint32_t batch = 0;
  bool is_counting = false;
  std::unordered_map<uint64_t, PlaceCounts> places;

 private:
  Line& LineOf(uint64_t number) {
    for (size_t at = number * 0x9E3779B97F4A7C15ULL >> 40;; at = (at + 1) % kLines) {
      Line& line = lines_[at];
      if (line.number == number) return line;
      if (line.number != 0) continue;
      if (++used_ > kLines / 8 * 7) {
        std::fputs("scaling: more lines than the table holds\n", stderr);
        std::abort();
      }
      line.number = number;
      line.owner = kNobody;
      return line;
    }
  }

  void Touch(Line& line, bool is_write, const void* place) {
    const uint64_t me = uint64_t{1} << worker;
    const bool moves =
        is_write ? (line.holders & ~me) != 0
                 : line.owner != kNobody && line.owner != worker && (line.holders & me) == 0;
    if (is_write) {
      line.writers |= me;
      line.holders = me;
      line.owner = worker;
    } else {
      line.holders |= me;
      if (moves) line.owner = kNobody;
    }
    const bool is_shared = is_write && (line.writers & ~me) != 0 && line.batch != batch;
    if (is_shared) line.batch = batch;
    if (!is_counting || (!moves && !is_shared)) return;
    const auto from = reinterpret_cast<uint64_t>(&__executable_start);
    PlaceCounts& counts = places[reinterpret_cast<uint64_t>(place) - from];
    counts.shared_writes += is_shared ? 1 : 0;
    if (moves) ++(is_write ? counts.write_transfers : counts.read_transfers);
  }

  Line* lines_;
  size_t used_ = 0;
  uint64_t stack_ = 0;
  uint64_t stack_end_ = 0;
};

// Made by the first access that is followed, and never destroyed: accesses come until the end.
Counter& TheCounter() {
  static Counter* counter = new Counter;
  return *counter;
}

bool is_following = false;

void Note(const void* address, size_t bytes, bool is_write, const void* place) {
  if (is_following) TheCounter().Access(address, bytes, is_write, place);
}

}  // namespace

void BeginBatch(unsigned worker) {
  Counter& counter = TheCounter();
  counter.worker = static_cast<int>(worker);
  ++counter.batch;
  is_following = true;
}

void EndBatch() { is_following = false; }

void SetCounting(bool on) { TheCounter().is_counting = on; }

std::vector<PlaceCounts> Counted() {
  std::vector<PlaceCounts> all;
  for (const auto& [place, counts] : TheCounter().places) {
    all.push_back(counts);
    all.back().place = place;
  }
  return all;
}

}  // namespace larder::scaling

// NOLINTBEGIN: the names are the compiler's.
using larder::scaling::Note;
#define HERE __builtin_return_address(0)

#define ACCESS(size)                                                        \
  void __tsan_read##size(void* p) { Note(p, size, false, HERE); }           \
  void __tsan_write##size(void* p) { Note(p, size, true, HERE); }           \
  void __tsan_unaligned_read##size(void* p) { Note(p, size, false, HERE); } \
  void __tsan_unaligned_write##size(void* p) { Note(p, size, true, HERE); } \
  void __tsan_volatile_read##size(void* p) { Note(p, size, false, HERE); }  \
  void __tsan_volatile_write##size(void* p) { Note(p, size, true, HERE); }

#define FETCH(bits, T, name, builtin)                       \
  T __tsan_atomic##bits##_##name(volatile T* p, T v, int) { \
    Note(const_cast<T*>(p), sizeof(T), true, HERE);         \
    return builtin(p, v, __ATOMIC_SEQ_CST);                 \
  }

#define ATOMIC(bits, T)                                                                     \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                  \
    Note(const_cast<const T*>(p), sizeof(T), false, HERE);                                  \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                            \
  }                                                                                         \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) {                               \
    Note(const_cast<T*>(p), sizeof(T), true, HERE);                                         \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                               \
  }                                                                                         \
  FETCH(bits, T, exchange, __atomic_exchange_n)                                             \
  FETCH(bits, T, fetch_add, __atomic_fetch_add)                                             \
  FETCH(bits, T, fetch_sub, __atomic_fetch_sub)                                             \
  FETCH(bits, T, fetch_and, __atomic_fetch_and)                                             \
  FETCH(bits, T, fetch_or, __atomic_fetch_or)                                               \
  FETCH(bits, T, fetch_xor, __atomic_fetch_xor)                                             \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {   \
    Note(const_cast<T*>(p), sizeof(T), true, HERE);                                         \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                         \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* e, T v, int, int) {     \
    Note(const_cast<T*>(p), sizeof(T), true, HERE);                                         \
    return __atomic_compare_exchange_n(p, e, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** p, void*) { Note(p, sizeof(*p), true, HERE); }
void __tsan_vptr_read(void** p) { Note(p, sizeof(*p), false, HERE); }
void __tsan_read_range(void* p, unsigned long n) { Note(p, n, false, HERE); }
void __tsan_write_range(void* p, unsigned long n) { Note(p, n, true, HERE); }
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
void* __wrap_memcpy(void* to, const void* from, size_t n) {
  Note(from, n, false, HERE);
  Note(to, n, true, HERE);
  return __real_memcpy(to, from, n);
}
void* __wrap_memmove(void* to, const void* from, size_t n) {
  Note(from, n, false, HERE);
  Note(to, n, true, HERE);
  return __real_memmove(to, from, n);
}
void* __wrap_memset(void* to, int value, size_t n) {
  Note(to, n, true, HERE);
  return __real_memset(to, value, n);
}
}
// NOLINTEND
