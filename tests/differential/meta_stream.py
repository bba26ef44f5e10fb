"""A seeded stream of meta commands, for the text player.

Whoever asks for a CAS (`c`) asks for the key (`k`) as well, so that the player can tell whose it is.
"""

import base64

from differential.meta_rules import META_RULES
from differential.stream import CAS, LARGE_KEYS, Command, Generator

LOWER = b"1"  # no CAS is less
FLAGS_OF = {  # without an argument, beside k, c, q and O
    b"mg": b"fhlstvu",
    b"ms": b"I",
    b"md": b"I",
    b"ma": b"tv",
}
BAD = (b"mg %K N\r\n", b"mg %K Tx\r\n", b"ma %K D-1\r\n",
       b"ma %K Dx\r\n", b"mg %K vv\r\n", b"mg %K v v\r\n", b"mg %K f k f\r\n", 
       b"mn\r\n", b"mn a b c\r\n", b"me nosuch\r\n", b"mg nosuch O%O v\r\n")


class MetaGenerator(Generator):
    def __init__(self, seed):
        super().__init__(seed)
        # In base64 a key may have any byte; the answer shows it as it was sent.
        self.binary_keys = {connection: [base64.b64encode(b"%c: %d\0\n" % (ord("a") + connection, i)) for i in range(4)]
                            for connection in range(len(self.keys))}

    def _menu(self):
        return [(self.mg, 25), (self.ms, 22), (self.md, 8), (self.ma, 12), (self.recache, 3), (self.compare, 6),
                (self.number, 4), (self.delete, 2), (self.get, 3), (self.meta_large, 0.3), (self.meta_too_large, 0.06),
                (self.refused, 4), (self.bad_chunk_meta, 1), (self.debug, 2), (self.rule, 2)]

    def _pick(self, *choices):
        return self.random.choice(choices)

    def _one(self, connection):
        """(key, flags it needs) for a command that is no counter."""
        if self.random.random() < 0.15:
            return self._pick(*self.binary_keys[connection]), [b"b"]
        return self.key(connection), []

    def _common(self, verb, flags):
        """Adds what any command may have, in any order."""
        if self.random.random() < 0.4:
            flags.append(b"k")
            if self.random.random() < 0.6 and verb != b"me":
                flags.append(b"c")
        if self.random.random() < 0.2:
            flags.append(b"O" + self._pick(b"1", b"abc", b"x" * 31, b"!"))
        if self.random.random() < 0.2:
            flags.append(b"q")
        for flag in FLAGS_OF[verb]:
            if self.random.random() < 0.2:
                flags.append(bytes([flag]))
        self.random.shuffle(flags)
        return flags

    def _ttl(self):
        return self._pick(b"0", b"0", b"100", b"1000", b"2592000", b"-1", b"%d" % (self.now + 100000))

    def _line(self, verb, key, flags, block=None):
        words = [verb, key] + ([] if block is None else [b"%d" % len(block)]) + flags
        return b" ".join(words) + b"\r\n" + (b"" if block is None else block + b"\r\n")

    def mg(self, connection):
        key, flags = self._one(connection)
        if self.random.random() < 0.1:
            flags.append(b"R" + self._pick(b"30", b"500", b"10000"))
        elif self.random.random() < 0.15:
            flags.append(b"T" + self._ttl())
        has_time = bool(flags) and flags[-1].startswith(b"T")
        flags = [flag for flag in self._common(b"mg", flags) if flag != b"t" or not has_time]  # by "meta-order-of-times"
        if self.random.random() < 0.1 and not {b"b", b"t"} & set(flags):  # by "meta-binary-created", "meta-created-ttl"
            flags.append(b"N" + self._pick(b"0", b"100", b"1000"))
        return Command(self._line(b"mg", key, flags))

    def ms(self, connection):
        key, flags = self._one(connection)
        mode = self._pick(b"", b"", b"S", b"E", b"R", *(() if flags else (b"A", b"P")))  # by "meta-binary-joined"
        if mode:
            flags.append(b"M" + mode)
        if self.random.random() < 0.5:
            flags.append(b"F" + self.flags())
        if self.random.random() < 0.4:
            flags.append(b"T" + self._ttl())
        value = self.value()
        if mode in (b"A", b"P"):
            value = value[:500]
        return Command(self._line(b"ms", key, self._common(b"ms", flags), value))

    def md(self, connection):
        key, flags = self._one(connection)
        if self.random.random() < 0.2:
            key, flags = self.number_key(connection), []
        flags = self._common(b"md", flags)
        if b"I" in flags and self.random.random() < 0.5:
            flags.append(b"T" + self._ttl())
        return Command(self._line(b"md", key, flags))

    def ma(self, connection):
        flags = []
        if self.random.random() < 0.5:
            flags.append(b"M" + self._pick(b"I", b"D", b"+", b"-"))
        if self.random.random() < 0.6:
            flags.append(b"D" + self._pick(b"0", b"1", b"9", b"10", b"1000000007"))
        if self.random.random() < 0.4:
            flags += [b"N" + self._pick(b"0", b"100", b"1000")]
            if self.random.random() < 0.7:
                flags += [b"J" + self._pick(b"0", b"5", b"99", b"4611686018427387904")]
        flags = self._common(b"ma", flags)
        if any(flag.startswith(b"N") for flag in flags):
            flags = [flag for flag in flags if flag != b"q"]  # by "meta-quiet-creation"
            flags = [flag for flag in flags if flag != b"t"]  # by "meta-order-of-times"
        return Command(self._line(b"ma", self.number_key(connection), flags))

    def compare(self, connection):
        """A change under a CAS: the one seen last, one that is lower, one that is higher."""
        verb = self._pick(b"ms", b"ms", b"md", b"ma")
        key = self.number_key(connection) if verb == b"ma" else self.key(connection)
        unique = self._pick(CAS, CAS, CAS, LOWER, b"1152921504606846976", b"18446744073709551615")
        flags = [b"C" + unique, b"k"]
        if verb == b"ms" and self.random.random() < 0.3:
            flags.append(b"M" + self._pick(b"S", b"R", b"A", b"P"))
        elif verb != b"ma" and self.random.random() < 0.4:
            flags.append(b"I")
        change = self._line(verb, key, flags, self.value()[:500] if verb == b"ms" else None)
        look = Command(b"mg %s k c v\r\n" % key)
        after = [] if verb == b"ma" else [look]
        if unique == LOWER:  # than that of an item that was stored twice
            value = b"5" if verb == b"ma" else b"twice"
            after += [Command(b"ms %s %d\r\n%s\r\n" % (key, len(value), value))] * 2
        return [*after, Command(change, cas_key=key if unique is CAS else b""), look]

    def recache(self, connection):
        """Invalidate, then two who ask, then a fresh value."""
        key = self.key(connection)
        return [Command(b"md %s I T100 k\r\n" % key), Command(b"mg %s t v k c\r\n" % key), Command(b"mg %s v k\r\n" % key),
                Command(b"ms %s 3 T0\r\nnew\r\n" % key), Command(b"mg %s v R30 N30 t\r\n" % key)]

    def meta_large(self, connection):
        key = b"%c:big%d" % (ord("a") + connection, self.random.randrange(LARGE_KEYS))
        value = self.random.randbytes(256) * (self._pick(65536, 100000, 600000, 1000000) // 256)
        return [Command(self._line(b"ms", key, [b"F7"], value)), Command(b"mg %s f s v\r\n" % key),
                Command(self._line(b"ms", key, [b"MA"], b"tail")), Command(b"mg %s s\r\n" % key)]

    def meta_too_large(self, connection):
        key = self.key(connection)
        return [Command(self._line(b"ms", key, [self._pick(b"MS", b"ME", b"MR")], b"z" * ((1 << 20) + 1))),
                Command(b"mg %s v\r\n" % key)]

    def refused(self, connection):
        line = self._pick(*BAD).replace(b"%K", self.key(connection)).replace(b"%O", b"o" * 32)
        return Command(line)

    def bad_chunk_meta(self, connection):
        return Command(b"ms %s 3\r\nabcdefg\r\n" % self.key(connection))

    def debug(self, connection):
        return Command(b"me %s\r\n" % self.key(connection))

    def rule(self, connection):
        name = self.random.choice([n for n, r in META_RULES.items() if r.cases])
        request, old, new = self.random.choice(META_RULES[name].cases)
        if b"JUs=" in request and connection != 0:  # a key in base64 is the same for all: one connection has it
            return Command(b"mn\r\n")
        return Command(request.replace(b"%K", self.scratch_key()), name, old, new)

    def get_bad_key(self, _):
        return Command(b"mn\r\n")
