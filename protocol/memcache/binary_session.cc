#include <algorithm>
#include <array>
#include <memory>

#include "core/base/digits.h"
#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/binary_reply.h"
#include "protocol/memcache/binary_storage.h"
#include "protocol/memcache/session.h"
#include "protocol/memcache/session_base.h"

namespace larder::memcache {
namespace {

using Kind = Unfinished::Kind;

// A line for those who watch requests: "binary", and words cut off where it is full.
class WatchedLine {
 public:
  WatchedLine() { Add("binary"); }
  void Add(std::string_view word) {
    if (size_ > 0 && size_ < room_.size()) room_[size_++] = ' ';
    const size_t bytes = std::min(word.size(), room_.size() - size_);
    std::copy_n(word.data(), bytes, room_.data() + size_);
    size_ += bytes;
  }
  void AddCode(uint16_t code) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::array<char, 6> word{'0', 'x'};
    for (size_t i = 0; i < 4; ++i) word[i + 2] = kHex[code >> (12 - 4 * i) & 15];
    Add({word.data(), word.size()});
  }
  [[nodiscard]] std::string_view text() const { return {room_.data(), size_}; }

 private:
  std::array<char, 320> room_;  // a key, and what is said of it
  size_t size_ = 0;
};

class BinarySession final : public SessionBase {
 public:
  BinarySession(Store& store, OpContext& op, Host& host, const SessionOptions& options)
      : SessionBase(store, op, host, options) {
    login_.is_admitted = options.authenticator == nullptr;
  }

 private:
  Step TakeStep(std::string_view input, ReplyBuffer& out) override;
  void GiveUpUpload() override;
  Step DoBatch(std::string_view input, ReplyBuffer& out);
  static Outcome Execute(BinaryContext& ctx, const BinaryFrame& frame);
  Outcome ExecuteWatched(BinaryContext& ctx, const BinaryFrame& frame);
  Step GoOnWithUpload(std::string_view input, ReplyBuffer& out);
  Step GoOnSkipping(std::string_view input, ReplyBuffer& out);

