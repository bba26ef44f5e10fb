#include "protocol/memcache/session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/retrieval.h"
#include "protocol/memcache/storage.h"
#include "protocol/memcache/unfinished.h"

namespace larder::memcache {
namespace {

using Kind = Unfinished::Kind;

// An upload that stood still for so long is given up when others wait for its memory.
constexpr TimeMs kStalledMs = 1000;

// Requests that are framed, and whose keys are fetched, before the first one is done.  Measured: 8
// to 24 are equally fast, with 64 the first items are on their way out when the last are there.
constexpr size_t kBatch = 16;

// The requests of one batch: 2.5 KB of stack, which is not touched but for what is used of it.
class Batch {
 public:
  Batch() {}  // NOLINT(modernize-use-equals-default): a union member that is not begun
  ~Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool full() const { return size_ == kBatch; }
  [[nodiscard]] const Frame& frame(size_t i) const { return frames_[i]; }
  // The frame's key; its bytes are empty when there is none.
  [[nodiscard]] Key key(size_t i) const { return {frames_[i].key, hashes_[i]}; }

  // A new frame behind the last one; it counts once Keep() was called.
  Frame& Next() { return *std::construct_at(&frames_[size_]); }
  void Keep(uint64_t hash) { hashes_[size_++] = hash; }

 private:
  static_assert(std::is_trivially_destructible_v<Frame>);
  union {
    std::array<Frame, kBatch> frames_;  // NOLINT(readability-identifier-naming): private like these
  };
  std::array<uint64_t, kBatch> hashes_;
  size_t size_ = 0;
};

class TextSession final : public Session {
 public:
  TextSession(Store& store, OpContext& op, Host& host, const SessionOptions& options)
      : store_(store), op_(op), host_(host), options_(options) {}

  Progress Consume(std::string_view input, ReplyBuffer& out) override;
  std::span<char> UploadBuffer() override;
  void Uploaded(size_t n) override;
  void Tick() override;
  [[nodiscard]] bool idle() const override {
    return !holds_input_ && unfinished_.kind == Kind::kNothing;
  }

 private:
  // How far one step got; `go_on` when the next step can follow at once.
  struct Step {
    size_t consumed = 0;
    SessionState state = SessionState::kNeedInput;
    bool go_on = false;
  };

  Step TakeStep(std::string_view input, ReplyBuffer& out);
  Step DoBatch(std::string_view input, ReplyBuffer& out);
  bool FrameBatch(std::string_view input, Batch& batch) const;
  void Prefetch(const Batch& batch) const;
  [[nodiscard]] CommandContext ContextFor(ReplyBuffer& out) {
    return {store_, op_, host_, options_, out, unfinished_, Key{}, 0};
  }
  static Outcome Execute(CommandContext& ctx, const Frame& frame);
  Step GoOnWithKeys(std::string_view input, ReplyBuffer& out);
  Step GoOnWithUpload(std::string_view input, ReplyBuffer& out);
  Step FinishUpload(std::string_view ending, size_t consumed, ReplyBuffer& out);
  Step GoOnSkipping(std::string_view input, ReplyBuffer& out);
  Step GoOnSkippingLine(std::string_view input, ReplyBuffer& out);
  void GiveUpUpload();

