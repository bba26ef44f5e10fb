"""The intended differences of the meta commands between Debian's memcached 1.6.18 and larder; the format of rules.py."""

from differential.rules import BAD_FORMAT, ERROR, LONG_KEY, Rule

INVALID_FLAG = b"CLIENT_ERROR invalid flag\r\n"
GONE = b"md %K q\r\n"  # behind what leaves an item

META_RULES = {
    "meta-lacking-key": Rule(
        "a meta command without a key is a format error, not an unknown command",
        tuple((verb + b"\r\n", ERROR, BAD_FORMAT) for verb in (b"mg", b"ms", b"md", b"ma")),
    ),
    "meta-no-letter": Rule(
        "a flag that is neither letter nor digit is a format error",
        ((b"mg %K !\r\n", INVALID_FLAG, BAD_FORMAT),),
    ),
    "meta-modes": Rule(
        "of a mode the first letter counts, and it may be small",
        tuple((b"ma %%K M%s\r\n" % mode, b"CLIENT_ERROR invalid mode for ma M token\r\n", b"NF\r\n")
              for mode in (b"i", b"d"))
        + ((b"ma %K MIncr\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n", b"NF\r\n"),
           (b"ms %K 1 Mset\r\nx\r\n", b"CLIENT_ERROR incorrect length for M token\r\n",
            b"CLIENT_ERROR invalid mode for ms M token\r\n")),
    ),
    "meta-long-key": Rule(
        "a key over 250 bytes: ms skips its data block, ma says what it says to every error",
        ((b"ms %s 5\r\nbogus\r\n" % LONG_KEY, BAD_FORMAT + ERROR, BAD_FORMAT),
         (b"ma %s\r\n" % LONG_KEY, BAD_FORMAT, b"CLIENT_ERROR invalid or duplicate flag\r\n")),
    ),
    "meta-flags-over-32-bits": Rule(
        "as flags-over-32-bits",
        ((b"ms %K 1 F4294967296\r\nx\r\nmd %K\r\n", b"HD\r\nHD\r\n", BAD_FORMAT + b"NF\r\n"),),
    ),
    "meta-join-creates": Rule(
        "ms that appends or prepends with N creates what is not there",
        tuple((b"ms %%K 3 M%s N100\r\nabc\r\nmg %%K v\r\n" % mode + GONE, b"NS\r\nEN\r\nNF\r\n",
               b"HD\r\nVA 3\r\nabc\r\n") for mode in (b"A", b"P")),
    ),
    "meta-get-compares": Rule(
        "mg with the CAS that the item has leaves out the value",
        ((b"ms %K 3 E7\r\nabc\r\nmg %K C7 v\r\nmg %K C8 v\r\n" + GONE, INVALID_FLAG + b"EN\r\nEN\r\nNF\r\n",
          b"HD\r\nHD\r\nVA 3\r\nabc\r\n"),),
    ),
    "meta-given-cas": Rule(
        "E names the CAS that an item gets",
        ((b"ms %K 1 E99 c\r\nx\r\nmg %K c\r\n" + GONE, INVALID_FLAG + b"EN\r\nNF\r\n", b"HD c99\r\nHD c99\r\n"),
         (b"ma %K N0 E99 c\r\n" + GONE, b"CLIENT_ERROR invalid or duplicate flag\r\nNF\r\n", b"HD c99\r\n")),
    ),
    "meta-size-stored": Rule(
        "ms says the size of what it stored, joined",
        ((b"ms %K 2\r\nab\r\nms %K 2 MA s\r\ncd\r\n" + GONE, b"HD\r\nHD\r\n", b"HD\r\nHD s4\r\n"),),
    ),
    "meta-empties": Rule(
        "md with x leaves the item, without its value",
        ((b"ms %K 2\r\nab\r\nmd %K x\r\nmg %K v\r\n" + GONE,
          b"HD\r\nCLIENT_ERROR invalid or duplicate flag\r\nVA 2\r\nab\r\n", b"HD\r\nHD\r\nVA 0\r\n\r\n"),),
    ),
    "meta-quiet-creation": Rule(
        "ma with q is silent also about what it created",
        ((b"ma %K N0 q\r\n" + GONE, b"HD\r\n", b""), (b"ma %K N0 J7 v q\r\n" + GONE, b"VA 1\r\n7\r\n", b"")),
    ),
    "meta-order-of-times": Rule(
        "t and R go by the new time wherever they stand, in 1.6.18 only behind T; ma that creates goes by N, not by the last "
        "of N and T",
        ((b"set %K 0 0 1\r\n1\r\nmg %K t T100\r\nma %K t T200\r\n" + GONE, b"STORED\r\nHD t-1\r\nHD t100\r\n",
          b"STORED\r\nHD t100\r\nHD t200\r\n"),
         (b"ma %K N100 T0 t\r\n" + GONE, b"HD t-1\r\n", b"HD t100\r\n"),
         (b"ma %K t N100\r\n" + GONE, b"HD t-1\r\n", b"HD t100\r\n")),
    ),
    "meta-time-of-grown": Rule(
        "ma with T sets the time also of a number that became longer",
        ((b"set %K 0 0 1\r\n9\r\nma %K D10 T100\r\nmg %K t\r\n" + GONE, b"STORED\r\nHD\r\nHD t-1\r\n",
          b"STORED\r\nHD\r\nHD t100\r\n"),),
    ),
    "meta-duplicate-flag": Rule(
        "md says the same of a flag given twice as mg and ms",
        ((b"md %K q q\r\n", b"CLIENT_ERROR invalid or duplicate flag\r\n", b"CLIENT_ERROR duplicate flag\r\n"),),
    ),
    "meta-binary-created": Rule(
        "mg that creates an item with a key in base64 remembers that it is in base64",
        ((b"mg JUs= b k N0\r\nmd JUs= b q\r\n", b"HD k%K W\r\n", b"HD kJUs= b W\r\n"),),
    ),
    "meta-binary-joined": Rule(
        "an item with a key in base64 stays so when something is joined to it",
        ((b"ms JUs= 1 b\r\nx\r\nms JUs= 1 b MA\r\ny\r\nmg JUs= b k\r\nmd JUs= b q\r\n",
          b"HD\r\nHD\r\nHD k%K\r\n", b"HD\r\nHD\r\nHD kJUs= b\r\n"),),
    ),
    "meta-created-ttl": Rule(
        "mg tells the time that an item has which it created",
        ((b"mg %K t N100\r\n" + GONE, b"HD t-1 W\r\n", b"HD t100 W\r\n"),),
    ),
    "meta-others-flags": Rule(
        "a flag that only another meta command has a use for is accepted, and ignored",
        ((b"mg %K x\r\n", INVALID_FLAG, b"EN\r\n"), (b"mg %K M\r\n", b"CLIENT_ERROR incorrect length for M token\r\n", b"EN\r\n"),
         (b"ms %K 1 x\r\nx\r\n" + GONE, INVALID_FLAG + b"NF\r\n", b"HD\r\n")),
    ),
}
