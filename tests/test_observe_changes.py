"""What is said of upstreams: each change once, whoever of the workers saw it, and nothing because workers begin."""

from collections.abc import Iterator

import pytest

from forwarder.flapping import BURST
from forwarder.levels import ERR, NOTICE, WARNING, level_of
from forwarder.observe import counters
from forwarder.observe.changes import BEGINNING, CLEAR, Changes
from tests.lab.figures import Daemon, SeenWorker

FIRST, SECOND = "192.0.2.1:53", "192.0.2.2:53"
DOWN = f"upstream {FIRST} is down, nothing comes from it: it is asked last, and probed. "
DOWN += "See that it runs, and that this node reaches it"
UP = f"upstream {FIRST} is up again"


class Log:
    """A daemon that was looked at for a while, and what is said of it."""

    def __init__(self) -> None:
        self.daemon = Daemon(upstreams={FIRST: True, SECOND: True})
        self.changes = Changes()
        self._now = 100.0

    def look(self, seconds: float = 1.0) -> list[str]:
        """Once more, so much later."""
        self._now += seconds
        return self.changes.look(self.daemon.overview(seconds), self._now)

    def looks(self, times: int) -> list[str]:
        return [line for _ in range(times) for line in self.look()]

    def gauge(self, place: int, value: int, *, which: int = counters.UP_IN_ROW) -> None:
        self.daemon.slots[counters.upstream_row(place) + which] = value


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    assert log.looks(10) == [], "all is well"
    yield log
    assert log.looks(3) == [], "everything was said"


def test_down_and_up_are_said_once_each(log: Log) -> None:
    log.gauge(0, 0)
    (down,) = log.looks(5)
    assert (down, level_of(down)) == (DOWN, WARNING)
    log.gauge(0, 1)
    (up,) = log.looks(5)
    assert (up, level_of(up)) == (UP, NOTICE)


def test_the_last_one_that_goes_is_graver(log: Log) -> None:
    log.gauge(1, 0)
    (line,) = log.look()
    assert level_of(line) == WARNING
    log.gauge(0, 0)
    (line,) = log.look()
    assert level_of(line) == ERR
    assert "no other is up: only what is remembered is answered" in line


def test_a_loop_is_said_and_its_end(log: Log) -> None:
    log.gauge(0, 2, which=counters.LOOPED_IN_ROW)
    (line,) = log.looks(3)
    assert line == f"upstream {FIRST} sends our queries back to us and is left out: point it, or us, elsewhere"
    assert level_of(line) == ERR
    log.gauge(0, 0, which=counters.LOOPED_IN_ROW)
    assert log.looks(CLEAR - 1) == []
    (line,) = log.look()
    assert line == f"upstream {FIRST} sends our queries back to us no more and is asked again"


def test_without_workers_nothing_is_concluded(log: Log) -> None:
    """Their gauges are gone with them."""
    for worker in (SeenWorker(pid=None, serving=False), SeenWorker(pid=4712, serving=False)):
        log.daemon.workers = (worker,)
        log.gauge(0, 0)
        assert log.looks(3) == []
    log.daemon.workers = (SeenWorker(pid=4712),)
    assert log.look() == [], "it serves and has not written its gauges yet"
    log.gauge(0, 1)
    assert log.looks(9) == []


def test_a_worker_that_begins_takes_an_upstream_for_well_which_is_no_news(log: Log) -> None:
    """As after a reload; the former worker, which knows better, leaves some seconds later."""
    log.gauge(0, 0)
    assert log.looks(2) == [DOWN]
    log.daemon.workers = (SeenWorker(pid=4712),)
    assert log.looks(3) == []
    log.gauge(0, 1)
    assert log.looks(20) == [], "nothing was asked"
    log.gauge(0, 0)
    assert log.looks(2) == [], "it was down all the time"
    log.gauge(0, 1)
    assert log.looks(2) == [UP], "a worker saw it come up"


def test_it_is_up_when_it_answers_after_a_reload(log: Log) -> None:
    log.gauge(0, 0)
    assert log.looks(2) == [DOWN]
    log.daemon.asked()  # late, it is down all the same
    log.look()
    log.daemon.workers = (SeenWorker(pid=4712),)
    log.look()
    log.gauge(0, 1)
    assert log.look(BEGINNING) == []
    log.daemon.asked()
    assert log.look() == [UP]


def test_one_that_is_asked_no_more_is_forgotten(log: Log) -> None:
    log.gauge(0, 0)
    assert log.looks(2) == [DOWN]
    log.daemon.upstreams = {FIRST: False, SECOND: True}
    assert log.looks(2) == []
    log.gauge(0, 1)
    log.daemon.upstreams = {FIRST: True, SECOND: True}
    assert log.looks(2) == []


def test_the_row_that_several_share_says_nothing() -> None:
    log = Log()
    log.daemon.upstreams = {FIRST: True, counters.OTHER_UPSTREAMS: True}
    log.look()
    log.gauge(1, 0)
    assert log.looks(5) == []


def test_one_that_flaps_fills_no_log(log: Log) -> None:
    told = []
    for number in range(500):
        log.gauge(0, number % 2)
        told += log.look()
    assert len(told) == BURST + 1
    assert told[-1].startswith(f"upstream {FIRST} changes again and again")
