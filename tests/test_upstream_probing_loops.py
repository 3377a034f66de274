"""Probes for loops: by a name nobody else can know, in each zone of an upstream, until one was answered or came back."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from forwarder.upstream.probing import LOOP_REST, MARK, PROBE_WAIT, UNSEEN_REST
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import TICK
from forwarder.wire.message import CLASS_IN, Qtype
from forwarder.wire.names import MAX_NAME, name_from_text
from forwarder.wire.records import Response
from tests.lab.collector import garbage_after
from tests.test_upstream_network import Scene
from tests.test_upstream_probing import ZONE, Stand
from tests.test_upstream_servers import NXDOMAIN, SERVFAIL, Leg, said, server_of

OTHER = name_from_text("test")
ROOT = b"\0"


@pytest.fixture
def stand() -> Iterator[Stand]:
    with Scene() as scene:
        yield Stand(scene)


def marked(stand: Stand) -> bytes:
    """The name that the last probe asked for."""
    query = stand.probes[-1].query
    assert (query.qtype, query.qclass) == (Qtype.HINFO, CLASS_IN)
    return query.name


def zones_asked(stand: Stand) -> list[bytes]:
    """The zones that were looked at, in order; and forgotten then."""
    names = [probe.query.name for probe in stand.probes if probe.query.qtype == Qtype.HINFO]
    stand.probes.clear()
    return [name[1 + name[0] :] for name in names]


def test_who_never_answers_is_asked_ever_less_often(stand: Stand) -> None:
    stand.probing.begin()
    stand.scene.pass_time_in_ticks(6 * LOOP_REST)
    times = [probe.sent_at for probe in stand.probes]
    rests = [after - before - PROBE_WAIT for before, after in pairwise(times)]
    assert rests[:7] == pytest.approx([5, 10, 20, 40, 60, 60, 60], abs=10 * TICK)


class TestName:
    def test_a_name_below_the_zone_that_nobody_can_know(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.scene.pass_time_in_ticks((1 + 2 + 4 + 8) * UNSEEN_REST + 5 * PROBE_WAIT)
        names = {probe.query.name for probe in stand.probes}
        assert len(names) == len(stand.probes) == 5
        for name in names:
            assert name[1:].startswith(MARK.encode())
            assert name[1 + name[0] :] == ZONE
            assert name[0] == len(MARK) + 16

    def test_where_no_name_fits_below_the_zone_at_the_root(self) -> None:
        zone = name_from_text(".".join(["x" * 63] * 3 + ["y" * 55]))
        with Scene() as scene:
            stand = Stand(scene, zone)
            stand.probing.begin()
            assert len(marked(stand)) <= MAX_NAME
            assert marked(stand).endswith(b"\0")
            assert stand.probing.has_come_back(marked(stand))


class TestFound:
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

    def test_while_it_is_left_out_all_its_zones_are_looked_at(self, stand: Stand) -> None:
        stand.probing.watch(stand.server, OTHER)
        stand.leg.always = (0.1, said(NXDOMAIN))
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(0.15)
        assert stand.probing.has_come_back(marked(stand))
        stand.scene.pass_time_in_ticks(1)
        assert zones_asked(stand) == [ZONE, OTHER]
        stand.scene.pass_time_in_ticks(LOOP_REST - 1)
        assert zones_asked(stand) == [ZONE]
        assert stand.server.is_looped
        stand.scene.pass_time_in_ticks(1)
        assert zones_asked(stand) == [OTHER]
        assert stand.server.is_usable

    def test_what_was_not_looked_at_because_of_it_is_then(self, stand: Stand) -> None:
        stand.probing.watch(stand.server, OTHER)
        self.looped(stand)
        stand.leg.always = (0.1, said(NXDOMAIN))
        stand.scene.pass_time_in_ticks(LOOP_REST + 5)
        assert stand.server.is_usable
        assert zones_asked(stand) == [ZONE, ZONE, ZONE, OTHER]
        stand.scene.pass_time_in_ticks(2 * LOOP_REST)
        assert zones_asked(stand) == []


SAID_SOMETHING = [(0.1, said(NXDOMAIN)), (0.1, said(SERVFAIL)), (0.1, said()), (0.1, Failed.TRUNCATED)]
SAID_NOTHING = [(0.1, Failed.NETWORK), (0.1, Failed.MALFORMED), Failed.EXHAUSTED, Failed.NETWORK, Failed.LOST, None]


class TestNotFound:
    @pytest.mark.parametrize("outcome", SAID_SOMETHING)
    def test_when_an_answer_came_nothing_follows(self, stand: Stand, outcome: tuple[float, Response | Failed]) -> None:
        stand.leg.always = outcome
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(3 * UNSEEN_REST)
        assert (stand.server.is_usable, len(stand.probes), stand.leg.open) == (True, 1, 0)
        assert not stand.probing.has_come_back(marked(stand)), "after its time it may be anybody's"

    @pytest.mark.parametrize("outcome", SAID_NOTHING)
    def test_when_none_came_it_is_looked_at_again_until_one_does(
        self, stand: Stand, outcome: tuple[float, Response | Failed] | Failed | None
    ) -> None:
        stand.leg.always = outcome
        stand.probing.begin()
        attempts = len(stand.probes)
        stand.scene.pass_time_in_ticks(UNSEEN_REST - 0.1)
        assert len(stand.probes) == attempts
        stand.scene.pass_time_in_ticks(PROBE_WAIT + 0.2)
        assert len(stand.probes) == 2 * attempts
        assert (stand.server.is_usable, stand.server.health.is_troubled) == (True, False)
        stand.leg.always = (0.1, said(NXDOMAIN))
        stand.scene.pass_time_in_ticks(3 * UNSEEN_REST)
        assert (len(stand.probes), stand.leg.open) == (2 * attempts + 1, 0)

    def test_a_mismatched_response_is_none(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.probes[0].hear(Failed.MISMATCHED)
        stand.scene.pass_time_in_ticks(UNSEEN_REST + PROBE_WAIT + 0.1)
        assert len(stand.probes) == 2

    def test_of_one_that_left_nothing_is_found_out_any_more(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.server.leave()
        stand.scene.pass_time_in_ticks(3 * UNSEEN_REST)
        assert len(stand.probes) == 1

    def test_after_a_defect_it_is_looked_at_again(self, stand: Stand) -> None:
        stand.leg.defect = RuntimeError("a defect")
        stand.probing.begin()
        stand.leg.defect = None
        stand.scene.pass_time_in_ticks(UNSEEN_REST - 0.1)
        assert stand.probes == []
        stand.scene.pass_time_in_ticks(0.2)
        assert zones_asked(stand) == [ZONE]

    def test_one_that_is_down_is_looked_at_when_it_is_up(self, stand: Stand) -> None:
        stand.down()
        stand.scene.pass_time_in_ticks(4 * UNSEEN_REST)
        assert zones_asked(stand) == []
        stand.leg.always = (0.02, said(NXDOMAIN))
        stand.scene.pass_time_in_ticks(30)
        assert stand.server.is_usable
        assert zones_asked(stand) == [ZONE]


class TestZones:
    def test_each_is_looked_at_once_by_one_probe(self, stand: Stand) -> None:
        stand.leg.always = (0.1, said(NXDOMAIN))
        probe = stand.server.probe
        for zone in (OTHER, ROOT, ZONE, OTHER):
            stand.probing.watch(stand.server, zone)
        assert stand.server.probe is probe
        for _ in range(3):
            stand.probing.begin()
        assert stand.leg.open == len(stand.probes) == 1
        stand.scene.pass_time_in_ticks(3 * UNSEEN_REST)
        assert zones_asked(stand) == [ZONE, OTHER, ROOT]

    def test_one_that_it_gains_is_looked_at_and_no_other(self, stand: Stand) -> None:
        stand.see()
        for zone in (ZONE, OTHER):
            stand.probing.watch(stand.server, zone)
        stand.probing.begin()
        assert stand.probing.has_come_back(marked(stand))
        assert zones_asked(stand) == [OTHER]
        assert stand.server.is_looped

    def test_one_that_it_gains_while_another_is_looked_at_follows(self, stand: Stand) -> None:
        stand.leg.always = (0.1, said(NXDOMAIN))
        stand.probing.begin()
        stand.probing.watch(stand.server, OTHER)
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(UNSEEN_REST + 0.3)
        assert zones_asked(stand) == [ZONE, OTHER]

    def test_one_that_was_answered_is_not_looked_at_again_for_the_sake_of_another(self, stand: Stand) -> None:
        stand.probing.watch(stand.server, OTHER)
        stand.leg.outcomes = [(0.1, said(NXDOMAIN))]
        stand.probing.begin()
        stand.scene.pass_time_in_ticks(PROBE_WAIT + 0.2)
        assert zones_asked(stand) == [ZONE, OTHER]
        stand.scene.pass_time_in_ticks((1 + 2) * UNSEEN_REST + 2 * PROBE_WAIT)
        assert zones_asked(stand) == [OTHER, OTHER]

    def test_whether_it_lives_is_asked_in_the_first(self, stand: Stand) -> None:
        stand.probing.watch(stand.server, OTHER)
        stand.see()
        stand.suspect()
        assert [(probe.query.name, probe.query.qtype) for probe in stand.probes] == [(ZONE, Qtype.SOA)]


class TestSuspicionMeanwhile:
    def test_is_looked_into_right_afterwards(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.suspect()
        assert len(stand.probes) == 1
        stand.scene.pass_time_in_ticks(PROBE_WAIT + 2 * TICK)
        assert [probe.query.qtype for probe in stand.probes] == [Qtype.HINFO, Qtype.SOA]

    def test_and_the_look_for_loops_is_repeated_after_that(self, stand: Stand) -> None:
        stand.probing.begin()
        stand.suspect()
        stand.leg.always = (0.1, said(NXDOMAIN))
        stand.scene.pass_time_in_ticks(2 * UNSEEN_REST)
        assert [probe.query.qtype for probe in stand.probes] == [Qtype.HINFO, Qtype.SOA, Qtype.HINFO]


def test_nothing_is_left_for_the_collector(stand: Stand) -> None:
    def loop_and_leave() -> None:
        leg = Leg(stand.scene.network, "192.0.2.2:53", (0.02, said(NXDOMAIN)))
        server = server_of(stand.scene, leg, number=1)
        for zone in (ZONE, OTHER):
            stand.probing.watch(server, zone)
        stand.probing.begin()
        assert stand.probing.has_come_back(leg.exchanges[-1].query.name)
        stand.scene.pass_time_in_ticks(1)
        server.leave()
        stand.scene.pass_time_in_ticks(LOOP_REST)
        leg.exchanges.clear()

    stand.see()
    assert garbage_after(loop_and_leave, times=5) == 0
