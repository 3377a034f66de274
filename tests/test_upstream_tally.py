"""One upstream's row in the counters: each method moves its own slot and no other."""

import pytest

from forwarder.observe import counters
from forwarder.upstream.tally import REASON_FOR_RCODE, TCP, UDP, Tally
from forwarder.upstream.turn import Turn

ROW = 3
TURN = Turn(lambda: 1000.0)


@pytest.fixture
def slots() -> memoryview:
    return counters.private()


@pytest.fixture
def tally(slots: memoryview) -> Tally:
    return Tally(slots, ROW, TURN)


def moved(slots: memoryview) -> dict[int, int]:
    """What is not zero, by place in the row."""
    row = counters.upstream_row(ROW)
    found = {place: value for place, value in enumerate(slots) if value}
    assert all(row <= place < row + counters.PER_UPSTREAM for place in found)
    return {place - row: value for place, value in found.items()}


@pytest.mark.parametrize(("transport", "name"), [(UDP, "udp"), (TCP, "tcp")])
def test_queries_by_transport(slots: memoryview, tally: Tally, transport: int, name: str) -> None:
    slots[tally.sent_slot(transport)] += 2
    assert moved(slots) == {counters.QUERIES_IN_ROW + counters.UPSTREAM_TRANSPORTS.index(name): 2}


@pytest.mark.parametrize("reason", counters.FAILURE_REASONS)
def test_failures_by_reason(slots: memoryview, tally: Tally, reason: str) -> None:
    tally.failed(reason)
    assert moved(slots) == {counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index(reason): 1}


@pytest.mark.parametrize(("rcode", "reason"), [(1, "formerr"), (2, "servfail"), (4, "notimp"), (5, "refused")])
def test_rcodes_have_reasons_that_can_be_counted(rcode: int, reason: str) -> None:
    assert REASON_FOR_RCODE[rcode] == reason
    assert reason in counters.FAILURE_REASONS


def test_seconds_as_a_histogram_in_microseconds(slots: memoryview, tally: Tally) -> None:
    tally.answered(0.0003)
    tally.answered(0.002)
    tally.answered(7.0)
    TURN.end()
    bounds = counters.SECONDS_BUCKETS
    assert moved(slots) == {
        counters.SECONDS_IN_ROW + bounds.index(500e-6): 1,
        counters.SECONDS_IN_ROW + bounds.index(2.5e-3): 1,
        counters.SECONDS_IN_ROW + len(bounds): 1,
        counters.SECONDS_IN_ROW + counters.PER_HISTOGRAM - 1: 7_002_300,
    }


@pytest.mark.parametrize(("rcode", "is_timed"), [(2, True), (5, False), (1, False), (9, False)])
def test_how_late_a_servfail_came(slots: memoryview, tally: Tally, rcode: int, *, is_timed: bool) -> None:
    tally.failed_with(rcode, 0.8)
    reason = counters.FAILURES_IN_ROW + counters.FAILURE_REASONS.index(REASON_FOR_RCODE.get(rcode, "other"))
    seconds = {
        counters.SERVFAIL_SECONDS_IN_ROW + counters.SECONDS_BUCKETS.index(1.0): 1,
        counters.SERVFAIL_SECONDS_IN_ROW + counters.SUM_IN_HISTOGRAM: 800_000,
    }
    assert moved(slots) == {reason: 1, **(seconds if is_timed else {})}


def test_probes_that_brought_nothing(slots: memoryview, tally: Tally) -> None:
    tally.probe_failed()
    assert moved(slots) == {counters.PROBE_FAILURES_IN_ROW: 1}


def test_questions_while_all_are_down_are_of_the_whole_worker(slots: memoryview, tally: Tally) -> None:
    tally.asked_while_all_are_down()
    assert {place: value for place, value in enumerate(slots) if value} == {counters.ALL_DOWN: 1}


def test_mismatched(slots: memoryview, tally: Tally) -> None:
    tally.mismatched()
    assert moved(slots) == {counters.MISMATCHED_IN_ROW: 1}


def test_up_is_a_state_and_no_sum(slots: memoryview, tally: Tally) -> None:
    tally.is_up(up=True)
    tally.is_up(up=True)
    assert moved(slots) == {counters.UP_IN_ROW: 1}
    tally.is_up(up=False)
    assert moved(slots) == {}


def test_looped_is_a_state_and_no_sum(slots: memoryview, tally: Tally) -> None:
    for _ in range(2):
        tally.is_looped(looped=True)
    assert moved(slots) == {counters.LOOPED_IN_ROW: 1}
    tally.is_looped(looped=False)
    assert moved(slots) == {}


def test_connections_are_a_state_and_no_sum(slots: memoryview, tally: Tally) -> None:
    tally.connections(5)
    tally.connections(3)
    assert moved(slots) == {counters.CONNECTIONS_IN_ROW: 3}


def test_two_tallies_of_one_upstream_share_its_row(slots: memoryview, tally: Tally) -> None:
    tally.mismatched()
    Tally(slots, ROW, TURN).mismatched()
    assert moved(slots) == {counters.MISMATCHED_IN_ROW: 2}


def test_more_upstreams_than_rows_share_the_last(slots: memoryview) -> None:
    Tally(slots, counters.MAX_UPSTREAMS + 5, TURN).mismatched()
    assert slots[counters.upstream_row(counters.MAX_UPSTREAMS - 1) + counters.MISMATCHED_IN_ROW] == 1
