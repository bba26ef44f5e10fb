"""Which share of a trace's requests finds its key, at equal memory."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

from .report import Table, progress
from .servers import BenchError, Server

MEMORY_MB = [16, 32, 64]
# As `larder-bench replay` calls them.
TRACES = ["zipf-0.8", "zipf-1.0", "zipf-1.2", "one-hit", "scan", "size-shift", "popularity-shift",
          "loop"]
# Beyond that a replay that keeps time says too little: values expired early, as seen by the trace.
LATEST_MS = 1000


def optimum(load, trace, memory_mb):
    command = [load.path, "replay", trace, "-m", str(memory_mb), "--optimum", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)["ratio"]


def replay(kind, machine, load, trace, memory_mb):
    with Server(kind, machine, memory_mb, cpus=f"{machine.server_cpu},{machine.client_cpu}") as server:
        result = load.run(server, "replay", trace, "-m", memory_mb)
        if result["latest_ms"] > LATEST_MS:
            progress(f"{kind.name}, {trace}: {result['latest_ms']} ms behind the trace's clock")
        if int(server.stats()["evictions"]) == 0:
            raise BenchError(f"{kind.name} evicted nothing in {trace} with -m {memory_mb}")
        return result["ratio"]


def run(args, kinds, load, machine, _scratch):
    mine, theirs = kinds
    table = Table(
        "hits", "Hit ratio at equal memory",
        ["trace", "-m", mine.name, theirs.name, "gain", "optimum", "of the way to it"],
        notes=["A get; on a miss a set of the same key.  All requests count, those before the cache "
               "was full too.  Values of 20–2000 bytes, as many small ones as large ones on a scale of "
               "ratios (zipf-1.2: 60–6000), keys of 20.  *Optimum* knows the future (Belady: out goes what is used "
               "farthest from now), has 32 bytes of overhead an item and loses nothing to chunks or "
               "pages; *of the way to it*: the gain as a share of what it is above the peer."])
    for trace in TRACES:
        if args.only not in trace:
            continue
        for memory_mb in MEMORY_MB:
            # Hits are counts: nothing is lost by playing to both at once.
            with ThreadPoolExecutor(3) as pool:
                best = pool.submit(optimum, load, trace, memory_mb)
                ratios = list(pool.map(lambda kind: replay(kind, machine, load, trace, memory_mb),
                                       kinds))
            gain, room = ratios[0] - ratios[1], best.result() - ratios[1]
            table.add(trace, memory_mb, *(f"{ratio:.4f}" for ratio in ratios), f"{gain:+.4f}",
                      f"{best.result():.4f}", f"{gain / room:.0%}")
            progress(" | ".join(table.rows[-1]))
    return table
