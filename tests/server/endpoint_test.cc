#include "server/endpoint.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "tests/server/client.h"

namespace larder::server {
namespace {

TEST_CASE("endpoints are read as -l writes them", "[server][endpoint]") {
  struct Case {
    const char* text;
    const char* host;
    int port;
  };
  const Case cases[] = {
      {"127.0.0.1", "127.0.0.1", 7},
      {"127.0.0.1:12", "127.0.0.1", 12},
      {"localhost:0", "localhost", 0},
      {"[::1]", "::1", 7},
      {"[::1]:12", "::1", 12},
      {"::1", "::1", 7},
      {"fe80::1:2", "fe80::1:2", 7},
      {"*", "", 7},
      {"*:12", "", 12},
      {"notls:127.0.0.1:12", "127.0.0.1", 12},
      {"notls:proto[ascii]:tag[a]:[::1]:12", "::1", 12},
      {"mtls:*:12", "", 12},
      {"tag_edge_:*", "", 7},
  };
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const auto endpoint = ParseEndpoint(one.text, 7);
    REQUIRE(endpoint.ok());
    CHECK(endpoint->host == one.host);
    CHECK(endpoint->port == one.port);
  }
}

TEST_CASE("what stands in front of an endpoint is about its clients", "[server][endpoint]") {
  CHECK_FALSE(ParseEndpoint("*", 7)->protocol);
  CHECK(ParseEndpoint("proto[ascii]:*", 7)->protocol == BindingProtocol::kAscii);
  CHECK(ParseEndpoint("proto[binary]:*", 7)->protocol == BindingProtocol::kBinary);
  CHECK(ParseEndpoint("proto[negotiating]:*", 7)->protocol == BindingProtocol::kAuto);
  CHECK(ParseEndpoint("notls:proto[ascii]:tag_edge_:*", 7)->tag == "edge");
  CHECK(ParseEndpoint("*", 7)->tls_prefix == TlsPrefix::kNone);
  CHECK(ParseEndpoint("notls:*", 7)->tls_prefix == TlsPrefix::kOff);
  CHECK(ParseEndpoint("btls:*", 7)->tls_prefix == TlsPrefix::kBasic);
  CHECK(ParseEndpoint("mtls:tag[a]:*", 7)->tls_prefix == TlsPrefix::kMutual);
  CHECK(ParseEndpoint("tag[12345678]:*", 7)->tag == "12345678");
}

TEST_CASE("the first byte chooses the dialect, as far as the listener lets it",
          "[server][endpoint]") {
  const std::string_view text = "get k\r\n";
  const std::string_view binary = "\x80\x00";
  CHECK(ChooseDialect(BindingProtocol::kAuto, text) == Dialect::kText);
  CHECK(ChooseDialect(BindingProtocol::kAuto, binary) == Dialect::kBinary);
  CHECK(ChooseDialect(BindingProtocol::kAscii, text) == Dialect::kText);
  CHECK(ChooseDialect(BindingProtocol::kAscii, binary) == Dialect::kText);
  CHECK(ChooseDialect(BindingProtocol::kBinary, text) == Dialect::kNone);
  CHECK(ChooseDialect(BindingProtocol::kBinary, binary) == Dialect::kBinary);
}

TEST_CASE("endpoints that cannot be are refused", "[server][endpoint]") {
  for (const char* text :
       {"127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "[::1", "[::1]x",
        "[::1]:", "btls:mtls:1.2.3.4", "proto[ascii]:mtls:*", "tag[]:1.2.3.4",
        "tag[ninechars]:1.2.3.4", "tag[x:1.2.3.4", "tag_x:1.2.3.4", "proto[ascii:1.2.3.4",
        "proto[proxy]:1.2.3.4", "proto[klingon]:1.2.3.4"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseEndpoint(text, 7).ok());
  }
}

TEST_CASE("a wildcard listens on one free port in both families", "[server][endpoint]") {
  const auto sockets = Listen({.host = {}, .port = 0, .unix_path = {}}, 16);
  REQUIRE(sockets.ok());
  REQUIRE_FALSE(sockets->empty());
  for (const ListeningSocket& one : *sockets) {
    CHECK(one.port > 0);
    const bool v6 = one.family == AF_INET6;
    const std::string expected = (v6 ? "tcp6:[::]:" : "tcp:0.0.0.0:") + std::to_string(one.port);
    CHECK(one.description == expected);
  }
}

TEST_CASE("the kernel keeps little for a client that does not read", "[server][endpoint]") {
  const auto sockets = Listen({.host = "127.0.0.1", .port = 0, .unix_path = {}}, 16);
  REQUIRE(sockets.ok());
  const ListeningSocket& listener = sockets->front();
  const TestClient client = TestClient::Tcp(listener.port);
  REQUIRE(client.connected());
  const UniqueFd accepted(accept(listener.fd.get(), nullptr, nullptr));
  REQUIRE(accepted.valid());
  int unsent = 0;
  socklen_t size = sizeof(unsent);
  REQUIRE(getsockopt(accepted.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, &size) == 0);
  CHECK(unsent == kMostUnsentInKernel);
}

TEST_CASE("an unknown host and a bad socket path are errors", "[server][endpoint]") {
  CHECK_FALSE(Listen({.host = "no-such-host.invalid", .port = 0, .unix_path = {}}, 16).ok());
  CHECK_FALSE(Listen({.host = {}, .port = 0, .unix_path = "/no/such/folder/socket"}, 16).ok());
  CHECK_FALSE(Listen({.host = {}, .port = 0, .unix_path = std::string(200, 'p')}, 16).ok());
}

}  // namespace
}  // namespace larder::server
