"""A mapping that never outgrows its byte budget: what must go is chosen by SIEVE.

SIEVE (Zhang et al., NSDI 2024): entries stand in the order of their arrival; a hand walks from the oldest towards the newest,
spares and unmarks what was asked for since it last came by, and removes the first that was not. Nothing moves on a hit, which
costs one attribute.

Always holds: the sizes of the entries add up to `used`, `used` is at most `budget` after every `put`, each key stands once. The
links between neighbours are the only cycles, and a removed entry has none, so that reference counting frees it at once.
"""

from typing import Generic, TypeVar

import msgspec


class Entry(msgspec.Struct, eq=False, gc=False):
    """What a bounded mapping holds; its owner adds fields."""

    key: bytes
    size: int
    """Octets charged to the budget; never changes."""
    group: int = 0
    """0 or 1: which of two kinds it is counted as."""
    visited: bool = False
    newer: "Entry | None" = None
    older: "Entry | None" = None


E = TypeVar("E", bound=Entry)


class Bounded(Generic[E]):
    """Entries by key, within a budget of octets."""

    __slots__ = ("_hand", "_newest", "_oldest", "budget", "entries", "evictions", "groups", "used")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.groups = [0, 0]
        """How many entries of each group there are."""
        self.used = 0
        self.evictions = 0
        self.entries: dict[bytes, E] = {}
        """For looking up; whoever finds an entry that somebody asked for sets its `visited`."""
        self._newest: Entry | None = None
        self._oldest: Entry | None = None
        self._hand: Entry | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def take_evictions(self) -> int:
        """Entries that had to go before their time, since the last call."""
        taken, self.evictions = self.evictions, 0
        return taken

    def put(self, entry: E) -> bool:
        """Whether the entry is kept, in place of one with the same key: one larger than the whole budget is not."""
        entries, key, size = self.entries, entry.key, entry.size
        known = entries.get(key)
        if known is not None:
            entry.visited = known.visited
            self.remove(known)
        if size > self.budget:
            return False
        if self.used + size > self.budget:
            self._make_room(size)
        entries[key] = entry
        self.used += size
        self.groups[entry.group] += 1
        newest = self._newest
        entry.older = newest
        if newest is None:
            self._oldest = entry
        else:
            newest.newer = entry
        self._newest = entry
        return True

    def remove(self, entry: Entry) -> None:
        """Forget an entry that is in the mapping."""
        older, newer = entry.older, entry.newer
        if entry is self._hand:
            self._hand = newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        entry.older = entry.newer = None
        self.used -= entry.size
        self.groups[entry.group] -= 1
        del self.entries[entry.key]

    def clear(self) -> None:
        """Forget everything."""
        while self._oldest is not None:
            self.remove(self._oldest)

    def _make_room(self, size: int) -> None:
        """Turn the hand until so many octets fit. A spared entry is not spared twice: it ends, and the budget holds them."""
        entries, groups = self.entries, self.groups
        hand = self._hand or self._oldest
        while hand is not None and self.used + size > self.budget:
            while hand.visited:
                hand.visited = False
                hand = hand.newer or self._oldest
                assert hand is not None  # noqa: S101 - the entry just spared is in the mapping
            older, newer = hand.older, hand.newer
            if older is None:
                self._oldest = newer
            else:
                older.newer = newer
            if newer is None:
                self._newest = older
            else:
                newer.older = older
            hand.older = hand.newer = None
            self.used -= hand.size
            groups[hand.group] -= 1
            del entries[hand.key]
            self.evictions += 1
            self._hand = newer
            hand = newer or self._oldest
