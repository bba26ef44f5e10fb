// core/upload.cc — large values: pieces filled straight from the socket, linked when complete,
// pinned while somebody sends them.

#include <algorithm>
#include <cstring>
#include <string>

#include "core/store_impl.h"

namespace larder {

bool UploadGate::Enter(uint64_t bytes, uint64_t budget, TimeMs now) {
  uint64_t inside = inside_.load(std::memory_order_relaxed);
  do {
    if (inside != 0 && inside + bytes > budget) {
      last_refused_.store(now, std::memory_order_relaxed);
      return false;
    }
  } while (!inside_.compare_exchange_weak(inside, inside + bytes, std::memory_order_relaxed));
  return true;
}

class UploadImpl final : public Upload {
 public:
  // `gated`: it has entered the gate with value_bytes, and leaves it at the end.
  UploadImpl(Store::Impl& impl, const StoreRequest& request, size_t value_bytes, bool gated)
      : impl_(impl),
        request_(request),
        key_(request.key.bytes),
        value_bytes_(value_bytes),
        gated_(gated) {
    request_.key.bytes = key_;
  }
  ~UploadImpl() override {
    impl_.FreePieces(first_);
    if (gated_) impl_.uploads_.Leave(value_bytes_);
  }
  UploadImpl(const UploadImpl&) = delete;
  UploadImpl& operator=(const UploadImpl&) = delete;

  std::span<char> Buffer(OpContext& ctx) override {
    if (failed_ || complete()) return {};
    if (last_ == kNoChunk || LastPiece()->bytes == capacity_) AddPiece(ctx);
    if (failed_) return {};
    return {LastPiece()->data() + LastPiece()->bytes, capacity_ - LastPiece()->bytes};
  }

  void Advance(size_t n) override {
    LastPiece()->bytes += static_cast<uint32_t>(n);
    received_ += n;
  }

  [[nodiscard]] bool complete() const override { return received_ == value_bytes_; }
  [[nodiscard]] bool failed() const override { return failed_; }
  [[nodiscard]] const StoreRequest& request() const { return request_; }
  [[nodiscard]] size_t value_bytes() const { return value_bytes_; }
  [[nodiscard]] Handle first() const { return first_; }
  // The pieces belong to an item now.
  void Disown() { first_ = kNoChunk; }

  // Appends bytes that are there already; false: no memory.
  bool Write(OpContext& ctx, std::string_view bytes) {
    while (!bytes.empty()) {
      const std::span<char> room = Buffer(ctx);
      if (room.empty()) return false;
      const size_t n = std::min(room.size(), bytes.size());
      std::memcpy(room.data(), bytes.data(), n);
      Advance(n);
      bytes.remove_prefix(n);
    }
    return true;
  }

 private:
  [[nodiscard]] Piece* LastPiece() const { return impl_.space().At<Piece>(last_); }

  void AddPiece(OpContext& ctx) {
    const size_t left = value_bytes_ - received_;
    const size_t largest = impl_.sizes_.largest();
    const size_t bytes = std::min(left + sizeof(Piece), largest);
    const Handle handle = impl_.Allocate(ctx, impl_.ClassFor(bytes));
    if (handle == kNoChunk) {
      failed_ = true;
      return;
    }
    auto* piece = impl_.space().At<Piece>(handle);
    piece->next = kNoChunk;
    piece->owner = kNoChunk;
    piece->bytes = 0;
    piece->hash = request_.key.hash;
    piece->bits.store(kTaken | kPiece, std::memory_order_release);
    (last_ == kNoChunk ? first_ : LastPiece()->next) = handle;
    last_ = handle;
    capacity_ = bytes - sizeof(Piece);
  }

