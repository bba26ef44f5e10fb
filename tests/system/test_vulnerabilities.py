"""The classes of memcached's published vulnerabilities, against a real server: it answers, and goes on.

In-process and more thoroughly: tests/protocol/binary_attack_test.cc (CVE-2009-1255, -2011-4971, -2016-8704 to 8706,
-2020-10931), login_test.cc (CVE-2013-7239), tests/server/auth_test.cc (CVE-2021-37519); amplification by UDP
(CVE-2018-1000115) is test_udp.py's, races of every kind are test_linearizability.py's.
"""

import os
import shutil
import socket
import struct
import tempfile

from harness.case import SystemTest, ours_only
from harness.server import Server
from system.test_memory import in_threads

KEY_LIMIT = 250
LENGTHS = (b"-1", b"-2147483648", b"2147483647", b"2147483648", b"4294967295", b"4294967296", b"9223372036854775807",
           b"9223372036854775808", b"18446744073709551615", b"18446744073709551616", b"9" * 200)


class TextTest(SystemTest):
    def setUp(self):
        self.server = self.start("-t", "2", "-m", "64")
        self.control = self.wire(self.server)

    def survives(self):
        self.assertEqual(self.control.set(b"alive", b"yes"), b"STORED")
        self.assertEqual(self.control.get(b"alive"), {b"alive": b"yes"})

    def answers(self, request):
        """What one connection is answered to a request, and to a version behind it if it is not closed."""
        with self.server.wire(5) as wire:
            wire.send(request + b"version\r\n")
            wire.sock.shutdown(socket.SHUT_WR)
            return wire.until_close()

    def test_lengths_that_overflow(self):
        """Integer overflow of lengths (CVE-2016-8704 and after, in text): a size turned negative or small."""
        for verb in (b"set", b"add", b"append", b"prepend", b"cas"):
            tail = b" 1" if verb == b"cas" else b""
            for length in LENGTHS:
                with self.subTest(verb=verb, length=length):
                    answer = self.answers(b"%s k 0 0 %s%s\r\nxx\r\n" % (verb, length, tail))
                    self.assertNotIn(b"STORED", answer.replace(b"NOT_STORED", b""))
        self.survives()
        self.assertEqual(self.control.get(b"k"), {})

    @ours_only("Debian's memcached knows fewer meta commands")
    def test_meta_commands_made_to_crash(self):
        """CVE-2020-22570: a crafted meta command ended the server; so did lengths and flags cut short."""
        for line in (b"mg", b"mg ", b"mg  v", b"ms", b"ms k", b"ms k S", b"ms k -1", b"ms k S-1", b"md", b"ma", b"me",
                     b"mn x", b"mg k " + b"v " * 200, b"mg k O" + b"o" * 1000, b"mg k N", b"mg k T", b"mg k R",
                     b"ms k 2 T-99999999999999999999", b"ma k D" + b"9" * 40, b"ma k N J", b"me k b", b"mg = b",
                     b"mg " + b"A" * 251 + b" b", b"mg k b" + b"\x00" * 20, b"me " + b"k" * 300):
            with self.subTest(line):
                self.answers(line + b"\r\n")
        for length in LENGTHS:
            with self.subTest(length):
                self.assertNotIn(b"HD", self.answers(b"ms k %s\r\nxx\r\n" % length))
        self.survives()

    def test_lru_commands_with_too_few_or_many_arguments(self):
        """CVE-2019-11596: `lru mode` and `lru temp_ttl` without an argument read through a null pointer."""
        for command in (b"lru", b"lru_crawler", b"slabs", b"watch", b"verbosity", b"cache_memlimit", b"flush_all",
                        b"stats", b"stats detail", b"stats reset", b"lru mode", b"lru temp_ttl", b"lru tune",
                        b"lru tune 10", b"lru tune 10 20", b"lru tune 10 20 0.1", b"slabs reassign", b"slabs automove",
                        b"slabs reassign 1", b"lru_crawler crawl", b"lru_crawler sleep", b"lru_crawler tocrawl",
                        b"lru_crawler metadump", b"stats cachedump", b"stats cachedump 1"):
            for more in (b"", b" ", b" a" * 3, b" 1" * 30, b" -1 -1 -1 -1", b" " + b"9" * 100):
                with self.subTest(command + more):
                    self.answers(command + more + b"\r\n")
        self.survives()

    def test_lines_of_blanks_and_without_a_carriage_return(self):
        """CVE-2023-46852 and -46853: many blanks behind a get, and \\n alone as the end (in memcached's proxy)."""
        self.assertEqual(self.control.set(b"k", b"v"), b"STORED")
        hit = b"VALUE k 0 1\r\nv\r\nEND\r\n"
        for blanks in (1, 7, 100, 1000, 1500):
            for end in (b"\n", b"\r\n"):
                with self.subTest(blanks=blanks, end=end):
                    self.assertTrue(self.answers(b"get" + b" " * blanks + b"k" + end).startswith(hit))
                    self.assertTrue(self.answers(b"get k" + b" " * blanks + end).startswith(hit))
                    self.answers(b"get" + b" " * blanks + end)
                    self.answers(b" " * blanks + end)
        self.survives()

    def test_keys_longer_than_any(self):
        """Missing bounds in the length of a key (CVE-2009-1255 and others)."""
        for size in (KEY_LIMIT, KEY_LIMIT + 1, 256, 1000, 2000):
            key = b"k" * size
            for request in (b"set %s 0 0 2\r\n11\r\n", b"get %s\r\n", b"gets a %s b\r\n", b"gat 0 %s\r\n",
                            b"incr %s 1\r\n", b"delete %s\r\n", b"touch %s 0\r\n", b"append %s 0 0 2\r\n11\r\n"):
                with self.subTest(size=size, request=request):
                    answer = self.answers(request % key)
                    self.assertEqual(b"ERROR" not in answer, size <= KEY_LIMIT, answer[:100])
        self.survives()

    def test_one_item_counted_appended_and_freed_by_many(self):
        """CVE-2018-1000127 and kin: incr and append on an item that others free; a reference count got lost."""
        value = b"1" * 20_000

        def work(index):
            with self.server.wire(30) as wire:
                for turn in range(150):
                    wire.send((b"set k 0 0 1\r\n1\r\n", b"append k 0 0 20000\r\n" + value + b"\r\n",
                               b"incr k 99999999999999\r\n", b"delete k\r\n", b"get k k\r\n", b"touch k 0\r\n",
                               b"set k 0 0 20000\r\n" + value + b"\r\n")[(index + turn) % 7] + b"version\r\n")
                    while not wire.line().startswith(b"VERSION"):
                        pass

        in_threads(8, work)
        self.control.ask(b"delete k\r\n")
        self.survives()
        self.assertEqual(self.control.stat("curr_items"), 1)

    def test_packets_of_the_published_exploits(self):
        """The bytes that were published for CVE-2011-4971, CVE-2016-8704 to -8706 and CVE-2020-10931."""
        header = struct.Struct(">BBHBBHIIQ")
        packets = {
            "CVE-2011-4971": header.pack(0x80, 0x12, 0x0001, 0x08, 0, 0, 0xFFFFFFE8, 0, 0),
            "CVE-2016-8704": header.pack(0x80, 0x19, 0x00FA, 0x00, 0, 0, 0x00000000, 0, 0),
            "CVE-2016-8705": header.pack(0x80, 0x11, 0x00FA, 0x08, 0, 0, 0x000000D0, 0, 0),
            "CVE-2016-8706": header.pack(0x80, 0x21, 0x0020, 0x00, 0, 0, 0x00000001, 0, 0),
            "CVE-2020-10931": header.pack(0x80, 0x00, 0x0000, 0xFF, 0, 0, 0x000000FF, 0, 0),
        }
        for name, packet in packets.items():
            for tail in (b"", b"A" * 50, b"A" * 1024):
                with self.subTest(name, tail=len(tail)):
                    with self.server.wire(5) as wire:
                        wire.send(packet + tail)
                        wire.sock.shutdown(socket.SHUT_WR)
                        answer = wire.until_close()
                    # At most error replies, never more than was asked for.
                    self.assertLess(len(answer), 100)
        self.survives()


