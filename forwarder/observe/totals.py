"""What was counted in all: by the workers that count now, by those before them, and by the workers of an instance before.

Each worker counts in a map of its own (`observe.counters`); this adds them up whenever somebody looks. Always holds: no
counter falls because a worker ends; a state ends with the worker whose it was.
"""

from array import array
from collections.abc import Iterable, Sequence
from operator import add

from forwarder.observe import counters

STATES = (
    *(
        counters.upstream_row(number) + place
        for number in range(counters.MAX_UPSTREAMS)
        for place in (counters.UP_IN_ROW, counters.CONNECTIONS_IN_ROW, counters.LOOPED_IN_ROW)
    ),
    *range(counters.CACHE_ENTRIES_AT, counters.CACHE_BYTES + 1),
    counters.IN_PROGRESS,
    counters.TCP_CONNECTIONS,
    counters.HEARTBEAT,
)
"""The slots that do not only grow: of no meaning once their worker is gone."""


class Totals:
    """The maps, and what is kept of those that are gone."""

    def __init__(self, past: memoryview) -> None:
        """`past` is a map of its own, in which what ended is kept."""
        self.past = past
        self._counting: list[memoryview] = []
        self._is_ours = True

    def begin(self, slots: memoryview) -> None:
        """Somebody counts here from now on."""
        self._counting.append(slots)

    def end(self, slots: memoryview) -> None:
        """Nobody counts here any more: keep what it came to."""
        self._counting = [other for other in self._counting if other is not slots]
        if self._is_ours:
            add_to(self.past, slots)

    def add(self, slot: int, number: int) -> None:
        """Count what the supervisor itself saw."""
        if self._is_ours:
            self.past[slot] += number

    def hand_over(self) -> None:
        """Somebody else keeps what ends from now on."""
        self._is_ours = False

    def summed(self) -> Sequence[int]:
        """Every slot over all maps; an upstream is up when it is up for all who ask it."""
        totals = list(self.past)
        for slots in self._counting:
            totals = list(map(add, totals, slots))
        for slot in self._up_slots():
            totals[slot] = min((slots[slot] for slots in self._counting if slots[counters.HEARTBEAT]), default=0)
        return totals

    @staticmethod
    def _up_slots() -> Iterable[int]:
        return (counters.upstream_row(number) + counters.UP_IN_ROW for number in range(counters.MAX_UPSTREAMS))


def add_to(past: memoryview, slots: memoryview) -> None:
    """Add one map to another, states left out."""
    summed = array("Q", map(add, past, slots))
    for slot in STATES:
        summed[slot] = 0
    past[:] = memoryview(summed)
