"""Sums over the counters: what each metric says of the slots of all workers together.

Pure, never writes a slot. Always holds: every answer is in the sum by query and in the sum by response, once in each.
"""

from collections.abc import Iterator, Sequence

from forwarder.observe import counters

MICROSECONDS = 1_000_000
BOUNDS = (*(str(bound) for bound in counters.SECONDS_BUCKETS), "+Inf")
"""Upper bounds of the histograms, seconds, as they are written."""


def queries(slots: Sequence[int]) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Transport, family and type -> queries that were answered."""
    for transport, family in counters.DOORS:
        row = counters.door_row(transport, family)
        for number, name in enumerate(counters.TYPES):
            first = row + number * counters.PER_TYPE
            yield (transport, family, name), sum(slots[first : first + counters.PER_TYPE])


def responses(slots: Sequence[int]) -> Iterator[tuple[tuple[str, str], int]]:
    """RCODE and source -> responses."""
    for number, source in enumerate(counters.SOURCES):
        for rcode, name in enumerate(counters.RCODES):
            first = number * counters.PER_SOURCE + rcode
            yield (name, source), sum(slots[first : counters.HISTOGRAMS_AT : counters.PER_TYPE])


def histogram(slots: Sequence[int], *firsts: int) -> tuple[list[tuple[str, int]], float]:
    """Histograms that start at these slots, as one: upper bounds with how many took no longer, and the sum in seconds."""
    rows = [slots[first : first + counters.PER_HISTOGRAM] for first in firsts]
    *counts, microseconds = rows[0] if len(rows) == 1 else map(sum, zip(*rows, strict=True))
    so_far = 0
    buckets = []
    for bound, count in zip(BOUNDS, counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets, microseconds / MICROSECONDS
