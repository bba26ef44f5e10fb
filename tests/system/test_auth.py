"""Who is let in: -Y over text, -S over binary, and the files of both while the server runs."""

import os
import shutil
import signal
import tempfile

from harness import REFERENCE, binary, settings
from harness.binary import AUTH_CONTINUE, AUTH_FAILURE, NOT_FOUND, OK, SASL_AUTH, SASL_LIST, SASL_STEP, BinaryWire
from harness.case import SystemTest, ours_only
from harness.server import poll, run_to_end
from harness.users import Users

OUTSIDE = b"CLIENT_ERROR unauthenticated"
BAD_TOKEN = b"CLIENT_ERROR bad authentication token format"
WRONG = b"CLIENT_ERROR authentication failure"


def login(user, password):
    token = user + b" " + password
    return b"set auth 0 0 %d\r\n%s\r\n" % (len(token), token)


class AuthTest(SystemTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        self.file = os.path.join(self.folder, "users")

    def write(self, text):
        """All at once: the server must not see half of it."""
        with open(self.file + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(self.file + ".new", self.file)

    def reload(self, server):
        """Lets the server read its users again, and waits until it has."""
        seen = len(server.stderr())
        server.process.send_signal(signal.SIGHUP)
        return poll(lambda: [l for l in server.stderr()[seen:].splitlines() if "users" in l], what="reload")[0]


class TextPasswordsTest(AuthTest):
    def serve(self, text="ann:secret\nbob:other word\n", **options):
        self.write(text)
        return self.start("-v", "-Y", self.file, **options)

    def admits(self, server, user, password):
        wire = self.wire(server)
        answer = wire.ask(login(user, password))
        self.assertIn(answer, (b"STORED", WRONG))
        self.assertEqual(wire.ask(b"version\r\n").startswith(b"VERSION "), answer == b"STORED")
        return answer == b"STORED"

    def test_replies_before_the_login(self):
        """Each on a connection of its own, as memcached has them."""
        cases = (
            (b"get k\r\n", OUTSIDE),
            (b"version\r\n", OUTSIDE),
            (b"mg k v\r\n", OUTSIDE),
            (b"stats\r\n", OUTSIDE),
            (b"shutdown\r\n", OUTSIDE),
            (b"set k 0 0 abc\r\n", OUTSIDE),
            (b"set k 0 0 4\r\nann \r\n", BAD_TOKEN),
            (b"set k 0 0 3\r\nann\r\n", BAD_TOKEN),
            (b"set k 0 0 10\r\nann secretXX", b"CLIENT_ERROR bad command line termination"),
            (login(b"ann", b"wrong"), WRONG),
            (login(b"ann", b"secre"), WRONG),
            (login(b"ann", b"secretX"), WRONG),
            (login(b"nobody", b"secret"), WRONG),
            (login(b"ann", b"secret"), b"STORED"),
            (b"set any 7 9 10\r\nann secret\r\n", b"STORED"),
        )
        self.write("ann:secret\n")
        for program in dict.fromkeys((REFERENCE, settings.server)):
            server = self.start("-Y", self.file, binary=program)
            for request, reply in cases:
                with self.subTest(program, request=request):
                    self.assertEqual(self.wire(server).ask(request), reply)

    def test_inside_everything_works_and_outside_nothing_was_stored(self):
        server = self.serve()
        wire = self.wire(server)
        self.assertEqual(wire.ask(b"get auth\r\n"), OUTSIDE)
        self.assertEqual(wire.ask(login(b"ann", b"secret")), b"STORED")
        self.assertEqual(wire.get(b"auth"), {})  # the login is no item
        self.assertEqual(wire.set(b"k", b"v"), b"STORED")
        self.assertEqual(wire.get(b"k"), {b"k": b"v"})
        self.assertEqual((wire.stat("auth_cmds"), wire.stat("auth_errors")), (1, 0))
        self.assertEqual(dict(wire.stats(b"settings"))["auth_enabled_ascii"], self.file)

    @ours_only("memcached may lose the reply to a failed login")
    def test_a_login_and_what_follows_it_in_one_packet(self):
        wire = self.wire(self.serve())
        wire.send(login(b"ann", b"wrong") + b"get k\r\n" + login(b"ann", b"secret") + b"set k 0 0 1\r\nx\r\nget k\r\n")
        self.assertEqual([wire.line() for _ in range(7)],
                         [WRONG, OUTSIDE, b"STORED", b"STORED", b"VALUE k 0 1", b"x", b"END"])

    def test_a_login_byte_by_byte(self):
        wire = self.wire(self.serve())
        for byte in login(b"ann", b"secret") + b"get k\r\n":
            wire.send(bytes([byte]))
        self.assertEqual([wire.line(), wire.line()], [b"STORED", b"END"])

    @ours_only("Debian's memcached waits for more")
    def test_a_token_too_long_ends_the_connection(self):
        wire = self.wire(self.serve())
        wire.send(b"set k 0 0 20000\r\n")
        self.assertEqual(wire.until_close(), b"CLIENT_ERROR auth token too long\r\n")

    def test_binary_is_not_a_way_around(self):
        """It is taken for text, and waits for the end of its line."""
        wire = self.wire(self.serve())
        self.assertEqual(wire.ask(binary.request(binary.STAT) + b"\r\n"), OUTSIDE)

    @ours_only("memcached lets clients guess without end")
    def test_who_guesses_is_closed(self):
        server = self.serve()
        wire = self.wire(server)
        wire.send(login(b"ann", b"wrong") * 20)
        self.assertEqual(wire.until_close(), (WRONG + b"\r\n") * 5)
        self.assertTrue(self.admits(server, b"ann", b"secret"))

    @ours_only("memcached has at most 8 users")
    def test_a_thousand_users(self):
        server = self.serve("".join(f"user{i}:{i * i}x\n" for i in range(1000)))
        for i in (0, 7, 8, 9, 500, 999):
            self.assertTrue(self.admits(server, b"user%d" % i, b"%dx" % (i * i)), i)
        self.assertFalse(self.admits(server, b"user999", b"0x"))

    @ours_only("memcached does not say what it read")
    def test_sighup_reads_the_users_again(self):
        server = self.serve("ann:secret\n")
        inside = self.wire(server)
        self.assertEqual(inside.ask(login(b"ann", b"secret")), b"STORED")
        self.write("ann:changed\neve:new\n")
        self.assertFalse(self.admits(server, b"ann", b"changed"))  # not before it is told
        self.assertIn("users: OK", self.reload(server))
        self.assertTrue(self.admits(server, b"ann", b"changed"))
        self.assertTrue(self.admits(server, b"eve", b"new"))
        self.assertFalse(self.admits(server, b"ann", b"secret"))
        self.assertEqual(inside.set(b"k", b"v"), b"STORED")  # who is inside stays inside

    @ours_only("memcached does not say what it read")
    def test_a_bad_file_leaves_the_users_who_they_were(self):
        server = self.serve("ann:secret\n")
        for text in ("", "no colon here\n", "ann:other\njunk\n", ":nobody\n"):
            with self.subTest(text=text):
                self.write(text)
                self.assertIn("users, as before", self.reload(server))
                self.assertTrue(self.admits(server, b"ann", b"secret"))
        os.remove(self.file)
        self.assertIn("users, as before", self.reload(server))
        self.assertTrue(self.admits(server, b"ann", b"secret"))
        self.write("ann:other\n")
        self.assertIn("users: OK", self.reload(server))
        self.assertTrue(self.admits(server, b"ann", b"other"))

    @ours_only("memcached's words differ")
    def test_a_bad_file_at_the_start_is_named_and_nothing_secret_is_said(self):
        for text in ("", "hushhush\n", "ann:ok\nhushhush\n"):
            with self.subTest(text=text):
                self.write(text)
                code, said = run_to_end("-p", "-1", "-l", "127.0.0.1", "-u", "root", "-Y", self.file)
                self.assertNotEqual(code, 0)
                self.assertIn(self.file, said)
                self.assertNotIn("hushhush", said)


class SaslTest(AuthTest):
    def serve(self, text="ann:secret\nbob:other word\n"):
        self.write(text)
        return self.start("-v", "-S", env={"MEMCACHED_SASL_PWDB": self.file})

    def connect(self, server):
        wire = BinaryWire(server.connect(20))
        self.addCleanup(wire.close)
        return wire

    def is_outside(self, wire):
        """Whether a get is refused, and ends the connection."""
        wire.send(binary.request(binary.GET, b"k"))
        status = wire.packet().status
        if status == AUTH_FAILURE:
            self.assertEqual(wire.until_close(), b"")
            return True
        self.assertEqual(status, NOT_FOUND)
        return False

    def test_who_has_not_said_who_they_are_is_refused_everything(self):
        whole = {
            **{op: binary.store(op, b"k", b"v") for op in (binary.SET, binary.ADD, binary.REPLACE, binary.SETQ)},
            **{op: binary.count(op, b"k") for op in (binary.INCR, binary.DECRQ)},
            **{op: binary.request(op, b"k") for op in (binary.GET, binary.GETQ, binary.GETKQ, binary.DELETE)},
            **{op: binary.request(op, b"k", b"v") for op in (binary.APPEND, binary.PREPENDQ)},
            **{op: binary.request(op) for op in (binary.NOOP, binary.STAT, binary.FLUSH, binary.QUIT)},
            **{op: binary.request(op, b"k", extras=bytes(4)) for op in (binary.TOUCH, binary.GATKQ)},
        }
        with Users({"ann": "secret"}) as users:
            for name, server in users.servers():
                for opcode, data in whole.items():
                    with self.subTest(name, opcode=opcode):
                        wire = self.connect(server)
                        wire.send(data)
                        reply = wire.packet()
                        self.assertEqual((reply.status, reply.value), (AUTH_FAILURE, b"Auth failure."))
                self.assertEqual(self.connect(server).do(binary.VERSION).status, OK)

    def test_cyrus_and_the_file_let_in_the_same(self):
        with Users({"ann": "secret", "bob": "other word"}) as users:
            for name, server in users.servers():
                with self.subTest(name):
                    wire = self.connect(server)
                    self.assertIn(b"PLAIN", wire.do(SASL_LIST).value)
                    self.assertEqual(wire.log_in(b"ann", b"wrong"), AUTH_FAILURE)
                    self.assertEqual(wire.log_in(b"bob", b"other word"), OK)
                    self.assertFalse(self.is_outside(wire))
                    for user, password in ((b"ann", b"Secret"), (b"ann", b""), (b"eve", b"secret"), (b"", b"secret")):
                        wire = self.connect(server)
                        self.assertEqual(wire.log_in(user, password), AUTH_FAILURE)
                        self.assertTrue(self.is_outside(wire))

    @ours_only("memcached lets them in where Cyrus is not configured")
    def test_nobody_comes_in_without_a_name(self):
        server = self.start("-v", "-S", env={"SASL_CONF_PATH": self.folder})
        wire = self.connect(server)
        self.assertNotIn(b"ANONYMOUS", wire.do(SASL_LIST).value)
        self.assertEqual(wire.do(SASL_AUTH, b"ANONYMOUS", b"trace").status, AUTH_FAILURE)
        self.assertTrue(self.is_outside(wire))

    @ours_only("Debian's memcached has no MEMCACHED_SASL_PWDB")
    def test_plain_lets_in_who_is_known(self):
        server = self.serve()
        wire = self.connect(server)
        self.assertEqual(wire.do(SASL_LIST).value, b"PLAIN")
        reply = wire.do(SASL_AUTH, b"PLAIN", binary.plain(b"ann", b"secret"), opaque=7)
        self.assertEqual((reply.status, reply.value, reply.opaque), (OK, b"Authenticated", 7))
        self.assertFalse(self.is_outside(wire))
        self.assertEqual(self.connect(server).log_in(b"bob", b"other word"), OK)
        for user, password in ((b"ann", b"Secret"), (b"ann", b""), (b"", b"secret"), (b"eve", b"secret"),
                               (b"ann", b"secret\n"), (b"ann", b"secret\0"), (b"ann" * 2000, b"x")):
            wire = self.connect(server)
            self.assertEqual(wire.log_in(user, password), AUTH_FAILURE, (user, password))
            self.assertTrue(self.is_outside(wire))

    @ours_only("Debian's memcached has no MEMCACHED_SASL_PWDB")
    def test_half_of_a_login_is_no_login(self):
        server = self.serve()
        wire = self.connect(server)
        self.assertEqual(wire.do(SASL_AUTH, b"PLAIN").status, AUTH_CONTINUE)
        self.assertTrue(self.is_outside(wire))
        wire = self.connect(server)
        self.assertEqual(wire.do(SASL_AUTH, b"PLAIN").status, AUTH_CONTINUE)
        self.assertEqual(wire.do(SASL_STEP, b"PLAIN", binary.plain(b"ann", b"secret")).status, OK)
        self.assertFalse(self.is_outside(wire))
        wire = self.connect(server)  # a second step without a first
        self.assertEqual(wire.do(SASL_STEP, b"PLAIN", binary.plain(b"ann", b"secret")).status, AUTH_FAILURE)
        self.assertTrue(self.is_outside(wire))
        for name in (b"CRAM-MD5", b"x" * 32, b"PLAI"):
            wire = self.connect(server)
            self.assertEqual(wire.do(SASL_AUTH, name, binary.plain(b"ann", b"secret")).status, AUTH_FAILURE)
            self.assertTrue(self.is_outside(wire))

    @ours_only("Debian's memcached has no MEMCACHED_SASL_PWDB")
    def test_a_failed_login_puts_out_who_was_in(self):
        server = self.serve()
        wire = self.connect(server)
        self.assertEqual(wire.log_in(b"ann", b"secret"), OK)
        self.assertEqual(wire.log_in(b"ann", b"wrong"), AUTH_FAILURE)
        self.assertTrue(self.is_outside(wire))
        wire = self.connect(server)
        self.assertEqual(wire.log_in(b"ann", b"wrong"), AUTH_FAILURE)
        self.assertEqual(wire.log_in(b"ann", b"secret"), OK)
        self.assertFalse(self.is_outside(wire))

    @ours_only("memcached lets clients guess without end")
    def test_who_guesses_is_closed(self):
        wire = self.connect(self.serve())
        self.assertEqual([wire.log_in(b"ann", b"wrong") for _ in range(5)], [AUTH_FAILURE] * 5)
        self.assertEqual(wire.until_close(), b"")

    @ours_only("Debian's memcached has no MEMCACHED_SASL_PWDB")
    def test_text_is_not_a_way_around(self):
        with self.serve().wire() as wire:
            wire.send(b"stats\r\nversion\r\n")
            self.assertEqual(wire.until_close(), b"")

    @ours_only("Debian's memcached has no MEMCACHED_SASL_PWDB")
    def test_sighup_reads_the_users_again(self):
        server = self.serve("ann:secret\n")
        inside = self.connect(server)
        self.assertEqual(inside.log_in(b"ann", b"secret"), OK)
        self.write("ann:changed\n")
        self.assertIn("users: OK", self.reload(server))
        self.assertEqual(self.connect(server).log_in(b"ann", b"changed"), OK)
        self.assertEqual(self.connect(server).log_in(b"ann", b"secret"), AUTH_FAILURE)
        self.assertFalse(self.is_outside(inside))
        self.write("junk\n")
        self.assertIn("users, as before", self.reload(server))
        self.assertEqual(self.connect(server).log_in(b"ann", b"changed"), OK)
