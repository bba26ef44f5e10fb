"""Memory: its limit, what happens at it, and how it follows a change of sizes."""

import os
import random
import threading
import time

from harness.case import SystemTest, full_only, ours_only
from harness.server import poll

MIB = 1 << 20


def in_threads(count, work):
    """Runs work(index) in threads and raises what the first of them raised."""
    errors = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def fill(wire, prefix, size, count, first=0, batch=200):
    """Sets count values, pipelined; returns the replies that are not STORED."""
    refused = []
    step = max(1, min(batch, (4 * MIB) // (size + 50)))
    value = b"v" * size
    for start in range(first, first + count, step):
        keys = range(start, min(start + step, first + count))
        wire.send(b"".join(b"set %s%d 0 0 %d\r\n%s\r\n" % (prefix, i, size, value) for i in keys))
        refused += [line for line in (wire.line() for _ in keys) if line != b"STORED"]
    return refused


def held_bytes(wire, prefix, size, count):
    """How many bytes of these values are there."""
    total = 0
    for start in range(0, count, 100):
        wire.send(b"get " + b" ".join(b"%s%d" % (prefix, i) for i in range(start, min(start + 100, count))) + b"\r\n")
        total += sum(len(v) for v in wire.values().values())
    return total


class LimitAtRunTimeTest(SystemTest):
    @ours_only("memcached gives pages back only as its classes let it")
    def test_the_resident_memory_follows_the_limit_down_and_up(self):
        server = self.start("-m", "256", "-t", "2")
        wire = self.wire(server)
        self.assertEqual(fill(wire, b"k", 4000, 80_000), [])
        self.assertGreater(server.rss_bytes(), 240 * MIB)
        self.assertEqual(wire.ask(b"cache_memlimit 64\r\n"), b"OK")
        self.assertEqual(wire.stat("limit_maxbytes"), 64 * MIB)

        def in_use():
            # Sanitizers keep memory of their own for every page that was ever written.
            return wire.stat("page_bytes", b"larder") if server.is_sanitized() else server.rss_bytes()

        poll(lambda: in_use() < 100 * MIB, server.within(12), "pages given back")
        self.assertEqual(fill(wire, b"n", 4000, 20_000), [])  # and sets go on
        self.assertLess(in_use(), 100 * MIB)
        self.assertEqual(wire.ask(b"cache_memlimit 512\r\n"), b"OK")
        evicted = wire.stat("evictions")
        self.assertEqual(fill(wire, b"u", 4000, 60_000), [])
        self.assertEqual(wire.stat("evictions"), evicted)
        self.assertEqual(wire.ask(b"cache_memlimit 7\r\n"), b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")


class LimitTest(SystemTest):
    def test_no_evictions_means_out_of_memory(self):
        server = self.start("-m", "16", "-M", "-I", "512k")
        wire = self.wire(server)
        refused = fill(wire, b"k", 10_000, 4000)
        self.assertTrue(refused)
        self.assertEqual(set(refused), {b"SERVER_ERROR out of memory storing object"})
        self.assertEqual(wire.stat("evictions"), 0)
        self.assertEqual(wire.stat("store_no_memory"), len(refused))
        self.assertEqual(len(wire.get(b"k0")), 1)  # the first stays
        self.assertEqual(wire.ask(b"delete k0\r\n"), b"DELETED")
        self.assertEqual(wire.set(b"k0", b"v" * 10_000), b"STORED")  # and its room is free again

    def test_a_set_that_finds_no_memory_deletes_the_old_value(self):
        server = self.start("-m", "16", "-M", "-I", "512k")
        wire = self.wire(server)
        self.assertEqual(wire.set(b"mine", b"old"), b"STORED")
        self.assertTrue(fill(wire, b"k", 10_000, 4000))
        self.assertEqual(wire.set(b"mine", b"n" * 10_000), b"SERVER_ERROR out of memory storing object")
        self.assertEqual(wire.get(b"mine"), {})

    def test_evictions_make_room_and_all_is_stored(self):
        server = self.start("-m", "16", "-I", "512k")
        wire = self.wire(server)
        self.assertEqual(fill(wire, b"k", 10_000, 6000), [])
        self.assertGreater(wire.stat("evictions"), 0)
        self.assertEqual(len(wire.get(b"k5999")), 1)
        self.assertLessEqual(wire.stat("bytes"), 16 * MIB)

    def test_a_value_in_use_outlives_its_eviction(self):
        server = self.start("-m", "16", "-I", "512k")
        wire, other = self.wire(server), self.wire(server)
        value = random.Random(1).randbytes(400_000)
        self.assertEqual(wire.set(b"k", value), b"STORED")
        wire.send(b"get k\r\n" * 20)  # more than the socket holds
        self.assertEqual(wire.line(), b"VALUE k 0 400000")
        self.assertEqual(other.ask(b"delete k\r\n"), b"DELETED")
        fill(other, b"x", 300_000, 100)
        self.assertEqual(wire.exactly(len(value)), value)
        self.assertEqual(wire.exactly(7), b"\r\nEND\r\n")
        for _ in range(19):
            line = wire.line()
            if line == b"END":
                continue
            self.assertEqual(line, b"VALUE k 0 400000")
            self.assertEqual(wire.exactly(len(value) + 7), value + b"\r\nEND\r\n")

    @ours_only("memcached refuses most of them")
    def test_large_sets_at_the_same_time_are_all_stored(self):
        server = self.start("-m", "64", "-I", "1m", "-t", "4")
        value = b"0123456789abcdef" * ((1_000_000) // 16)

        def work(index):
            with server.wire(60) as wire:
                for turn in range(4):
                    wire.send(b"set large%d-%d 0 0 %d\r\n" % (index, turn, len(value)))
                    for at in range(0, len(value), 1 << 16):  # so that all of them are under way at once
                        wire.send(value[at : at + (1 << 16)])
                        os.sched_yield()
                    line = wire.ask(b"\r\n")
                    if line != b"STORED":
                        raise AssertionError(f"client {index}, turn {turn}: {line!r}")

        in_threads(64, work)
        wire = self.wire(server)
        self.assertLessEqual(wire.stat("bytes"), 64 * MIB)
        self.assertEqual(wire.stat("store_no_memory"), 0)

    @ours_only("memcached refuses large values then")
    def test_large_values_find_room_among_small_ones(self):
        server = self.start("-m", "64")
        wire = self.wire(server)
        self.assertEqual(fill(wire, b"small", 100, 600_000, batch=2000), [])
        self.assertEqual(fill(wire, b"large", 1_000_000, 50), [])
        self.assertEqual(len(wire.get(b"large49")[b"large49"]), 1_000_000)

    def test_expired_items_make_room_before_live_ones_go(self):
        server = self.start("-m", "64")
        wire = self.wire(server)
        self.assertEqual(fill(wire, b"keep", 5000, 4000), [])  # 20 MB that live
        value = b"v" * 5000
        for start in range(0, 4000, 100):
            wire.send(b"".join(b"set dead%d 0 -1 5000\r\n%s\r\n" % (i, value) for i in range(start, start + 100)))
            self.assertEqual({wire.line() for _ in range(100)}, {b"STORED"})
        self.assertEqual(held_bytes(wire, b"keep", 5000, 4000), 4000 * 5000)
        self.assertEqual(wire.stat("evictions"), 0)


class RssTest(SystemTest):
    def churn(self, limit_mib, sizes, writes_limits):
        """Fills by one size after the other; RSS stays under the limit and a little, and no set is refused."""
        server = self.start("-m", str(limit_mib))
        if server.is_sanitized():
            self.skipTest("sanitizers take memory of their own")
        wire = self.wire(server)
        worst = 0
        for number, size in enumerate(sizes):
            count = int(limit_mib * MIB * writes_limits / (size + 60))
            for part in range(4):
                self.assertEqual(fill(wire, b"s%d-" % number, size, count // 4, first=part * (count // 4)), [])
                worst = max(worst, server.rss_bytes())
        allowed = limit_mib * MIB * 1.05 + 32 * MIB
        self.assertLess(worst, allowed, f"RSS {worst / MIB:.0f} MiB of {allowed / MIB:.0f}")

    @ours_only("a promise of larder's")
    def test_rss_stays_within_the_limit_through_a_churn_of_sizes(self):
        self.churn(64, (100, 2000, 50_000, 300, 900_000, 700), 1.2)

    @ours_only("a promise of larder's")
    @full_only
    def test_rss_stays_within_a_large_limit(self):
        self.churn(512, (100, 2000, 50_000, 300, 900_000, 700), 1.5)


class ShiftTest(SystemTest):
    def shift(self, limit_mib, seconds):
        """Each new size of values comes to hold most of the memory while it is the traffic."""
        server = self.start("-m", str(limit_mib))
        wire = self.wire(server)
        for size in (100, 2000, 50_000):
            wanted = 0.8 * limit_mib * MIB
            keys = int(limit_mib * MIB * 0.95 / (size + 60))
            deadline = time.monotonic() + seconds
            held, rounds = 0.0, 0
            while held < wanted and time.monotonic() < deadline:
                self.assertEqual(fill(wire, b"s%d-" % size, size, keys, batch=1000), [])
                rounds += 1
                # What an item takes beside its value counts as held.
                held = held_bytes(wire, b"s%d-" % size, size, keys) * (size + 40) / size
            self.assertGreaterEqual(held, wanted, f"{size} bytes: {held / MIB:.0f} MiB after {rounds} rounds")

    @ours_only("memcached holds 2 % of the new size then")
    def test_memory_follows_a_change_of_sizes(self):
        self.shift(32, 30)

    @ours_only("memcached holds 2 % of the new size then")
    @full_only
    def test_memory_follows_a_change_of_sizes_with_256_megabytes(self):
        self.shift(256, 60)


class CrawlTest(SystemTest):
    @ours_only("memcached's crawler goes by slab classes, and a flush does not wake it")
    def test_a_crawl_that_was_asked_for_takes_no_rests(self):
        server = self.start("-m", "256", "-t", "1")
        wire = self.wire(server)
        count = 300_000

        def crawl(request):
            self.assertEqual(fill(wire, b"k", 10, count, batch=2000), [])
            checked = wire.stat("crawler_items_checked")
            begin = time.monotonic()
            self.assertEqual(wire.ask(request), b"OK")
            poll(lambda: wire.stat("crawler_items_checked") >= checked + count, server.within(20), "a whole crawl")
            return time.monotonic() - begin

        # A flush has a crawl of its own; ten times as long is what one takes that nobody waits for.
        flushed = crawl(b"flush_all\r\n")
        self.assertLess(crawl(b"lru_crawler crawl all\r\n"), 4 * max(flushed, 0.1))
