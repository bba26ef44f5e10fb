"""A seeded stream of binary requests, like stream.py's of text: each knows its key, so that CAS values can be mapped.

Requests that end their connection come last in their batch; the player opens a new one behind them.
"""

import dataclasses
import struct

from differential.binary_rules import BINARY_RULES, RULE_OPAQUE
from differential.stream import ITEM_MAX, LARGE_KEYS, NUMBERS, Batch, Generator
from harness import binary

CAS_PLACE = slice(16, 24)  # in the header
READS = {binary.GET, binary.GETQ, binary.GETK, binary.GETKQ, binary.GAT, binary.GATQ, binary.GATK, binary.GATKQ}
COUNTS = {binary.INCR, binary.DECR, binary.INCRQ, binary.DECRQ}
STORES = (binary.SET, binary.SET, binary.SET, binary.ADD, binary.REPLACE, binary.SETQ, binary.SETQ, binary.ADDQ,
          binary.REPLACEQ)
JOINS = (binary.APPEND, binary.PREPEND, binary.APPENDQ, binary.PREPENDQ)
# The range commands of the papers, and what nobody ever gave a meaning.
UNKNOWN = (0x1B, 0x1F, 0x25, 0x30, 0x31, 0x3C, 0x40, 0x50, 0x77, 0xA0, 0xFE, 0xFF)


@dataclasses.dataclass
class BinaryCommand:
    data: bytes
    key: bytes = b""
    has_cas: bool = False  # its CAS is the one that the key showed last
    closes: bool = False  # both servers answer it, or not, and hang up
    rule: str = ""  # a name of BINARY_RULES: answered differently on purpose, as `old` and `new` say
    old: tuple = ()
    new: tuple = ()

    @property
    def opcode(self):
        return self.data[1]

    @property
    def opaque(self):
        return int.from_bytes(self.data[12:16], "big")

    def bytes_for(self, cas_of):
        if not self.has_cas:
            return self.data
        return self.data[: CAS_PLACE.start] + struct.pack(">Q", cas_of.get(self.key, 1 << 60)) + self.data[CAS_PLACE.stop :]


def _without_reads_before_arithmetic(commands):
    """As in the text stream, by the rule "padding-of-held-items"."""
    read, kept = set(), []
    for command in commands:
        if command.opcode in READS:
            read.add(command.key)
        elif command.opcode in COUNTS and command.key in read:
            continue
        kept.append(command)
    return kept


