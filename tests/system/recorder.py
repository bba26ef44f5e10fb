"""Clients that do many kinds of operations on few keys at once and write down what they saw."""

import dataclasses
import multiprocessing
import random
import re
import time

from harness.wire import Wire
from system.linearizability import Operation

DOT = b"." * 1000  # filler of large values; kept as one @ in histories
FIRST_OWN_CAS = 10**12


def shorten(value):
    return value.replace(DOT, b"@")


@dataclasses.dataclass
class Plan:
    keys: list
    clients: int = 6
    seconds: float = 2.0
    most: int = 3000  # operations a client
    meta: bool = True
    large: bool = False  # some values of 20 to 120 KB
    pipeline: int = 3  # requests at once, at most


class Client:
    """Sends pipelines of random requests; record is a list of (key, Operation)."""

    def __init__(self, sock, number, plan, seed):
        self.wire = Wire(sock)
        self.number = number
        self.plan = plan
        self.random = random.Random(seed * 1000 + number)
        self.written = 0
        self.seen = {}  # key -> (unique, value)
        self.record = []

    def run(self):
        deadline = time.monotonic() + self.plan.seconds
        while time.monotonic() < deadline and len(self.record) < self.plan.most:
            self._round(self.random.randint(1, self.plan.pipeline))

    def _round(self, count):
        sent = [(key, *self._choose(key)) for key in self.random.choices(self.plan.keys, k=count)]
        call = time.monotonic()
        self.wire.send(b"".join(request for _, _, _, request, _ in sent))
        for key, name, arguments, _, read in sent:
            result = read()
            if result[0] == "hit":
                self.seen[key] = (result[3], result[1])
            self.record.append((key, Operation(self.number, name, arguments, result, call, time.monotonic(),
                                               len(self.record))))

    def _choose(self, key):
        kinds = [self._get, self._get, self._store, self._store, self._join, self._delete, self._count, self._count,
                 self._touch, self._cas, self._cas, self._number]
        if self.plan.meta:
            kinds += [self._meta_get, self._meta_get, self._meta_store, self._meta_store, self._meta_count,
                      self._meta_delete, self._meta_cas]
        return self.random.choice(kinds)(key)

    # Requests: (operation, arguments, bytes, what reads the result).

    def _value(self):
        self.written += 1
        value = b"<%d:%d>" % (self.number, self.written)
        if self.plan.large and self.random.random() < 0.2:
            value += DOT * self.random.randint(20, 120) + b";"
        return value

    def _get(self, key):
        verb = self.random.choice((b"gets %s\r\n", b"gats 0 %s\r\n"))
        return "get", {}, verb % key, self._read_get

    def _touch(self, key):
        return "touch", {}, b"touch %s 0\r\n" % key, lambda: self._word({b"TOUCHED": "done", b"NOT_FOUND": "miss"})

    def _set(self, mode, key, value, unique=None):
        flags = self.random.choice((0, 7))
        asked = {"mode": mode, "value": shorten(value), "flags": flags}
        tail = b""
        if unique is not None:
            asked |= {"unique": unique[0], "seen": unique[1]}
            tail = b" %d" % unique[0]
        line = b"%s %s %d 0 %d%s\r\n%s\r\n" % (mode.encode(), key, flags, len(value), tail, value)
        return "store", asked, line, lambda: self._word(
            {b"STORED": "stored", b"NOT_STORED": "not stored", b"EXISTS": "exists", b"NOT_FOUND": "missing"})

    def _store(self, key):
        return self._set(self.random.choice(("set", "add", "replace")), key, self._value())

    def _number(self, key):
        return self._set("set", key, b"%d" % self.random.randrange(10**9, 10**12))

    def _join(self, key):
        return self._set(self.random.choice(("append", "prepend")), key, self._value())

    def _cas(self, key):
        if key not in self.seen:
            return self._get(key)
        return self._set("cas", key, self._value(), self.seen[key])

    def _delete(self, key):
        return "delete", {}, b"delete %s\r\n" % key, lambda: self._word(
            {b"DELETED": "deleted", b"NOT_FOUND": "missing"})

    def _count(self, key):
        down, delta = self.random.random() < 0.4, self.random.randint(1, 10**6)
        asked = {"down": down, "delta": delta, "initial": None}
        return "count", asked, b"%s %s %d\r\n" % (b"decr" if down else b"incr", key, delta), self._read_count

    def _meta_get(self, key):
        vivify = self.random.random() < 0.3
        return "meta_get", {"vivify": vivify}, b"mg %s v f c%s\r\n" % (key, b" N0" if vivify else b""), self._read_mg

    def _own_cas(self, asked, chance=0.2):
        if self.random.random() >= chance:
            return b""
        self.written += 1
        asked["new_cas"] = FIRST_OWN_CAS * (self.number + 1) + self.written
        return b" E%d" % asked["new_cas"]

    def _meta_store(self, key):
        mode = self.random.choice(("set", "add", "replace", "append", "prepend"))
        value, flags = self._value(), self.random.choice((0, 9))
        asked = {"mode": mode, "value": shorten(value), "flags": flags}
        letter = {"set": b"S", "add": b"E", "replace": b"R", "append": b"A", "prepend": b"P"}[mode]
        line = b"ms %s %d c F%d M%s%s\r\n%s\r\n" % (key, len(value), flags, letter, self._own_cas(asked), value)
        return "store", asked, line, self._read_ms

    def _meta_cas(self, key):
        if key not in self.seen:
            return self._meta_get(key)
        value, (unique, seen) = self._value(), self.seen[key]
        asked = {"mode": "cas", "value": shorten(value), "flags": 0, "unique": unique, "seen": seen,
                 "stale": self.random.random() < 0.5}
        line = b"ms %s %d c C%d%s%s\r\n%s\r\n" % (key, len(value), unique, b" I" if asked["stale"] else b"",
                                                  self._own_cas(asked), value)
        return "store", asked, line, self._read_ms

    def _meta_count(self, key):
        down, delta = self.random.random() < 0.4, self.random.randint(1, 10**6)
        initial = self.random.randrange(10**9) if self.random.random() < 0.5 else None
        asked = {"down": down, "delta": delta, "initial": initial}
        line = b"ma %s v c M%s D%d" % (key, b"D" if down else b"I", delta)
        if initial is not None:
            line += b" N0 J%d" % initial
        return "count", asked, line + b"\r\n", self._read_ma

    def _meta_delete(self, key):
        asked, line = {"invalidate": self.random.random() < 0.6}, b"md " + key
        if key in self.seen and self.random.random() < 0.5:
            asked["unique"], asked["seen"] = self.seen[key]
            line += b" C%d" % asked["unique"]
        if asked["invalidate"]:
            line += b" I"
        return "delete", asked, line + b"\r\n", lambda: self._word(
            {b"HD": "deleted", b"NF": "missing", b"EX": "exists"})

    # Results.

    def _word(self, words):
        line = self.wire.line()
        if line not in words:
            raise AssertionError(f"unexpected answer {line!r}")
        return (words[line],)

    def _read_get(self):
        line = self.wire.line()
        if line == b"END":
            return ("miss",)
        _, _, flags, size, unique = line.split(b" ")
        value = self.wire.exactly(int(size) + 7)
        if not value.endswith(b"\r\nEND\r\n"):
            raise AssertionError(f"{line!r}: torn value")
        return ("hit", shorten(value[:-7]), int(flags), int(unique))

    def _read_count(self):
        line = self.wire.line()
        if line == b"NOT_FOUND":
            return ("missing",)
        if line.startswith(b"CLIENT_ERROR cannot increment"):
            return ("not a number",)
        return ("number", int(line), None)

    def _block(self, line):
        """The value behind `VA <size> ...`, and the flags of the line."""
        _, size, *flags = line.split(b" ")
        value = self.wire.exactly(int(size) + 2)
        if not value.endswith(b"\r\n"):
            raise AssertionError(f"{line!r}: torn value")
        return shorten(value[:-2]), {f[:1]: f[1:] for f in flags}

    def _read_mg(self):
        line = self.wire.line()
        if line == b"EN":
            return ("miss",)
        value, flags = self._block(line)
        tokens = frozenset(name.decode() for name in flags if name in (b"W", b"X", b"Z"))
        return ("hit", value, int(flags[b"f"]), int(flags[b"c"]), tokens)

    def _read_ma(self):
        line = self.wire.line()
        if line.startswith(b"NF"):
            return ("missing",)
        if line.startswith(b"CLIENT_ERROR cannot increment"):
            return ("not a number",)
        value, flags = self._block(line)
        return ("number", int(value), int(flags[b"c"]))

    def _read_ms(self):
        line = self.wire.line()
        word = {b"HD": "stored", b"NS": "not stored", b"EX": "exists", b"NF": "missing"}.get(line[:2])
        if word is None:
            raise AssertionError(f"unexpected answer {line!r}")
        unique = re.search(rb" c(\d+)", line)
        return (word, int(unique[1]) if unique and word == "stored" else None)


def _process(server, number, plan, seed, pipe):
    try:
        client = Client(server.connect(60), number, plan, seed)
        client.run()
        pipe.send(client.record)
    except BaseException as error:  # noqa: BLE001 - told to the test
        pipe.send(repr(error))


def record(server, plan, seed):
    """{key: history} of one run."""
    context = multiprocessing.get_context("fork")
    running = []
    for number in range(plan.clients):
        ours, theirs = context.Pipe(False)
        process = context.Process(target=_process, args=(server, number, plan, seed, theirs), daemon=True)
        process.start()
        running.append((process, ours))
    histories = {key: [] for key in plan.keys}
    failed = []
    for process, pipe in running:
        told = pipe.recv()
        process.join()
        if isinstance(told, str):
            failed.append(told)
            continue
        for key, operation in told:
            histories[key].append(operation)
    if failed:
        raise AssertionError("; ".join(failed))
    return histories
