"""Plays a binary stream on two servers at once and compares their packets.

Each batch ends with a noop of an opaque that nothing else has, or with a request that ends the connection.
CAS values, which differ from server to server, are replaced by how-manieth of its key each one was.
"""

from differential.player import Lane, Mismatch, Pair
from harness import binary

LAST = 0xFFFFFFFF  # the opaque of the noop behind a batch
SENTINEL = binary.request(binary.NOOP, opaque=LAST)


class PacketParser:
    def __init__(self):
        self.buffer = bytearray()
        self.packets = []
        self.is_over = False  # the noop was answered

    def feed(self, data):
        self.buffer += data
        at = 0
        while (found := binary.packet_at(self.buffer, at)) is not None:
            packet, at = found
            self.is_over = packet.opaque == LAST
            if not self.is_over:
                self.packets.append(packet)
        del self.buffer[:at]


class BinaryLane(Lane):
    parser_type = PacketParser
    is_closed = False

    def _begin(self):
        self.parser = self.parser_type()
        self.ends = self.batch.commands[-1].closes
        data = b"".join(command.bytes_for(self.side.cas_of) for command in self.batch.commands)
        return data if self.ends else data + SENTINEL

    def is_done(self):
        return bool(self.problem) or self.is_closed or (not self.pieces and self.parser.is_over)

    def _has_ended(self):
        self.is_closed = True
        self.pieces = []
        if not self.ends:
            self.problem = "connection closed"
        if self.parser.buffer:
            self.problem = f"closed within a packet: {bytes(self.parser.buffer[:60])!r}"

    def replies(self):
        """{opaque: [what was answered to it]}, CAS by name, and the order in which they came."""
        side, found, order = self.side, {}, []
        keys = {command.opaque: command.key for command in self.batch.commands}
        by_rule = {command.opaque for command in self.batch.commands if command.rule}
        for packet in self.parser.packets:
            key = keys.get(packet.opaque, b"?")
            value = b"" if packet.opcode == binary.VERSION and packet.status == binary.OK else packet.value
            name = side.name_of(key, packet.cas) if packet.cas else 0
            found.setdefault(packet.opaque, []).append(packet._replace(cas=name, value=value))
            if packet.opaque not in by_rule:
                order.append(packet.opaque)
        return found, order


class BinaryPair(Pair):
    lane_type = BinaryLane

    def play(self, together):
        super().play(together)
        for batch in together:
            if batch.commands[-1].closes:
                for side in self.sides:
                    side.reopen(batch.connection)

    def _compare(self, batch, old, new):
        (old_replies, old_order), (new_replies, new_order) = old.replies(), new.replies()
        for at, command in enumerate(batch.commands):
            answers = [replies.get(command.opaque, []) for replies in (old_replies, new_replies)]
            if command.rule:
                answers = [tuple(packet.status for packet in each) for each in answers]
                wanted = [command.old, command.old if self.is_same_kind else command.new]
            else:
                wanted = [answers[0], answers[0]]
            if answers != wanted:
                self._fail(batch, at, old, new, [f"answered {_short(a)}, wanted {_short(w)}" for a, w in zip(answers, wanted)])
        if old_order != new_order:
            self._fail(batch, len(batch.commands) - 1, old, new, [f"order {order}" for order in (old_order, new_order)])
        if old.problem or new.problem:
            self._fail(batch, len(batch.commands) - 1, old, new, [old.problem or "in order", new.problem or "in order"])

    def _fail(self, batch, at, old, new, said):
        text = [f"connection {batch.connection}, cuts {batch.cuts}, request {at + 1} of {len(batch)}"]
        text += [f"  > {_describe(command)}" for command in batch.commands[max(0, at - 8) : at + 1]]
        for lane, words in zip((old, new), said):
            text.append(f"{lane.side.server.argv[0]}: {words}" + (f" ({lane.problem})" if lane.problem else ""))
        raise Mismatch("\n".join(text), batch)


def _describe(command):
    return f"{command.opcode:02x} key {command.key[:40]!r} {_short(command.data)}" + (f" rule {command.rule}" if command.rule else "")


def _short(item, limit=400):
    text = repr(item)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)})"
