#include "tests/protocol/transcript.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/protocol/fixture.h"

namespace larder::test {
namespace {

unsigned HexDigit(char c) {
  const size_t value = std::string_view("0123456789abcdef").find(c);
  if (value == std::string_view::npos) FAIL("not a hexadecimal digit: " << c);
  return static_cast<unsigned>(value);
}

char Escaped(std::string_view text, size_t& at) {
  switch (const char c = text.at(at++)) {
    case 'r':
      return '\r';
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'x':
      at += 2;
      return static_cast<char>(HexDigit(text.at(at - 2)) * 16 + HexDigit(text.at(at - 1)));
    default:
      return c;
  }
}

std::string Unescape(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at++];
    bytes += c == '\\' ? Escaped(text, at) : c;
  }
  return bytes;
}

void AddText(Parts& parts, std::string_view text) {
  if (parts.empty() || parts.back().kind != Part::Kind::kText) parts.emplace_back();
  parts.back().text += text;
}

// What stands between braces.
void AddBraced(Parts& parts, std::string_view inside) {
  if (inside == "cas") {
    parts.push_back({.kind = Part::Kind::kCas, .text = {}});
  } else if (inside == "cas!") {
    parts.push_back({.kind = Part::Kind::kNewCas, .text = {}});
  } else if (inside == "n") {
    parts.push_back({.kind = Part::Kind::kNumber, .text = {}});
  } else if (inside.starts_with("now+")) {
    const int64_t seconds = std::stol(std::string(inside.substr(4)));
    parts.push_back({.kind = Part::Kind::kTime, .text = {}, .seconds = seconds});
  } else {
    const size_t star = inside.rfind('*');
    if (star == std::string_view::npos) FAIL("unknown: {" << inside << "}");
    const size_t n = std::stoul(std::string(inside.substr(star + 1)));
    AddText(parts, Repeat(Unescape(inside.substr(0, star)), n));
  }
}

void AddLine(Parts& parts, std::string_view line) {
  for (size_t at = 0; at < line.size();) {
    const char c = line[at++];
    if (c == '\\') {
      AddText(parts, std::string(1, Escaped(line, at)));
    } else if (c == '{') {
      const size_t end = line.find('}', at);
      if (end == std::string_view::npos) FAIL("no end of {");
      AddBraced(parts, line.substr(at, end - at));
      at = end + 1;
    } else {
      AddText(parts, std::string(1, c));
    }
  }
}

// `rest` is the line behind its first character.
void AddBytes(Parts& parts, std::string_view rest) {
  const bool raw = rest.starts_with('|');
  if (raw) rest.remove_prefix(1);
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  AddLine(parts, rest);
  if (!raw) AddText(parts, "\r\n");
}

class Reader {
 public:
  std::vector<Scenario> Read(std::istream& in) {
    std::string line;
    while (std::getline(in, line)) {
      ++number_;
      INFO("line " << number_ << ": " << line);
      if (!line.empty() && line[0] != '#') Take(line);
    }
    return std::move(scenarios_);
  }

 private:
  void Take(std::string_view line) {
    const std::string_view rest = line.substr(1);
    switch (line[0]) {
      case '=':
        scenarios_.push_back({std::string(line.substr(3)), {}, {}});
        return;
      case '$': {
        std::istringstream words{std::string(rest)};
        for (std::string word; words >> word;) scenarios_.back().options.push_back(word);
        return;
      }
      case '@':
        advance_ms_ += Duration(rest);
        return;
      case '>':
        if (last_ != '>') Begin();
        AddBytes(Current().request, rest);
        break;
      case '<':
        if (rest == "!") {
          Current().closes = true;
        } else {
          AddBytes(Current().reply, rest);
        }
        break;
      case '+':
        AddGain(rest);
        break;
      default:
        FAIL("what is this line?");
    }
    last_ = line[0];
  }

  Exchange& Current() { return scenarios_.back().exchanges.back(); }

  void Begin() {
    Exchange exchange;
    exchange.line = number_;
    exchange.advance_ms = advance_ms_;
    advance_ms_ = 0;
    scenarios_.back().exchanges.push_back(std::move(exchange));
  }

  void AddGain(std::string_view text) {
    std::istringstream words{std::string(text)};
    std::string name;
    uint64_t n = 0;
    if (!(words >> name >> n)) FAIL("+ needs a name and a number");
    Current().gains.emplace_back(name, n);
  }

  static uint64_t Duration(std::string_view text) {
    std::istringstream in{std::string(text)};
    uint64_t n = 0;
    std::string unit;
    in >> n >> unit;
    if (unit == "s") return n * 1000;
    if (unit != "ms") FAIL("a time is in s or ms");
    return n;
  }

