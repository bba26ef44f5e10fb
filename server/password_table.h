// server/password_table.h — users and passwords, and whether somebody is one of them.
//
// Blind to files.  Threads: any; never changes once parsed.  Keeps no password, only salted
// SHA-256 digests.  Every lookup compares with every one of them, so that its time says nothing
// about who is there.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace larder::server {

class PasswordTable {
 public:
  static constexpr size_t kMaxTextBytes = 1 << 20;
  static constexpr size_t kMaxUsers = 10'000;

  // Lines of `user:password`; the password is what is behind the first colon, to the line's end.
  // Empty lines are skipped.  An error says which line is wrong and why, never what is in it.
  [[nodiscard]] static absl::StatusOr<PasswordTable> Parse(std::string_view text);

  [[nodiscard]] bool Knows(std::string_view user, std::string_view password) const;
  [[nodiscard]] size_t size() const { return digests_.size(); }

 private:
  using Digest = std::array<uint8_t, 32>;

  PasswordTable();
  [[nodiscard]] Digest DigestOf(std::string_view user, std::string_view password) const;

  std::array<uint8_t, 16> salt_{};
  std::vector<Digest> digests_;
};

}  // namespace larder::server
