"""Operations on few keys by many connections look as if they were done one after the other."""

import copy
import random
import threading
import time

from harness import settings
from harness.case import SystemTest, ours_only
from harness.server import poll
from system import recorder
from system.linearizability import Cache, Operation, is_linearizable
from system.test_stress import seed_of_this_run


def op(client, name, call, end, result, **arguments):
    return Operation(client, name, arguments, result, call, end)


def put(client, call, end, value, result="stored", mode="set", **more):
    return op(client, "store", call, end, (result,), mode=mode, value=value, flags=0, **more)


def hit(client, call, end, value, unique=1):
    return op(client, "get", call, end, ("hit", value, 0, unique))


def miss(client, call, end):
    return op(client, "get", call, end, ("miss",))


def incr(client, call, end, number):
    return op(client, "count", call, end, ("number", number, None), down=False, delta=1, initial=None)


class CheckerTest(SystemTest):
    """The judge itself: what is right passes, what is known to be wrong does not."""

    RIGHT = {
        "nothing at all": [],
        "one after the other": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"a"), put(1, 4, 5, b"b"), hit(2, 6, 7, b"b", 2)],
        "a read beside the write sees the old": [put(1, 0, 1, b"a"), put(1, 2, 9, b"b"), hit(2, 3, 4, b"a")],
        "a read beside the write sees the new": [put(1, 0, 1, b"a"), put(1, 2, 9, b"b"), hit(2, 3, 4, b"b")],
        "first the new, then the even newer": [put(1, 0, 9, b"a"), put(2, 0, 9, b"b"), hit(3, 1, 2, b"b"),
                                               hit(3, 3, 4, b"a", 2)],
        "counters beside each other": [put(9, 0, 1, b"5"), incr(1, 2, 5, 7), incr(2, 2, 5, 6)],
        "a swap": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"a", 8),
                   put(2, 4, 5, b"b", mode="cas", unique=8, seen=b"a"), hit(1, 6, 7, b"b", 9)],
        "one of two adds": [put(1, 0, 5, b"a", mode="add"), put(2, 0, 5, b"b", "not stored", "add"),
                            hit(3, 6, 7, b"a")],
    }
    WRONG = {
        "a lost update": [put(9, 0, 1, b"5"), incr(1, 2, 5, 6), incr(2, 2, 5, 6)],
        "a stale read": [put(1, 0, 1, b"a"), put(1, 2, 3, b"b"), hit(2, 4, 5, b"a")],
        "two reads, back in time": [put(1, 0, 1, b"a"), put(1, 2, 9, b"b"), hit(2, 3, 4, b"b", 2), hit(3, 5, 6, b"a")],
        "a value that comes back": [put(1, 0, 1, b"a"), op(1, "delete", 2, 3, ("deleted",)), hit(2, 4, 5, b"a")],
        "a value nobody wrote": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"x")],
        "an increment done twice": [put(9, 0, 1, b"5"), incr(1, 2, 3, 6), hit(2, 4, 5, b"7")],
        "an append done twice": [put(1, 0, 1, b"a"), put(1, 2, 3, b"b", mode="append"), hit(2, 4, 5, b"abb")],
        "an append lost": [put(9, 0, 1, b"-"), put(1, 2, 5, b"a", mode="append"), put(2, 2, 5, b"b", mode="append"),
                           hit(3, 6, 7, b"-b")],
        "two swaps of the same unique": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"a", 8),
                                         put(1, 4, 7, b"b", mode="cas", unique=8, seen=b"a"),
                                         put(2, 4, 7, b"c", mode="cas", unique=8, seen=b"a")],
        "a swap refused without a reason": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"a", 8),
                                            put(2, 4, 5, b"b", "exists", "cas", unique=8, seen=b"a")],
        "two adds that both store": [put(1, 0, 5, b"a", mode="add"), put(2, 0, 5, b"b", mode="add")],
        "two deletes of one value": [put(1, 0, 1, b"a"), op(1, "delete", 2, 5, ("deleted",)),
                                     op(2, "delete", 2, 5, ("deleted",))],
        "a miss of what is there": [put(1, 0, 1, b"a"), miss(2, 2, 3)],
        "a unique that changed by itself": [put(1, 0, 1, b"a"), hit(2, 2, 3, b"a", 8), hit(2, 4, 5, b"a", 9)],
        "two winners of one token": [put(1, 0, 1, b"a"), op(1, "delete", 2, 3, ("deleted",), invalidate=True),
                                     *(op(n, "meta_get", 4, 9, ("hit", b"a", 0, 5, frozenset("WX")), vivify=False)
                                       for n in (1, 2))],
        "a pipeline out of order": [Operation(1, "store", {"mode": "set", "value": b"a", "flags": 0}, ("stored",),
                                              0, 9, 0),
                                    Operation(1, "get", {}, ("miss",), 0, 9, 1)],
    }

    def test_right_histories_pass(self):
        for name, history in self.RIGHT.items():
            with self.subTest(name):
                self.assertTrue(is_linearizable(history, Cache()))
                self.assertTrue(is_linearizable(history, Cache(may_vanish=True)))

    def test_wrong_histories_do_not(self):
        for name, history in self.WRONG.items():
            with self.subTest(name):
                self.assertFalse(is_linearizable(history, Cache()))

    def test_an_eviction_excuses_a_miss_and_nothing_else(self):
        excused = {"a miss of what is there", "two adds that both store", "a pipeline out of order"}
        for name, history in self.WRONG.items():
            with self.subTest(name):
                self.assertEqual(is_linearizable(history, Cache(may_vanish=True)), name in excused)
        back = [put(1, 0, 1, b"a"), miss(2, 2, 3), hit(2, 4, 5, b"a")]
        self.assertFalse(is_linearizable(back, Cache(may_vanish=True)))


