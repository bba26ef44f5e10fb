"""The longest a server keeps a request waiting while it grows from empty to four million items."""

import signal
import statistics
import time

from .report import Table, progress
from .servers import Server

ITEMS = 4_000_000
STEADY_ITEMS = 1_000_000
FIELDS = ["max_wall_us", "max_unqueued_us", "max_server_us"]


def probe_while(server, load, *arguments):
    """Runs a load and the probe beside it; what the probe saw, in microseconds."""
    probe = load.start(server, "probe", "--pid", server.pid, "--seconds", 600)
    try:
        time.sleep(0.3)
        load.run(server, *arguments)
    finally:
        probe.send_signal(signal.SIGINT)
        seen = load.finish(server, probe)
    return [seen[name] for name in FIELDS]


def measure(kind, machine, load, items):
    """What the probe saw while `items` new items came, and then while as many were overwritten."""
    store = ["--op", "set", "--order", "sequential", "--value-size", 10, "-c", 4, "-P", 16]
    with Server(kind, machine, 1024) as server:
        growing = probe_while(server, load, *store, "--keys", items, "-n", items)
        if int(server.stats()["curr_items"]) < items:
            progress(f"{kind.name} holds fewer than the {items} items stored")
        steady = probe_while(server, load, *store, "--keys", items, "-n", STEADY_ITEMS)
    return growing, steady


def run(args, kinds, load, machine, _scratch):
    table = Table(
        "stall", f"Longest wait of one request, growing from empty to {ITEMS // 10**6} million "
        "items, in ms",
        ["", "reply took", "less run queues", "the server's own"],
        notes=["One connection asks without pause, four others store.  *Reply took* holds all "
               "the noise of the machine; *less run queues* leaves out the time that the server's "
               "worker and the probe were ready and had no core; *the server's own* is at most "
               "that, and at most what all threads of the server computed between the request and "
               "its reply.  *Steady* overwrites what is there, so nothing grows.  Median of "
               f"{args.rounds} rounds (most)."])
    for kind in kinds:
        seen = []
        for number in range(args.rounds):
            seen.append(measure(kind, machine, load, ITEMS))
            progress(f"stall, {kind.name}, round {number + 1}: growing "
                     + ", ".join(f"{us / 1000:.2f}" for us in seen[-1][0]) + " ms; steady "
                     + ", ".join(f"{us / 1000:.2f}" for us in seen[-1][1]) + " ms")
        for index, phase in enumerate(["growing", "steady"]):
            cells = []
            for column in range(len(FIELDS)):
                figures = [pair[index][column] / 1000 for pair in seen]
                cells.append(f"{statistics.median(figures):.2f} ({max(figures):.2f})")
            table.add(f"{kind.name}, {phase}", *cells)
    return table
