"""Starts a memcached or a larder on a free port, waits until it accepts, and stops it by its own pid."""

import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import REFERENCE, settings

START_SECONDS = 30  # sanitizer builds on a busy machine
STOP_SECONDS = 30
PATIENCE_SECONDS = 60  # for what must come, however slow the machine

DEBUG_COMMANDS = ("-o", "debug_commands")  # a larder whose clock `debugtime` moves

_libc = ctypes.CDLL(None, use_errno=True)


def poll(condition, seconds=PATIENCE_SECONDS, what="condition"):
    """Returns the first true value of condition(); fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def version_of(binary):
    """What `binary -V` says."""
    run = subprocess.run([binary, "-V"], capture_output=True, text=True, timeout=START_SECONDS)
    return (run.stdout + run.stderr).strip()


@functools.lru_cache(maxsize=None)
def is_reference(binary):
    """Whether this is Debian's memcached and not the server under test."""
    return version_of(binary) == "memcached 1.6.18"


@functools.lru_cache(maxsize=None)
def is_larder(binary):
    """Whether this is a larder; a newer memcached than Debian's is neither."""
    return version_of(binary).startswith("larder ")


def _die_with_parent():
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


def spawn(argv, env=None, **popen):
    """Popen whose child does not outlive this process."""
    return subprocess.Popen(argv, env={**os.environ, **(env or {})}, preexec_fn=_die_with_parent, **popen)


def as_user(args):
    """`-u` for when the tests run as root, unless the arguments have one."""
    if os.geteuid() != 0 or any(a.startswith("-u") or a.startswith("--user") for a in args):
        return []
    return ["-u", "root"]


def threads_unless(args):
    """`-t` as --threads asks for, unless the arguments have one."""
    if settings.threads is None or any(a.startswith(("-t", "--threads")) for a in args):
        return []
    return ["-t", str(settings.threads)]


def run_to_end(*args, binary=None, env=None, seconds=20, preexec=None):
    """Runs the server with `args` as they are and expects it to exit: (exit code, stdout + stderr)."""
    run = subprocess.run(
        [binary or settings.server, *args], capture_output=True, timeout=seconds, env={**os.environ, **(env or {})},
        preexec_fn=preexec,
    )
    return run.returncode, (run.stdout + run.stderr).decode("utf-8", "replace")


class Server:
    """A running server.  A context manager: leaving it stops the server and checks that it ended well."""

    def __init__(self, *args, binary=None, host="127.0.0.1", unix=None, argv=None, env=None, port_file=None,
                 launcher=(), pass_fds=()):
        """`argv` replaces all arguments; `unix` is a socket path used instead of TCP; `launcher` are words in front
        of the binary, which it becomes, and `pass_fds` descriptors that it gets."""
        self.binary = binary or settings.server
        self.is_reference = is_reference(self.binary)
        self.host = host
        self.unix = unix
        self.directory = tempfile.mkdtemp(prefix="larder-test-")
        self.port_file = port_file or os.path.join(self.directory, "ports")
        self.stderr_path = os.path.join(self.directory, "stderr")
        self.ports = {}
        self.exit_code = None
        if argv is None:
            where = ["-s", unix] if unix else ["-p", "-1", "-l", host]
            argv = [*where, *as_user(args), *threads_unless(args), *args]
        self.argv = [*launcher, self.binary, *argv]
        self.process = None
        environment = {"MEMCACHED_PORT_FILENAME": self.port_file, **(env or {})}
        try:
            with open(self.stderr_path, "wb") as stderr:
                self.process = spawn(self.argv, environment, stdin=subprocess.DEVNULL, stdout=stderr,
                                     stderr=stderr, pass_fds=pass_fds)
            poll(self._is_up, START_SECONDS, " ".join(self.argv))
        except BaseException:
            self.kill()
            raise

    def _is_up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.argv} ended with {self.process.returncode}: {self.stderr()}")
        if self.unix:
            if not os.path.exists(self.unix):
                return False
        else:
            self.ports = self.read_ports()
            if not self.ports:
                return False
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def read_ports(self):
        """{'TCP INET': [port, ...], ...} from the port file; empty while there is none."""
        ports = {}
        try:
            with open(self.port_file, encoding="ascii") as lines:
                for line in lines:
                    name, _, port = line.rpartition(": ")
                    ports.setdefault(name, []).append(int(port))
        except FileNotFoundError:
            pass
        return ports

    @property
    def port(self):
        return (self.ports.get("TCP INET") or self.ports["TCP INET6"])[0]

    @property
    def address(self):
        return self.unix or (self.host, self.port)

    @property
    def pid(self):
        return self.process.pid

    def connect(self, seconds=10):
        """A raw socket to the server."""
        if self.unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(seconds)
            try:
                sock.connect(self.unix)
            except OSError:
                sock.close()
                raise
            return sock
        host = self.host if self.host not in ("0.0.0.0", "*") else "127.0.0.1"
        sock = socket.create_connection((host, self.port), seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def wire(self, seconds=10):
        from harness.wire import Wire

        return Wire(self.connect(seconds))

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def is_sanitized(self):
        """Whether a sanitizer is at work: then memory and time say little."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as maps:
            return any("libasan" in line or "libtsan" in line for line in maps)

    def within(self, seconds):
        """What a promise of so many seconds means here: sanitizers make everything slow."""
        return seconds * (10 if self.is_sanitized() else 1)

    def wait(self, seconds=STOP_SECONDS):
        self.exit_code = self.process.wait(seconds)
        return self.exit_code

    def stop(self, by=signal.SIGTERM, seconds=STOP_SECONDS):
        """Ends the server; fails unless it says 0.  Sanitizers make it say something else."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            code = self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.argv} did not end within {seconds} s of signal {by}") from None
        stderr = self.stderr()
        shutil.rmtree(self.directory, ignore_errors=True)
        if code != 0:
            raise AssertionError(f"{self.argv} ended with {code}: {stderr[-6000:]}")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # A test that failed because the server died should say what the server said.
        if kind is not None and self.process.poll() is not None and self.exit_code is None:
            text = self.stderr()
            code = self.process.returncode
            shutil.rmtree(self.directory, ignore_errors=True)
            raise AssertionError(f"{self.argv} had ended with {code} by itself: {text[-6000:]}")
        if kind is not None:
            self.kill()
        elif self.exit_code is None:
            self.stop()
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
