#include "server/password_table.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>
#include <new>

#include "absl/strings/str_cat.h"

namespace larder::server {
namespace {

absl::Status Wrong(size_t line, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", why));
}

// What is wrong with a line; null: nothing.
const char* FaultOf(std::string_view line) {
  const size_t colon = line.find(':');
  if (line.find('\0') != std::string_view::npos) return "a NUL byte";
  if (colon == std::string_view::npos) return "not of the form user:password";
  if (colon == 0) return "no user before the colon";
  if (colon + 1 == line.size()) return "no password behind the colon";
  return nullptr;
}

}  // namespace

PasswordTable::PasswordTable() {
  // Without one, the digests would be easier to guess for somebody who reads our memory; no more.
  if (RAND_bytes(salt_.data(), static_cast<int>(salt_.size())) != 1) salt_.fill(0);
}

PasswordTable::Digest PasswordTable::DigestOf(std::string_view user,
                                              std::string_view password) const {
  const uint64_t user_bytes = user.size();
  Digest digest{};
  unsigned bytes = 0;
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  // A digest that could not be made must not equal another such: there is no going on.
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), salt_.data(), salt_.size()) != 1 ||
      EVP_DigestUpdate(context.get(), &user_bytes, sizeof(user_bytes)) != 1 ||
      EVP_DigestUpdate(context.get(), user.data(), user.size()) != 1 ||
      EVP_DigestUpdate(context.get(), password.data(), password.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), digest.data(), &bytes) != 1 || bytes != digest.size()) {
    throw std::bad_alloc();
  }
  return digest;
}

absl::StatusOr<PasswordTable> PasswordTable::Parse(std::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat("larger than ", kMaxTextBytes, " bytes"));
  }
  PasswordTable table;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (const char* fault = FaultOf(line); fault != nullptr) return Wrong(number, fault);
    if (table.size() == kMaxUsers) return Wrong(number, "more than 10000 users");
    const size_t colon = line.find(':');
    table.digests_.push_back(table.DigestOf(line.substr(0, colon), line.substr(colon + 1)));
  }
  if (table.digests_.empty()) return absl::InvalidArgumentError("no users in it");
  return table;
}

bool PasswordTable::Knows(std::string_view user, std::string_view password) const {
  const Digest asked = DigestOf(user, password);
  unsigned matches = 0;
  for (const Digest& one : digests_) {
    matches |= static_cast<unsigned>(CRYPTO_memcmp(one.data(), asked.data(), asked.size()) == 0);
  }
  return matches != 0;
}

}  // namespace larder::server
