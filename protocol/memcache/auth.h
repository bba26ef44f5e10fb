// protocol/memcache/auth.h — who is let in: what a session asks before it does anything else.
//
// Owner: Server; tests bring their own.  Threads: any worker; calls may block for a moment.
// A session that is given an Authenticator admits nobody before it said so; without one everybody.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.h"

namespace larder::memcache {

enum class SaslResult : uint8_t { kAdmitted, kContinue, kFailed };

// One client's attempt.  Over once it answered anything but kContinue.
class SaslExchange {
 public:
  virtual ~SaslExchange() = default;
  // The client's next message, at most 16 KiB; kContinue: `challenge` is what it gets.
  virtual SaslResult Step(std::string_view message, std::string* challenge) = 0;
};

// Bounds guessing.  A client that failed often enough is closed; when all clients together fail
// often, each is closed at once, so that a guess costs a connection.  Nobody who knows the
// password is kept out by it.
class FailureLimit {
 public:
  static constexpr uint8_t kPerClient = 5;
  static constexpr uint32_t kPerSecond = 50;

  // One more attempt has failed; true when the client is to be closed.
  [[nodiscard]] bool Fail(uint8_t& failures_of_client, TimeMs now);

 private:
  std::atomic<uint64_t> window_{0};  // the second, and the failures in it
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // For the text protocol.
  [[nodiscard]] virtual bool Knows(std::string_view user, std::string_view password) = 0;
  // For the binary protocol: names of mechanisms, a blank between two.
  [[nodiscard]] virtual std::string Mechanisms() = 0;
  // Null when there is no such mechanism.
  [[nodiscard]] virtual std::unique_ptr<SaslExchange> BeginSasl(std::string_view mechanism) = 0;

  [[nodiscard]] FailureLimit& failures() { return failures_; }

 private:
  FailureLimit failures_;
};

}  // namespace larder::memcache
