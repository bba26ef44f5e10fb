"""The meta commands as a cache in front of a slow source uses them.  No client that is packaged speaks them yet."""

from clients.test_python import ClientTest


class MetaClient:
    """What such a client has: a get that says who must fetch, a set, an invalidation."""

    def __init__(self, wire):
        self.wire = wire

    def get(self, key, vivify=30, recache=None):
        """(value or None, the flags of the answer)"""
        words = [b"mg", key, b"v", b"t", b"c", b"N%d" % vivify] + ([] if recache is None else [b"R%d" % recache])
        answer = self.wire.ask(b" ".join(words) + b"\r\n").split(b" ")
        if answer[0] == b"VA":
            value = self.wire.exactly(int(answer[1]))
            assert self.wire.exactly(2) == b"\r\n"
            return value, answer[2:]
        return None, answer

    def set(self, key, value, *flags):
        self.wire.send(b" ".join([b"ms", key, b"%d" % len(value), *flags]) + b"\r\n" + value + b"\r\n")
        return self.wire.line()

    def invalidate(self, key, ttl=30):
        return self.wire.ask(b"md %s I T%d\r\n" % (key, ttl))


def cas_of(flags):
    return next(flag[1:] for flag in flags if flag.startswith(b"c"))


class CacheAsideTest(ClientTest):
    def clients(self, server):
        return MetaClient(self.wire(server)), MetaClient(self.wire(server))

    def fetch(self, client, value, said, **how):
        """Gets the page and expects the value, and of the letters of the game these; returns the item's CAS."""
        got, flags = client.get(b"page", **how)
        self.assertEqual(got, value)
        self.assertEqual({flag for flag in flags if flag in (b"W", b"X", b"Z")}, {b"%c" % letter for letter in said})
        return cas_of(flags)

    def test_of_two_who_miss_one_fetches(self):
        def scenario(server):
            ann, bob = self.clients(server)
            self.fetch(ann, b"", b"W")  # ann fetches
            self.fetch(bob, b"", b"Z")  # bob waits, or does without
            self.assertEqual(ann.set(b"page", b"fetched", b"T100"), b"HD")
            self.fetch(bob, b"fetched", b"")

        self.on_each_server(scenario)

    def test_stale_values_are_served_while_one_fetches(self):
        def scenario(server):
            ann, bob = self.clients(server)
            self.assertEqual(ann.set(b"page", b"old", b"T100"), b"HD")
            self.assertEqual(bob.invalidate(b"page"), b"HD")
            token = self.fetch(ann, b"old", b"XW")  # stale, and ann's to fetch
            self.fetch(bob, b"old", b"XZ")
            # It changes once more while ann fetches: what she brings is stored, but stale again.
            self.assertEqual(bob.invalidate(b"page"), b"HD")
            self.assertEqual(ann.set(b"page", b"late", b"T100", b"C" + token, b"I"), b"HD")
            token = self.fetch(bob, b"late", b"XW")  # bob's turn
            self.assertEqual(bob.set(b"page", b"new", b"T100", b"C" + token), b"HD")
            self.fetch(ann, b"new", b"")

        self.on_each_server(scenario)

    def test_one_fetches_before_the_time_is_up(self):
        def scenario(server):
            ann, bob = self.clients(server)
            self.assertEqual(ann.set(b"page", b"value", b"T20"), b"HD")
            self.fetch(ann, b"value", b"", recache=10)
            self.fetch(ann, b"value", b"W", recache=30)
            self.fetch(bob, b"value", b"Z", recache=30)
            self.assertEqual(ann.set(b"page", b"fresh", b"T100"), b"HD")
            self.fetch(bob, b"fresh", b"", recache=30)

        self.on_each_server(scenario)

    def test_many_at_once_with_keys_and_opaques(self):
        """As pipelining clients do: quiet requests, told apart by k and O, and mn behind them."""

        def scenario(server):
            wire = self.wire(server)
            wire.send(b"".join(b"ms k%d 2 q\r\n%02d\r\n" % (i, i) for i in range(0, 100, 2)) + b"mn\r\n")
            self.assertEqual(wire.line(), b"MN")
            wire.send(b"".join(b"mg k%d k v q O%d\r\n" % (i, i) for i in range(100)) + b"mn\r\n")
            for i in range(0, 100, 2):
                self.assertEqual(wire.line(), b"VA 2 kk%d O%d" % (i, i))
                self.assertEqual(wire.line(), b"%02d" % i)
            self.assertEqual(wire.line(), b"MN")

        self.on_each_server(scenario)