  Store& store_;
  OpContext& op_;
  Host& host_;
  const SessionOptions& options_;
  bool holds_input_ = false;  // the last Consume left bytes of an unfinished request
  Unfinished unfinished_;
};

// 20,000 idle connections are to cost 400 bytes each, and the connection needs most of them.
static_assert(sizeof(TextSession) <= 192);

Session::Progress TextSession::Consume(std::string_view input, ReplyBuffer& out) {
  size_t consumed = 0;
  Step step;
  do {
    step = TakeStep(input.substr(consumed), out);
    consumed += step.consumed;
  } while (step.go_on);
  holds_input_ = consumed < input.size();
  return {consumed, step.state};
}

TextSession::Step TextSession::TakeStep(std::string_view input, ReplyBuffer& out) {
  switch (unfinished_.kind) {
    case Kind::kNothing:
      return DoBatch(input, out);
    case Kind::kKeys:
      return GoOnWithKeys(input, out);
    case Kind::kUpload:
      return GoOnWithUpload(input, out);
    case Kind::kSkip:
      return GoOnSkipping(input, out);
    case Kind::kSkipLine:
      return GoOnSkippingLine(input, out);
    case Kind::kClosed:
      break;
  }
  return {input.size(), SessionState::kClosing, false};
}

// True when what is left of the input is not a whole frame.
bool TextSession::FrameBatch(std::string_view input, Batch& batch) const {
  while (!batch.full()) {
    Frame& frame = batch.Next();
    if (input.empty() || !ReadFrame(input, frame)) return true;
    input.remove_prefix(frame.bytes);
    batch.Keep(frame.key.empty() ? 0 : store_.MakeKey(frame.key).hash);
    if (frame.ends_batch()) return false;
  }
  return false;
}

// The buckets of all keys first, then the items behind them, so that their cache misses overlap.
void TextSession::Prefetch(const Batch& batch) const {
  if (batch.size() < 2) return;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch.frame(i).key.empty()) store_.PrefetchBucket(batch.key(i));
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch.frame(i).key.empty()) store_.PrefetchItem(batch.key(i));
  }
}

TextSession::Step TextSession::DoBatch(std::string_view input, ReplyBuffer& out) {
  Batch batch;
  const bool input_done = FrameBatch(input, batch);
  Prefetch(batch);
  CommandContext ctx = ContextFor(out);
  size_t at = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!out.HasRoom()) return {at, SessionState::kOutputFull, false};
    const Frame& frame = batch.frame(i);
    ctx.key = batch.key(i);
    ctx.consumed = frame.bytes;
    switch (Execute(ctx, frame)) {
      case Outcome::kDone:
        at += frame.bytes;
        break;
      case Outcome::kUnfinished:
        return {at + ctx.consumed, SessionState::kNeedInput, true};
      case Outcome::kOutputFull:
        return {at + ctx.consumed, SessionState::kOutputFull, false};
      case Outcome::kWaiting:
        return {at, SessionState::kWaiting, false};
      case Outcome::kClose:
        unfinished_.kind = Kind::kClosed;
        return {input.size(), SessionState::kClosing, false};
    }
  }
  return {at, SessionState::kNeedInput, !input_done};
}

Outcome TextSession::Execute(CommandContext& ctx, const Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kWords:
    case FrameKind::kKeys:
    case FrameKind::kValue:
    case FrameKind::kLargeValue:
    case FrameKind::kOpenKeys:
      return frame.command->handler(ctx, frame);
    case FrameKind::kUnknown:
      if (!frame.noreply) ctx.out.Append(kError);
      return Outcome::kDone;
    case FrameKind::kLostLine:
      ctx.unfinished.BeginSkipLine(frame.refusal);
      return Outcome::kUnfinished;
    case FrameKind::kRefused:
      if (frame.value_bytes > 0) {
        ctx.unfinished.BeginSkip(frame.value_bytes,
                                 frame.noreply ? std::string_view() : frame.refusal);
        return Outcome::kUnfinished;
      }
      if (!frame.noreply) ctx.out.Append(frame.refusal);
      return Outcome::kDone;
    case FrameKind::kClose:
      break;
  }
  return Outcome::kClose;
}

TextSession::Step TextSession::GoOnWithKeys(std::string_view input, ReplyBuffer& out) {
  CommandContext ctx = ContextFor(out);
  const WalkResult result = AnswerKeys(ctx, unfinished_.keys, input);
  switch (result.end) {
    case WalkEnd::kLineDone:
      unfinished_.End();
      return {result.consumed, SessionState::kNeedInput, true};
    case WalkEnd::kOutputFull:
      return {result.consumed, SessionState::kOutputFull, false};
    case WalkEnd::kNeedInput:
      return {result.consumed, SessionState::kNeedInput, false};
    case WalkEnd::kBadKey:
      break;
  }
  // The keys before it were answered already (see framer.h).
  if (!out.HasRoom()) return {result.consumed, SessionState::kOutputFull, false};
  out.Append(kBadFormat);
  unfinished_.BeginSkipLine({});
  return {result.consumed, SessionState::kNeedInput, true};
}

