// server/option_table.h — one row a flag and one row a suboption of -o; parser, help and
// documentation read the same rows.
//
// Threads: any; constant.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "server/options.h"

namespace larder::server {

enum class OptionGroup : uint8_t {
  kNetwork,
  kMemory,
  kWork,
  kSecurity,
  kProcess,
  kInformation,
};
inline constexpr OptionGroup kOptionGroups[] = {
    OptionGroup::kNetwork,  OptionGroup::kMemory,  OptionGroup::kWork,
    OptionGroup::kSecurity, OptionGroup::kProcess, OptionGroup::kInformation,
};
[[nodiscard]] std::string_view GroupTitle(OptionGroup group);

// The slab page that memcached's rules for sizes go by; ours are smaller (core/memory/chunk.h).
inline constexpr size_t kMemcachedPageBytes = 1 << 20;
inline constexpr size_t kMemcachedChunkMax = kMemcachedPageBytes / 2;  // its slab_chunk_max

// The value of a flag without argument that a configuration takes back.
inline constexpr std::string_view kSwitchedOff = "no";
// Sets what such a flag is about.
inline Refusal Switch(bool* what, std::string_view value) {
  *what = value != kSwitchedOff;
  return {};
}

struct OptionRow {
  char letter;                // '\0': it has only a long name
  std::string_view name;      // the long one
  std::string_view argument;  // what it is called in the help; empty: the flag takes none
  OptionGroup group;
  std::string_view help;
  std::string_view fallback;  // the default, as it would be typed; may be empty
  std::string_view example;   // may be empty
  // Takes one occurrence into `options`; `value` of a flag without argument is empty, or
  // kSwitchedOff.
  Refusal (*apply)(Options& options, std::string_view value);

  [[nodiscard]] bool takes_value() const { return !argument.empty(); }
};

[[nodiscard]] std::span<const OptionRow> OptionRows();

// What apply() gets: always a value, perhaps one, or nothing, where kSwitch also gets kSwitchedOff.
// The opposite of kNone is a row of its own, no_<name>, if there is one.
enum class SuboptionValue : uint8_t { kNone, kSwitch, kRequired, kOptional };

struct SuboptionRow {
  std::string_view name;
  SuboptionValue value;
  std::string_view help;  // empty: left out of the help (deprecated or undocumented)
  std::string_view fallback;
  Refusal (*apply)(Options& options, const SuboptionRow& row, std::string_view value);
};

[[nodiscard]] std::span<const SuboptionRow> SuboptionRows();
// Null: there is none of that name.
[[nodiscard]] const SuboptionRow* FindSuboption(std::string_view name);
// Applies one occurrence; `value` is as typed, empty for none.
[[nodiscard]] Refusal ApplySuboption(Options& options, const SuboptionRow& row,
                                     std::string_view value);

// Applies one -o argument, "a,b=c".
[[nodiscard]] Refusal ApplySuboptions(Options& options, std::string_view text);

}  // namespace larder::server
