"""Sockets that come from outside, as systemd's socket activation hands them over."""

import os
import shutil
import socket
import subprocess
import tempfile

from harness import settings
from harness.activation import launcher
from harness.case import SystemTest, ours_only
from harness.certificates import authority
from harness.server import as_user
from harness.wire import Wire
from system.test_udp import Udp


class InheritedTest(SystemTest):
    @ours_only("memcached binds its sockets itself")
    def setUp(self):
        super().setUp()

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, where=("127.0.0.1", 0), listen=True):
        sock = socket.socket(family, kind)
        self.addCleanup(sock.close)
        sock.bind(where)
        if listen and kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def serve(self, sockets, *argv, names="", **options):
        words, descriptors = launcher(sockets, names)
        return self.start(argv=[*as_user(argv), "-t", "2", *argv], launcher=words, pass_fds=descriptors, **options)

    def speaks(self, sock):
        sock.settimeout(20)
        with Wire(sock) as wire:
            return wire.ask(b"version\r\n").startswith(b"VERSION ")

    def refused(self, sockets, *argv, names="", env=None):
        words, descriptors = launcher(sockets, names)
        run = subprocess.run([*words, settings.server, *as_user(argv), *argv], capture_output=True, timeout=20,
                             pass_fds=descriptors, env={**os.environ, **(env or {})}, check=False)
        self.assertEqual(run.returncode, 64, run.stderr)
        return run.stderr.decode()


class ServedTest(InheritedTest):
    def test_every_kind_is_served_and_named(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "socket")
        tcp, tcp6 = self.socket(), self.socket(socket.AF_INET6, where=("::1", 0))
        unix = self.socket(socket.AF_UNIX, where=path)
        udp = self.socket(kind=socket.SOCK_DGRAM)
        ports = [one.getsockname()[1] for one in (tcp, tcp6, udp)]
        # -l, -p and -s are of no effect: that port could not be had.
        taken = self.socket()
        server = self.serve([tcp, tcp6, unix, udp], "-l", "127.0.0.1", "-p", str(taken.getsockname()[1]))
        self.assertEqual(server.ports, {"TCP INET": ports[:1], "TCP INET6": ports[1:2], "UDP INET": ports[2:]})
        self.assertTrue(self.speaks(server.connect()))
        self.assertTrue(self.speaks(socket.create_connection(("::1", ports[1]), 20)))
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        self.assertTrue(self.speaks(client))
        with Udp(ports[2]) as datagrams:
            for i in range(20):  # two workers share the socket
                self.assertEqual(datagrams.ask(b"set a 0 0 2\r\n%02d\r\n" % i), b"STORED\r\n")
                self.assertEqual(datagrams.ask(b"get a\r\n"), b"VALUE a 0 2\r\n%02d\r\nEND\r\n" % i)

        names = [f"tcp:127.0.0.1:{ports[0]}", f"tcp6:[::1]:{ports[1]}", f"unix:{path}", f"udp:127.0.0.1:{ports[2]}"]
        wire = self.wire(server)
        conns = dict(wire.stats(b"conns"))
        listening = [conns[f"{fd}:addr"] for fd in (3, 4, 5)]
        self.assertEqual(listening, names[:3])
        self.assertIn(names[3], conns.values())
        found = dict(wire.stats(b"settings"))
        self.assertEqual((found["tcpport"], found["udpport"], found["domain_socket"], found["inter"]),
                         (str(ports[0]), str(ports[2]), path, "NULL"))
        text = server.stderr()
        self.assertIn("listens on " + ", ".join(names), text)
        self.assertIn("-l, -s: of no effect, the sockets come from LISTEN_FDS", text)

    def test_they_do_not_block_and_go_to_nobody_else(self):
        sock = self.socket()
        server = self.serve([sock])
        with open(f"/proc/{server.pid}/fdinfo/3", encoding="ascii") as info:
            flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
        self.assertTrue(flags & os.O_NONBLOCK and flags & os.O_CLOEXEC, oct(flags))

    def test_a_client_that_came_before_the_server_is_served(self):
        sock = self.socket()
        early = socket.create_connection(sock.getsockname(), 20)
        early.sendall(b"version\r\n")
        self.serve([sock])
        self.assertTrue(self.speaks(early))

    def test_an_abstract_unix_socket(self):
        name = f"\0larder-test-{os.getpid()}-{id(self)}"
        unix = self.socket(socket.AF_UNIX, where=name)
        server = self.serve([self.socket(), unix])
        client = socket.socket(socket.AF_UNIX)
        client.connect(name)
        self.assertTrue(self.speaks(client))
        self.assertIn("unix:@" + name[1:], server.stderr())

    def test_names_choose_tls_and_protocols(self):
        ca = authority("larder test CA")
        cert, key = ca.issue("server")
        plain, ascii_only, secure = self.socket(), self.socket(), self.socket()
        server = self.serve([plain, ascii_only, secure], "-Z", "-o", f"ssl_chain_cert={cert},ssl_key={key}",
                            names="notls:notls,ascii:larder.socket")
        self.assertTrue(self.speaks(server.connect()))
        magic = b"\x80" + bytes(23)
        with socket.create_connection(plain.getsockname(), 20) as sock:
            sock.sendall(magic)
            self.assertEqual(sock.recv(1), b"\x81")  # the binary protocol's answer
        with socket.create_connection(ascii_only.getsockname(), 20) as sock:
            sock.sendall(magic + b"\r\n")
            self.assertEqual(sock.recv(5), b"ERROR")
        raw = socket.create_connection(secure.getsockname(), 20)
        self.assertTrue(self.speaks(ca.context().wrap_socket(raw, server_hostname="127.0.0.1")))

    def test_variables_of_another_process_are_not_heard(self):
        server = self.start(env={"LISTEN_PID": "1", "LISTEN_FDS": "7"})
        self.assertTrue(self.speaks(server.connect()))


class RefusedTest(InheritedTest):
    def test_counts_and_names_that_make_no_sense(self):
        for count in ("0", "-1", "many", "3000000000", ""):
            with self.subTest(count):
                self.assertIn("LISTEN_FDS: '" + count, self.refused([self.socket()], env={"LISTEN_FDS": count}))
        self.assertIn("2 names for 1 sockets", self.refused([self.socket()], names="a:b"))
        self.assertIn("descriptor 4: Bad file descriptor", self.refused([self.socket()], env={"LISTEN_FDS": "2"}))

    def test_what_cannot_be_served(self):
        with open("/dev/null", "rb") as file:
            self.assertIn("descriptor 3 (null): it is no socket", self.refused([file], names="null"))
        self.assertIn("it does not listen", self.refused([self.socket(listen=False)]))
        pair = socket.socketpair()
        for one in pair:
            self.addCleanup(one.close)
        self.assertIn("it does not listen", self.refused([self.socket(), pair[0]]))
        ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for one in ours:
            self.addCleanup(one.close)
        self.assertIn("no TCP, UDP or unix stream", self.refused([ours[0]]))

    def test_rules_of_the_flags_hold(self):
        udp = self.socket(kind=socket.SOCK_DGRAM)
        self.assertIn("Cannot enable UDP while using binary SASL", self.refused([self.socket(), udp], "-S"))
        self.assertIn("Cannot use UDP with ascii auth", self.refused([self.socket(), udp], "-Y", "/dev/null"))
        self.assertIn("cannot allow the ASCII protocol", self.refused([self.socket()], "-S", names="ascii"))
        self.assertIn("it needs -Z", self.refused([self.socket()], names="mtls"))
