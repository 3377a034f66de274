"""The counters in all: summed over those who count, kept of those who ended, and no state of anybody who is gone."""

import pytest

from forwarder.observe import counters
from forwarder.observe.totals import STATES, Totals, add_to

FIRST, SECOND = counters.upstream_row(0), counters.upstream_row(1)
COUNTED = (counters.COALESCED, counters.DEADLINE_MISSED, FIRST + counters.QUERIES_IN_ROW, SECOND + counters.SECONDS_IN_ROW, 0)
"""Slots that only grow."""
UP = FIRST + counters.UP_IN_ROW
SUMMED = (
    FIRST + counters.CONNECTIONS_IN_ROW,
    SECOND + counters.LOOPED_IN_ROW,
    counters.CACHE_ENTRIES_AT,
    counters.CACHE_ENTRIES_AT + len(counters.CACHE_KINDS) - 1,
    counters.CACHE_BYTES,
    counters.IN_PROGRESS,
    counters.TCP_CONNECTIONS,
)
"""States that add up over those who serve."""


def counting(value: int = 1, *, beats: int = 1) -> memoryview:
    """The map of a worker that has counted so much everywhere."""
    slots = counters.private()
    for slot in range(counters.SIZE):
        slots[slot] = value
    slots[counters.HEARTBEAT] = beats
    return slots


@pytest.fixture
def totals() -> Totals:
    return Totals(counters.private())


def test_nothing_was_counted_before_anybody_counts(totals: Totals) -> None:
    assert list(totals.summed()) == [0] * counters.SIZE


def test_it_is_the_sum_over_all_maps_as_they_are_now(totals: Totals) -> None:
    one, other = counting(3), counting(4)
    totals.begin(one)
    totals.begin(other)
    assert {totals.summed()[slot] for slot in (*COUNTED, *SUMMED)} == {7}
    one[counters.COALESCED] += 10
    assert totals.summed()[counters.COALESCED] == 17
    assert one[counters.COALESCED] == 13, "nobody writes but the worker"


def test_what_was_counted_stays_and_a_state_ends_with_its_worker(totals: Totals) -> None:
    one, other = counting(3), counting(4)
    totals.begin(one)
    totals.begin(other)
    totals.end(one)
    assert {totals.summed()[slot] for slot in COUNTED} == {7}
    assert {totals.summed()[slot] for slot in SUMMED} == {4}
    totals.end(other)
    assert {totals.summed()[slot] for slot in COUNTED} == {7}
    assert {totals.summed()[slot] for slot in STATES} == {0}


def test_a_map_is_kept_once_though_its_worker_counted_on_until_its_end(totals: Totals) -> None:
    slots = counting(1)
    totals.begin(slots)
    slots[counters.COALESCED] = 5
    totals.end(slots)
    slots[counters.COALESCED] = 99
    assert totals.summed()[counters.COALESCED] == 5
    totals.begin(counting(2))
    assert totals.summed()[counters.COALESCED] == 7


@pytest.mark.parametrize("ending", [0, 1, 2])
def test_maps_of_equal_content_are_not_the_same(totals: Totals, ending: int) -> None:
    """Memoryviews are equal when what they hold is; a worker is not another that counted as much."""
    workers = [counting(2), counting(2), counting(2)]
    for slots in workers:
        totals.begin(slots)
    totals.end(workers[ending])
    assert totals.summed()[counters.COALESCED] == 6
    assert totals.summed()[counters.IN_PROGRESS] == 4
    for slots in workers:
        slots[counters.COALESCED] += 10
    assert totals.summed()[counters.COALESCED] == 26, "the two that are left count on, and the one that ended does not"


@pytest.mark.parametrize(
    ("maps", "up"),
    [
        ([(1, 5), (1, 9)], 1),
        ([(1, 5), (0, 9)], 0),
        ([(0, 5), (0, 9)], 0),
        ([(1, 5), (0, 0)], 1),
        ([(0, 0), (0, 0)], 0),
        ([], 0),
    ],
    ids=["for both", "for one alone", "for none", "the other does not serve yet", "nobody serves", "nobody is there"],
)
def test_an_upstream_is_up_when_it_is_for_all_who_serve(totals: Totals, maps: list[tuple[int, int]], up: int) -> None:
    for is_up, beats in maps:
        slots = counting(0, beats=beats)
        slots[UP] = is_up
        totals.begin(slots)
    assert totals.summed()[UP] == up
    assert totals.summed()[SECOND + counters.UP_IN_ROW] == 0


def test_a_worker_that_saw_it_down_and_is_gone_has_no_say(totals: Totals) -> None:
    one, other = counting(0), counting(0)
    one[UP] = 1
    totals.begin(one)
    totals.begin(other)
    totals.end(other)
    assert totals.summed()[UP] == 1


def test_what_ends_after_the_handing_over_is_kept_by_who_took_over() -> None:
    """Both have the same map of what is past; counted twice it would be if both kept it."""
    past = counters.private()
    former, successor = Totals(past), Totals(past)
    slots = counting(3)
    former.begin(slots)
    former.hand_over()
    former.end(slots)
    assert past[counters.COALESCED] == 0
    assert former.summed()[counters.COALESCED] == 0, "nobody counts there any more"
    successor.end(slots)
    assert past[counters.COALESCED] == successor.summed()[counters.COALESCED] == 3


def test_what_an_instance_before_counted_is_counted_on() -> None:
    past = counters.private()
    past[counters.COALESCED] = 40
    totals = Totals(past)
    totals.begin(counting(2))
    assert totals.summed()[counters.COALESCED] == 42


def test_no_state_is_kept_when_a_map_is_added() -> None:
    past = counters.private()
    add_to(past, counting(2))
    add_to(past, counting(3))
    assert {past[slot] for slot in range(counters.SIZE) if slot not in STATES} == {5}
    assert {past[slot] for slot in STATES} == {0}


def test_the_states_are_the_gauges_and_the_heartbeat() -> None:
    """Each upstream has three, and so much of the rest is one."""
    assert {*SUMMED, UP, counters.HEARTBEAT} < set(STATES)
    assert len(STATES) == len(set(STATES)) == 3 * counters.MAX_UPSTREAMS + len(counters.CACHE_KINDS) + 4
    assert not set(COUNTED) & set(STATES)


def test_what_the_supervisor_counts_is_kept_until_somebody_else_keeps_it(totals: Totals) -> None:
    totals.add(counters.QUERY_LOG_DROPS, 3)
    totals.begin(counting(2))
    totals.add(counters.QUERY_LOG_DROPS, 1)
    assert totals.summed()[counters.QUERY_LOG_DROPS] == 6
    totals.hand_over()
    totals.add(counters.QUERY_LOG_DROPS, 9)
    assert totals.summed()[counters.QUERY_LOG_DROPS] == 6
