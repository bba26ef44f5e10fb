// tests/fuzz/auth_fuzz.cc — who is let in: the login of the text protocol (-Y), SASL (-S), and the
// file of passwords.
//
// The first byte says which.  A client plays one request after the other.  As long as it has not
// said the right password (which is looked for here by other means than the server's), nothing
// may be counted that a command counts, and nothing may be answered but refusals.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/big_endian.h"
#include "protocol/memcache/auth.h"
#include "server/auth.h"
#include "server/password_table.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/twins.h"

namespace larder::test {
namespace {

using memcache::SaslResult;

constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kUsers = {
    {{"joe", "secret"}, {"ann", "a:b"}}};

[[noreturn]] void Broken(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

bool IsUser(std::string_view user, std::string_view password) {
  for (const auto& [name, secret] : kUsers) {
    if (name == user && secret == password) return true;
  }
  return false;
}

// RFC 4616, from the other side: every message that would be right.
bool IsRightPlain(std::string_view message) {
  for (const auto& [name, secret] : kUsers) {
    std::string right(1, '\0');
    right.append(name).append(1, '\0').append(secret);
    if (message == right || message == std::string(name) + right) return true;
  }
  return false;
}

// The server's, with one who looks on.
class Watched final : public memcache::Authenticator {
 public:
  explicit Watched(server::Guard& guard) : guard_(guard) {}

  bool Knows(std::string_view user, std::string_view password) override {
    const bool knows = guard_.Knows(user, password);
    if (knows != IsUser(user, password)) Broken("the guard is wrong about a user");
    if (knows && on_admission_) on_admission_();
    if (knows) ++admitted_;
    return knows;
  }
  std::string Mechanisms() override { return guard_.Mechanisms(); }
  std::unique_ptr<memcache::SaslExchange> BeginSasl(std::string_view mechanism) override {
    auto exchange = guard_.BeginSasl(mechanism);
    if (exchange == nullptr) return nullptr;
    return std::make_unique<WatchedExchange>(std::move(exchange), admitted_);
  }
  [[nodiscard]] unsigned admitted() const { return admitted_; }
  // Called before a text client is inside.
  void OnAdmission(std::function<void()> call) { on_admission_ = std::move(call); }

 private:
  class WatchedExchange final : public memcache::SaslExchange {
   public:
    WatchedExchange(std::unique_ptr<memcache::SaslExchange> exchange, unsigned& admitted)
        : exchange_(std::move(exchange)), admitted_(admitted) {}
    SaslResult Step(std::string_view message, std::string* challenge) override {
      const SaslResult result = exchange_->Step(message, challenge);
      const bool is_in = result == SaslResult::kAdmitted;
      if (is_in != IsRightPlain(message)) Broken("the exchange is wrong about a message");
      if (is_in) ++admitted_;
      return result;
    }

   private:
    std::unique_ptr<memcache::SaslExchange> exchange_;
    unsigned& admitted_;
  };

  server::Guard& guard_;
  std::function<void()> on_admission_;
  unsigned admitted_ = 0;
};

std::string PasswordFile() {
  std::string path = "/tmp/larder-auth-fuzz-XXXXXX";
  const int fd = mkstemp(path.data());
  std::FILE* const file = fd < 0 ? nullptr : fdopen(fd, "w");
  if (file == nullptr) Broken("no place for a file of passwords");
  for (const auto& [name, secret] : kUsers) {
    std::fprintf(file, "%s:%s\n", std::string(name).c_str(), std::string(secret).c_str());
  }
  std::fclose(file);
  return path;
}

std::unique_ptr<server::Guard> MakeGuard(bool sasl) {
  const std::string path = PasswordFile();
  server::Options options;
  options.sasl = sasl;
  (sasl ? options.sasl_password_file : options.password_file) = path;
  auto guard = server::MakeGuard(options);
  std::remove(path.c_str());
  if (!guard.ok() || *guard == nullptr) Broken("no guard");
  return *std::move(guard);
}

// A world that asks who is there.
class Guarded {
 public:
  explicit Guarded(bool sasl) : guard_(MakeGuard(sasl)), authenticator_(*guard_) {
    world_.session_options.authenticator = &authenticator_;
  }
  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] Watched& authenticator() { return authenticator_; }
  // From now on somebody is outside, until ...
  void BeginOutside() { done_ = Done(); }
  // ... now: nothing may have been done meanwhile.
  void EndOutside() const {
    if (Done() != done_) Broken("a command was done before the login");
  }

 private:
  // A sum of everything that a command can have done.
  [[nodiscard]] uint64_t Done() const {
    const FakeHost& host = world_.host;
    int64_t sum = host.resets;
    sum += host.shutdowns;
    sum += host.verbosity;
    sum += host.feeds;
    auto done = static_cast<uint64_t>(sum);
    for (size_t i = 0; i < kThreadCounters; ++i) {
      const auto counter = static_cast<ThreadCounter>(i);
      const bool is_login =
          counter == ThreadCounter::auth_cmds || counter == ThreadCounter::auth_errors;
      if (!is_login) done += world_.context.stats->Get(counter);
    }
    constexpr size_t kClasses = 8;  // more than a small value needs
    for (size_t id = 0; id < kClasses; ++id) {
      for (size_t i = 0; i < kClassCounters; ++i) {
        done += world_.context.stats->Get(static_cast<ClassCounter>(i), id);
      }
    }
    return done;
  }

  World world_{Tiny()};
  std::unique_ptr<server::Guard> guard_;
  Watched authenticator_;
  uint64_t done_ = 0;
};

bool AreRefusals(std::string_view answer) {
  while (!answer.empty()) {
    if (!answer.starts_with("CLIENT_ERROR ")) return false;
    answer.remove_prefix(std::min(answer.find('\n'), answer.size() - 1) + 1);
  }
  return true;
}

// A text client says the right password once and is inside for good.
void PlayText(std::string_view bytes) {
  static Guarded& guarded = []() -> Guarded& {  // never freed
    auto& made = *new Guarded(false);
    made.authenticator().OnAdmission([&made] { made.EndOutside(); });
    return made;
  }();
  constexpr size_t kPiece = 7;
  Client client(guarded.world());
  const unsigned admitted = guarded.authenticator().admitted();
  guarded.BeginOutside();
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kPiece, bytes.size()))) {
    const std::string answer = client.Ask(bytes.substr(0, kPiece));
    if (guarded.authenticator().admitted() != admitted) return;
    if (!AreRefusals(answer)) Broken("more than a refusal");
  }
  guarded.EndOutside();
}

