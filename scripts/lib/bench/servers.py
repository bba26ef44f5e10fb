"""Starting, watching and stopping the servers that are compared, and loading them."""

import ctypes
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .report import progress

PR_SET_PDEATHSIG = 1
CPUCLOCK_SCHED = 2
CONNECTIONS = 1024
# memcached sets the limit of open files to its -c, and valgrind keeps twelve of them for itself.
OPEN_FILES_UNDER_VALGRIND = CONNECTIONS + 12


class BenchError(Exception):
    """Something the user has to know; the message says it all."""


@dataclass
class Machine:
    """Which core serves and which one loads."""
    server_cpu: int
    client_cpu: int

    @property
    def description(self):
        cores = os.cpu_count()
        shared = "the same core" if self.server_cpu == self.client_cpu else "another"
        return f"{cores} cores; the server on one, the load on {shared}"


@dataclass
class Kind:
    """A server to measure: its name in the tables and its command without options."""
    name: str
    command: list

    @staticmethod
    def parse(text):
        name, equals, command = text.partition("=")
        if not equals or not name or not command:
            raise BenchError(f"--peer takes NAME=COMMAND, not '{text}'")
        return Kind(name, shlex.split(command))


@dataclass
class Thread:
    """A thread of a server, as the kernel accounts for it."""
    name: str
    cpu_ns: int
    wakeups: int             # times that it slept and went on

    @staticmethod
    def read(task):
        switches = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(),
                             re.M)
        return Thread((task / "comm").read_text().strip(),
                      int((task / "schedstat").read_text().split()[0]), int(switches[1]))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bound_child(open_files=None):
    """For preexec_fn: the child dies with this script, and has at most `open_files`."""
    def prepare():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if open_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    return prepare


class Server:
    """A running server; a context manager that ends it."""

    def __init__(self, kind, machine, memory_mb, options=(), wrapper=(), cpus=None):
        self.kind = kind
        self.port = free_port()
        command = ["taskset", "-c", cpus or str(machine.server_cpu), *wrapper, *kind.command]
        if os.geteuid() == 0:
            command += ["-u", "root"]
        command += ["-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "1",
                    "-c", str(CONNECTIONS), "-m", str(memory_mb), *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=bound_child(OPEN_FILES_UNDER_VALGRIND if wrapper else None))
        try:
            self._wait_until_it_answers(60 if wrapper else 10)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def _wait_until_it_answers(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f"{self.kind.name} ended with status {self.process.returncode}: "
                                 + shlex.join(self.process.args))
            try:
                self.ask("version\r\n", b"\r\n")
                return
            except OSError:
                time.sleep(0.02)
        raise BenchError(f"{self.kind.name} does not answer on its port")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, request, end):
        """Sends `request` and reads until what came ends with `end`."""
        with self.connect() as connection:
            connection.sendall(request.encode())
            reply = b""
            while not reply.endswith(end):
                piece = connection.recv(65536)
                if not piece:
                    raise BenchError(f"{self.kind.name} closed the connection on {request!r}")
                reply += piece
            return reply.decode()

    def stats(self):
        lines = self.ask("stats\r\n", b"END\r\n").split("\r\n")
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT "))

    def cpu_ns(self):
        """CPU time of all threads, user and system.  The process clock of the kernel: exact to
        the nanosecond also while threads run, where /proc is as old as the last tick."""
        return time.clock_gettime_ns((~self.pid << 3) | CPUCLOCK_SCHED)

    def run_queue_ns(self):
        """How long its threads together were ready to run and something else had the core."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks)

    def threads(self):
        """{thread id: Thread} of those that run now."""
        return {task.name: Thread.read(task) for task in Path(f"/proc/{self.pid}/task").iterdir()}

    def memory(self):
        """(VmRSS, VmHWM) in bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def key_of(index, size=24):
    """The key that larder-bench gives number `index`."""
    return "k" + str(index).zfill(size - 1)


def value_size_of(index, low, high):
    """The bytes that larder-bench --value-size LOW-HIGH stores under it."""
    mixed = (index + 1) * 0x9E3779B97F4A7C15 % 2**64
    return low + (mixed >> 32) % (high - low + 1)


def holds(server, indexes):
    """For each of the numbers, whether the server has its key.  It asks with a meta debug, which
    leaves no trace: a read, or a touch, would keep what it finds."""
    with server.connect() as connection:
        reader = connection.makefile("rb")
        for start in range(0, len(indexes), 500):
            batch = indexes[start:start + 500]
            connection.sendall("".join(f"me {key_of(i)}\r\n" for i in batch).encode())
            for _ in batch:
                reply = reader.readline()
                if reply != b"EN\r\n" and not reply.startswith(b"ME "):
                    raise BenchError(f"{server.kind.name} answers me with {reply!r}")
                yield reply != b"EN\r\n"


class IdleClients:
    """Connections that ask for nothing, held by a process of their own; a context manager."""

    def __init__(self, server, count):
        script = Path(__file__).with_name("idle_clients.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(server.port), str(count)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            self.__exit__()
            raise BenchError(f"{server.kind.name} does not take {count} connections")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def allow_open_files(count):
    """For this process and what it starts; a BenchError where the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise BenchError(f"{count} open files are needed and {hard} allowed: "
                         "raise the hard limit (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Load:
    """Runs larder-bench on the client's core."""

    def __init__(self, path, machine):
        self.path = str(path)
        self.cpu = str(machine.client_cpu)

    def command(self, server, arguments):
        return [self.path, *arguments, "--port", str(server.port), "--cpu", self.cpu, "--json"]

    def run(self, server, *arguments):
        """One load to its end; returns its JSON object.  Any error is a BenchError."""
        command = self.command(server, [str(a) for a in arguments])
        done = subprocess.run(command, capture_output=True, text=True, timeout=900,
                              preexec_fn=bound_child())
        return self.result(server, command, done.returncode, done.stdout, done.stderr)

    def start(self, server, *arguments):
        """A load in the background; finish() it."""
        command = self.command(server, [str(a) for a in arguments])
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=bound_child())

    def finish(self, server, process):
        out, err = process.communicate(timeout=900)
        return self.result(server, process.args, process.returncode, out, err)

    @staticmethod
    def result(server, command, status, out, err):
        try:
            result = json.loads(out)
        except ValueError:
            result = {}
        # A full server may refuse a store now and then; that is a finding, not a failure.
        refused = result.get("errors", 0)
        is_over = not result.get("failure") and not result.get("mismatches")
        if status == 1 and is_over and 0 < refused <= result.get("hits", 0):
            progress(f"{server.kind.name} refused {refused} of {refused + result['hits']}: "
                     + result["first_error"])
        elif status != 0:
            why = result.get("failure") or result.get("first_error") or result.get("error") or err
            raise BenchError(f"load on {server.kind.name} failed: {why}\n  {shlex.join(command)}")
        return result

    def fill(self, server, keys, *arguments, first_key=0):
        """Stores `keys` keys in order."""
        return self.run(server, "--op", "set", "--order", "sequential", "--keys", keys,
                        "--first-key", first_key, "-n", keys, "-c", 4, "-P", 100, "--noreply",
                        *arguments)
