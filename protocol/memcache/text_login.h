// protocol/memcache/text_login.h — the one request that a text client may send before it is let in:
// set <any> <any> <any> <bytes>\r\n<user> <password>\r\n
//
// Facts: memcached's -Y.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/store.h"
#include "protocol/memcache/auth.h"
#include "protocol/reply_buffer.h"

namespace larder::memcache {

inline constexpr size_t kMaxTokenBytes = 16384;
inline constexpr size_t kMaxLoginLine = 2048;
inline constexpr size_t kMinLoginLine = 6;  // its end included

enum class LoginKind : uint8_t {
  kIncomplete,   // more bytes must come first
  kCredentials,  // `user` and `password`
  kRefused,      // `refusal`
  kClose,        // `refusal`, which may be empty, then hang up
};

// Borrows the input.
struct LoginFrame {
  LoginKind kind = LoginKind::kIncomplete;
  size_t bytes = 0;  // of the input, this frame takes
  std::string_view user;
  std::string_view password;
  std::string_view refusal;
};

[[nodiscard]] LoginFrame ReadLogin(std::string_view input);

struct LoginResult {
  size_t consumed = 0;
  bool is_admitted = false;
  bool is_over = false;  // to be closed
  bool go_on = false;    // there may be another line
};

// Reads, checks and answers one.  REQUIRES: out.HasRoom().
[[nodiscard]] LoginResult TryLogin(std::string_view input, Authenticator& authenticator,
                                   OpContext& op, uint8_t& failures, ReplyBuffer& out);

}  // namespace larder::memcache
