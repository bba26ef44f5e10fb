// server/event_loop.h — libevent's base and events as types that clean up after themselves.
//
// Threads: a base and its events belong to the thread that runs the loop; they are made without
// locks, so nobody else may touch them (another thread wakes the loop through an eventfd).

#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

#include "server/endpoint.h"

namespace larder::server {

struct EventBaseDeleter {
  void operator()(event_base* base) const { event_base_free(base); }
};
using EventBase = std::unique_ptr<event_base, EventBaseDeleter>;

// Null when the system is out of memory or descriptors.
inline EventBase MakeEventBase() {
  event_config* config = event_config_new();
  if (config == nullptr) return nullptr;
  (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
  EventBase base(event_base_new_with_config(config));
  event_config_free(config);
  return base;
}

// One event; disarmed by its destructor.  Does not move: libevent points into it.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { Disarm(); }

  // Disarms, and is for `fd` (-1: only a timer) from now on.
  void Assign(event_base* base, int fd, short what, event_callback_fn callback, void* arg) {
    Disarm();
    event_assign(&event_, base, fd, what, callback, arg);
    assigned_ = true;
  }
  // False when the kernel refuses.
  bool Arm() { return event_add(&event_, nullptr) == 0; }
  bool ArmTimer(uint64_t ms) {
    const timeval after{static_cast<time_t>(ms / 1000), static_cast<suseconds_t>(ms % 1000 * 1000)};
    return event_add(&event_, &after) == 0;
  }
  void Disarm() {
    if (assigned_) event_del(&event_);
  }

 private:
  event event_{};
  bool assigned_ = false;
};

// Wakes a loop from another thread.
class Wakeup {
 public:
  Wakeup() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Any thread, also a signal handler.
  void Signal() const {
    const uint64_t one = 1;
    // Full means that it is already signalled.
    [[maybe_unused]] const ssize_t n = write(fd_.get(), &one, sizeof(one));
  }
  void Acknowledge() const {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = read(fd_.get(), &count, sizeof(count));
  }

 private:
  UniqueFd fd_;
};

}  // namespace larder::server
