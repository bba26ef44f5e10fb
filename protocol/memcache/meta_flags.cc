#include "protocol/memcache/meta_flags.h"

#include "protocol/memcache/key_codec.h"
#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

constexpr size_t kMaxOpaque = 31;
constexpr MetaLetters kKnown = MetaLettersOf("bcCDEfFhIJklLMNOPqRstTuvx");

constexpr bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

template <typename Number>
std::string_view Set(Number& to, const std::optional<Number>& value,
                     std::string_view error = kBadToken) {
  if (!value) return error;
  to = *value;
  return {};
}

}  // namespace

std::string_view MetaFlags::Parse(std::string_view args, size_t words_before) {
  words_ = args;
  // How many there are is looked at before what they are; unless there cannot be too many.
  if (words_before + (args.size() + 1) / 2 > kMaxWords) {
    size_t words = words_before;
    for (std::string_view rest = args; !NextWord(rest).empty();) {
      if (++words > kMaxWords) return kTooManyFlags;
    }
  }
  for (std::string_view word = NextWord(args); !word.empty(); word = NextWord(args)) {
    if (const std::string_view error = Add(word); !error.empty()) return error;
  }
  return {};
}

std::string_view MetaFlags::Add(std::string_view word) {
  const char letter = word.front();
  if (!IsLetterOrDigit(letter)) return kBadFormat;
  if (letter < 'A' || (kKnown & MetaLetter(letter)) == 0) return kInvalidFlag;
  if (has(letter)) return kDuplicateFlag;
  seen_ |= MetaLetter(letter);
  return ReadArgument(letter, word.substr(1));
}

std::string_view MetaFlags::ReadArgument(char letter, std::string_view argument) {
  switch (letter) {
    case 'T':
      return Set(ttl_, ParseExptime(argument));
    case 'N':
      return Set(create_ttl_, ParseExptime(argument));
    case 'R':
      return Set(recache_, ParseExptime(argument));
    case 'C':
      return Set(cas_, ParseUint64(argument));
    case 'E':
      return Set(new_cas_, ParseUint64(argument));
    case 'D':
      return Set(delta_, ParseUint64(argument));
    case 'J':
      return Set(initial_, ParseUint64(argument));
    case 'F':
      return Set(client_flags_, ParseUint32(argument), kBadFormat);
    case 'M':
      mode_ = argument;
      return {};
    case 'O':
      return argument.size() > kMaxOpaque ? kOpaqueTooLong : std::string_view();
    default:
      return {};
  }
}

namespace {

void WriteKey(ReplyWriter& reply, const MetaFacts& facts) {
  if (!facts.binary_key) return reply.Text(facts.key);
  std::array<char, kMaxEncodedKey> room;
  reply.Text(EncodeKey(facts.key, room));
  reply.Text(" b");
}

// `flag` as it was sent: its letter, and its argument.
void WriteFlag(ReplyWriter& reply, std::string_view flag, const MetaFacts& facts, TimeMs now) {
  reply.Text(flag.substr(0, 1));
  switch (flag.front()) {
    case 'O':
      return reply.Text(flag.substr(1));
    case 'k':
      return WriteKey(reply, facts);
    case 'c':
      return reply.Number(facts.cas);
    case 'f':
      return reply.Number(facts.client_flags);
    case 'h':
      return reply.Number(facts.was_fetched ? 1 : 0);
    case 'l':
      return reply.Number(facts.idle_ms / 1000);
    case 's':
      return reply.Number(facts.size);
    case 't':
      if (facts.deadline == kNever) return reply.Text("-1");
      return reply.Number(SecondsLeft(facts.deadline, now));
    default:
      return;
  }
}

}  // namespace

void WriteMetaFlags(ReplyWriter& reply, const MetaFlags& flags, MetaLetters letters,
                    const MetaFacts& facts, TimeMs now) {
  if ((flags.seen() & letters) == 0) return;
  std::string_view rest = flags.words();
  for (std::string_view flag = NextWord(rest); !flag.empty(); flag = NextWord(rest)) {
    if ((letters & MetaLetter(flag.front())) == 0) continue;
    reply.Text(" ");
    WriteFlag(reply, flag, facts, now);
  }
}

}  // namespace larder::memcache
