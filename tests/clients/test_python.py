"""Python's clients: pymemcache, python-memcached and pylibmc, each over its public interface."""


from harness import REFERENCE, settings
from harness.case import SystemTest, missing, ours_only
from harness.certificates import authority
from harness.server import Server, poll
from harness.users import Users

BINARY = bytes(range(256)) + b"\r\nEND\r\n\0"
LARGE = b"0123456789abcdef" * 6400  # 100 KB
HUGE = BINARY[:256] * 4096  # 1 MB: more than the default -I allows
ARGUMENTS = ("-m", "128", "-I", "2m")
PASSWORDS = {"ann": "secret", "bob": "other word"}


class ClientTest(SystemTest):
    """Runs its scenario against Debian's memcached first: that shows the scenario to be right."""

    def on_each_server(self, scenario):
        for binary in dict.fromkeys((REFERENCE, settings.server)):
            with self.subTest(binary), Server(*ARGUMENTS, binary=binary) as server:
                scenario(server)


def soon_gone(get):
    """A value with a time to live of a second goes within three."""
    poll(lambda: get() is None, what="expiry")


class PymemcacheTest(ClientTest):
    def test_pymemcache(self):
        try:
            import pymemcache.client.base as base
            from pymemcache import exceptions
        except ImportError:
            missing("python3-pymemcache")

        def scenario(server):
            c = base.Client((server.host, server.port), timeout=10, default_noreply=False)
            self.assertRegex(c.version(), rb"^1\.\d+\.\d+$")
            self.assertIsNone(c.get("k"))
            self.assertTrue(c.set("k", b"v"))
            self.assertEqual(c.get("k"), b"v")
            self.assertFalse(c.add("k", b"w"))
            self.assertTrue(c.add("a", b"1"))
            self.assertTrue(c.replace("k", b"vv"))
            self.assertFalse(c.replace("nosuch", b"x"))
            self.assertTrue(c.append("k", b">"))
            self.assertTrue(c.prepend("k", b"<"))
            self.assertEqual(c.get("k"), b"<vv>")
            self.assertFalse(c.append("nosuch", b">"))
            self.assertEqual(c.get_many(["k", "a", "nosuch"]), {"k": b"<vv>", "a": b"1"})
            self.assertEqual(c.set_many({f"m{i}": b"%d" % i for i in range(500)}), [])
            self.assertEqual(len(c.get_many([f"m{i}" for i in range(600)])), 500)
            value, unique = c.gets("k")
            self.assertEqual(value, b"<vv>")
            self.assertTrue(c.cas("k", b"new", unique))
            self.assertFalse(c.cas("k", b"newer", unique))
            self.assertIsNone(c.cas("nosuch", b"x", unique))
            self.assertEqual(set(c.gets_many(["k", "a"])), {"k", "a"})
            self.assertTrue(c.set("n", b"10"))
            self.assertEqual(c.incr("n", 5), 15)
            self.assertEqual(c.decr("n", 100), 0)
            self.assertIsNone(c.incr("nosuch", 1))
            with self.assertRaises(exceptions.MemcacheClientError):
                c.incr("k", 1)
            self.assertTrue(c.touch("k", 100))
            self.assertFalse(c.touch("nosuch", 100))
            self.assertTrue(c.delete("k"))
            self.assertFalse(c.delete("k"))
            for value in (b"", BINARY, LARGE, HUGE):
                self.assertTrue(c.set("bytes", value))
                self.assertEqual(c.get("bytes"), value)
            with self.assertRaises(exceptions.MemcacheServerError):
                c.set("bytes", HUGE * 3)
            self.assertIsNone(c.get("bytes"))  # and the connection still is in step
            with self.assertRaises(exceptions.MemcacheIllegalInputError):
                c.get("with blank")
            self.assertTrue(c.set("short", b"lived", expire=1))
            soon_gone(lambda: c.get("short"))
            self.assertTrue(c.set("quiet", b"1", noreply=True))
            self.assertEqual(c.get("quiet"), b"1")
            stats = c.stats()
            self.assertEqual(stats[b"pid"], server.pid)
            self.assertGreater(stats[b"curr_items"], 0)
            self.assertIn(b"maxbytes", c.stats("settings"))
            self.assertTrue(c.flush_all())
            self.assertIsNone(c.get("a"))
            c.quit()

        self.on_each_server(scenario)


