// server/auth_cyrus.cc — SASL by Cyrus' library: its mechanisms, its configuration, its users.
//
// The application's name there is memcached, so that an existing memcached.conf and sasldb count;
// SASL_CONF_PATH names another folder.  The library keeps state of its own for the whole process:
// all calls go through one lock.  Only clients that are authenticating themselves wait for it.

#include <sasl/sasl.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/auth.h"

namespace larder::server {
namespace {

using memcache::SaslExchange;
using memcache::SaslResult;

constexpr char kApplication[] = "memcached";

// The library may log passwords' neighbourhood; what it has to say is said by the counters.
int Silence(void* /*context*/, int /*level*/, const char* /*message*/) { return SASL_OK; }

const sasl_callback_t* Callbacks() {
  static const sasl_callback_t kCallbacks[] = {
      {SASL_CB_LOG, reinterpret_cast<int (*)()>(reinterpret_cast<void*>(Silence)), nullptr},
      {SASL_CB_LIST_END, nullptr, nullptr},
  };
  return kCallbacks;
}

// The library counts how often it was begun, also for two servers in one process.
std::mutex& LibraryLock() {
  static std::mutex lock;
  return lock;
}

struct Dispose {
  void operator()(sasl_conn_t* connection) const {
    const std::lock_guard<std::mutex> lock(LibraryLock());
    sasl_dispose(&connection);
  }
};
using Connection = std::unique_ptr<sasl_conn_t, Dispose>;

Connection NewConnection() {
  Connection owned;  // goes, if it has to, once the lock is free
  const std::lock_guard<std::mutex> lock(LibraryLock());
  sasl_conn_t* connection = nullptr;
  const int result =
      sasl_server_new(kApplication, nullptr, nullptr, nullptr, nullptr, nullptr, 0, &connection);
  if (result != SASL_OK) return nullptr;
  owned.reset(connection);
  // Nobody comes in without a name, and nothing is wrapped afterwards: TLS is for that.
  sasl_security_properties_t properties{};
  properties.security_flags = SASL_SEC_NOANONYMOUS;
  if (sasl_setprop(connection, SASL_SEC_PROPS, &properties) != SASL_OK) return nullptr;
  return owned;
}

class CyrusExchange final : public SaslExchange {
 public:
  CyrusExchange(Connection connection, std::string_view mechanism)
      : connection_(std::move(connection)), mechanism_(mechanism) {}

  SaslResult Step(std::string_view message, std::string* challenge) override {
    const char* out = nullptr;
    unsigned out_bytes = 0;
    const char* const in = message.empty() ? nullptr : message.data();
    const auto in_bytes = static_cast<unsigned>(message.size());
    const std::lock_guard<std::mutex> lock(LibraryLock());
    const int result = is_begun_
                           ? sasl_server_step(connection_.get(), in, in_bytes, &out, &out_bytes)
                           : sasl_server_start(connection_.get(), mechanism_.c_str(), in, in_bytes,
                                               &out, &out_bytes);
    is_begun_ = true;
    if (result == SASL_OK) return SaslResult::kAdmitted;
    if (result != SASL_CONTINUE) return SaslResult::kFailed;
    challenge->assign(out == nullptr ? "" : out, out == nullptr ? 0 : out_bytes);
    return SaslResult::kContinue;
  }

 private:
  const Connection connection_;
  const std::string mechanism_;
  bool is_begun_ = false;
};

class CyrusGuard final : public Guard {
 public:
  CyrusGuard() = default;
  CyrusGuard(const CyrusGuard&) = delete;
  CyrusGuard& operator=(const CyrusGuard&) = delete;
  ~CyrusGuard() override {
    const std::lock_guard<std::mutex> lock(LibraryLock());
    sasl_server_done();
  }

  [[nodiscard]] bool Knows(std::string_view /*user*/, std::string_view /*password*/) override {
    return false;
  }

  [[nodiscard]] std::string Mechanisms() override {
    const Connection connection = NewConnection();
    if (connection == nullptr) return {};
    const char* list = nullptr;
    unsigned bytes = 0;
    int count = 0;
    const std::lock_guard<std::mutex> lock(LibraryLock());
    const int result = sasl_listmech(connection.get(), nullptr, "", " ", "", &list, &bytes, &count);
    return result == SASL_OK && list != nullptr ? std::string(list, bytes) : std::string();
  }

  [[nodiscard]] std::unique_ptr<SaslExchange> BeginSasl(std::string_view mechanism) override {
    Connection connection = NewConnection();
    if (connection == nullptr) return nullptr;
    return std::make_unique<CyrusExchange>(std::move(connection), mechanism);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Guard>> MakeCyrusGuard() {
  int result = SASL_OK;
  {
    const std::lock_guard<std::mutex> lock(LibraryLock());
    result = sasl_server_init(Callbacks(), kApplication);
  }
  if (result != SASL_OK) {
    return absl::InvalidArgumentError(
        absl::StrCat("SASL: ", sasl_errstring(result, nullptr, nullptr)));
  }
  std::unique_ptr<Guard> guard = std::make_unique<CyrusGuard>();
  return guard;
}

}  // namespace larder::server
