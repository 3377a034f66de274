"""Probes: of an upstream that is suspect or down, further and further apart; and for loops, by a name nobody else can know."""

from collections.abc import Iterator

import pytest

from forwarder.upstream.budget import BURST
from forwarder.upstream.probing import LOOP_REST, MARK, NO_SOCKET_WAIT, PROBE_WAIT, UNSEEN_REST, Probing
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import TICK
from forwarder.wire.message import CLASS_IN, RD, Qtype
from forwarder.wire.names import MAX_NAME, name_from_text
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
        yield Stand(scene)


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

    def test_without_any_it_waits_for_the_next(self, stand: Stand) -> None:
        stand.tokens()
        stand.suspect()
        assert stand.probes == []
        stand.scene.pass_time_in_ticks(2 * NO_SOCKET_WAIT)
        assert len(stand.probes) == 1


def marked(stand: Stand) -> bytes:
    """The name that the last probe asked for."""
    query = stand.probes[-1].query
    assert (query.qtype, query.qclass) == (Qtype.HINFO, CLASS_IN)
    return query.name


class TestLoops:
    def test_a_name_below_the_zone_that_nobody_can_know(self, stand: Stand) -> None:
        names = set()
        for _ in range(5):
            stand.probing.watch(stand.server, ZONE)
            stand.probing.begin()
            names |= {probe.query.name for probe in stand.probes}
        assert len(names) == len(stand.probes) == 6
        for name in names:
            assert name[1:].startswith(MARK.encode())
            assert name[1 + name[0] :] == ZONE
            assert name[0] == len(MARK) + 16

    def test_each_upstream_is_looked_at_once(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.probing.begin()
        assert len(stand.probes) == 1

    def test_where_no_name_fits_below_the_zone_at_the_root(self) -> None:
        zone = name_from_text(".".join(["x" * 63] * 3 + ["y" * 55]))
        with Scene() as scene:
            stand = Stand(scene, zone)
            stand.probing.begin()
            assert len(marked(stand)) <= MAX_NAME
            assert marked(stand).endswith(b"\0")
            assert stand.probing.has_come_back(marked(stand))

    def test_one_that_comes_back_leaves_the_upstream_out_at_once(self, stand: Stand) -> None:
        stand.probing.begin()
        assert stand.probing.has_come_back(marked(stand))
        assert stand.server.is_looped
        assert not stand.server.is_usable

    def test_no_other_name_comes_back(self, stand: Stand) -> None:
        stand.probing.begin()
        for name in (ZONE, b"\0", b"\7forwarder" + ZONE, marked(stand).upper(), marked(stand)[1:]):
            assert not stand.probing.has_come_back(name)
        assert not stand.server.is_looped

    @pytest.mark.parametrize("outcome", [(0.1, said(NXDOMAIN)), (0.1, said(SERVFAIL)), (0.1, Failed.NETWORK), None])
    def test_without_it_nothing_follows(self, stand: Stand, outcome: tuple[float, Response | Failed] | None) -> None:
        stand.leg.always = outcome
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(3)
        assert (stand.server.is_usable, len(stand.probes), stand.leg.open) == (True, 1, 0)
        assert not stand.probing.has_come_back(marked(stand)), "after its time it may be anybody's"

    def looped(self, stand: Stand, *later: tuple[float, Response | Failed]) -> None:
        """A loop was found, and is looked at once more, which meets with this."""
        stand.leg.outcomes = [(0.1, said(SERVFAIL)), *later]
        stand.probing.begin()
        stand.probing.has_come_back(marked(stand))
        stand.scene.pass_time_in_ticks(LOOP_REST - 1)
        assert (len(stand.probes), stand.server.is_looped) == (1, True)
        stand.scene.pass_time_in_ticks(1.15)
        assert len(stand.probes) == 2

    def test_it_ends_when_an_answer_comes_and_the_name_does_not(self, stand: Stand) -> None:
        self.looped(stand, (0.2, said(NXDOMAIN)))
        stand.scene.pass_time_in_ticks(0.5)
        assert stand.server.is_usable
        stand.scene.pass_time_in_ticks(2 * LOOP_REST)
        assert len(stand.probes) == 2

    def test_not_when_the_name_comes_back_once_more(self, stand: Stand) -> None:
        self.looped(stand, (0.2, said(NXDOMAIN)))
        stand.probing.has_come_back(marked(stand))
        stand.scene.pass_time_in_ticks(0.5)
        assert stand.server.is_looped

    def test_not_when_nothing_is_said(self, stand: Stand) -> None:
        self.looped(stand)
        stand.scene.pass_time_in_ticks(5)
        assert stand.server.is_looped
        stand.scene.pass_time_in_ticks(LOOP_REST)
        assert len(stand.probes) == 3

    def test_suspicion_that_arose_meanwhile_is_looked_into_afterwards(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.suspect()
        assert len(stand.probes) == 1
        stand.scene.pass_time_in_ticks(PROBE_WAIT + 0.1)
        assert [probe.query.qtype for probe in stand.probes] == [Qtype.HINFO, Qtype.SOA]


def test_a_suspect_that_answers_a_question_stays_up_though_its_probe_is_lost(stand: Stand) -> None:
    stand.suspect()
    stand.server.took(0, 0.01, stand.scene.now)
    stand.scene.pass_time_in_ticks(PROBE_WAIT + 0.1)
    assert stand.server.is_usable


def test_nothing_is_left_for_the_collector(stand: Stand) -> None:
    stand.leg.always = (0.02, said())

    def go_down_and_come_up() -> None:
        take_down(stand.server, stand.scene.now)
        stand.server.on_trouble(stand.server)
        stand.scene.pass_time_in_ticks(2)
        assert stand.server.is_usable
        stand.probes.clear()

    assert garbage_after(go_down_and_come_up, times=5) == 0
