"""What becomes of the memory when the size of the values changes."""

from .report import Table, progress
from .servers import Server

LIMIT_MB = 256
LIMIT = LIMIT_MB * 2**20
KEY = 24
SAMPLE = 4000
# How much of the new size has been written, in limits' worth of keys and values.
STEPS = [0.25, 0.5, 1.0, 2.0, 3.0]
PHASES = [(100, [2.0]), (2000, STEPS), (50_000, STEPS)]
KEYS_OF_A_PHASE = 100_000_000


def key_of(index):
    return "k" + str(index).zfill(KEY - 1)


def share_held(server, first_key, written, value_bytes):
    """Bytes of keys and values held of this size, over the limit: asks for a sample of the keys
    that were written, evenly spread, so it does not depend on what the server calls things."""
    stride = max(1, written // SAMPLE)
    keys = range(first_key, first_key + written, stride)
    found = 0
    with server.connect() as connection:
        reader = connection.makefile("rb")
        for start in range(0, len(keys), 500):
            batch = keys[start:start + 500]
            connection.sendall("".join(f"mg {key_of(k)} s\r\n" for k in batch).encode())
            found += sum(reader.readline().startswith(b"HD") for _ in batch)
    return found / len(keys) * written * (KEY + value_bytes) / LIMIT


def measure(kind, machine, load):
    """{(size, step): share} of one server that goes through all phases."""
    shares = {}
    with Server(kind, machine, LIMIT_MB) as server:
        for number, (value_bytes, steps) in enumerate(PHASES):
            first_key = number * KEYS_OF_A_PHASE
            written = 0
            for step in steps:
                target = int(step * LIMIT / (KEY + value_bytes))
                load.fill(server, target - written, "--value-size", value_bytes,
                          first_key=first_key + written)
                written = target
                shares[value_bytes, step] = share_held(server, first_key, written, value_bytes)
                progress(f"shift, {kind.name}: {value_bytes} bytes, {step:g} limits written: "
                         f"{shares[value_bytes, step]:.0%}")
    return shares


def run(_args, kinds, load, machine, _scratch):
    table = Table(
        "shift", "Share of -m that holds keys and values of the new size",
        ["after the sizes changed", *(f"{s:g} × -m written" for s in STEPS)],
        notes=[f"-m {LIMIT_MB}, filled with 100-byte values, then 2 KB, then 50 KB, written at "
               "full speed; 24-byte keys.  The share counts keys and values only."])
    for kind in kinds:
        shares = measure(kind, machine, load)
        for before, (value_bytes, steps) in zip(PHASES, PHASES[1:]):
            table.add(f"{kind.name}: {before[0]} → {value_bytes:,} bytes",
                      *(f"{shares[value_bytes, step]:.0%}" for step in steps))
    return table
