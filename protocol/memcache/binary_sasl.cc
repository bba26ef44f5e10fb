// protocol/memcache/binary_sasl.cc — the opcodes by which a client says who it is.
//
// Whatever fails leaves the client outside, with nothing begun: also one that was inside before.

#include <span>
#include <string>
#include <utility>

#include "protocol/memcache/binary_command.h"
#include "protocol/memcache/binary_reply.h"

namespace larder::memcache {
namespace {

constexpr size_t kMaxMechanismBytes = 32;

void Answer(BinaryContext& ctx, const BinaryFrame& frame, Status status, std::string_view text) {
  PacketWriter packet(ctx.out, frame);
  packet.Text(text);
  packet.Done(status);
}

Outcome Unknown(BinaryContext& ctx, const BinaryFrame& frame) {
  Reply(ctx.out, frame, Status::kUnknownCommand);
  return Outcome::kDone;
}

Outcome Fail(BinaryContext& ctx, const BinaryFrame& frame) {
  ctx.exchange.reset();
  ctx.login.is_admitted = false;
  if (ctx.op.stats != nullptr) ctx.op.stats->Add(ThreadCounter::auth_errors);
  Reply(ctx.out, frame, Status::kAuthFailure);
  const bool closes = ctx.options.authenticator->failures().Fail(ctx.login.failures, ctx.op.now);
  return closes ? Outcome::kClose : Outcome::kDone;
}

Outcome GoOn(BinaryContext& ctx, const BinaryFrame& frame) {
  if (ctx.op.stats != nullptr) ctx.op.stats->Add(ThreadCounter::auth_cmds);
  if (ctx.exchange == nullptr) return Fail(ctx, frame);
  std::string challenge;
  switch (ctx.exchange->Step(frame.value, &challenge)) {
    case SaslResult::kAdmitted:
      ctx.exchange.reset();
      ctx.login.is_admitted = true;
      Answer(ctx, frame, Status::kOk, "Authenticated");
      return Outcome::kDone;
    case SaslResult::kContinue:
      if (challenge.size() > kLargeValueBytes) break;
      Answer(ctx, frame, Status::kAuthContinue, challenge);
      return Outcome::kDone;
    case SaslResult::kFailed:
      break;
  }
  return Fail(ctx, frame);
}

// → names of mechanisms, a blank between two.
Outcome ListMechanisms(BinaryContext& ctx, const BinaryFrame& frame) {
  if (ctx.options.authenticator == nullptr) return Unknown(ctx, frame);
  Answer(ctx, frame, Status::kOk, ctx.options.authenticator->Mechanisms());
  return Outcome::kDone;
}

// The key is the mechanism, the value the client's first message, if it has one.
Outcome Authenticate(BinaryContext& ctx, const BinaryFrame& frame) {
  if (ctx.options.authenticator == nullptr) return Unknown(ctx, frame);
  ctx.login.is_admitted = false;
  ctx.exchange.reset();
  if (frame.key.size() > kMaxMechanismBytes) {
    Reply(ctx.out, frame, Status::kInvalid);
    return Outcome::kDone;
  }
  ctx.exchange = ctx.options.authenticator->BeginSasl(frame.key);
  return GoOn(ctx, frame);
}

// The key is the mechanism again, and of no meaning.
Outcome Step(BinaryContext& ctx, const BinaryFrame& frame) {
  if (ctx.options.authenticator == nullptr) return Unknown(ctx, frame);
  ctx.login.is_admitted = false;
  return GoOn(ctx, frame);
}

constexpr auto kKey = KeyShape::kKey;

constexpr BinarySpec kSaslCommands[] = {
    // opcode, name, handler, bytes of extras, key, most bytes of value, flags
    {0x20, "sasl_list", ListMechanisms, 0, KeyShape::kNone, kNoValue, kBeforeLogin},
    {0x21, "sasl_auth", Authenticate, 0, kKey, kShortValue, kBeforeLogin},
    {0x22, "sasl_step", Step, 0, kKey, kShortValue, kBeforeLogin},
};

}  // namespace

std::span<const BinarySpec> BinarySaslCommands() { return kSaslCommands; }

}  // namespace larder::memcache