constexpr size_t kHeader = 24;
constexpr uint8_t kOpVersion = 0x0b;
constexpr uint8_t kOpMechanisms = 0x20;
constexpr uint8_t kOpAuth = 0x21;
constexpr uint8_t kOpStep = 0x22;

// What a packet may be answered before the login: its status, by its opcode.
bool IsHarmless(uint8_t opcode, uint16_t status) {
  return status != 0 || opcode == kOpVersion || (opcode >= kOpMechanisms && opcode <= kOpStep);
}

size_t PacketBytes(std::string_view bytes) {
  if (bytes.size() < kHeader) return bytes.size();
  return std::min(bytes.size(), kHeader + LoadBig32(bytes.data() + 8));
}

// A SASL client is inside from a right message to its next attempt.
void PlayBinary(std::string_view bytes) {
  static Guarded& guarded = *new Guarded(true);  // never freed
  Client client(guarded.world(), std::string_view::npos, Client::Dialect::kBinary);
  bool is_inside = false;
  guarded.BeginOutside();
  while (!bytes.empty() && !client.closed()) {
    const std::string_view packet = bytes.substr(0, PacketBytes(bytes));
    bytes.remove_prefix(packet.size());
    const auto opcode = packet.size() > 1 ? static_cast<uint8_t>(packet[1]) : uint8_t{0};
    if (opcode == kOpAuth || opcode == kOpStep) {
      if (!is_inside) guarded.EndOutside();
      guarded.BeginOutside();
      is_inside = false;
    }
    const unsigned admitted = guarded.authenticator().admitted();
    const std::string answer = client.Ask(packet);
    is_inside = is_inside || guarded.authenticator().admitted() != admitted;
    if (is_inside || answer.size() < kHeader) continue;
    if (!IsHarmless(opcode, LoadBig16(answer.data() + 6))) Broken("more than a refusal");
  }
  if (!is_inside) guarded.EndOutside();
}

// Every line's user is known by exactly its password; anything else is refused as a whole.
void ReadFile(std::string_view text) {
  const auto table = server::PasswordTable::Parse(text);
  std::vector<std::pair<std::string_view, std::string_view>> users;
  bool is_right = true;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (line.empty()) continue;
    is_right = is_right && colon != std::string_view::npos && colon > 0 &&
               colon + 1 < line.size() && line.find('\0') == std::string_view::npos;
    if (is_right) users.emplace_back(line.substr(0, colon), line.substr(colon + 1));
  }
  if (table.ok() != (is_right && !users.empty())) Broken("a file was read as what it is not");
  if (!table.ok()) return;
  if (table->size() != users.size()) Broken("users got lost");
  for (const auto& [user, password] : users) {
    if (!table->Knows(user, password)) Broken("a user is not known");
    const std::string longer = std::string(password) + '\0';  // which no line can have
    if (table->Knows(user, longer) || table->Knows(user, {})) Broken("a stranger is known");
  }
}

enum class Part : uint8_t { kText, kBinary, kFile };

Part PartOf(uint8_t first) { return static_cast<Part>(first % 3); }

}  // namespace
}  // namespace larder::test

using larder::test::Part;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (larder::test::PartOf(data[0])) {
    case Part::kText:
      larder::test::PlayText(bytes);
      break;
    case Part::kBinary:
      larder::test::PlayBinary(bytes);
      break;
    case Part::kFile:
      larder::test::ReadFile(bytes);
      break;
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  const Part part = size < 1 ? Part::kFile : larder::test::PartOf(data[0]);
  return larder::test::Mutate(data, size, max_size, part == Part::kFile ? 0 : seed, 1,
                              [part](std::string_view text, unsigned s) {
                                return part == Part::kText
                                           ? larder::test::RepairText(text, false, s)
                                           : larder::test::RepairPackets(text, s);
                              });
}