  std::vector<Scenario> scenarios_;
  size_t number_ = 0;
  uint64_t advance_ms_ = 0;
  char last_ = '=';
};

// Matches a reply, and remembers the CAS value in it.
bool Matches(const Parts& parts, std::string_view actual, std::string& cas) {
  for (const Part& part : parts) {
    if (part.kind == Part::Kind::kText) {
      if (!actual.starts_with(part.text)) return false;
      actual.remove_prefix(part.text.size());
      continue;
    }
    const size_t digits = std::min(actual.find_first_not_of("0123456789"), actual.size());
    if (digits == 0) return false;
    const std::string number(actual.substr(0, digits));
    if (part.kind == Part::Kind::kNewCas && number == cas) return false;
    if (part.kind != Part::Kind::kNumber) cas = number;
    actual.remove_prefix(digits);
  }
  return actual.empty();
}

std::string ToText(const Parts& parts, const std::string& cas, int64_t now_s) {
  std::string text;
  for (const Part& part : parts) {
    if (part.kind == Part::Kind::kText) {
      text += part.text;
    } else if (part.kind == Part::Kind::kTime) {
      text += std::to_string(now_s + part.seconds);
    } else {
      text += cas;
    }
  }
  return text;
}

// Short enough to be read, with its control characters visible.
std::string Shown(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, 400)) {
    if (c == '\r') {
      shown += "\\r";
    } else if (c == '\n') {
      shown += "\\n\n";
    } else {
      shown += c;
    }
  }
  if (text.size() > 400) shown += "... " + std::to_string(text.size()) + " bytes";
  return shown;
}

std::map<std::string, uint64_t> Counters(World& world) {
  std::istringstream in(Client(world).Ask("stats\r\n"));
  std::map<std::string, uint64_t> counters;
  for (std::string stat, name, value; in >> stat >> name >> value;) {
    if (value.find_first_not_of("0123456789") == std::string::npos) {
      counters[name] = std::stoull(value);
    }
  }
  return counters;
}

StoreOptions StoreOptionsFrom(const std::vector<std::string>& words) {
  StoreOptions options = World::Small();
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-C") {
      options.use_cas = false;
    } else if (words[i] == "-M") {
      options.evict = false;
    } else if (words[i] == "-I") {
      options.max_item_bytes = std::stoul(words.at(++i));
    } else if (words[i] == "-m") {
      options.memory_bytes = std::stoull(words.at(++i)) << 20;
    } else if (words[i] == "-f") {
      options.growth_factor = std::stod(words.at(++i));
    } else if (words[i] == "-D") {
      options.prefix_stats = true;
      options.prefix_delimiter = words.at(++i).at(0);
    } else if (words[i] == "-n") {
      options.min_chunk_payload = std::stoul(words.at(++i));
    } else if (words[i] != "-F" && words[i] != "-X" && words[i] != "-A") {
      FAIL("the player does not know the option " << words[i]);
    }
  }
  return options;
}

void CheckGains(const Exchange& exchange, std::map<std::string, uint64_t>& before, World& world) {
  auto now = Counters(world);
  for (const auto& [name, gain] : exchange.gains) {
    INFO("counter " << name);
    REQUIRE(now.contains(name));
    CHECK(now[name] - before[name] == gain);
  }
  before = std::move(now);
}

}  // namespace

std::vector<Scenario> ReadTranscript(const std::string& name) {
  INFO("transcript " << name);
  std::ifstream in(std::string(LARDER_TRANSCRIPTS) + "/" + name);
  REQUIRE(in.good());
  return Reader().Read(in);
}

void Play(const Scenario& scenario, size_t piece) {
  INFO("scenario: " << scenario.title << ", " << piece << " bytes at a time");
  World world(StoreOptionsFrom(scenario.options));
  for (const std::string& word : scenario.options) {
    if (word == "-F") world.session_options.flush_enabled = false;
    if (word == "-X") world.session_options.dump_enabled = false;
  }
  Client client(world, piece);
  std::string cas = "0";
  std::map<std::string, uint64_t> counters;
  for (const Exchange& exchange : scenario.exchanges) {
    INFO("line " << exchange.line);
    world.Advance(exchange.advance_ms);
    const std::string request = ToText(exchange.request, cas, world.clock.WallSeconds());
    const std::string actual = client.Ask(request);
    if (!Matches(exchange.reply, actual, cas)) {
      FAIL_CHECK("sent:\n"
                 << Shown(request) << "\nwanted:\n"
                 << Shown(ToText(exchange.reply, "<cas>", 0)) << "\ngot:\n"
                 << Shown(actual));
    }
    CHECK(client.closed() == exchange.closes);
    if (!exchange.closes) CHECK(client.session().idle());
    if (!exchange.gains.empty()) CheckGains(exchange, counters, world);
  }
}

}  // namespace larder::test
