"""Scaling past this machine: locks met, cache lines that wander, and what follows from them."""

import json
import re
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .report import Table, progress, spread
from .servers import BenchError, Server, bound_child

ROOT = Path(__file__).resolve().parents[3]
COUNTS = ROOT / "build" / "counts"
DOCUMENT = ROOT / "docs" / "SCALING.md"
LOCK_WORKERS = [2, 4, 8]
LINE_WORKERS = [2, 8, 64]
CORES = [1, 2, 4, 8, 16, 32, 64]
REQUESTS = 400_000
FAR_NS = 200                 # assumed: a line that another socket has


@dataclass
class Workload:
    name: str
    options: str             # of larder-locks and larder-lines
    load: str                # of larder-bench: the same requests
    hottest: float           # share of the requests for the most popular key
    keys: int = 1_000_000
    memory_mb: int = 512
    is_full: bool = False    # stores keys that are new

    @property
    def arguments(self):
        return [*self.options.split(), "--keys", str(self.keys), "--memory-mb",
                str(self.memory_mb), "--requests", str(REQUESTS)]


# 1 / (sum of rank^-0.99 over a million ranks).
ZIPF_HOTTEST = 1 / sum(rank ** -0.99 for rank in range(1, 1_000_001))
UNIFORM = 1e-6
WORKLOADS = [
    Workload("get, uniform", "--mix get --order uniform", "--op get", UNIFORM),
    Workload("get, Zipf 0.99", "--mix get --order zipf", "--op get --order zipf", ZIPF_HOTTEST),
    Workload("90 % get 10 % set, Zipf 0.99", "--mix mixed --order zipf",
             "--op get=90,set=10 --order zipf", ZIPF_HOTTEST),
    Workload("set over a value of the same size, uniform", "--mix set --order uniform",
             "--op set", UNIFORM),
    Workload("set over a value of the same size, Zipf 0.99", "--mix set --order zipf",
             "--op set --order zipf", ZIPF_HOTTEST),
    Workload("set of a new key, one size, every one evicts", "--mix new",
             "--op set --order sequential", 0, keys=600_000, memory_mb=64, is_full=True),
]


def require():
    """What must be there before anything starts."""
    for name in ("larder-locks", "larder-lines"):
        if not (COUNTS / name).exists():
            raise BenchError(f"{COUNTS / name} is missing (scripts/build counts)")


def run_tool(name, *arguments):
    done = subprocess.run([str(COUNTS / name), *map(str, arguments)], capture_output=True, text=True,
                          timeout=900, preexec_fn=bound_child())
    if done.returncode != 0:
        raise BenchError(f"{name} failed: {done.stderr}")
    return json.loads(done.stdout)


# --- Locks ---

def count_locks(workload):
    """{workers: what larder-locks says}."""
    found = {}
    for workers in [1, *LOCK_WORKERS]:
        found[workers] = run_tool("larder-locks", *workload.arguments, "--workers", workers)
        one = found[workers]
        progress(f"{workload.name}, {workers} workers: contended a million requests: stripe "
                 f"{one['contended']['stripe']:.0f}, class {one['contended']['class']:.0f}; held "
                 f"{one['held_ns']['stripe']:.0f} and {one['held_ns']['class']:.0f} ns; "
                 f"{one['cpu_ns']:.0f} ns a request")
    return found


def lock_table(counts):
    table = Table(
        "locks", "Locks a request, and how often they were held by somebody else",
        ["", "locks a request",
         *(f"contended a million, {workers} workers" for workers in LOCK_WORKERS)],
        notes=["Key's locks + size classes' locks.  Engine and protocol without sockets, on threads that do nothing else, pipeline "
               "16; a million keys.  Two cores: with two workers it is what two cores do, with more also what preemption does to "
               "whoever holds a lock.  Other locks: none in a get or a set over a value; the page "
               "mover's once in 64 evictions."])
    for workload in WORKLOADS:
        found = counts[workload.name]
        taken = found[1]["taken"]
        table.add(workload.name,
                  f"{taken['stripe'] / 1e6:.2f} + {taken['class'] / 1e6:.2f}",
                  *(f"{found[w]['contended']['stripe']:,.0f} + "
                    f"{found[w]['contended']['class']:,.0f}" for w in LOCK_WORKERS))
    return table


# --- Lines ---

KINDS = ["key's lock", "item", "index", "size class", "other"]


