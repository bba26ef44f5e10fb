#include "server/auth.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "server/password_table.h"

namespace larder::server {
namespace {

using memcache::SaslResult;
using std::string_literals::operator""s;  // NOLINT(misc-unused-using-decls): it is used

std::string Why(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// A file that goes with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("larder-users-" + std::to_string(getpid()))) {
    Write(text);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  void Write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST_CASE("a table of passwords knows its users and nobody else", "[auth]") {
  const auto table = PasswordTable::Parse("joe:secret\r\n\nann:pa:ss word\nlast:x");
  REQUIRE(table.ok());
  CHECK(table->size() == 3);
  CHECK(table->Knows("joe", "secret"));
  CHECK(table->Knows("ann", "pa:ss word"));
  CHECK(table->Knows("last", "x"));
  for (const auto& [user, password] :
       std::vector<std::pair<std::string, std::string>>{{"joe", "secre"},
                                                        {"joe", "secret "},
                                                        {"joe", "secret\r"},
                                                        {"joe", ""},
                                                        {"", ""},
                                                        {"jo", "esecret"},
                                                        {"joes", "ecret"},
                                                        {"ann", "pa"},
                                                        {"ann:pa", "ss word"},
                                                        {"joe", "x"},
                                                        {"joe", "secret\0"s},
                                                        {"JOE", "secret"},
                                                        {"nobody", "secret"}}) {
    CAPTURE(user, password);
    CHECK_FALSE(table->Knows(user, password));
  }
}

TEST_CASE("a bad line of passwords is named, and never quoted", "[auth]") {
  const std::string why = GENERATE(as<std::string>{}, "joe", ":secret", "joe:", "jo\0e:secret"s);
  const auto table = PasswordTable::Parse("a:b\n" + why + "\nc:d\n");
  REQUIRE_FALSE(table.ok());
  CHECK_THAT(Why(table.status()), Catch::StartsWith("line 2: "));
  CHECK_THAT(Why(table.status()), !Catch::Contains("secret"));
}

TEST_CASE("a table of passwords has bounds", "[auth]") {
  CHECK(Why(PasswordTable::Parse("").status()) == "no users in it");
  CHECK(Why(PasswordTable::Parse("\n\r\n\n").status()) == "no users in it");
  CHECK_FALSE(PasswordTable::Parse(std::string(PasswordTable::kMaxTextBytes + 1, 'x')).ok());
  std::string many;
  for (size_t i = 0; i < PasswordTable::kMaxUsers; ++i) many += "u" + std::to_string(i) + ":p\n";
  const auto table = PasswordTable::Parse(many);
  REQUIRE(table.ok());
  CHECK(table->Knows("u9999", "p"));
  CHECK(Why(PasswordTable::Parse(many + "one:more").status()) ==
        "line 10001: more than 10000 users");
}

TEST_CASE("a file of users is read again, and a bad one changes nothing", "[auth]") {
  const TemporaryFile file("joe:secret\n");
  PasswordFile passwords(file.path());
  CHECK_FALSE(passwords.Knows("joe", "secret"));
  REQUIRE(passwords.Reload().ok());
  CHECK(passwords.Knows("joe", "secret"));
  file.Write("joe:other\nbroken\n");
  CHECK(Why(passwords.Reload()) == file.path() + ": line 2: not of the form user:password");
  CHECK(passwords.Knows("joe", "secret"));
  file.Write("joe:other\n");
  REQUIRE(passwords.Reload().ok());
  CHECK_FALSE(passwords.Knows("joe", "secret"));
  CHECK(passwords.Knows("joe", "other"));
  CHECK_FALSE(PasswordFile("/nonexistent/users").Reload().ok());
  CHECK_THAT(Why(PasswordFile("/dev").Reload()), Catch::Contains("not a file"));
}

TEST_CASE("PLAIN takes exactly the messages that RFC 4616 allows", "[auth]") {
  const TemporaryFile file("joe:secret\nann:x\n");
  PasswordFile passwords(file.path());
  REQUIRE(passwords.Reload().ok());
  std::string challenge = "unchanged";
  const auto step = [&](const std::string& message) {
    return PlainExchange(passwords).Step(message, &challenge);
  };
  CHECK(step("\0joe\0secret"s) == SaslResult::kAdmitted);
  CHECK(step("joe\0joe\0secret"s) == SaslResult::kAdmitted);
  for (const std::string& message :
       {"\0joe\0wrong"s, "ann\0joe\0secret"s, "\0joe"s, "joe\0secret"s, "\0\0"s, "\0\0\0"s,
        "\0joe\0"s, "\0\0secret"s, "\0joe\0secret\0"s, "\0joe\0secret\0more"s, "joe secret"s, "\0"s,
        std::string(16'000, '\0'), std::string(16'000, 'x')}) {
    CHECK(step(message) == SaslResult::kFailed);
  }
  PlainExchange asked(passwords);
  CHECK(asked.Step("", &challenge) == SaslResult::kContinue);
  CHECK(challenge.empty());
  CHECK(asked.Step("\0joe\0secret"s, &challenge) == SaslResult::kAdmitted);
  PlainExchange silent(passwords);
  CHECK(silent.Step("", &challenge) == SaslResult::kContinue);
  CHECK(silent.Step("", &challenge) == SaslResult::kFailed);
}

TEST_CASE("the options choose the guard", "[auth]") {
  const TemporaryFile file("joe:secret\n");
  Options options;
  CHECK(*MakeGuard(options) == nullptr);
  SECTION("-Y lets users of the text protocol in, and has no SASL") {
    options.password_file = file.path();
    const auto guard = MakeGuard(options);
    REQUIRE(guard.ok());
    CHECK((*guard)->Knows("joe", "secret"));
    CHECK((*guard)->Mechanisms().empty());
    CHECK((*guard)->BeginSasl("PLAIN") == nullptr);
  }
  SECTION("-S with a file of passwords has PLAIN, and nothing for text") {
    options.sasl = true;
    options.sasl_password_file = file.path();
    const auto guard = MakeGuard(options);
    REQUIRE(guard.ok());
    CHECK_FALSE((*guard)->Knows("joe", "secret"));
    CHECK((*guard)->Mechanisms() == "PLAIN");
    CHECK((*guard)->BeginSasl("plain") != nullptr);
    CHECK((*guard)->BeginSasl("CRAM-MD5") == nullptr);
    CHECK((*guard)->BeginSasl("PLAINER") == nullptr);
  }
  SECTION("a file that is not there is an error, not an open door") {
    options.password_file = "/nonexistent/users";
    CHECK_FALSE(MakeGuard(options).ok());
    options = {};
    options.sasl = true;
    options.sasl_password_file = "/nonexistent/users";
    CHECK_FALSE(MakeGuard(options).ok());
  }
}

}  // namespace
}  // namespace larder::server
