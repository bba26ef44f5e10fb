"""Many clients at once: no value is torn, foreign, stale or resurrected, and counters are exact.

These are what the asan and tsan builds are for: tests/run-system --server build/tsan/larder --filter stress
"""

import random

from harness import settings
from harness.case import SystemTest, full_only
from system import stress
from system.test_memory import in_threads


def seed_of_this_run():
    return settings.seed if settings.seed is not None else random.SystemRandom().randrange(1 << 20)


class ValuesTest(SystemTest):
    def play(self, *arguments, least_hits=1000, **load):
        server = self.start(*arguments, "-t", "8", "-c", "200")
        counted = stress.run(server, stress.Load(**load), seed_of_this_run())
        with server.wire() as wire:
            evictions = wire.stat("evictions")
        self.assertGreater(counted["hits"], least_hits)
        if not server.is_reference:
            self.assertEqual(counted["refused"], 0)
        return counted, evictions

    def test_values_are_whole_while_all_fits(self):
        self.play("-m", "1024", keys=5000, seconds=2)

    def test_values_are_whole_under_evictions_and_changes_of_size(self):
        _, evictions = self.play("-m", "32", keys=30_000, seconds=4)
        self.assertGreater(evictions, 0)

    def test_values_are_whole_under_flushes(self):
        self.play("-m", "64", keys=3000, seconds=4, flushes_each=0.2, least_hits=100)

    def test_values_are_whole_with_few_keys_and_large_values(self):
        self.play("-m", "64", keys=40, seconds=4, large_share=0.3, delete_share=0.2, batch=8, least_hits=100)

    @full_only
    def test_ten_million_hits(self):
        for load in ({"keys": 40_000}, {"keys": 5000, "flushes_each": 0.5}, {"keys": 200, "large_share": 0.05}):
            with self.subTest(load):
                self.play("-m", "64", seconds=240, hits=10_000_000 // 3, **load)


class CountersTest(SystemTest):
    """Atomic means that nothing gets lost between clients."""

    def test_incr_and_decr_are_exact(self):
        server = self.start("-t", "8")
        names, each = [b"n%d" % i for i in range(5)], 3000
        wire = self.wire(server)
        for name in names:
            self.assertEqual(wire.set(name, b"1000000"), b"STORED")

        def work(index):
            with server.wire(60) as mine:
                rand = random.Random(index)
                for _ in range(each // 50):
                    name = rand.choice(names)
                    mine.send(b"incr %s 3\r\nincr %s 1\r\ndecr %s 2\r\n" % (name, name, name) * 50)
                    for _ in range(150):
                        if not mine.line().isdigit():
                            raise AssertionError("not a number")

        in_threads(8, work)
        total = sum(int(v.split()[0]) for v in wire.get(*names).values())
        self.assertEqual(total, 5 * 1_000_000 + 8 * each * 2)

    def test_cas_loses_nothing(self):
        server = self.start("-t", "8")
        wire = self.wire(server)
        self.assertEqual(wire.set(b"k", b"0"), b"STORED")
        each = 200

        def work(_):
            with server.wire(60) as mine:
                done = 0
                while done < each:
                    mine.send(b"gets k\r\n")
                    unique = mine.line().split(b" ")[4]
                    value = b"%d" % (int(mine.line()) + 1)
                    mine.line()
                    line = mine.ask(b"cas k 0 0 %d %s\r\n%s\r\n" % (len(value), unique, value))
                    done += line == b"STORED"
                    if line not in (b"STORED", b"EXISTS"):
                        raise AssertionError(line)

        in_threads(6, work)
        self.assertEqual(wire.get(b"k"), {b"k": b"%d" % (6 * each)})

    def test_append_keeps_every_piece_in_its_clients_order(self):
        server = self.start("-t", "8")
        wire = self.wire(server)
        for name in (b"log0", b"log1"):
            self.assertEqual(wire.set(name, b""), b"STORED")
        clients, each = 6, 600  # 8 bytes each: up to 28 KB, so through many sizes

        def work(index):
            with server.wire(60) as mine:
                for start in range(0, each, 20):
                    mine.send(b"".join(b"append log%d 0 0 8\r\n%d:%05d;\r\n" % (n % 2, index, n)
                                       for n in range(start, start + 20)))
                    for _ in range(20):
                        if mine.line() != b"STORED":
                            raise AssertionError("not stored")

        in_threads(clients, work)
        for parity, name in enumerate((b"log0", b"log1")):
            pieces = wire.get(name)[name].split(b";")[:-1]
            self.assertEqual(len(pieces), clients * each // 2)
            for index in range(clients):
                numbers = [int(p[2:]) for p in pieces if p.startswith(b"%d:" % index)]
                self.assertEqual(numbers, list(range(parity, each, 2)))

    def test_add_has_one_winner(self):
        server = self.start("-t", "8")
        winners = []

        def work(index):
            with server.wire(60) as mine:
                for n in range(300):
                    if mine.set(b"lock%d" % n, b"%d" % index, verb=b"add") == b"STORED":
                        winners.append(n)

        in_threads(8, work)
        self.assertEqual(sorted(winners), list(range(300)))
