#include "tests/fuzz/twins.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/fuzz/swell.h"

namespace larder::test {
namespace {

constexpr unsigned kAges = 2048;  // after so many inputs
constexpr unsigned kFlushes = 4 * kAges;
constexpr unsigned kRoomyLife = 512;  // so many inputs do not fill it

// Large values are of several pieces, and soon too large.
StoreOptions WithMemory(uint64_t bytes, bool evict) {
  StoreOptions options = World::Small();
  options.memory_bytes = bytes;
  options.max_item_bytes = 64 << 10;
  options.max_chunk_bytes = 18 << 10;
  options.evict = evict;
  return options;
}

StoreOptions Roomy() { return WithMemory(64 << 20, true); }

}  // namespace

StoreOptions Tiny() { return WithMemory(8 << 20, true); }

void Age(World& world) {
  world.Advance(1000);
  world.store.RunMaintenance(world.context);
  world.store.CheckInvariants();
  world.store.stats().Reset();
}

Twins::Twins(Client::Dialect dialect, const StoreOptions& options)
    : dialect_(dialect), whole_(options), cut_(options) {
  for (World* world : {&whole_, &cut_}) world->session_options.shutdown_enabled = true;
}

void Twins::Play(std::string_view bytes, size_t piece) {
  heard_whole_.clear();
  heard_cut_.clear();
  Client(whole_, std::string_view::npos, dialect_).Ask(bytes, heard_whole_);
  Client(cut_, piece, dialect_).Ask(bytes, heard_cut_);
  if (heard_whole_ != heard_cut_) {
    std::fprintf(stderr, "whole:\n%s\nin pieces of %zu:\n%s\n", heard_whole_.c_str(), piece,
                 heard_cut_.c_str());
    std::abort();
  }
}

void Twins::Age() {
  test::Age(whole_);
  test::Age(cut_);
}

Stage::Stage(Client::Dialect dialect)
    : dialect_(dialect), small_(dialect, Tiny()), full_(WithMemory(8 << 20, false)) {
  full_.session_options.shutdown_enabled = true;
  full_.context.keys = full_.store.hot_keys().NewSketch();
  full_.host.connections = {{7, "tcp:127.0.0.1:4711", "tcp:127.0.0.1:11211", "conn_read", 1}};
}

void Stage::Play(uint8_t first, std::string_view bytes, bool alone) {
  constexpr uint8_t kAlone = 0x80;
  constexpr size_t kLargePiece = 64;
  constexpr size_t kMostWords = 64;  // each may be answered with a large value
  const std::string swollen = Swell(bytes);
  const bool is_large = swollen.size() != bytes.size();
  const bool is_alone = alone || (first & kAlone) != 0;
  if ((is_large || is_alone) && Repeats(bytes, " ", kMostWords)) return;
  const size_t piece = (1U + (first & (kAlone - 1))) * (is_large ? kLargePiece : 1);
  if (is_alone) {
    PlayAlone(swollen, piece);
  } else if (is_large) {
    if (roomy_played_++ % kRoomyLife == 0) roomy_.emplace(dialect_, Roomy());
    roomy_->Play(swollen, piece);
  } else {
    small_.Play(swollen, piece);
  }
  if (++played_ % kAges != 0) return;
  small_.Age();
  if (played_ % kFlushes == 0) (void)Client(full_).Ask("flush_all\r\n");
  Age(full_);
}

void Stage::PlayAlone(std::string_view bytes, size_t piece) {
  full_.host.feed_text = "ts=1.0 gid=1 type=item_get\n";
  heard_.clear();
  Client(full_, piece, dialect_).Ask(bytes, heard_);
}

bool Repeats(std::string_view bytes, std::string_view word, size_t most) {
  size_t count = 0;
  for (size_t at = bytes.find(word); at != std::string_view::npos;
       at = bytes.find(word, at + word.size())) {
    if (++count > most) return true;
  }
  return false;
}

}  // namespace larder::test
