"""The commands that stop a server and move its clock, where they are allowed."""

from harness.case import SystemTest, ours_only


class ShutdownTest(SystemTest):
    def test_shutdown_ends_the_process(self):
        server = self.start("-A")
        wire = self.wire(server)
        wire.send(b"shutdown\r\n")
        self.assertEqual(wire.until_close(), b"")
        server.wait()
        self.assertEqual(server.exit_code, 0)

    def test_a_graceful_shutdown_does_too(self):
        server = self.start("-A")
        wire = self.wire(server)
        self.assertEqual(wire.ask(b"shutdown now\r\n"), b"CLIENT_ERROR invalid shutdown mode")
        wire.send(b"shutdown graceful\r\n")
        self.assertEqual(wire.until_close(), b"")
        server.wait()
        self.assertEqual(server.exit_code, 0)

    @ours_only("1.6.18 has another text")
    def test_it_is_off_by_default(self):
        wire = self.wire(self.start())
        self.assertEqual(wire.ask(b"shutdown\r\n"), b"SERVER_ERROR: shutdown not enabled")
        self.assertEqual(wire.ask(b"debugtime 1\r\n"), b"ERROR")

    @ours_only("memcached has it in its debug binary only")
    def test_debugtime_moves_the_clock(self):
        wire = self.wire(self.start("-o", "debug_commands"))
        self.assertEqual(wire.set(b"k", b"v", exptime=100), b"STORED")
        self.assertEqual(wire.ask(b"debugtime p\r\n"), b"OK")
        self.assertEqual(wire.ask(b"debugtime 99\r\n"), b"OK")
        self.assertEqual(len(wire.get(b"k")), 1)
        self.assertEqual(wire.ask(b"debugtime 1\r\n"), b"OK")
        self.assertEqual(wire.get(b"k"), {})
        self.assertEqual(wire.ask(b"debugtime r\r\n"), b"OK")
