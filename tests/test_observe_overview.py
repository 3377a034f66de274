"""Rates, ratios and percentiles: what two overviews make, compared with what was measured one by one."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.observe.overview import NOTHING, Moment, Overview, Times, hit_ratio, pace, together
from tests.lab.figures import A, Daemon

SOURCES = dict.fromkeys(counters.SOURCES, 0)


def measured(microseconds: list[int]) -> Times:
    slots = counters.private()
    for one in microseconds:
        counters.observe_microseconds(slots, 0, one)
    return Times(list(slots[: counters.SUM_IN_HISTOGRAM]), slots[counters.SUM_IN_HISTOGRAM] / 1e6)


@given(st.lists(st.integers(0, 5_000_000), min_size=1), st.sampled_from((0.5, 0.9, 0.99, 1.0)))
def test_a_percentile_lies_in_the_bucket_of_the_one_that_was_measured(microseconds: list[int], share: float) -> None:
    exact = sorted(microseconds)[math.ceil(share * len(microseconds)) - 1]
    bounds = (0, *counters.MICROSECOND_BUCKETS)
    place = next(number for number in range(1, len(bounds)) if exact <= bounds[number])
    found = measured(microseconds).percentile(share)
    assert found is not None
    assert bounds[place - 1] - 0.001 <= found * 1e6 <= bounds[place] + 0.001


def test_of_nothing_there_is_no_percentile_and_no_ratio() -> None:
    assert NOTHING.percentile(0.5) is None
    assert hit_ratio(SOURCES) is None


def test_what_took_longer_than_all_bounds_counts_as_the_highest() -> None:
    assert measured([60_000_000]).percentile(0.99) == 5.0


def test_the_hit_ratio_is_every_source_but_upstream_and_failure_over_all() -> None:
    ones = dict.fromkeys(counters.SOURCES, 1)
    assert hit_ratio(ones) == pytest.approx(6 / 8)
    assert hit_ratio(SOURCES | {"upstream": 3, "exact": 1}) == pytest.approx(0.25)


def test_times_together_are_those_of_each() -> None:
    assert together([measured([5, 30]), measured([40])]).buckets == measured([5, 30, 40]).buckets
    assert together([measured([5, 30]), measured([40])]).seconds == pytest.approx(75e-6)
    assert together([]) == NOTHING


def test_a_pace_is_what_happened_between_a_second() -> None:
    daemon = Daemon()
    daemon.answered(counters.EXACT, 1000, microseconds=400_000)
    before = daemon.overview()
    daemon.answered(counters.EXACT, 30, microseconds=20)
    daemon.answered(counters.UPSTREAM, 10, microseconds=4000)
    daemon.asked(12, failures=2)
    seen = pace(before, daemon.overview(2.0))
    assert seen.seconds == pytest.approx(2.0)
    assert seen.queries == pytest.approx(20)
    assert seen.sources["exact"] == pytest.approx(15)
    assert seen.hit_ratio == pytest.approx(0.75)
    assert seen.hit_percentiles["p99"] == pytest.approx(25e-6, rel=0.02), "what was measured before is not in it"
    assert 2.5e-3 < (seen.percentiles["p90"] or 0) <= 5e-3
    assert [(one.queries, one.failures) for one in seen.upstreams] == [(6.0, 1.0)]


def test_an_upstream_that_came_between_counts_from_nothing() -> None:
    before = Daemon(upstreams={}).overview()
    daemon = Daemon()
    daemon.asked(3)
    assert pace(before, daemon.overview(1.0)).upstreams[0].queries == pytest.approx(3)


def test_what_is_shown_survives_json() -> None:
    daemon = Daemon()
    daemon.answered(counters.EXACT, qtype=A)
    moment = Moment(daemon.overview(), pace(daemon.overview(), daemon.overview(1.0)))
    assert msgspec.json.decode(msgspec.json.encode(moment), type=Moment) == moment
    assert isinstance(moment.overview, Overview)