class BinaryGenerator(Generator):
    """Uses the keys, numbers and values of the text stream, and its way to cut batches."""

    def __init__(self, seed):
        self.opaque = 0
        super().__init__(seed)

    def _menu(self):
        return [(self.get, 20), (self.store, 22), (self.join, 6), (self.arithmetic, 12), (self.number, 6),
                (self.delete, 6), (self.touch, 6), (self.gat, 6), (self.cas, 8), (self.multiget, 1), (self.large, 0.25),
                (self.counter_story, 2), (self.too_large, 0.06), (self.noop, 2), (self.unknown, 2), (self.bad_stat, 1),
                (self.with_foreign_cas, 3), (self.rule, 1)]

    def _make(self, opcode, key=b"", value=b"", extras=b"", **marks):
        self.opaque += 1
        return BinaryCommand(binary.request(opcode, key, value, extras, opaque=self.opaque), key, **marks)

    def _pick(self, *choices):
        return self.random.choice(choices)

    def _batch(self, connection):
        if self.random.random() < 0.05:  # alone, by "close-drops-replies"
            return Batch(connection, [self.last_words(connection)], ())
        length = self._pick(1, 2, 5, 10, 20, 40, 80)
        commands = []
        while len(commands) < length:
            made = self.random.choices(self.makers, self.weights)[0](connection)
            commands += made if isinstance(made, list) else [made]
        commands = _without_reads_before_arithmetic(commands) or [self.noop(connection)]
        return self._cut(connection, commands)

    def _global_batch(self, connection):
        extras = self._pick(b"", bytes(4))
        flush = self._make(self._pick(binary.FLUSH, binary.FLUSHQ), extras=extras)
        commands = [self.store(connection), self.get(connection), flush, self.store(connection), self.get(connection),
                    self.get(connection)]
        return self._cut(connection, commands)

    def _exptime(self):
        ahead = self.now + self._pick(1000, 100000, 3000000)
        return self._pick(0, 0, 0, 100, 2592000, 2592001, ahead, self.now - 1000)

    def _any_key(self, connection):
        return self.number_key(connection) if self.random.random() < 0.1 else self.key(connection)

    # Requests that do what they say.

    def get(self, connection, key=None):
        opcode = self._pick(binary.GET, binary.GETQ, binary.GETK, binary.GETKQ)
        return self._make(opcode, key or self._any_key(connection))

    def multiget(self, connection):
        opcode = self._pick(binary.GETQ, binary.GETKQ)
        many = [self._make(opcode, self.key(connection) if self.random.random() < 0.7 else b"miss%d" % i)
                for i in range(self._pick(3, 25, 300))]
        return [*many, self._make(binary.NOOP)]

    def store(self, connection, key=None, **marks):
        opcode = self._pick(*STORES)
        extras = struct.pack(">II", self._pick(0, 0, 5, 65535, (1 << 32) - 1, self.random.randrange(1 << 32)), self._exptime())
        return self._make(opcode, key or self.key(connection), self.value(), extras, **marks)

    def join(self, connection, **marks):
        return self._make(self._pick(*JOINS), self.key(connection), self.value()[:500], **marks)

    def number(self, connection):
        return self._make(self._pick(binary.SET, binary.SETQ), self.number_key(connection), self._pick(*NUMBERS), bytes(8))

    def arithmetic(self, connection, key=None, **marks):
        opcode = self._pick(*COUNTS)
        deltas = (0, 1, 2, 7, 9, 10, 99, 1000000007, 999999999999)
        if opcode in (binary.DECR, binary.DECRQ):
            deltas += (1 << 63, (1 << 64) - 1)
        extras = struct.pack(">QQI", self._pick(*deltas), self._pick(0, 5, 100, 1 << 62),
                             self._pick(0, 100, 0xFFFFFFFF, 0xFFFFFFFF))
        return self._make(opcode, key or self.number_key(connection), b"", extras, **marks)

    def counter_story(self, connection):
        key = self.number_key(connection)
        return [*(self.arithmetic(connection, key) for _ in range(3)), self._make(binary.GET, key)]

    def delete(self, connection, **marks):
        return self._make(self._pick(binary.DELETE, binary.DELETEQ), self._any_key(connection), **marks)

    def touch(self, connection):
        return self._make(binary.TOUCH, self.key(connection), extras=struct.pack(">I", self._exptime()))

    def gat(self, connection):
        opcode = self._pick(binary.GAT, binary.GATQ, binary.GATK, binary.GATKQ)
        return self._make(opcode, self.key(connection), extras=struct.pack(">I", self._exptime()))

    def cas(self, connection):
        """A look, then a change that is made only when nothing came between this look's batch and the one before."""
        maker = self._pick(self.store, self.store, self.join, self.delete, self.arithmetic)
        change = maker(connection, has_cas=True)
        look = self._make(binary.GETK, change.key)
        if maker == self.arithmetic:
            return [change, look]
        return [look, change, self._make(binary.GETK, change.key)]

    def with_foreign_cas(self, connection):
        command = self._pick(self.store, self.join, self.delete, self.arithmetic)(connection)
        foreign = struct.pack(">Q", self._pick(1 << 60, (1 << 64) - 1))
        command.data = command.data[: CAS_PLACE.start] + foreign + command.data[CAS_PLACE.stop :]
        return command

    def large(self, connection):
        key = b"%c:big%d" % (ord("a") + connection, self.random.randrange(LARGE_KEYS))
        size = self._pick(65536, 100000, 262144, 524288, 600000, 1000000, ITEM_MAX - 2000)
        value = self.random.randbytes(256) * (size // 256)
        after = self._pick(self._make(binary.GETK, key), self._make(binary.APPEND, key, b"abc"),
                           self._make(binary.PREPENDQ, key, b""), self._make(binary.DELETE, key),
                           self._make(binary.INCR, key, b"", struct.pack(">QQI", 1, 0, 0)))
        return [self._make(self._pick(binary.SET, binary.SETQ), key, value, bytes(8)), after, self._make(binary.GET, key)]

    def too_large(self, connection):
        key = self._pick(self.key(connection), b"%c:big0" % (ord("a") + connection))
        opcode = self._pick(*STORES)
        size = ITEM_MAX + self._pick(0, 1, 5000)
        return [self._make(opcode, key, b"z" * size, bytes(8)), self._make(binary.GET, key)]

    def noop(self, _):
        return self._make(self._pick(binary.NOOP, binary.VERSION))

    # Requests that are refused.

    def unknown(self, _):
        return self._make(self._pick(*UNKNOWN))

    def bad_stat(self, _):
        return self._make(binary.STAT, self._pick(b"bogus", b"Items", b"xconns"))

    def rule(self, _):
        name = self.random.choice([n for n, r in BINARY_RULES.items() if r.cases])
        data, old, new = self.random.choice(BINARY_RULES[name].cases)
        self.opaque += 1
        data = data.replace(RULE_OPAQUE, struct.pack(">I", self.opaque))
        return BinaryCommand(data, b"", False, False, name, old, new)

    def last_words(self, connection):
        """What ends a connection: quit, or a bad shape."""
        key = self.key(connection)
        shapes = ((binary.QUIT, b"", b"", b""), (binary.QUITQ, b"", b"", b""), (binary.GET, b"", b"", b""),
                  (binary.GETQ, key, b"", bytes(4)), (binary.GET, key, b"", bytes(8)), (binary.SET, b"", b"v", bytes(8)),
                  (binary.SET, key, b"v", b""), (binary.SETQ, key, b"v", bytes(4)), (binary.DELETE, b"", b"", b""),
                  (binary.DELETE, key, b"", bytes(4)), (binary.INCR, key, b"", bytes(8)), (binary.DECRQ, b"", b"", bytes(20)),
                  (binary.APPEND, key, b"v", bytes(8)), (binary.PREPEND, b"", b"v", b""), (binary.TOUCH, key, b"", b""),
                  (binary.GAT, b"", b"", bytes(4)), (binary.NOOP, key, b"", b""), (binary.NOOP, b"", b"", bytes(4)),
                  (binary.VERSION, key, b"", b""), (binary.FLUSH, b"", b"", bytes(8)), (binary.FLUSH, key, b"", b""),
                  (binary.STAT, key, b"", bytes(4)), (binary.QUIT, key, b"", b""))
        if self.random.random() < 0.1:
            return self._make(self._pick(binary.GET, binary.SET, binary.DELETE), b"k" * 251, closes=True)
        opcode, key, value, extras = self.random.choice(shapes)
        return self._make(opcode, key, value, extras, closes=True)
