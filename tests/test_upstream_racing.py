"""A race of exchanges: what comes first is heard first, nothing is lost, and after its end nothing is held or heard."""

from collections.abc import Iterator

import pytest

from forwarder.upstream.racing import Event, Race
from forwarder.upstream.selection import Attempt, Send
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import TICK, step
from tests.lab.collector import garbage_after
from tests.test_upstream_network import Scene
from tests.test_upstream_servers import QUERY, Leg, Said, said

SERVFAIL = 2


class Heard:
    """A race, and all that was heard of it until the first wait that brought nothing."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.leg = Leg(scene.network)
        self.race = Race(scene.network.timers)
        self.events: list[tuple[Event | None, float]] = []

    def enter(self, *, seconds: float = 1.0) -> tuple[Attempt, Said]:
        """One more exchange, late after so many seconds."""
        now = self.scene.network.turn.now
        attempt = Attempt(Send(0, 0, edns=True), now, now + seconds, is_apart=False)
        exchange = self.leg.exchange(QUERY, attempt.due)
        self.race.enter(attempt, exchange)
        return attempt, self.leg.exchanges[-1]

    def listen(self, seconds: float = 1.5) -> None:
        """Hear what comes, each within so many seconds."""
        step(self._listen(seconds))

    async def _listen(self, seconds: float) -> None:
        while not self.events or self.events[-1][0] is not None:
            event = await self.race.following(self.scene.network.turn.now + seconds)
            self.events.append((event, self.scene.now))

    @property
    def outcomes(self) -> list[object]:
        return [None if event is None else event[1] for event, _ in self.events]


@pytest.fixture
def heard() -> Iterator[Heard]:
    with Scene() as scene:
        yield Heard(scene)


def test_what_comes_first_is_heard_first_with_its_attempt(heard: Heard) -> None:
    (one, first), (other, second) = heard.enter(), heard.enter()
    heard.listen()
    answer, failure = said(), said(SERVFAIL)
    second.hear(failure)
    assert heard.outcomes == [failure]
    first.hear(answer)
    assert [event for event, _ in heard.events] == [(other, failure), (one, answer)]


def test_what_came_while_nobody_listened_is_heard_in_order(heard: Heard) -> None:
    exchanges = [heard.enter()[1] for _ in range(3)]
    for exchange, outcome in zip(exchanges, (Failed.NETWORK, Failed.LOST, Failed.MALFORMED), strict=True):
        exchange.hear(outcome)
    heard.listen()
    assert heard.outcomes == [Failed.NETWORK, Failed.LOST, Failed.MALFORMED]


def test_what_was_there_at_once_is_heard(heard: Heard) -> None:
    heard.leg.outcomes = [Failed.EXHAUSTED]
    heard.enter()
    heard.listen()
    assert heard.outcomes == [Failed.EXHAUSTED]


def test_what_is_late_is_heard_and_what_comes_of_it_later_too(heard: Heard) -> None:
    _, exchange = heard.enter(seconds=0.2)
    heard.listen()
    heard.scene.pass_time_in_ticks(0.3)
    assert heard.outcomes == [Failed.TIMEOUT]
    exchange.hear(Failed.MISMATCHED)
    exchange.hear(Failed.MISMATCHED)
    exchange.hear(said())
    assert heard.outcomes[1:] == [Failed.MISMATCHED, Failed.MISMATCHED, said()]


def test_nothing_comes_in_time(heard: Heard) -> None:
    heard.enter(seconds=60)
    began = heard.scene.now
    heard.listen(0.5)
    heard.scene.pass_time_in_ticks(0.6)
    assert heard.outcomes == [None]
    assert began + 0.5 - 2 * TICK - 1e-9 <= heard.events[0][1] <= began + 0.5 + 1e-9


def test_the_wait_begins_anew_with_each_event(heard: Heard) -> None:
    exchanges = [heard.enter(seconds=60)[1] for _ in range(3)]
    heard.listen(0.5)
    for exchange in exchanges:
        heard.scene.pass_time_in_ticks(0.4)
        exchange.hear(Failed.NETWORK)
    heard.scene.pass_time_in_ticks(0.4)
    assert heard.outcomes == [Failed.NETWORK] * 3
    heard.scene.pass_time_in_ticks(0.2)
    assert heard.outcomes == [Failed.NETWORK] * 3 + [None]


def test_closed_what_is_open_is_abandoned_and_nothing_is_heard_any_more(heard: Heard) -> None:
    _, ended = heard.enter()
    _, late = heard.enter(seconds=0.1)
    heard.enter()
    heard.listen()
    ended.hear(said())
    heard.scene.pass_time_in_ticks(0.2)
    assert (heard.outcomes, heard.leg.open) == ([said(), Failed.TIMEOUT], 2)
    heard.race.close()
    assert heard.leg.open == 0
    late.hear(said())
    assert heard.outcomes == [said(), Failed.TIMEOUT]


def test_closed_by_whoever_heard_of_it_that_it_is_late(heard: Heard) -> None:
    """In the same call stack: the exchange is not awaited again."""

    async def listen_once() -> None:
        assert await heard.race.following(heard.scene.now + 5) is not None
        heard.race.close()

    heard.enter(seconds=0.1)
    step(listen_once())
    heard.scene.pass_time_in_ticks(0.2)
    assert heard.leg.open == 0
    assert heard.leg.exchanges[0].coroutine is None


def test_one_that_is_defective_is_logged_and_not_abandoned(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """It has ended: its socket may carry another's query by now."""
    _, broken = heard.enter()
    _, whole = heard.enter()
    heard.listen()
    broken.hear(RuntimeError("this is a test"))
    assert "this is a test" in caplog.text
    whole.hear(said())
    assert heard.outcomes == [said()]
    broken.is_open = False
    heard.race.close()


def test_nothing_is_left_for_the_collector(heard: Heard) -> None:
    def race() -> None:
        heard.race = Race(heard.scene.network.timers)
        heard.events.clear()
        for _ in range(3):
            heard.enter(seconds=0.1)
        heard.listen(0.4)
        heard.leg.exchanges[0].hear(said())
        heard.scene.pass_time_in_ticks(0.6)
        assert len(heard.outcomes) == 4
        heard.race.close()
        heard.leg.exchanges.clear()

    assert garbage_after(race, times=5) == 0