  // In this order there are no holes between them.
  Login login_;
  PendingReply pending_;  // what unfinished_ will be answered with
  std::unique_ptr<SaslExchange> exchange_;
};

// Malloc takes 144 bytes for it, and 128 for a TextSession.
static_assert(sizeof(BinarySession) <= 136);

BinarySession::Step BinarySession::TakeStep(std::string_view input, ReplyBuffer& out) {
  switch (unfinished_.kind) {
    case Kind::kNothing:
      return DoBatch(input, out);
    case Kind::kUpload:
      return GoOnWithUpload(input, out);
    case Kind::kSkip:
      return GoOnSkipping(input, out);
    case Kind::kKeys:  // none of these is begun by this protocol
    case Kind::kFeed:
    case Kind::kLongReply:
    case Kind::kSkipLine:
    case Kind::kClosed:
      break;
  }
  return {input.size(), SessionState::kClosing, false};
}

BinarySession::Step BinarySession::DoBatch(std::string_view input, ReplyBuffer& out) {
  BinaryContext ctx{store_,      op_,      host_,  options_,  out,
                    unfinished_, pending_, login_, exchange_, Key{}};
  return RunBatch<BinaryFrame>(
      input, out, ReadBinaryFrame, [&](const BinaryFrame& frame, const Key& key, size_t, size_t&) {
        ctx.key = key;
        return op_.IsWatched(kRawCommands | kConversation) ? ExecuteWatched(ctx, frame)
                                                           : Execute(ctx, frame);
      });
}

// Tells the request's opcode, key and size of its value, but no value: it may be a password.
Outcome BinarySession::ExecuteWatched(BinaryContext& ctx, const BinaryFrame& frame) {
  WatchedLine request;
  if (frame.command != nullptr) {
    request.Add(frame.command->name);
  } else {
    request.AddCode(frame.opcode);
  }
  if (!frame.key.empty()) request.Add(frame.key);
  const size_t value_bytes = std::max(frame.value.size(), frame.value_bytes);
  if (value_bytes > 0) request.Add(Digits(value_bytes).text());
  op_.events->Note(kRawCommands | kConversation,
                   {.kind = EventKind::kCommand, .client = op_.client}, request.text());
  const char* const before = ctx.out.Reserve();
  const Outcome outcome = Execute(ctx, frame);
  const std::string_view reply(before, static_cast<size_t>(ctx.out.Reserve() - before));
  if (reply.size() >= kBinaryHeaderBytes && op_.IsWatched(kConversation)) {
    WatchedLine line;
    const auto byte = [&](size_t at) { return static_cast<unsigned char>(reply[at]); };
    line.AddCode(static_cast<uint16_t>(byte(6) << 8 | byte(7)));
    op_.events->Note(kConversation, {.kind = EventKind::kReply, .client = op_.client}, line.text());
  }
  return outcome;
}

Outcome BinarySession::Execute(BinaryContext& ctx, const BinaryFrame& frame) {
  if (frame.kind == BinaryFrameKind::kClose) return Outcome::kClose;
  // The one gate: whatever is not marked as harmless stays outside.
  const bool is_harmless = frame.command != nullptr && (frame.command->flags & kBeforeLogin) != 0;
  if (!ctx.login.is_admitted && !is_harmless) {
    Reply(ctx.out, frame, Status::kAuthFailure);
    return Outcome::kClose;
  }
  switch (frame.kind) {
    case BinaryFrameKind::kRequest:
    case BinaryFrameKind::kLargeValue:
      if (frame.command == nullptr) break;  // it has a row: the framer knows no other
      return frame.command->handler(ctx, frame);
    case BinaryFrameKind::kUnknown:
      if (frame.value_bytes == 0) {
        Reply(ctx.out, frame, Status::kUnknownCommand);
        return Outcome::kDone;
      }
      ctx.pending = {frame.opaque, Status::kUnknownCommand, frame.opcode};
      ctx.unfinished.BeginSkip(frame.value_bytes, {});
      return Outcome::kUnfinished;
    case BinaryFrameKind::kRefused:
      Reply(ctx.out, frame, frame.refusal);
      break;
    case BinaryFrameKind::kClose:
      break;
  }
  return Outcome::kClose;
}

BinarySession::Step BinarySession::GoOnWithUpload(std::string_view input, ReplyBuffer& out) {
  const Step step = FillUpload(input);
  if (unfinished_.kind != Kind::kUpload || unfinished_.left > 0) return step;
  if (!out.HasRoom()) return {step.consumed, SessionState::kOutputFull, false};
  StoreAnswer answer;
  const StoreResult result = store_.FinishUpload(op_, std::move(unfinished_.upload()), &answer);
  const BinarySpec* command = FindBinaryCommand(pending_.opcode);
  const bool is_quiet = command != nullptr && command->is_quiet();
  if (result != StoreResult::kStored || !is_quiet) {
    // It was measured when it began.
    const Status status = StoreStatus(pending_.opcode, result, /*fits_alone=*/true);
    Reply(out, pending_.opcode, pending_.opaque, status, answer.cas);
  }
  unfinished_.End();
  return step;
}

BinarySession::Step BinarySession::GoOnSkipping(std::string_view input, ReplyBuffer& out) {
  const Step step = Skip(input);
  if (!step.go_on) return step;
  if (!out.HasRoom()) return {step.consumed, SessionState::kOutputFull, false};
  Reply(out, pending_.opcode, pending_.opaque, pending_.status);
  unfinished_.End();
  return step;
}

void BinarySession::GiveUpUpload() {
  pending_.status = Status::kOutOfMemory;
  unfinished_.BeginSkip(unfinished_.left, {});
}

}  // namespace

std::unique_ptr<Session> MakeBinarySession(Store& store, OpContext& context, Host& host,
                                           const SessionOptions& options) {
  return std::make_unique<BinarySession>(store, context, host, options);
}

}  // namespace larder::memcache
