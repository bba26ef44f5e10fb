#include "server/event_log.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/store.h"
#include "server/event_ring.h"
#include "server/event_text.h"
#include "tests/server/runner.h"

namespace larder::server {
namespace {

EventRing::Record RecordOf(const EventData& event) {
  return {.number = 7, .wall_us = 1'700'000'000'012'345, .streams = 0, .event = event};
}

std::string Line(const EventData& event, std::string_view text) {
  std::string line;
  AppendEventLine(RecordOf(event), text, line);
  return line;
}

TEST_CASE("events are printed as memcached prints them", "[server][events]") {
  const std::string start = "ts=1700000000.012345 gid=7 type=";
  CHECK(Line({.kind = EventKind::kItemGet, .status = 1, .class_id = 3, .client = 25, .size = 9},
             "a b%\n") == start + "item_get key=a%20b%25%0A status=found clsid=3 cfd=25 size=9\n");
  CHECK(Line({.kind = EventKind::kItemStore,
              .status = static_cast<uint8_t>(StoreResult::kTooLarge),
              .command = static_cast<uint8_t>(StoreMode::kAppend),
              .client = 25,
              .ttl = 100,
              .size = 12},
             "k") == start +
                         "item_store key=k status=too_large cmd=append ttl=100 clsid=0 cfd=25 "
                         "size=12\n");
  CHECK(Line({.kind = EventKind::kEviction,
              .status = 1,
              .class_id = 2,
              .ttl = -1,
              .size = 5,
              .age = 77},
             "k") == start + "eviction key=k fetch=yes ttl=-1 la=77 clsid=2 size=5\n");
  CHECK(Line({.kind = EventKind::kDeleted, .command = 1, .class_id = 2, .size = 5}, "k") ==
        start + "deleted key=k cmd=md clsid=2 size=5\n");
  CHECK(Line({.kind = EventKind::kConnectionNew, .command = 1, .client = 23, .size = 4711},
             "::1") == start + "conn_new rip=::1 rport=4711 transport=tcp cfd=23\n");
  CHECK(Line({.kind = EventKind::kTlsError, .client = 23}, "wrong version number") ==
        start + "conntlserr fd=23 msg=wrong version number\n");
  CHECK(Line({.kind = EventKind::kConnectionClose,
              .status = static_cast<uint8_t>(CloseReason::kIdleTimeout),
              .command = 0,
              .client = 23},
             "unix") ==
        start + "conn_close rip=unix rport=0 transport=local reason=idle_timeout cfd=23\n");
  CHECK(Line({.kind = EventKind::kPageMove, .class_id = 4, .count = 9}, "") ==
        start + "slab_move src=4 dst=9\n");
}

TEST_CASE("a conversation cannot write lines or escapes of its own", "[server][events]") {
  std::string text;
  AppendConversation(RecordOf({.kind = EventKind::kCommand, .client = 25}), "get a\x1B[2J\n", text);
  CHECK(text == "<25 get a\\x1B[2J\\x0A");
  text.clear();
  AppendConversation(RecordOf({.kind = EventKind::kReply, .client = 25}), "END", text);
  CHECK(text == ">25 END");
}

TEST_CASE("a ring gives back what it was given, round after round", "[server][events]") {
  EventRing ring(1);
  EventRing::Record record;
  std::string text;
  CHECK_FALSE(ring.Take(&record, &text));
  for (uint64_t i = 0; i < 1000; ++i) {
    const std::string given(i % 251, static_cast<char>('a' + i % 26));
    REQUIRE(ring.Push({.number = i, .event = {.size = i * 3}}, given));
    REQUIRE(ring.Take(&record, &text));
    REQUIRE(record.number == i);
    REQUIRE(record.event.size == i * 3);
    REQUIRE(text == given);
  }
  CHECK(ring.written() == 1000);
}

TEST_CASE("a full ring drops and counts, and goes on", "[server][events]") {
  EventRing ring(EventRing::kMinBytes);
  uint64_t pushed = 0;
  while (ring.Push({.number = pushed}, std::string(100, 'x'))) ++pushed;
  CHECK(pushed > 10);
  CHECK(ring.dropped() == 1);
  EventRing::Record record;
  std::string text;
  REQUIRE(ring.Take(&record, &text));
  CHECK(record.number == 0);
  CHECK(ring.Push({.number = pushed}, std::string(100, 'x')));
  CHECK(ring.dropped() == 1);
}

TEST_CASE("a longer text is cut", "[server][events]") {
  EventRing ring(1 << 16);
  EventRing::Record record;
  std::string text;
  REQUIRE(ring.Push({}, std::string(5000, 'x')));
  REQUIRE(ring.Take(&record, &text));
  CHECK(text.size() == EventRing::kMaxText);
}

size_t LinesOf(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_CASE("each watcher gets its streams, in the order of all threads", "[server][events]") {
  EventLog log({});
  REQUIRE(log.Start());
  EventSink* one = log.NewSink();
  EventSink* two = log.NewSink();
  CHECK(one->streams() == 0);
  const auto fetches = log.Watch(one, kFetchers);
  const auto both = log.Watch(two, kFetchers | kMutations);
  REQUIRE(fetches != nullptr);
  CHECK(one->streams() == (kFetchers | kMutations));
  for (int i = 0; i < 10; ++i) {
    one->Note(kFetchers, {.kind = EventKind::kItemGet}, "k" + std::to_string(i));
    two->Note(kMutations, {.kind = EventKind::kItemStore}, "k" + std::to_string(i));
  }
  std::string fetched;
  std::string all;
  REQUIRE(Runner::Eventually([&] { return LinesOf(all += both->Take()) >= 20; }));
  REQUIRE(Runner::Eventually([&] { return LinesOf(fetched += fetches->Take()) >= 10; }));
  CHECK(LinesOf(all) == 20);
  CHECK(LinesOf(fetched) == 10);
  CHECK(fetched.find("item_store") == std::string::npos);
  size_t at = 0;
  for (int i = 1; i <= 20; ++i) {
    at = all.find(" gid=" + std::to_string(i) + " ", at);
    REQUIRE(at != std::string::npos);
  }
  const EventLogCounts counts = log.Counts();
  CHECK(counts.worker_written == 20);
  CHECK(counts.watcher_sent == 30);
  CHECK(counts.watchers == 2);
  log.Stop();
}

TEST_CASE("a watcher that does not read loses events, and is told how many", "[server][events]") {
  EventLog log({.worker_bytes = 1 << 20, .watcher_bytes = 1000});
  REQUIRE(log.Start());
  EventSink* sink = log.NewSink();
  const auto feed = log.Watch(sink, kFetchers);
  for (int i = 0; i < 100; ++i) sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "key");
  REQUIRE(Runner::Eventually([&] {
    const EventLogCounts counts = log.Counts();
    return counts.watcher_sent + counts.watcher_skipped == 100;
  }));
  const std::string first = feed->Take();
  CHECK(first.size() <= 1000);
  CHECK(LinesOf(first) == log.Counts().watcher_sent);
  const uint64_t skipped = log.Counts().watcher_skipped;
  CHECK(skipped == 100 - LinesOf(first));
  sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "key");
  std::string second;
  REQUIRE(Runner::Eventually([&] { return !(second += feed->Take()).empty(); }));
  CHECK(second.starts_with("skipped=" + std::to_string(skipped) + "\nts="));
  log.Stop();
}

TEST_CASE("a watcher is told what a full ring has dropped of its streams", "[server][events]") {
  EventLog log({.worker_bytes = EventRing::kMinBytes});
  EventSink* sink = log.NewSink();
  const auto fetches = log.Watch(sink, kFetchers);
  const auto mutations = log.Watch(sink, kMutations);
  constexpr uint64_t kAll = 1000;
  for (uint64_t i = 0; i < kAll; ++i) {
    sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "a");
    if (i % 4 == 0) sink->Note(kMutations, {.kind = EventKind::kItemStore}, "b");
  }
  const uint64_t dropped = log.Counts().worker_dropped;
  CHECK(dropped > kAll);
  REQUIRE(log.Start());
  const auto told_all = [&](TextFeed& feed, uint32_t stream, uint64_t sent) {
    std::string text;
    return Runner::Eventually([&] {
      sink->Note(stream, {.kind = EventKind::kItemGet}, "later");
      ++sent;
      text += feed.Take();
      const size_t at = text.find("skipped=");
      if (at == std::string::npos) return false;
      const uint64_t skipped = std::stoull(text.substr(at + 8));
      return LinesOf(text.substr(0, at)) + skipped <= sent && skipped > 0;
    });
  };
  CHECK(told_all(*fetches, kFetchers, kAll));
  CHECK(told_all(*mutations, kMutations, kAll / 4));
  log.Stop();
}

TEST_CASE("a ring that is half full is looked at, however long the thread rests",
          "[server][events]") {
  EventLog log({.worker_bytes = EventRing::kMinBytes,
                .shortest_rest = std::chrono::hours(1),
                .longest_rest = std::chrono::hours(1)});
  REQUIRE(log.Start());
  EventSink* sink = log.NewSink();
  const auto feed = log.Watch(sink, kFetchers);
  for (int round = 0; round < 4; ++round) {
    REQUIRE(Runner::Eventually([&] {
      sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "key");
      return !feed->Take().empty();
    }));
  }
  log.Stop();
}

TEST_CASE("at most so many watch, and who leaves makes room", "[server][events]") {
  EventLog log({.max_watchers = 2});
  EventSink* sink = log.NewSink();
  auto one = log.Watch(sink, kFetchers);
  const auto two = log.Watch(sink, kEvictions);
  CHECK(log.Watch(sink, kFetchers) == nullptr);
  one.reset();
  CHECK(sink->streams() == kEvictions);
  CHECK(log.Watch(sink, kFetchers) != nullptr);
}

TEST_CASE("a new watcher is not told of what was before", "[server][events]") {
  EventLog log({});
  EventSink* sink = log.NewSink();
  sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "old");
  const auto feed = log.Watch(sink, kFetchers);
  sink->Note(kFetchers, {.kind = EventKind::kItemGet}, "new");
  REQUIRE(log.Start());
  std::string text;
  REQUIRE(Runner::Eventually([&] { return LinesOf(text += feed->Take()) >= 1; }));
  CHECK(text.find("key=new") != std::string::npos);
  CHECK(text.find("key=old") == std::string::npos);
  log.Stop();
}

}  // namespace
}  // namespace larder::server