def kind_of(frames):
    """Whose line an access is on, by the functions that it was inlined into."""
    text = " ".join(frames)
    first = frames[0] if frames else ""
    if "LockRank)2>" in text or "NextCas" in text or "NoteDeadline" in text:
        return "key's lock"
    if (any(name in text for name in ("LockRank)3>", "SlabClass::", "PickVictim", "TimeToSteal",
                                      "SettleClass")) or
            first.startswith(("larder::Store::Impl::Evict(", "larder::Store::Impl::Allocate("))):
        return "size class"
    if "IndexStripe::" in first:
        return "index"
    if any(name in text for name in ("Item::", "CopyBytes", "SameBytes", "Load64", "ChunkHeader",
                                    "HashOf")):
        return "item"
    if "IndexStripe::" in text:
        return "index"
    return "other"


def resolve(places):
    """{place: the functions there, the innermost first}."""
    lines = subprocess.run(
        ["addr2line", "-e", str(COUNTS / "larder-lines"), "-i", "-f", "-C", "-a",
         *(hex(place - 1) for place in places)], capture_output=True, text=True,
        check=True).stdout.splitlines()
    found = {}
    frames = []
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            frames = found.setdefault(int(line, 16) + 1, [])
        else:
            frames.append(line)
    # A function and its file by turns; those of the library say nothing.
    return {place: [name for name, file in zip(names[::2], names[1::2]) if "/c++/" not in file]
            for place, names in found.items()}


@dataclass
class Lines:
    shared_writes: dict      # a request, by kind
    transfers: dict

    @property
    def all_transfers(self):
        return sum(self.transfers.values())


def count_lines(workload, workers):
    found = run_tool("larder-lines", *workload.arguments, "--workers", workers, "--pipeline", 1)
    names = resolve([place[0] for place in found["places"]])
    lines = Lines(dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0))
    others = {}
    for place, shared, writes, reads in found["places"]:
        kind = kind_of(names[place])
        lines.shared_writes[kind] += shared / found["requests"]
        lines.transfers[kind] += (writes + reads) / found["requests"]
        if kind == "other":
            name = " < ".join(names[place][:3])
            others[name] = others.get(name, 0) + (shared + writes + reads) / found["requests"]
    progress(f"{workload.name}, {workers} workers: transfers a request "
             + ", ".join(f"{kind} {lines.transfers[kind]:.3f}" for kind in KINDS)
             + "; lines written that others write "
             + ", ".join(f"{kind} {lines.shared_writes[kind]:.3f}" for kind in KINDS))
    for name, share in sorted(others.items(), key=lambda one: -one[1])[:5]:
        if share >= 0.001:
            progress(f"  other: {share:.3f} {name}")
    return lines


def line_table(lines):
    workers = LINE_WORKERS[-2]
    table = Table(
        "lines", "Cache lines a request",
        ["", *KINDS, *(f"fetched, {workers} workers" for workers in LINE_WORKERS)],
        notes=[f"First columns: lines written that other workers write too, with {workers} "
               "workers, by what lies there.  Last columns: lines fetched because another worker "
               "wrote them, or taken from others to write them.  Simulated: every access of engine and protocol, as the compiler's ThreadSanitizer "
               "shows them, to private caches of 64-byte lines that never fill; the workers take "
               "turns after each request, which is as close as they can be.  Counts: the same in "
               "every run."])
    for workload in WORKLOADS:
        found = lines[workload.name]
        table.add(workload.name,
                  *(f"{found[workers].shared_writes[kind]:.2f}" for kind in KINDS),
                  *(f"{found[w].all_transfers:.2f}" for w in LINE_WORKERS))
    return table


# --- One worker against two, and the model ---

def cpu_per_request(server, load, workload, first_key, rounds, seconds):
    found = []
    for number in range(rounds):
        keys = (["--keys", 1 << 32, "--first-key", first_key] if workload.is_full
                else ["--keys", workload.keys])
        before = server.cpu_ns()
        result = load.run(server, *workload.load.split(), "-P", 16, *keys, "--seed", number + 1,
                          "-s", seconds)
        found.append((server.cpu_ns() - before) / result["requests"])
        first_key += result["requests"]
    return min(found)


def measure_one_worker(kind, load, machine, workload, args):
    """ns of CPU time a request of the whole server: the least of the rounds."""
    with Server(kind, machine, workload.memory_mb) as server:
        load.fill(server, workload.keys)
        return cpu_per_request(server, load, workload, workload.keys, args.rounds, args.seconds)


HEAVY = [("get, pipeline 16", "--op get -P 16"), ("get of 100 keys", "--op get -k 100"),
         ("get of 100 keys that miss", "--op miss -k 100"), ("set, pipeline 16", "--op set -P 16")]


def engine_cpu(workload, workers):
    return run_tool("larder-locks", *workload.arguments, "--workers", workers)["cpu_ns"]


