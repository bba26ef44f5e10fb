"""What the threads behind the requests cost: CPU time and wake-ups, idle and under load."""

import time
from dataclasses import dataclass

from .report import Table, progress, spread
from .servers import BenchError, Server

MEMORY_MB = 704
FILL_KEYS = 5_000_000
LEAST_ITEMS = 4_000_000
SETTLE_SECONDS = 3
IDLE_SECONDS = 20
LOAD_SECONDS = 10
BARS = {True: "2 %", False: "5 %"}  # of a core: idle, and under load
NEW_KEYS = 1 << 32


@dataclass
class State:
    name: str
    load: str = ""           # larder-bench options; empty: nobody asks for anything
    is_new: bool = False     # of keys that the server has never seen

    @property
    def is_idle(self):
        return not self.load


STATES = [
    State("idle"),
    State("get, one at a time", f"--op get --keys {LEAST_ITEMS}"),
    State("get, pipeline 16", f"--op get -P 16 --keys {LEAST_ITEMS}"),
    State("90 % get 10 % set, Zipf 0.99, pipeline 16",
          f"--op get=90,set=10 --order zipf -P 16 --keys {LEAST_ITEMS}"),
    State("set, every one evicts, pipeline 16", "--op set -P 16 --order sequential", is_new=True),
    State("the same, for 3 seconds each", "--op set -P 16 --order sequential --exptime 3",
          is_new=True),
    State("idle after that"),
]


def is_worker(name):
    return "worker" in name


@dataclass
class Usage:
    cpu: dict                # share of a core, by the name of the thread
    wakeups: float           # a second, of all of them

    @property
    def total(self):
        return sum(self.cpu.values())


def usage(before, after, seconds):
    """Of the threads that are no workers, between two looks at Server.threads()."""
    cpu = {}
    wakeups = 0
    for thread, now in after.items():
        if is_worker(now.name):
            continue
        then = before[thread]
        cpu[now.name] = cpu.get(now.name, 0) + (now.cpu_ns - then.cpu_ns) / 1e9 / seconds
        wakeups += now.wakeups - then.wakeups
    return Usage(cpu, wakeups / seconds)


def measure(server, load, state, first_key):
    """The usage in that state, and how many keys it used up."""
    process = None
    if state.is_idle:
        time.sleep(SETTLE_SECONDS)
    else:
        keys = ["--keys", NEW_KEYS - first_key, "--first-key", first_key] if state.is_new else []
        process = load.start(server, *state.load.split(), *keys, "-s", LOAD_SECONDS + 2)
        time.sleep(1)
    before, start = server.threads(), time.monotonic()
    time.sleep(IDLE_SECONDS if state.is_idle else LOAD_SECONDS)
    after, end = server.threads(), time.monotonic()
    requests = load.finish(server, process)["requests"] if process else 0
    return usage(before, after, end - start), requests if state.is_new else 0


def measure_all(kind, machine, load, states):
    found = {}
    with Server(kind, machine, MEMORY_MB) as server:
        if not any(is_worker(thread.name) for thread in server.threads().values()):
            raise BenchError(f"no thread of {kind.name} has a name with 'worker' in it")
        load.fill(server, FILL_KEYS)
        stats = server.stats()
        items, evictions = int(stats["curr_items"]), int(stats["evictions"])
        if kind.name == "larder" and (items < LEAST_ITEMS or evictions == 0):
            raise BenchError(f"{kind.name} holds {items} items after {evictions} evictions")
        first_key = FILL_KEYS
        for state in states:
            found[state.name], used = measure(server, load, state, first_key)
            first_key += used
            one = found[state.name]
            progress(f"{kind.name}, {items} items, {state.name}: {one.total:.2%} of a core, "
                     f"{one.wakeups:.1f} wake-ups a second; "
                     + ", ".join(f"{name} {share:.2%}" for name, share in one.cpu.items()
                                 if share >= 0.0001))
    return found


def run(args, kinds, load, machine, _scratch):
    states = [s for s in STATES if args.only in s.name]
    table = Table(
        "background", "CPU time of all threads but the workers, per cent of a core",
        ["", *(f"{kind.name}{what}" for kind in kinds for what in ("", ", wake-ups a second")),
         "bar"],
        notes=[f"-m {MEMORY_MB}, one worker, filled with {FILL_KEYS // 10**6} million keys of 24 "
               "bytes with 100 bytes each, so that it is full and evicts.  From the kernel's "
               "accounting of each thread (schedstat; a wake-up is a voluntary switch), over "
               f"{IDLE_SECONDS} s when idle and {LOAD_SECONDS} s under load, the largest thread's "
               f"share in brackets.  Median of {args.rounds} servers (least–most)."])
    rounds = [[measure_all(kind, machine, load, states) for kind in kinds]
              for _ in range(args.rounds)]
    for state in states:
        cells = []
        for index in range(len(kinds)):
            seen = [one[index][state.name] for one in rounds]
            middle = sorted(seen, key=lambda u: u.total)[len(seen) // 2]
            largest = max(middle.cpu, key=middle.cpu.get)
            cells += [f"{spread([100 * u.total for u in seen])} [{largest}]",
                      spread([u.wakeups for u in seen], digits=1)]
        table.add(state.name, *cells, BARS[state.is_idle])
    return table
