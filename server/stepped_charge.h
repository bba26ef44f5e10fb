// server/stepped_charge.h — a figure that changes all the time, told to others in steps.
//
// Owner: one worker, its only thread.

#pragma once

#include <cstdint>

namespace larder::server {

class SteppedCharge {
 public:
  static constexpr int64_t kStep = 64 << 10;

  // What is to be told now: 0 while it is little, but all of it when nothing is left.
  [[nodiscard]] int64_t Add(int64_t bytes) {
    bytes_ += bytes;
    const int64_t change = bytes_ - told_;
    if (change < kStep && change > -kStep && bytes_ != 0) return 0;
    told_ = bytes_;
    return change;
  }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
  int64_t told_ = 0;
};

}  // namespace larder::server
