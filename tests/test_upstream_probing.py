"""Probes for health: of an upstream that is suspect or down, further and further apart."""

from collections.abc import Iterator

import pytest

from forwarder.upstream.budget import BURST, LEAST_RATE
from forwarder.upstream.probing import NO_SOCKET_WAIT, PROBE_WAIT, UNSEEN_REST, Probing
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import TICK
from forwarder.wire.message import CLASS_IN, RD, Qtype
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Response
from tests.lab.collector import garbage_after
from tests.test_upstream_network import Scene
from tests.test_upstream_servers import NXDOMAIN, REFUSED, SERVFAIL, Leg, Said, said, server_of, take_down

ZONE = name_from_text("cluster.local")


class Stand:
    """One upstream that is probed."""

    def __init__(self, scene: Scene, zone: bytes = ZONE) -> None:
        self.scene = scene
        self.leg = Leg(scene.network)
        self.other = Leg(scene.network, is_stream=True)
        self.server = server_of(scene, self.leg, self.other)
        self.probing = Probing(scene.network)
        self.probing.watch(self.server, zone)
        self.began = scene.now

    @property
    def probes(self) -> list[Said]:
        return self.leg.exchanges

    @property
    def sent_after(self) -> list[float]:
        return self.leg.sent_after(self.began)

    def see(self) -> None:
        """The probes for loops are answered, and are no matter any more."""
        self.leg.always = (TICK, said(NXDOMAIN))
        self.probing.begin()
        self.scene.pass_time_in_ticks(1)
        assert self.leg.open == 0
        self.leg.always = None
        self.probes.clear()
        self.began = self.scene.now

    def suspect(self) -> None:
        """Two attempts of questions came to nothing."""
        for _ in range(2):
            self.server.failed("timeout", self.scene.now)
        self.scene.pass_time(0)

    def down(self) -> None:
        """And the probe as well."""
        self.suspect()
        self.scene.pass_time_in_ticks(PROBE_WAIT + TICK)
        assert not self.server.health.is_up

    def tokens(self) -> int:
        """How many are left; afterwards there are none."""
        left = 0
        while self.server.budget.take(self.scene.now):
            left += 1
        return left


@pytest.fixture
def stand() -> Iterator[Stand]:
    with Scene() as scene:
        stand = Stand(scene)
        stand.see()
        yield stand


class TestSuspect:
    def test_is_asked_at_once_for_what_it_must_know(self, stand: Stand) -> None:
        stand.suspect()
        (probe,) = stand.probes
        query = probe.query
        assert (query.name, query.qtype, query.qclass, query.flags) == (ZONE, Qtype.SOA, CLASS_IN, RD)
        assert probe.edns
        assert probe.until == stand.scene.now + PROBE_WAIT
        assert stand.other.exchanges == []

    @pytest.mark.parametrize("outcome", [said(), said(NXDOMAIN), said(SERVFAIL), said(REFUSED), Failed.TRUNCATED])
    def test_is_cleared_by_any_response(self, stand: Stand, outcome: Response | Failed) -> None:
        stand.leg.always = (0.1, outcome)
        stand.suspect()
        stand.scene.pass_time_in_ticks(5)
        assert (len(stand.probes), stand.server.is_usable, stand.server.health.is_suspect) == (1, True, False)

    @pytest.mark.parametrize("outcome", [Failed.NETWORK, Failed.MALFORMED, Failed.CERTIFICATE])
    def test_goes_down_at_once_when_the_probe_fails(self, stand: Stand, outcome: Failed) -> None:
        stand.leg.outcomes = [(0.1, outcome)]
        stand.suspect()
        stand.scene.pass_time_in_ticks(0.15)
        assert not stand.server.health.is_up

    def test_goes_down_when_nothing_comes_and_nothing_is_left_open(self, stand: Stand) -> None:
        stand.suspect()
        stand.scene.pass_time_in_ticks(PROBE_WAIT - 3 * TICK)
        assert stand.server.health.is_up
        stand.scene.pass_time_in_ticks(4 * TICK)
        assert (stand.server.health.is_up, stand.leg.open) == (False, 0)

    def test_a_mismatched_response_is_waited_past(self, stand: Stand) -> None:
        stand.leg.outcomes = [(0.3, said())]
        stand.suspect()
        for _ in range(3):
            stand.probes[0].hear(Failed.MISMATCHED)
        stand.scene.pass_time_in_ticks(0.4)
        assert (len(stand.probes), stand.server.is_usable, stand.server.health.is_suspect) == (1, True, False)

    def test_one_probe_at_a_time(self, stand: Stand) -> None:
        stand.suspect()
        for _ in range(20):
            stand.suspect()
            stand.scene.pass_time(TICK)
        assert len(stand.probes) == 1

    def test_is_not_probed_while_all_is_well(self, stand: Stand) -> None:
        stand.server.failed("timeout", stand.scene.now)
        stand.server.took(0, 0.01, stand.scene.now)
        stand.server.failed("timeout", stand.scene.now)
        stand.scene.pass_time_in_ticks(1)
        assert stand.probes == []

    def test_is_spoken_to_as_it_likes(self, stand: Stand) -> None:
        stand.server.learn_dialect(stand.scene.now, edns=False, was_refused=True)
        stand.suspect()
        assert not stand.probes[0].edns


