// core/upload.cc — large values: pieces filled straight from the socket, linked when complete,
// pinned while somebody sends them.

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>

#include "core/store_impl.h"

namespace larder {
namespace {

constexpr size_t kLeastPiece = 4096;  // where no larger one is to be had

}  // namespace

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
  // The item of the pieces, in `chunk`, in place of `old` (null: there is none).
  Item* Build(OpContext& ctx, const Item::Shape& shape, Handle chunk, const Item* old, bool joins) {
    assert(shape.large());
    const bool stale = !joins && old != nullptr && Store::Impl::StoresStale(request_, *old);
    Item* item =
        impl_.BuildItem(chunk, shape, key_, ctx.now, stale ? old->deadline() : request_.deadline);
    item->SetBits(joins && old != nullptr ? static_cast<uint16_t>(old->bits() & kBinaryKey)
                                          : Store::Impl::BitsOf(request_, stale ? old : nullptr));
    new (item->large()) LargeHeader{static_cast<uint32_t>(value_bytes_), {1}, first_, {0}};
    for (Handle at = first_; at != kNoChunk; at = impl_.space().At<Piece>(at)->next) {
      impl_.space().At<Piece>(at)->owner = chunk;
    }
    return item;
  }
  // The pieces belong to an item now.
  void Disown() { first_ = kNoChunk; }

  // Appends the pieces of a complete upload where they lie.  Unsplice() must give them back unless
  // both disown them.
  void Splice(UploadImpl& other) {
    spliced_ = &other;
    before_splice_ = last_;
    (last_ == kNoChunk ? first_ : LastPiece()->next) = other.first_;
    last_ = other.last_;
    capacity_ = LastPiece()->bytes;  // full: what follows takes a piece of its own
    received_ += other.value_bytes_;
  }
  void Unsplice() {
    if (spliced_ == nullptr) return;
    Handle& end = spliced_->LastPiece()->next;
    (before_splice_ == kNoChunk ? first_ : impl_.space().At<Piece>(before_splice_)->next) = end;
    end = kNoChunk;
    spliced_ = nullptr;
  }

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
    size_t bytes = std::min(left + sizeof(Piece), largest);
    const Handle handle = impl_.Allocate(ctx, impl_.ClassFor(bytes), impl_.ClassFor(kLeastPiece));
    if (handle == kNoChunk) {
      failed_ = true;
      return;
    }
    bytes = std::min(bytes, impl_.ClassOf(handle).chunk_bytes());
    auto* piece = impl_.space().At<Piece>(handle);
    piece->next = kNoChunk;
    piece->owner = kNoChunk;
    piece->bytes = 0;
    std::memcpy(piece->hash_bytes.data(), &request_.key.hash, sizeof request_.key.hash);
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
  UploadImpl* spliced_ = nullptr;
  Handle before_splice_ = kNoChunk;  // the piece in front of it
};

// Without eviction: false when a large value cannot be stored for sure.
// Where most of a large value's bytes lie, when there is memory.
SlabClass& Store::Impl::ClassOfPieces(size_t value_bytes) {
  return classes_[ClassFor(std::min(value_bytes + sizeof(Piece), sizes_.largest()))];
}

bool Store::Impl::HasRoomFor(size_t value_bytes) {
  const size_t largest = sizes_.largest() - sizeof(Piece);
  const size_t pieces = std::max<size_t>(1, value_bytes / largest);
  const size_t id = ClassOfPieces(value_bytes).id();
  const size_t fresh =
      pool_.free_pages() + pool_.LimitPages() - std::min(pool_.LimitPages(), pool_.backed_pages());
  // A class without pages may use a somewhat larger one's.
  SlabClass& slab_class = classes_[fresh > 0 ? id : SettleClass(id)];
  ClassLock lock(slab_class.mutex());
  return slab_class.available() + fresh * slab_class.chunks_per_page() >= pieces;
}

UploadRefusal Store::Impl::BeginUpload(OpContext& ctx, const StoreRequest& request,
                                       size_t value_bytes, std::unique_ptr<Upload>* upload) {
  if (TooLarge(request.key.bytes.size(), value_bytes)) {
    RefuseStore(ctx, request, StoreResult::kTooLarge);
    return UploadRefusal::kTooLarge;
  }
  while (!options_.evict && !HasRoomFor(value_bytes)) {
    if (Reclaim(ctx, ClassOfPieces(value_bytes))) continue;
    RefuseStore(ctx, request, StoreResult::kOutOfMemory);
    return UploadRefusal::kOutOfMemory;
  }
  if (!uploads_.Enter(value_bytes, pool_.limit_bytes() / 2, ctx.now)) {
    if (!client_memory().is_over()) return UploadRefusal::kBusy;
    // Those who wait hold what they have sent so far, and there is no more room for that.
    RefuseStore(ctx, request, StoreResult::kOutOfMemory);
    return UploadRefusal::kOutOfMemory;
  }
  *upload = std::make_unique<UploadImpl>(*this, request, value_bytes, /*gated=*/true);
  return UploadRefusal::kNone;
}

