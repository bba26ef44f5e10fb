// tools/bench/requests.h — the next request of the load, as bytes to send and a reply to expect.
//
// Threads: a RequestWriter belongs to one thread; the KeySpace is shared and read-only.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/keys.h"
#include "tools/bench/options.h"
#include "tools/bench/out_buffer.h"

namespace larder::bench {

// A reply that is due.
struct Pending {
  uint64_t due_ns;  // when the request was, or should have been, sent
  Op op;
  uint32_t keys;      // in this request
  uint32_t requests;  // 1, and the noreply stores that went before
};

class RequestWriter {
 public:
  RequestWriter(const Options& options, const KeySpace& key_space, uint64_t seed,
                std::atomic<uint64_t>* sequence);

  // Appends one request to `*out`; due_ns is left to the caller.
  Pending Append(OutBuffer* out, bool is_noreply);

  // True when the op mix is made of stores only, so that a batch can go with noreply.
  [[nodiscard]] bool only_stores() const { return only_stores_; }

 private:
  Op PickOp();
  void AppendStore(OutBuffer* out, Op op, bool is_noreply);

  const KeySpace& key_space_;
  IndexSource indexes_;
  Random random_;
  std::vector<WeightedOp> mix_;
  uint32_t total_weight_ = 0;
  uint32_t multiget_;
  bool only_stores_ = true;
  std::string store_tail_;  // " 0 <exptime> " of a classic store
  std::string meta_ttl_;    // " T<exptime>" of a meta set, or nothing
  std::string touch_tail_;  // " <exptime>\r\n"
};

}  // namespace larder::bench