  Store::Impl& impl_;
  StoreRequest request_;
  const std::string key_;
  const size_t value_bytes_;
  const bool gated_;
  bool failed_ = false;
  size_t received_ = 0;
  size_t capacity_ = 0;  // of the last piece
  Handle first_ = kNoChunk;
  Handle last_ = kNoChunk;
};

UploadRefusal Store::Impl::BeginUpload(OpContext& ctx, const StoreRequest& request,
                                       size_t value_bytes, std::unique_ptr<Upload>* upload) {
  if (TooLarge(request.key.bytes.size(), value_bytes)) {
    RefuseStore(ctx, request, StoreResult::kTooLarge);
    return UploadRefusal::kTooLarge;
  }
  if (!uploads_.Enter(value_bytes, pool_.limit_bytes() / 2, ctx.now)) return UploadRefusal::kBusy;
  *upload = std::make_unique<UploadImpl>(*this, request, value_bytes, /*gated=*/true);
  return UploadRefusal::kNone;
}

StoreResult Store::Impl::FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload,
                                      StoreAnswer* answer) {
  auto& whole = static_cast<UploadImpl&>(*upload);
  const StoreRequest& request = whole.request();
  if (answer != nullptr) answer->size = whole.value_bytes();
  if (request.mode == StoreMode::kAppend || request.mode == StoreMode::kPrepend) {
    std::string value;
    value.reserve(whole.value_bytes());
    for (Handle at = whole.first(); at != kNoChunk; at = space().At<Piece>(at)->next) {
      value.append(space().At<Piece>(at)->data(), space().At<Piece>(at)->bytes);
    }
    const std::string key(request.key.bytes);  // both live in the upload
    StoreRequest again = request;
    again.key.bytes = key;
    upload.reset();
    const StoreResult joined = Concat(ctx, again, value, answer);
    if (ctx.IsWatched(kMutations)) NoteStore(ctx, again, joined, value.size());
    return joined;
  }
  const StoreResult result = LinkLarge(ctx, whole, answer, nullptr);
  if (ctx.IsWatched(kMutations)) NoteStore(ctx, request, result, whole.value_bytes());
  return result;
}

// With `only_over`: only if the key's item is still that one, else nothing happens (kExists).
StoreResult Store::Impl::LinkLarge(OpContext& ctx, UploadImpl& upload, StoreAnswer* answer,
                                   const Unchanged* only_over) {
  const StoreRequest& request = upload.request();
  const Item::Shape shape{.key_bytes = static_cast<uint8_t>(request.key.bytes.size()),
                          .value_bytes = upload.value_bytes(),
                          .flags = request.flags,
                          .has_cas = options_.use_cas,
                          .has_deadline = true};
  const auto result = Mutate(
      ctx, request.key, [&](Stripe& stripe, ChunkSource& source) -> std::optional<StoreResult> {
        stripe.mutex.AssertHeld();
        // Before anything is looked up: getting a chunk may change the index.
        const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe);
        if (chunk == kNoChunk) {
          if (source.exhausted()) return StoreResult::kOutOfMemory;
          return std::nullopt;
        }
        const IndexStripe::Slot old = FindLive(ctx, stripe, request.key);
        Item* old_item = old ? ItemAt(old.handle()) : nullptr;
        std::optional<StoreResult> refused;
        if (only_over != nullptr) {
          if (!only_over->Is(old_item)) refused = StoreResult::kExists;
        } else {
          refused = Decide(ctx, request, old_item, old ? old.handle() : kNoChunk);
        }
        // A refused attempt counts as well, but not a round of a join that begins again.
        if (!refused || only_over == nullptr) {
          ctx.stats->Add(ClassCounter::cmd_set, ClassOf(upload.first()).id());
        }
        if (refused) {
          Free(chunk);
          return refused;
        }
        const bool stale =
            only_over == nullptr && old_item != nullptr && StoresStale(request, *old_item);
        Item* item = BuildItem(chunk, shape, request.key.bytes, ctx.now,
                               stale ? old_item->deadline() : request.deadline);
        item->SetBits(only_over != nullptr && old_item != nullptr
                          ? static_cast<uint16_t>(old_item->bits() & kBinaryKey)
                          : BitsOf(request, stale ? old_item : nullptr));
        auto* header = new (item->large())
            LargeHeader{static_cast<uint32_t>(shape.value_bytes), {1}, upload.first(), 0};
        for (Handle at = header->first_piece; at != kNoChunk; at = space().At<Piece>(at)->next) {
          space().At<Piece>(at)->owner = chunk;
        }
        if (!Link(ctx, stripe, request.key.hash, chunk, old, request.new_cas)) {
          Free(chunk);
          return StoreResult::kOutOfMemory;
        }
        if (answer != nullptr) *answer = {item->cas(), item->value_bytes()};
        upload.Disown();
        return StoreResult::kStored;
      });
  if (result == StoreResult::kOutOfMemory) RefuseStore(ctx, request, result);
  return result;
}

