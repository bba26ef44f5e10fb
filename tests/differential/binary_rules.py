"""The intended differences of the binary protocol between Debian's memcached 1.6.18 and larder.

Like rules.py, but a reply is told by its status alone.
"""

from differential.rules import Rule
from harness import binary

RULE_OPAQUE = b"\xdd\xee\xff\xcc"  # in a case: the opaque of its requests


def _request(*args, **options):
    return binary.request(*args, **options, opaque=int.from_bytes(RULE_OPAQUE, "big"))


BINARY_RULES = {
    "unknown-with-body": Rule(
        "1.6.18 skips twice the body of an unknown opcode, and with it what follows",
        tuple((_request(opcode, b"k" * 24) + _request(binary.NOOP), (binary.UNKNOWN_COMMAND,),
               (binary.UNKNOWN_COMMAND, binary.OK)) for opcode in (0x1B, 0x30, 0x99)),
    ),
    "close-drops-replies": Rule(
        "1.6.18 may forget the replies of requests pipelined before one that ends the connection; such a request is "
        "alone in its batch",
        (),
    ),
}
