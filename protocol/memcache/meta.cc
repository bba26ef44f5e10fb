// protocol/memcache/meta.cc — mn, mg, me, md, ma: the meta commands that carry no value.

#include "protocol/memcache/meta.h"

#include "core/base/digits.h"
#include "protocol/memcache/key_codec.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

constexpr size_t kNameAndKey = 2;
constexpr MetaLetters kGetLetters = MetaLettersOf("ckOfhlst");
constexpr MetaLetters kCountLetters = MetaLettersOf("ckOt");

Deadline DeadlineIn(const CommandContext& ctx, int64_t exptime) {
  return DeadlineOf(exptime, ctx.op.now, ctx.store.clock());
}

// mn → MN: everything asked for before it has been answered.
Outcome MetaNoop(CommandContext& ctx, const Frame& /*frame*/) { return AnswerText(ctx, "MN\r\n"); }

ReadOptions ReadOptionsOf(const CommandContext& ctx, const MetaFlags& flags) {
  ReadOptions options{.tokens = true};
  options.touch = flags.has('T');
  if (options.touch) options.deadline = DeadlineIn(ctx, flags.ttl());
  options.peek = flags.has('u');
  options.create = flags.has('N');
  if (options.create) {
    options.create_deadline = DeadlineIn(ctx, flags.create_ttl());
    options.create_cas = flags.new_cas();
    options.binary_key = flags.has('b');
  }
  options.recache = flags.has('R') && flags.recache() > 0;
  if (options.recache) options.recache_seconds = static_cast<uint64_t>(flags.recache());
  return options;
}

// HD <flags>\r\n or VA <size> <flags>\r\n<value>\r\n
void WriteItem(CommandContext& ctx, const MetaFlags& flags, const ValueView& item) {
  const bool known = flags.has('C') && flags.cas() == item.cas();
  const bool with_value = flags.has('v') && !known;
  ReplyWriter reply(ctx.out);
  reply.Text(with_value ? "VA " : "HD");
  if (with_value) reply.Number(item.size);
  WriteMetaFlags(reply, flags, kGetLetters,
                 {.key = item.key(),
                  .binary_key = item.binary_key(),
                  .cas = flags.has('c') ? item.cas() : 0,
                  .deadline = flags.has('t') ? item.deadline() : kNever,
                  .size = item.size,
                  .client_flags = item.flags,
                  .was_fetched = item.was_fetched(),
                  .idle_ms = flags.has('l') ? item.IdleMs(ctx.op.now) : 0},
                 ctx.op.now);
  if (item.token_sent()) reply.Text(" Z");
  if (item.stale()) reply.Text(" X");
  if (item.token_won) reply.Text(" W");
  reply.Text(kCrlf);
  if (with_value && item.size > kLargeValueBytes) {
    reply.Done();
    ctx.out.AppendPin(item.MakePin());
    ctx.out.Append(kCrlf);
    return;
  }
  if (with_value) {
    reply.Text(item.bytes);
    reply.Text(kCrlf);
  }
  reply.Done();
}

// mg key flag* → HD, VA or EN.
Outcome MetaGet(CommandContext& ctx, const Frame& frame) {
  const MetaRequest line(ctx, frame.args, kNameAndKey);
  if (!line.error.empty()) return AnswerText(ctx, line.error);
  const ReadOptions options = ReadOptionsOf(ctx, line.flags);
  bool found = false;
  const ReadResult result = ctx.store.Read(ctx.op, line.key, options, [&](const ValueView& item) {
    found = true;
    WriteItem(ctx, line.flags, item);
  });
  if (result == ReadResult::kOutOfMemory) return AnswerText(ctx, kNoMemoryCreating);
  if (found || line.flags.has('q')) return Outcome::kDone;
  return AnswerCode(ctx, line.flags, "EN", line.key);
}

void WriteDebug(CommandContext& ctx, const ValueView& item) {
  ReplyWriter reply(ctx.out);
  reply.Text("ME ");
  std::array<char, kMaxEncodedKey> room;
  reply.Text(item.binary_key() ? EncodeKey(item.key(), room) : item.key());
  reply.Text(" exp=");
  if (item.deadline() == kNever) {
    reply.Text("-1");
  } else {
    reply.Number(SecondsLeft(item.deadline(), ctx.op.now));
  }
  reply.Text(" la=");
  reply.Number(item.IdleMs(ctx.op.now) / 1000);
  reply.Text(" cas=");
  reply.Number(item.cas());
  reply.Text(item.was_fetched() ? " fetch=yes cls=" : " fetch=no cls=");
  reply.Number(item.class_id);
  reply.Text(" size=");
  reply.Number(item.item_bytes());
  reply.Text(kCrlf);
  reply.Done();
}

// me key [b] → what the server knows of the item; does not count as a read.
Outcome MetaDebug(CommandContext& ctx, const Frame& frame) {
  ctx.op.stats->Add(ThreadCounter::cmd_meta);
  const MetaRequest line(ctx, frame.args, kNameAndKey);
  if (!line.error.empty()) return AnswerText(ctx, line.error);
  const ReadOptions options{.peek = true, .uncounted = true};
  const ReadResult result = ctx.store.Read(ctx.op, line.key, options,
                                           [&](const ValueView& item) { WriteDebug(ctx, item); });
  return result == ReadResult::kHit ? Outcome::kDone : AnswerText(ctx, "EN\r\n");
}

