"""Start lines of real deployments, exit codes and what is said about a bad line."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import settings
from harness.case import SystemTest, ours_only
from harness.server import Server, as_user, poll, run_to_end, version_of
from harness.wire import Wire

IS_ROOT = os.geteuid() == 0


def free_port():
    """A port that was free a moment ago; starting on it is tried again with another when it was taken."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class StartLineTest(SystemTest):
    def settings_of(self, server):
        return dict(self.wire(server).stats(b"settings"))

    def started(self, *argv, **options):
        return self.start(argv=["-p", "-1", *as_user(argv), *argv], **options)

    def test_no_arguments_as_in_the_docker_image(self):
        server = self.started("-l", "127.0.0.1")
        found = self.settings_of(server)
        self.assertEqual(found["maxbytes"], str(64 << 20))
        self.assertEqual(found["maxconns"], "1024")
        self.assertEqual(found["item_size_max"], str(1 << 20))
        self.assertEqual(found["udpport"], "0")
        if not server.is_reference:
            self.assertEqual(found["tcpport"], str(server.port))  # memcached says -1, as it was told

    def test_debian_memcached_conf(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        pid_file = os.path.join(folder, "memcached.pid")
        user = ["-u", "nobody"] if IS_ROOT else ["-u", "memcache"]
        os.chmod(folder, 0o777)
        server = self.start(argv=["-m", "64", "-p", "-1", *user, "-l", "127.0.0.1", "-P", pid_file],
                            port_file=os.path.join(folder, "ports"))
        self.assertEqual(poll(lambda: os.path.exists(pid_file) and open(pid_file, encoding="ascii").read(), what=pid_file),
                         f"{server.pid}\n")
        self.assertEqual(self.settings_of(server)["inter"], "127.0.0.1")

    def test_red_hat_service(self):
        server = self.started("-u", "root", "-m", "64", "-c", "1024", "-l", "127.0.0.1,::1")
        self.assertEqual(self.settings_of(server)["maxconns"], "1024")
        self.assertIn("TCP INET6", server.ports)

    def test_helm_stable_memcached(self):
        server = self.started("-m", "64", "-o", "modern", "-v", "-l", "127.0.0.1")
        self.assertEqual(self.settings_of(server)["verbosity"], "1")

    def test_loki_and_mimir_give_words_with_blanks_inside(self):
        words = ["-m 128", "--extended=modern,track_sizes", "-I 5m", "-c 512", "-v", "-u 11211"]
        if IS_ROOT:
            words[-1:] = ["-u", "root"]  # 11211 is looked up only by root, and is nobody's name
        server = self.start(argv=["-p -1", "-l", "127.0.0.1", *words])
        found = self.settings_of(server)
        self.assertEqual((found["maxbytes"], found["item_size_max"], found["maxconns"], found["track_sizes"]),
                         (str(128 << 20), str(5 << 20), "512", "yes"))

    def test_a_number_of_a_user_is_harmless_when_not_root(self):
        if not IS_ROOT:
            self.started("-u", "11211", "-l", "127.0.0.1")

    def test_flags_in_all_their_spellings(self):
        server = self.started("-vvm", "65", "--threads=3", "-c256", "--conn-limit", "300", "-l", "127.0.0.1", "-m64",
                              "-R", "10", "-b", "100", "-f", "1.3", "-n", "64")
        found = self.settings_of(server)
        self.assertEqual((found["maxbytes"], found["num_threads"], found["maxconns"], found["verbosity"]),
                         (str(64 << 20), "3", "300", "2"))
        self.assertEqual((found["reqs_per_event"], found["tcp_backlog"]), ("10", "100"))

    def test_extended_options_of_old_start_lines_are_still_taken(self):
        self.started("-l", "127.0.0.1", "-o", "maxconns_fast,hashpower=20,lru_crawler,lru_maintainer,slab_reassign",
                     "-o", "slab_automove=1,hash_algorithm=murmur3,idle_timeout=0,no_inline_ascii_resp",
                     "-o", "hot_lru_pct=20,warm_lru_pct=40,hot_max_factor=0.2,warm_max_factor=2.0,temporary_ttl=61")

    @ours_only("its own port file serves just as well there")
    def test_ports_are_written_whole(self):
        server = self.started("-l", "127.0.0.1")
        self.assertFalse(os.path.exists(server.port_file + ".lck"))

    def test_every_listener_has_its_port(self):
        server = self.started("-l", "127.0.0.1", "-l", "127.0.0.2,[::1]")
        self.assertEqual((len(server.ports["TCP INET"]), len(server.ports["TCP INET6"])), (2, 1))
        hosts = [("127.0.0.1", server.ports["TCP INET"]), ("127.0.0.2", server.ports["TCP INET"]),
                 ("::1", server.ports["TCP INET6"])]
        for host, ports in hosts:
            answers = 0
            for port in ports:
                try:
                    with Wire(socket.create_connection((host, port), 5)) as wire:
                        answers += wire.ask(b"version\r\n").startswith(b"VERSION ")
                except ConnectionRefusedError:
                    pass
            self.assertEqual(answers, 1, host)

    def test_a_listener_has_its_own_port(self):
        def start_on(port):
            try:
                return self.started("-l", f"127.0.0.1:{port},[::1]:{port}")
            except RuntimeError:
                return None  # somebody took it

        port = 0
        for _ in range(10):
            port = free_port()
            server = start_on(port)
            if server:
                break
        for host in ("127.0.0.1", "::1"):
            with Wire(socket.create_connection((host, port), 5)) as wire:
                self.assertTrue(wire.ask(b"version\r\n").startswith(b"VERSION "))

    def test_unix_socket_has_its_mode_and_no_port(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(path)  # a stale one is replaced
        server = self.start("-a", "0766", unix=path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o766)
        wire = self.wire(server)
        self.assertEqual(wire.set(b"k", b"v" * 100000), b"STORED")
        self.assertEqual(len(wire.get(b"k")[b"k"]), 100000)
        self.assertEqual(dict(wire.stats(b"settings"))["domain_socket"], path)
        self.assertEqual(server.read_ports(), {})

    def test_unix_socket_is_private_by_default(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "socket")
        self.start(unix=path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)

    def test_daemon_writes_its_pid_and_removes_it(self):
        folder = tempfile.mkdtemp(prefix="larder-test-")
        self.addCleanup(shutil.rmtree, folder)
        pid_file, path = os.path.join(folder, "pid"), os.path.join(folder, "socket")
        run = subprocess.run([settings.server, *as_user([]), "-d", "-P", pid_file, "-s", path], timeout=20, check=False,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(run.returncode, 0)

        def read_pid():
            try:
                with open(pid_file, encoding="ascii") as file:
                    return int(file.read() or 0)
            except FileNotFoundError:
                return 0

        pid = poll(read_pid, what="pid file")
        is_ours = os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(settings.server)
        self.assertTrue(is_ours, pid)
        try:
            poll(lambda: os.path.exists(path), what="socket")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                poll(lambda: sock.connect_ex(path) == 0, what="connect")
                self.assertTrue(Wire(sock).ask(b"version\r\n").startswith(b"VERSION "))
        finally:
            os.kill(pid, signal.SIGTERM)
        poll(lambda: not os.path.exists(pid_file), what="pid file removed")


class ExitCodeTest(SystemTest):
    def ends(self, code, *argv, says=r".", **options):
        got, text = run_to_end(*argv, **options)
        self.assertEqual(got, code, text)
        self.assertRegex(text, says)
        return text

    def test_version_and_help(self):
        self.assertRegex(version_of(settings.server), r"\b1\.6\.\d+\b")
        for flag in ("-V", "--version"):
            self.ends(0, flag, says=r"\bmemcached 1\.6\.\d+")
        for flag in ("-h", "--help"):
            text = self.ends(0, flag)
            for word in ("unix-socket", "memory-limit", "conn-limit", "threads", "extended"):
                self.assertIn(word, text)

    def test_root_must_name_a_user(self):
        if not IS_ROOT:
            self.skipTest("not root")
        self.ends(64, "-p", "-1", says="root")
        self.ends(67, "-p", "-1", "-u", "no-such-user", says="no-such-user")

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            self.ends(71, *as_user([]), "-l", "127.0.0.1", "-p", port, says="(?i)address already in use")

    @ours_only("it says who has the port")
    def test_port_in_use_names_its_holder(self):
        holder = f"Address already in use by .*, pid {os.getpid()}"
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with self.subTest(host), socket.socket(family) as taken:
                taken.bind((host, 0))
                taken.listen()
                port = str(taken.getsockname()[1])
                self.ends(71, *as_user([]), "-l", host, "-p", port, says=rf"{holder} \(port {port}\)")
                self.ends(71, *as_user([]), "-p", port, says=f"TCP port {port}: {holder}")

    def test_unknown_options(self):
        self.ends(1, *as_user([]), "--no-such-option")
        self.ends(1, *as_user([]), "-o", "no_such_suboption", says='Illegal suboption "no_such_suboption"')

    def test_numbers_that_make_no_sense(self):
        for argv in (("-c", "0"), ("-c", "-5"), ("-t", "0"), ("-t", "-1"), ("-R", "0"), ("-f", "1.0"), ("-f", "0"),
                     ("-n", "0")):
            with self.subTest(argv=argv):
                self.ends(1, *as_user([]), *argv)

    def test_usage_errors(self):
        for argv in (("-B", "nonsense"), ("-p", "70000"), ("-I", "512"), ("-I", "2g"), ("-m", "64", "-I", "64m")):
            with self.subTest(argv=argv):
                self.ends(64, *as_user([]), *argv)

    @ours_only("memcached's chunks are larger")
    def test_chunks_of_memcacheds_sizes_are_taken_with_a_word(self):
        for argv, flag in ((("-o", "slab_sizes=100-1000-100000"), "-o slab_sizes"),
                           (("-o", "slab_sizes=100-524288"), "-o slab_sizes"),
                           (("-n", "100000"), "-n"), (("-n", "2000000"), "-n")):
            with self.subTest(argv=argv), Server(*argv) as server:
                word = f"{flag}: no chunk is larger than"
                poll(lambda word=word, server=server: word in server.stderr(), what=f"'{word}' in the log")
                wire = self.wire(server)
                self.assertEqual(wire.set(b"k", b"v" * 90000), b"STORED")
                self.assertEqual(wire.get(b"k"), {b"k": b"v" * 90000})

    def test_a_missing_argument(self):
        self.ends(1, *as_user([]), "-m")

    @ours_only("memcached reads a number as far as it goes")
    def test_junk_behind_a_number_is_refused_with_a_word(self):
        for argv in (("-p", "11211x"), ("-m", "sixty"), ("-t", "4.5"), ("-c", "")):
            with self.subTest(argv=argv):
                code, text = run_to_end(*as_user([]), *argv)
                self.assertIn(code, (1, 64))
                self.assertIn(argv[0].strip("-"), text)


class SignalTest(SystemTest):
    def test_term_and_int_end_with_0_within_2_seconds(self):
        for by in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(by), Server() as server:
                wire = self.wire(server)
                self.assertEqual(wire.set(b"k", b"v"), b"STORED")
                server.stop(by, seconds=server.within(2))
                self.assertTrue(wire.is_closed())

    def test_usr1_ends_gracefully(self):
        with Server() as server:
            server.stop(signal.SIGUSR1, seconds=server.within(3))

    def test_hup_and_pipe_are_survived(self):
        server = self.start()
        for by in (signal.SIGPIPE, signal.SIGHUP):
            server.process.send_signal(by)
            self.assertTrue(self.wire(server).ask(b"version\r\n").startswith(b"VERSION"))

    def test_stop_and_continue_are_survived(self):
        server = self.start()
        wire = self.wire(server)
        self.assertEqual(wire.set(b"k", b"v"), b"STORED")
        server.process.send_signal(signal.SIGSTOP)
        wire.send(b"get k\r\n")
        server.process.send_signal(signal.SIGCONT)
        self.assertEqual(wire.values(), {b"k": b"v"})

    def test_term_while_clients_do_not_read(self):
        with Server("-m", "64") as server:
            writer = self.wire(server)
            self.assertEqual(writer.set(b"k", b"x" * 500_000), b"STORED")
            stuck = [self.wire(server) for _ in range(4)]
            for wire in stuck:
                wire.send(b"get k\r\n" * 50)
            half = self.wire(server)
            half.send(b"set j 0 0 100000\r\nonly the beginning")
            server.stop(signal.SIGTERM, seconds=server.within(3))

    @ours_only("memcached drops replies that are pending")
    def test_what_was_read_is_answered_before_the_end(self):
        with Server("-m", "64") as server:
            wire = self.wire(server)
            self.assertEqual(wire.set(b"k", b"x" * 500_000), b"STORED")
            self.assertEqual(wire.ask(b"version\r\n")[:7], b"VERSION")
            wire.send(b"get k\r\n" * 8)
            self.assertEqual(wire.line(), b"VALUE k 0 500000")  # it has begun
            server.process.send_signal(signal.SIGTERM)
            rest = wire.until_close()
            self.assertEqual(rest.count(b"END\r\n"), 8)
            self.assertEqual(server.wait(3), 0)
