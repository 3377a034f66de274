"""The last minutes: kept, bounded, and never a rate across a clock that was set back."""

import pytest

from forwarder.observe import counters
from forwarder.observe.history import BASELINE_SECONDS, BASELINES, KEPT_SECONDS, History
from tests.lab.figures import Daemon


def test_one_pace_for_each_second_after_the_first() -> None:
    history, daemon = History(), Daemon()
    history.add(daemon.overview())
    assert list(history.paces) == []
    daemon.answered(counters.EXACT, 5)
    history.add(daemon.overview(1.0))
    assert [one.queries for one in history.paces] == [5.0]


def test_it_keeps_ten_minutes_and_looks_back_as_far() -> None:
    history, daemon = History(), Daemon()
    seconds = KEPT_SECONDS + int(BASELINE_SECONDS) * 3
    for _ in range(seconds):
        history.add(daemon.overview(1.0))
    assert len(history.paces) == KEPT_SECONDS
    assert history.former is not None
    assert BASELINE_SECONDS * (BASELINES - 1) <= daemon.at - history.former.at <= BASELINE_SECONDS * BASELINES


@pytest.mark.parametrize("seconds", [-0.5, -86400.0, 0.0])
def test_a_clock_that_was_set_back_begins_anew(seconds: float) -> None:
    history, daemon = History(), Daemon()
    for _ in range(3):
        history.add(daemon.overview(1.0))
    now = daemon.overview(seconds)
    history.add(now)
    assert list(history.paces) == []
    assert history.former is now
    history.add(daemon.overview(1.0))
    assert len(history.paces) == 1
