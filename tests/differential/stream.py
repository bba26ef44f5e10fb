"""A seeded stream of commands: what is sent, over which connection, in what pieces.

A stream does not depend on any answer, so that any part of it can be played again.  CAS uniques, which differ
from server to server, are written as a placeholder and filled in when the command is sent.
"""

import dataclasses
import random
import time

from differential.rules import RULES

CAS = b"\x00cas\x00"  # stands for the unique that the last gets of cas_key gave
CONNECTIONS = 6
SMALL_KEYS = 24
LARGE_KEYS = 2
NUMBER_KEYS = 8
ITEM_MAX = 1 << 20
WORDS = (b"bogus", b"GET", b"Set", b"help", b"stats_", b"getx", b"sets", b"mgx", b"\xff\xfe\xfd\xfc", b"get\t%K")
DELTAS = (b"0", b"1", b"2", b"7", b"9", b"10", b"99", b"1000000007", b"00012", b"999999999999")
BAD_DELTAS = (b"18446744073709551616", b"-1", b"abc", b"1x", b"99999999999999999999999999")
HUGE_DELTAS = (b"18446744073709551615", b"9223372036854775808")  # for decr: see the rule "huge-counters"
NUMBERS = (b"0", b"1", b"9", b"10", b"99", b"100", b"12 ", b" 12", b"12x", b"", b"-1", b"4611686018427387904",
           b"18446744073709551616", b"00000000000000000000", b"007", b"99999999999999999999", b"1.5", b"0x10")


@dataclasses.dataclass
class Command:
    data: bytes
    rule: str = ""  # a name of RULES: answered differently on purpose
    old: bytes = b""
    new: bytes = b""
    cas_key: bytes = b""

    def bytes_for(self, cas_of):
        if not self.cas_key:
            return self.data
        return self.data.replace(CAS, b"%d" % cas_of.get(self.cas_key, 1 << 60))


@dataclasses.dataclass
class Batch:
    connection: int
    commands: list
    cuts: tuple  # where the bytes are cut, as fractions of the whole
    is_slow: bool = False  # the pieces wait for each other

    def __len__(self):
        return len(self.commands)


def _without_reads_before_arithmetic(commands):
    """Leaves out what the rule "padding-of-held-items" is about."""
    read, kept = set(), []
    for command in commands:
        words = command.data.split(b"\n", 1)[0].split()
        verb = words[0] if words else b""
        if verb in (b"get", b"gets", b"gat", b"gats"):
            read.update(words[1:])
        elif verb in (b"incr", b"decr", b"ma") and len(words) > 1 and words[1] in read:
            continue
        elif verb in (b"mg", b"ma"):
            read.update(words[1:2])
        kept.append(command)
    return kept


