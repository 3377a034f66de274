"""Sums over counters that are all different: each slot is in each sum once."""

from itertools import pairwise

from forwarder.observe import counters, sums

SLOTS = [number * number % 1009 for number in range(counters.SIZE)]
ANSWERS = SLOTS[: counters.HISTOGRAMS_AT]


def test_queries_and_responses_are_two_sums_of_the_same_answers() -> None:
    queries, responses = dict(sums.queries(SLOTS)), dict(sums.responses(SLOTS))
    assert sum(queries.values()) == sum(responses.values()) == sum(ANSWERS)
    assert len(queries) == len(counters.DOORS) * len(counters.TYPES)
    assert len(responses) == len(counters.RCODES) * len(counters.SOURCES)


def test_one_answer_is_found_where_it_was_counted() -> None:
    slots = counters.private()
    slots[counters.door_row("tcp", "ipv6") + counters.kind_for(28, counters.STALE, 3)] = 5
    assert {key: total for key, total in sums.queries(slots) if total} == {("tcp", "ipv6", "AAAA"): 5}
    assert {key: total for key, total in sums.responses(slots) if total} == {("NXDOMAIN", "stale"): 5}


def test_a_histogram_is_cumulative() -> None:
    slots = counters.private()
    first, second = counters.HISTOGRAMS[:2]
    for microseconds, times in ((8, 2), (1_800_000, 1), (9_000_000, 1)):
        counters.observe_microseconds(slots, first, microseconds, times)
    counters.observe_microseconds(slots, second, 40, 3)
    buckets, seconds = sums.histogram(slots, first)
    assert (buckets[0], buckets[-2], buckets[-1]) == (("1e-05", 2), ("5.0", 3), ("+Inf", 4))
    assert all(before <= after for (_, before), (_, after) in pairwise(buckets))
    assert seconds == 10.800016
    together, seconds = sums.histogram(slots, first, second)
    assert dict(together)["5e-05"] == 5
    assert (together[-1], round(seconds, 6)) == (("+Inf", 7), 10.800136)
