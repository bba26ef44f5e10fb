"""Clients that check every value they get back.

Each key is written by one client only, which numbers its writes; all clients read all keys.  A value says its key,
its number and when it dies, and its body is a piece of a known block that depends on the number:

* torn or foreign: key, length or body do not fit together
* stale: the number is below one that was acknowledged before the get was sent
* resurrected: the same; a delete takes a number as well, and a flush_all takes back all numbers before it
* immortal: it was to be dead for more than two seconds when the get was sent
"""

import dataclasses
import mmap
import os
import random
import signal
import sys
import time
import traceback

from harness.server import PATIENCE_SECONDS, poll
from harness.wire import Wire

BLOCK = random.Random(42).randbytes(4096 + (1 << 20))
SIZES = (0, 1, 20, 20, 60, 60, 100, 100, 100, 300, 300, 700, 1000, 2000, 4000, 9000, 20_000, 60_000)
LATE_SECONDS = 2.0


@dataclasses.dataclass
class Load:
    """What the clients do."""

    clients: int = 8
    keys: int = 20_000
    seconds: float = 4.0
    hits: int = 0  # when not 0: until so many were verified, at most `seconds`
    large_share: float = 0.003  # of writes: 100 KB to 900 KB
    delete_share: float = 0.05
    ttl_share: float = 0.1
    flushes_each: float = 0.0  # seconds between two flush_all; 0: none
    batch: int = 40


class Shared:
    """Numbers that all clients see: acknowledged and flushed ones by key, and what was counted."""

    COUNTED = ("hits", "misses", "writes", "refused")

    def __init__(self, keys):
        self._memory = mmap.mmap(-1, 8 * (2 * keys + len(self.COUNTED) * 64 + 1))
        words = memoryview(self._memory).cast("Q")
        self.acknowledged = words[:keys]
        self.flushed = words[keys : 2 * keys]
        self.counts = words[2 * keys : 2 * keys + len(self.COUNTED) * 64]
        self.stop = words[-1:]

    def total(self, name):
        at = self.COUNTED.index(name)
        return sum(self.counts[at::4])


def key_of(index):
    return b"stress:%d" % index


def value_of(index, number, size, dies):
    at = (index * 31 + number * 7) % 4096
    return b"%d %d %d %.3f|" % (index, number, size, dies) + BLOCK[at : at + size]