class TestDown:
    def test_is_probed_further_and_further_apart(self, stand: Stand) -> None:
        stand.down()
        stand.scene.pass_time_in_ticks(100)
        waits = [after - before for before, after in zip(stand.sent_after, stand.sent_after[1:], strict=False)]
        assert waits[:6] == pytest.approx([seconds + PROBE_WAIT for seconds in (1, 2, 4, 8, 16, 30)], abs=6 * TICK)

    def test_two_answers_bring_it_up_the_second_is_asked_for_at_once(self, stand: Stand) -> None:
        stand.down()
        stand.leg.always = (0.02, said(NXDOMAIN))
        stand.scene.pass_time_in_ticks(1.2)
        assert (stand.server.is_usable, len(stand.probes)) == (True, 3)
        stand.scene.pass_time_in_ticks(60)
        assert len(stand.probes) == 3

    def test_one_answer_does_not(self, stand: Stand) -> None:
        stand.down()
        stand.leg.outcomes = [(0.02, said())]
        stand.scene.pass_time_in_ticks(1.7)
        assert (stand.server.health.is_up, len(stand.probes)) == (False, 3)
        stand.scene.pass_time_in_ticks(2.5)
        assert len(stand.probes) == 4, "and the rests go on"

    def test_what_it_says_to_a_question_is_looked_into_at_once(self, stand: Stand) -> None:
        stand.down()
        stand.leg.always = (0.02, said())
        stand.server.took(0, 0.01, stand.scene.now)
        stand.scene.pass_time_in_ticks(0.1)
        assert stand.server.is_usable
        assert len(stand.probes) == 2

    def test_one_that_left_is_not_probed_any_more(self, stand: Stand) -> None:
        stand.down()
        stand.server.leave()
        stand.scene.pass_time_in_ticks(40)
        assert len(stand.probes) == 1


class TestTokens:
    def test_each_costs_one(self, stand: Stand) -> None:
        stand.suspect()
        assert stand.tokens() == BURST - 1

    def test_without_any_it_is_made_at_once_and_paid_for_later(self, stand: Stand) -> None:
        stand.tokens()
        stand.suspect()
        assert len(stand.probes) == 1
        assert not stand.server.budget.has_any(stand.scene.now + 0.15)
        assert stand.server.budget.has_any(stand.scene.now + 0.25)

    def test_one_for_loops_costs_none(self, stand: Stand) -> None:
        stand.probing.watch(stand.server, name_from_text("test"))
        stand.tokens()
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(2 * UNSEEN_REST)
        assert len(stand.probes) == 2
        assert stand.tokens() == int(2 * UNSEEN_REST * LEAST_RATE)


