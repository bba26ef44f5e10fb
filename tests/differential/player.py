"""Plays a stream on two servers at once and compares their answers.

Each batch ends with `version`, and a command with an intended difference stands between two of them: the
answers fall into segments, and a segment is compared as a whole.  A batch is over when all its VERSION lines
are there, whatever came between.
"""

import selectors
import time

from differential.rules import is_format_error
from differential.stream import CONNECTIONS
from harness.server import Server, is_reference

ANSWER_SECONDS = 20
SENTINEL = b"version\r\n"
ARGUMENTS = ("-m", "1024", "-c", "200")
# memcached's background threads hold items for moments, in which incr does not write in place.
REFERENCE_ARGUMENTS = ("-o", "no_lru_maintainer,no_lru_crawler")


class Mismatch(AssertionError):
    def __init__(self, text, batch=None):
        super().__init__(text)
        self.batch = batch


class AnswerParser:
    """Cuts bytes into units: a line, or a VALUE line with its block; VERSION ends a segment."""

    def __init__(self):
        self.buffer = bytearray()
        self.at = 0
        self.segments = [[]]

    def feed(self, data):
        buffer = self.buffer
        buffer += data
        at = self.at
        while (end := buffer.find(b"\r\n", at)) >= 0:
            line = bytes(buffer[at:end])
            size = self._block_bytes(line)
            if size is not None:
                past = end + 2 + size + 2
                if past > len(buffer):
                    break
                self.segments[-1].append(self._unit(line, bytes(buffer[end + 2 : past])))
                at = past
                continue
            at = end + 2
            if line.startswith(b"VERSION "):
                self.segments.append([])
            else:
                self.segments[-1].append(line)
        del buffer[:at]
        self.at = 0

    def _block_bytes(self, line):
        """How long the value behind this line is; None when there is none."""
        if not line.startswith(b"VALUE "):
            return None
        words = line.split(b" ")
        # A key has no blanks, so the words count from the left.
        return int(words[3]) if len(words) in (4, 5) and words[3].isdigit() else None

    def _unit(self, line, block):
        _, key, flags, _, *unique = line.split(b" ")
        return key, flags, unique[0] if unique else None, block

    def is_done(self, count):
        return len(self.segments) > count


class Side:
    """One server and the connections to it."""

    def __init__(self, server):
        self.server = server
        self.cas_of = {}  # key -> the unique its last gets gave
        self.names = {}  # (key, unique) -> it was the how-manieth unique of that key
        self.counts = {}  # key -> uniques seen
        self.sockets = []
        self.open()

    def open(self):
        self.close()
        for _ in range(CONNECTIONS):
            self.sockets.append(self._connect())

    def _connect(self):
        sock = self.server.connect()
        sock.setblocking(False)
        return sock

    def reopen(self, connection):
        """A new connection in the place of one that has ended."""
        self.sockets[connection].close()
        self.sockets[connection] = self._connect()

    def close(self):
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def forget(self):
        """Empties the server and starts new connections, as if it had just begun."""
        self.cas_of.clear()
        self.names.clear()
        self.counts.clear()
        self.open()
        with self.server.wire() as wire:
            wire.ask(b"flush_all\r\n")
            wire.stats(b"settings")  # whatever it is doing is over

    def name_cas(self, unit):
        """The unit with its unique replaced by a number: the first one seen of this key is 1."""
        key, flags, unique, data = unit
        if unique is None:
            return unit
        return key, flags, self.name_of(key, int(unique)), data

    def name_of(self, key, unique):
        """How-manieth unique of this key it is; from now on it is the key's last one."""
        self.cas_of[key] = unique
        name = self.names.get((key, unique))
        if name is None:
            name = self.names[key, unique] = self.counts[key] = self.counts.get(key, 0) + 1
        return name


