#include "server/config_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "server/argv.h"
#include "server/endpoint.h"
#include "server/numbers.h"
#include "server/option_table.h"

namespace larder::server {
namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Without a comment, which begins the line or stands behind a blank.
std::string_view WithoutComment(std::string_view line) {
  for (size_t at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1)) {
    if (at == 0 || kBlanks.find(line[at - 1]) != std::string_view::npos) return line.substr(0, at);
  }
  return line;
}

std::string_view Unquoted(std::string_view value) {
  const bool quoted = value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
                      value.back() == value.front();
  return quoted ? value.substr(1, value.size() - 2) : value;
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (text = Trimmed(text); !text.empty(); text = Trimmed(text)) {
    const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
    words.emplace_back(Unquoted(word));
    text.remove_prefix(word.size());
  }
  return words;
}

// Flags that mean nothing, or something else, inside a file.
bool IsForTheCommandLine(std::string_view name) {
  return name == "config" || name == "help" || name == "license" || name == "version";
}

const OptionRow* FindOption(std::string_view name) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '_', '-');
  if (IsForTheCommandLine(wanted)) return nullptr;
  for (const OptionRow& row : OptionRows()) {
    if (row.name == wanted) return &row;
  }
  return nullptr;
}

const SuboptionRow* FindDashedSuboption(std::string_view name) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  return FindSuboption(wanted);
}

// The service manager's business, and not to be changed behind its back.
void NoDaemonHere(Options& options) {
  options.warnings.emplace_back("-d: ignored in a file; give it on the command line");
}

Refusal ApplyOption(const OptionRow& row, std::string_view value, Options& options) {
  if (row.takes_value()) {
    if (value.empty()) {
      return {kExitUsage,
              std::string(row.name) + ": it needs a value, " + std::string(row.argument)};
    }
    return row.apply(options, value);
  }
  const auto on = ParseSwitch(value);
  if (!on) return {kExitUsage, NotASwitch(row.name, value)};
  if (row.name == "daemon") {
    if (*on) NoDaemonHere(options);
    return {};
  }
  return row.apply(options, *on ? std::string_view() : kSwitchedOff);
}

// `name = value`, `name value`, `name`.
Refusal ApplyNamed(std::string_view line, Options& options) {
  const size_t cut = line.find_first_of(" \t=");
  const std::string_view name = line.substr(0, cut);
  std::string_view value = cut == std::string_view::npos ? "" : Trimmed(line.substr(cut));
  if (value.starts_with('=')) value = Trimmed(value.substr(1));
  value = Unquoted(value);
  if (const OptionRow* row = FindOption(name)) return ApplyOption(*row, value, options);
  if (const SuboptionRow* row = FindDashedSuboption(name)) {
    return ApplySuboption(options, *row, value);
  }
  if (name == "logfile") {
    options.warnings.emplace_back(
        "logfile: ignored, the service manager keeps the log; use log = " + std::string(value));
    return {};
  }
  return {kExitUsage, "unknown option " + std::string(name) + " (see larder --help)"};
}

// Plain words, "--name" or "--name=value".
Refusal ApplyPlain(const PlainArguments& plain, bool in_file, Options& options) {
  if (plain.refusal.refused()) return plain.refusal;
  if (!plain.ended_by.empty()) return {kExitUsage, "--" + plain.ended_by + " has no place here"};
  WarnOfStrays(plain, options);
  for (const std::string& word : plain.words) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    const OptionRow* row = FindOption(name);
    if (row == nullptr) return {kExitUsage, "--" + name + " has no place here"};
    if (in_file && name == "daemon") {
      NoDaemonHere(options);
      continue;
    }
    if (Refusal refusal = row->apply(options, value); refusal.refused()) return refusal;
  }
  return {};
}

Refusal ApplyLine(std::string_view line, Options& options) {
  line = Trimmed(WithoutComment(Trimmed(line)));
  if (line.empty()) return {};
  if (line.front() != '-') return ApplyNamed(line, options);
  return ApplyPlain(NormaliseArguments(Words(line)), /*in_file=*/true, options);
}

