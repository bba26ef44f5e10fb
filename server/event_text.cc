#include "server/event_text.h"

#include <array>
#include <concepts>

#include "core/base/digits.h"
#include "core/base/uri.h"
#include "core/store.h"

namespace larder::server {
namespace {

// One line's fields, in order.
class Fields {
 public:
  explicit Fields(std::string& out) : out_(out) {}

  template <std::integral Number>
  Fields& Add(std::string_view name, Number value) {
    return Add(name, Digits(value).text());
  }
  Fields& Add(std::string_view name, std::string_view value) {
    if (!out_.empty() && out_.back() != '\n') out_ += ' ';
    out_.append(name).append("=").append(value);
    return *this;
  }
  Fields& AddKey(std::string_view name, std::string_view key) {
    Add(name, "");
    AppendUriEncoded(key, out_);
    return *this;
  }

 private:
  std::string& out_;
};

// The names, by the enumerations' order.
template <size_t kCount>
std::string_view NameOf(const std::array<std::string_view, kCount>& names, size_t index) {
  return index < kCount ? names[index] : "unknown";
}

constexpr std::array<std::string_view, 4> kFetchStatuses = {"not_found", "found", "flushed",
                                                            "expired"};
constexpr std::array<std::string_view, 6> kStoreResults = {"stored",    "not_stored", "exists",
                                                           "not_found", "too_large",  "no_memory"};
constexpr std::array<std::string_view, 6> kStoreCommands = {"set",    "add",     "replace",
                                                            "append", "prepend", "cas"};
constexpr std::array<std::string_view, 2> kDeleteCommands = {"delete", "md"};
constexpr std::array<std::string_view, 3> kPeerKinds = {"local", "tcp", "udp"};
constexpr std::array<std::string_view, 4> kCloseReasons = {"normal", "error", "idle_timeout",
                                                           "shutdown"};

// Seconds with six digits behind the point.
void AppendTime(int64_t wall_us, std::string& out) {
  Fields(out).Add("ts", wall_us / 1'000'000);
  const Digits micros(1'000'000 + wall_us % 1'000'000);
  out += '.';
  out.append(micros.text().substr(1));
}

void AddConnection(Fields& fields, const EventData& event, std::string_view address) {
  fields.Add("rip", address)
      .Add("rport", event.size)
      .Add("transport", NameOf(kPeerKinds, event.command));
}

void AddCrawl(Fields& fields, const EventData& event) {
  fields.Add("crawler", 0)
      .Add("lru", "all")
      .Add("low_mark", 0)
      .Add("next_reclaims", 0)
      .Add("since_run", 0)
      .Add("next_run", 0)
      .Add("elapsed", event.age)
      .Add("examined", event.size)
      .Add("reclaimed", event.count);
}

void AddRest(Fields& fields, const EventData& event, std::string_view text) {
  const unsigned class_id = event.class_id;
  switch (event.kind) {
    case EventKind::kItemGet:
      fields.Add("type", "item_get").AddKey("key", text);
      fields.Add("status", NameOf(kFetchStatuses, event.status)).Add("clsid", class_id);
      fields.Add("cfd", event.client).Add("size", event.size);
      return;
    case EventKind::kItemStore:
      fields.Add("type", "item_store").AddKey("key", text);
      fields.Add("status", NameOf(kStoreResults, event.status));
      fields.Add("cmd", NameOf(kStoreCommands, event.command)).Add("ttl", event.ttl);
      fields.Add("clsid", class_id).Add("cfd", event.client).Add("size", event.size);
      return;
    case EventKind::kEviction:
      fields.Add("type", "eviction").AddKey("key", text);
      fields.Add("fetch", event.status != 0 ? "yes" : "no").Add("ttl", event.ttl);
      fields.Add("la", event.age).Add("clsid", class_id).Add("size", event.size);
      return;
    case EventKind::kDeleted:
      fields.Add("type", "deleted").AddKey("key", text);
      fields.Add("cmd", NameOf(kDeleteCommands, event.command));
      fields.Add("clsid", class_id).Add("size", event.size);
      return;
    case EventKind::kConnectionNew:
      AddConnection(fields.Add("type", "conn_new"), event, text);
      fields.Add("cfd", event.client);
      return;
    case EventKind::kConnectionClose:
      AddConnection(fields.Add("type", "conn_close"), event, text);
      fields.Add("reason", NameOf(kCloseReasons, event.status)).Add("cfd", event.client);
      return;
    case EventKind::kCrawl:
      AddCrawl(fields.Add("type", "lru_crawler"), event);
      return;
    case EventKind::kPageMove:
      fields.Add("type", "slab_move").Add("src", class_id).Add("dst", event.count);
      return;
    case EventKind::kCommand:
      fields.Add("type", "raw_command").Add("cfd", event.client).AddKey("line", text);
      return;
    case EventKind::kTlsError:
      fields.Add("type", "conntlserr").Add("fd", event.client).Add("msg", text);
      return;
    case EventKind::kReply:
      fields.Add("type", "reply").Add("cfd", event.client).AddKey("line", text);
      return;
  }
}

}  // namespace

void AppendEventLine(const EventRing::Record& record, std::string_view text, std::string& out) {
  AppendTime(record.wall_us, out);
  Fields fields(out);
  fields.Add("gid", record.number);
  AddRest(fields, record.event, text);
  out += '\n';
}

void AppendConversation(const EventRing::Record& record, std::string_view text, std::string& out) {
  const EventData& event = record.event;
  out += event.kind == EventKind::kReply ? '>' : '<';
  out += std::to_string(event.client);
  out += ' ';
  if (event.kind == EventKind::kConnectionNew) {
    out.append("new client connection from ").append(text);
    return;
  }
  if (event.kind == EventKind::kConnectionClose) {
    out.append("connection closed: ").append(NameOf(kCloseReasons, event.status));
    return;
  }
  if (event.kind == EventKind::kTlsError) {
    out.append("TLS handshake failed: ").append(text);
    return;
  }
  // What a client sends must not be able to write lines of its own, nor to a terminal.
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out += c;
    } else {
      out.append("\\x").append(1, kHexDigits[byte >> 4]).append(1, kHexDigits[byte & 15]);
    }
  }
}

}  // namespace larder::server
