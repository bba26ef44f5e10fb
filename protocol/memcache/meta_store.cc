// protocol/memcache/meta_store.cc — ms: the meta command that stores.

#include "protocol/memcache/meta.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/storage.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

constexpr size_t kNameKeyAndLength = 3;
constexpr MetaLetters kStoreLetters = MetaLettersOf("ckOs");

std::optional<StoreMode> ModeOf(const MetaFlags& flags) {
  if (!flags.has('M')) return StoreMode::kSet;
  if (flags.mode().empty()) return std::nullopt;
  switch (flags.mode().front()) {
    case 'S':
      return StoreMode::kSet;
    case 'E':
      return StoreMode::kAdd;
    case 'A':
      return StoreMode::kAppend;
    case 'P':
      return StoreMode::kPrepend;
    case 'R':
      return StoreMode::kReplace;
    default:
      return std::nullopt;
  }
}

StoreRequest RequestOf(const CommandContext& ctx, const MetaFlags& flags, const Key& key,
                       StoreMode mode) {
  StoreRequest request{.key = key, .mode = mode};
  const bool joins = mode == StoreMode::kAppend || mode == StoreMode::kPrepend;
  // A comparison makes a cas of what would store anyway; add stays what it is.
  if (flags.has('C') && !joins && mode != StoreMode::kAdd) request.mode = StoreMode::kCas;
  // Without CAS numbers (-C) a join compares none, as memcached does.
  if (!joins || ctx.store.options().use_cas) request.compare_cas = flags.cas();
  request.or_stale = flags.has('I');
  request.new_cas = flags.new_cas();
  request.flags = flags.client_flags();
  request.binary_key = flags.has('b');
  request.join_creates = joins && flags.has('N');
  request.deadline = DeadlineOf(request.join_creates ? flags.create_ttl() : flags.ttl(), ctx.op.now,
                                ctx.store.clock());
  request.refusal_deletes = true;
  return request;
}

std::string_view CodeOf(StoreResult result) {
  switch (result) {
    case StoreResult::kStored:
      return "HD";
    case StoreResult::kNotStored:
      return "NS";
    case StoreResult::kExists:
      return "EX";
    case StoreResult::kNotFound:
      return "NF";
    case StoreResult::kTooLarge:
    case StoreResult::kOutOfMemory:
      break;
  }
  return {};
}

Outcome AnswerStore(CommandContext& ctx, const MetaFlags& flags, const Key& key, StoreResult result,
                    const StoreAnswer& answer) {
  if (result == StoreResult::kStored && flags.has('q')) return Outcome::kDone;
  const std::string_view code = CodeOf(result);
  if (code.empty()) return AnswerText(ctx, StoreReply(result));
  ReplyWriter reply(ctx.out);
  reply.Text(code);
  WriteMetaFlags(
      reply, flags, kStoreLetters,
      {.key = key.bytes, .binary_key = flags.has('b'), .cas = answer.cas, .size = answer.size},
      ctx.op.now);
  reply.Text(kCrlf);
  reply.Done();
  return Outcome::kDone;
}

// An error in the line of a value that has been, or is to be, received.
Outcome RefuseValue(CommandContext& ctx, const Frame& frame, std::string_view error) {
  if (frame.kind != FrameKind::kLargeValue) return AnswerText(ctx, error);
  ctx.unfinished.BeginSkip(frame.value_bytes + kCrlf.size(), error);
  return Outcome::kUnfinished;
}

// ms key bytes flag* → HD, NS, EX or NF.
Outcome MetaSet(CommandContext& ctx, const Frame& frame) {
  const MetaRequest line(ctx, frame.args, kNameKeyAndLength);
  if (!line.error.empty()) return RefuseValue(ctx, frame, line.error);
  const auto mode = ModeOf(line.flags);
  if (!mode) return RefuseValue(ctx, frame, kBadStoreMode);
  const StoreRequest request = RequestOf(ctx, line.flags, line.key, *mode);
  if (frame.kind == FrameKind::kLargeValue) {
    const Outcome outcome = BeginLarge(ctx, frame, request);
    if (ctx.unfinished.kind == Unfinished::Kind::kUpload) {
      ctx.unfinished.meta_line =
          std::make_unique<std::string>(std::string(frame.key).append(frame.args));
    }
    return outcome;
  }
  if (!frame.properly_ended) return AnswerText(ctx, kBadChunk);
  StoreAnswer answer{.size = frame.value.size()};
  const StoreResult result = PutValue(ctx, request, frame.value, &answer);
  return AnswerStore(ctx, line.flags, line.key, result, answer);
}

constexpr CommandSpec kMetaStoreCommands[] = {
    {"ms", MetaSet, Shape::kMetaValue, 2, kKeyFirst, "key bytes flag*"},
};

}  // namespace

void AnswerMetaUpload(CommandContext& ctx, std::string_view line, StoreResult result,
                      const StoreAnswer& answer) {
  ctx.key.bytes = NextWord(line);
  const MetaRequest request(ctx, line, kNameKeyAndLength);  // read before: nothing is wrong with it
  AnswerStore(ctx, request.flags, request.key, result, answer);
}

std::span<const CommandSpec> MetaStoreCommands() { return kMetaStoreCommands; }

}  // namespace larder::memcache