class _Client:
    def __init__(self, server, shared, load, place, seed):
        self.wire = Wire(server.connect(60))
        self.shared = shared
        self.load = load
        self.place = place
        self.random = random.Random(seed)
        self.mine = range(place, load.keys, load.clients)
        self.numbers = {}

    def run(self):
        while not self.shared.stop[0]:
            if self.random.random() < 0.35:
                self._write()
            else:
                self._read()

    def _count(self, name, by):
        at = self.place * 4 + Shared.COUNTED.index(name)
        self.shared.counts[at] += by

    def _some(self, indexes, count):
        # Half of the traffic goes to a twentieth of the keys.
        few = max(1, len(indexes) // 20)
        return [indexes[self.random.randrange(few if self.random.random() < 0.5 else len(indexes))]
                for _ in range(count)]

    def _size(self):
        if self.random.random() < self.load.large_share:
            return self.random.randrange(100_000, 900_000)
        size = self.random.choice(SIZES)
        return size + self.random.randrange(size + 1)

    def _write(self):
        indexes = list(dict.fromkeys(self._some(self.mine, self.load.batch)))
        parts, wanted = [], []
        for index in indexes:
            number = self.numbers[index] = self.numbers.get(index, 0) + 1
            key = key_of(index)
            if self.random.random() < self.load.delete_share:
                parts.append(b"delete %s\r\n" % key)
                wanted.append((b"DELETED", b"NOT_FOUND"))
                continue
            ttl = self.random.choice((1, 2, 100)) if self.random.random() < self.load.ttl_share else 0
            value = value_of(index, number, self._size(), time.time() + ttl if ttl else 0)
            parts.append(b"set %s %d %d %d\r\n%s\r\n" % (key, number & 0xffff, ttl, len(value), value))
            wanted.append((b"STORED",))
        self.wire.send(b"".join(parts))
        refused = 0
        for index, replies in zip(indexes, wanted):
            line = self.wire.line()
            if line not in replies:
                # The old value went or stays; either way the number was not promised.
                if not line.startswith(b"SERVER_ERROR"):
                    raise AssertionError(f"write was answered by {line!r}")
                refused += 1
                continue
            self.shared.acknowledged[index] = self.numbers[index]
        self._count("writes", len(indexes) - refused)
        self._count("refused", refused)

    def _read(self):
        indexes = self._some(range(self.load.keys), self.load.batch)
        shared = self.shared
        floors = [max(shared.acknowledged[i], shared.flushed[i]) for i in indexes]
        asked = time.time()
        # One get for all, or one for each, pipelined.
        is_multi = self.random.random() < 0.5
        keys = [key_of(i) for i in indexes]
        self.wire.send(b"get " + b" ".join(keys) + b"\r\n" if is_multi else b"".join(b"get %s\r\n" % k for k in keys))
        hits = 0
        if is_multi:
            at = 0
            while (line := self.wire.line()) != b"END":
                words = line.split(b" ")
                while at < len(keys) and keys[at] != words[1]:
                    at += 1  # a miss
                if at == len(keys):
                    raise AssertionError(f"{line!r} was not asked for, or not in this order")
                self._check(indexes[at], floors[at], asked, line, words)
                at += 1
                hits += 1
        else:
            for index, floor in zip(indexes, floors):
                line = self.wire.line()
                if line == b"END":
                    continue
                self._check(index, floor, asked, line, line.split(b" "))
                if self.wire.line() != b"END":
                    raise AssertionError("no END behind a value")
                hits += 1
        self._count("hits", hits)
        self._count("misses", len(keys) - hits)

    def _check(self, index, floor, asked, line, words):
        if len(words) != 4 or words[0] != b"VALUE" or words[1] != key_of(index):
            raise AssertionError(f"asked for {key_of(index)}, got {line!r}")
        value = self.wire.exactly(int(words[3]))
        if self.wire.exactly(2) != b"\r\n":
            raise AssertionError(f"{line!r}: no line end behind the value")
        head, _, body = value.partition(b"|")
        said_index, number, size, dies = head.split(b" ")
        number, size, dies = int(number), int(size), float(dies)
        at = (index * 31 + number * 7) % 4096
        if int(said_index) != index:
            raise AssertionError(f"foreign: {line!r} has {head!r}")
        if len(body) != size or body != BLOCK[at : at + size] or int(words[2]) != number & 0xffff:
            raise AssertionError(f"torn: {line!r} has {head!r} and {len(body)} bytes")
        if number < floor:
            raise AssertionError(f"stale: {line!r} has number {number}, {floor} was acknowledged before")
        if dies and asked > dies + LATE_SECONDS:
            raise AssertionError(f"immortal: {line!r} was to die {asked - dies:.1f} s before")


def _flusher(server, shared, load, seed):
    wire = Wire(server.connect(60))
    rand = random.Random(seed)
    while not shared.stop[0]:
        end = time.monotonic() + load.flushes_each * rand.uniform(0.5, 1.5)
        poll(lambda end=end: shared.stop[0] or time.monotonic() >= end)
        before = list(shared.acknowledged)
        if wire.ask(b"flush_all\r\n") != b"OK":
            raise AssertionError("flush_all was refused")
        for index, number in enumerate(before):
            if number:
                shared.flushed[index] = number + 1


def _in_child(name, work, stop):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - the child ends here
        sys.stdout.write(f"  {name}: {error}\n")
        if not isinstance(error, AssertionError):
            traceback.print_exc(file=sys.stdout)
    finally:
        stop[0] = 1
        sys.stdout.flush()
        os._exit(code)


def run(server, load, seed):
    """Plays the load; returns {hits, misses, writes, refused}.  Raises when a client found something."""
    shared = Shared(load.keys)
    sys.stdout.flush()
    children = []
    for place in range(load.clients):
        def work(place=place):
            _Client(server, shared, load, place, seed * 1000 + place).run()

        children.append(_in_child(f"client {place}", work, shared.stop))
    if load.flushes_each:
        children.append(_in_child("flusher", lambda: _flusher(server, shared, load, seed), shared.stop))
    end = time.monotonic() + load.seconds

    def is_over():
        has_enough = load.hits and shared.total("hits") >= load.hits
        return has_enough or shared.stop[0] or time.monotonic() >= end

    poll(is_over, load.seconds + PATIENCE_SECONDS, "the end of the load")
    shared.stop[0] = 1
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    counted = {name: shared.total(name) for name in Shared.COUNTED}
    print(f"  (seed {seed}: {counted})", flush=True)
    if any(codes):
        raise AssertionError(f"clients ended with {codes}, seed {seed}; what they found stands above")
    return counted
