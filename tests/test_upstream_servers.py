"""What is known of one upstream, and who is told; and the upstream over one transport that the tests of asking play.

That one answers when the test said it would, by the scene's clock, and sees to it that whoever asks keeps the rules: what is
open is awaited or abandoned, and nothing else is.
"""

import math
from collections.abc import Generator, Iterator

import pytest

from forwarder.observe import counters
from forwarder.upstream.exchanging import Settled
from forwarder.upstream.network import Network
from forwarder.upstream.round_trip import RoundTrip
from forwarder.upstream.servers import OPEN, Exchanging, Failed, Server, Upstream
from forwarder.upstream.tally import Tally
from forwarder.upstream.waiting import Waiting
from forwarder.wire.message import QR, RA, RD, Query, query_for_upstream
from forwarder.wire.records import Response, parse_response
from tests.test_upstream_network import ADDRESS, Scene, query_for, response_to

QUERY = query_for("www.example.com")
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5


def said(rcode: int = 0, rdatas: tuple[bytes, ...] = (ADDRESS,), flags: int = QR | RD | RA, query: Query = QUERY) -> Response:
    """A response to QUERY, or another."""
    asked = query_for_upstream(1, query.question, query, wants_ad=False)
    message = response_to(asked, () if rcode else rdatas, rcode=rcode, flags=flags)
    return parse_response(message, query.name, query.qtype, do=False)


class Speech:
    """What comes next of an exchange, when."""

    def __init__(self, said: "Said", outcome: Response | Failed) -> None:
        self.due = 0.0
        self._said = said
        self._outcome = outcome

    def look(self, _now: float) -> int:
        """Say it, to whoever still waits."""
        self._said.hear(self._outcome)
        return 1


class Said(Waiting):
    """One exchange with a `Leg`."""

    def __init__(self, leg: "Leg", query: Query, until: float, *, edns: bool, apart: bool) -> None:
        super().__init__()
        self.query = query
        self.until = until
        self.edns = edns
        self.apart = apart
        self.sent_at = leg.network.turn.now
        self.is_open = True
        self.was_sent = True
        self._leg = leg

    def __await__(self) -> Generator[Waiting, None, Response | Failed]:
        yield self
        if isinstance(self._value, Exception):
            raise self._value
        heard: Response | Failed = self._value
        return heard

    def give_up(self) -> None:
        self.due = math.inf
        self.hear(Failed.TIMEOUT)

    def hear(self, outcome: Response | Failed | Exception) -> None:
        """Tell whoever waits; an exception is raised there."""
        if self.is_open:
            assert self.coroutine is not None, "what is open is awaited"
            if outcome not in OPEN:
                self.is_open = False
            self.resume(outcome)

    def prolong(self, until: float) -> None:
        assert self.is_open, "what is over gets no more time"
        self._leg.network.timers.watch(self, until)

    def abandon(self) -> None:
        assert self.is_open, "what is not open is not abandoned, nor is anything twice"
        self.is_open = False
        self.coroutine = None


class Leg:
    """A server over one transport: each attempt meets with what was said, some seconds after it was sent; then with silence.

    Without seconds an outcome is there at once, as when nothing could be sent.
    """

    def __init__(
        self,
        network: Network,
        name: str = "192.0.2.1:53",
        *outcomes: tuple[float, Response | Failed] | Failed,
        is_stream: bool = False,
    ) -> None:
        self.name = name
        self.is_stream = is_stream
        self.round_trip = RoundTrip()
        self.network = network
        self.outcomes = list(outcomes)
        self.always: tuple[float, Response | Failed] | Failed | None = None
        """After these, where it is not silence."""
        self.exchanges: list[Said] = []
        self.is_closed = False
        self.tidied_at = -1.0
        self.defect: Exception | None = None

    def exchange(self, query: Query, until: float, *, edns: bool = True, apart: bool = False) -> Exchanging:
        """One attempt."""
        if self.defect is not None:
            raise self.defect
        outcome = self.outcomes.pop(0) if self.outcomes else self.always
        made = Said(self, query, until, edns=edns, apart=apart)
        self.exchanges.append(made)
        if isinstance(outcome, Failed):
            made.is_open = False
            made.was_sent = outcome is not Failed.EXHAUSTED
            return Settled(outcome)
        self.network.timers.watch(made, until)
        if outcome is not None:
            seconds, what = outcome
            self.network.timers.watch(Speech(made, what), self.network.turn.now + seconds)
        return made

    def tidy(self, now: float) -> None:
        self.tidied_at = now

    def close(self) -> None:
        self.is_closed = True

    @property
    def open(self) -> int:
        """Exchanges that somebody must await or abandon."""
        return sum(made.is_open for made in self.exchanges)

    def sent_after(self, began: float) -> list[float]:
        """When each attempt was made, in seconds, to a hundredth."""
        return [round(made.sent_at - began, 2) for made in self.exchanges]


