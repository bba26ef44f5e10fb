#include "protocol/reply_buffer.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace larder {

ReplyBuffer::ReplyBuffer() : block_(new char[kBlockBytes]) { segments_.reserve(kMaxSegments); }

void ReplyBuffer::Add(Segment segment) {
  pending_ += segment.bytes;
  segments_.push_back(std::move(segment));
  is_crowded_ = segments_.size() + 3 > kMaxSegments || pinned_ >= kMaxPinnedBytes;
}

void ReplyBuffer::EndRun() {
  if (written_ > run_) Add({written_ - run_, run_});
  run_ = written_;
}

void ReplyBuffer::AppendPin(Pin pin) {
  const size_t bytes = pin.size();
  if (bytes == 0) return;
  EndRun();
  pinned_ += bytes;
  Add({bytes, std::move(pin)});
}

void ReplyBuffer::AppendOwned(std::string text) {
  const size_t bytes = text.size();
  if (bytes == 0) return;
  EndRun();
  owned_ += bytes;
  Add({bytes, std::move(text)});
}

size_t ReplyBuffer::Gather(std::span<iovec> iov) const {
  size_t used = 0;
  size_t skip = first_sent_;
  const auto add = [&](const char* bytes, size_t n) {
    iov[used++] = iovec{const_cast<char*>(bytes), n};  // writev does not write to it
  };
  for (size_t i = first_; i < segments_.size() && used < iov.size(); ++i) {
    const Segment& segment = segments_[i];
    if (const size_t* start = std::get_if<size_t>(&segment.source)) {
      add(block_.get() + *start + skip, segment.bytes - skip);
    } else if (const std::string* text = std::get_if<std::string>(&segment.source)) {
      add(text->data() + skip, segment.bytes - skip);
    } else {
      // Spans fill what is left of `iov`; when they do not all fit, the next Gather goes on.
      std::array<std::span<const char>, 32> spans;
      const size_t room = std::min(spans.size(), iov.size() - used);
      const size_t n = std::get<Pin>(segment.source).Spans(skip, std::span(spans).first(room));
      size_t covered = skip;
      for (size_t s = 0; s < n; ++s) {
        add(spans[s].data(), spans[s].size());
        covered += spans[s].size();
      }
      if (covered < segment.bytes) return used;
    }
    skip = 0;
  }
  if (written_ > run_ && used < iov.size()) add(block_.get() + run_, written_ - run_);
  return used;
}

void ReplyBuffer::DropSome(size_t n) {
  n = std::min(n, pending_bytes());
  const size_t of_segments = std::min(n, pending_);
  pending_ -= of_segments;
  first_sent_ += of_segments;
  while (first_ < segments_.size() && first_sent_ >= segments_[first_].bytes) {
    first_sent_ -= segments_[first_].bytes;
    segments_[first_].source = size_t{0};  // unpins, frees
    segments_[first_].bytes = 0;
    ++first_;
  }
  run_ += n - of_segments;
  if (empty()) Clear();
}

void ReplyBuffer::ClearSegments() {
  segments_.clear();
  pending_ = 0;
  pinned_ = 0;
  owned_ = 0;
  is_crowded_ = false;
  first_ = 0;
  first_sent_ = 0;
}

void ReplyBuffer::MarkStuck() {
  EndRun();
  size_t block_bytes = 0;
  for (size_t i = first_; i < segments_.size(); ++i) {
    if (Pin* pin = std::get_if<Pin>(&segments_[i].source)) pin->MarkStuck();
    if (std::holds_alternative<size_t>(segments_[i].source)) block_bytes += segments_[i].bytes;
  }
  // The copy has to be cheap, and worth it.
  if (!is_whole() || block_bytes > kBlockBytes / 4) return;
  std::unique_ptr<char[]> small(new (std::nothrow) char[block_bytes]);
  if (small == nullptr) return;
  size_t used = 0;
  for (size_t i = first_; i < segments_.size(); ++i) {
    size_t* offset = std::get_if<size_t>(&segments_[i].source);
    if (offset == nullptr) continue;
    std::memcpy(small.get() + used, block_.get() + *offset, segments_[i].bytes);
    *offset = used;
    used += segments_[i].bytes;
  }
  segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(first_));
  segments_.shrink_to_fit();
  first_ = 0;
  block_ = std::move(small);
  capacity_ = written_ = run_ = used;
}

size_t ReplyBuffer::memory_bytes() const {
  return sizeof(*this) + capacity_ + owned_ + segments_.capacity() * sizeof(Segment);
}

std::string ReplyBuffer::ToString() const {
  std::string text;
  text.reserve(pending_bytes());
  size_t skip = first_sent_;
  for (size_t i = first_; i < segments_.size(); ++i) {
    const Segment& segment = segments_[i];
    if (const size_t* start = std::get_if<size_t>(&segment.source)) {
      text.append(block_.get() + *start + skip, segment.bytes - skip);
    } else if (const std::string* owned = std::get_if<std::string>(&segment.source)) {
      text.append(*owned, skip);
    } else {
      const Pin& pin = std::get<Pin>(segment.source);
      for (size_t at = skip; at < segment.bytes;) {
        std::array<std::span<const char>, 1> span;
        if (pin.Spans(at, span) == 0) break;
        text.append(span[0].data(), span[0].size());
        at += span[0].size();
      }
    }
    skip = 0;
  }
  return text.append(block_.get() + run_, written_ - run_);
}

}  // namespace larder