class GuardedPymemcacheTest(ClientTest):
    """pymemcache over TLS, and with the users of -Y."""

    def setUp(self):
        try:
            import pymemcache.client.base as base
            from pymemcache import exceptions
        except ImportError:
            missing("python3-pymemcache")
        self.base, self.exceptions = base, exceptions

    def client(self, server, **options):
        c = self.base.Client((server.host, server.port), timeout=10, default_noreply=False, **options)
        self.addCleanup(c.close)
        return c

    @ours_only("Debian's memcached is built without TLS")
    def test_pymemcache_tls(self):
        ours = authority("larder test CA")
        cert, key = ours.issue("server")
        server = self.start("-Z", "-o", f"ssl_chain_cert={cert},ssl_key={key}", *ARGUMENTS)
        c = self.client(server, tls_context=ours.context())
        for value in (b"", BINARY, LARGE, HUGE):
            self.assertTrue(c.set("bytes", value))
            self.assertEqual(c.get("bytes"), value)
        self.assertEqual(c.set_many({f"m{i}": b"%d" % i for i in range(500)}), [])
        self.assertEqual(len(c.get_many([f"m{i}" for i in range(600)])), 500)
        self.assertEqual(c.stats("settings")[b"ssl_enabled"], b"yes")
        with self.assertRaises(OSError):
            self.client(server, tls_context=authority("another CA").context()).get("bytes")
        with self.assertRaises((OSError, self.exceptions.MemcacheError)):
            self.client(server).get("bytes")  # plain

    def test_pymemcache_with_a_password_file(self):
        with Users(PASSWORDS) as users:
            for binary in dict.fromkeys((REFERENCE, settings.server)):
                with self.subTest(binary), Server("-Y", users.file, *ARGUMENTS, binary=binary) as server:
                    c = self.client(server)
                    with self.assertRaises(self.exceptions.MemcacheClientError):
                        c.get("k")
                    c.close()
                    with self.assertRaises(self.exceptions.MemcacheClientError):
                        c.set("auth", b"ann wrong")
                    self.assertTrue(c.set("auth", b"ann secret"))
                    self.assertIsNone(c.get("auth"))
                    self.assertTrue(c.set("k", LARGE))
                    self.assertEqual(c.get("k"), LARGE)
                    c.close()


class PythonMemcachedTest(ClientTest):
    def test_python_memcached(self):
        try:
            import memcache
        except ImportError:
            missing("python3-memcache")

        def scenario(server):
            c = memcache.Client([f"{server.host}:{server.port}"], cache_cas=True, server_max_value_length=1 << 21)
            self.assertEqual(len(c.get_stats()), 1)
            self.assertTrue(c.set("k", "text"))
            self.assertEqual(c.get("k"), "text")
            for value in (7, True, {"a": [1, 2]}, b"", BINARY, LARGE, HUGE, "é☃"):
                self.assertTrue(c.set("typed", value))
                self.assertEqual(c.get("typed"), value)
            self.assertFalse(c.add("k", "w"))
            self.assertTrue(c.add("a", "1"))
            self.assertTrue(c.replace("a", "2"))
            self.assertFalse(c.replace("nosuch", "2"))
            self.assertTrue(c.append("a", "3"))
            self.assertTrue(c.prepend("a", "1"))
            self.assertEqual(c.get("a"), "123")
            self.assertEqual(c.set_multi({"m1": "1", "m2": "2"}, key_prefix="p:"), [])
            self.assertEqual(c.get_multi(["m1", "m2", "m3"], key_prefix="p:"), {"m1": "1", "m2": "2"})
            self.assertEqual(c.gets("k"), "text")
            self.assertTrue(c.cas("k", "text2"))
            self.assertEqual(c.gets("k"), "text2")
            self.assertTrue(c.set("k", "between"))
            self.assertFalse(c.cas("k", "text3"))
            self.assertTrue(c.set("n", "20"))
            self.assertEqual(c.incr("n"), 21)
            self.assertEqual(c.decr("n", 50), 0)
            self.assertIsNone(c.incr("nosuch"))
            self.assertTrue(c.touch("n", 100))
            self.assertTrue(c.delete("n"))
            self.assertIsNone(c.get("n"))
            self.assertTrue(c.delete_multi(["m1", "m2"], key_prefix="p:"))
            self.assertFalse(c.set("toolarge", "x" * (1 << 22)))
            self.assertIsNone(c.get("toolarge"))
            with self.assertRaises(memcache.Client.MemcachedKeyCharacterError):
                c.get("with blank")
            self.assertTrue(c.set("short", "lived", time=1))
            soon_gone(lambda: c.get("short"))
            (_, items), = c.get_stats("items")
            self.assertTrue(items)
            c.flush_all()
            self.assertIsNone(c.get("k"))
            c.disconnect_all()

        self.on_each_server(scenario)


