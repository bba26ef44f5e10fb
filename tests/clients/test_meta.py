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

    def test_of_two_who_miss_one_fetches(self):
        def scenario(server):
            ann, bob = self.clients(server)
            value, flags = ann.get(b"page")
            self.assertEqual(value, b"")
            self.assertIn(b"W", flags)  # ann fetches
            value, flags = bob.get(b"page")
            self.assertEqual(value, b"")
            self.assertIn(b"Z", flags)  # bob waits, or does without
            self.assertNotIn(b"W", flags)
            self.assertEqual(ann.set(b"page", b"fetched", b"T100"), b"HD")
            value, flags = bob.get(b"page")
            self.assertEqual(value, b"fetched")
            self.assertFalse({b"W", b"Z", b"X"} & set(flags))

        self.on_each_server(scenario)

    def test_stale_values_are_served_while_one_fetches(self):
        def scenario(server):
            ann, bob = self.clients(server)
            self.assertEqual(ann.set(b"page", b"old", b"T100"), b"HD")
            self.assertEqual(bob.invalidate(b"page"), b"HD")
            value, flags = ann.get(b"page")
            self.assertEqual(value, b"old")
            self.assertTrue({b"X", b"W"} <= set(flags))  # stale, and ann's to fetch
            token = cas_of(flags)
            value, flags = bob.get(b"page")
            self.assertEqual(value, b"old")
            self.assertTrue({b"X", b"Z"} <= set(flags))
            self.assertNotIn(b"W", flags)
            # It changes once more while ann fetches: what she brings is stored, but stale again.
            self.assertEqual(bob.invalidate(b"page"), b"HD")
            self.assertEqual(ann.set(b"page", b"late", b"T100", b"C" + token, b"I"), b"HD")
            value, flags = bob.get(b"page")
            self.assertEqual(value, b"late")
            self.assertIn(b"X", flags)
            self.assertIn(b"W", flags)  # bob's turn
            self.assertEqual(bob.set(b"page", b"new", b"T100", b"C" + cas_of(flags)), b"HD")
            value, flags = ann.get(b"page")
            self.assertEqual(value, b"new")
            self.assertFalse({b"W", b"Z", b"X"} & set(flags))

        self.on_each_server(scenario)

    def test_one_fetches_before_the_time_is_up(self):
        def scenario(server):
            ann, bob = self.clients(server)
            self.assertEqual(ann.set(b"page", b"value", b"T20"), b"HD")
            value, flags = ann.get(b"page", recache=10)
            self.assertFalse({b"W", b"Z"} & set(flags))
            value, flags = ann.get(b"page", recache=30)
            self.assertEqual(value, b"value")
            self.assertIn(b"W", flags)
            value, flags = bob.get(b"page", recache=30)
            self.assertEqual(value, b"value")
            self.assertIn(b"Z", flags)
            self.assertNotIn(b"W", flags)
            self.assertEqual(ann.set(b"page", b"fresh", b"T100"), b"HD")
            self.assertEqual(bob.get(b"page", recache=30)[0], b"fresh")

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
