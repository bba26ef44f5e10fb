#include "server/auth.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/event_loop.h"

namespace larder::server {
namespace {

using memcache::SaslExchange;
using memcache::SaslResult;

absl::Status Failure(const std::string& path, std::string_view why) {
  return absl::InvalidArgumentError(std::string(path).append(": ").append(why).c_str());
}

// A text that is overwritten before its memory goes back.
struct Secret {
  std::string text;
  ~Secret() { OPENSSL_cleanse(text.data(), text.size()); }
};

absl::Status ReadSecret(const std::string& path, std::string* text) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return absl::ErrnoToStatus(errno, path.c_str());
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, path.c_str());
  if (!S_ISREG(info.st_mode)) return Failure(path, "not a file");
  // One more than it may have: who grows it meanwhile is told.
  text->resize(PasswordTable::kMaxTextBytes + 1);
  size_t have = 0;
  while (have < text->size()) {
    const ssize_t n = read(fd.get(), text->data() + have, text->size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, path.c_str());
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  text->resize(have);
  return absl::OkStatus();
}

// -Y: users of the text protocol.
class TextGuard final : public Guard {
 public:
  explicit TextGuard(std::string path) : passwords_(std::move(path)) {}
  [[nodiscard]] std::string_view path() const override { return passwords_.path(); }
  [[nodiscard]] absl::Status Reload() override { return passwords_.Reload(); }
  [[nodiscard]] bool Knows(std::string_view user, std::string_view password) override {
    return passwords_.Knows(user, password);
  }
  [[nodiscard]] std::string Mechanisms() override { return {}; }
  [[nodiscard]] std::unique_ptr<SaslExchange> BeginSasl(std::string_view /*name*/) override {
    return nullptr;
  }

 private:
  PasswordFile passwords_;
};

// -S with a file of passwords: PLAIN, and nothing of Cyrus.
class PlainGuard final : public Guard {
 public:
  explicit PlainGuard(std::string path) : passwords_(std::move(path)) {}
  [[nodiscard]] std::string_view path() const override { return passwords_.path(); }
  [[nodiscard]] absl::Status Reload() override { return passwords_.Reload(); }
  [[nodiscard]] bool Knows(std::string_view /*user*/, std::string_view /*password*/) override {
    return false;
  }
  [[nodiscard]] std::string Mechanisms() override { return "PLAIN"; }
  [[nodiscard]] std::unique_ptr<SaslExchange> BeginSasl(std::string_view name) override {
    constexpr std::string_view kPlain = "PLAIN";
    if (name.size() != kPlain.size()) return nullptr;
    if (strncasecmp(name.data(), kPlain.data(), name.size()) != 0) return nullptr;
    return std::make_unique<PlainExchange>(passwords_);
  }

 private:
  PasswordFile passwords_;
};

}  // namespace

absl::Status PasswordFile::Reload() {
  Secret secret;
  if (auto status = ReadSecret(path_, &secret.text); !status.ok()) return status;
  auto parsed = PasswordTable::Parse(secret.text);
  if (!parsed.ok()) {
    const auto why = parsed.status().message();
    return Failure(path_, {why.data(), why.size()});
  }
  auto table = std::make_shared<const PasswordTable>(*std::move(parsed));
  MutexLock lock(mutex_);
  table_ = std::move(table);
  return absl::OkStatus();
}

bool PasswordFile::Knows(std::string_view user, std::string_view password) const {
  std::shared_ptr<const PasswordTable> table;
  {
    MutexLock lock(mutex_);
    table = table_;
  }
  return table != nullptr && table->Knows(user, password);
}

// authzid NUL authcid NUL password; who one wants to be must be who one is, or nobody.
SaslResult PlainExchange::Step(std::string_view message, std::string* challenge) {
  if (message.empty() && !std::exchange(has_asked_, true)) {
    challenge->clear();  // it begins without a message: asked for one, once
    return SaslResult::kContinue;
  }
  const size_t first = message.find('\0');
  if (first == std::string_view::npos) return SaslResult::kFailed;
  const size_t second = message.find('\0', first + 1);
  if (second == std::string_view::npos) return SaslResult::kFailed;
  const std::string_view wanted = message.substr(0, first);
  const std::string_view user = message.substr(first + 1, second - first - 1);
  const std::string_view password = message.substr(second + 1);
  if (user.empty() || password.empty() || password.find('\0') != std::string_view::npos) {
    return SaslResult::kFailed;
  }
  const bool is_known = passwords_.Knows(user, password);
  return is_known && (wanted.empty() || wanted == user) ? SaslResult::kAdmitted
                                                        : SaslResult::kFailed;
}

absl::StatusOr<std::unique_ptr<Guard>> MakeGuard(const Options& options) {
  std::unique_ptr<Guard> guard;
  if (!options.password_file.empty()) {
    guard = std::make_unique<TextGuard>(options.password_file);
  } else if (options.sasl && !options.sasl_password_file.empty()) {
    guard = std::make_unique<PlainGuard>(options.sasl_password_file);
  } else if (options.sasl) {
    return MakeCyrusGuard();
  }
  if (guard != nullptr) {
    const absl::Status status = guard->Reload();
    if (!status.ok()) return absl::InvalidArgumentError(status.message());
  }
  return guard;
}

}  // namespace larder::server
