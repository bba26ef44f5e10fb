#include "protocol/memcache/session.h"

#include <memory>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/retrieval.h"
#include "protocol/memcache/session_base.h"
#include "protocol/memcache/storage.h"

namespace larder::memcache {
namespace {

using Kind = Unfinished::Kind;

class TextSession final : public SessionBase {
 public:
  TextSession(Store& store, OpContext& op, Host& host, const SessionOptions& options)
      : SessionBase(store, op, host, options) {}

 private:
  Step TakeStep(std::string_view input, ReplyBuffer& out) override;
  void GiveUpUpload() override;
  Step DoBatch(std::string_view input, ReplyBuffer& out);
  [[nodiscard]] CommandContext ContextFor(ReplyBuffer& out) {
    return {store_, op_, host_, options_, out, unfinished_, Key{}, 0};
  }
  static Outcome Execute(CommandContext& ctx, const Frame& frame);
  Step GoOnWithKeys(std::string_view input, ReplyBuffer& out);
  Step GoOnWithUpload(std::string_view input, ReplyBuffer& out);
  Step FinishUpload(std::string_view ending, size_t consumed, ReplyBuffer& out);
  Step GoOnSkipping(std::string_view input, ReplyBuffer& out);
  Step GoOnSkippingLine(std::string_view input, ReplyBuffer& out);
};

// 20,000 idle connections are to cost 400 bytes each, and the connection needs most of them.
static_assert(sizeof(TextSession) <= 192);

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

TextSession::Step TextSession::DoBatch(std::string_view input, ReplyBuffer& out) {
  CommandContext ctx = ContextFor(out);
  return RunBatch<Frame>(input, out, ReadFrame,
                         [&ctx](const Frame& frame, const Key& key, size_t& consumed) {
                           ctx.key = key;
                           ctx.consumed = consumed;
                           const Outcome outcome = Execute(ctx, frame);
                           consumed = ctx.consumed;
                           return outcome;
                         });
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
  const Step step = FillUpload(input);
  if (unfinished_.kind != Kind::kUpload || unfinished_.left > 0) return step;
  return FinishUpload(input.substr(step.consumed, kCrlf.size()), step.consumed, out);
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
  const Step step = Skip(input);
  if (!step.go_on) return step;
  if (!out.HasRoom()) return {step.consumed, SessionState::kOutputFull, false};
  out.Append(unfinished_.reply);
  unfinished_.End();
  return step;
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

}  // namespace

std::unique_ptr<Session> MakeSession(Store& store, OpContext& context, Host& host,
                                     const SessionOptions& options) {
  return std::make_unique<TextSession>(store, context, host, options);
}

}  // namespace larder::memcache
