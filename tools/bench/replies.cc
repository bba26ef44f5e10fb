// tools/bench/replies.cc — reply lines and value blocks.

#include "tools/bench/replies.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

namespace larder::bench {
namespace {

// Takes the next word of a line whose words are parted by one space.
std::string_view TakeWord(std::string_view* line) {
  const size_t end = std::min(line->find(' '), line->size());
  const std::string_view word = line->substr(0, end);
  line->remove_prefix(std::min(end + 1, line->size()));
  return word;
}

ReplyReader::Step Broken(std::string_view line, Tally* tally) {
  tally->failure = "unexpected reply: " + std::string(line.substr(0, 100));
  return ReplyReader::Step::kBroken;
}

}  // namespace

ReplyReader::Step ReplyReader::Read(const Pending& pending, std::string_view* in, Tally* tally) {
  while (true) {
    if (state_ == State::kLine) {
      const size_t end = in->find('\n');
      if (end == std::string_view::npos) return Step::kMore;
      if (end == 0 || (*in)[end - 1] != '\r') return Broken(in->substr(0, end), tally);
      const std::string_view line = in->substr(0, end - 1);
      in->remove_prefix(end + 1);
      const Step step = OnLine(pending, line, tally);
      if (step != Step::kMore) return step;
    } else if (state_ == State::kValue) {
      if (!TakeValue(in, tally)) return Step::kMore;
      state_ = State::kValueEnd;
    } else {
      if (in->size() < 2) return Step::kMore;
      if (!in->starts_with("\r\n")) return Broken("no line end behind a value", tally);
      in->remove_prefix(2);
      state_ = State::kLine;
      if (is_reply_over_) return Step::kDone;
    }
  }
}

ReplyReader::Step ReplyReader::OnLine(const Pending& pending, std::string_view line, Tally* tally) {
  switch (pending.op) {
    case Op::kGet:
    case Op::kGets:
    case Op::kMiss:
      return OnGetLine(pending, line, tally);
    case Op::kMetaGet:
      return OnMetaGetLine(line, tally);
    case Op::kSet:
    case Op::kAdd:
    case Op::kMetaSet:
    case Op::kDelete:
    case Op::kIncr:
    case Op::kTouch:
      break;
  }
  return OnPlainLine(pending, line, tally);
}

// VALUE <key> <flags> <bytes> [<cas>], or END.
ReplyReader::Step ReplyReader::OnGetLine(const Pending& pending, std::string_view line,
                                         Tally* tally) {
  if (line.starts_with("VALUE ")) {
    std::string_view words = line.substr(6);
    const std::string_view key = TakeWord(&words);
    TakeWord(&words);
    is_reply_over_ = false;
    return BeginValue(key, TakeWord(&words), line, tally);
  }
  if (line != "END") return OnError(line, tally);
  if (hits_ > pending.keys) return Broken("more values than keys", tally);
  tally->hits += hits_;
  tally->misses += pending.keys - hits_;
  hits_ = 0;
  return Step::kDone;
}

// VA <bytes> k<key>, or EN, behind which some versions repeat the key.
ReplyReader::Step ReplyReader::OnMetaGetLine(std::string_view line, Tally* tally) {
  if (line == "EN" || line.starts_with("EN ")) {
    ++tally->misses;
    return Step::kDone;
  }
  if (!line.starts_with("VA ")) return OnError(line, tally);
  std::string_view words = line.substr(3);
  const std::string_view bytes = TakeWord(&words);
  std::string_view key = TakeWord(&words);
  if (!key.starts_with('k')) return Broken(line, tally);
  key.remove_prefix(1);
  ++tally->hits;
  is_reply_over_ = true;
  const Step step = BeginValue(key, bytes, line, tally);
  hits_ = 0;
  return step;
}

ReplyReader::Step ReplyReader::OnPlainLine(const Pending& pending, std::string_view line,
                                           Tally* tally) {
  if (line == "STORED" || line == "HD" || line == "TOUCHED" || line == "DELETED" ||
      (pending.op == Op::kIncr && !line.empty() && line[0] >= '0' && line[0] <= '9')) {
    ++tally->hits;
  } else if (line == "NOT_FOUND" || line == "NOT_STORED" || line == "EXISTS" || line == "NF" ||
             line == "NS" || line == "EX") {
    ++tally->misses;
  } else {
    return OnError(line, tally);
  }
  return Step::kDone;
}

ReplyReader::Step ReplyReader::OnError(std::string_view line, Tally* tally) {
  if (line != "ERROR" && !line.starts_with("SERVER_ERROR ") && !line.starts_with("CLIENT_ERROR ")) {
    return Broken(line, tally);
  }
  ++tally->errors;
  if (tally->first_error.empty()) tally->first_error = line.substr(0, 200);
  hits_ = 0;
  return Step::kDone;
}

ReplyReader::Step ReplyReader::BeginValue(std::string_view key, std::string_view bytes,
                                          std::string_view line, Tally* tally) {
  const char* end = bytes.data() + bytes.size();
  const auto [stop, error] = std::from_chars(bytes.data(), end, value_left_);
  if (error != std::errc{} || stop != end) return Broken(line, tally);
  state_ = State::kValue;
  ++hits_;
  if (verify_) {
    const auto index = key_space_->IndexOf(key);
    expected_ = index ? key_space_->ValueOf(*index) : std::string_view();
    if (expected_.size() != value_left_) {
      ++tally->mismatches;
      expected_ = {};
    }
  }
  return Step::kMore;
}

// True when the whole value has been taken.
bool ReplyReader::TakeValue(std::string_view* in, Tally* tally) {
  const size_t taken = std::min<uint64_t>(value_left_, in->size());
  if (!expected_.empty()) {
    if (std::memcmp(in->data(), expected_.data(), taken) == 0) {
      expected_.remove_prefix(taken);
    } else {
      ++tally->mismatches;
      expected_ = {};
    }
  }
  in->remove_prefix(taken);
  value_left_ -= taken;
  return value_left_ == 0;
}

}  // namespace larder::bench