class HistoryTest(SystemTest):
    def judge(self, histories, cache, seed, least):
        total = sum(len(h) for h in histories.values())
        print(f"    seed {seed}: {total} operations on {len(histories)} keys")
        self.assertGreater(total, least)
        for key, history in histories.items():
            self.assertTrue(is_linearizable(history, cache), f"{key!r} with seed {seed}: not linearizable")

    def plan(self, server, **more):
        more.setdefault("seconds", 20.0 if settings.is_full else 3.0)
        more.setdefault("most", 20_000 if settings.is_full else 3000)
        return recorder.Plan(keys=[b"k%d" % i for i in range(5)], meta=not server.is_reference, **more)

    def test_everything_on_few_keys(self):
        server, seed = self.start("-t", "4", "-m", "64"), seed_of_this_run()
        histories = recorder.record(server, self.plan(server), seed)
        self.judge(histories, Cache(), seed, 1000)
        self.refuses_what_is_made_up(histories, seed)

    def refuses_what_is_made_up(self, histories, seed):
        """A true history with one answer exchanged for one long gone is refused: the judge is not blind."""
        rand = random.Random(seed)
        tried = 0
        for history in histories.values():
            history = sorted(history, key=lambda o: o.call)
            reads = [i for i, o in enumerate(history) if o.name == "get" and o.result[0] == "hit"]
            for _ in range(3):
                early, late = sorted(rand.sample(reads, 2))
                if history[early].result[1] == history[late].result[1] or late - early < 200:
                    continue
                false = copy.copy(history)
                false[late] = copy.copy(false[late])
                false[late].result = history[early].result
                self.assertFalse(is_linearizable(false, Cache()), f"seed {seed}: a stale read is not noticed")
                tried += 1
        self.assertGreater(tried, 0)

    def test_large_values_as_well(self):
        server, seed = self.start("-t", "4", "-m", "256"), seed_of_this_run()
        plan = self.plan(server, large=True, most=4000 if settings.is_full else 500)
        self.judge(recorder.record(server, plan, seed), Cache(), seed, 500)

    def beside(self, work, histories):
        """histories(), while work(done) runs in threads until done is set."""
        done = threading.Event()
        errors = []

        def guarded(one):
            try:
                one(done)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        try:
            return histories()
        finally:
            done.set()
            for thread in threads:
                thread.join()
            self.assertEqual(errors, [])

    def record_while_growing(self, server, seed, names, **more):
        """Histories of as many recordings as it takes for each of these counters to have grown during one."""
        with server.wire(60) as wire:

            def counters():
                told = dict(wire.stats())
                return {name: int(told[name]) for name in names}

            # A recording may last a tenth of a second: what it is to run beside must be at work before.
            poll(lambda: all(counters().values()), 60, f"growth of {', '.join(names)}")
            still, histories, deadline = set(names), {}, time.monotonic() + 60
            for turn in range(1 << 30):
                plan = self.plan(server, **more)
                plan.keys = [b"%s.%d" % (key, turn) for key in plan.keys]  # each recording starts from nothing
                before = counters()
                histories |= recorder.record(server, plan, seed + turn)
                still -= {name for name, value in counters().items() if value > before[name]}
                if not still:
                    return histories
                self.assertLess(time.monotonic(), deadline, f"{still} did not grow during {turn + 1} recordings")

    def among_evictions(self, limit, sizes, **more):
        """Beside values of shifting sizes, so that memory has to move."""
        server, seed = self.start("-t", "4", "-m", str(limit), "-o", "slab_automove=2"), seed_of_this_run()

        def write(done):
            with server.wire(60) as wire:
                for turn in range(1 << 30):
                    if done.is_set():
                        return
                    size = sizes[turn // 20 % len(sizes)]
                    count = max(1, 400_000 // (size + 60))
                    value = b"v" * size
                    wire.send(b"".join(b"set beside%d 0 0 %d noreply\r\n%s\r\n" % (turn * count + i, size, value)
                                       for i in range(count)) + b"version\r\n")
                    while not wire.line().startswith(b"VERSION"):
                        pass  # memcached tells of what it had no memory for, noreply or not

        def crawl(done):
            with server.wire(60) as wire:
                while not done.wait(0.005):
                    wire.ask(b"lru_crawler crawl all\r\n")

        growing = ["evictions"] if server.is_reference else ["evictions", "slabs_moved"]
        histories = self.beside([write, crawl], lambda: self.record_while_growing(server, seed, growing, **more))
        self.judge(histories, Cache(may_vanish=True), seed, 500)

    def test_while_evictions_the_page_mover_and_the_crawler_run(self):
        self.among_evictions(16, (100, 3000, 700, 40_000))

    @ours_only("memcached refuses large sets then")
    def test_large_values_while_evictions_and_the_page_mover_run(self):
        self.among_evictions(32, (100, 20_000, 700, 200_000), large=True, most=4000 if settings.is_full else 500)

    @ours_only("memcached's mover may lose items where classes have room")
    def test_while_pages_are_moved_and_nothing_may_be_lost(self):
        server, seed = self.start("-t", "4", "-m", "128", "-M"), seed_of_this_run()
        with server.wire(60) as wire:  # two pages and much room in every class the keys will use
            for size in range(8, 400, 8):
                each = (3 << 20) // (size + 30)
                for verb in (b"set r%d 0 0 %d noreply\r\n" + b"v" * size + b"\r\n", b"delete r%d noreply\r\n"):
                    wire.send(b"".join(verb % ((i, size) if verb.startswith(b"set") else i)
                                       for i in range(each) if verb.startswith(b"set") or i % 50))
                wire.ask(b"version\r\n")
            ids = sorted({int(name.split(":")[0]) for name, _ in wire.stats(b"slabs") if ":total_pages" in name})
        rand = random.Random(seed)

        def move(done):
            with server.wire(60) as wire:
                while not done.wait(0.002):
                    wire.ask(b"slabs reassign %d %d\r\n" % (rand.choice(ids), rand.choice(ids)))

        growing = ["slabs_moved", "slab_reassign_rescues"]
        histories = self.beside([move], lambda: self.record_while_growing(server, seed, growing))
        self.judge(histories, Cache(), seed, 1000)
        with server.wire() as wire:
            self.assertEqual(wire.stat("evictions"), 0)