class Generator:
    def __init__(self, seed, is_valid_only=False):
        self.random = random.Random(seed)
        self.is_valid_only = is_valid_only  # no format errors, nothing global: counters can be compared
        self.now = int(time.time())
        self.keys = [self._keys(c) for c in range(CONNECTIONS)]
        self.scratch = 0
        self.makers, self.weights = zip(*self._menu())

    def _keys(self, connection):
        prefix = b"%c:" % (ord("a") + connection)
        keys = [prefix + b"key%d" % i for i in range(SMALL_KEYS - 7)]
        keys += [prefix + b"k" * 248, prefix + b"m" * 247, prefix + "é☃".encode(), prefix + b"\x01\x02\x7f\xff",
                 prefix, prefix + b"a\rb", prefix + b"\t"]
        return keys

    def _menu(self):
        menu = [(self.get, 22), (self.store, 22), (self.arithmetic, 10), (self.number, 5), (self.delete, 5),
                (self.touch, 5), (self.gat, 5), (self.gets, 6), (self.cas, 7), (self.multiget, 1), (self.large, 0.25),
                (self.counter_story, 2)]
        if not self.is_valid_only:
            menu += [(self.rule, 5), (self.unknown, 2), (self.mangled, 4), (self.bad_chunk, 3), (self.bad_key, 2),
                     (self.bad_length, 1), (self.too_large, 0.06), (self.odd_spelling, 4), (self.admin_error, 1)]
        return menu

    def batches(self, count):
        """Lists of batches that may be on the wire at the same time, up to `count` commands in all."""
        sent = 0
        while sent < count:
            if not self.is_valid_only and self.random.random() < 0.08:
                together = [self._global_batch(self.random.randrange(CONNECTIONS))]
            else:
                together = [self._batch(c) for c in range(CONNECTIONS) if self.random.random() < 0.8]
            sent += sum(map(len, together))
            if together:
                yield together

    def _batch(self, connection):
        length = self.random.choice((1, 2, 5, 10, 20, 40, 80))
        commands = []
        while len(commands) < length:
            maker = self.random.choices(self.makers, self.weights)[0]
            made = maker(connection)
            commands += made if isinstance(made, list) else [made]
        if not self.is_valid_only and self.random.random() < 0.15:
            commands.insert(0, self.get_bad_key(connection))
        return self._cut(connection, _without_reads_before_arithmetic(commands))

    def _cut(self, connection, commands):
        style = self.random.random()
        cuts = () if style < 0.5 else tuple(sorted(self.random.random() for _ in range(self.random.randint(1, 6))))
        return Batch(connection, commands, cuts, is_slow=0.9 < style)

    def _global_batch(self, connection):
        """What touches the keys of other connections is on the wire alone."""
        line = self.random.choice((b"flush_all", b"flush_all 0", b"flush_all -1", b"flush_all noreply", b"flush_all abc",
                                   b"flush_all 0 noreply", b"verbosity 0", b"verbosity 0 noreply", b"verbosity abc",
                                   b"flush_all  ", b"stats reset"))
        after = [self.store(connection), self.get(connection), self.multiget(connection)]
        return self._cut(connection, [self.store(connection), self.get(connection), Command(line + b"\r\n"), *after])

    # Words of a line.

    def key(self, connection):
        return self.random.choice(self.keys[connection])

    def number_key(self, connection):
        return b"%c:n%d" % (ord("a") + connection, self.random.randrange(NUMBER_KEYS))

    def flags(self):
        if self.random.random() < 0.5:
            return b"0"
        return self.random.choice((b"1", b"5", b"65535", b"2147483648", b"4294967295", b"007",
                                   b"%d" % self.random.randrange(1 << 32)))

    def exptime(self):
        if self.random.random() < 0.6:
            return b"0"
        ahead = self.now + self.random.choice((1000, 100000, 3000000))
        return self.random.choice((b"100", b"1000", b"2592000", b"-1", b"-100", b"2592001", b"%d" % ahead, b"-2147483648",
                                   b"%d" % (self.now - 1000), b"0100"))

    def value(self):
        size = self.random.choice((0, 1, 2, 3, 5, 10, 11, 12, 20, 50, 100, 500, 1000, 2000, 5000, 20000))
        if size > 10 and self.random.random() < 0.5:
            size += self.random.randrange(size)
        if size < 64 and self.random.random() < 0.2:
            return self.random.choice((b"\r\n", b"\r\nEND\r\n", b"VALUE x 0 1\r\n1\r\n", b"get x\r\n", b"\0\n\r\0",
                                       b"END\r\n", b"STORED\r\n", b"VERSION 1.6.45\r\n", b"noreply\r\n"))
        return self.random.randbytes(min(size, 64)) * (size // 64 + 1) if size >= 64 else self.random.randbytes(size)

    def noreply(self):
        return b" noreply" if self.random.random() < 0.12 else b""

    def scratch_key(self):
        self.scratch += 1
        return b"scratch%d" % self.scratch

    # Commands that do what they say.

    def get(self, connection):
        return Command(b"get %s\r\n" % self.key(connection))

    def gets(self, connection):
        return Command(b"gets %s\r\n" % self.key(connection))

    def multiget(self, connection):
        count = self.random.choice((2, 3, 10, 23, 24, 25, 60, 300))
        keys = [self.key(connection) if self.random.random() < 0.7 else b"miss%d" % i for i in range(count)]
        line = b" ".join(keys)
        verb = self.random.choice((b"get", b"get", b"gets", b"gat 0", b"gats 1000"))
        if len(line) > 1900 and verb.startswith(b"gat"):
            verb = b"get"  # only get and gets may be longer than the first read
        return Command(verb + b" " + line + b"\r\n")

    def store(self, connection, key=None, value=None):
        verb = self.random.choice((b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend"))
        value = self.value() if value is None else value
        if verb in (b"append", b"prepend"):
            value = value[:500]
        line = b"%s %s %s %s %d%s\r\n" % (verb, key or self.key(connection), self.flags(), self.exptime(), len(value),
                                          self.noreply())
        return Command(line + value + b"\r\n")

    def number(self, connection):
        value = self.random.choice(NUMBERS)
        line = b"set %s %s 0 %d\r\n%s\r\n" % (self.number_key(connection), self.flags(), len(value), value)
        return Command(line)

    def arithmetic(self, connection):
        key = self.number_key(connection)  # never a value of blanks alone: memcached reads on behind its end
        verb = self.random.choice((b"incr", b"decr"))
        delta = self.random.choice((*DELTAS, *DELTAS, *BAD_DELTAS, *(HUGE_DELTAS if verb == b"decr" else ())))
        return Command(b"%s %s %s%s\r\n" % (verb, key, delta, self.noreply()))

    def counter_story(self, connection):
        key = self.number_key(connection)
        story = [Command(b"%s %s %s\r\n" % (self.random.choice((b"incr", b"decr")), key, self.random.choice(DELTAS)))
                 for _ in range(3)]
        return [*story, Command(b"get %s\r\n" % key)]

    def delete(self, connection):
        key = self.number_key(connection) if self.random.random() < 0.2 else self.key(connection)
        return Command(b"delete %s%s%s\r\n" % (key, self.random.choice((b"", b"", b" 0")), self.noreply()))

    def touch(self, connection):
        return Command(b"touch %s %s%s\r\n" % (self.key(connection), self.exptime(), self.noreply()))

    def gat(self, connection):
        return Command(b"%s %s %s\r\n" % (self.random.choice((b"gat", b"gats")), self.exptime(), self.key(connection)))

    def cas(self, connection):
        key = self.key(connection)
        unique = self.random.choice((CAS, CAS, CAS, b"0", b"1152921504606846976", b"18446744073709551615"))
        value = self.value()[:2000]
        data = b"cas %s %s %s %d %s%s\r\n%s\r\n" % (key, self.flags(), self.exptime(), len(value), unique, self.noreply(),
                                                    value)
        look = Command(b"gets %s\r\n" % key)
        return [look, Command(data, cas_key=key if unique is CAS else b""), look]

    def large(self, connection):
        key = b"%c:big%d" % (ord("a") + connection, self.random.randrange(LARGE_KEYS))
        size = self.random.choice((65536, 100000, 262144, 524288, 600000, 1000000, ITEM_MAX - 2000))
        value = self.random.randbytes(256) * (size // 256)
        after = self.random.choice((b"get %s\r\n", b"incr %s 1\r\n", b"append %s 0 0 3\r\nabc\r\n", b"touch %s 0\r\n",
                                    b"prepend %s 0 0 0\r\n\r\n", b"delete %s\r\n", b"gat 0 %s\r\n"))
        return [Command(b"set %s 0 0 %d%s\r\n%s\r\n" % (key, len(value), self.noreply(), value)), Command(after % key),
                Command(b"get %s\r\n" % key)]

    # Commands that are refused, or spelled as nobody would.

    def rule(self, _):
        name = self.random.choice([n for n, r in RULES.items() if r.cases])
        request, old, new = self.random.choice(RULES[name].cases)
        key = self.scratch_key()
        return Command(request.replace(b"%K", key), name, old, new)

    def unknown(self, connection):
        return Command(self.random.choice(WORDS).replace(b"%K", self.key(connection)) + b"\r\n")

    def bad_chunk(self, connection):
        """A data block longer or shorter than its line said; what is left of it is run as a command."""
        key = self.key(connection)
        size = self.random.choice((0, 1, 3, 20, 3000))
        block = b"x" * size + self.random.choice((b"yy", b"\n\n", b"\r\r", b"x\n")) + b"left over"
        verb = self.random.choice((b"set", b"add", b"append"))
        return Command(b"%s %s 0 0 %d%s\r\n%s\r\n" % (verb, key, size, self.noreply(), block))

    def _long_key(self, connection):
        return b"%c:" % (ord("a") + connection) + b"k" * self.random.choice((249, 250, 300, 1000))

    def bad_key(self, connection):
        return Command(self.random.choice((b"delete %s\r\n", b"incr %s 1\r\n", b"touch %s 0\r\n")) %
                       self._long_key(connection))

    def get_bad_key(self, connection):
        """First in its batch only, by "long-key-drops-replies"."""
        known, key = self.key(connection), self._long_key(connection)
        line = self.random.choice((b"get %s", b"gets %s", b"gat 0 %s", b"get " + known + b" %s", b"get %s " + known,
                                   b"gats 0 " + known + b" %s"))
        return Command(line % key + b"\r\n")

    def bad_length(self, connection):
        """A length that is no length: the block is not skipped but run as a command."""
        length = self.random.choice((b"-1", b"abc", b"2147483646", b"2147483647", b"1x", b"-"))
        return Command(b"set %s 0 0 %s\r\nleft over\r\n" % (self.key(connection), length))

    def too_large(self, connection):
        verb = self.random.choice((b"set", b"add", b"replace", b"append"))
        size = ITEM_MAX + self.random.choice((0, 1, 5000))
        key = self.random.choice((self.key(connection), b"%c:big0" % (ord("a") + connection)))
        return [Command(b"%s %s 0 0 %d%s\r\n%s\r\n" % (verb, key, size, self.noreply(), b"z" * size)),
                Command(b"get %s\r\n" % key)]

    def odd_spelling(self, connection):
        """Legal, though: bare LF, runs of blanks, blanks at the end."""
        value = self.value()[:100]
        key = self.key(connection)
        blanks = b" " * self.random.randint(1, 9)
        return Command(self.random.choice((
            b"get %s\n" % key, b"get%s%s\r\n" % (blanks, key), b"get %s%s\r\n" % (key, blanks),
            b"set %s 0 0 %d\n%s\r\n" % (key, len(value), value),
            b"set%s%s  0%s0 %d %s\r\n%s\r\n" % (blanks, key, blanks, len(value), blanks, value),
            b"delete  %s \r\n" % key, b"incr %s%s1 \r\n" % (self.number_key(connection), blanks),
            b"touch %s  0 \n" % key, b"gat  0 %s  \n" % key)))

    def admin_error(self, _):
        return Command(self.random.choice((b"cache_memlimit\r\n", b"cache_memlimit x\r\n", b"stats bogus\r\n",
                                           b"touch %s abc\r\n" % b"k", b"gat abc k\r\n",
                                           b"flush_all abc\r\n")))

    def mangled(self, connection):
        """A good line with bytes changed, under "format-error-text".  Its keys are its own and deleted after."""
        key = self.scratch_key()
        line = bytearray(self.random.choice((b"get %s", b"set %s 0 0 5", b"incr %s 1", b"delete %s", b"touch %s 0",
                                             b"add %s 1 2 5", b"append %s 0 0 5",
                                             b"flush_al %s", b"verbosit %s")) % key)
        for _ in range(self.random.randint(1, 3)):
            place = self.random.randrange(len(line))
            how = self.random.random()
            if how < 0.4 and line:
                line[place] = self.random.choice(b"!bz\x01\xff~")
            elif how < 0.7 and len(line) > 4:
                del line[place]
            else:
                line.insert(place, self.random.choice(b"xyz!~\x80"))
        if line[:1] == b" " or not line:
            line[:1] = b"?"
        data = bytes(line).strip() + b"\r\nbogus\r\n"
        return Command(data + b"delete %s noreply\r\n" % key, "format-error-text")
