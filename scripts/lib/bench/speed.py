"""Throughput and CPU time per operation, both servers by turns."""

import json
import shutil
import statistics
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass

from .report import Table, progress, spread
from .servers import (CONNECTIONS, BenchError, IdleClients, Server, allow_open_files)

KEYS = 1_000_000
CLIENT_IS_BUSY = 0.95
BUSY_MACHINE = 0.1
MORE_FILES = 64              # of a server, beside its connections


@dataclass
class Scenario:
    name: str
    load: str                # of larder-bench; the keys are added
    memtier: str = ""        # the same for memtier_benchmark, where it can


@dataclass
class Group:
    """Scenarios on the same contents, so that the servers are filled once."""
    scenarios: list
    fill: str = ""
    keys: int = KEYS
    fill_keys: int = 0       # more than the keys asked for: 0 means `keys`
    memory_mb: int = 1024
    is_full: bool = False    # the scenarios must evict
    common: str = ""         # larder-bench options of the fill and of every scenario
    idle: int = 0            # connections beside those of the load


GROUPS = [
    Group([
        Scenario("get, one at a time", "--op get", "--ratio 0:1 --pipeline 1"),
        Scenario("get, pipeline 16", "--op get -P 16", "--ratio 0:1 --pipeline 16"),
        Scenario("get, pipeline 128", "--op get -P 128", "--ratio 0:1 --pipeline 128"),
        Scenario("get of 100 keys", "--op get -k 100"),
        Scenario("miss, one at a time", "--op miss"),
        Scenario("miss, pipeline 16", "--op miss -P 16"),
        Scenario("touch, pipeline 16", "--op touch -P 16"),
        Scenario("90 % get 10 % set, Zipf 0.99, one at a time",
                 "--op get=90,set=10 --order zipf"),
        Scenario("90 % get 10 % set, Zipf 0.99, pipeline 16",
                 "--op get=90,set=10 --order zipf -P 16"),
        Scenario("set, one at a time", "--op set", "--ratio 1:0 --pipeline 1"),
        Scenario("set, pipeline 16", "--op set -P 16", "--ratio 1:0 --pipeline 16"),
        Scenario("set noreply, 100 a batch", "--op set -P 100 --noreply"),
        Scenario("mg, pipeline 16", "--op mg -P 16"),
        Scenario("ms, pipeline 16", "--op ms -P 16"),
    ]),
    Group([Scenario("get of 100 keys, 5 million keys", "--op get -k 100")],
          keys=5_000_000, memory_mb=2048),
    Group([
        Scenario("get, one at a time, 10,000 idle connections", "--op get"),
        Scenario("get, pipeline 16, 10,000 idle connections", "--op get -P 16"),
    ], idle=10_000),
    Group([Scenario("incr, pipeline 16", "--op incr -P 16")], fill="--numeric"),
    Group([Scenario("set into a full cache, pipeline 16", "--op set -P 16 --order sequential")],
          keys=100_000_000, fill_keys=1_000_000, memory_mb=64, is_full=True),
    Group([Scenario("set of 50–2000 bytes into a full cache, pipeline 16",
                    "--op set -P 16 --order sequential")],
          keys=100_000_000, fill_keys=200_000, memory_mb=64, is_full=True,
          common="--value-size 50-2000"),
    Group([Scenario("get of 1 KB, pipeline 16", "--op get -P 16",
                    "--ratio 0:1 --pipeline 16 --data-size 1024")],
          keys=200_000, common="--value-size 1024"),
    Group([Scenario("get of 10 KB, pipeline 16", "--op get -P 16",
                    "--ratio 0:1 --pipeline 16 --data-size 10240")],
          keys=20_000, common="--value-size 10240"),
    Group([Scenario("get of 100 KB, pipeline 16", "--op get -P 16 -c 8",
                    "--ratio 0:1 --pipeline 16 --data-size 102400 -c 8")],
          keys=2_000, common="--value-size 102400"),
]


@dataclass
class Run:
    throughput: float
    cpu_per_request: float
    client_share: float      # of its core that the client used
    server_share: float


def measure_larder_bench(bench, server, scenario, group, seed):
    before = server.cpu_ns()
    result = bench.load.run(server, *scenario.load.split(), *group.common.split(), "--keys",
                            group.keys, "--seed", seed if not group.is_full else 1,
                            "--first-key", bench.next_key(server, group), "-s", bench.seconds)
    cpu = server.cpu_ns() - before
    bench.waits.append(result["client_wait_seconds"] / result["seconds"])
    if result["misses"] and " miss" not in f" {scenario.name}":
        raise BenchError(f"{scenario.name}: {result['misses']} misses on {server.kind.name}")
    bench.used_keys(server, group, result["requests"])
    return Run(result["requests_per_second"], cpu / max(result["requests"], 1),
               result["client_cpu_seconds"] / result["seconds"], cpu / 1e9 / result["seconds"])


def memtier_command(bench, server, arguments, *more):
    return ["taskset", "-c", str(bench.machine.client_cpu), "memtier_benchmark", "-s", "127.0.0.1",
            "-p", str(server.port), "-P", "memcache_text", "-t", "1", "-c", "50",
            "--hide-histogram", "--data-size", "100", "--key-prefix", "k" * 17,
            "--key-minimum", "1000000", *arguments.split(), *map(str, more)]


