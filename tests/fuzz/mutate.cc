#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <optional>

#include "protocol/big_endian.h"
#include "protocol/memcache/binary_command.h"
#include "tests/fuzz/swell.h"

namespace larder::test {
namespace {

constexpr std::array<std::string_view, 8> kMetaFronts = {
    "mg a ", "ms a 1 ", "md a ", "ma a ", "me a ", "mn", "mg YQ== b ", "ms YQ== 1 b "};

// Which word of `line` is a value's size; none when no value follows.
std::optional<size_t> SizeWord(std::string_view line) {
  if (line.starts_with("ms ")) return 2;
  for (const std::string_view name : {"set ", "add ", "replace ", "append ", "prepend ", "cas "}) {
    if (line.starts_with(name)) return 4;
  }
  return std::nullopt;
}

bool IsMeta(std::string_view line) {
  return line.size() >= 2 && line[0] == 'm' &&
         std::string_view("gsdaen").find(line[1]) != std::string_view::npos &&
         (line.size() == 2 || line[2] == ' ');
}

std::string_view NextLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// `line` with its n-th word replaced; as it is when it has fewer.
std::string WithWord(std::string_view line, size_t n, std::string_view word) {
  size_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    at = line.find(' ', at);
    if (at == std::string_view::npos) return std::string(line);
    ++at;
  }
  const size_t end = std::min(line.find(' ', at), line.size());
  return std::string(line.substr(0, at)).append(word).append(line.substr(end));
}

}  // namespace

std::string RepairText(std::string_view lines, bool wants_meta, unsigned seed) {
  std::string repaired;
  while (!lines.empty()) {
    std::string line(NextLine(lines));
    if (wants_meta && !IsMeta(line)) {
      line.insert(0, kMetaFronts[seed++ % kMetaFronts.size()]);
    }
    const auto size_word = SizeWord(line);
    if (!size_word) {
      repaired.append(line).append("\r\n");
      continue;
    }
    const std::string_view value = NextLine(lines);
    repaired.append(WithWord(line, *size_word, std::to_string(Swell(value).size())));
    repaired.append("\r\n").append(value).append("\r\n");
  }
  return repaired;
}

std::string RepairPackets(std::string_view packets, unsigned seed) {
  using memcache::kBinaryHeaderBytes;
  std::string repaired(packets);
  for (size_t at = 0; at + kBinaryHeaderBytes <= repaired.size(); ++seed) {
    char* const header = repaired.data() + at;
    const size_t left = repaired.size() - at - kBinaryHeaderBytes;
    const auto* const spec = memcache::FindBinaryCommand(static_cast<uint8_t>(header[1]));
    const size_t extras = std::min<size_t>(spec == nullptr ? 0 : spec->extras_bytes, left);
    const bool has_key = spec == nullptr || spec->key != memcache::KeyShape::kNone;
    const size_t key = has_key ? std::min<size_t>(LoadBig16(header + 2) % 8 + 1, left - extras) : 0;
    const size_t most_value = spec == nullptr || spec->most_value > 0 ? 32 : 0;
    size_t value = std::min<size_t>(most_value == 0 ? 0 : seed % most_value, left - extras - key);
    const std::string_view text(header + kBinaryHeaderBytes + extras + key, left - extras - key);
    if (most_value > 0 && value < text.size() && text.substr(0, value).ends_with(kSwell)) ++value;
    const size_t swollen = Swell(text.substr(0, value)).size();
    header[0] = memcache::kBinaryRequest;
    StoreBig16(header + 2, static_cast<uint16_t>(key));
    header[4] = static_cast<char>(extras);
    header[5] = 0;
    StoreBig32(header + 8, static_cast<uint32_t>(extras + key + swollen));
    at += kBinaryHeaderBytes + extras + key + value;
  }
  return repaired;
}

}  // namespace larder::test
