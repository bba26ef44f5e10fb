"""UDP: memcached's frame, replies of many datagrams, and what a server must not let itself be used for."""

import os
import socket
import struct

from harness import settings
from harness.case import SystemTest, ours_only
from harness.server import as_user, is_reference, run_to_end

HEADER = struct.Struct(">HHHH")
PATIENCE = 5


class Udp:
    """A client on one UDP socket."""

    def __init__(self, port, own_port=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", own_port))
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE)
        self.next_id = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, payload, header=None):
        self.next_id += 1
        self.socket.send((header or HEADER.pack(self.next_id, 0, 1, 0)) + payload)
        return self.next_id

    def ask(self, payload):
        """The whole reply; its datagrams may come in any order."""
        wanted, pieces, total = self.send(payload), {}, None
        while total is None or len(pieces) < total:
            datagram = self.socket.recv(65536)
            request, sequence, total, reserved = HEADER.unpack(datagram[:8])
            assert request == wanted and reserved == 0, datagram[:8]
            assert len(datagram) <= 1400
            pieces[sequence] = datagram[8:]
        assert all(len(pieces[i]) == 1392 for i in range(total - 1))
        return b"".join(pieces[i] for i in range(total))

    def is_silent_until_asked(self):
        """True when nothing comes before the reply to a question put now."""
        return self.ask(b"version\r\n").startswith(b"VERSION ")


class UdpTest(SystemTest):
    def serve(self, *options):
        server = self.start("-U", "-1", *options)
        return server, server.ports["UDP INET"][0]

    def test_off_by_default(self):
        server = self.start()
        self.assertNotIn("UDP INET", server.ports)
        self.assertEqual(self.wire(server).stat("udpport", b"settings"), 0)

    def test_commands_in_one_datagram_each(self):
        _, port = self.serve()
        with Udp(port) as udp:
            self.assertEqual(udp.ask(b"set a 5 0 3\r\nabc\r\n"), b"STORED\r\n")
            self.assertEqual(udp.ask(b"get a b\r\n"), b"VALUE a 5 3\r\nabc\r\nEND\r\n")
            self.assertEqual(udp.ask(b"incr a 1\r\nget a\r\ndelete a\r\n")[-9:], b"DELETED\r\n")

    def test_a_long_reply_is_split(self):
        _, port = self.serve("-o", "udp_reply_limit=1m")
        value = bytes(range(256)) * 400
        with Udp(port) as udp:
            self.assertEqual(udp.ask(b"set a 0 0 30000\r\n" + value[:30000] + b"\r\n"), b"STORED\r\n")
            self.assertEqual(udp.ask(b"get a a\r\n").count(value[:30000]), 2)

    @ours_only("memcached sends any reply, whoever asked")
    def test_a_datagram_cannot_make_the_server_say_more_than_the_limit(self):
        _, port = self.serve("-o", "udp_reply_limit=20000")
        with Udp(port) as udp:
            udp.ask(b"set a 0 0 9000\r\n" + b"x" * 9000 + b"\r\n")
            self.assertEqual(len(udp.ask(b"get a\r\n")), 9000 + len(b"VALUE a 0 9000\r\n\r\nEND\r\n"))
            self.assertEqual(udp.ask(b"get" + b" a" * 500 + b"\r\n"), b"SERVER_ERROR reply too large for UDP\r\n")
            self.assertEqual(udp.ask(b"get b\r\n"), b"END\r\n")

    @ours_only("memcached does what it is told by anybody")
    def test_a_datagram_cannot_stop_watch_or_dump_the_server(self):
        _, port = self.serve("-A", "-o", "debug_commands")
        with Udp(port) as udp:
            self.assertEqual(udp.ask(b"shutdown\r\n"), b"SERVER_ERROR: shutdown not enabled\r\n")
            self.assertEqual(udp.ask(b"watch\r\n"), b"CLIENT_ERROR watch commands not allowed\r\n")
            self.assertEqual(udp.ask(b"lru_crawler metadump all\r\n"), b"ERROR metadump not allowed\r\n")
            self.assertEqual(udp.ask(b"debugtime 100\r\n"), b"ERROR\r\n")
            self.assertTrue(udp.is_silent_until_asked())

    def test_what_is_no_request_gets_silence(self):
        _, port = self.serve()
        with Udp(port) as udp:
            udp.send(b"")
            udp.send(b"get a\r\n", HEADER.pack(9, 0, 2, 0))
            udp.send(b"", b"1234")
            udp.send(b"get a")  # never finished
            self.assertTrue(udp.is_silent_until_asked())

    @ours_only("memcached answers its own kind, for ever")
    def test_a_server_does_not_answer_a_servers_port(self):
        server = self.start("-U", "-1", "-l", "127.0.0.1")
        port = server.ports["UDP INET"][0]
        # Another address of the loopback, from the very port that the server has.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as twin:
            twin.bind(("127.0.0.2", port))
            twin.sendto(HEADER.pack(1, 0, 1, 0) + b"bogus\r\n", ("127.0.0.1", port))
            with Udp(port) as udp:
                for _ in range(8):  # whichever worker had it, it is done by now
                    self.assertTrue(udp.is_silent_until_asked())
            twin.setblocking(False)
            with self.assertRaises(BlockingIOError):
                twin.recv(65536)

    def test_two_listeners_of_one_host_have_each_their_udp_port(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))  # -U does not count where the addresses have ports of their own
            argv = ("-U", str(taken.getsockname()[1]), "-l", "127.0.0.1:0,127.0.0.1:0", *as_user(()))
            server = self.start(argv=argv)
        self.assertEqual(len(server.ports["UDP INET"]), 2)
        with Udp(server.ports["UDP INET"][0]) as one, Udp(server.ports["UDP INET"][1]) as other:
            self.assertEqual(one.ask(b"set a 0 0 1\r\nx\r\n"), b"STORED\r\n")
            self.assertEqual(other.ask(b"get a\r\n"), b"VALUE a 0 1\r\nx\r\nEND\r\n")

    def test_a_port_in_use_is_refused(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            where = ("-l", "127.0.0.1", "-p", "0", "-U", str(port))
            code, text = run_to_end(*where, *as_user(where))
        self.assertEqual(code, 71)
        self.assertIn(f"UDP port {port}", text)
        if not is_reference(settings.server):
            self.assertRegex(text, f"Address already in use by .*, pid {os.getpid()}")

    def test_stats_know_the_port(self):
        _, port = self.serve()
        with Udp(port) as udp:
            self.assertIn(b"STAT udpport %d\r\n" % port, udp.ask(b"stats settings\r\n"))