class Lane:
    """A batch on its way over one connection of one side."""

    parser_type = AnswerParser

    def __init__(self, side, batch):
        self.side = side
        self.batch = batch
        self.sock = side.sockets[batch.connection]
        data = self._begin()
        places = sorted({min(len(data), int(len(data) * cut)) for cut in batch.cuts} | {0, len(data)})
        self.pieces = [data[a:b] for a, b in zip(places, places[1:])]
        self.pieces.reverse()
        self.not_before = 0.0
        self.problem = ""

    def _begin(self):
        """The parser of what is answered; returns what is sent."""
        self.parser = self.parser_type()
        self.plan, data = _plan(self.batch, self.side.cas_of)
        self.wanted = 1 + sum(step is None for step in self.plan)
        return data

    def is_done(self):
        return bool(self.problem) or (not self.pieces and self.parser.is_done(self.wanted))

    def _has_ended(self):
        self.problem = "connection closed"

    def units_of(self, answer):
        """What a rule wants, as it would have come."""
        parser = self.parser_type()
        parser.feed(answer)
        return [self.name(unit) for unit in parser.segments[0]]

    def name(self, unit):
        """The unit in a form that two servers have in common."""
        return self.side.name_cas(unit) if isinstance(unit, tuple) else unit

    def send(self, now):
        if not self.pieces or now < self.not_before:
            return
        piece = self.pieces[-1]
        try:
            sent = self.sock.send(piece)
        except BlockingIOError:
            return
        except OSError as error:
            self.problem = f"send: {error}"
            return
        if sent < len(piece):
            self.pieces[-1] = piece[sent:]
            return
        self.pieces.pop()
        if self.batch.is_slow:
            self.not_before = now + 0.001

    def receive(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            self.problem = f"recv: {error}"
            return
        if not data:
            return self._has_ended()
        self.parser.feed(data)


def _plan(batch, cas_of):
    """The commands by segment (None: a sentinel between two), and the bytes with all sentinels."""
    plan, parts, is_apart = [], [], True
    for command in batch.commands:
        if command.rule and not is_apart:
            plan.append(None)
            parts.append(SENTINEL)
        plan.append(command)
        parts.append(command.bytes_for(cas_of))
        is_apart = bool(command.rule)
        if command.rule:
            plan.append(None)
            parts.append(SENTINEL)
    parts.append(SENTINEL)
    return plan, b"".join(parts)


def _segments(plan):
    segment = []
    for step in plan:
        if step is None:
            yield segment
            segment = []
        else:
            segment.append(step)
    yield segment


def exchange(lanes):
    """Sends and receives until every lane has all its answers."""
    with selectors.DefaultSelector() as selector:
        for lane in lanes:
            selector.register(lane.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, lane)
        waiting = set(lanes)
        deadline = time.monotonic() + ANSWER_SECONDS
        while waiting:
            now = time.monotonic()
            if now > deadline:
                for lane in waiting:
                    lane.problem = f"no answer within {ANSWER_SECONDS} s"
                return
            for key, events in selector.select(0.001):
                lane = key.data
                if events & selectors.EVENT_READ:
                    lane.receive()
                if events & selectors.EVENT_WRITE:
                    lane.send(now)
                if lane.is_done():
                    waiting.discard(lane)
                    selector.unregister(lane.sock)
                elif not lane.pieces and key.events & selectors.EVENT_WRITE:
                    selector.modify(lane.sock, selectors.EVENT_READ, lane)


class Pair:
    """The reference and the server under test, both empty."""

    lane_type = Lane

    def __init__(self, reference, tested, arguments=ARGUMENTS):
        self.servers = [Server(*arguments, *REFERENCE_ARGUMENTS, binary=reference)]
        try:
            more = REFERENCE_ARGUMENTS if is_reference(tested) else ()
            self.servers.append(Server(*arguments, *more, binary=tested))
        except BaseException:
            self.servers[0].kill()
            raise
        self.is_same_kind = self.servers[1].is_reference  # memcached against itself: a test of the test
        self.sides = [Side(server) for server in self.servers]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for side in self.sides:
            side.close()
        for server in self.servers:
            if kind is None:
                server.stop()
            else:
                server.kill()

    def reset(self):
        for side in self.sides:
            side.forget()

    def play(self, together):
        """Plays batches of different connections at the same time; raises Mismatch."""
        pairs = [[self.lane_type(side, batch) for side in self.sides] for batch in together]
        exchange([lane for pair in pairs for lane in pair])
        for batch, (old, new) in zip(together, pairs):
            self._compare(batch, old, new)

    def _compare(self, batch, old, new):
        segments = list(_segments(old.plan))
        for index, commands in enumerate(segments):
            rule = commands[0].rule if commands else ""
            answers = []
            for lane in (old, new):
                units = lane.parser.segments[index] if index < len(lane.parser.segments) else [b"(nothing came)"]
                answers.append([lane.name(u) for u in units])
            if rule == "format-error-text":
                answers = [[u for u in units if isinstance(u, tuple) or not is_format_error(u)] for units in answers]
            if rule and rule != "format-error-text":
                command = commands[0]
                wanted = [old.units_of(command.old), new.units_of(command.old if self.is_same_kind else command.new)]
            else:
                wanted = [answers[0], answers[0]]
            if answers != wanted:
                problems = "".join(f"\n{l.side.server.argv[0]}: {l.problem}" for l in (old, new) if l.problem)
                raise Mismatch(_describe(batch, commands, rule, answers, wanted, self.servers) + problems, batch)
        for lane in (old, new):
            if lane.problem:
                raise Mismatch(f"{lane.side.server.argv[0]}: {lane.problem}, after\n" + _show(batch.commands), batch)


def _short(item, limit=300):
    text = repr(item)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)})"