def server_of(scene: Scene, *legs: Leg, number: int = 0) -> Server:
    """A server with these legs, its figures in this row."""
    tally = Tally(scene.counts, number, scene.network.turn)
    upstreams: tuple[Upstream, ...] = legs
    return Server(legs[0].name, upstreams, tally, scene.network.turn.now)


def in_row(scene: Scene, number: int, place: int) -> int:
    """What a place of an upstream's row in the counters says."""
    return scene.counts[counters.upstream_row(number) + place]


def failures(scene: Scene, number: int = 0) -> dict[str, int]:
    """Failures counted, by reason."""
    counted = {
        reason: in_row(scene, number, counters.FAILURES_IN_ROW + at) for at, reason in enumerate(counters.FAILURE_REASONS)
    }
    return {reason: count for reason, count in counted.items() if count}


def take_down(server: Server, now: float) -> None:
    """Two silences, and a probe that brings nothing."""
    server.failed("timeout", now)
    server.failed("timeout", now)
    server.health.probe_begins()
    server.was_probed(now, answered=False)
    assert not server.is_usable


class Watched:
    """A server, who was told of it, and a zone it stands in."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.legs = Leg(scene.network), Leg(scene.network, is_stream=True)
        self.server = server_of(scene, *self.legs)
        self.troubles = 0
        self.reviews: list[bool] = []
        self.server.probe = self
        self.server.zones.append(self)

    def on_trouble(self) -> None:
        self.troubles += 1

    def review(self) -> None:
        self.reviews.append(self.server.is_usable)

    @property
    def gauge(self) -> int:
        return in_row(self.scene, 0, counters.UP_IN_ROW)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


@pytest.fixture
def watched(scene: Scene) -> Watched:
    return Watched(scene)


NOW = 1000.0


def test_of_several_workers_each_has_its_part_of_the_budget(scene: Scene) -> None:
    server = Server("one", (Leg(scene.network),), Tally(scene.counts, 0, scene.network.turn), NOW, 1 / 4)
    assert [server.budget.take(NOW) for _ in range(65)] == [True] * 64 + [False]


def test_at_first_it_is_up_and_ready(watched: Watched) -> None:
    assert (watched.server.is_usable, watched.server.is_ready, watched.gauge) == (True, True, 1)


def test_failures_are_counted_by_reason_and_the_second_in_a_row_is_trouble_told_once(watched: Watched) -> None:
    troubles = []
    for reason in ("timeout", "network", "malformed", "timeout"):
        watched.server.failed(reason, NOW)
        troubles.append(watched.troubles)
    assert troubles == [0, 1, 1, 1]
    assert failures(watched.scene) == {"timeout": 2, "network": 1, "malformed": 1}
    assert (watched.server.is_usable, watched.gauge) == (True, 1), "a probe is to say whether it is down"


@pytest.mark.parametrize("is_usable_answer", [True, False])
def test_a_response_between_failures_ends_the_trouble(watched: Watched, *, is_usable_answer: bool) -> None:
    for _ in range(3):
        watched.server.failed("timeout", NOW)
        if is_usable_answer:
            watched.server.took(0, 0.01, NOW)
        else:
            watched.server.answered(NOW)
    assert watched.troubles == 0


def test_down_when_a_probe_is_not_answered_and_tells_its_zones_once(watched: Watched) -> None:
    take_down(watched.server, NOW)
    watched.server.was_probed(NOW + 1, answered=False)
    assert (watched.server.is_ready, watched.gauge, watched.reviews) == (False, 0, [False])
    assert in_row(watched.scene, 0, counters.PROBE_FAILURES_IN_ROW) == 2


@pytest.mark.parametrize("is_probe", [True, False])
def test_two_responses_bring_it_up_the_first_is_looked_into(watched: Watched, *, is_probe: bool) -> None:
    take_down(watched.server, NOW)
    states = []
    for _ in range(2):
        if is_probe:
            watched.server.was_probed(NOW + 1, answered=True)
        else:
            watched.server.took(0, 0.01, NOW + 1)
        states.append((watched.server.is_ready, watched.gauge, watched.server.health.recoveries))
    assert states == [(False, 0, 1), (True, 1, 1)]
    assert watched.reviews == [False, True]
    assert watched.troubles == (1 if is_probe else 2), "what it says by itself while it is down is looked into"


def test_times_are_of_one_transport(watched: Watched) -> None:
    watched.server.took(1, 0.1, NOW)
    udp, tcp = (leg.round_trip for leg in watched.legs)
    assert (udp.wait, udp.sampled_at) == (0.4, -1)
    assert tcp.wait == pytest.approx(0.3)
    assert tcp.sampled_at == NOW


def test_who_is_spoken_to_plainly_is_not_ready_and_is_when_it_answers_with_opt_again(watched: Watched) -> None:
    server = watched.server
    server.learn_dialect(NOW, edns=False, was_refused=True)
    assert (server.is_ready, server.is_usable) == (False, True)
    assert not server.dialect.speaks_plain(NOW + 1000)
    server.learn_dialect(NOW + 1000, edns=True, was_refused=False)
    assert server.is_ready


def test_a_loop_leaves_it_out_until_it_ends(watched: Watched) -> None:
    found = []
    for is_looped in (True, False):
        watched.server.loops(is_looped=is_looped)
        gauge = in_row(watched.scene, 0, counters.LOOPED_IN_ROW)
        health = watched.server.health
        found.append((watched.server.is_usable, watched.server.is_ready, health.is_up, gauge, health.recoveries))
    assert found == [(False, False, True, 1, 0), (True, True, True, 0, 1)], "when it ends, failures remembered are void"
    assert watched.reviews == [False, True]


def test_one_that_is_down_and_loops_no_more_is_still_down(watched: Watched) -> None:
    take_down(watched.server, NOW)
    watched.server.loops(is_looped=True)
    watched.server.loops(is_looped=False)
    assert not watched.server.is_usable


def test_a_server_that_is_new_in_a_row_does_not_loop(watched: Watched) -> None:
    watched.server.loops(is_looped=True)
    server_of(watched.scene, Leg(watched.scene.network))
    assert in_row(watched.scene, 0, counters.LOOPED_IN_ROW) == 0


def test_one_that_left_tells_nobody_of_its_trouble(watched: Watched) -> None:
    watched.server.leave()
    for _ in range(2):
        watched.server.failed("timeout", NOW)
    assert (watched.troubles, watched.server.health.is_suspect) == (0, True)


def test_each_second_its_transports_are_tidied_and_its_tokens_counted(watched: Watched) -> None:
    server, now = watched.server, watched.scene.now
    while server.budget.take(now):
        pass
    server.budget.firsts += 50
    server.tidy(now)
    assert [leg.tidied_at for leg in watched.legs] == [now, now]
    taken = [server.budget.take(now + 0.41) for _ in range(12)]
    assert sum(taken) == 9, "five for the first queries, four for the time since"


def test_one_that_leaves_closes_its_transports(watched: Watched) -> None:
    states = [watched.server.has_left]
    watched.server.leave()
    states.append(watched.server.has_left)
    assert states == [False, True]
    assert [leg.is_closed for leg in watched.legs] == [True, True]
