// tools/bench/requests.cc — spelling requests of the memcached text protocol.

#include "tools/bench/requests.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

namespace larder::bench {
namespace {

bool IsStore(Op op) { return op == Op::kSet || op == Op::kAdd || op == Op::kMetaSet; }

constexpr size_t kMaxKeyRoom = 256;

// Writes into a buffer through a pointer: one check for room a request instead of one an append.
class Cursor {
 public:
  Cursor(OutBuffer* out, size_t room) : out_(out), at_(out->Reserve(room)) {}
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() { out_->Commit(at_); }

  void Put(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Key(const KeySpace& key_space, uint64_t index, bool is_missing = false) {
    at_ = key_space.WriteKey(at_, index, is_missing);
  }
  void Number(uint64_t number) { at_ = std::to_chars(at_, at_ + 20, number).ptr; }

 private:
  OutBuffer* out_;
  char* at_;
};

}  // namespace

RequestWriter::RequestWriter(const Options& options, const KeySpace& key_space, uint64_t seed,
                             std::atomic<uint64_t>* sequence)
    : key_space_(key_space),
      indexes_(options, sequence),
      random_(seed),
      mix_(options.mix),
      multiget_(options.multiget) {
  for (const WeightedOp& o : mix_) {
    total_weight_ += o.weight;
    only_stores_ = only_stores_ && IsStore(o.op);
  }
  const std::string exptime = std::to_string(options.exptime);
  store_tail_ = " 0 " + exptime + " ";
  touch_tail_ = " " + exptime + "\r\n";
  if (options.exptime != 0) meta_ttl_ = " T" + exptime;
}

Op RequestWriter::PickOp() {
  if (mix_.size() == 1) return mix_[0].op;
  auto ticket = static_cast<uint32_t>(random_.Below(total_weight_));
  for (const WeightedOp& o : mix_) {
    if (ticket < o.weight) return o.op;
    ticket -= o.weight;
  }
  return mix_.back().op;
}

void RequestWriter::AppendStore(OutBuffer* out, Op op, bool is_noreply) {
  const uint64_t index = indexes_.Next(random_);
  const std::string_view value = key_space_.ValueOf(index);
  Cursor cursor(out, kMaxKeyRoom + 128 + value.size());
  if (op == Op::kMetaSet) {
    cursor.Put("ms ");
    cursor.Key(key_space_, index);
    cursor.Put(" ");
    cursor.Number(value.size());
    cursor.Put(meta_ttl_);
    if (is_noreply) cursor.Put(" q");
  } else {
    cursor.Put(op == Op::kAdd ? "add " : "set ");
    cursor.Key(key_space_, index);
    cursor.Put(store_tail_);
    cursor.Number(value.size());
    if (is_noreply) cursor.Put(" noreply");
  }
  cursor.Put("\r\n");
  cursor.Put(value);
  cursor.Put("\r\n");
}

Pending RequestWriter::Append(OutBuffer* out, bool is_noreply) {
  const Op op = PickOp();
  if (IsStore(op)) {
    AppendStore(out, op, is_noreply);
    return {0, op, 1, 1};
  }
  const bool is_classic_get = op == Op::kGet || op == Op::kGets || op == Op::kMiss;
  const uint32_t keys = is_classic_get ? multiget_ : 1;
  Cursor cursor(out, 32 + keys * kMaxKeyRoom);
  switch (op) {
    case Op::kGet:
    case Op::kMiss:
      cursor.Put("get");
      break;
    case Op::kGets:
      cursor.Put("gets");
      break;
    case Op::kMetaGet:
      cursor.Put("mg");
      break;
    case Op::kDelete:
      cursor.Put("delete");
      break;
    case Op::kIncr:
      cursor.Put("incr");
      break;
    default:
      cursor.Put("touch");
      break;
  }
  for (uint32_t i = 0; i < keys; ++i) {
    cursor.Put(" ");
    cursor.Key(key_space_, indexes_.Next(random_), op == Op::kMiss);
  }
  if (op == Op::kMetaGet) {
    cursor.Put(" k v\r\n");
  } else if (op == Op::kIncr) {
    cursor.Put(" 1\r\n");
  } else if (op == Op::kTouch) {
    cursor.Put(touch_tail_);
  } else {
    cursor.Put("\r\n");
  }
  return {0, op, keys, 1};
}

}  // namespace larder::bench
