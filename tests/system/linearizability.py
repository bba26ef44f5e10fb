"""Decides whether what clients saw of one key could have happened one operation at a time.

A history is a list of operations with the moments of their call and their return.  It is linearizable when each can be
given one moment between the two so that the results are those of a sequential cache.  Keys do not depend on each other,
so each key's history is decided alone.

Sources: M. Herlihy, J. Wing, "Linearizability", TOPLAS 1990; J. Wing, C. Gong, "Testing and verifying concurrent
objects", JPDC 1993; G. Lowe, "Testing for linearizability", CCPE 2017 (remembering the configurations that were tried).
"""

import dataclasses

_LIMIT = 2**64
_BLANKS = b" \t\n\v\f\r"


@dataclasses.dataclass
class Operation:
    """One request and its result.  `order`: the client's operations on this key took effect in this order."""

    client: int
    name: str
    arguments: dict
    result: tuple
    call: float
    end: float
    order: int = 0


@dataclasses.dataclass(frozen=True)
class Item:
    """What the key holds.  `cas` is None until somebody was told it."""

    value: bytes
    flags: int = 0
    cas: int = None
    stale: bool = False
    token: bool = False  # one reader was told to fetch a new value
    counted: bool = False  # by incr or decr: then another version may have had the same value

    def has_cas(self, unique, value):
        """True, False, or None when it cannot be known.  `value` is what the unique was seen with."""
        if self.cas is not None:
            return self.cas == unique
        if self.value != value:
            return False
        return None if self.counted else True


def number_of(value):
    """A counter's number; None when the value is none."""
    text = value.lstrip(_BLANKS)
    if text.startswith(b"+"):
        text = text[1:]
    end = 0
    while end < len(text) and text[end : end + 1].isdigit():
        end += 1
    if end == 0 or (end < len(text) and text[end] not in _BLANKS):
        return None
    number = int(text[:end])
    return number if number < _LIMIT else None


class Cache:
    """The sequential specification: which items the key may hold after an operation with this result.

    A state is a frozenset of items the key may hold (None: it holds nothing); an empty one: impossible.
    """

    def __init__(self, may_vanish=False):
        """`may_vanish`: evictions may take the item at any time."""
        self.may_vanish = may_vanish
        self.start = frozenset([None])

    def step(self, state, operation):
        follow = getattr(self, "_" + operation.name)
        found = set()
        for item in state:
            found.update(follow(item, operation.arguments, operation.result))
            if self.may_vanish and item is not None:
                found.update(follow(None, operation.arguments, operation.result))
        return frozenset(found)

    # Each returns the items that may be there next; none: the result cannot be.

    @staticmethod
    def _get(item, _, result):
        """gets and gats: ("hit", value, flags, cas) or ("miss",)."""
        if item is None:
            return [None] if result == ("miss",) else []
        if result[0] != "hit" or result[1:3] != (item.value, item.flags):
            return []
        if item.cas not in (None, result[3]):
            return []
        return [dataclasses.replace(item, cas=result[3])]

    @staticmethod
    def _touch(item, _, result):
        return [item] if result == (("miss",) if item is None else ("done",)) else []

    def _store(self, item, asked, result):
        """Every mode: asked has mode, value, flags; perhaps unique (and seen, its value), new_cas, stale."""
        mode = asked["mode"]
        if mode == "cas":
            return self._compare_and_swap(item, asked, result)
        refused = {"set": False, "add": item is not None}.get(mode, item is None)
        if refused:
            return [item] if result[0] == "not stored" else []
        if result[0] != "stored":
            return []
        value, flags = asked["value"], asked["flags"]
        if mode in ("append", "prepend"):
            value = item.value + value if mode == "append" else value + item.value
            flags = item.flags
        return [Item(value, flags, self._new_cas(asked, result))]

    def _compare_and_swap(self, item, asked, result):
        if item is None:
            return [None] if result[0] == "missing" else []
        same = item.has_cas(asked["unique"], asked["seen"])
        new = Item(asked["value"], asked["flags"], self._new_cas(asked, result))
        if result[0] == "stored":
            if asked.get("stale"):
                # A lower unique stores too, as stale.  Without the item's own we cannot compare.
                old = dataclasses.replace(new, stale=True, token=item.token)
                lower = item.cas is None or asked["unique"] < item.cas
                return ([new] if same is not False else []) + ([old] if same is not True and lower else [])
            return [new] if same is not False else []
        if result[0] == "exists":
            return [item] if same is not True else []
        return []

    def _delete(self, item, asked, result):
        """asked: unique and seen (or unique None), invalidate."""
        if item is None:
            return [None] if result == ("missing",) else []
        same = True if asked.get("unique") is None else item.has_cas(asked["unique"], asked["seen"])
        if result == ("exists",):
            return [item] if same is not True else []
        if result != ("deleted",) or same is False:
            return []
        if asked.get("invalidate"):
            return [dataclasses.replace(item, cas=None, stale=True, token=False, counted=True)]
        return [None]

    def _count(self, item, asked, result):
        """asked: down, delta, initial (None: a miss stays one); result: ("number", n, cas or None)."""
        if item is None:
            if asked["initial"] is None:
                return [None] if result == ("missing",) else []
            if result[:2] != ("number", asked["initial"]):
                return []
            return [Item(b"%d" % asked["initial"], 0, result[2], counted=True)]
        before = number_of(item.value)
        if before is None:
            return [item] if result == ("not a number",) else []
        delta = asked["delta"]
        after = max(0, before - delta) if asked["down"] else (before + delta) % _LIMIT
        if result[:2] != ("number", after):
            return []
        text = b"%d" % after
        if len(text) > len(item.value):  # a new item
            return [Item(text, item.flags, result[2], counted=True)]
        return [dataclasses.replace(item, value=text.ljust(len(item.value)), cas=result[2], counted=True)]

    @staticmethod
    def _meta_get(item, asked, result):
        """asked: vivify; result: ("hit", value, flags, cas, set of W X Z) or ("miss",)."""
        if item is None:
            if not asked["vivify"]:
                return [None] if result == ("miss",) else []
            made = result[0] == "hit" and result[1:3] == (b"", 0) and result[4] == frozenset("W")
            return [Item(b"", 0, result[3], token=True, counted=True)] if made else []
        if result[0] != "hit" or result[1:3] != (item.value, item.flags) or item.cas not in (None, result[3]):
            return []
        wins = item.stale and not item.token
        shown = frozenset(("X" if item.stale else "") + ("Z" if item.token else "") + ("W" if wins else ""))
        if result[4] != shown:
            return []
        return [dataclasses.replace(item, cas=result[3], token=item.token or wins)]

    @staticmethod
    def _new_cas(asked, result):
        """What is known of the CAS of what was stored: asked for, told, or nothing."""
        told = result[1] if len(result) > 1 else None
        return told if told is not None else asked.get("new_cas")