def _show(commands, limit=60):
    lines = [f"  > {_short(c.data)}" for c in commands[-limit:]]
    return "\n".join(lines)


def _first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _describe(batch, commands, rule, answers, wanted, servers):
    text = [f"connection {batch.connection}, cuts {batch.cuts}" + (f", rule {rule}" if rule else "")]
    text.append(_show(commands))
    at = min(_first_difference(got, want) for got, want in zip(answers, wanted))
    for server, got, want in zip(servers, answers, wanted):
        text.append(f"{server.argv[0]}: {len(got)} answers, from number {at} on:")
        text += [f"  < {_short(u)}" for u in got[at : at + 4] or [b"(nothing)"]]
        if got != want and rule:
            text += [f"    wanted {_short(u)}" for u in want]
    return "\n".join(text)


def play_stream(pair, rounds):
    """Plays lists of batches in order; returns how many commands that were."""
    count = 0
    for together in rounds:
        pair.play(together)
        count += sum(map(len, together))
    return count


def shrink(pair, rounds, budget_seconds=120):
    """The shortest list of rounds found, by leaving parts out, that still ends in a Mismatch, and that."""
    deadline = time.monotonic() + budget_seconds
    best = None

    def fails(candidate):
        nonlocal best
        pair.reset()
        try:
            play_stream(pair, candidate)
        except Mismatch as mismatch:
            best = mismatch
            return True
        return False

    def minimise(parts, rebuild):
        size = max(1, len(parts) // 2)
        while size >= 1 and time.monotonic() < deadline:
            at = 0
            while at < len(parts) and time.monotonic() < deadline:
                fewer = parts[:at] + parts[at + size :]
                if fewer and fails(rebuild(fewer)):
                    parts = fewer
                else:
                    at += size
            size //= 2
        return parts

    if not fails(rounds):
        return rounds, None
    rounds = minimise(rounds, lambda parts: parts)
    flat = [(batch, command) for together in rounds for batch in together for command in batch.commands]

    def rebuild(parts):
        grouped = []
        for batch, command in parts:
            if grouped and grouped[-1][0] is batch:
                grouped[-1][1].append(command)
            else:
                grouped.append((batch, [command]))
        return [[type(b)(b.connection, commands, b.cuts, b.is_slow)] for b, commands in grouped]

    if fails(rebuild(flat)):
        flat = minimise(flat, rebuild)
        rounds = rebuild(flat)
        uncut = [[type(b)(b.connection, b.commands, (), False)] for (b,) in rounds]
        if fails(uncut):
            rounds = uncut
        else:
            fails(rounds)
    else:
        fails(rounds)
    return rounds, best