class BinaryMemcachedTest(ClientTest):
    """python-binary-memcached, which speaks the binary protocol only."""

    def client(self, server, *credentials):
        try:
            import bmemcached
        except ImportError:
            missing("python3-binary-memcached")
        c = bmemcached.Client((f"{server.host}:{server.port}",), *credentials, socket_timeout=10)
        self.addCleanup(c.disconnect_all)
        return c

    def converse(self, c):
        self.assertIsNone(c.get("nosuch"))
        self.assertTrue(c.set("k", "text"))
        self.assertEqual(c.get("k"), "text")
        for value in (7, {"a": [1, 2]}, b"", BINARY, LARGE, HUGE, "é☃"):
            self.assertTrue(c.set("typed", value, compress_level=0))
            self.assertEqual(c.get("typed"), value)
        self.assertFalse(c.add("k", "w"))
        self.assertTrue(c.add("a", "1"))
        self.assertTrue(c.replace("a", "2"))
        self.assertFalse(c.replace("nosuch", "2"))
        for i in range(200):  # the client's set_multi fails by itself
            self.assertTrue(c.set(f"m{i}", i))
        self.assertEqual(c.get_multi([f"m{i}" for i in range(300)]), {f"m{i}": i for i in range(200)})
        value, unique = c.gets("k")
        self.assertEqual(value, "text")
        self.assertTrue(c.cas("k", "text2", unique))
        self.assertFalse(c.cas("k", "text3", unique))
        self.assertEqual(c.incr("n", 5, default=10), 10)
        self.assertEqual(c.incr("n", 5), 15)
        self.assertEqual(c.decr("n", 100), 0)
        self.assertTrue(c.delete("k"))
        self.assertIsNone(c.get("k"))
        self.assertTrue(c.set("short", "lived", time=1))
        soon_gone(lambda: c.get("short"))
        (stats,) = c.stats().values()
        self.assertIn(b"pid", [name.encode() if isinstance(name, str) else name for name in stats])
        self.assertTrue(c.flush_all())
        self.assertIsNone(c.get("a"))

    def test_python_binary_memcached(self):
        self.on_each_server(lambda server: self.converse(self.client(server)))

    def test_python_binary_memcached_sasl(self):
        from bmemcached.exceptions import AuthenticationNotSupported, InvalidCredentials, MemcachedException

        with Users(PASSWORDS) as users:
            for name, server in users.servers(*ARGUMENTS):
                with self.subTest(name):
                    self.converse(self.client(server, "ann", "secret"))
                    with self.assertRaises((AuthenticationNotSupported, InvalidCredentials, MemcachedException)):
                        self.client(server, "ann", "wrong").set("k", "v")


