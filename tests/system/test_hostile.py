"""Slow and hostile clients cost only themselves: the others' time and memory stay what they were."""

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time

from harness.case import SystemTest, ours_only
from harness.server import poll
from system.test_memory import MIB, fill, in_threads

# What an empty server takes beside -m, and one connection; see docs/MEMORY.md.
FIXED_BYTES = 6 * MIB
CONNECTION_BYTES = 400


def larder_stat(wire, name):
    return wire.stat(name, b"larder")


class Healthy(threading.Thread):
    """A client that only wants to be served, and measures how long each request takes."""

    def __init__(self, server):
        super().__init__()
        self.wire = server.wire(30)
        self.times = []
        self.ended = threading.Event()
        self.error = None

    def run(self):
        try:
            self.wire.set(b"healthy", b"h" * 100)
            while not self.ended.is_set():
                began = time.monotonic()
                found = self.wire.get(b"healthy")
                self.times.append(time.monotonic() - began)
                # It may be evicted, but not be wrong.
                if found.get(b"healthy", b"h" * 100) != b"h" * 100:
                    raise AssertionError(found)
                time.sleep(0.0005)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def p99(self):
        return sorted(self.times)[len(self.times) * 99 // 100]


class HostileTest(SystemTest):
    @contextlib.contextmanager
    def healthy_beside(self, server, p99_seconds=None):
        """A healthy client runs beside the body; its 99th percentile is compared with that of the time before."""

        def measured(body):
            client = Healthy(server)
            client.start()
            try:
                body()
            finally:
                client.ended.set()
                client.join()
                client.wire.close()
            if client.error:
                raise client.error
            return client

        usual = measured(lambda: time.sleep(0.5)).p99()
        client = Healthy(server)
        client.start()
        try:
            yield client
            time.sleep(0.5)  # also while the others are there and do nothing
        finally:
            client.ended.set()
            client.join()
            client.wire.close()
        if client.error:
            raise client.error
        # Twice is the promise.  The hostile clients and this one share two cores with the server, so what a
        # scheduler's turn costs is allowed on top; a server that waits for them would wait for seconds.
        allowed = p99_seconds if p99_seconds is not None else 2 * usual + 0.05
        if not server.is_sanitized():
            self.assertLess(client.p99(), allowed, f"usual {usual * 1000:.2f} ms")

    def start_on_a_path(self, *args):
        """A server on a unix socket: there the kernel takes 200 KB of what a client does not read, not megabytes."""
        directory = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return self.start(*args, unix=os.path.join(directory, "socket"))

    def connect(self, server):
        sock = server.connect(20)
        self.addCleanup(sock.close)
        return sock

    def send_what_goes(self, socks, data):
        """Sends to all as far as the server takes it; returns those it has not closed."""
        alive = {}
        for sock in socks:
            sock.setblocking(False)
            alive[sock] = 0
        last_move = time.monotonic()
        while alive and time.monotonic() - last_move < 0.3:
            for sock, at in list(alive.items()):
                if at == len(data):
                    continue
                try:
                    alive[sock] = at + sock.send(data[at:])
                    last_move = time.monotonic()
                except BlockingIOError:
                    pass
                except (ConnectionResetError, BrokenPipeError):
                    del alive[sock]
            time.sleep(0.01)
        return list(alive)


def is_closed(sock):
    """Whether the other side has closed, whatever is still to be read."""
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poller.poll(0))


