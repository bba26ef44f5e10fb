"""How much fits into -m, and what the process takes beside it."""

from dataclasses import dataclass

from .report import Table, mebibytes, progress
from .servers import Server, holds, value_size_of

LIMIT_MB = 256
LIMIT = LIMIT_MB * 2**20


@dataclass
class Shape:
    name: str
    keys: str
    values: str

    @property
    def payload(self):
        """Mean bytes of a key and its value."""
        return sum(sum(map(int, text.split("-"))) / len(text.split("-"))
                   for text in (self.keys, self.values))


SHAPES = [
    Shape("10", "24", "10"),
    Shape("100", "24", "100"),
    Shape("100, keys of 20–30", "20-30", "100"),
    Shape("500", "24", "500"),
    Shape("1000", "24", "1000"),
    Shape("4000", "24", "4000"),
    Shape("10–4000", "24", "10-4000"),
]


@dataclass
class Held:
    items: int
    payload: float  # mean bytes of key and value of what is held
    rss: int
    peak: int


def mean_payload(server, shape, written):
    """Of the items held, of which a server may prefer some sizes to others."""
    if "-" not in shape.values:
        return shape.payload
    low, high = map(int, shape.values.split("-"))
    sizes = [int(shape.keys) + value_size_of(i, low, high)
             for i, is_held in enumerate(holds(server, range(written))) if is_held]
    return sum(sizes) / len(sizes)


def hold(kind, machine, load, shape):
    """Stores new keys until half of what is held has been evicted once more."""
    with Server(kind, machine, LIMIT_MB) as server:
        written = 0
        step = int(LIMIT / (shape.payload + 50) / 4)
        while True:
            load.fill(server, step, "--key-size", shape.keys, "--value-size", shape.values,
                      first_key=written)
            written += step
            stats = server.stats()
            items, evictions = int(stats["curr_items"]), int(stats["evictions"])
            if evictions > items / 2 or written > 40 * step:
                return Held(items, mean_payload(server, shape, written), *server.memory())


def run(args, kinds, load, machine, _scratch):
    mine, theirs = kinds
    table = Table(
        "memory", f"Items under -m {LIMIT_MB}",
        ["bytes of value", f"items, {mine.name}", f"items, {theirs.name}", "ratio",
         f"keys and values, {mine.name}", f"keys and values, {theirs.name}",
         f"overhead, {mine.name}", f"overhead, {theirs.name}",
         f"RSS (peak) MiB, {mine.name}", f"RSS (peak) MiB, {theirs.name}"],
        notes=["Keys and values: the bytes of those held, over -m.  Overhead: bytes of -m over items "
               "held, less key and value; CAS on, keys of 24 bytes unless said.  Stored in order "
               "until half of what fits was evicted.  Where sizes are mixed, a server may hold more "
               "items by preferring small ones."])
    for shape in SHAPES:
        if args.only not in shape.name:
            continue
        held = [hold(kind, machine, load, shape) for kind in kinds]
        overhead = [f"{LIMIT / h.items - h.payload:.1f}" for h in held]
        shares = [f"{h.items * h.payload / LIMIT:.1%}" for h in held]
        rss = [f"{mebibytes(h.rss)} ({mebibytes(h.peak)})" for h in held]
        table.add(shape.name, f"{held[0].items:,}", f"{held[1].items:,}",
                  f"{held[0].items / held[1].items:.2f}", *shares, *overhead, *rss)
        progress(" | ".join(table.rows[-1]))
    return table