class PylibmcTest(ClientTest):
    def test_pylibmc(self):
        self.converse(is_binary=False)

    def test_pylibmc_binary(self):
        self.converse(is_binary=True)

    def test_pylibmc_sasl(self):
        try:
            import pylibmc
        except ImportError:
            missing("python3-pylibmc")
        with Users(PASSWORDS) as users:
            for name, server in users.servers(*ARGUMENTS):
                where = [f"{server.host}:{server.port}"]
                with self.subTest(name):
                    for user, password in PASSWORDS.items():
                        c = pylibmc.Client(where, binary=True, username=user, password=password)
                        self.assertTrue(c.set(user, LARGE))
                        self.assertEqual(c.get_multi(["ann", "bob", "eve"]).get(user), LARGE)
                    c = pylibmc.Client(where, binary=True, username="ann", password="wrong")
                    with self.assertRaises(pylibmc.Error):
                        c.set("k", "v")

    def converse(self, is_binary):
        try:
            import pylibmc
        except ImportError:
            missing("python3-pylibmc")

        def scenario(server):
            c = pylibmc.Client([f"{server.host}:{server.port}"], binary=is_binary,
                               behaviors={"cas": True, "tcp_nodelay": True, "ketama": True})
            self.assertTrue(c.set("k", "text"))
            self.assertEqual(c.get("k"), "text")
            self.assertIsNone(c.get("nosuch"))
            for value in (7, True, {"a": [1, 2]}, b"", BINARY, LARGE, HUGE, "é☃"):
                self.assertTrue(c.set("typed", value))
                self.assertEqual(c.get("typed"), value)
            self.assertTrue(c.set("packed", LARGE, min_compress_len=1000))
            self.assertEqual(c.get("packed"), LARGE)
            self.assertFalse(c.add("k", "w"))
            self.assertTrue(c.add("a", b"1"))
            self.assertTrue(c.replace("a", b"2"))
            if is_binary:  # where libmemcached is told that there is none
                with self.assertRaises(pylibmc.NotFound):
                    c.replace("nosuch", "2")
            else:
                self.assertFalse(c.replace("nosuch", "2"))
            self.assertTrue(c.append("a", b"3"))
            self.assertTrue(c.prepend("a", b"1"))
            self.assertEqual(c.get("a"), b"123")
            self.assertEqual(c.set_multi({f"m{i}": i for i in range(200)}), [])
            self.assertEqual(c.get_multi([f"m{i}" for i in range(300)]), {f"m{i}": i for i in range(200)})
            value, unique = c.gets("k")
            self.assertEqual(value, "text")
            self.assertTrue(c.cas("k", "text2", unique))
            self.assertFalse(c.cas("k", "text3", unique))
            self.assertTrue(c.set("n", 20))
            self.assertEqual(c.incr("n"), 21)
            self.assertEqual(c.decr("n", 50), 0)
            with self.assertRaises(pylibmc.NotFound):
                c.incr("nosuch")
            self.assertTrue(c.touch("n", 100))
            self.assertTrue(c.delete("n"))
            self.assertFalse(c.delete("n"))
            with self.assertRaises(pylibmc.TooBig):
                c.set("k", b"x" * (1 << 22))
            self.assertTrue(c.set("short", "lived", time=1))
            soon_gone(lambda: c.get("short"))
            (_, stats), = c.get_stats()
            self.assertEqual(int(stats["pid"]), server.pid)
            self.assertTrue(c.flush_all())
            self.assertIsNone(c.get("k"))
            c.disconnect_all()

        self.on_each_server(scenario)


class LineSessionTest(ClientTest):
    """What a person types, with CR LF as telnet sends it and with LF as nc does."""

    def session(self, server, end):
        wire = self.wire(server)

        def type_in(*lines):
            for line in lines:
                wire.send(line.encode() + end)

        self.assertIn(wire.ask(b"" + end), (b"ERROR", b"CLIENT_ERROR bad command line format"))
        self.assertEqual(wire.ask(b"help" + end), b"ERROR")
        self.assertEqual(wire.ask(b"GET greeting" + end), b"ERROR")
        self.assertRegex(wire.ask(b"version" + end), rb"^VERSION 1\.6\.\d+$")
        type_in("get greeting")
        self.assertEqual(wire.values(), {})
        wire.send(b"set greeting 5 0 5" + end + b"hello\r\n")  # a block always ends by CR LF
        self.assertEqual(wire.line(), b"STORED")
        type_in("get greeting")
        self.assertEqual(wire.line(), b"VALUE greeting 5 5")
        self.assertEqual(wire.line(), b"hello")
        self.assertEqual(wire.line(), b"END")
        wire.send(b"set n 0 0 2" + end + b"41\r\n")
        self.assertEqual(wire.line(), b"STORED")
        self.assertEqual(wire.ask(b"incr n 1" + end), b"42")
        self.assertEqual(wire.ask(b"touch n 60" + end), b"TOUCHED")
        self.assertEqual(wire.ask(b"delete n" + end), b"DELETED")
        self.assertEqual(wire.ask(b"delete n" + end), b"NOT_FOUND")
        self.assertEqual(wire.ask(b"flush_all" + end), b"OK")
        self.assertEqual(wire.ask(b"verbosity 0" + end), b"OK")
        type_in("stats")
        names = []
        while (line := wire.line()) != b"END":
            names.append(line.split()[1])
        self.assertIn(b"curr_items", names)
        type_in("quit")
        self.assertTrue(wire.is_closed())

    def test_telnet(self):
        self.on_each_server(lambda server: self.session(server, b"\r\n"))

    def test_nc_sends_bare_lf(self):
        self.on_each_server(lambda server: self.session(server, b"\n"))

    def test_typing_is_slow(self):
        def scenario(server):
            wire = self.wire(server)
            for byte in b"set k 0 0 3\r\nabc\r\nget k\r\n":
                wire.send(bytes([byte]))
            self.assertEqual([wire.line() for _ in range(4)], [b"STORED", b"VALUE k 0 3", b"abc", b"END"])

        self.on_each_server(scenario)
