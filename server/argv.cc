#include "server/argv.h"

#include <algorithm>

#include "server/option_table.h"

namespace larder::server {
namespace {

class Normaliser {
 public:
  explicit Normaliser(std::span<const std::string> args) : args_(args) {}

  PlainArguments Run() {
    while (next_ < args_.size() && !done()) {
      const std::string& word = args_[next_++];
      if (word == "--") {
        while (next_ < args_.size()) result_.strays.push_back(args_[next_++]);
        break;
      }
      if (word.starts_with("--")) {
        Long(word);
      } else if (word.size() > 1 && word[0] == '-') {
        Cluster(word);
      } else {
        result_.strays.push_back(word);
      }
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool done() const { return result_.refusal.refused() || !result_.ended_by.empty(); }

  void Refuse(std::string text) { result_.refusal = {kExitFailure, std::move(text)}; }

  void Take(const OptionRow& row, std::string_view value) {
    if (row.name == "help" || row.name == "license" || row.name == "version") {
      result_.ended_by = row.name;
      return;
    }
    std::string word = "--" + std::string(row.name);
    if (row.takes_value()) {
      while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
      word.append("=").append(value);
    }
    result_.words.push_back(std::move(word));
  }

  // The following element, as the value of `flag`.
  void TakeNext(const OptionRow& row, const std::string& flag) {
    if (next_ == args_.size()) {
      return Refuse(flag + ": it needs a value, " + std::string(row.argument));
    }
    Take(row, args_[next_++]);
  }

  void Cluster(std::string_view word) {
    for (size_t i = 1; i < word.size() && !done(); ++i) {
      const OptionRow* row = FindLetter(word[i]);
      const std::string flag = std::string("-") + word[i];
      if (row == nullptr) return Refuse("unknown option " + flag + " (see larder --help)");
      if (!row->takes_value()) {
        Take(*row, {});
      } else if (i + 1 < word.size()) {
        return Take(*row, word.substr(i + 1));
      } else {
        return TakeNext(*row, flag);
      }
    }
  }

  void Long(std::string_view word) {
    const size_t equals = word.find('=');
    std::string name(word.substr(2, equals == std::string_view::npos ? equals : equals - 2));
    std::replace(name.begin(), name.end(), '_', '-');  // --napi_ids
    const OptionRow* row = FindLong(name);
    if (row == nullptr) return;
    const std::string flag = "--" + std::string(row->name);
    if (equals == std::string_view::npos) {
      row->takes_value() ? TakeNext(*row, flag) : Take(*row, {});
    } else if (row->takes_value()) {
      Take(*row, word.substr(equals + 1));
    } else {
      Refuse(flag + ": it takes no value");
    }
  }

  static const OptionRow* FindLetter(char letter) {
    for (const OptionRow& row : OptionRows()) {
      if (row.letter == letter) return &row;
    }
    return nullptr;
  }

  const OptionRow* FindLong(std::string_view name) {
    const OptionRow* found = nullptr;
    std::string candidates;
    for (const OptionRow& row : OptionRows()) {
      if (row.name == name) return &row;
      if (!row.name.starts_with(name)) continue;
      found = &row;
      candidates.append(" --").append(row.name);
    }
    if (found == nullptr) {
      Refuse("unknown option --" + std::string(name) + " (see larder --help)");
    } else if (candidates.size() > found->name.size() + 3) {
      Refuse("option --" + std::string(name) + " is ambiguous:" + candidates);
      found = nullptr;
    }
    return found;
  }

  std::span<const std::string> args_;
  size_t next_ = 0;
  PlainArguments result_;
};

}  // namespace

void WarnOfStrays(const PlainArguments& plain, Options& options) {
  for (const std::string& word : plain.strays) {
    options.warnings.push_back("'" + word + "': ignored, it belongs to no flag");
  }
}

PlainArguments NormaliseArguments(std::span<const std::string> args) {
  return Normaliser(args).Run();
}

}  // namespace larder::server