// md key flag* → HD, NF or EX.
Outcome MetaDelete(CommandContext& ctx, const Frame& frame) {
  const MetaRequest line(ctx, frame.args, kNameAndKey);
  if (!line.error.empty()) return AnswerText(ctx, line.error);
  const MetaFlags& flags = line.flags;
  DeleteRequest request{.key = line.key};
  request.command = DeleteCommand::kMetaDelete;
  if (flags.has('C')) request.compare_cas = flags.cas();
  request.mark_stale = flags.has('I');
  request.drop_value = flags.has('x');
  request.flags = flags.client_flags();
  if (flags.has('T')) request.deadline = DeadlineIn(ctx, flags.ttl());
  request.new_cas = flags.new_cas();
  switch (ctx.store.Delete(ctx.op, request)) {
    case DeleteResult::kDeleted:
      return flags.has('q') ? Outcome::kDone : AnswerCode(ctx, flags, "HD", line.key);
    case DeleteResult::kNotFound:
      return AnswerCode(ctx, flags, "NF", line.key);
    case DeleteResult::kExists:
      return AnswerCode(ctx, flags, "EX", line.key);
    case DeleteResult::kOutOfMemory:
      break;
  }
  return AnswerText(ctx, kNoMemory);
}

// HD <flags>\r\n or VA <size> <flags>\r\n<number>\r\n
Outcome AnswerCounter(CommandContext& ctx, const MetaFlags& flags, const Key& key,
                      const CounterAnswer& answer) {
  if (flags.has('q')) return Outcome::kDone;
  ReplyWriter reply(ctx.out);
  reply.Text(flags.has('v') ? "VA " : "HD");
  if (flags.has('v')) reply.Number(Digits(answer.value).text().size());
  WriteMetaFlags(reply, flags, kCountLetters,
                 {.key = key.bytes,
                  .binary_key = flags.has('b'),
                  .cas = answer.cas,
                  .deadline = answer.deadline},
                 ctx.op.now);
  reply.Text(kCrlf);
  if (flags.has('v')) {
    reply.Number(answer.value);
    reply.Text(kCrlf);
  }
  reply.Done();
  return Outcome::kDone;
}

// The direction that flag M asks for; the text is the error to answer, if any.
std::string_view ReadDirection(const MetaFlags& flags, bool* down) {
  *down = false;
  if (!flags.has('M')) return {};
  if (flags.mode().empty()) return kInvalidOrDuplicateFlag;
  switch (flags.mode().front()) {
    case 'I':
    case 'i':
    case '+':
      return {};
    case 'D':
    case 'd':
    case '-':
      *down = true;
      return {};
    default:
      return kBadCountMode;
  }
}

// ma key flag* → HD, VA, NF or EX.  All that is wrong with its line is one error.
Outcome MetaCount(CommandContext& ctx, const Frame& frame) {
  const MetaRequest line(ctx, frame.args, kNameAndKey);
  if (!line.error.empty()) return AnswerText(ctx, kInvalidOrDuplicateFlag);
  const MetaFlags& flags = line.flags;
  CounterRequest request{.key = line.key};
  const std::string_view error = ReadDirection(flags, &request.down);
  if (!error.empty()) return AnswerText(ctx, error);
  request.delta = flags.delta();
  if (flags.has('C')) request.compare_cas = flags.cas();
  request.create = flags.has('N');
  request.initial = flags.initial();
  if (request.create) request.create_deadline = DeadlineIn(ctx, flags.create_ttl());
  if (flags.has('T')) request.deadline = DeadlineIn(ctx, flags.ttl());
  request.new_cas = flags.new_cas();
  request.binary_key = flags.has('b');
  CounterAnswer answer;
  switch (ctx.store.Count(ctx.op, request, &answer)) {
    case CounterResult::kDone:
      return AnswerCounter(ctx, flags, line.key, answer);
    case CounterResult::kNotFound:
      return AnswerCode(ctx, flags, "NF", line.key);
    case CounterResult::kExists:
      return AnswerCode(ctx, flags, "EX", line.key);
    case CounterResult::kNotANumber:
      return AnswerText(ctx, kNotNumeric);
    case CounterResult::kOutOfMemory:
      break;
  }
  return AnswerText(ctx, request.create ? kNoMemoryCreating : kNoMemory);
}

constexpr CommandSpec kMetaCommands[] = {
    {"mn", MetaNoop, Shape::kWords, 0, 0, ""},
    {"mg", MetaGet, Shape::kMeta, 1, kKeyFirst, "key flag*"},
    {"me", MetaDebug, Shape::kMeta, 1, kKeyFirst, "key [b]"},
    {"md", MetaDelete, Shape::kMeta, 1, kKeyFirst, "key flag*"},
    {"ma", MetaCount, Shape::kMeta, 1, kKeyFirst, "key flag*", kInvalidOrDuplicateFlag},
};

}  // namespace

MetaRequest::MetaRequest(const CommandContext& ctx, std::string_view args, size_t words_before)
    : key(ctx.key), error(flags.Parse(args, words_before)) {
  if (!error.empty() || !flags.has('b')) return;
  const std::string_view bytes = DecodeKey(ctx.key.bytes, room_);
  if (bytes.empty()) {
    error = kUndecodableKey;
  } else {
    key = ctx.store.MakeKey(bytes);
  }
}

Outcome AnswerText(CommandContext& ctx, std::string_view text) {
  ctx.out.Append(text);
  return Outcome::kDone;
}

Outcome AnswerCode(CommandContext& ctx, const MetaFlags& flags, std::string_view code,
                   const Key& key) {
  ReplyWriter reply(ctx.out);
  reply.Text(code);
  WriteMetaFlags(reply, flags, kEchoLetters, {.key = key.bytes, .binary_key = flags.has('b')},
                 ctx.op.now);
  reply.Text(kCrlf);
  reply.Done();
  return Outcome::kDone;
}

std::span<const CommandSpec> MetaCommands() { return kMetaCommands; }

}  // namespace larder::memcache
