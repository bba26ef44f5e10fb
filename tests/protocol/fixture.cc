#include "tests/protocol/fixture.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace larder::test {
namespace {

// Sessions that break their contract: also for fuzzers, which have no test framework.
[[noreturn]] void Broken(const char* what) {
  std::fprintf(stderr, "a session %s\n", what);
  std::abort();
}

}  // namespace

std::string Client::Ask(std::string_view bytes) {
  std::string answer;
  Ask(bytes, answer);
  return answer;
}

void Client::Ask(std::string_view bytes, std::string& answer) {
  while (!bytes.empty() && !closed_) {
    const std::string_view part = bytes.substr(0, piece_);
    bytes.remove_prefix(part.size());
    Receive(part, answer);
  }
  if (!closed_) Run(answer);
}

void Client::Receive(std::string_view bytes, std::string& answer) {
  // As the server does it: straight into the upload when there is nothing before it.
  while (uploading_ && kept_.empty() && !bytes.empty()) {
    const std::span<char> room = session_->UploadBuffer();
    if (room.empty()) break;
    const std::string_view part = bytes.substr(0, room.size());
    std::memcpy(room.data(), part.data(), part.size());
    session_->Uploaded(part.size());
    bytes.remove_prefix(part.size());
    if (session_->UploadBuffer().empty()) Run(answer);
  }
  kept_ += bytes;
  Run(answer);
}

void Client::Run(std::string& answer) {
  for (;;) {
    const Session::Progress progress = session_->Consume(kept_, *out_);
    if (progress.consumed > kept_.size()) Broken("consumed more than there was");
    kept_.erase(0, progress.consumed);
    most_pending_ = std::max(most_pending_, out_->pending_bytes());
    uploading_ = progress.state == SessionState::kUploading;
    waiting_ = progress.state == SessionState::kWaiting;
    closed_ = progress.state == SessionState::kClosing;
    const bool full = progress.state == SessionState::kOutputFull;
    if (full && out_->empty()) Broken("waits for an output that is empty");
    Send(answer);
    if (!full) break;
  }
  most_kept_ = std::max(most_kept_, kept_.size());
  if (closed_ || waiting_) return;
  if (kept_.size() > Session::kMaxPending) Broken("left more than it may");
  if (uploading_ && !kept_.empty()) Broken("left bytes that belong into the upload");
}

// Odd sizes, so that every kind of segment is cut somewhere.
void Client::Send(std::string& answer) {
  while (!out_->empty()) {
    std::array<iovec, 3> iov;
    const size_t n = out_->Gather(iov);
    if (n == 0) Broken("has nothing to send, but is not empty");
    size_t room = 40'009;
    size_t sent = 0;
    for (size_t i = 0; i < n && room > 0; ++i) {
      const size_t part = std::min(room, iov[i].iov_len);
      answer.append(static_cast<const char*>(iov[i].iov_base), part);
      sent += part;
      room -= part;
    }
    out_->Drop(sent);
    if (!out_->empty()) out_->MarkStuck();  // as when the client does not read more for now
  }
  if (!out_->is_whole()) out_ = std::make_unique<ReplyBuffer>();
}

std::string Repeat(std::string_view text, size_t n) {
  std::string all;
  all.reserve(text.size() * n);
  for (size_t i = 0; i < n; ++i) all += text;
  return all;
}

}  // namespace larder::test
