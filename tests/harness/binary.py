"""The binary protocol for tests: packets out, packets back."""

import struct
from typing import NamedTuple

from harness.wire import Wire

HEADER = struct.Struct(">BBHBBHIIQ")
REQUEST, REPLY = 0x80, 0x81

GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH = range(0x00, 0x09)
GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT = range(0x09, 0x11)
SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ, APPENDQ, PREPENDQ = range(0x11, 0x1B)
TOUCH, GAT, GATQ, GATK, GATKQ = 0x1C, 0x1D, 0x1E, 0x23, 0x24
SASL_LIST, SASL_AUTH, SASL_STEP = range(0x20, 0x23)

OK, NOT_FOUND, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NOT_A_NUMBER = range(7)
AUTH_FAILURE, AUTH_CONTINUE, UNKNOWN_COMMAND, OUT_OF_MEMORY = 0x20, 0x21, 0x81, 0x82


class Packet(NamedTuple):
    opcode: int
    status: int
    opaque: int
    cas: int
    extras: bytes
    key: bytes
    value: bytes


def request(opcode, key=b"", value=b"", extras=b"", cas=0, opaque=0):
    body = extras + key + value
    return HEADER.pack(REQUEST, opcode, len(key), len(extras), 0, 0, len(body), opaque, cas) + body


def store(opcode, key, value, flags=0, exptime=0, cas=0, opaque=0):
    return request(opcode, key, value, struct.pack(">II", flags, exptime), cas, opaque)


def count(opcode, key, delta=1, initial=0, exptime=0xFFFFFFFF, cas=0, opaque=0):
    return request(opcode, key, b"", struct.pack(">QQI", delta, initial, exptime), cas, opaque)


def plain(user, password, wanted=b""):
    """The message of SASL's PLAIN."""
    return b"\0".join((wanted, user, password))


def packet_at(buffer, at=0):
    """(the packet at this place, where the next begins), or None when it is not whole yet."""
    if len(buffer) - at < HEADER.size:
        return None
    magic, opcode, key, extras, _, status, body, opaque, cas = HEADER.unpack_from(buffer, at)
    if magic != REPLY or key + extras > body:
        raise AssertionError(f"not a reply: {bytes(buffer[at : at + 60])!r}")
    at += HEADER.size
    if len(buffer) - at < body:
        return None
    data = bytes(buffer[at : at + body])
    packet = Packet(opcode, status, opaque, cas, data[:extras], data[extras : extras + key], data[extras + key :])
    return packet, at + body


class BinaryWire(Wire):
    """A connection that speaks binary."""

    def packet(self):
        while (found := packet_at(self.buffer)) is None:
            self._more()
        packet, past = found
        del self.buffer[:past]
        return packet

    def do(self, *args, **options):
        """One request, one reply."""
        self.send(request(*args, **options))
        return self.packet()

    def log_in(self, user, password):
        """The status of one try with PLAIN."""
        return self.do(SASL_AUTH, b"PLAIN", plain(user, password)).status