class OneLimitTest(HostileTest):
    """What clients hold is taken from -m."""

    def deaf(self, server, count, request, repeat):
        socks = [self.connect(server) for _ in range(count)]
        self.send_what_goes(socks, request * repeat)
        return socks

    @ours_only("memcached's buffers are outside of -m")
    def test_two_thousand_clients_that_never_read_and_a_full_cache(self):
        clients, limit = 2000, 64 * MIB
        server = self.start_on_a_path("-m", "64", "-c", "4096", "-t", "2")
        sanitized = server.is_sanitized()
        wire = self.wire(server)
        self.assertEqual(fill(wire, b"full", 4000, 20_000), [])
        self.assertGreater(wire.stat("evictions"), 0)
        pages = larder_stat(wire, "page_bytes")
        bound = limit * 1.05 + 32 * MIB + FIXED_BYTES + clients * CONNECTION_BYTES
        worst = 0
        socks = []
        with self.healthy_beside(server, p99_seconds=0.2):
            for part in range(4):
                self.assertEqual(wire.set(b"k", b"x" * 4000), b"STORED")
                socks += self.deaf(server, clients // 4, b"get" + b" k" * 32 + b"\r\n", 10)
                worst = max(worst, server.rss_bytes())
                self.assertEqual(fill(wire, b"more%d-" % part, 3000, 3000), [])  # the cache goes on
                worst = max(worst, server.rss_bytes())
        if not sanitized:
            self.assertLess(worst, bound, f"RSS {worst / MIB:.0f} MiB of {bound / MIB:.0f}")
        # The charge is told, bounded, and taken from the pages.
        stuck_limit = larder_stat(wire, "stuck_client_limit")
        self.assertEqual(stuck_limit, limit // 4)
        stuck = larder_stat(wire, "stuck_client_bytes")
        self.assertGreater(stuck, stuck_limit // 2)
        self.assertLess(stuck, stuck_limit + 2 * (512 << 10))
        self.assertGreaterEqual(larder_stat(wire, "client_bytes"), stuck)
        poll(lambda: larder_stat(wire, "page_bytes") < pages - stuck + 4 * MIB, 10, "pages given back")
        # Those that stood still for longest had to go.
        dropped = larder_stat(wire, "stuck_clients_dropped")
        self.assertGreater(dropped, clients // 2)
        gone = [is_closed(sock) for sock in socks]
        self.assertGreater(sum(gone[: clients // 4]), sum(gone[-clients // 4 :]))
        for sock in socks:
            sock.close()
        poll(lambda: larder_stat(wire, "stuck_client_bytes") == 0, 10, "the charge gone")
        poll(lambda: wire.stat("curr_connections") <= 2, 10, "connections forgotten")
        self.assertEqual(fill(wire, b"again", 4000, 20_000), [])
        self.assertGreater(larder_stat(wire, "page_bytes"), pages - 2 * MIB)

    @ours_only("memcached lets such clients pin the whole cache")
    def test_values_pinned_by_clients_that_do_not_read_leave_room_for_others(self):
        server = self.start_on_a_path("-m", "64", "-t", "2", "-c", "1024")
        wire = self.wire(server)
        for index in range(40):
            self.assertEqual(wire.set(b"large%d" % index, b"x" * 1_000_000), b"STORED")
        socks = []
        for index in range(40):
            for _ in range(3):
                sock = self.connect(server)
                sock.sendall(b"get large%d\r\n" % index)
                socks.append(sock)
        poll(lambda: larder_stat(wire, "stuck_client_pinned_bytes") > 8 * MIB, 10, "pins")
        with self.healthy_beside(server):
            for index in range(80):
                self.assertEqual(wire.set(b"new%d" % index, b"y" * 1_000_000), b"STORED")
        self.assertLess(larder_stat(wire, "stuck_client_pinned_bytes"), 16 * MIB + 4_000_000)
        self.assertGreater(larder_stat(wire, "stuck_clients_dropped"), 0)
        self.assertEqual(wire.stat("store_no_memory"), 0)

    @ours_only("a promise of larder's")
    def test_a_slow_reader_of_a_large_value_holds_its_pin_and_little_else(self):
        server = self.start_on_a_path("-m", "64", "-t", "2")
        wire = self.wire(server)
        value = os.urandom(1_000_000)
        self.assertEqual(wire.set(b"k", value), b"STORED")
        slow = [self.connect(server) for _ in range(200)]
        for sock in slow:
            sock.sendall(b"get k\r\n")
        poll(lambda: larder_stat(wire, "stuck_client_pinned_bytes") == len(value), 10, "one value pinned")
        poll(lambda: larder_stat(wire, "stuck_client_bytes") < 200 * 8192, 10, "buffers given back")
        self.assertEqual(wire.ask(b"delete k\r\n"), b"DELETED")
        answer = b"VALUE k 0 1000000\r\n" + value + b"\r\nEND\r\n"
        for sock in slow[::20]:
            got = bytearray()
            while len(got) < len(answer):
                got += sock.recv(1 << 16)
            self.assertEqual(bytes(got), answer)
        self.assertEqual(larder_stat(wire, "stuck_clients_dropped"), 0)
        for sock in slow:
            sock.close()
        poll(lambda: larder_stat(wire, "stuck_client_pinned_bytes") == 0, 10, "no pin left")

    @ours_only("memcached answers differently")
    def test_a_large_upload_that_cannot_fit_is_told_before_its_bytes(self):
        server = self.start("-m", "16", "-M")
        wire = self.wire(server)
        self.assertTrue(fill(wire, b"k", 60_000, 400))
        wire.send(b"set late 0 0 900000\r\n" + b"v" * 900_000 + b"\r\n")
        self.assertEqual(wire.line(), b"SERVER_ERROR out of memory storing object")
        self.assertTrue(wire.ask(b"version\r\n").startswith(b"VERSION"))
