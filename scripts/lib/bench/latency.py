"""Open loop: how long requests take at fixed rates, whatever the server does."""

import statistics
from dataclasses import dataclass

from .report import Table, progress, spread
from .servers import Server

KEYS = 1_000_000
RATES = [20_000, 60_000]
LEAST_SECONDS = 2
PERCENTILES = ["p50", "p99", "p99.9"]
LEAST_SHARE = 0.98           # of the rate that must have been kept


@dataclass
class Scenario:
    name: str
    load: str


SCENARIOS = [
    Scenario("get", "--op get"),
    Scenario("90 % get 10 % set, Zipf 0.99", "--op get=90,set=10 --order zipf"),
]


@dataclass
class Run:
    micros: dict             # by percentile
    share: float             # of the rate that was kept
    waits: list              # shares of the time that client and server were ready without a core


def measure(server, load, scenario, rate, seconds, seed):
    before = server.run_queue_ns()
    result = load.run(server, *scenario.load.split(), "--rate", rate, "--keys", KEYS,
                      "--seed", seed, "-s", seconds)
    waited = (server.run_queue_ns() - before) / 1e9
    return Run({p: result["latency_us"][p] for p in PERCENTILES},
               result["requests_per_second"] / rate,
               [result["client_wait_seconds"] / result["seconds"], waited / result["seconds"]])


def add_rows(table, kinds, name, pairs):
    for percentile in PERCENTILES:
        mine, theirs = ([pair[i].micros[percentile] for pair in pairs] for i in (0, 1))
        ratios = [t / m for m, t in zip(mine, theirs)]
        progress(f"{name}, {percentile}: {kinds[0].name} {spread(mine, 0)} us, {kinds[1].name} "
                 f"{spread(theirs, 0)} us, ratio {spread(ratios)}")
        table.add(f"{name}, {percentile}", spread(mine, 0), spread(theirs, 0), spread(ratios))


def run(args, kinds, load, machine, _scratch):
    seconds = max(args.seconds, LEAST_SECONDS)
    table = Table(
        "latency", "Latency at fixed rates, in microseconds",
        ["requests a second", *(kind.name for kind in kinds),
         f"{kinds[1].name} / {kinds[0].name}"],
        notes=[f"Open loop, Poisson arrivals over 50 connections; the latency of a request counts "
               "from the moment it was due.  24-byte keys, 100-byte values, a million keys; one "
               f"worker; {machine.description}.  By turns, {args.rounds} pairs of runs of "
               f"{seconds:g} s: median (least–most), and of the ratio within a pair: over 1, "
               f"{kinds[0].name} is faster."])
    waits = []
    kept = []
    servers = [Server(kind, machine, 1024) for kind in kinds]
    try:
        for server in servers:
            load.fill(server, KEYS)
        for scenario in [s for s in SCENARIOS if args.only in s.name]:
            for rate in RATES:
                pairs = []
                for number in range(args.rounds):
                    order = servers if number % 2 == 0 else servers[::-1]
                    pair = {s: measure(s, load, scenario, rate, seconds, number + 1)
                            for s in order}
                    pairs.append([pair[s] for s in servers])
                add_rows(table, kinds, f"{rate:,}, {scenario.name}", pairs)
                waits += [run.waits for pair in pairs for run in pair]
                kept += [run.share for pair in pairs for run in pair]
    finally:
        for server in servers:
            server.stop()
    if waits:
        client, served = (statistics.median(w[i] for w in waits) for i in (0, 1))
        table.notes.append(f"Other work of the machine had the load generator's core for {client:.1%} "
                           f"of the time, the server's for {served:.1%} (medians).")
    if kept and min(kept) < LEAST_SHARE:
        table.notes.append(f"The rate was not kept in each run: {min(kept):.0%} in the worst.")
    return table
