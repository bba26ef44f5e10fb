"""Reads tests/transcripts (format: the README there) and plays them over sockets."""

import dataclasses
import os
import re
import time

from harness import REPOSITORY
from harness.server import DEBUG_COMMANDS

FOLDER = os.path.join(REPOSITORY, "tests", "transcripts")
NUMBER = object()  # {n}
CAS = object()  # {cas}
NEW_CAS = object()  # {cas!}
_PLACES = {"n": NUMBER, "cas": CAS, "cas!": NEW_CAS}
_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\", "{": b"{"}
ANSWER_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Time:  # {now+seconds}
    seconds: int


@dataclasses.dataclass
class Exchange:
    line: int
    requests: list = dataclasses.field(default_factory=list)  # of parts: bytes, CAS or a Time
    replies: list = dataclasses.field(default_factory=list)  # of parts: bytes, NUMBER, CAS, NEW_CAS
    is_closed: bool = False
    gained: dict = dataclasses.field(default_factory=dict)
    wait_seconds: int = 0  # before it


@dataclasses.dataclass
class Scenario:
    file: str
    title: str
    options: list
    exchanges: list

    @property
    def wait_seconds(self):
        return sum(e.wait_seconds for e in self.exchanges)


def _parts(text):
    """The pieces of a line: bytes, and places to be filled."""
    parts, plain, at = [], bytearray(), 0
    while at < len(text):
        if text[at] == "\\":
            if text[at + 1] == "x":
                plain.append(int(text[at + 2 : at + 4], 16))
                at += 4
            else:
                plain += _ESCAPES[text[at + 1]]
                at += 2
        elif text[at] == "{":
            end = text.index("}", at)
            inside = text[at + 1 : end]
            if inside in _PLACES:
                parts += [bytes(plain), _PLACES[inside]]
                plain = bytearray()
            elif inside.startswith("now+"):
                parts += [bytes(plain), Time(int(inside[4:]))]
                plain = bytearray()
            else:
                what, _, count = inside.rpartition("*")
                plain += b"".join(_parts(what)) * int(count)
            at = end + 1
        else:
            plain += text[at].encode()
            at += 1
    return [*parts, bytes(plain)]


def read(name):
    """The scenarios of a file."""
    scenarios = []
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        lines = file.read().split("\n")
    exchange = None

    def next_exchange(number):
        exchanges = scenarios[-1].exchanges
        exchanges.append(Exchange(number))
        return exchanges[-1]

    for number, line in enumerate(lines, 1):
        text = line[2:]
        if line.startswith("== "):
            scenarios.append(Scenario(name, line[3:], [], []))
            exchange = None
        elif not line or line.startswith("#"):
            continue
        elif line.startswith("$ "):
            scenarios[-1].options = text.split()
        elif line.startswith("@ "):
            exchange = next_exchange(number)
            exchange.wait_seconds = int(text.rstrip("s"))
        elif line.startswith(">"):
            if exchange is None or exchange.replies or exchange.is_closed or exchange.gained:
                exchange = next_exchange(number)
            exchange.requests += _parts(line[3:]) if line.startswith(">|") else [*_parts(text), b"\r\n"]
        elif line.startswith("<!"):
            exchange.is_closed = True
        elif line.startswith("<"):
            exchange.replies += _parts(line[3:]) if line.startswith("<|") else [*_parts(text), b"\r\n"]
        elif line.startswith("+ "):
            counter, gain = text.split()
            exchange.gained[counter] = exchange.gained.get(counter, 0) + int(gain)
        else:
            raise ValueError(f"{name}:{number}: {line!r}")
    return scenarios


class Player:
    """Plays one scenario against a server that is empty."""

    def __init__(self, server):
        self.server = server
        self.wire = server.wire(ANSWER_SECONDS)
        self.cas = b""
        self.sentinel = b"VERSION " + (b"1.6.18" if server.is_reference else b"1.6.45") + b"\r\n"
        self.counters = self._counters()

    def _counters(self):
        with self.server.wire() as wire:
            return {name: int(value) for name, value in wire.stats() if value.isdigit()}

    def play(self, scenario):
        try:
            if scenario.wait_seconds:
                self._stop_the_clock()
            for exchange in scenario.exchanges:
                where = f"{scenario.file}:{exchange.line} ({scenario.title})"
                self._wait(exchange.wait_seconds)
                self._exchange(exchange, where)
        finally:
            self.wire.close()

    def _has_movable_clock(self):
        return all(word in self.server.argv for word in DEBUG_COMMANDS)

    def _ask_debugtime(self, word):
        with self.server.wire() as wire:
            if wire.ask(b"debugtime %s\r\n" % word) != b"OK":
                raise AssertionError(f"debugtime {word} was refused")

    def _stop_the_clock(self):
        if self._has_movable_clock():
            self._ask_debugtime(b"p")

    def _wait(self, seconds):
        if self._has_movable_clock() and seconds:
            self._ask_debugtime(b"%d" % seconds)
        else:
            time.sleep(seconds)  # the clock itself is what is tested

    def _exchange(self, exchange, where):
        request = b"".join(p if isinstance(p, bytes) else self._filled(p) for p in exchange.requests)
        self.wire.send(request)
        pattern = b"".join(re.escape(p) if isinstance(p, bytes) else b"([0-9]+)" for p in exchange.replies)
        if exchange.is_closed:
            answer = self.wire.until_close()
        elif not exchange.requests:
            return
        else:
            answer = self._answer(request, pattern, where)
        match = re.fullmatch(pattern, answer, re.DOTALL)
        if not match:
            raise AssertionError(f"{where}: got {_cut(answer)}, wanted {_cut(pattern)}")
        self._remember(match, [p for p in exchange.replies if not isinstance(p, bytes)], where)
        if exchange.gained:
            now = self._counters()
            gained = {name: now[name] - self.counters[name] for name in exchange.gained}
            self.counters = now
            if gained != exchange.gained:
                raise AssertionError(f"{where}: counters gained {gained}, not {exchange.gained}")

    def _filled(self, place):
        if place is CAS:
            return self.cas
        with self.server.wire() as wire:
            return b"%d" % (wire.stat("time") + place.seconds)

    def _answer(self, request, pattern, where):
        """What comes back up to the answer of a `version` that is sent behind."""
        if pattern and not request.endswith(b"\n"):
            # The request may end inside of a line or a block: no sentinel fits behind it.
            return self._until_match(pattern)
        self.wire.send(b"version\r\n")
        answer = bytearray()
        want = pattern.count(b"VERSION")  # the request has its own
        try:
            while answer.count(self.sentinel) <= want or not answer.endswith(self.sentinel):
                answer += self.wire.exactly(1) if not self.wire.buffer else self.wire.exactly(len(self.wire.buffer))
        except (OSError, EOFError) as error:
            raise AssertionError(f"{where}: {error} after {_cut(bytes(answer))}, wanted {_cut(pattern)}") from None
        return bytes(answer[: -len(self.sentinel)])

    def _until_match(self, pattern):
        answer = b""
        try:
            while not re.fullmatch(pattern, answer, re.DOTALL):
                answer += self.wire.exactly(1)
        except (OSError, EOFError):
            pass
        return answer

    def _remember(self, match, places, where):
        for value, place in zip(match.groups(), places):
            if place is NUMBER:
                continue
            if place is NEW_CAS and value == self.cas:
                raise AssertionError(f"{where}: the unique is still {value}")
            self.cas = value


def _cut(data):
    text = repr(data)
    return text if len(text) < 600 else text[:600] + f"... ({len(text)})"
