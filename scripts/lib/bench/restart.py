"""Warm restart: from a server's start to its first answer with an item of before."""

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .report import Table, progress, spread
from .servers import BenchError, Server, key_of

ITEMS = 4_000_000
MEMORY_MB = 1024
FOLDER = "/dev/shm"
KNOWN = key_of(ITEMS // 2)
POLL_SECONDS = 0.001
# memcached refuses a file that was saved within the second of the start.
PAUSE_SECONDS = 2.2


class Restarted(Server):
    """A server on all cores with its items in a memory file; start_ms: until it answered."""

    def __init__(self, kind, machine, file):
        self.start_ms = 0.0
        self.had_item = False
        self._started = time.monotonic()
        super().__init__(kind, machine, MEMORY_MB, ["-t", str(os.cpu_count()), "-e", str(file)],
                         cpus=f"0-{os.cpu_count() - 1}")
        self.start_cpu_ms = self.cpu_ns() / 1e6

    def _wait_until_it_answers(self, _seconds):
        while self.process.poll() is None and time.monotonic() < self._started + 60:
            try:
                reply = self.ask(f"get {KNOWN}\r\n", b"END\r\n")
            except OSError:
                time.sleep(POLL_SECONDS)
                continue
            self.start_ms = (time.monotonic() - self._started) * 1000
            self.had_item = reply.startswith("VALUE ")
            return
        raise BenchError(f"{self.kind.name} does not answer on its port")

    def save(self):
        """Stops it in good order; milliseconds until it was gone."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGUSR1)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{self.kind.name} does not stop after SIGUSR1") from error
        return (time.monotonic() - begin) * 1000


@dataclass
class Round:
    start_ms: float
    cpu_ms: float
    save_ms: float


def fill(kind, machine, load, file):
    with Restarted(kind, machine, file) as server:
        load.fill(server, ITEMS, "--value-size", 100)
        server.save()


def restart(kind, machine, file):
    with Restarted(kind, machine, file) as server:
        items = int(server.stats()["curr_items"])
        if not server.had_item or items != ITEMS:
            raise BenchError(f"{kind.name} has {items} of {ITEMS} items after its restart")
        return Round(server.start_ms, server.start_cpu_ms, server.save())


def run(args, kinds, load, machine, _scratch):
    figures = {kind.name: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="larder-bench-", dir=FOLDER) as folder:
        files = {kind.name: Path(folder) / kind.name for kind in kinds}
        for kind in kinds:
            fill(kind, machine, load, files[kind.name])
        for number in range(args.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                time.sleep(PAUSE_SECONDS)
                seen = restart(kind, machine, files[kind.name])
                figures[kind.name].append(seen)
                progress(f"restart, {kind.name}, round {number + 1}: serves after "
                         f"{seen.start_ms:.0f} ms, of CPU {seen.cpu_ms:.0f}; stopped in "
                         f"{seen.save_ms:.0f} ms")
    return table_of(args, kinds, figures)


def table_of(args, kinds, figures):
    mine, theirs = (figures[kind.name] for kind in kinds)
    table = Table(
        "restart", f"Warm restart with {ITEMS // 10**6} million items, in ms",
        ["", *(kind.name for kind in kinds), f"{kinds[1].name} / {kinds[0].name}"],
        notes=[f"24-byte keys, 100-byte values, the file in {FOLDER}; both with a thread for each of "
               f"{os.cpu_count()} cores.  By turns, {args.rounds} rounds: median (least–most), and "
               "of the ratio within a round.  *Serves*: from exec until a known key is answered "
               "with its value.  *Stops*: from SIGUSR1 until the process is gone.  Load average "
               f"of the machine at the end: {os.getloadavg()[0]:.1f}."])
    for name, field in (("serves after", "start_ms"), ("CPU time until then", "cpu_ms"),
                        ("stops in", "save_ms")):
        columns = [[getattr(one, field) for one in rounds] for rounds in (mine, theirs)]
        table.add(name, *(spread(column, 0) for column in columns),
                  spread([b / a for a, b in zip(*columns)]))
    return table
