#include "protocol/memcache/text_login.h"

#include "protocol/memcache/numbers.h"
#include "protocol/memcache/replies.h"
#include "protocol/memcache/words.h"

namespace larder::memcache {
namespace {

constexpr std::string_view kUnauthenticated = "CLIENT_ERROR unauthenticated\r\n";
constexpr std::string_view kTokenTooLong = "CLIENT_ERROR auth token too long\r\n";
constexpr std::string_view kBadTermination = "CLIENT_ERROR bad command line termination\r\n";
constexpr std::string_view kBadCredentials = "CLIENT_ERROR bad authentication token format\r\n";
constexpr std::string_view kWrongPassword = "CLIENT_ERROR authentication failure\r\n";

LoginFrame Refuse(LoginFrame frame, std::string_view why) {
  frame.kind = LoginKind::kRefused;
  frame.refusal = why;
  return frame;
}

LoginFrame Close(LoginFrame frame, std::string_view why) {
  frame.kind = LoginKind::kClose;
  frame.refusal = why;
  return frame;
}

}  // namespace

LoginFrame ReadLogin(std::string_view input) {
  LoginFrame frame;
  const size_t newline = input.substr(0, kMaxLoginLine + 1).find('\n');
  if (newline == std::string_view::npos) {
    return input.size() > kMaxLoginLine ? Close(frame, {}) : frame;
  }
  frame.bytes = newline + 1;
  if (frame.bytes < kMinLoginLine) return Close(frame, {});
  std::string_view line = input.substr(0, newline);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const bool is_set = NextWord(line) == "set";
  for (int i = 0; i < 3; ++i) NextWord(line);  // key, flags, exptime: anything
  const auto size = ParseUint32(NextWord(line));
  if (!is_set || !size) return Refuse(frame, kUnauthenticated);
  if (*size > kMaxTokenBytes) return Close(frame, kTokenTooLong);
  const std::string_view block = input.substr(frame.bytes, *size + kCrlf.size());
  if (block.size() < *size + kCrlf.size()) return LoginFrame{};
  frame.bytes += block.size();
  if (!block.ends_with(kCrlf)) return Refuse(frame, kBadTermination);
  std::string_view token = block.substr(0, *size);
  frame.user = NextWord(token);
  frame.password = NextWord(token);
  if (frame.password.empty()) return Refuse(frame, kBadCredentials);
  frame.kind = LoginKind::kCredentials;
  return frame;
}

LoginResult TryLogin(std::string_view input, Authenticator& authenticator, OpContext& op,
                     uint8_t& failures, ReplyBuffer& out) {
  const LoginFrame frame = ReadLogin(input);
  LoginResult result{.consumed = frame.bytes};
  switch (frame.kind) {
    case LoginKind::kIncomplete:
      return {};
    case LoginKind::kCredentials:
      break;
    case LoginKind::kRefused:
      out.Append(frame.refusal);
      result.go_on = true;
      return result;
    case LoginKind::kClose:
      out.Append(frame.refusal);
      result.is_over = true;
      return result;
  }
  if (op.stats != nullptr) op.stats->Add(ThreadCounter::auth_cmds);
  if (authenticator.Knows(frame.user, frame.password)) {
    out.Append(kStored);
    result.is_admitted = true;
    result.go_on = true;
    return result;
  }
  if (op.stats != nullptr) op.stats->Add(ThreadCounter::auth_errors);
  out.Append(kWrongPassword);
  result.is_over = authenticator.failures().Fail(failures, op.now);
  result.go_on = !result.is_over;
  return result;
}

}  // namespace larder::memcache
