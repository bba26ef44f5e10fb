"""What the system's huge pages are worth: CPU time a request on the same items, and memory."""

import ctypes
import errno
import os
import re
import time
from contextlib import ExitStack
from pathlib import Path

from .report import Table, mebibytes, progress, spread
from .servers import BenchError, Server

KEYS = 5_000_000
MEMORY_MB = 1024
HUGE_BYTES = 2 << 20
SMALL_BYTES = 4096
SMALL_PER_HUGE = HUGE_BYTES // SMALL_BYTES
LEAST_PRESENT = 0.9          # of a huge page's small ones
ENTRY_BYTES = 8              # of /proc/PID/pagemap
MADV_COLLAPSE = 25
PROCESS_MADVISE = 440        # the number of the system call, on every architecture
LOADS = {
    "get of 100 keys": "--op get -k 100",
    "get, pipeline 16": "--op get -P 16",
    "get, one at a time": "--op get",
    "set, pipeline 16": "--op set -P 16",
}


class Range(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


def large_mappings(pid):
    """(begin, end) of the private memory that can be written, whole huge pages of it."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*$", line)
        if not match:
            continue
        begin, end = (int(word, 16) for word in match.groups())
        begin, end = -(-begin // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES
        if begin < end:
            yield begin, end


def dense_ranges(pid):
    """Where the huge pages of a server could be that would hardly cost memory."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for begin, end in large_mappings(pid):
            for at in range(begin, end, HUGE_BYTES):
                pagemap.seek(at // SMALL_BYTES * ENTRY_BYTES)
                entries = pagemap.read(SMALL_PER_HUGE * ENTRY_BYTES)
                # The top bit of an entry: the page is there.
                if sum(byte >> 7 for byte in entries[7::8]) >= LEAST_PRESENT * SMALL_PER_HUGE:
                    yield at


def collapse(pid):
    """Has the kernel lay a server's memory out as huge pages; returns the seconds it took."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.pidfd_open(pid)
    start = time.monotonic()
    for at in dense_ranges(pid):
        one = Range(at, HUGE_BYTES)
        done = libc.syscall(PROCESS_MADVISE, descriptor, ctypes.byref(one), 1, MADV_COLLAPSE, 0)
        if done < 0 and ctypes.get_errno() not in (errno.EAGAIN, errno.ENOMEM):
            raise BenchError(f"process_madvise: {os.strerror(ctypes.get_errno())}")
    os.close(descriptor)
    return time.monotonic() - start


def huge_bytes(pid):
    found = re.search(r"^AnonHugePages:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(),
                      re.M)
    return int(found[1]) * 1024


def cpu_per_request(server, load, arguments, seconds, seed):
    before = server.cpu_ns()
    result = load.run(server, *arguments.split(), "--keys", KEYS, "--seed", seed, "-s", seconds)
    return (server.cpu_ns() - before) / result["requests"]


def run(args, kinds, load, machine, _scratch):
    kind = kinds[0]
    table = Table(
        "pages", f"{kind.name} on small and on huge pages",
        ["", "small pages", "huge pages", "-L"],
        notes=[f"{KEYS // 10**6} million keys of 24 bytes with 100 bytes each, -m {MEMORY_MB}, one "
               "worker, 50 connections.  CPU time a request: how many times less than on small "
               f"pages, median of {args.rounds} runs of {args.seconds:g} s by turns (least–most). "
               " Huge pages: made of the small ones after filling (MADV_COLLAPSE)."])
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(kind, machine, MEMORY_MB, options))
                   for options in ([], [], ["-L"])]
        for server in servers:
            load.fill(server, KEYS)
        seconds = collapse(servers[1].pid)
        for name, arguments in LOADS.items():
            if args.only not in name:
                continue
            ratios = [[], []]
            for number in range(args.rounds):
                order = servers if number % 2 == 0 else servers[::-1]
                cpu = {s: cpu_per_request(s, load, arguments, args.seconds, number + 1)
                       for s in order}
                for i in (0, 1):
                    ratios[i].append(cpu[servers[0]] / cpu[servers[i + 1]])
            table.add(name, "1", *(spread(r) for r in ratios))
            progress(f"pages, {name}: huge {spread(ratios[0])}, -L {spread(ratios[1])}")
        table.add("resident, MiB", *(mebibytes(s.memory()[0]) for s in servers))
        table.add("of that on huge pages, MiB", *(mebibytes(huge_bytes(s.pid)) for s in servers))
    table.notes.append(f"Making the huge pages took {seconds:.1f} s.")
    return table
