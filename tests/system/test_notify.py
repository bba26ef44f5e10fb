"""What a service manager is told by NOTIFY_SOCKET, and what SIGHUP reads again."""

import os
import shutil
import signal
import tempfile
import time

from harness.case import SystemTest, ours_only
from harness.manager import Manager
from harness.server import Server, poll


class NotifyTest(SystemTest):
    @ours_only("memcached is no Type=notify")
    def setUp(self):
        super().setUp()

    def manager(self, **options):
        manager = Manager(**options)
        self.addCleanup(manager.close)
        return manager

    def test_a_whole_life(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                manager = self.manager(abstract=abstract)
                with Server(env=manager.env) as server:
                    ready = {"READY": "1", "STATUS": f"serves on tcp:127.0.0.1:{server.port}"}
                    self.assertEqual(manager.heard(), ready)
                    for _ in range(2):
                        before = time.monotonic_ns() // 1000
                        server.process.send_signal(signal.SIGHUP)
                        reloading = manager.heard()
                        self.assertEqual(reloading["RELOADING"], "1")
                        self.assertGreaterEqual(int(reloading["MONOTONIC_USEC"]), before)
                        self.assertEqual(manager.heard(), ready)
                    server.process.send_signal(signal.SIGTERM)
                    self.assertEqual(manager.heard(), {"STOPPING": "1", "STATUS": "stopping"})
                    self.assertEqual(server.wait(), 0)

    def test_it_serves_when_it_says_so(self):
        manager = self.manager()
        server = self.start(env=manager.env)
        self.assertEqual(manager.heard()["READY"], "1")
        server.connect().close()

    def test_the_shutdown_command_is_a_stop_too(self):
        manager = self.manager()
        with Server("-A", env=manager.env) as server:
            manager.heard()
            self.wire(server).send(b"shutdown\r\n")
            self.assertEqual(manager.heard()["STOPPING"], "1")
            server.wait()

    def test_a_manager_that_is_not_there_is_no_reason_to_stop(self):
        for address in ("/nowhere/at/all", "relative", "vsock:2:1234", "@" + "x" * 200):
            with self.subTest(address):
                server = self.start(env={"NOTIFY_SOCKET": address})
                poll(lambda server=server: "warning NOTIFY_SOCKET" in server.stderr(), what="a warning")


class HangupTest(SystemTest):
    @ours_only("memcached says little of it")
    def test_everything_is_tried_and_each_outcome_is_said(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o777)
        users, log = os.path.join(folder, "users"), os.path.join(folder, "log")

        def write(text):
            with open(users, "w", encoding="ascii") as file:
                file.write(text)

        def said():
            with open(log, encoding="utf-8") as file:
                return file.read()

        write("ann:secret\n")
        server = self.start("-Y", users, "-o", f"log={log}")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: "info SIGHUP: done" in said(), what="the first")
        self.assertIn("info SIGHUP: log: OK", said())
        self.assertIn("info SIGHUP: users: OK", said())

        # Bad users do not keep the log from being opened anew.
        write("no colon\n")
        os.rename(log, log + ".1")
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: os.path.exists(log) and "SIGHUP: done" in said(), what="the second")
        self.assertIn("info SIGHUP: log: OK", said())
        self.assertRegex(said(), r"warning SIGHUP: users, as before: .*line 1")
        wire = self.wire(server)
        self.assertEqual(wire.ask(b"set a 0 0 10\r\nann secret\r\n"), b"STORED")
