// tests/server/tls_client.h — a certificate made on the spot, and a blocking client that speaks
// TLS.
//
// Owner: a test.  Threads: one.

#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "tests/server/client.h"

namespace larder::server {

// A certificate signed by itself, and its key, in one file for as long as this object lives.
class TestCertificate {
 public:
  TestCertificate() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("larder-cert-" + std::to_string(getpid()) + "-" + std::to_string(++count));
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* cert = X509_new();
    X509_set_pubkey(cert, key);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_sign(cert, key, EVP_sha256());
    BIO* file = BIO_new_file(path_.c_str(), "w");
    PEM_write_bio_X509(file, cert);
    PEM_write_bio_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    BIO_free(file);
    X509_free(cert);
    EVP_PKEY_free(key);
  }
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;
  ~TestCertificate() { std::filesystem::remove(path_); }

  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The bytes go through memory, so that a test can hold them back and cut them.
class TlsClient {
 public:
  explicit TlsClient(int port, int version = TLS1_3_VERSION)
      : socket_(TestClient::Tcp(port)),
        context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free),
        ssl_(SSL_new(context_.get()), &SSL_free) {
    SSL_set_min_proto_version(ssl_.get(), version);
    SSL_set_max_proto_version(ssl_.get(), version);
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
  }

  [[nodiscard]] TestClient& socket() { return socket_; }
  // What is to be sent next, and is not sent by anybody else from here on.
  std::string TakeOutput() {
    std::string bytes(BIO_ctrl_pending(SSL_get_wbio(ssl_.get())), '\0');
    if (!bytes.empty()) {
      BIO_read(SSL_get_wbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
    }
    return bytes;
  }
  // `piece`: how many bytes are sent at a time.
  bool ShakeHands(size_t piece = std::string::npos) {
    while (SSL_do_handshake(ssl_.get()) != 1) {
      if (SSL_get_error(ssl_.get(), -1) != SSL_ERROR_WANT_READ) return false;
      if (!SendPieces(TakeOutput(), piece) || !Feed()) return false;
    }
    return SendPieces(TakeOutput(), piece);
  }
  std::string Begin() {
    SSL_do_handshake(ssl_.get());
    return TakeOutput();
  }
  bool Send(std::string_view text, size_t piece = std::string::npos) {
    return SendPieces(Encrypt(text), piece);
  }
  std::string Encrypt(std::string_view text) {
    SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
    return TakeOutput();
  }
  std::string Read(size_t n) {
    std::string text(n, '\0');
    size_t have = 0;
    while (have < n) {
      const int got = SSL_read(ssl_.get(), text.data() + have, static_cast<int>(n - have));
      if (got > 0) {
        have += static_cast<size_t>(got);
      } else if (SSL_get_error(ssl_.get(), got) != SSL_ERROR_WANT_READ || !Feed()) {
        break;
      }
    }
    text.resize(have);
    return text;
  }
  std::string ReadUntil(std::string_view end) { return larder::server::ReadUntil(*this, end); }
  std::string ReadAll() {
    std::string all;
    while (true) {
      const std::string some = Read(4096);
      all += some;
      if (some.size() < 4096) return all;
    }
  }
  std::string Ask(std::string_view request) { return Send(request) ? ReadUntil("\n") : ""; }
  // The far end said that nothing more comes.
  [[nodiscard]] bool was_told_the_end() const {
    return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }

 private:
  bool SendPieces(std::string_view bytes, size_t piece) {
    while (!bytes.empty()) {
      const size_t n = std::min(piece, bytes.size());
      if (!socket_.Send(bytes.substr(0, n))) return false;
      bytes.remove_prefix(n);
    }
    return true;
  }
  bool Feed() {
    const std::string some = socket_.ReadSome();
    if (some.empty()) return false;
    BIO_write(SSL_get_rbio(ssl_.get()), some.data(), static_cast<int>(some.size()));
    return true;
  }

  TestClient socket_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

}  // namespace larder::server
