"""Clients in other languages, and libmemcached's command-line tools."""

import os
import re
import shutil
import subprocess
import tempfile

from clients.test_python import ClientTest
from harness import REPOSITORY
from harness.case import missing, need_program
from harness.server import poll

CLIENTS = os.path.join(REPOSITORY, "tests", "clients")
SECONDS = 120


def run(*argv, **options):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=SECONDS, check=False,
                          errors="replace", **options)


class ProgramTest(ClientTest):
    def scenario(self, *argv, **options):
        """Runs a script with host and port behind; it must say ok."""

        def play(server):
            done = run(*argv, server.host, server.port, **options)
            self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr[-2000:])

        self.on_each_server(play)


class LanguagesTest(ProgramTest):
    def test_php_memcached(self):
        php = need_program("php")
        if "memcached" not in run(php, "-m").stdout.split():
            missing("php-memcached")
        self.scenario(php, os.path.join(CLIENTS, "scenarios", "scenario.php"))

    def test_perl_cache_memcached(self):
        perl = need_program("perl")
        if run(perl, "-MCache::Memcached", "-e", "1").returncode != 0:
            missing("libcache-memcached-perl")
        self.scenario(perl, os.path.join(CLIENTS, "scenarios", "scenario.pl"))

    def test_node_memcached(self):
        node = need_program("node")
        folder = os.path.join(CLIENTS, "node")
        if not os.path.isdir(os.path.join(folder, "node_modules", "memcached")):
            npm = need_program("npm")
            done = run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
            if done.returncode != 0:
                missing("node_modules: " + done.stderr[-500:])
        self.scenario(node, os.path.join(folder, "scenario.js"))

    def test_ruby_dalli(self):
        """Debian's dalli speaks the binary protocol only."""
        ruby = need_program("ruby")
        if run(ruby, "-e", "require 'dalli'").returncode != 0:
            missing("ruby-dalli")
        self.scenario(ruby, os.path.join(CLIENTS, "scenarios", "scenario.rb"))


class LibmemcachedToolsTest(ProgramTest):
    def setUp(self):
        need_program("memcping")
        self.folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def tool(self, server, name, *arguments):
        done = run(need_program(name), f"--servers={server.host}:{server.port}", *arguments, cwd=self.folder)
        return done.returncode, done.stdout, done.stderr

    def check(self, server, name, *arguments, code=0):
        result = self.tool(server, name, *arguments)
        self.assertEqual(result[0], code, (name, arguments, result))
        return result[1]

    def test_command_line_tools(self):
        def scenario(server):
            for name, content in (("greeting", "hello\n"), ("large", "0123456789abcdef" * 6400), ("empty", "")):
                with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                    file.write(content)
            self.check(server, "memcping")
            self.check(server, "memccp", "greeting", "large", "empty")
            self.assertEqual(self.check(server, "memccat", "greeting").rstrip("\n"), "hello")
            self.assertEqual(self.check(server, "memccat", "large").rstrip("\n"), "0123456789abcdef" * 6400)
            self.check(server, "memccat", "nosuch", code=1)
            self.check(server, "memcexist", "greeting")
            self.check(server, "memcexist", "nosuch", code=1)
            self.check(server, "memctouch", "--expire=100", "greeting")
            self.check(server, "memcrm", "greeting")
            self.check(server, "memcexist", "greeting", code=1)
            self.check(server, "memccp", "--expire=1", "greeting")
            poll(lambda: self.tool(server, "memcexist", "greeting")[0] == 1, 4, "expiry")
            self.assertRegex(self.check(server, "memcstat"), r"(?m)^\s*pid: \d+")
            self.assertIn("curr_items", self.check(server, "memcstat"))
            self.check(server, "memcflush")
            self.check(server, "memcexist", "large", code=1)

        self.on_each_server(scenario)

    def test_memccapable_finds_the_text_protocol_whole(self):
        """All of its text cases but the one that 1.6.45 fails as well: delete with words behind the key."""

        def scenario(server):
            done = run(need_program("memccapable"), "-h", server.host, "-p", server.port, "-a", "-v")
            text = done.stdout + done.stderr
            failed = re.findall(r"^(ascii .*?)\s+\[fail\]$", text, re.MULTILINE)
            passed = re.findall(r"^(ascii .*?)\s+\[pass\]$", text, re.MULTILINE)
            self.assertEqual([f for f in failed if f != "ascii delete"], [], text[-3000:])
            self.assertGreater(len(passed), 20, text[-3000:])

        self.on_each_server(scenario)

    def test_memccapable_finds_the_binary_protocol_whole(self):
        def scenario(server):
            done = run(need_program("memccapable"), "-h", server.host, "-p", server.port, "-b", "-v")
            text = done.stdout + done.stderr
            failed = re.findall(r"^(binary .*?)\s+\[fail\]$", text, re.MULTILINE)
            passed = re.findall(r"^(binary .*?)\s+\[pass\]$", text, re.MULTILINE)
            self.assertEqual(failed, [], text[-3000:])
            self.assertGreater(len(passed), 20, text[-3000:])

        self.on_each_server(scenario)
