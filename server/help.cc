#include "server/help.h"

#include "protocol/memcache/host.h"
#include "server/option_table.h"

namespace larder::server {
namespace {

constexpr size_t kColumn = 30;

// `left` in its column, then `right`; a longer `left` stands on a line of its own.
void Row(std::string& text, const std::string& left, const std::string& right) {
  text += left;
  size_t width = left.size();
  if (width + 2 > kColumn) {
    text += '\n';
    width = 0;
  }
  text.append(kColumn - width, ' ').append(right).append("\n");
}

void OptionLine(std::string& text, const OptionRow& row) {
  std::string left = row.letter != '\0' ? std::string("  -") + row.letter + ", --" : "      --";
  left.append(row.name);
  if (row.takes_value()) left.append("=<").append(row.argument).append(">");
  std::string right(row.help);
  if (!row.fallback.empty()) right.append(" [").append(row.fallback).append("]");
  Row(text, left, right);
  if (!row.example.empty()) {
    text.append(kColumn, ' ').append("example: ").append(row.example).append("\n");
  }
}

void SuboptionLine(std::string& text, const SuboptionRow& row) {
  if (row.help.empty()) return;
  std::string left = "     " + std::string(row.name);
  if (row.value == SuboptionValue::kRequired) left += "=...";
  if (row.value == SuboptionValue::kOptional) left += "[=...]";
  std::string right(row.help);
  if (!row.fallback.empty()) right.append(" [").append(row.fallback).append("]");
  Row(text, left, right);
}

}  // namespace

std::string HelpText() {
  std::string text = VersionText();
  text +=
      "Usage: larder [options]\n"
      "A cache server with memcached's protocol and flags.  Defaults stand in [brackets].\n";
  for (const OptionGroup group : kOptionGroups) {
    text.append("\n").append(GroupTitle(group)).append(":\n");
    for (const OptionRow& row : OptionRows()) {
      if (row.group == group) OptionLine(text, row);
    }
  }
  text += "\nSuboptions of -o (all of memcached's are accepted):\n";
  for (const SuboptionRow& row : SuboptionRows()) SuboptionLine(text, row);
  text +=
      "\nExamples:\n"
      "  larder -m 4g -c 16384                 4 GiB of items, 16384 clients\n"
      "  larder -l 127.0.0.1 -p 11311 -vv      for trying things out\n"
      "  larder -s /run/larder.sock -a 770     no TCP, one socket file\n"
      "\nSignals: TERM, INT and USR1 end it cleanly; HUP reads users and\n"
      "certificates again.\n";
  return text;
}

std::string LicenceText() {
  return VersionText() +
         "Its licence is in the file LICENSE that comes with it.\n"
         "It links libevent (BSD, 3 clauses), Abseil (Apache 2.0), xxHash (BSD, 2 clauses),\n"
         "OpenSSL (Apache 2.0) and Cyrus SASL (BSD, 4 clauses).\n";
}

std::string VersionText() {
  std::string text = "larder ";
  text.append(Version()).append(" (memcached ").append(memcache::kVersion).append(" compatible)\n");
  return text;
}

}  // namespace larder::server
