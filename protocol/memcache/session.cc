#include "protocol/memcache/session.h"

#include <memory>

#include "protocol/memcache/command.h"
#include "protocol/memcache/framer.h"
#include "protocol/memcache/meta.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/retrieval.h"
#include "protocol/memcache/session_base.h"
#include "protocol/memcache/storage.h"
#include "protocol/memcache/text_login.h"

namespace larder::memcache {
namespace {

using Kind = Unfinished::Kind;

// Without its end.
std::string_view FirstLine(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

class TextSession final : public SessionBase {
 public:
  TextSession(Store& store, OpContext& op, Host& host, const SessionOptions& options)
      : SessionBase(store, op, host, options), is_admitted_(options.authenticator == nullptr) {}

 private:
  Step TakeStep(std::string_view input, ReplyBuffer& out) override;
  void GiveUpUpload() override;
  Step GoOnWithLogin(std::string_view input, ReplyBuffer& out);
  Step DoBatch(std::string_view input, ReplyBuffer& out);
  [[nodiscard]] CommandContext ContextFor(ReplyBuffer& out) {
    return {store_, op_, host_, options_, out, unfinished_, Key{}, 0};
  }
  static Outcome Execute(CommandContext& ctx, const Frame& frame);
  static Outcome Refuse(CommandContext& ctx, const Frame& frame);
  Step GoOnWithKeys(std::string_view input, ReplyBuffer& out);
  Step GoOnWithUpload(std::string_view input, ReplyBuffer& out);
  Step FinishUpload(std::string_view ending, size_t consumed, ReplyBuffer& out);
  Step GoOnSkipping(std::string_view input, ReplyBuffer& out);
  Step GoOnReplying(ReplyBuffer& out);
  Step GoOnSkippingLine(std::string_view input, ReplyBuffer& out);
  Step GoOnWatching(std::string_view input, ReplyBuffer& out);
  // Execute, for those who watch the conversation.
  Outcome ExecuteWatched(CommandContext& ctx, const Frame& frame, std::string_view request);

  bool is_admitted_;  // or there is no need to be
  uint8_t login_failures_ = 0;
};

// 20,000 idle connections are to cost 400 bytes each, and the connection needs most of them.
static_assert(sizeof(TextSession) <= 120);

TextSession::Step TextSession::TakeStep(std::string_view input, ReplyBuffer& out) {
  switch (unfinished_.kind) {
    case Kind::kNothing:
      // The one gate: behind it are all commands, before it is none.
      return is_admitted_ ? DoBatch(input, out) : GoOnWithLogin(input, out);
    case Kind::kKeys:
      return GoOnWithKeys(input, out);
    case Kind::kUpload:
      return GoOnWithUpload(input, out);
    case Kind::kSkip:
      return GoOnSkipping(input, out);
    case Kind::kSkipLine:
      return GoOnSkippingLine(input, out);
    case Kind::kFeed:
      return GoOnWatching(input, out);
    case Kind::kLongReply:
      return GoOnReplying(out);
    case Kind::kClosed:
      break;
  }
  return {input.size(), SessionState::kClosing, false};
}

TextSession::Step TextSession::GoOnReplying(ReplyBuffer& out) {
  switch (unfinished_.long_reply().GoOn(store_, op_, out)) {
    case LongReply::Progress::kDone:
      unfinished_.End();
      return {0, SessionState::kNeedInput, true};
    case LongReply::Progress::kOutputFull:
      return {0, SessionState::kOutputFull, false};
    case LongReply::Progress::kLater:
      break;
  }
  return {0, SessionState::kWaiting, false};
}

TextSession::Step TextSession::GoOnWithLogin(std::string_view input, ReplyBuffer& out) {
  if (!out.HasRoom()) return {0, SessionState::kOutputFull, false};
  const LoginResult result = TryLogin(input, *options_.authenticator, op_, login_failures_, out);
  is_admitted_ = result.is_admitted;
  if (result.is_over) {
    unfinished_.kind = Kind::kClosed;
    return {input.size(), SessionState::kClosing, false};
  }
  return {result.consumed, SessionState::kNeedInput, result.go_on};
}

TextSession::Step TextSession::DoBatch(std::string_view input, ReplyBuffer& out) {
  CommandContext ctx = ContextFor(out);
  return RunBatch<Frame>(
      input, out, ReadFrame, [&](const Frame& frame, const Key& key, size_t at, size_t& consumed) {
        ctx.key = key;
        ctx.consumed = consumed;
        const Outcome outcome = op_.IsWatched(kRawCommands | kConversation)
                                    ? ExecuteWatched(ctx, frame, input.substr(at))
                                    : Execute(ctx, frame);
        consumed = ctx.consumed;
        return outcome;
      });
}

inline Outcome TextSession::Execute(CommandContext& ctx, const Frame& frame) {
  return frame.kind <= kLastHandled ? frame.command->handler(ctx, frame) : Refuse(ctx, frame);
}

// Whatever no command's handler answers.
Outcome TextSession::Refuse(CommandContext& ctx, const Frame& frame) {
  switch (frame.kind) {
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
    case FrameKind::kWords:
    case FrameKind::kKeys:
    case FrameKind::kValue:
    case FrameKind::kLargeValue:
    case FrameKind::kOpenKeys:  // their handler's
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
  if (ending == kCrlf) {
    StoreAnswer answer;
    StoreResult result = store_.FinishUpload(op_, std::move(unfinished_.upload()), &answer);
    // It was measured when it began.
    if (unfinished_.joins) result = JoinResult(result, /*fits_alone=*/true);
    if (unfinished_.meta_line != nullptr) {
      CommandContext ctx = ContextFor(out);
      AnswerMetaUpload(ctx, *unfinished_.meta_line, result, answer);
    } else if (!unfinished_.noreply) {
      out.Append(StoreReply(result));
    }
  } else if (!unfinished_.noreply) {
    out.Append(kBadChunk);
  }
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

// What the client says is not listened to any more; only that it leaves.
TextSession::Step TextSession::GoOnWatching(std::string_view input, ReplyBuffer& out) {
  if (out.empty()) {
    if (std::string text = unfinished_.feed().Take(); !text.empty()) {
      out.AppendOwned(std::move(text));
    }
  }
  return {input.size(), SessionState::kWatching, false};
}

Outcome TextSession::ExecuteWatched(CommandContext& ctx, const Frame& frame,
                                    std::string_view request) {
  op_.events->Note(kRawCommands | kConversation,
                   {.kind = EventKind::kCommand, .client = op_.client}, FirstLine(request));
  const char* const before = ctx.out.Reserve();
  const Outcome outcome = Execute(ctx, frame);
  const std::string_view reply(before, static_cast<size_t>(ctx.out.Reserve() - before));
  if (!reply.empty() && op_.IsWatched(kConversation)) {
    op_.events->Note(kConversation, {.kind = EventKind::kReply, .client = op_.client},
                     FirstLine(reply));
  }
  return outcome;
}

void TextSession::GiveUpUpload() {
  unfinished_.BeginSkip(size_t{unfinished_.left} + kCrlf.size(),
                        unfinished_.noreply ? std::string_view() : kNoMemoryReading);
}

}  // namespace

std::unique_ptr<Session> MakeSession(Store& store, OpContext& context, Host& host,
                                     const SessionOptions& options) {
  return std::make_unique<TextSession>(store, context, host, options);
}

}  // namespace larder::memcache