def memtier(bench, server, arguments, *more):
    report = bench.scratch / "memtier.json"
    command = memtier_command(bench, server, arguments, *more, "--json-out-file", report)
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    return json.loads(report.read_text())["ALL STATS"]["Totals"]["Ops/sec"]


def measure_memtier(bench, server, scenario, group, _seed):
    before = server.cpu_ns()
    throughput = memtier(bench, server, scenario.memtier, "--key-maximum", 999_999 + group.keys,
                         "--test-time", max(1, round(bench.seconds)))
    cpu = server.cpu_ns() - before
    seconds = max(1, round(bench.seconds))
    return Run(throughput, cpu / max(throughput * seconds, 1), 0.0, cpu / 1e9 / seconds)


class SpeedBench:
    """What the measurements share: the load, the cores, and the keys used so far."""

    def __init__(self, load, machine, seconds, rounds, scratch):
        self.load = load
        self.machine = machine
        self.seconds = seconds
        self.rounds = rounds
        self.scratch = scratch
        self.waits = []  # shares of a run that the client had no core
        self._next = {}

    def next_key(self, server, group):
        """A full cache is given new keys in every run, so that each of them evicts."""
        return self._next.get(server, group.fill_keys) if group.is_full else 0

    def used_keys(self, server, group, count):
        self._next[server] = self.next_key(server, group) + count


def fill(bench, server, group, use_memtier):
    keys = group.fill_keys or group.keys
    if use_memtier:
        sizes = [s.memtier for s in group.scenarios if s.memtier][0].split(" --")[2:]
        memtier(bench, server, " ".join("--" + s for s in sizes), "--ratio", "1:0", "--pipeline", 32,
                "--key-pattern", "P:P", "--key-maximum", 999_999 + keys, "-n", "allkeys")
        return
    bench.load.fill(server, keys, *group.fill.split(), *group.common.split())
    if group.is_full and int(server.stats()["evictions"]) == 0:
        raise BenchError(f"{server.kind.name} is not full after {keys} keys")


def run_group(bench, kinds, group, scenarios, table, use_memtier):
    measure = measure_memtier if use_memtier else measure_larder_bench
    with ExitStack() as stack:
        connections = CONNECTIONS + group.idle
        allow_open_files(connections + MORE_FILES)
        servers = [stack.enter_context(Server(kind, bench.machine, group.memory_mb,
                                              ["-c", str(connections)]))
                   for kind in kinds]
        for server in servers:
            fill(bench, server, group, use_memtier)
            if group.idle:
                stack.enter_context(IdleClients(server, group.idle))
        runs = {scenario.name: [] for scenario in scenarios}
        for number in range(bench.rounds):
            for scenario in scenarios:
                order = servers if number % 2 == 0 else servers[::-1]
                pair = {s: measure(bench, s, scenario, group, number + 1) for s in order}
                runs[scenario.name].append([pair[s] for s in servers])
    for name, pairs in runs.items():
        add_row(table, kinds, name, pairs)


def add_row(table, kinds, name, pairs):
    speed = [mine.throughput / theirs.throughput for mine, theirs in pairs]
    cpu = [theirs.cpu_per_request / mine.cpu_per_request for mine, theirs in pairs]
    is_client_bound = statistics.median(mine.client_share for mine, _ in pairs) > CLIENT_IS_BUSY
    mine, theirs = ([statistics.median(p[i].cpu_per_request for p in pairs) for i in (0, 1)])
    busy = statistics.median(p[0].server_share for p in pairs)
    progress(f"{name}: {spread(speed)} times as fast{' (the client is the limit)' * is_client_bound},"
             f" CPU {spread(cpu)}; ns of CPU a request: {kinds[0].name} {mine:.0f}, "
             f"{kinds[1].name} {theirs:.0f}; {kinds[0].name} busy {busy:.0%}")
    table.add(name, spread(speed) + ("*" if is_client_bound else ""), spread(cpu))


def run(args, kinds, load, machine, scratch):
    use_memtier = args.memtier and shutil.which("memtier_benchmark") is not None
    if args.memtier and not use_memtier:
        progress("memtier_benchmark is not on PATH: larder-bench is the load")
    table = Table(
        "speed", f"{kinds[0].name} against {kinds[1].name}: how many times better",
        ["24-byte keys, 100-byte values unless said", "requests a second", "CPU time a request"],
        notes=[f"Median of {args.rounds} pairs of runs (least–most), each {args.seconds:g} s; "
               f"{machine.description}; one worker thread, 50 connections. "
               "*: the load generator, not the server, was the limit."])
    bench = SpeedBench(load, machine, args.seconds, args.rounds, scratch)
    for group in GROUPS:
        scenarios = [s for s in group.scenarios
                     if args.only in s.name and (s.memtier or not use_memtier)]
        if scenarios:
            run_group(bench, kinds, group, scenarios, table, use_memtier)
    if bench.waits:
        wait = statistics.median(bench.waits)
        table.notes.append(
            f"For {wait:.0%} of the time other work of the machine had the load generator's core"
            + (": read the CPU times, the throughput is chance." if wait > BUSY_MACHINE else "."))
    return table
