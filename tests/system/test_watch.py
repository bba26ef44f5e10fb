"""watch: the lines of Debian's memcached for the same requests, its limits, and watchers that misbehave."""

import os
import re
import shutil
import socket
import tempfile

from harness import binary
from harness.case import SystemTest, need_reference, ours_only
from harness.server import poll

# Requests whose events are the same in 1.6.18.
REQUESTS = [
    b"get a\r\n",
    b"set a 0 0 3\r\nabc\r\n",
    b"get a\r\n",
    b"gets a b\r\n",
    b"gat 10 a\r\n",
    b"touch a 20\r\n",
    b"add a 0 0 1\r\nx\r\n",
    b"replace a 0 100 1\r\n5\r\n",
    b"incr a 5\r\n",
    b"append b 0 0 1\r\n1\r\n",
    b"prepend b 0 0 1\r\n1\r\n",
    b"cas a 0 0 1 77777777\r\n1\r\n",
    b"cas zz 0 0 1 77\r\n1\r\n",
    b"delete a\r\n",
    b"delete a\r\n",
    b"set a%b&c=\xc3\xa9 0 -1 1\r\n1\r\n",
    b"get a%b&c=\xc3\xa9\r\n",
    b"set last 0 0 1\r\n1\r\n",
    b"append last 0 0 3\r\n234\r\n",
    b"get last\r\n",
]


def evened(line):
    """Without what is by chance, or differs on purpose: the time, the number, classes, a time to live that is over."""
    line = re.sub(rb"^ts=\d+\.\d+ gid=\d+ ", b"", line)
    line = re.sub(rb"(rport|cfd|clsid)=\d+", rb"\1=N", line)
    return re.sub(rb"ttl=(-1|429496\d+)", b"ttl=over", line)


def event_of(wire):
    """The next line; events end with a bare \\n."""
    while (end := wire.buffer.find(b"\n")) < 0:
        wire.buffer += wire.sock.recv(1 << 18) or b"closed\n"
    line = bytes(wire.buffer[:end])
    del wire.buffer[: end + 1]
    return line


