"""Counts instead of times: instructions and system calls a request."""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace

from .report import Table, progress
from .servers import BenchError, Server, bound_child

KEYS = 100_000


@dataclass
class Scenario:
    name: str
    load: str
    requests: int
    each: int = 1            # operations a request, by which the counts are divided


@dataclass
class Group:
    """Scenarios on the same contents, so that the servers are filled once."""
    scenarios: list
    keys: int = KEYS
    fill: str = ""           # larder-bench options of the fill
    common: str = ""         # of the fill and of every scenario
    memory_mb: int = 256
    is_full: bool = False    # every request stores a key that is new

    def only(self, text):
        return replace(self, scenarios=[s for s in self.scenarios if text in s.name])


GROUPS = [
    Group([
        Scenario("get, one at a time", "--op get", 20_000),
        Scenario("get, pipeline 16", "--op get -P 16", 64_000),
        Scenario("get, pipeline 128", "--op get -P 128", 128_000),
        Scenario("get of 100 keys, a key", "--op get -k 100", 1_000, each=100),
        Scenario("miss, pipeline 16", "--op miss -P 16", 64_000),
        Scenario("mg, pipeline 16", "--op mg -P 16", 64_000),
        Scenario("set, one at a time", "--op set", 20_000),
        Scenario("set, pipeline 16", "--op set -P 16", 64_000),
        Scenario("set noreply, 100 a batch", "--op set -P 100 --noreply", 64_000),
        Scenario("ms, pipeline 16", "--op ms -P 16", 64_000),
        Scenario("touch, pipeline 16", "--op touch -P 16", 64_000),
    ]),
    Group([Scenario("incr, pipeline 16", "--op incr -P 16", 64_000)], fill="--numeric"),
    Group([Scenario("set into a full cache, pipeline 16", "--op set -P 16 --order sequential",
                    64_000)], keys=600_000, memory_mb=64, is_full=True),
    Group([Scenario("get of 1 KB, pipeline 16", "--op get -P 16", 64_000)], keys=20_000,
          common="--value-size 1024"),
]


class GroupLoad:
    """Runs the load of a group's scenarios on one server."""

    def __init__(self, load, server, group):
        self.load = load
        self.server = server
        self.group = group
        self.next_key = group.keys if group.is_full else 0
        load.fill(server, group.keys, *group.fill.split(), *group.common.split())
        if group.is_full and int(server.stats()["evictions"]) == 0:
            raise BenchError(f"{server.kind.name} is not full after {group.keys} keys")

    def run(self, scenario, requests):
        keys = requests if self.group.is_full else self.group.keys
        self.load.run(self.server, *scenario.load.split(), *self.group.common.split(),
                      "--first-key", self.next_key, "--keys", keys, "-n", requests, "-c", 10)
        self.next_key += requests if self.group.is_full else 0


def callgrind_control(server, letter):
    subprocess.run(["callgrind_control", letter, str(server.pid)], check=True,
                   capture_output=True, timeout=120)


class Callgrind:
    """Counts the user-space instructions of each thread between two calls of count()."""

    def __init__(self, scratch, name):
        self.out = scratch / f"callgrind.{name}"
        self.wrapper = ["valgrind", "--tool=callgrind", "--separate-threads=yes",
                        f"--callgrind-out-file={self.out}"]
        self.dumps = 0
        self.worker = None  # the thread that was busiest until the first count()

    def count(self, server):
        """(the worker's, all other threads') instructions since the last call."""
        callgrind_control(server, "-d")
        self.dumps += 1
        deadline = time.monotonic() + 30
        totals = {}
        while not totals or None in totals.values():
            if time.monotonic() > deadline:
                raise BenchError(f"callgrind left no totals in {self.out}.{self.dumps}")
            time.sleep(0.1)
            dumps = list(self.out.parent.glob(f"{self.out.name}.{self.dumps}-*"))
            totals = {d.suffix.partition("-")[2]: re.search(r"^totals: (\d+)", d.read_text(), re.M)
                      for d in dumps}
        for dump in dumps:
            dump.unlink()
        counts = {thread: int(total[1]) for thread, total in totals.items()}
        self.worker = self.worker or max(counts, key=counts.get)
        return counts[self.worker], sum(counts.values()) - counts[self.worker]


