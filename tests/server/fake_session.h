// tests/server/fake_session.h — a session that shows every state to a connection, without a cache.
//
// Lines: "echo X", "big N" (N bytes x), "up N" and N bytes ("got N"), "wait N" (waits N times, then
// "waited"), "quit".
// Owner: a connection.  Threads: its worker.

#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "protocol/session.h"

namespace larder::server {

class FakeSession final : public Session {
 public:
  static constexpr size_t kPiece = 1000;  // of an upload, so that it takes several

  Progress Consume(std::string_view input, ReplyBuffer& out) override {
    size_t at = 0;
    while (true) {
      if (left_ > 0) {
        const size_t n = std::min(left_, input.size() - at);
        at += n;
        left_ -= n;
        if (left_ > 0) return {at, SessionState::kUploading};
      }
      if (is_uploading_) {
        if (!out.HasRoom()) return {at, SessionState::kOutputFull};
        out.Append("got\n");
        is_uploading_ = false;
      }
      const size_t end = input.find('\n', at);
      if (end == std::string_view::npos) return {at, SessionState::kNeedInput};
      if (!out.HasRoom()) return {at, SessionState::kOutputFull};
      const std::string_view line = input.substr(at, end - at);
      const std::string_view word = line.substr(0, line.find(' '));
      const std::string_view rest = line.substr(std::min(line.size(), word.size() + 1));
      if (word == "quit") return {end + 1, SessionState::kClosing};
      if (word == "wait" && waited_ < Number(rest)) {
        ++waited_;
        return {at, SessionState::kWaiting};
      }
      at = end + 1;
      if (word == "echo") {
        out.Append(std::string(rest) + "\n");
      } else if (word == "big") {
        out.AppendOwned(std::string(Number(rest), 'x'));
      } else if (word == "up") {
        left_ = Number(rest);
        is_uploading_ = true;
      } else if (word == "wait") {
        waited_ = 0;
        out.Append("waited\n");
      } else {
        out.Append("?\n");
      }
    }
  }
  std::span<char> UploadBuffer() override { return std::span(piece_, std::min(left_, kPiece)); }
  void Uploaded(size_t n) override { left_ -= n; }
  void Tick() override {}
  [[nodiscard]] bool idle() const override { return !is_uploading_; }

 private:
  static size_t Number(std::string_view text) {
    size_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }

  size_t left_ = 0;
  size_t waited_ = 0;
  bool is_uploading_ = false;
  char piece_[kPiece] = {};
};

}  // namespace larder::server