// A large value given whole.
StoreResult Store::Impl::PutLarge(OpContext& ctx, const StoreRequest& request,
                                  std::string_view value, StoreAnswer* answer) {
  UploadImpl upload(*this, request, value.size(), /*gated=*/false);
  if (!upload.Write(ctx, value)) {
    RefuseStore(ctx, request, StoreResult::kOutOfMemory);
    return StoreResult::kOutOfMemory;
  }
  return LinkLarge(ctx, upload, answer, nullptr);
}

// Append or prepend whose result is large.  The old value is copied from a pin, then linked if the
// key still holds the very same item; else all over again.
StoreResult Store::Impl::ConcatLarge(OpContext& ctx, const StoreRequest& request,
                                     std::string_view value, StoreAnswer* answer) {
  for (;;) {
    Unchanged old;
    Pin pin;
    std::string small;
    StoreRequest whole = request;
    whole.mode = StoreMode::kSet;
    {
      Stripe& stripe = StripeOf(request.key.hash);
      StripeLock lock(stripe.mutex);
      const IndexStripe::Slot slot = FindLive(ctx, stripe, request.key);
      if (!slot && !request.join_creates) return StoreResult::kNotStored;
      if (slot) {
        Item* item = ItemAt(slot.handle());
        if (request.compare_cas != 0 && item->cas() != request.compare_cas) {
          return StoreResult::kExists;
        }
        if (TooLarge(item->key_bytes(), item->value_bytes() + value.size())) {
          ctx.stats->Add(ThreadCounter::store_too_large);
          return StoreResult::kTooLarge;
        }
        old = {item, item->cas(), item->deadline(), {}};
        whole.flags = item->flags();
        whole.deadline = item->deadline();
        if (item->has(kLarge)) {
          pin = MakePin(item);
        } else {
          small = item->small_value();
        }
      }
    }
    const size_t old_bytes = pin.size() + small.size();
    UploadImpl upload(*this, whole, old_bytes + value.size(), /*gated=*/false);
    const bool behind = request.mode == StoreMode::kAppend;
    bool written = behind || upload.Write(ctx, value);
    for (size_t at = 0; written && at < pin.size();) {
      std::span<const char> span;
      (void)pin.Spans(at, {&span, 1});
      written = upload.Write(ctx, {span.data(), span.size()});
      at += span.size();
    }
    written = written && upload.Write(ctx, small) && (!behind || upload.Write(ctx, value));
    if (!written)
      return StoreResult::kNotStored;  // memcached's answer when joining finds no memory
    old.small = small;
    const StoreResult result = LinkLarge(ctx, upload, answer, &old);
    if (result == StoreResult::kOutOfMemory) return StoreResult::kNotStored;
    if (result != StoreResult::kExists) return result;
  }
}

void Store::Impl::FreePieces(Handle first) {
  while (first != kNoChunk) {
    const Handle next = space().At<Piece>(first)->next;
    Free(first);
    first = next;
  }
}

Pin Store::Impl::MakePin(Item* item) {
  item->large()->refs.fetch_add(1, std::memory_order_relaxed);
  Pin pin;
  pin.store_ = facade_;
  pin.item_ = item;
  pin.bytes_ = item->value_bytes();
  return pin;
}

void Store::Impl::Unref(Item* item) {
  if (item->large()->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  FreePieces(item->large()->first_piece);
  Free(space().HandleOf(item));
}

Pin::Pin(Pin&& other) noexcept { *this = std::move(other); }

Pin& Pin::operator=(Pin&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(item_, other.item_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Pin::~Pin() {
  if (item_ != nullptr) store_->impl().Unref(static_cast<Item*>(item_));
}

size_t Pin::Spans(size_t offset, std::span<std::span<const char>> out) const {
  if (item_ == nullptr) return 0;
  const ChunkSpace& space = store_->impl().space();
  size_t used = 0;
  const LargeHeader* large = static_cast<const Item*>(item_)->large();
  for (Handle at = large->first_piece; at != kNoChunk && used < out.size();) {
    auto* piece = space.At<Piece>(at);
    if (offset < piece->bytes) {
      out[used++] = {piece->data() + offset, piece->bytes - offset};
      offset = 0;
    } else {
      offset -= piece->bytes;
    }
    at = piece->next;
  }
  return used;
}

}  // namespace larder
