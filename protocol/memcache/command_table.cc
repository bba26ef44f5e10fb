#include "protocol/memcache/command_table.h"

#include <array>
#include <cstdlib>

#include "core/base/bytes.h"

namespace larder::memcache {
namespace {

// Open addressing over rows that never change; a lookup is one probe for nearly every name.
class CommandTable {
 public:
  CommandTable() {
    for (const auto family :
         {RetrievalCommands(), StorageCommands(), KeyedCommands(), AdminCommands(), StatsCommands(),
          WatchCommands(), TuningCommands(), MetaCommands(), MetaStoreCommands()}) {
      for (const CommandSpec& spec : family) Insert(spec);
    }
  }

  [[nodiscard]] const CommandSpec* Find(std::string_view name) const {
    if (name.size() < 2 || name.size() > kLongestName) return nullptr;
    for (size_t slot = Slot(name);; slot = (slot + 1) % kSlots) {
      const CommandSpec* spec = slots_[slot];
      if (spec == nullptr) return spec;
      if (spec->name.size() == name.size() &&
          SameBytes(spec->name.data(), name.data(), name.size())) {
        return spec;
      }
    }
  }

 private:
  static constexpr size_t kSlots = 128;
  static constexpr size_t kLongestName = 16;

  static size_t Slot(std::string_view name) {
    const auto first = static_cast<unsigned char>(name.front());
    const auto second = static_cast<unsigned char>(name[1]);
    const auto last = static_cast<unsigned char>(name.back());
    return (first * 5U + second * 3U + last * 17U + name.size() * 31U) % kSlots;
  }

  void Insert(const CommandSpec& spec) {
    // Kept half empty, so that Find ends.
    if (++used_ > kSlots / 2 || spec.name.size() < 2 || spec.name.size() > kLongestName) {
      std::abort();
    }
    size_t slot = Slot(spec.name);
    while (slots_[slot] != nullptr) slot = (slot + 1) % kSlots;
    slots_[slot] = &spec;
  }

  std::array<const CommandSpec*, kSlots> slots_{};
  size_t used_ = 0;
};

}  // namespace

const CommandSpec* FindCommand(std::string_view name) {
  static const CommandTable kTable;
  return kTable.Find(name);
}

}  // namespace larder::memcache
