"""The log: its lines, its targets, and what -vv shows; and the configuration file of a whole server."""

import os
import re
import shutil
import signal
import tempfile

from harness.case import SystemTest, ours_only
from harness.server import as_user, poll, run_to_end

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|info|debug) (.*)$")


class LogTest(SystemTest):
    def folder(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        os.chmod(folder, 0o777)
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def said(self, text):
        """[(level, text), ...] of a log."""
        matches = [(line, LINE.match(line)) for line in text.splitlines()]
        for line, match in matches:
            self.assertTrue(match, line)
        return [match.groups() for _, match in matches]

    @ours_only("memcached's lines have no time")
    def test_the_first_lines_have_time_and_level(self):
        server = self.start("-o", "hashpower=20")
        poll(lambda: "clients at most" in server.stderr(), what="the first lines")
        said = self.said(server.stderr())
        self.assertEqual(said[0][0], "warning")
        self.assertTrue(any(level == "info" and " listens on tcp:127.0.0.1:" in text for level, text in said), said)

    @ours_only("written to stderr by memcached")
    def test_a_file_is_opened_anew_by_sighup(self):
        path = os.path.join(self.folder(), "log")
        server = self.start("-v", "-o", "log=" + path)

        def text():
            return open(path, encoding="utf-8").read() if os.path.exists(path) else ""

        poll(lambda: "clients at most" in text(), what="the first lines")
        self.assertEqual(server.stderr(), "")
        os.rename(path, path + ".1")
        os.kill(server.pid, signal.SIGHUP)
        poll(lambda: "SIGHUP" in text(), what="the new file")
        self.said(text())

    @ours_only("memcached's lines have no time")
    def test_a_conversation_is_shown_from_vv_on(self):
        server = self.start()
        wire = self.wire(server)
        wire.ask(b"get quiet\r\n")
        wire.ask(b"verbosity 2\r\n")

        def hears(line):
            wire.ask(b"get loud\x1b\r\n")
            return line in server.stderr()

        poll(lambda: hears("debug <"), what="the conversation")
        poll(lambda: hears(" END"), what="a reply")
        self.assertRegex(server.stderr(), r"debug <\d+ get loud\\x1B\n")
        self.assertRegex(server.stderr(), r"debug >\d+ END\n")
        self.assertNotIn("quiet", server.stderr())
        wire.ask(b"verbosity 0\r\n")
        wire.ask(b"get hushed\r\n")
        wire.ask(b"verbosity 2\r\n")
        poll(lambda: hears("get later") or not wire.ask(b"get later\r\n"), what="the conversation again")
        self.assertNotIn("hushed", server.stderr())

    @ours_only("--config")
    def test_a_configuration_file_starts_a_server(self):
        path = os.path.join(self.folder(), "larder.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# test\nport = -1\nlisten = 127.0.0.1\nmemory-limit = 128\nidle_timeout = 99\nconn-limit = 100\n")
        server = self.start(argv=["--config", path, "-c", "200", *as_user([])])
        found = dict(self.wire(server).stats(b"settings"))
        self.assertEqual((found["maxbytes"], found["idle_timeout"], found["maxconns"]), (str(128 << 20), "99", "200"))
        with open(path, "a", encoding="utf-8") as file:
            file.write("bogus = 1\n")
        code, text = run_to_end("--config", path)
        self.assertEqual(code, 64)
        self.assertIn(path + ":7: unknown option bogus", text)
