// server/tls_options.h — what -Z, its ssl_* suboptions and the prefixes of -l ask for.
//
// Owner: Options.  Threads: any; constant once parsed.

#pragma once

#include <cstdint>
#include <string>

namespace larder::server {

// Whether a client has to show a certificate: the values of ssl_verify_mode.
enum class PeerCheck : uint8_t {
  kNone,
  kRequest,  // one that is shown must be good
  kRequire,
  kOnce,  // as kRequire: there are no renegotiations, which memcached would leave out
};
inline constexpr int kPeerChecks = 4;

// What stands in front of an address: nothing, notls:, btls: (no certificates of clients are
// looked at), mtls: (they are required).
enum class TlsPrefix : uint8_t { kNone, kOff, kBasic, kMutual };

struct TlsOptions {
  bool enabled = false;     // -Z
  std::string chain_cert;   // ssl_chain_cert, PEM
  std::string key;          // ssl_key; empty: it stands in chain_cert
  bool key_is_der = false;  // ssl_keyformat=2
  PeerCheck peer_check = PeerCheck::kNone;
  std::string ciphers;  // empty: the library's
  std::string ca_cert;  // of clients, PEM; empty: none
  int wbuf_kb = 16;
  bool session_cache = false;
  bool kernel_tls = false;
  int min_version = 2;  // of TLS 1.x
};

}  // namespace larder::server
