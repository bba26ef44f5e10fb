// protocol/memcache/session_base.h — what the sessions of both dialects share: they go on in steps,
// and take large values straight into their items.
//
// Owner: a connection.  Threads: its worker.

#pragma once

#include <span>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/batch.h"
#include "protocol/memcache/command.h"
#include "protocol/memcache/host.h"
#include "protocol/memcache/session.h"
#include "protocol/memcache/unfinished.h"
#include "protocol/session.h"

namespace larder::memcache {

class SessionBase : public Session {
 public:
  Progress Consume(std::string_view input, ReplyBuffer& out) final;
  std::span<char> UploadBuffer() final;
  void Uploaded(size_t n) final;
  void Tick() final;
  [[nodiscard]] bool idle() const final {
    return !holds_input_ && unfinished_.kind == Unfinished::Kind::kNothing;
  }

 protected:
  // How far one step got; `go_on` when the next step can follow at once.
  struct Step {
    size_t consumed = 0;
    SessionState state = SessionState::kNeedInput;
    bool go_on = false;
  };

  SessionBase(Store& store, OpContext& op, Host& host, const SessionOptions& options)
      : store_(store), op_(op), host_(host), options_(options) {}

  // Does what `unfinished_` says is next.
  virtual Step TakeStep(std::string_view input, ReplyBuffer& out) = 0;
  // The upload cannot go on: what is still to come of it is to be skipped.
  virtual void GiveUpUpload() = 0;

  // Frames as many requests as make a batch, fetches their keys, and does them.
  // `read(input, frame)` is false when more bytes must come first; `execute(frame, key, at,
  // consumed)` may lower `consumed`, which is the frame's bytes from `at` on.
  template <typename FrameType, typename Read, typename Execute>
  Step RunBatch(std::string_view input, ReplyBuffer& out, Read&& read, Execute&& execute);

  // Moves the front of `input` into the upload; `unfinished_.left` is 0 once all of it is there.
  Step FillUpload(std::string_view input);
  // Drops bytes that nobody wants; `unfinished_.left` is 0 once all are gone.
  Step Skip(std::string_view input);

  // NOLINTBEGIN(misc-non-private-member-variables-in-classes): for the two sessions only
  Store& store_;
  OpContext& op_;
  Host& host_;
  const SessionOptions& options_;
  Unfinished unfinished_;
  // NOLINTEND(misc-non-private-member-variables-in-classes)

 private:
  bool holds_input_ = false;  // the last Consume left bytes of an unfinished request
};

template <typename FrameType, typename Read, typename Execute>
SessionBase::Step SessionBase::RunBatch(std::string_view input, ReplyBuffer& out, Read&& read,
                                        Execute&& execute) {
  Batch<FrameType> batch;
  bool is_input_done = false;
  for (std::string_view rest = input; !batch.full();) {
    FrameType& frame = batch.Next();
    is_input_done = rest.empty() || !read(rest, frame);
    if (is_input_done) break;
    rest.remove_prefix(frame.bytes);
    batch.Keep();
    if (frame.ends_batch()) break;
  }
  batch.Prepare(store_);
  size_t at = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!out.HasRoom()) return {at, SessionState::kOutputFull, false};
    size_t consumed = batch.frame(i).bytes;
    switch (execute(batch.frame(i), batch.key(i), at, consumed)) {
      case Outcome::kDone:
        at += consumed;
        break;
      case Outcome::kUnfinished:
        return {at + consumed, SessionState::kNeedInput, true};
      case Outcome::kOutputFull:
        return {at + consumed, SessionState::kOutputFull, false};
      case Outcome::kWaiting:
        return {at, SessionState::kWaiting, false};
      case Outcome::kClose:
        unfinished_.kind = Unfinished::Kind::kClosed;
        return {input.size(), SessionState::kClosing, false};
    }
  }
  return {at, SessionState::kNeedInput, !is_input_done};
}

}  // namespace larder::memcache
