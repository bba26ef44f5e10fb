"""Warm restart (-e): what comes back after each way to stop, and what is refused."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
from random import Random, SystemRandom

from harness import settings
from harness.case import SystemTest, ours_only
from harness.server import Server, as_user, poll, run_to_end

ITEMS = 2000
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def value_of(i):
    """Small ones, and some of several pieces."""
    return b"%d:" % i + b"v" * (90_000 if i % 200 == 0 else i % 500)


class RestartTest(SystemTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="larder-test-", dir=FOLDER)
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = os.path.join(self.folder, "items")

    def live(self, *options):
        return self.start("-m", "64", "-e", self.file, *options)

    def end(self, server, by=signal.SIGTERM, code=0):
        """Stops the server and returns what it said."""
        server.process.send_signal(by)
        self.assertEqual(server.wait(), code)
        return server.stderr()

    def check_says(self, server, *texts):
        """A running server's log is written by a thread of its own, a little later."""
        for text in texts:
            poll(lambda text=text: text in server.stderr(), what=f"'{text}' in the log")

    def fill(self, server):
        """Stores the items; returns their CAS."""
        wire = self.wire(server)
        for i in range(ITEMS):
            value = value_of(i)
            expires = 1000 if i % 3 == 0 else 0
            wire.send(b"set k%d %d %d %d noreply\r\n%s\r\n" % (i, i, expires, len(value), value))
        wire.send(b"mn\r\n")
        self.assertEqual(wire.line(), b"MN")
        return {i: self.get(wire, i) for i in range(ITEMS)}

    def get(self, wire, i):
        """(flags, CAS, value), or None."""
        wire.send(b"gets k%d\r\n" % i)
        line = wire.line()
        if line == b"END":
            return None
        _, _, flags, size, cas = line.split()
        value = wire.exactly(int(size) + 2)[:-2]
        self.assertEqual(wire.line(), b"END")
        return int(flags), int(cas), value

    def check_all(self, server, stored):
        wire = self.wire(server)
        for i, item in stored.items():
            found = self.get(wire, i)
            self.assertIsNotNone(found, i)
            self.assertEqual(found[0], i)
            self.assertEqual(found[1], item[1])
            self.assertEqual(found[2], value_of(i))

    @ours_only("memcached saves on SIGUSR1 only, and not within a second")
    def test_every_item_is_back_after_each_good_stop_at_once(self):
        server = self.live()
        self.check_says(server, "nothing to restore")
        stored = self.fill(server)
        for by, threads in ((signal.SIGTERM, 1), (signal.SIGUSR1, 32), (signal.SIGINT, 3)):
            with self.subTest(by=by, threads=threads):
                self.assertIn(f"saved {ITEMS} items to {self.file} in ", self.end(server, by))
                server = self.live("-t", str(threads))
                self.check_says(server, f"restored {ITEMS} items from {self.file} in ", " ms per million)")
                self.check_all(server, stored)
        wire = self.wire(server)
        wire.send(b"mg k3 t\r\n")
        self.assertIn(int(wire.line().split()[1][1:]), range(900, 1001))
        self.assertEqual(dict(wire.stats(b"settings"))["memory_file"], self.file)

    @ours_only("its texts")
    def test_nothing_is_back_after_a_crash(self):
        server = self.live()
        self.fill(server)
        server.process.kill()
        server.wait()
        server = self.live()
        self.check_says(server, "did not stop in good order")
        self.check_works_empty(server)

    def check_works_empty(self, server):
        wire = self.wire(server)
        self.assertEqual(dict(wire.stats())["curr_items"], "0")
        self.assertIsNone(self.get(wire, 1))
        self.check_all(server, self.fill(server))

    @ours_only("memcached says nothing")
    def test_a_file_removed_while_the_server_runs_is_said_at_the_stop(self):
        server = self.live()
        self.fill(server)
        os.remove(self.file)
        said = self.end(server, code=71)
        self.assertIn(f"error the items are lost: {self.file}: it was removed", said)
        self.assertNotIn("saved", said)
        server = self.live()
        self.check_says(server, "nothing to restore")
        self.check_works_empty(server)

    @ours_only("its texts")
    def test_a_file_of_other_settings_is_refused_with_a_line_that_names_them(self):
        for name, options in {"-m": ["-m", "128"], "-f": ["-f", "1.25"], "-I": ["-I", "2m"], "-C": ["-C"]}.items():
            with self.subTest(name=name):
                server = self.live()
                self.fill(server)
                self.end(server)
                server = self.live(*options)
                self.check_says(server, "nothing restored")
                said = [line for line in server.stderr().splitlines() if "nothing restored" in line]
                self.assertEqual(len(said), 1, server.stderr())
                self.assertIn("other settings", said[0])
                self.assertIn(name, said[0])
                if name != "-C":
                    self.check_works_empty(server)
                self.end(server)
                os.remove(self.file)
                os.remove(self.file + ".meta")

    def data_places(self, path):
        """(start, end) of what is not a hole."""
        with open(path, "rb") as file:
            end = 0
            size = os.fstat(file.fileno()).st_size
            while end < size:
                try:
                    start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                except OSError:
                    return
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                yield start, end

    def damage(self, number, random):
        """Does something bad to the file; whether that has to be noticed."""
        meta = self.file + ".meta"
        if number == 0:
            os.truncate(self.file, os.path.getsize(self.file) // 2)
        elif number == 1:
            os.truncate(meta, os.path.getsize(meta) - 1)
        elif number == 2:
            with open(meta, "wb") as file:
                file.write(random.randbytes(5000))
        elif number == 3:
            with open(self.file, "r+b") as file:
                file.write(b"")
                file.truncate(0)
        else:
            path = meta if number % 4 == 0 else self.file
            start, end = random.choice(list(self.data_places(path)))
            at = random.randrange(start, min(end, os.path.getsize(path)))
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ random.randrange(1, 256)]))
            return path == meta
        return True

    @ours_only("its texts")
    def test_a_damaged_file_is_refused(self):
        server = self.live()
        stored = self.fill(server)
        self.end(server)
        kept = os.path.join(self.folder, "kept")
        os.mkdir(kept)
        copy = ["cp", "--sparse=always", "--"]
        subprocess.run([*copy, self.file, self.file + ".meta", kept], check=True)
        base = settings.seed if settings.seed is not None else SystemRandom().randrange(1 << 20)
        refused = 0
        for number in range(24):
            seed = base + number
            with self.subTest(number=number, seed=seed):
                subprocess.run([*copy, os.path.join(kept, "items"), os.path.join(kept, "items.meta"),
                                self.folder], check=True)
                must_be_seen = self.damage(number, Random(seed))
                server = self.live()
                poll(lambda server=server: "restored" in server.stderr(), what="the outcome")
                if f"nothing restored: {self.file}" in server.stderr():
                    refused += 1
                    if number % 4 == 0:
                        self.check_works_empty(server)
                else:
                    self.assertFalse(must_be_seen, server.stderr())
                    self.check_all(server, stored)
                server.process.kill()
                server.wait()
        self.assertGreater(refused, 10)

    @ours_only("memcached saves on SIGUSR1 only")
    def test_memory_that_is_locked_is_kept_too(self):
        server = self.live("-k")
        stored = self.fill(server)
        self.assertIn(f"saved {ITEMS} items", self.end(server))
        server = self.live("-k")
        self.check_says(server, f"restored {ITEMS} items")
        self.check_all(server, stored)

    def small_file_system(self, megabytes):
        """Puts the file on a file system of that size."""
        where = os.path.join(self.folder, "small")
        os.mkdir(where)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", where]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("may not mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "--lazy", where], check=False)
        self.file = os.path.join(where, "items")

    @ours_only("memcached dies of SIGBUS")
    def test_a_full_file_system_is_a_full_memory(self):
        self.small_file_system(16)
        for options in ([], ["-k"], ["-M"]):
            with self.subTest(options=options):
                server = self.live(*options)
                self.check_says(server, "its file system has room for")
                wire = self.wire(server)
                refused = 0
                for i in range(600):
                    size = 90_000 if i % 3 == 0 else 30_000
                    wire.send(b"set f%d 0 0 %d\r\n%s\r\n" % (i, size, b"f" * size))
                    reply = wire.line()
                    self.assertRegex(reply, b"^(STORED|SERVER_ERROR [oO]ut of memory.*)$")
                    refused += reply != b"STORED"
                self.assertEqual(refused > 0, "-M" in options, refused)
                kept = dict(wire.stats())["curr_items"]
                self.assertGreater(int(kept), 50)
                self.assertIn(f"saved {kept} items", self.end(server))
                server = self.live(*options)
                self.check_says(server, f"restored {kept} items")
                server.process.kill()
                server.wait()

    @ours_only("memcached dies of SIGBUS")
    def test_an_index_without_room_to_grow_evicts(self):
        self.small_file_system(24)
        for others_take_all_at in (None, 20_000, 150_000):
            with self.subTest(others_take_all_at=others_take_all_at):
                self.set_many_small_ones(400_000, others_take_all_at)

    def set_many_small_ones(self, count, others_take_all_at):
        """None is refused, also when other files take what the file system has left after so many."""
        server = self.live("-m", "1024")
        wire = self.wire(server)
        hog = os.path.join(os.path.dirname(self.file), "hog")
        replies = {}
        for start in range(0, count, 1000):
            if start == others_take_all_at:
                with open(hog, "wb", buffering=0) as out, self.assertRaisesRegex(OSError, "No space left"):
                    while True:
                        out.write(bytes(1 << 16))
            wire.send(b"".join(b"set %d 0 0 1\r\nx\r\n" % i for i in range(start, start + 1000)))
            for _ in range(1000):
                line = wire.line()
                replies[line] = replies.get(line, 0) + 1
        self.assertEqual(replies, {b"STORED": count})
        stats = dict(wire.stats())
        self.assertEqual(int(stats["curr_items"]) + int(stats["evictions"]), count)
        kept = stats["curr_items"]
        self.assertGreater(int(kept), 10_000)
        if others_take_all_at is not None:
            os.remove(hog)
        self.assertIn(f"saved {kept} items", self.end(server))
        server = self.live("-m", "1024")
        self.check_says(server, f"restored {kept} items")
        server.process.kill()
        server.wait()

    @ours_only("its texts")
    def test_a_stop_that_cannot_save_says_so_and_fails(self):
        self.small_file_system(16)
        server = self.live()
        self.fill(server)
        with open(os.path.join(os.path.dirname(self.file), "another"), "wb", buffering=0) as other:
            try:
                while other.write(b"x" * 4096) == 4096:
                    pass
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        said = self.end(server, code=71)
        self.assertIn("error the items are lost: ", said)
        self.assertIn("No space left", said)
        self.assertNotIn("saved", said)

    @ours_only("memcached lets both run")
    def test_a_second_server_on_the_same_file_is_refused(self):
        server = self.live()
        self.fill(server)
        line = ["-p", "-1", "-l", "127.0.0.1", "-m", "64", "-e", self.file]
        code, said = run_to_end(*line, *as_user(line))
        self.assertEqual(code, 71)
        self.assertIn("another server is using this memory file", said)
        self.end(server)
        self.check_says(self.live(), f"restored {ITEMS} items")

    @ours_only("memcached loses them")
    def test_a_start_that_fails_leaves_the_items_for_the_next(self):
        server = self.live()
        stored = self.fill(server)
        self.end(server)
        with Server("-m", "64") as other:
            line = ["-p", str(other.port), "-l", "127.0.0.1", "-m", "64", "-e", self.file]
            code, said = run_to_end(*line, *as_user(line))
        self.assertNotEqual(code, 0)
        self.assertIn(f"saved {ITEMS} items", said)
        self.check_all(self.live(), stored)

    @ours_only("memcached saves on SIGUSR1 only")
    def test_a_stop_under_load_keeps_what_was_acknowledged(self):
        server = self.live("-t", "2")
        acknowledged = [0] * 4

        def store(number):
            wire = server.wire()
            try:
                for i in range(10**9):
                    size = 40_000 if i % 50 == 0 else 100
                    body = b"%d" % i + b"x" * size
                    wire.send(b"set c%d 0 0 %d\r\n%s\r\n" % (number, len(body), body))
                    if wire.line() != b"STORED":
                        return
                    acknowledged[number] = i
            except (OSError, EOFError):
                pass
            finally:
                wire.close()

        clients = [threading.Thread(target=store, args=(n,)) for n in range(len(acknowledged))]
        for client in clients:
            client.start()
        wire = self.wire(server)
        while min(acknowledged) < 300:
            wire.send(b"mn\r\n")
            wire.line()
        said = self.end(server)
        for client in clients:
            client.join()
        self.assertIn("saved 4 items", said)
        wire = self.wire(self.live("-t", "2"))
        for number, last in enumerate(acknowledged):
            wire.send(b"get c%d\r\n" % number)
            size = int(wire.line().split()[3])
            value = wire.exactly(size + 2)[:-2]
            self.assertEqual(wire.line(), b"END")
            # What was stored last was acknowledged, or its reply was still under way.
            self.assertIn(int(value.rstrip(b"x")), (last, last + 1))
