// tests/scaling/workload.cc — the requests that players send.

#include "tests/scaling/workload.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace larder::scaling {
namespace {

constexpr uint64_t kMaxKeyText = 250;
constexpr size_t kValueBytes = 100;
constexpr unsigned kSetsIn100 = 10;  // of the mix
constexpr uint64_t kFillBatch = 100;

[[noreturn]] void Die(std::string_view why) {
  std::fprintf(stderr, "scaling: %.*s\n", static_cast<int>(why.size()), why.data());
  std::exit(2);
}

Mix ParseMix(std::string_view text) {
  if (text == "get") return Mix::kGet;
  if (text == "set") return Mix::kSet;
  if (text == "mixed") return Mix::kGetsAndSets;
  if (text == "new") return Mix::kNewKeys;
  Die("--mix is get, set, mixed or new");
}

StoreOptions OptionsOf(const Spec& spec) {
  StoreOptions options;
  options.memory_bytes = spec.memory_mb << 20;
  options.threads = spec.workers;
  options.background = false;
  options.hash_seed = 1;
  return options;
}

bench::Options LoadOf(const Spec& spec) {
  bench::Options load;
  load.keys = spec.keys;
  load.order = spec.is_zipf ? bench::KeyOrder::kZipf : bench::KeyOrder::kUniform;
  return load;
}

}  // namespace

Spec ParseSpec(int argc, char** argv) {
  Spec spec;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* const value = argv[i + 1];
    const uint64_t number = std::strtoull(value, nullptr, 10);
    if (name == "--mix") {
      spec.mix = ParseMix(value);
    } else if (name == "--order") {
      spec.is_zipf = std::string_view(value) == "zipf";
    } else if (name == "--workers") {
      spec.workers = static_cast<unsigned>(number);
    } else if (name == "--keys") {
      spec.keys = number;
    } else if (name == "--memory-mb") {
      spec.memory_mb = number;
    } else if (name == "--pipeline") {
      spec.pipeline = static_cast<unsigned>(number);
    } else if (name == "--requests") {
      spec.requests = number;
    } else {
      Die("unknown option");
    }
  }
  if (argc % 2 == 0 || spec.workers < 1 || spec.workers > 64 || spec.keys == 0 ||
      spec.pipeline == 0)
    Die("bad options");
  return spec;
}

World::World(const Spec& wanted)
    : spec(wanted),
      store(OptionsOf(spec), clock),
      load(LoadOf(spec)),
      key_space(load),
      next_new_key(spec.keys) {}

Player::Player(World& world, unsigned number)
    : world_(world),
      random_(number + 1),
      keys_(world.load, nullptr),
      session_(memcache::MakeSession(world.store, context_, world.host, world.session_options)) {
  context_.stats = world.store.stats().NewCell();
  context_.now = world.clock.NowMs();
  context_.WatchKeys(world.store.hot_keys().NewSketch());
}

void Player::AppendGet(uint64_t key) {
  char text[kMaxKeyText];
  const auto end = static_cast<size_t>(world_.key_space.WriteKey(text, key) - text);
  requests_.append("get ").append(std::string_view(text, end)).append("\r\n");
}

void Player::AppendSet(uint64_t key) {
  char text[kMaxKeyText];
  const auto end = static_cast<size_t>(world_.key_space.WriteKey(text, key) - text);
  requests_.append("set ").append(std::string_view(text, end)).append(" 0 0 100\r\n");
  requests_.append(kValueBytes, 'v').append("\r\n");
}

void Player::Append() {
  switch (world_.spec.mix) {
    case Mix::kGet:
      return AppendGet(keys_.Next(random_));
    case Mix::kSet:
      return AppendSet(keys_.Next(random_));
    case Mix::kGetsAndSets: {
      const bool is_set = random_.Below(100) < kSetsIn100;
      const uint64_t key = keys_.Next(random_);
      return is_set ? AppendSet(key) : AppendGet(key);
    }
    case Mix::kNewKeys:
      return AppendSet(world_.next_new_key.fetch_add(1, std::memory_order_relaxed));
  }
}

void Player::Send() {
  context_.Refresh(world_.clock.NowMs());
  std::string_view left = requests_;
  while (!left.empty()) {
    const Session::Progress progress = session_->Consume(left, out_);
    if (progress.consumed == 0 && progress.state != SessionState::kOutputFull) Die("stands still");
    left.remove_prefix(progress.consumed);
    out_.Clear();
  }
  requests_.clear();
}

void Player::Compose() {
  for (unsigned i = 0; i < world_.spec.pipeline; ++i) Append();
}

void Player::Fill(uint64_t first, uint64_t end) {
  while (first < end) {
    for (uint64_t i = 0; i < kFillBatch && first < end; ++i) AppendSet(first++);
    Send();
  }
}

std::vector<std::unique_ptr<Player>> MakePlayers(World& world) {
  std::vector<std::unique_ptr<Player>> players;
  for (unsigned i = 0; i < world.spec.workers; ++i) {
    players.push_back(std::make_unique<Player>(world, i));
  }
  players[0]->Fill(0, world.spec.keys);
  return players;
}

}  // namespace larder::scaling
