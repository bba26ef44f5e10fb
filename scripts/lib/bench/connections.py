"""Memory that a client costs, idle and busy."""

import time

from .report import Table, progress, spread
from .servers import IdleClients, Server, allow_open_files

CLIENTS = 10_000
KEYS = 100_000
MORE_FILES = 1_000
MEMORY_MB = 64
SETTLE_SECONDS = 2


def measure(kind, machine, load):
    """(bytes an idle client, bytes a busy one at the worst moment)."""
    with Server(kind, machine, MEMORY_MB, ["-c", str(CLIENTS + MORE_FILES // 2)]) as server:
        load.fill(server, KEYS)
        # What the first clients make it allocate once.
        load.run(server, "--op", "get", "-P", 16, "--keys", KEYS, "-s", 1)
        time.sleep(SETTLE_SECONDS)
        before = server.memory()[0]
        with IdleClients(server, CLIENTS):
            time.sleep(SETTLE_SECONDS)
            idle = server.memory()[0] - before
        with Server(kind, machine, MEMORY_MB, ["-c", str(CLIENTS + MORE_FILES // 2)]) as other:
            load.fill(other, KEYS)
            load.run(other, "--op", "get", "-P", 16, "--keys", KEYS, "-s", 1)
            before = other.memory()[1]
            load.run(other, "--op", "get", "-P", 16, "--keys", KEYS, "-s", 3, "-c", CLIENTS)
            busy = other.memory()[1] - before
    progress(f"{kind.name}: {idle / CLIENTS:.0f} bytes an idle client, {busy / CLIENTS:.0f} a busy")
    return idle / CLIENTS, busy / CLIENTS


def run(args, kinds, load, machine, _scratch):
    allow_open_files(CLIENTS + MORE_FILES)
    table = Table(
        "connections", f"Resident memory that each of {CLIENTS:,} clients costs, in bytes",
        ["", *(kind.name for kind in kinds)],
        notes=["Idle: it has asked once and is silent.  Busy: all of them ask for 16 keys at a "
               "time, and it is the most there ever was.  One worker; user space only, the "
               f"kernel's buffers of a socket come on top.  Median of {args.rounds} servers "
               "(least–most)."])
    seen = [[measure(kind, machine, load) for _ in range(args.rounds)] for kind in kinds]
    for index, name in enumerate(["idle", "busy"]):
        table.add(name, *(spread([one[index] for one in rounds], digits=0) for rounds in seen))
    return table
