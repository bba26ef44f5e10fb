"""The text player, reading the answers to meta commands.

What depends on the moment (seconds left, seconds since) or on the memory's layout (class, size of an item) is
left out; CAS values are told by how-manieth of their key they are.
"""

import re

from differential.player import AnswerParser, Lane, Pair

VALUE = re.compile(rb"VA (\d+)(?: |$)")
SECONDS = re.compile(rb"(?<= )([tl])\d+(?= |$)")  # -1, without end, is kept
DEBUG = re.compile(rb"(exp|la)=(\d+|-\d\d+)|(cls|size)=\d+|cas=\d+")
UNIQUE = re.compile(rb" c([1-9]\d*)(?= |$)")
KEY = re.compile(rb" k([^ ]+)")


class MetaParser(AnswerParser):
    def _block_bytes(self, line):
        found = VALUE.match(line)
        return int(found.group(1)) if found else super()._block_bytes(line)

    def _unit(self, line, block):
        return (line, block) if VALUE.match(line) else super()._unit(line, block)


class MetaLane(Lane):
    parser_type = MetaParser

    def name(self, unit):
        if isinstance(unit, tuple) and len(unit) == 2:
            return self._named(unit[0]), unit[1]
        return self._named(unit) if isinstance(unit, bytes) else super().name(unit)

    def _named(self, line):
        if line.startswith(b"ME "):
            return DEBUG.sub(b"#", line)
        if (unique := UNIQUE.search(line)) and (key := KEY.search(line)):
            name = self.side.name_of(key.group(1), int(unique.group(1)))
            line = line[: unique.start()] + b" c#%d" % name + line[unique.end() :]
        return SECONDS.sub(rb"\1#", line)


class MetaPair(Pair):
    lane_type = MetaLane
