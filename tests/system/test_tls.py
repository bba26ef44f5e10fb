"""TLS: versions, resumption, certificates of clients, reload, and what a hostile or slow client does to others."""

import os
import re
import shutil
import signal
import socket
import ssl

from harness.case import SystemTest, ours_only
from harness.certificates import authority
from harness.server import as_user, poll, run_to_end
from harness.wire import Wire
from system.test_watch import event_of

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REFUSALS = (ssl.SSLError, ConnectionError, EOFError)


class TlsTest(SystemTest):
    def setUp(self):
        self.authority = authority("larder test CA")
        self.cert, self.key = self.authority.issue("server")

    def start_tls(self, *args, listen=("notls:127.0.0.1", "127.0.0.1"), more=""):
        """A server whose first listener is plain; `ports` are those of `listen`."""
        files = f"ssl_chain_cert={self.cert},ssl_key={self.key}"
        server = self.start(argv=["-p", "-1", "-l", ",".join(listen), *as_user(args), "-Z",
                                  "-o", files + (more and "," + more), *args])
        self.tls_port = server.ports["TCP INET"][1]
        return server

    def tls(self, context=None, port=None, session=None):
        raw = socket.create_connection(("127.0.0.1", port or self.tls_port), 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = context or self.authority.context()
        try:
            wire = Wire(context.wrap_socket(raw, server_hostname="127.0.0.1", session=session))
        except BaseException:
            raw.close()
            raise
        self.addCleanup(wire.close)
        return wire

    def speaks(self, wire):
        return wire.ask(b"version\r\n").startswith(b"VERSION ")

    def is_refused(self, context, port=None):
        """In TLS 1.3 a client learns only after its handshake that its certificate was not good."""
        try:
            self.speaks(self.tls(context, port))
            return False
        except REFUSALS:
            return True

    def counts_to(self, server, name, expected):
        """A client may hear of its end before the server has counted it."""
        wire = self.wire(server)
        poll(lambda: wire.stat(name) >= expected, what=f"{name} of {expected}")
        self.assertEqual(wire.stat(name), expected)


class ConversationTest(TlsTest):
    def test_both_versions_and_no_older_one(self):
        self.start_tls()
        for version, name in ((V12, "TLSv1.2"), (V13, "TLSv1.3")):
            wire = self.tls(self.authority.context(version))
            self.assertEqual(wire.sock.version(), name)
            self.assertEqual(wire.set(b"k", name.encode()), b"STORED")
            self.assertEqual(wire.get(b"k", b"none"), {b"k": name.encode()})
        old = self.authority.context()
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        self.assertTrue(self.is_refused(old))

    def test_least_version_and_ciphers_are_as_asked(self):
        self.start_tls(more="ssl_min_version=3")
        self.assertTrue(self.is_refused(self.authority.context(V12)))
        self.assertTrue(self.speaks(self.tls(self.authority.context(V13))))
        self.start_tls(more="ssl_ciphers=ECDHE-ECDSA-CHACHA20-POLY1305")
        wire = self.tls(self.authority.context(V12))
        self.assertEqual(wire.sock.cipher()[0], "ECDHE-ECDSA-CHACHA20-POLY1305")

    def test_plain_and_tls_side_by_side(self):
        server = self.start_tls()
        plain, secure = self.wire(server), self.tls()
        self.assertEqual(plain.set(b"k", b"from plain"), b"STORED")
        self.assertEqual(secure.get(b"k"), {b"k": b"from plain"})
        self.assertEqual(secure.set(b"k", b"from tls"), b"STORED")
        self.assertEqual(plain.get(b"k"), {b"k": b"from tls"})
        rows = dict(secure.stats(b"settings"))
        self.assertEqual((rows["ssl_enabled"], rows["ssl_chain_cert"], rows["ssl_verify_mode"]), ("yes", self.cert, "0"))
        self.assertEqual((rows["ssl_wbuf_size"], rows["ssl_min_version"]), ("16384", "tlsv1.2"))

    def test_large_values_both_ways(self):
        self.start_tls("-m", "128", "-I", "4m")
        for version in (V12, V13):
            wire = self.tls(self.authority.context(version))
            for size in (16_383, 16_384, 16_385, 65_536, 1_000_000, 3_000_000):
                value = os.urandom(1000) * (size // 1000) + b"x" * (size % 1000)
                self.assertEqual(wire.set(b"k", value), b"STORED")
                self.assertEqual(wire.get(b"k"), {b"k": value})

    def test_replies_that_pile_up_all_arrive(self):
        self.start_tls("-m", "128")
        wire = self.tls()
        value = os.urandom(1 << 19)
        self.assertEqual(wire.set(b"k", value), b"STORED")
        wire.send(b"get k\r\n" * 60)  # 30 MB, more than any buffer between us
        other = self.tls()
        self.assertTrue(self.speaks(other))
        for _ in range(60):
            self.assertEqual(wire.values(), {b"k": value})
        self.assertTrue(self.speaks(wire))

    def test_pipeline_of_ten_thousand_requests(self):
        self.start_tls()
        wire = self.tls()
        for i in range(100):
            self.assertEqual(wire.set(b"k%d" % i, b"v%d" % i), b"STORED")
        requests = b"".join(b"get k%d\r\n" % (i % 100) for i in range(10_000))
        wire.send(requests)
        for i in range(10_000):
            self.assertEqual(wire.values(), {b"k%d" % (i % 100): b"v%d" % (i % 100)})

    def test_many_small_records(self):
        self.start_tls()
        wire = self.tls()
        for _ in range(500):
            wire.send(b"set k 0 0 3 noreply\r\n")  # each send is a record
            wire.send(b"abc\r\n")
        self.assertEqual(wire.get(b"k"), {b"k": b"abc"})

    @ours_only("memcached drops replies that are pending")
    def test_a_half_closed_client_gets_all_its_replies(self):
        self.start_tls("-m", "128")
        wire = self.tls()
        self.assertEqual(wire.set(b"k", b"x" * 900_000), b"STORED")
        wire.send(b"get k\r\n" * 10 + b"version\r\n")
        with socket.socket(fileno=os.dup(wire.sock.fileno())) as same:
            same.shutdown(socket.SHUT_WR)
        rest = wire.until_close()
        self.assertEqual(rest.count(b"END\r\n"), 10)
        self.assertRegex(rest[-20:], rb"VERSION 1\.6\.\d+\r\n$")

    def test_quit_ends_with_a_close_notify(self):
        self.start_tls()
        wire = self.tls()
        wire.send(b"version\r\nquit\r\n")
        wire.line()
        wire.sock.suppress_ragged_eofs = False  # an end without it would be an error
        self.assertEqual(wire.sock.recv(10), b"")

    @ours_only("memcached drops replies that are pending")
    def test_what_was_read_is_answered_before_the_end(self):
        server = self.start_tls("-m", "128")
        wire = self.tls()
        self.assertEqual(wire.set(b"k", b"x" * 500_000), b"STORED")
        wire.send(b"get k\r\n" * 8)
        self.assertEqual(wire.line(), b"VALUE k 0 500000")
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(wire.until_close().count(b"END\r\n"), 8)
        self.assertEqual(server.wait(3), 0)


class ResumptionTest(TlsTest):
    def resumes(self, context):
        first = self.tls(context)
        self.assertTrue(self.speaks(first))  # in TLS 1.3 the ticket comes with the first reply
        session = first.sock.session
        first.close()
        return self.tls(context, session=session).sock.session_reused

    def test_by_tickets(self):
        server = self.start_tls(more="ssl_session_cache")
        for version in (V12, V13):
            self.assertTrue(self.resumes(self.authority.context(version)))
        if not server.is_reference:  # it counts tickets
            self.counts_to(server, "ssl_new_sessions", 2)

    @ours_only("memcached forgets sessions whose clients did not say goodbye")
    def test_by_the_cache_of_the_server(self):
        context = self.authority.context(V12)
        context.options |= ssl.OP_NO_TICKET
        self.start_tls()
        self.assertFalse(self.resumes(context))
        self.start_tls(more="ssl_session_cache")
        self.assertTrue(self.resumes(context))

    @ours_only("memcached has mtls since 1.6.2x")
    def test_no_check_is_passed_by_a_session_of_another_listener(self):
        server = self.start_tls(listen=("notls:127.0.0.1", "btls:127.0.0.1", "mtls:127.0.0.1"),
                                more=f"ssl_ca_cert={self.authority.cert},ssl_session_cache")
        _, _, mutual = server.ports["TCP INET"]
        for version in (V12, V13):
            context = self.authority.context(version)
            self.assertTrue(self.resumes(context))
            first = self.tls(context)
            self.assertTrue(self.speaks(first))
            with self.assertRaises(REFUSALS):
                self.speaks(self.tls(context, port=mutual, session=first.sock.session))

    @ours_only("memcached keeps its sessions")
    def test_a_reload_ends_all_sessions(self):
        self.start_tls(more="ssl_session_cache")
        context = self.authority.context(V13)
        first = self.tls(context)
        self.assertTrue(self.speaks(first))
        self.assertEqual(first.ask(b"refresh_certs\r\n"), b"OK")
        self.assertFalse(self.tls(context, session=first.sock.session).sock.session_reused)


class ClientCertificateTest(TlsTest):
    def contexts(self, version):
        own = self.authority.context(version, self.authority.issue("client"))
        foreign = self.authority.context(version, authority("somebody else").issue("client"))
        return self.authority.context(version), own, foreign

    def test_required(self):
        self.start_tls(more=f"ssl_verify_mode=2,ssl_ca_cert={self.authority.cert}")
        for version in (V12, V13):
            none, own, foreign = self.contexts(version)
            self.assertTrue(self.is_refused(none))
            self.assertTrue(self.is_refused(foreign))
            self.assertTrue(self.speaks(self.tls(own)))

    def test_checked_when_shown(self):
        server = self.start_tls(more=f"ssl_verify_mode=1,ssl_ca_cert={self.authority.cert}")
        none, own, foreign = self.contexts(V13)
        self.assertTrue(self.speaks(self.tls(none)))
        self.assertTrue(self.speaks(self.tls(own)))
        self.assertTrue(self.is_refused(foreign))
        if not server.is_reference:
            self.counts_to(server, "ssl_handshake_errors", 1)

    @ours_only("memcached has them since 1.6.2x")
    def test_as_each_listener_asks(self):
        server = self.start_tls(listen=("notls:127.0.0.1", "btls:127.0.0.1", "mtls:127.0.0.1", "127.0.0.1"),
                                more=f"ssl_verify_mode=1,ssl_ca_cert={self.authority.cert}")
        _, basic, mutual, by_option = server.ports["TCP INET"]
        none, own, foreign = self.contexts(V13)
        refused = [[self.is_refused(context, port) for context in (none, own, foreign)]
                   for port in (basic, mutual, by_option)]
        self.assertEqual(refused, [[False, False, False], [True, False, True], [False, False, True]])


class ReloadTest(TlsTest):
    def start_with_copies(self, *args):
        """Its certificate can be changed under it."""
        folder = self.authority.folder
        self.cert, self.key = os.path.join(folder, "now.crt"), os.path.join(folder, "now.key")
        self.put("server")
        return self.start_tls(*args)

    def put(self, name):
        cert, key = self.authority.issue(name)
        for source, target in ((cert, self.cert), (key, self.key)):
            shutil.copyfile(source, target + ".new")
            os.chmod(target + ".new", 0o644)
            os.rename(target + ".new", target)

    def name_shown(self):
        return dict(pair[0] for pair in self.tls().sock.getpeercert()["subject"])["commonName"]

    def test_by_the_command(self):
        self.start_with_copies()
        before = self.tls()
        self.assertEqual(self.name_shown(), "server")
        self.put("renewed")
        self.assertEqual(before.ask(b"refresh_certs\r\n"), b"OK")
        self.assertEqual(self.name_shown(), "renewed")
        self.assertEqual(before.set(b"k", b"v" * 100_000), b"STORED")  # goes on with the old one
        self.assertEqual(len(before.get(b"k")[b"k"]), 100_000)

    @ours_only("memcached looks only once a second, and ends when SIGHUP comes early")
    def test_by_sighup(self):
        server = self.start_with_copies()
        before = self.tls()
        self.put("renewed")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: self.name_shown() == "renewed", what="new certificate")
        self.assertTrue(self.speaks(before))

    def test_a_bad_file_changes_nothing(self):
        server = self.start_with_copies()
        with open(self.cert, "w", encoding="ascii") as file:
            file.write("no certificate\n")
        wire = self.tls()
        answer = wire.ask(b"refresh_certs\r\n")
        self.assertTrue(answer.startswith(b"Error loading the certificate chain: " + self.cert.encode()), answer)
        self.assertTrue(self.speaks(wire))
        self.assertEqual(self.name_shown(), "server")
        if not server.is_reference:
            server.process.send_signal(signal.SIGHUP)
            poll(lambda: "SIGHUP: certificates, as before: Error loading" in server.stderr(), what="a word about it")
            self.assertEqual(self.name_shown(), "server")

    def test_without_tls_there_is_nothing_to_reload(self):
        self.assertEqual(self.wire(self.start()).ask(b"refresh_certs\r\n"), b"Error TLS not enabled")


class HostileTest(TlsTest):
    def raw(self):
        raw = socket.create_connection(("127.0.0.1", self.tls_port), 20)
        self.addCleanup(raw.close)
        return Wire(raw)

    def hello(self):
        out = ssl.MemoryBIO()
        session = self.authority.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1")
        with self.assertRaises(ssl.SSLWantReadError):
            session.do_handshake()
        return out.read()

    def test_garbage_instead_of_a_handshake(self):
        server = self.start_tls()
        for garbage in (b"get k\r\n", b"\x80" + bytes(23), os.urandom(5000), b"\x16\x03\x01\xff\xff" + bytes(3000)):
            wire = self.raw()
            wire.send(garbage)
            wire.until_close()
        self.assertTrue(self.speaks(self.tls()))
        if not server.is_reference:
            self.counts_to(server, "ssl_handshake_errors", 4)

    def test_garbage_after_the_handshake(self):
        server = self.start_tls()
        wire = self.tls()
        self.assertTrue(self.speaks(wire))
        with socket.socket(fileno=os.dup(wire.sock.fileno())) as same:
            same.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with self.assertRaises(REFUSALS):
            wire.line()
        self.assertTrue(self.speaks(self.tls()))
        if not server.is_reference:
            self.counts_to(server, "ssl_proto_errors", 1)

    def test_half_handshakes_hold_up_nobody(self):
        self.start_tls("-t", "2")
        hello = self.hello()
        half = [self.raw() for _ in range(100)]
        for i, wire in enumerate(half):
            wire.send(hello[: i * len(hello) // len(half)])
        for _ in range(20):
            self.assertTrue(self.speaks(self.tls()))

    def test_clients_that_leave_during_the_handshake_leave_nothing(self):
        server = self.start_tls()
        hello = self.hello()
        for i in range(200):
            wire = self.raw()
            wire.send(hello[: i % len(hello)] if i % 2 else hello)
            wire.close()
        plain = self.wire(server)
        poll(lambda: plain.stat("curr_connections") <= 2 + 1, what="everybody gone")

    def test_resets_in_the_middle_of_large_replies(self):
        server = self.start_tls("-m", "128")
        wire = self.tls()
        self.assertEqual(wire.set(b"k", b"x" * 900_000), b"STORED")
        for _ in range(20):
            one = self.tls()
            one.send(b"get k\r\n" * 20)
            one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        self.assertEqual(len(wire.get(b"k")[b"k"]), 900_000)
        plain = self.wire(server)
        poll(lambda: plain.stat("curr_connections") <= 3 + 1, what="everybody gone")


class StartTest(TlsTest):
    def ends(self, options, says, *args):
        code, text = run_to_end("-p", "-1", "-l", "127.0.0.1", *as_user([]), "-Z", *options, *args)
        self.assertEqual(code, 64, text)
        self.assertRegex(text, says)

    def test_bad_files_are_named(self):
        missing, text = self.authority.path("missing"), self.authority.path("text")
        with open(text, "w", encoding="ascii") as file:
            file.write("hello\n")
        other_key = self.authority.issue("other")[1]
        self.ends(["-o", f"ssl_chain_cert={missing},ssl_key={self.key}"], f"certificate chain: {missing}.*No such file")
        self.ends(["-o", f"ssl_chain_cert={text},ssl_key={self.key}"], f"certificate chain: {text}")
        self.ends(["-o", f"ssl_chain_cert={self.cert},ssl_key={missing}"], f"the key: {missing}.*No such file")
        self.ends(["-o", f"ssl_chain_cert={self.cert},ssl_key={other_key}"], "key")
        files = f"ssl_chain_cert={self.cert},ssl_key={self.key}"
        self.ends(["-o", files + f",ssl_ca_cert={missing}"], f"CA certificate: {missing}.*No such file")
        self.ends(["-o", files + ",ssl_ciphers=nonsense"], "cipher.*nonsense")

    @ours_only("memcached's texts are others")
    def test_what_cannot_work_is_said(self):
        self.ends([], "ssl_chain_cert")
        self.ends(["-o", f"ssl_chain_cert={self.cert},ssl_verify_mode=2"], "ssl_ca_cert")

    def test_a_key_in_the_file_of_the_certificate(self):
        both = self.authority.path("both.pem")
        with open(both, "wb") as out:
            for path in (self.cert, self.key):
                with open(path, "rb") as part:
                    out.write(part.read())
        os.chmod(both, 0o644)
        self.cert, self.key = both, both
        self.start_tls()
        self.assertTrue(self.speaks(self.tls()))


class WatchTest(TlsTest):
    def watch(self):
        watcher = self.tls()
        self.assertEqual(watcher.ask(b"watch connevents\r\n"), b"OK")
        return watcher

    def hears(self, watcher, wanted):
        while not re.search(wanted, line := event_of(watcher)):
            self.assertNotEqual(line, b"closed")

    def test_a_watcher_over_tls_hears_of_others(self):
        server = self.start_tls()
        watcher = self.watch()
        for wire in (self.tls(), self.wire(server)):
            rport = wire.sock.getsockname()[1]
            self.hears(watcher, b"type=conn_new rip=127.0.0.1 rport=%d transport=tcp cfd=" % rport)

    @ours_only("its words are OpenSSL's and differ")
    def test_a_failed_handshake_is_heard_of(self):
        self.start_tls()
        watcher = self.watch()
        with socket.create_connection(("127.0.0.1", self.tls_port), 20) as sock:
            sock.sendall(b"version\r\n" * 10)
            self.hears(watcher, rb"type=conntlserr fd=\d+ msg=wrong version number$")
            self.hears(watcher, rb"type=conn_close rip=127.0.0.1 .* reason=error")
        with self.assertRaises(ssl.SSLError):
            self.tls(ssl.create_default_context())  # trusts somebody else
        self.hears(watcher, rb"type=conntlserr fd=\d+ msg=.*unknown ca$")