class _Entry:
    """A call or a return, in a doubly linked list."""

    __slots__ = ("operation", "index", "match", "before", "after", "needs")

    def __init__(self, operation, index):
        self.operation = operation
        self.index = index
        self.match = None  # a call's return; None for a return
        self.before = self.after = None
        self.needs = 0  # the bit of the client's operation before


def _entries(history):
    """The list's head."""
    events = []
    history = sorted(history, key=lambda o: (o.call, o.order))
    latest = {}
    for index, operation in enumerate(history):
        call, end = _Entry(operation, index), _Entry(operation, index)
        call.match = end
        call.needs = latest.get(operation.client, 0)
        latest[operation.client] = 1 << index
        # At the same moment calls come first: then the two overlap, which forbids less.
        events += [(operation.call, 0, index, call), (operation.end, 1, index, end)]
    head = last = _Entry(None, -1)
    for *_, entry in sorted(events, key=lambda e: e[:3]):
        last.after, entry.before = entry, last
        last = entry
    return head


def _lift(entry):
    for one in (entry, entry.match):
        one.before.after = one.after
        if one.after is not None:
            one.after.before = one.before


def _unlift(entry):
    for one in (entry.match, entry):
        one.before.after = one
        if one.after is not None:
            one.after.before = one


def is_linearizable(history, cache):
    """Searches for an order; remembers each set of operations done with the state it led to."""
    head = _entries(history)
    state, done = cache.start, 0
    taken, tried = [], set()
    entry = head.after
    while head.after is not None:
        if entry.match is not None:
            follows = not entry.needs or done & entry.needs
            after = cache.step(state, entry.operation) if follows else None
            if after:
                now_done = done | 1 << entry.index
                configuration = (now_done, after)
                if configuration not in tried:
                    tried.add(configuration)
                    taken.append((entry, state, done))
                    state, done = after, now_done
                    _lift(entry)
                    entry = head.after
                    continue
            entry = entry.after
            continue
        # This one has returned, and no order has it done by now: take back the last choice.
        if not taken:
            return False
        entry, state, done = taken.pop()
        _unlift(entry)
        entry = entry.after
    return True
