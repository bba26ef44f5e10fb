#include "protocol/memcache/session_base.h"

#include <algorithm>
#include <cstring>

namespace larder::memcache {
namespace {

using Kind = Unfinished::Kind;

// An upload that got no further than this in so long is given up when others wait for its memory:
// a byte now and then must not keep them out.
constexpr size_t kLeastProgress = 64 << 10;
constexpr int32_t kStalledMs = 1000;

}  // namespace

Session::Progress SessionBase::Consume(std::string_view input, ReplyBuffer& out) {
  size_t consumed = 0;
  Step step;
  do {
    step = TakeStep(input.substr(consumed), out);
    consumed += step.consumed;
  } while (step.go_on);
  holds_input_ = consumed < input.size();
  return {consumed, step.state};
}

SessionBase::Step SessionBase::FillUpload(std::string_view input) {
  size_t consumed = 0;
  while (unfinished_.left > 0) {
    const std::span<char> room = UploadBuffer();
    if (room.empty()) {
      GiveUpUpload();
      return {consumed, SessionState::kNeedInput, true};
    }
    const std::string_view piece = input.substr(consumed, room.size());
    if (piece.empty()) return {consumed, SessionState::kUploading, false};
    std::memcpy(room.data(), piece.data(), piece.size());
    Uploaded(piece.size());
    consumed += piece.size();
  }
  return {consumed, SessionState::kNeedInput, true};
}

SessionBase::Step SessionBase::Skip(std::string_view input) {
  const size_t n = std::min(size_t{unfinished_.left}, input.size());
  unfinished_.left -= static_cast<uint32_t>(n);
  return {n, SessionState::kNeedInput, unfinished_.left == 0};
}

std::span<char> SessionBase::UploadBuffer() {
  if (unfinished_.kind != Kind::kUpload || unfinished_.left == 0) return {};
  const std::span<char> room = unfinished_.upload()->Buffer(op_);
  if (unfinished_.upload()->failed()) return {};
  return room.first(std::min(room.size(), size_t{unfinished_.left}));
}

void SessionBase::Uploaded(size_t n) {
  unfinished_.upload()->Advance(n);
  unfinished_.left -= static_cast<uint32_t>(n);
  if (unfinished_.progress_left - unfinished_.left < kLeastProgress) return;
  unfinished_.progress_left = unfinished_.left;
  unfinished_.progress_ms = static_cast<uint32_t>(op_.now);
}

void SessionBase::Tick() {
  if (unfinished_.kind != Kind::kUpload || !store_.UploadsWaiting()) return;
  // Signed: a clock that was moved back makes nobody stalled.
  const auto since = static_cast<int32_t>(static_cast<uint32_t>(op_.now) - unfinished_.progress_ms);
  if (since < kStalledMs) return;
  GiveUpUpload();
}

}  // namespace larder::memcache
