"""The intended differences between Debian's memcached 1.6.18 and larder, which answers as 1.6.45 does.

Each rule has a reason and its cases: a request, what 1.6.18 answers and what larder must answer, both to the
byte.  docs/COMPATIBILITY.md, "Differences the differential test knows", has the same list; a test compares
the names.  `%K` is a key that no other command of the stream touches; a case leaves it deleted.
"""

import dataclasses

BAD_FORMAT = b"CLIENT_ERROR bad command line format\r\n"
ERROR = b"ERROR\r\n"
LONG_KEY = b"%K" + b"k" * 251


@dataclasses.dataclass(frozen=True)
class Rule:
    reason: str
    cases: tuple  # of (request, answer of 1.6.18, answer of larder)


def _lacking(*lines):
    return tuple((line + b"\r\n", ERROR, BAD_FORMAT) for line in lines)


RULES = {
    "short-line": Rule(
        "a line of fewer than 4 bytes, its end included, is a format error since 1.6.2x",
        tuple((line, ERROR, BAD_FORMAT) for line in (b"\r\n", b"a\r\n", b"\n", b"xy\n", b"12\n")),
    ),
    "lacking-arguments": Rule(
        "a known command that lacks arguments is a format error, not an unknown command",
        _lacking(b"get", b"get ", b"gets", b"gat", b"gats", b"set", b"set %K", b"set %K 0 0", b"add %K 0", b"incr %K",
                 b"decr", b"touch", b"touch %K", b"delete", b"verbosity", b"cas %K 0 0")
        + ((b"gat 0\r\n", b"END\r\n", BAD_FORMAT),),
    ),
    "bad-number-swallows": Rule(
        "flags or exptime that are no number: the data block is skipped, not run as a command",
        tuple((b"%s %%K %s 5\r\nbogus\r\n" % (verb, numbers), BAD_FORMAT + ERROR, BAD_FORMAT)
              for verb in (b"set", b"add", b"replace", b"append", b"prepend")
              for numbers in (b"x 0", b"0 x", b"1x 0", b"0 1x", b"-1 0")),
    ),
    "long-key-swallows": Rule(
        "a storage command with a key over 250 bytes: the data block is skipped, not run as a command",
        tuple((b"%s %s 0 0 5\r\nbogus\r\n" % (verb, LONG_KEY), BAD_FORMAT + ERROR, BAD_FORMAT)
              for verb in (b"set", b"add", b"replace", b"append", b"prepend")),
    ),
    "cas-unique-swallows": Rule(
        "cas without a unique or with one that is no number: the data block is skipped",
        ((b"cas %K 0 0 5\r\nbogus\r\n", ERROR + ERROR, BAD_FORMAT),
         (b"cas %K 0 0 5 abc\r\nbogus\r\n", BAD_FORMAT + ERROR, BAD_FORMAT)),
    ),
    "extra-tokens": Rule(
        "tokens after the last argument of a storage command are ignored",
        ((b"set %K 0 0 5 noreply extra\r\nbogus\r\ndelete %K\r\n", ERROR + ERROR + b"NOT_FOUND\r\n",
          b"STORED\r\nDELETED\r\n"),),
    ),
    "delete-tokens": Rule(
        "tokens after the key of a delete are ignored; 1.6.18 lets only 0 and noreply pass",
        tuple((b"delete %%K %s\r\n" % extra,
               b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n", b"NOT_FOUND\r\n")
              for extra in (b"10", b"a b", b"noreply x")),
    ),
    "unknown-noreply": Rule(
        "an unknown command whose last token is noreply is answered by nothing",
        ((b"bogus noreply\r\n", ERROR, b""), (b"bogus a b noreply\r\n", ERROR, b"")),
    ),
    "leading-blank": Rule(
        "a line that begins with a blank is an unknown command",
        ((b" get %K\r\n", b"END\r\n", ERROR), (b"   delete %K\r\n", b"NOT_FOUND\r\n", ERROR)),
    ),
    "nul-in-key": Rule(
        "NUL is a byte of a key like any other; 1.6.18 ends the line there",
        ((b"set %K\0b 0 0 5\r\nbogus\r\ndelete %K\0b\r\n", ERROR + ERROR + b"NOT_FOUND\r\n",
          b"STORED\r\nDELETED\r\n"),),
    ),
    "plus-sign": Rule(
        "a number has no plus sign, but for flags and exptime",
        ((b"set %K 0 0 1\r\n5\r\nincr %K +1\r\ndelete %K\r\n", b"STORED\r\n6\r\nDELETED\r\n",
          b"STORED\r\nCLIENT_ERROR invalid numeric delta argument\r\nDELETED\r\n"),
         (b"set %K 0 0 +5\r\nbogus\r\ndelete %K\r\n", b"STORED\r\nDELETED\r\n",
          BAD_FORMAT + ERROR + b"NOT_FOUND\r\n")),
    ),
    "flags-over-32-bits": Rule(
        "memcached stores the lower 32 bits of larger flags without a word; larder refuses them",
        ((b"set %K 4294967296 0 5\r\nbogus\r\ndelete %K\r\n", b"STORED\r\nDELETED\r\n",
          BAD_FORMAT + b"NOT_FOUND\r\n"),),
    ),
    "shutdown-disabled": Rule(
        "shutdown without -A: the error became a SERVER_ERROR",
        ((b"shutdown\r\n", b"ERROR: shutdown not enabled\r\n", b"SERVER_ERROR: shutdown not enabled\r\n"),),
    ),
    "long-key-drops-replies": Rule(
        "1.6.18 forgets the replies of requests pipelined before a get with a key over 250 bytes; such a get is "
        "played first in its batch, where nothing can be forgotten",
        (),
    ),
    "huge-counters": Rule(
        "1.6.18 looks for a minus sign even behind the end of a stored number of 2^63 and more, and calls some no "
        "number by chance; the stream does not store such numbers, the transcripts do",
        (),
    ),
    "padding-of-held-items": Rule(
        "incr and decr write in place, padding with blanks, unless a reply that is still queued holds the item: in "
        "memcached that depends on timing, so no batch of the stream counts a key that it has read before",
        (),
    ),
    "format-error-text": Rule(
        "lines mangled at random: which format error they get, and how many when a data block is then run as "
        "commands, differs by the rules above; only what else is answered is compared",
        (),
    ),
}


def is_format_error(line):
    """Under "format-error-text": the answers that are left out on both sides."""
    return line == b"ERROR" or line.startswith(b"CLIENT_ERROR bad command line format")
