"""The layout of the counters: no two names share a slot, and every slot has a name."""

import itertools
import os
from collections.abc import Callable

import pytest

from forwarder.observe import counters


def spans() -> list[tuple[int, int]]:
    """First slot and number of slots of everything that is counted."""
    found = [(counters.door_row(transport, family), counters.PER_DOOR) for transport, family in counters.DOORS]
    found += [
        (counters.HISTOGRAMS_AT + number * counters.PER_HISTOGRAM, counters.PER_HISTOGRAM)
        for number in range(len(counters.SOURCES))
    ]
    for number in range(counters.MAX_UPSTREAMS):
        row = counters.upstream_row(number)
        found += [
            (row + counters.QUERIES_IN_ROW, len(counters.UPSTREAM_TRANSPORTS)),
            (row + counters.FAILURES_IN_ROW, len(counters.FAILURE_REASONS)),
            (row + counters.SECONDS_IN_ROW, counters.PER_HISTOGRAM),
            (row + counters.SERVFAIL_SECONDS_IN_ROW, counters.PER_HISTOGRAM),
            (row + counters.MISMATCHED_IN_ROW, 1),
            (row + counters.PROBE_FAILURES_IN_ROW, 1),
            (row + counters.UP_IN_ROW, 1),
            (row + counters.CONNECTIONS_IN_ROW, 1),
            (row + counters.LOOPED_IN_ROW, 1),
        ]
    found += [(counters.CACHE_ENTRIES_AT, len(counters.CACHE_KINDS)), (counters.CLIENT_REPEATS, len(counters.AFTER))]
    single = (
        counters.CACHE_BYTES, counters.CACHE_EVICTIONS, counters.COALESCED, counters.PREFETCHES, counters.DEADLINE_MISSED,
        counters.REFUSED_CLIENTS, counters.MALFORMED_QUERIES, counters.IN_PROGRESS, counters.TCP_CONNECTIONS,
        counters.SPLIT_PAIRS, counters.ALL_DOWN, counters.HEARTBEAT, counters.QUERY_LOG_DROPS, counters.QUERY_LOG_LEFT_OUT,
    )  # fmt: skip
    return found + [(slot, 1) for slot in single]


def test_the_map_is_full_and_nothing_overlaps() -> None:
    slots = [slot for first, length in spans() for slot in range(first, first + length)]
    assert sorted(slots) == list(range(counters.SIZE))


def test_every_answer_has_a_slot_of_its_own() -> None:
    qtypes = (*counters.TYPE_NAMES, 64)
    kinds = [
        counters.kind_for(qtype, source, rcode)
        for qtype, source, rcode in itertools.product(qtypes, range(len(counters.SOURCES)), range(len(counters.RCODES)))
    ]
    assert sorted(kinds) == list(range(counters.PER_DOOR))


@pytest.mark.parametrize("qtype", [0, 64, 65535])
def test_a_rare_type_counts_as_other(qtype: int) -> None:
    assert counters.kind_for(qtype, 0, 0) == counters.TYPES.index("other") * counters.PER_TYPE


def test_upstreams_beyond_the_last_row_share_it() -> None:
    last = counters.upstream_row(counters.MAX_UPSTREAMS - 1)
    assert counters.upstream_row(counters.MAX_UPSTREAMS) == counters.upstream_row(10_000) == last
    assert counters.upstream_row(counters.MAX_UPSTREAMS - 2) == last - counters.PER_UPSTREAM


def test_two_maps_of_one_descriptor_are_one_memory() -> None:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, counters.SIZE * 8)
    written, read = counters.mapped(descriptor), counters.mapped(descriptor)
    os.close(descriptor)
    written[0] += 1
    written[counters.SIZE - 1] += 2**40
    assert (read[0], read[counters.SIZE - 1], len(read)) == (1, 2**40, counters.SIZE)


def test_private_counters_start_at_zero() -> None:
    slots = counters.private()
    assert (len(slots), sum(slots)) == (counters.SIZE, 0)


@pytest.mark.parametrize(
    ("microseconds", "bucket"), [(0, 0), (10, 0), (11, 1), (1_800_000, 16), (5_000_000, 17), (5_000_001, 18), (10**12, 18)]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(microseconds: int, bucket: int) -> None:
    slots = counters.private()
    counters.observe_microseconds(slots, counters.HISTOGRAMS_AT, microseconds, times=3)
    histogram = slots[counters.HISTOGRAMS_AT : counters.HISTOGRAMS_AT + counters.PER_HISTOGRAM]
    assert histogram[bucket] == 3
    assert histogram[counters.PER_HISTOGRAM - 1] == 3 * microseconds
    assert sum(histogram) == 3 + 3 * microseconds


class TestDurations:
    """Written when the turn ends, each where it belongs, however they came together."""

    def test_equal_and_other_ones(self) -> None:
        slots, due = counters.private(), list[Callable[[], None]]()
        durations = counters.Durations(slots, counters.HISTOGRAMS_AT, due.append)
        for seconds in (0.0003, 0.0003, 0.002, 0.0003):
            durations.add(seconds)
        for write in due:
            write()
        histogram = slots[counters.HISTOGRAMS_AT : counters.HISTOGRAMS_AT + counters.PER_HISTOGRAM].tolist()
        assert histogram[counters.SECONDS_BUCKETS.index(500e-6)] == 3
        assert histogram[counters.SECONDS_BUCKETS.index(2.5e-3)] == 1
        assert histogram[-1] == 2900
        assert sum(slots) == 4 + 2900

    def test_asks_to_be_called_once_a_turn(self) -> None:
        slots, due = counters.private(), list[Callable[[], None]]()
        durations = counters.Durations(slots, counters.HISTOGRAMS_AT, due.append)
        for _ in range(2):
            durations.add(0.0)
            durations.add(0.001)
            durations.add(0.001)
            assert len(due) == 1
            due.pop()()
        assert slots[counters.HISTOGRAMS_AT] == 2
        assert slots[counters.HISTOGRAMS_AT + counters.SECONDS_BUCKETS.index(1e-3)] == 4