// Up to kMaxConfigBytes + 1 bytes, so that a longer one can be told.
std::optional<std::string> ReadFile(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) return std::nullopt;
  std::string text(kMaxConfigBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  return text;
}

Refusal CannotRead(const std::string& path) {
  return {kExitUsage, path + ": cannot be read: " + std::strerror(errno)};
}

// A variable, and the long name of the flag that it stands for.
struct Variable {
  const char* name;
  std::string_view option;
};

constexpr Variable kVariables[] = {
    {"MEMCACHED_LISTEN_ADDRESS", "listen"},   {"MEMCACHED_PORT_NUMBER", "port"},
    {"MEMCACHED_CACHE_SIZE", "memory-limit"}, {"MEMCACHED_MAX_ITEM_SIZE", "max-item-size"},
    {"MEMCACHED_THREADS", "threads"},         {"MEMCACHED_MAX_CONNECTIONS", "conn-limit"},
};

// The variable's value or the content of the file that NAME_FILE names; empty: neither.
Refusal Lookup(const Environment& environment, const std::string& name, std::string* value) {
  value->clear();
  if (const char* text = environment(name.c_str()); text != nullptr && *text != '\0') {
    *value = text;
  } else if (const char* path = environment((name + "_FILE").c_str());
             path != nullptr && *path != '\0') {
    const auto read = ReadFile(path);
    if (!read) return CannotRead(name + "_FILE: " + path);
    *value = Trimmed(std::string_view(*read).substr(0, read->find('\n')));
  }
  return {};
}

Refusal At(const std::string& place, Refusal refusal) {
  if (refusal.refused()) refusal.text = place + ": " + refusal.text;
  return refusal;
}

}  // namespace

Refusal ApplyConfig(std::string_view text, const std::string& file, Options& options) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors write it
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.size() > kMaxConfigBytes) {
    return {kExitUsage, file + ": more than 64 kilobytes cannot be a configuration"};
  }
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::string place = file + ":" + std::to_string(number);
    if (line.size() > kMaxConfigLine) {
      return {kExitUsage, place + ": a line of more than 4096 bytes"};
    }
    if (line.find('\0') != std::string_view::npos) {
      return {kExitUsage, place + ": not a text (it has a NUL byte)"};
    }
    Refusal refusal = At(place, ApplyLine(line, options));
    if (refusal.refused()) return refusal;
  }
  return {};
}

Refusal ApplyConfigFile(const std::string& path, Options& options) {
  const auto text = ReadFile(path);
  if (!text) return CannotRead("--config " + path);
  return ApplyConfig(*text, path, options);
}

Refusal ApplyEnvironment(const Environment& environment, Options& options) {
  std::string value;
  for (const Variable& variable : kVariables) {
    Refusal refusal = Lookup(environment, variable.name, &value);
    if (refusal.refused()) return refusal;
    if (value.empty()) continue;
    if (variable.option == "listen") options.listen.clear();  // instead of the file's
    refusal = At(variable.name, FindOption(variable.option)->apply(options, value));
    if (refusal.refused()) return refusal;
  }
  Refusal refusal = Lookup(environment, "MEMCACHED_EXTRA_FLAGS", &value);
  if (refusal.refused()) return refusal;
  refusal = At("MEMCACHED_EXTRA_FLAGS",
               ApplyPlain(NormaliseArguments(Words(value)), /*in_file=*/false, options));
  if (refusal.refused()) return refusal;
  refusal = Lookup(environment, "MEMCACHED_SASL_PWDB", &options.sasl_password_file);
  if (refusal.refused()) return refusal;
  // Ignoring it would leave a server open that its owner thinks closed.
  refusal = Lookup(environment, "MEMCACHED_PASSWORD", &value);
  if (refusal.refused() || value.empty()) return refusal;
  return {kExitUsage,
          "MEMCACHED_PASSWORD: users are not made from the environment; use --auth-file (-Y)"};
}

}  // namespace larder::server