def measure_two_workers(kind, load, machine, args):
    """Rows of the table: CPU time a request with one worker against that with two."""
    table = Table(
        "workers", "One worker against two",
        ["", "CPU time a request, one worker / two", "so two do, times one"],
        notes=["Engine alone: engine and protocol on threads that do nothing else, without "
               "sockets, pipeline 16; CPU time of the threads.  The others: CPU time of the whole "
               "server with 64 connections, one worker on one core against two workers on two, "
               f"by turns, median of {args.rounds} pairs (least–most); the load generator shares "
               "the second core.  Where requests cost no more CPU time on two cores, two cores "
               "answer twice as many: what two do is twice the ratio.  It is not their "
               "throughput, which the load generator limits on two cores."])
    for workload in WORKLOADS:
        ratios = [engine_cpu(workload, 1) / engine_cpu(workload, 2) for _ in range(args.rounds)]
        progress(f"engine, {workload.name}: one worker / two {spread(ratios)}")
        table.add(f"engine alone: {workload.name}", spread(ratios),
                  f"{2 * statistics.median(ratios):.2f}")
    both = f"{machine.server_cpu},{machine.client_cpu}"
    with Server(kind, machine, 1024) as one, \
            Server(kind, machine, 1024, ["-t", "2"], cpus=both) as two:
        for server in (one, two):
            load.fill(server, 1_000_000)
        for name, options in HEAVY:
            ratios = []
            for number in range(args.rounds):
                cpu = {}
                for server in ((one, two), (two, one))[number % 2]:
                    before = server.cpu_ns()
                    result = load.run(server, *options.split(), "-c", 64, "--keys", 1_000_000,
                                      "--seed", number + 1, "-s", args.seconds)
                    cpu[server] = (server.cpu_ns() - before) / result["requests"]
                ratios.append(cpu[one] / cpu[two])
            progress(f"{name}: one worker / two {spread(ratios)}")
            table.add(name, spread(ratios), f"{2 * statistics.median(ratios):.2f}")
    return table


def transfers_at(lines, cores):
    """Between the worker numbers that were simulated, by the share of other workers."""
    points = [(0.0, 0.0)] + [(1 - 1 / w, lines[w].all_transfers) for w in LINE_WORKERS]
    at = 1 - 1 / cores
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return points[-1][1]


def model(workload, locks, lines, own_ns, transfer_ns):
    """{cores: (requests a second, what limits them)}."""
    held = locks[1]["held_ns"]
    taken = locks[1]["taken"]
    # The most popular key's lock, and where all sizes are alike the one of their class.
    limits = [("the hottest key", workload.hottest * (held["stripe"] + transfer_ns)),
              ("the size class", taken["class"] / 1e6 * (held["class"] + transfer_ns))]
    found = {}
    for cores in CORES:
        free = cores * 1e9 / (own_ns + transfers_at(lines, cores) * transfer_ns)
        name, serial_ns = max(limits, key=lambda one: one[1])
        bound = 1e9 / serial_ns if serial_ns and cores > 1 else float("inf")
        found[cores] = min(free, bound), name if bound < free else ""
    return found


def model_table(transfer_ns, rows):
    table = Table(
        "model", "Throughput to 64 cores, in times that of one",
        ["", "a line costs", "CPU time a request", *(f"{cores} cores" for cores in CORES[1:]),
         "limit"],
        notes=[f"{transfer_ns:.0f} ns: measured, from one core of this machine to the other and "
               f"back, halved, the least of 2,000 tries.  {FAR_NS} ns: assumed, for a line that "
               "another socket has."])
    for workload, cost, own_ns, found in rows:
        limits = [f"{name} from {cores} cores" for cores, (_, name) in found.items() if name]
        table.add(workload.name, f"{cost:.0f} ns", f"{own_ns:,.0f} ns",
                  *(f"{found[cores][0] / found[1][0]:.1f}" for cores in CORES[1:]),
                  limits[0] if limits else "none")
    return table


def run(args, kinds, load, machine, _scratch):
    locks = {w.name: count_locks(w) for w in WORKLOADS}
    lines = {w.name: {n: count_lines(w, n) for n in LINE_WORKERS} for w in WORKLOADS}
    transfer_ns = run_tool("larder-locks", "--transfer")["transfer_ns"]
    rows = []
    for workload in WORKLOADS:
        own_ns = measure_one_worker(kinds[0], load, machine, workload, args)
        for cost in (transfer_ns, FAR_NS):
            rows.append((workload, cost, own_ns,
                         model(workload, locks[workload.name], lines[workload.name], own_ns, cost)))
    return [lock_table(locks), line_table(lines), model_table(transfer_ns, rows),
            measure_two_workers(kinds[0], load, machine, args)]
