"""What top remembers: rates between two looks, gaps where there is none."""

from forwarder.observe.overview import Moment
from forwarder.top.trail import KEPT, Trail
from tests.lab.moments import moment


def test_the_first_look_takes_the_pace_of_the_daemon() -> None:
    trail = Trail()
    trail.add(moment())
    assert trail.pace is not None
    assert list(trail.ratios) == [trail.pace.hit_ratio]


def test_a_daemon_that_says_no_pace_has_a_gap() -> None:
    trail = Trail()
    trail.add(Moment(moment().overview, None))
    assert (list(trail.ratios), list(trail.rates)) == ([None], [None])


def test_between_two_looks_it_is_worked_out_from_both() -> None:
    trail = Trail()
    trail.add(moment())
    trail.add(moment(seconds=3.0, more=500))
    assert trail.pace is not None
    assert trail.pace.queries == 250


def test_where_counting_began_anew_there_is_no_rate_below_zero() -> None:
    """The daemon was started again: less was counted than before."""
    trail = Trail()
    trail.add(moment(more=5000))
    again = moment(seconds=9.0)
    trail.add(again)
    assert trail.pace == again.pace


def test_the_same_moment_twice_divides_by_nothing() -> None:
    trail = Trail()
    trail.add(moment())
    trail.add(moment())
    assert trail.pace == moment().pace


def test_a_daemon_that_is_gone_is_a_gap_until_it_is_back() -> None:
    trail = Trail()
    trail.add(moment())
    trail.miss("nobody is there")
    assert (trail.problem, trail.rates[-1], trail.moment) == ("nobody is there", None, moment())
    trail.add(moment(seconds=2.0))
    assert trail.problem == ""
    assert trail.rates[-1] is not None


def test_it_forgets_the_oldest() -> None:
    trail = Trail()
    for _ in range(KEPT + 5):
        trail.miss("nobody is there")
    assert len(trail.ratios) == KEPT