TextSession::Step TextSession::GoOnWithUpload(std::string_view input, ReplyBuffer& out) {
  size_t consumed = 0;
  while (unfinished_.left > 0) {
    const std::span<char> room = UploadBuffer();
    if (room.empty()) {
      GiveUpUpload();
      return {consumed, SessionState::kNeedInput, true};
    }
    const std::string_view piece = input.substr(consumed, room.size());
    if (piece.empty()) return {consumed, SessionState::kUploading, false};
    std::memcpy(room.data(), piece.data(), piece.size());
    Uploaded(piece.size());
    consumed += piece.size();
  }
  return FinishUpload(input.substr(consumed, kCrlf.size()), consumed, out);
}

TextSession::Step TextSession::FinishUpload(std::string_view ending, size_t consumed,
                                            ReplyBuffer& out) {
  if (ending.size() < kCrlf.size()) return {consumed, SessionState::kNeedInput, false};
  if (!out.HasRoom()) return {consumed, SessionState::kOutputFull, false};
  std::string_view reply = kBadChunk;
  if (ending == kCrlf) {
    const StoreResult result = store_.FinishUpload(op_, std::move(unfinished_.upload));
    // It was measured when it began.
    reply = unfinished_.joins ? JoinReply(result, /*fits_alone=*/true) : StoreReply(result);
  }
  if (!unfinished_.noreply) out.Append(reply);
  unfinished_.End();
  return {consumed + kCrlf.size(), SessionState::kNeedInput, true};
}

TextSession::Step TextSession::GoOnSkipping(std::string_view input, ReplyBuffer& out) {
  const size_t n = std::min(unfinished_.left, input.size());
  unfinished_.left -= n;
  if (unfinished_.left > 0) return {n, SessionState::kNeedInput, false};
  if (!out.HasRoom()) return {n, SessionState::kOutputFull, false};
  out.Append(unfinished_.reply);
  unfinished_.End();
  return {n, SessionState::kNeedInput, true};
}

TextSession::Step TextSession::GoOnSkippingLine(std::string_view input, ReplyBuffer& out) {
  const size_t newline = input.find('\n');
  if (newline == std::string_view::npos) return {input.size(), SessionState::kNeedInput, false};
  // The line end is left where it is until its answer fits.
  if (!out.HasRoom()) return {newline, SessionState::kOutputFull, false};
  out.Append(unfinished_.reply);
  unfinished_.End();
  return {newline + 1, SessionState::kNeedInput, true};
}

void TextSession::GiveUpUpload() {
  unfinished_.BeginSkip(unfinished_.left + kCrlf.size(),
                        unfinished_.noreply ? std::string_view() : kNoMemoryReading);
}

std::span<char> TextSession::UploadBuffer() {
  if (unfinished_.kind != Kind::kUpload || unfinished_.left == 0) return {};
  const std::span<char> room = unfinished_.upload->Buffer(op_);
  if (unfinished_.upload->failed()) return {};
  return room.first(std::min(room.size(), unfinished_.left));
}

void TextSession::Uploaded(size_t n) {
  unfinished_.upload->Advance(n);
  unfinished_.left -= n;
  unfinished_.progress_at = op_.now;
}

void TextSession::Tick() {
  if (unfinished_.kind != Kind::kUpload || !store_.UploadsWaiting()) return;
  if (op_.now < unfinished_.progress_at + kStalledMs) return;
  GiveUpUpload();
}

}  // namespace

std::unique_ptr<Session> MakeSession(Store& store, OpContext& context, Host& host,
                                     const SessionOptions& options) {
  return std::make_unique<TextSession>(store, context, host, options);
}

}  // namespace larder::memcache