class PlaceTest(SystemTest):
    def test_the_longest_path_of_a_unix_socket_is_shown_whole(self):
        """CVE-2019-15026: `stats conns` read beyond the address of a unix socket."""
        directory = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        longest = 107  # sun_path, less the NUL
        path = os.path.join(directory, "s" * (longest - len(directory) - 1))
        server = self.start(unix=path)
        wire = self.wire(server)
        shown = [value for name, value in wire.stats(b"conns") if name.endswith("addr")]
        self.assertTrue(shown)
        self.assertTrue(all(path.startswith(v.removeprefix("unix:")) for v in shown if v.startswith("unix:/")), shown)
        self.assertIn("unix:" + path, shown)

    def test_uploads_in_many_datagrams(self):
        """CVE-2022-48571: requests of more than one datagram ended the server; they are not read at all."""
        server = self.start("-U", "-1")
        port = server.ports["UDP INET"][0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(5)
            udp.connect(("127.0.0.1", port))
            for sequence, total in ((0, 2), (1, 2), (1, 1), (0, 0), (65535, 65535), (0, 65535), (65535, 1)):
                for payload in (b"", b"set k 0 0 3000\r\n" + b"x" * 1000, b"\r\n", b"\x80" + b"\xff" * 23):
                    udp.send(struct.pack(">HHHH", 7, sequence, total, 0) + payload)
            udp.send(struct.pack(">HHHH", 8, 0, 1, 0) + b"version\r\n")
            while True:  # some of those above may have been told of their error
                answer = udp.recv(65536)
                if answer[:2] == b"\0\x08":
                    break
            self.assertIn(b"VERSION", answer)
        self.assertEqual(self.wire(server).get(b"k"), {})

    @ours_only("Debian's memcached is older than the repair")
    def test_files_of_passwords_made_to_crash(self):
        """CVE-2021-37519: a file of passwords with a line longer than the buffer was written past it."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "users")
            for text in (b"", b"\n", b":", b"a", b"a:" + b"b" * 300_000, b"u" * 300_000, b"\n" * 10_000, b"\0" * 5000,
                         b"a:b\n" * 100_000):
                with self.subTest(text[:20]):
                    with open(path, "wb") as file:
                        file.write(text)
                    try:
                        Server("-Y", path).stop()
                    except RuntimeError as error:  # it refused the file: not by a signal, and with a word
                        self.assertRegex(str(error), r"ended with [1-9]\d*: \S")
                        self.assertNotIn("Sanitizer", str(error))