StoreResult Store::Impl::FinishUpload(OpContext& ctx, std::unique_ptr<Upload> upload,
                                      StoreAnswer* answer) {
  auto& whole = static_cast<UploadImpl&>(*upload);
  const StoreRequest& request = whole.request();
  if (answer != nullptr) answer->size = whole.value_bytes();
  ApplyPendingFlush(ctx);
  const bool joins = request.mode == StoreMode::kAppend || request.mode == StoreMode::kPrepend;
  // What is joined to the pieces of an upload is large, whatever became of the old value.
  const StoreResult result = joins ? *ConcatLarge(ctx, request, {}, &whole, answer)
                                   : LinkLarge(ctx, whole, answer, nullptr);
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
  assert(shape.large());
  const auto result = Mutate(
      ctx, request.key, [&](Stripe& stripe, ChunkSource& source) -> std::optional<StoreResult> {
        stripe.mutex.AssertHeld();
        // Before anything is looked up: getting a chunk may change the index.
        const Handle chunk = source.Take(ClassFor(shape.bytes()), &stripe, nullptr);
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
        Item* item = upload.Build(ctx, shape, chunk, old_item, /*joins=*/only_over != nullptr);
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

// What ConcatLarge joins to: a copy of it, or a pin, to be read without the lock.
struct Store::Impl::JoinedTo {
  Unchanged item;
  Pin pin;
  std::string small;
  [[nodiscard]] size_t bytes() const { return pin.size() + small.size(); }
};

// Looks the old value up; kStored: it can be joined.
StoreResult Store::Impl::FindJoined(OpContext& ctx, StoreRequest* request, size_t value_bytes,
                                    JoinedTo* old) {
  Stripe& stripe = StripeOf(request->key.hash);
  StripeLock lock(stripe.mutex);
  const IndexStripe::Slot slot = FindLive(ctx, stripe, request->key);
  if (!slot) {
    if (request->join_creates) return StoreResult::kStored;
    ctx.stats->Add(ClassCounter::cmd_set, ClassFor(ItemShapeBytes(*request, value_bytes)));
    return StoreResult::kNotStored;
  }
  Item* item = ItemAt(slot.handle());
  if (request->compare_cas != 0 && item->cas() != request->compare_cas) return StoreResult::kExists;
  if (TooLarge(item->key_bytes(), item->value_bytes() + value_bytes)) {
    ctx.stats->Add(ThreadCounter::store_too_large);
    return StoreResult::kTooLarge;
  }
  request->flags = item->flags();
  request->deadline = item->deadline();
  if (item->has(kLarge)) {
    old->pin = MakePin(item);
  } else {
    old->small = item->small_value();
  }
  old->item = {item, item->cas(), item->deadline(), old->small};
  item->SetBits(kActive);  // it should not be what goes to make room
  return StoreResult::kStored;
}

// Append or prepend whose result is large: of `value`, or of the pieces of a complete upload.  The
// old value is copied, then all of it linked if the key still holds the very same item; else all
// over again.  Null: the old value became small meanwhile, and so would the result.
std::optional<StoreResult> Store::Impl::ConcatLarge(OpContext& ctx, const StoreRequest& request,
                                                    std::string_view value, UploadImpl* pieces,
                                                    StoreAnswer* answer) {
  const size_t new_bytes = pieces == nullptr ? value.size() : pieces->value_bytes();
  const bool behind = request.mode == StoreMode::kAppend;
  for (;;) {
    JoinedTo old;
    StoreRequest whole = request;
    whole.mode = StoreMode::kSet;
    const StoreResult found = FindJoined(ctx, &whole, new_bytes, &old);
    if (found != StoreResult::kStored) return found;
    if (old.bytes() + new_bytes <= kLargeValueBytes) return std::nullopt;
    UploadImpl joined(*this, whole, old.bytes() + new_bytes, /*gated=*/false);
    const auto write_new = [&] {
      if (pieces == nullptr) return joined.Write(ctx, value);
      joined.Splice(*pieces);
      return true;
    };
    bool written = behind || write_new();
    for (size_t at = 0; written && at < old.pin.size();) {
      std::span<const char> span;
      (void)old.pin.Spans(at, {&span, 1});
      written = joined.Write(ctx, {span.data(), span.size()});
      at += span.size();
    }
    written = written && joined.Write(ctx, old.small) && (!behind || write_new());
    const StoreResult result =
        written ? LinkLarge(ctx, joined, answer, &old.item) : StoreResult::kOutOfMemory;
    if (result == StoreResult::kStored) {
      if (pieces != nullptr) pieces->Disown();
      return result;
    }
    joined.Unsplice();
    // memcached's answer when joining finds no memory.
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
  std::swap(is_stuck_, other.is_stuck_);
  return *this;
}

Pin::~Pin() {
  if (item_ == nullptr) return;
  auto* item = static_cast<Item*>(item_);
  Store::Impl& impl = store_->impl();
  if (is_stuck_ && item->large()->stuck_pins.fetch_sub(1, std::memory_order_relaxed) == 1) {
    impl.client_memory().AddPinned(-static_cast<int64_t>(bytes_));
  }
  impl.Unref(item);
}

void Pin::MarkStuck() {
  if (item_ == nullptr || is_stuck_) return;
  is_stuck_ = true;
  auto* item = static_cast<Item*>(item_);
  if (item->large()->stuck_pins.fetch_add(1, std::memory_order_relaxed) == 0) {
    store_->impl().client_memory().AddPinned(static_cast<int64_t>(bytes_));
  }
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
