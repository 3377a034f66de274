"""The names asked for most, those that fail most and those denied most, in the last minutes: estimated, in a few kilobytes.

Space-Saving (Metwally, Agrawal, El Abbadi 2005: Efficient computation of frequent and top-k elements in data streams) keeps a
bounded number of names: a new one takes the place of that with the least weight, and its weight as an error. Weights fade, by
halves every two minutes: later ones count more instead (forward decay, Cormode et al. 2009), so that nothing has to be walked
over. Pure: `now` is an argument, seconds that never go back. Always holds: a name that had more than one in CAPACITY of the
weight is among them; no share that is shown is larger than the name's own.
"""

import math
from collections.abc import Iterable
from heapq import heapify, heappush, heapreplace

from forwarder.errors import WireError
from forwarder.observe.notes import NXDOMAIN, Note, is_failing
from forwarder.observe.overview import Asked, Names
from forwarder.wire.names import read_name, text_from_name

CAPACITY = 512
"""Names of a list: what is asked for as one in 512 is found. 100 KB for all three."""
SHOWN = 20
"""Names of a list that are shown: a screen of them."""
HALF_LIFE = 120.0
"""Seconds after which a query counts half: after ten minutes it is a thirtieth."""
LEAST = 0.1
"""A name is shown while at least so much of a query has not faded: seven minutes for a single one."""
MOST_GROWTH = 2.0**32
"""What a query may count at most before all weights are scaled down: far from where floats become coarse."""
MOST_HALVES = 1000
"""After so many half-lives, a day and a half, nothing is left of what was: more would be no float."""


class Frequent:
    """The keys with the most weight."""

    def __init__(self, capacity: int) -> None:
        self.total = 0.0
        """The weight of all that was added."""
        self._capacity = capacity
        self._weights: dict[bytes, float] = {}
        self._errors: dict[bytes, float] = {}
        """How much of its weight may not be a key's own: what it found in its place."""
        self._lightest: list[tuple[float, bytes]] = []
        """Each key once, a heap by the weight it had when it was last looked at: never more than it has."""

    def add(self, key: bytes, weight: float) -> None:
        """This key, once more."""
        self.total += weight
        weights = self._weights
        if key in weights:
            weights[key] += weight
        elif len(weights) < self._capacity:
            weights[key] = weight
            self._errors[key] = 0.0
            heappush(self._lightest, (weight, key))
        else:
            error, lightest = self._settled()
            del weights[lightest], self._errors[lightest]
            weights[key] = error + weight
            self._errors[key] = error
            heapreplace(self._lightest, (error + weight, key))

    def heaviest(self, count: int) -> list[tuple[bytes, float]]:
        """At most so many keys with what they weigh at least, the heaviest first."""
        own = ((key, weight - self._errors[key]) for key, weight in self._weights.items())
        return sorted(own, key=lambda entry: (-entry[1], entry[0]))[:count]

    def scale(self, factor: float) -> None:
        """Make every weight so many times as heavy."""
        self.total *= factor
        self._weights = {key: weight * factor for key, weight in self._weights.items()}
        self._errors = {key: error * factor for key, error in self._errors.items()}
        self._lightest = [(weight, key) for key, weight in self._weights.items()]
        heapify(self._lightest)

    def _settled(self) -> tuple[float, bytes]:
        """The lightest key and its weight, at the top of the heap."""
        heap, weights = self._lightest, self._weights
        while heap[0][0] != (weight := weights[heap[0][1]]):
            heapreplace(heap, (weight, heap[0][1]))
        return heap[0]


class AskedNames:
    """The three lists."""

    def __init__(self, now: float) -> None:
        self._since = now
        """When a query counted as one; later ones count more."""
        self._looked_at = 0.0
        self._top, self._failing, self._denied = (Frequent(CAPACITY) for _ in range(3))

    def add(self, notes: Iterable[Note], now: float) -> None:
        """These were asked for; a note that names nothing is passed over."""
        growth = self._growth(now)
        for note in notes:
            try:
                name, _ = read_name(note.question, 0)
            except WireError:
                continue
            weight = note.stands_for * growth
            self._looked_at += growth
            self._top.add(name, weight)
            if is_failing(note.source, note.rcode):
                self._failing.add(name, weight)
            elif note.rcode == NXDOMAIN:
                self._denied.add(name, weight)

    def shown(self, now: float) -> Names:
        """What there is to see of it now."""
        growth = self._growth(now)
        top, failing, denied = (_shares(names, LEAST * growth) for names in (self._top, self._failing, self._denied))
        return Names(round(self._looked_at / growth), top, failing, denied)

    def _growth(self, now: float) -> float:
        """What a query counts now."""
        growth = math.exp2(min((now - self._since) / HALF_LIFE, MOST_HALVES))
        if growth > MOST_GROWTH:
            for names in (self._top, self._failing, self._denied):
                names.scale(1 / growth)
            self._looked_at /= growth
            self._since = now
            return 1.0
        return growth


def _shares(names: Frequent, least: float) -> list[Asked]:
    return [Asked(text_from_name(key), own / names.total) for key, own in names.heaviest(SHOWN) if own >= least]