def instructions(kind, machine, load, scratch, group):
    """{scenario: (instructions of the worker, of all other threads) an operation}."""
    counter = Callgrind(scratch, kind.name)
    found = {}
    with Server(kind, machine, group.memory_mb, wrapper=counter.wrapper) as server:
        runner = GroupLoad(load, server, group)
        for scenario in group.scenarios:
            runner.run(scenario, scenario.requests // 4)  # warm
            counter.count(server)
            runner.run(scenario, scenario.requests)
            short = counter.count(server)
            runner.run(scenario, 3 * scenario.requests)
            long = counter.count(server)
            found[scenario.name] = tuple((b - a) / (2 * scenario.requests * scenario.each)
                                         for a, b in zip(short, long))
            worker, others = found[scenario.name]
            progress(f"{kind.name}, {scenario.name}: {worker:.0f} instructions, {others:.0f} in "
                     "other threads")
    return found


def count_syscalls(runner, scenario, requests, out):
    tracer = subprocess.Popen(["strace", "-c", "-f", "-p", str(runner.server.pid), "-o", str(out)],
                              stderr=subprocess.PIPE, text=True, preexec_fn=bound_child())
    tracer.stderr.readline()  # "Process ... attached"
    runner.run(scenario, requests)
    tracer.terminate()
    tracer.wait(30)
    tracer.stderr.close()
    # % time, seconds, usecs/call, calls, errors if there were any, "total"
    totals = [line.split() for line in out.read_text().splitlines() if line.endswith(" total")]
    if not totals:
        raise BenchError(f"strace counted nothing on {runner.server.kind.name}")
    return int(totals[0][3])


def syscalls(kind, machine, load, scratch, group):
    found = {}
    out = scratch / f"strace.{kind.name}"
    with Server(kind, machine, group.memory_mb) as server:
        runner = GroupLoad(load, server, group)
        for scenario in group.scenarios:
            counts = [count_syscalls(runner, scenario, factor * scenario.requests, out)
                      for factor in (1, 3)]
            found[scenario.name] = (counts[1] - counts[0]) / (2 * scenario.requests)
            progress(f"{kind.name}, {scenario.name}: {found[scenario.name]:.2f} system calls")
    return found


def run(args, kinds, load, machine, scratch):
    for tool in ("valgrind", "callgrind_control", "strace"):
        if shutil.which(tool) is None:
            raise BenchError(f"{tool} is missing")
    mine, theirs = kinds
    table = Table(
        "instructions", "Counts an operation",
        ["24-byte keys, 100-byte values", f"instructions, {mine.name}",
         f"instructions, {theirs.name}", "ratio", f"system calls, {mine.name}",
         f"system calls, {theirs.name}"],
        notes=["User space, callgrind, the difference of two run lengths: the worker's, and behind "
               "the plus what all other threads did meanwhile, which goes with the time and not "
               "with the requests, and valgrind stretches time.  The ratio is the workers'.  System "
               "calls: strace, all threads, likewise, a request.  10 connections."])
    for group in [group.only(args.only) for group in GROUPS]:
        if not group.scenarios:
            continue
        counts = [instructions(kind, machine, load, scratch, group) for kind in kinds]
        calls = [syscalls(kind, machine, load, scratch, group) for kind in kinds]
        for scenario in group.scenarios:
            pair = [c[scenario.name] for c in counts]
            table.add(scenario.name,
                      *(f"{worker:,.0f} + {others:,.0f}" for worker, others in pair),
                      f"{pair[1][0] / pair[0][0]:.2f}", *(f"{c[scenario.name]:.2f}" for c in calls))
    return table