class TestSaysNothing:
    """What is our own fault, or a forger's, is neither an answer nor a silence."""

    def test_no_socket_to_ask_with_and_it_is_tried_again_soon(self, stand: Stand) -> None:
        stand.leg.always = Failed.EXHAUSTED
        stand.suspect()
        stand.scene.pass_time_in_ticks(4 * (NO_SOCKET_WAIT + TICK) + TICK)
        assert (stand.server.health.is_up, stand.server.health.is_suspect) == (True, True)
        waits = [after - before for before, after in zip(stand.sent_after, stand.sent_after[1:], strict=False)]
        assert waits[:4] == pytest.approx([NO_SOCKET_WAIT] * 4, abs=2 * TICK)
        stand.leg.always = (0.02, said())
        stand.scene.pass_time_in_ticks(1)
        assert (stand.server.is_usable, stand.server.health.is_suspect) == (True, False)

    def test_silence_after_a_mismatched_response(self, stand: Stand) -> None:
        stand.suspect()
        for number in range(5):
            stand.probes[number].hear(Failed.MISMATCHED)
            stand.scene.pass_time_in_ticks(PROBE_WAIT + NO_SOCKET_WAIT + 2 * TICK)
            assert (stand.server.health.is_up, stand.server.health.is_suspect) == (True, True)
            assert len(stand.probes) == number + 2
        stand.scene.pass_time_in_ticks(PROBE_WAIT + TICK)
        assert not stand.server.health.is_up, "as soon as it is silence alone"

    def test_nor_does_it_put_off_one_that_is_down(self, stand: Stand) -> None:
        stand.down()
        stand.leg.outcomes = [Failed.EXHAUSTED] * 3
        stand.leg.always = (0.02, said())
        stand.scene.pass_time_in_ticks(1 + 3 * (NO_SOCKET_WAIT + TICK) + 0.1)
        assert stand.server.is_usable


class TestDefect:
    """What nobody foresaw ends one probe, not the probing, and does not come again at once."""

    def test_while_it_is_suspect(self, stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
        stand.leg.defect = RuntimeError("a defect")
        stand.suspect()
        stand.scene.pass_time_in_ticks(UNSEEN_REST - 0.1)
        assert [record.exc_info is not None for record in caplog.records] == [True]
        stand.leg.defect = None
        stand.scene.pass_time_in_ticks(0.2)
        assert len(stand.probes) == 1
        stand.scene.pass_time_in_ticks(PROBE_WAIT + TICK)
        assert not stand.server.health.is_up

    def test_while_it_is_down(self, stand: Stand) -> None:
        stand.down()
        stand.leg.defect = RuntimeError("a defect")
        stand.scene.pass_time_in_ticks(2)
        stand.leg.defect = None
        stand.leg.always = (0.02, said())
        stand.scene.pass_time_in_ticks(UNSEEN_REST)
        assert stand.server.is_usable

    def test_in_an_exchange_that_is_awaited(self, stand: Stand) -> None:
        stand.suspect()
        stand.probes[0].hear(RuntimeError("a defect"))
        stand.leg.always = (0.02, said())
        stand.scene.pass_time_in_ticks(UNSEEN_REST + 0.1)
        assert (len(stand.probes), stand.server.health.is_suspect) == (2, False)


def test_a_suspect_that_answers_a_question_stays_up_though_its_probe_is_lost(stand: Stand) -> None:
    stand.suspect()
    stand.server.took(0, 0.01, stand.scene.now)
    stand.scene.pass_time_in_ticks(PROBE_WAIT + 0.1)
    assert stand.server.is_usable


def test_nothing_is_left_for_the_collector(stand: Stand) -> None:
    stand.leg.always = (0.02, said())

    def go_down_and_come_up() -> None:
        take_down(stand.server, stand.scene.now)
        assert stand.server.probe is not None
        stand.server.probe.on_trouble()
        stand.scene.pass_time_in_ticks(2)
        assert stand.server.is_usable
        stand.probes.clear()

    assert garbage_after(go_down_and_come_up, times=5) == 0
