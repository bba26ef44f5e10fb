#include "server/tls_credentials.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace larder::server {
namespace {

// What one connection reads at a time, as a bound on what it holds of an unfinished record.
constexpr size_t kMostRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr size_t kReadAheadBytes = 32 * 1024;
// Sessions kept for clients that resume without tickets; each is some hundred bytes, and with a
// client's certificate some thousand.
constexpr long kCachedSessions = 4096;

// The first error in OpenSSL's queue, which is the cause of the others.
std::string Reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown reason";
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  const char* text = ERR_reason_error_string(code);
  return text != nullptr ? text : "error " + std::to_string(code);
}

absl::Status Failed(const std::string& what, const std::string& why = Reason()) {
  return absl::InvalidArgumentError(what + ": " + why);
}

int ProtocolVersion(int minor) {
  constexpr int kVersions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
  return kVersions[minor];
}

int VerifyMode(PeerCheck check) {
  switch (check) {
    case PeerCheck::kNone:
      return SSL_VERIFY_NONE;
    case PeerCheck::kRequest:
      return SSL_VERIFY_PEER;
    case PeerCheck::kRequire:
    case PeerCheck::kOnce:
      break;
  }
  return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

// Without it OpenSSL would ask the terminal for the password of an encrypted key.
int NoPassword(char* /*buffer*/, int /*size*/, int /*is_writing*/, void* /*user*/) { return -1; }

absl::Status UseCertificate(SSL_CTX* context, const TlsOptions& options) {
  const std::string& key = options.key.empty() ? options.chain_cert : options.key;
  const int format = options.key_is_der ? SSL_FILETYPE_ASN1 : SSL_FILETYPE_PEM;
  SSL_CTX_set_default_passwd_cb(context, NoPassword);
  if (SSL_CTX_use_certificate_chain_file(context, options.chain_cert.c_str()) != 1) {
    return Failed("Error loading the certificate chain: " + options.chain_cert);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), format) != 1) {
    return Failed("Error loading the key: " + key);
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return Failed("Error validating the certificate " + options.chain_cert + " with the key " +
                  key);
  }
  return absl::OkStatus();
}

// TLS 1.3 has names of its own for its ciphers: TLS_AES_128_GCM_SHA256.
absl::Status UseCiphers(SSL_CTX* context, std::string_view list) {
  std::string old_names;
  std::string new_names;
  for (std::string_view rest = list; !rest.empty();) {
    const size_t cut = rest.find(':');
    const std::string_view one = rest.substr(0, cut);
    std::string& names = one.starts_with("TLS_") ? new_names : old_names;
    names.append(names.empty() ? "" : ":").append(one);
    rest.remove_prefix(cut == std::string_view::npos ? rest.size() : cut + 1);
  }
  if ((!old_names.empty() && SSL_CTX_set_cipher_list(context, old_names.c_str()) != 1) ||
      (!new_names.empty() && SSL_CTX_set_ciphersuites(context, new_names.c_str()) != 1)) {
    return Failed("Error setting the provided cipher(s): " + std::string(list));
  }
  return absl::OkStatus();
}

absl::Status CheckPeers(SSL_CTX* context, const TlsOptions& options, PeerCheck check) {
  SSL_CTX_set_verify(context, VerifyMode(check), nullptr);
  // A session taken up again is not checked again: it counts for this kind of listener only.
  const auto kind = static_cast<unsigned char>(check);
  if (SSL_CTX_set_session_id_context(context, &kind, sizeof(kind)) != 1) {
    return Failed("Error naming the sessions");
  }
  if (options.ca_cert.empty()) return absl::OkStatus();
  const char* path = options.ca_cert.c_str();
  STACK_OF(X509_NAME)* names = nullptr;
  if (SSL_CTX_load_verify_locations(context, path, nullptr) != 1 ||
      (names = SSL_load_client_CA_file(path)) == nullptr) {
    return Failed("Error loading the CA certificate: " + options.ca_cert);
  }
  SSL_CTX_set_client_CA_list(context, names);
  return absl::OkStatus();
}

}  // namespace

void TlsContext::Deleter::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

absl::StatusOr<TlsContext::Context> TlsContext::LoadOne(const TlsOptions& options,
                                                        PeerCheck check) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Failed("Error making a TLS context");
  SSL_CTX* raw = context.get();
  if (SSL_CTX_set_min_proto_version(raw, ProtocolVersion(options.min_version)) != 1) {
    return Failed("Error setting the least TLS version");
  }
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               // Requests say themselves where they end.
                               SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(
      raw, options.session_cache ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
  SSL_CTX_sess_set_cache_size(raw, kCachedSessions);
  if (options.kernel_tls) {
    SSL_CTX_set_options(raw, SSL_OP_ENABLE_KTLS);
  } else {
    SSL_CTX_set_read_ahead(raw, 1);
    SSL_CTX_set_default_read_buffer_len(raw, kReadAheadBytes);
  }
  if (auto status = UseCiphers(raw, options.ciphers); !status.ok()) return status;
  if (auto status = UseCertificate(raw, options); !status.ok()) return status;
  if (auto status = CheckPeers(raw, options, check); !status.ok()) return status;
  return context;
}

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Load(const TlsOptions& options) {
  auto loaded = std::make_shared<TlsContext>();
  for (int i = 0; i < kPeerChecks; ++i) {
    const auto check = static_cast<PeerCheck>(i);
    const bool is_usable = check == PeerCheck::kNone || check == options.peer_check ||
                           (check == PeerCheck::kRequire && !options.ca_cert.empty());
    if (!is_usable) continue;
    auto one = LoadOne(options, check);
    if (!one.ok()) return one.status();
    loaded->contexts_[static_cast<size_t>(i)] = *std::move(one);
  }
  return loaded;
}

TlsCredentials::TlsCredentials(const TlsOptions& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      record_bytes_(std::min(static_cast<size_t>(options.wbuf_kb) * 1024, kMostRecordBytes)),
      method_(options.kernel_tls ? nullptr : TlsStream::MakeSocketMethod()) {}

absl::Status TlsCredentials::Load() {
  const std::lock_guard reloading(reload_mutex_);
  if (method_ == nullptr && !options_.kernel_tls) return absl::ResourceExhaustedError("no memory");
  auto loaded = TlsContext::Load(options_);
  if (!loaded.ok()) return loaded.status();
  const MutexLock lock(mutex_);
  current_.swap(*loaded);
  loaded_at_ = clock_.NowMs();
  return absl::OkStatus();
}

int64_t TlsCredentials::SecondsSinceLoad() const {
  const TimeMs now = clock_.NowMs();
  const MutexLock lock(mutex_);
  return static_cast<int64_t>(Elapsed(loaded_at_, now) / 1000);
}

std::unique_ptr<TlsStream> TlsCredentials::NewStream(int fd, PeerCheck check) const {
  std::shared_ptr<const TlsContext> now;
  {
    const MutexLock lock(mutex_);
    now = current_;
  }
  return TlsStream::Make(now->For(check), method_.get(), fd);
}

}  // namespace larder::server
