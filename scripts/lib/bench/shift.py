"""What becomes of the memory when the size of the values changes."""

import time

from .report import Table, progress
from .servers import Server, holds

LIMIT_MB = 256
LIMIT = LIMIT_MB * 2**20
KEY = 24
SAMPLE = 4000
# How much of the new size has been written, in limits' worth of keys and values.
STEPS = [0.25, 0.5, 1.0, 2.0, 3.0]
PHASES = [(100, [2.0]), (2000, STEPS), (50_000, STEPS)]
KEYS_OF_A_PHASE = 100_000_000
# Seconds that one limit's worth of writes takes: at full speed, and as a server may see it.
PACES = [0, 10]
SLICES_A_LIMIT = 40


def share_held(server, first_key, written, value_bytes):
    """Bytes of keys and values held of this size, over the limit: asks for a sample of the keys
    that were written, evenly spread, so it does not depend on what the server calls things."""
    stride = max(1, written // SAMPLE)
    keys = range(first_key, first_key + written, stride)
    found = sum(holds(server, keys))
    return found / len(keys) * written * (KEY + value_bytes) / LIMIT


def write(server, load, value_bytes, first_key, limits, seconds_a_limit):
    """Writes so many limits' worth of new keys, no faster than asked for; returns their number."""
    slices = max(1, round(limits * SLICES_A_LIMIT)) if seconds_a_limit else 1
    total = int(limits * LIMIT / (KEY + value_bytes))
    start = time.monotonic()
    for number in range(slices):
        begin, end = (total * n // slices for n in (number, number + 1))
        load.fill(server, end - begin, "--value-size", value_bytes, first_key=first_key + begin)
        ahead = start + (number + 1) / SLICES_A_LIMIT * seconds_a_limit - time.monotonic()
        time.sleep(max(0.0, ahead))
    return total


def measure(kind, machine, load, pace):
    """{(size, step): share} of one server that goes through all phases."""
    shares = {}
    with Server(kind, machine, LIMIT_MB) as server:
        for number, (value_bytes, steps) in enumerate(PHASES):
            first_key = number * KEYS_OF_A_PHASE
            written = 0
            done = 0.0
            for step in steps:
                written += write(server, load, value_bytes, first_key + written, step - done,
                                 pace if number > 0 else 0)
                done = step
                shares[value_bytes, step] = share_held(server, first_key, written, value_bytes)
                progress(f"shift, {kind.name}, {pace} s a limit: {value_bytes} bytes, {step:g} "
                         f"limits written: {shares[value_bytes, step]:.0%}")
    return shares


def run(_args, kinds, load, machine, _scratch):
    table = Table(
        "shift", "Share of -m that holds keys and values of the new size",
        ["after the sizes changed", *(f"{s:g} × -m written" for s in STEPS)],
        notes=[f"-m {LIMIT_MB}, filled with 100-byte values, then 2 KB, then 50 KB; 24-byte keys.  "
               "The share counts keys and values only.  Writes go at full speed, or, slowly, "
               f"so that {LIMIT_MB} MiB of them take {PACES[1]} seconds."])
    for pace in PACES:
        for kind in kinds:
            shares = measure(kind, machine, load, pace)
            for before, (value_bytes, steps) in zip(PHASES, PHASES[1:]):
                table.add(f"{kind.name}: {before[0]:,} → {value_bytes:,} bytes"
                          + (", slowly" if pace else ""),
                          *(f"{shares[value_bytes, step]:.0%}" for step in steps))
    return table
