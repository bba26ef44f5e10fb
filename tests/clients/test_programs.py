"""Clients in other languages, and libmemcached's command-line tools."""

import os
import re
import shutil
import subprocess
import tempfile

from clients.test_python import ARGUMENTS, PASSWORDS, ClientTest
from harness import REPOSITORY
from harness.case import missing, need_program, ours_only
from harness.certificates import authority
from harness.server import poll
from harness.users import Users

CLIENTS = os.path.join(REPOSITORY, "tests", "clients")
SECONDS = 120


def run(*argv, **options):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=SECONDS, check=False,
                          errors="replace", **options)


class ProgramTest(ClientTest):
    def scenario(self, *argv, behind=(), **options):
        """Runs a script with host, port and `behind` behind; it must say ok."""

        def play(server):
            done = run(*argv, server.host, server.port, *behind, **options)
            self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr[-2000:])

        self.on_each_server(play)

    def log_in(self, *argv, mode=()):
        """Runs a script with host, port, `mode`, user and password behind it: right, then wrong."""
        with Users(PASSWORDS) as users:
            for name, server in users.servers(*ARGUMENTS):
                tries = [*((*one, "ok\n") for one in PASSWORDS.items()), ("ann", "wrong", "refused\n")]
                for user, password, said in tries:
                    with self.subTest(name, user=user, password=password):
                        done = run(*argv, server.host, server.port, *mode, user, password)
                        self.assertEqual((done.returncode, done.stdout), (0, said), done.stderr[-2000:])


class LanguagesTest(ProgramTest):
    def php(self):
        php = need_program("php")
        if "memcached" not in run(php, "-m").stdout.split():
            missing("php-memcached")
        return php

    def test_php_memcached(self):
        self.scenario(self.php(), os.path.join(CLIENTS, "scenarios", "scenario.php"))

    def test_php_memcached_binary(self):
        self.scenario(self.php(), os.path.join(CLIENTS, "scenarios", "scenario.php"), behind=("binary",))

    def test_php_memcached_sasl(self):
        self.log_in(self.php(), os.path.join(CLIENTS, "scenarios", "scenario.php"), mode=("binary",))

    def test_php_sessions(self):
        self.scenario(self.php(), os.path.join(CLIENTS, "scenarios", "session.php"))

    def test_perl_cache_memcached(self):
        perl = need_program("perl")
        if run(perl, "-MCache::Memcached", "-e", "1").returncode != 0:
            missing("libcache-memcached-perl")
        self.scenario(perl, os.path.join(CLIENTS, "scenarios", "scenario.pl"))

    def node(self, module):
        """(the program, the folder of its scripts)"""
        node = need_program("node")
        folder = os.path.join(CLIENTS, "node")
        if not os.path.isdir(os.path.join(folder, "node_modules", module)):
            npm = need_program("npm")
            done = run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
            if done.returncode != 0:
                missing("node_modules: " + done.stderr[-500:])
        return node, folder

    def test_node_memcached(self):
        node, folder = self.node("memcached")
        self.scenario(node, os.path.join(folder, "scenario.js"))

    def test_node_memjs(self):
        node, folder = self.node("memjs")
        self.scenario(node, os.path.join(folder, "memjs.js"))

    def test_node_memjs_sasl(self):
        node, folder = self.node("memjs")
        self.log_in(node, os.path.join(folder, "memjs.js"))

    def ruby(self):
        ruby = need_program("ruby")
        if run(ruby, "-e", "require 'dalli'").returncode != 0:
            missing("ruby-dalli")
        return ruby

    def test_ruby_dalli(self):
        """Debian's dalli speaks the binary protocol only."""
        self.scenario(self.ruby(), os.path.join(CLIENTS, "scenarios", "scenario.rb"))

    def test_ruby_dalli_sasl(self):
        self.log_in(self.ruby(), os.path.join(CLIENTS, "scenarios", "scenario.rb"))

    @ours_only("Debian's memcached is built without TLS")
    def test_ruby_dalli_tls(self):
        ours = authority("larder test CA")
        cert, key = ours.issue("server")
        server = self.start("-Z", "-o", f"ssl_chain_cert={cert},ssl_key={key}", *ARGUMENTS)
        done = run(self.ruby(), os.path.join(CLIENTS, "scenarios", "scenario.rb"), server.host, server.port,
                   env={**os.environ, "CA_FILE": ours.cert})
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr[-2000:])


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
            poll(lambda: self.tool(server, "memcexist", "greeting")[0] == 1, what="expiry")
            self.assertRegex(self.check(server, "memcstat"), r"(?m)^\s*pid: \d+")
            self.assertIn("curr_items", self.check(server, "memcstat"))
            self.check(server, "memcflush")
            self.check(server, "memcexist", "large", code=1)

        self.on_each_server(scenario)

    def test_command_line_tools_binary(self):
        def scenario(server):
            with open(os.path.join(self.folder, "greeting"), "w", encoding="ascii") as file:
                file.write("hello\n")
            self.check(server, "memccp", "--binary", "greeting")
            self.assertEqual(self.check(server, "memccat", "--binary", "greeting").rstrip("\n"), "hello")
            self.check(server, "memcexist", "--binary", "greeting")
            self.check(server, "memctouch", "--binary", "--expire=100", "greeting")
            self.check(server, "memcrm", "--binary", "greeting")
            self.check(server, "memccat", "--binary", "greeting", code=1)

        self.on_each_server(scenario)

    def memccapable_failures(self, server, dialect):
        """The cases that it says failed: of those it prints the name only, without [pass] behind it."""
        done = run(need_program("memccapable"), "-h", server.host, "-p", server.port, dialect)
        said = done.stdout + done.stderr
        cases = re.findall(r"((?:ascii|binary)(?: [a-z]+)+) {2,}(\[pass\])?", done.stdout)
        failed = [name for name, passed in cases if not passed]
        self.assertEqual(len(cases), 27, said)
        self.assertEqual(done.stderr.count("[FAIL]"), len(failed), said)
        self.assertEqual(done.returncode, 1 if failed else 0, said)
        return failed

    def test_memccapable_finds_the_text_protocol_whole(self):
        """All but what 1.6.45 refuses it as well: an error for a delete with words behind the key."""

        def scenario(server):
            known = [] if server.is_reference else ["ascii delete", "ascii delete noreply"]
            self.assertEqual(self.memccapable_failures(server, "-a"), known)

        self.on_each_server(scenario)

    def test_memccapable_finds_the_binary_protocol_whole(self):
        self.on_each_server(lambda server: self.assertEqual(self.memccapable_failures(server, "-b"), []))
