#include "server/log.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace larder::server {
namespace {

class LogFile {
 public:
  LogFile()
      : path_(std::filesystem::temp_directory_path() / ("larder-log-" + std::to_string(getpid()))) {
    unlink(path_.c_str());
  }
  ~LogFile() { unlink(path_.c_str()); }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string Read() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string path_;
};

TEST_CASE("a line has a time and a level, and levels above the log's are left out",
          "[server][log]") {
  LogFile file;
  Log log;
  REQUIRE(log.Open(file.path()).ok());
  log.Say(LogLevel::kInfo, "listens");
  log.Say(LogLevel::kDebug, "detail");
  log.SetLevel(LevelOfVerbosity(1));
  log.Say(LogLevel::kDebug, "more detail");
  log.SetLevel(LogLevel::kError);
  log.Say(LogLevel::kWarning, "hush");
  log.Say(LogLevel::kError, "broken");
  const std::regex lines(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info listens\n)"
                         R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z debug more detail\n)"
                         R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error broken\n)");
  const std::string text = file.Read();
  CAPTURE(text);
  CHECK(std::regex_match(text, lines));
}

TEST_CASE("every thread's lines are whole, in its order, and there when the log stops",
          "[server][log]") {
  LogFile file;
  Log log;
  REQUIRE(log.Open(file.path()).ok());
  REQUIRE(log.Start());
  constexpr int64_t kThreads = 4;
  constexpr int64_t kLines = 200;  // all of them fit the queue
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&log, t] {
      for (int64_t i = 0; i < kLines; ++i) {
        log.Say(LogLevel::kInfo, "<" + std::to_string(t) + ":" + std::to_string(i) + ">");
      }
    });
  }
  for (std::thread& one : threads) one.join();
  log.Stop();
  const std::string text = file.Read();
  CHECK(std::count(text.begin(), text.end(), '\n') == kThreads * kLines);
  for (int64_t t = 0; t < kThreads; ++t) {
    size_t at = 0;
    for (int64_t i = 0; i < kLines; ++i) {
      at = text.find("<" + std::to_string(t) + ":" + std::to_string(i) + ">\n", at);
      REQUIRE(at != std::string::npos);
    }
  }
}

TEST_CASE("a log that was moved away is opened anew", "[server][log]") {
  LogFile file;
  Log log;
  REQUIRE(log.Open(file.path()).ok());
  log.Say(LogLevel::kInfo, "before");
  unlink(file.path().c_str());
  REQUIRE(log.Reopen()->ok());
  log.Say(LogLevel::kInfo, "after");
  CHECK(file.Read().find("before") == std::string::npos);
  CHECK(file.Read().find("info after\n") != std::string::npos);
}

TEST_CASE("a log file that cannot be opened is refused by name", "[server][log]") {
  Log log;
  const absl::Status status = log.Open("/no/such/folder/log");
  CHECK_FALSE(status.ok());
  CHECK(status.message().find("/no/such/folder/log") != absl::string_view::npos);
}

}  // namespace
}  // namespace larder::server
