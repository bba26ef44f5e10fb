"""Dumps of the keys: streamed, several at once, and nobody else's burden."""

from harness.case import SystemTest, ours_only

ITEMS = 60_000


class DumpTest(SystemTest):
    def fill(self, wire, prefix=b"k", count=ITEMS):
        for start in range(0, count, 1000):
            wire.send(b"".join(b"set %s%d 0 0 1 noreply\r\nx\r\n" % (prefix, i) for i in range(start, start + 1000)))
        self.assertTrue(wire.ask(b"version\r\n").startswith(b"VERSION"))

    def read_dump(self, wire, end):
        """The lines between OK and the end; metadump's end with a bare newline."""
        self.assertEqual(wire.line(), b"OK")
        lines = []
        while (line := wire.line()) != end:
            lines += line.split(b"\n")
            if lines[-1] == end:
                return lines[:-1]
        return lines

    @ours_only("memcached allows one dump at a time, and takes it by its own connection thread")
    def test_who_does_not_read_a_dump_costs_only_itself(self):
        server = self.start("-t", "1")
        wire = self.wire(server)
        self.fill(wire)
        before = server.rss_bytes()
        deaf = [server.connect() for _ in range(20)]
        for one in deaf:
            one.sendall(b"lru_crawler metadump all\r\n")
        self.assertEqual(wire.set(b"other", b"x"), b"STORED")
        self.assertEqual(len(wire.get(b"k5")), 1)
        # Meanwhile somebody else's dump runs from end to end.
        reader = self.wire(server)
        reader.send(b"lru_crawler mgdump all\r\n")
        self.assertEqual(len(set(self.read_dump(reader, b"EN"))), ITEMS + 1)
        if not server.is_sanitized():
            self.assertLess(server.rss_bytes() - before, len(deaf) * (200 << 10) + (2 << 20))
        for one in deaf:
            one.close()

    @ours_only("memcached allows one dump at a time")
    def test_parallel_dumps_of_a_growing_cache_have_every_key_once(self):
        server = self.start("-t", "2")
        wire = self.wire(server)
        self.fill(wire)
        readers = [self.wire(server) for _ in range(4)]
        for i, reader in enumerate(readers):
            reader.send(b"lru_crawler metadump all prefix=k part=%d/4\r\n" % (i + 1))
        self.fill(wire, b"new")
        keys = []
        for reader in readers:
            keys += [line.split(b" ")[0] for line in self.read_dump(reader, b"END")]
        self.assertEqual(len(keys), ITEMS)
        self.assertEqual(len(set(keys)), ITEMS)

    def test_dumping_can_be_switched_off(self):
        server = self.start("-X")
        wire = self.wire(server)
        self.assertEqual(wire.ask(b"lru_crawler metadump all\r\n"), b"ERROR metadump not allowed")
        self.assertEqual(wire.ask(b"stats cachedump 1 0\r\n"), b"CLIENT_ERROR stats cachedump not allowed")