class WatchTest(SystemTest):
    def watcher(self, server, *streams):
        wire = self.wire(server)
        wire.send(b" ".join([b"watch", *streams]) + b"\r\n")
        self.assertEqual(wire.line(), b"OK")
        return wire

    def lines_until(self, watcher, end, most=200):
        lines = []
        for _ in range(most):
            lines.append(event_of(watcher))
            if end in lines[-1]:
                return lines
        raise AssertionError(f"no line with {end!r}: {lines[-3:]}")

    def heard(self, server, *streams):
        """What a watcher hears of REQUESTS."""
        watcher = self.watcher(server, *streams)
        client = self.wire(server)
        for request in REQUESTS:
            client.ask(request)
        client.ask(b"get the-end\r\n")
        return self.lines_until(watcher, b"the-end")

    def test_the_lines_are_memcacheds(self):
        reference = need_reference()
        streams = [b"fetchers", b"mutations"]
        # Those behind the requests may be faster than the one that finds an item expired.
        alone = ["-o", "no_lru_crawler,no_lru_maintainer"]
        ours = self.heard(self.start(*alone), *streams)
        theirs = self.heard(self.start(*alone, binary=reference), *streams)
        self.assertEqual([evened(line) for line in ours], [evened(line) for line in theirs])

    @ours_only("1.6.18 has no stream of deletions")
    def test_deletions(self):
        server = self.start()
        watcher = self.watcher(server, b"deletions")
        client = self.wire(server)
        client.set(b"a\tb", b"abc")
        client.send(b"delete a\tb\r\ndelete nothing\r\n")
        self.assertRegex(event_of(watcher), rb"^ts=\d+\.\d{6} gid=\d+ type=deleted key=a%09b cmd=delete clsid=\d+ size=3$")

    def test_evictions(self):
        server = self.start("-m", "8", "-I", "1m")
        watcher = self.watcher(server, b"evictions")
        client = self.wire(server)
        for i in range(60):
            client.set(b"k%d" % i, b"x" * 300_000, exptime=i % 2 * 100)
        self.assertRegex(event_of(watcher), rb" type=eviction key=k\d+ fetch=no ttl=(-1|100) la=0 clsid=\d+ size=300000$")

    def test_connections_come_and_go(self):
        server = self.start()
        watcher = self.watcher(server, b"connevents")
        with socket.create_connection(server.address) as sock:
            port = sock.getsockname()[1]
            sock.sendall(b"quit\r\n")
            sock.recv(10)
        lines = self.lines_until(watcher, b"type=conn_close rip=127.0.0.1 rport=%d transport=tcp reason=normal cfd=" % port)
        self.assertTrue(any(b"type=conn_new rip=127.0.0.1 rport=%d transport=tcp cfd=" % port in line for line in lines))

    def test_a_client_of_a_unix_socket_is_local(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        server = self.start(unix=os.path.join(folder, "socket"))
        watcher = self.watcher(server, b"connevents")
        self.wire(server).ask(b"version\r\n")
        # Whoever came before the watcher may still be seen to go.
        line = self.lines_until(watcher, b"type=conn_new")[-1]
        self.assertRegex(line, rb" type=conn_new rip=\S* ?rport=0 transport=local cfd=\d+$")

    @ours_only("memcached looks for idle clients every few seconds only")
    def test_an_idle_client_is_seen_to_go_but_a_watcher_stays(self):
        server = self.start("-o", "idle_timeout=1")
        watcher = self.watcher(server, b"connevents")
        idle = self.wire(server)
        idle.ask(b"version\r\n")
        self.lines_until(watcher, b"reason=idle_timeout")
        self.wire(server).ask(b"version\r\n")
        self.lines_until(watcher, b"type=conn_new")  # it is told still

    def test_too_many_watchers(self):
        server = self.start()
        watchers = [self.watcher(server) for _ in range(20)]
        refused = self.wire(server)
        refused.send(b"watch\r\n")
        self.assertEqual(refused.line(), b"WATCHER_TOO_MANY log watcher limit reached")
        watchers[7].close()

        def has_place():
            wire = self.wire(server)
            wire.send(b"watch\r\n")
            return wire.line() == b"OK"

        # memcached sees that a watcher left only when it writes to it.
        client = self.wire(server)
        poll(lambda: client.ask(b"get a\r\n") and has_place(), what="a place for a watcher")

    def test_watching_is_refused(self):
        wire = self.wire(self.start("-W"))
        wire.send(b"watch\r\n")
        self.assertEqual(wire.line(), b"CLIENT_ERROR watch commands not allowed")
        wire = self.wire(self.start())
        wire.send(b"watch bogus\r\n")
        self.assertEqual(wire.line(), b"ERROR")
        wire.send(b"version\r\nwatch\r\n")
        wire.line()
        self.assertEqual(wire.line(), b"ERROR cannot pipeline other commands before watch")

    @ours_only("bounds of larder's")
    def test_a_watcher_that_does_not_read_costs_nobody_else_anything(self):
        server = self.start("-o", "watcher_logbuf_size=64")
        deaf = self.watcher(server, b"fetchers", b"mutations", b"rawcmds")
        client = self.wire(server)
        key = b"k" * 240
        burst = b"".join(b"get %s%d\r\n" % (key, i) for i in range(200))
        before = server.rss_bytes()

        def lost():
            client.send(burst)
            for _ in range(200):
                client.line()
            stats = dict(client.stats())
            return int(stats["log_watcher_skipped"]) > 0

        poll(lost, 60, "lines that a deaf watcher loses")
        self.assertLess(server.rss_bytes() - before, 8 << 20)
        found = self.lines_until(deaf, b"skipped=", most=1_000_000)
        self.assertRegex(found[-1], rb"^skipped=\d+$")
        deaf.close()
        poll(lambda: client.stat("log_watchers") == 0, what="the watcher to be gone")

    @ours_only("memcached only takes the word")
    def test_raw_commands(self):
        server = self.start()
        watcher = self.watcher(server, b"rawcmds")
        client = self.wire(server)
        client.ask(b"set a 0 0 3\r\nabc\r\nbogus \x01 line\r\n")
        self.assertRegex(event_of(watcher), rb" type=raw_command cfd=\d+ line=set%20a%200%200%203$")
        self.assertRegex(event_of(watcher), rb" type=raw_command cfd=\d+ line=bogus%20%01%20line$")

    @ours_only("memcached only takes the word")
    def test_raw_commands_of_the_binary_protocol(self):
        server = self.start()
        watcher = self.watcher(server, b"rawcmds")
        sock = server.connect()
        self.addCleanup(sock.close)
        sock.sendall(binary.store(0x01, b"a b", b"secret") + binary.request(0x42) + binary.request(0x0A))
        for said in (rb"binary%20set%20a%20b%206", rb"binary%200x0042", rb"binary%20noop"):
            self.assertRegex(event_of(watcher), rb" type=raw_command cfd=\d+ line=" + said + rb"$")

    def test_stopping_closes_watchers(self):
        server = self.start()
        watcher = self.watcher(server)
        server.stop(seconds=server.within(5))
        watcher.until_close()
