"""Zones: the longest suffix alone is asked; of its upstreams the first, and where that does not do as `asking` says."""

from collections.abc import Iterator
from typing import Any

import pytest

from forwarder.observe import counters
from forwarder.upstream.asking import Unanswered
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.stream import StreamUpstream
from forwarder.upstream.udp import UdpUpstream
from forwarder.upstream.waiting import TICK
from forwarder.upstream.zones import NOBODY_CONFIGURED, Zone, Zones
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import AD, QR, RA, RD, TC
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, Response
from tests.lab.collector import garbage_after
from tests.test_upstream_network import ADDRESS, Asked, DatagramPeer, Scene, StreamPeer, framed, response_to
from tests.test_upstream_servers import NXDOMAIN, QUERY, SERVFAIL, Leg, failures, in_row, said, server_of, take_down

DEADLINE = 1.8
ANSWER, OTHER = said(), said(rdatas=(b"\xc0\x00\x02\x02",))


class Place:
    """A zone of servers with one transport each."""

    def __init__(self, scene: Scene, *outcomes: list[Any], trust_ad: bool = False, is_equal: bool = False) -> None:
        self.scene = scene
        self.legs = [Leg(scene.network, str(number), *script) for number, script in enumerate(outcomes)]
        self.servers = [server_of(scene, leg, number=number) for number, leg in enumerate(self.legs)]
        self.zone = Zone(0, self.servers, scene.network, trust_ad=trust_ad, is_equal=is_equal)

    def outcome(self) -> object:
        """What comes of QUERY; nothing is left open."""
        asked = Asked(self.zone.ask(QUERY, self.scene.now + DEADLINE))
        self.scene.pass_time(0)
        began = self.scene.now
        while not asked.is_over and self.scene.now < began + 2 * DEADLINE:
            self.scene.pass_time(TICK)
        assert [leg.open for leg in self.legs] == [0] * len(self.legs)
        return asked.outcome

    @property
    def asked(self) -> list[int]:
        """How often each was asked."""
        return [len(leg.exchanges) for leg in self.legs]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


class TestForName:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("www.example.com", 0),
            ("example.com", 0),
            ("a.b.c.corp.example.com", 1),
            ("corp.example.com", 1),
            ("xcorp.example.com", 0),
            ("xexample.com", 9),
            ("com", 9),
            (".", 9),
            ("example.com.evil.test", 9),
            ("local", 2),
        ],
    )
    def test_the_longest_suffix(self, scene: Scene, name: str, expected: int) -> None:
        names = ["example.com", "corp.example.com", "local"]
        inner = {name_from_text(text): Zone(number, [], scene.network) for number, text in enumerate(names)}
        zones = Zones(inner, Zone(9, [], scene.network))
        assert zones.for_name(name_from_text(name)).number == expected
        assert zones.the_only is None

    @pytest.mark.parametrize("name", [".", "com", "www.example.com"])
    def test_the_root_encloses_everything(self, scene: Scene, name: str) -> None:
        root, nowhere = Zone(4, [], scene.network), Zone(-1, [], scene.network)
        assert Zones({b"\0": root}, nowhere).for_name(name_from_text(name)) is root
        assert Zones({b"\0": root}, nowhere).the_only is root
        assert Zones({}, nowhere).for_name(name_from_text(name)) is nowhere


class TestAnswered:
    def test_by_the_first_nobody_else_is_asked(self, scene: Scene) -> None:
        place = Place(scene, [(0.1, ANSWER)], [(0.0, OTHER)])
        assert place.outcome() == ANSWER
        assert place.asked == [1, 0]

    @pytest.mark.parametrize("outcome", [Failed.NETWORK, (0.1, Failed.MALFORMED), (0.1, said(SERVFAIL)), (0.6, ANSWER)])
    def test_by_the_next_when_the_first_did_not_do(self, scene: Scene, outcome: object) -> None:
        place = Place(scene, [outcome], [(0.1, OTHER)])
        assert place.outcome() == OTHER
        assert place.asked == [1, 1]

    def test_by_the_first_attempt_though_it_was_late(self, scene: Scene) -> None:
        place = Place(scene, [(0.5, ANSWER)], [])
        assert place.outcome() == ANSWER
        assert place.asked == [1, 1]
        assert failures(scene, 0) == {"timeout": 1}

    @pytest.mark.parametrize(("rcode", "kind"), [(NXDOMAIN, Kind.NXDOMAIN), (0, Kind.NODATA)])
    def test_a_negative_is_an_answer(self, scene: Scene, rcode: int, kind: Kind) -> None:
        place = Place(scene, [(0.1, said(rcode, ()))], [(0.1, OTHER)])
        outcome = place.outcome()
        assert isinstance(outcome, Response)
        assert outcome.kind is kind
        assert place.asked == [1, 0]

    @pytest.mark.parametrize("is_first", [True, False])
    @pytest.mark.parametrize(
        ("trust_ad", "flag", "authentic"), [(True, AD, True), (True, 0, False), (False, AD, False), (False, 0, False)]
    )
    def test_ad_counts_only_where_the_zone_trusts_it(
        self, scene: Scene, *, trust_ad: bool, flag: int, authentic: bool, is_first: bool
    ) -> None:
        script = [(0.0, said(flags=QR | RD | RA | flag))]
        place = Place(scene, *([script] if is_first else [[Failed.NETWORK], script]), trust_ad=trust_ad)
        outcome = place.outcome()
        assert isinstance(outcome, Response)
        assert outcome.is_authentic is authentic


class TestLearnt:
    def test_of_a_plain_answer_its_time_and_that_opt_is_known(self, scene: Scene) -> None:
        place = Place(scene, [(0.1, ANSWER)])
        place.outcome()
        scene.end_turn()
        assert place.legs[0].round_trip.wait == pytest.approx(0.3, abs=0.1)
        assert place.servers[0].dialect.knows_edns
        assert in_row(scene, 0, counters.SECONDS_IN_ROW + counters.PER_HISTOGRAM - 1) == pytest.approx(100_000, abs=20_000)
        assert failures(scene) == {}

    def test_of_many_answers_in_one_turn_the_first_alone(self, scene: Scene) -> None:
        """RFC 6298 section 3: one sample for each round trip."""
        place = Place(scene, [])
        asked = [Asked(place.zone.ask(QUERY, scene.now + DEADLINE)) for _ in range(2)]
        first, second = place.legs[0].exchanges
        scene.now += 0.02
        scene.network.turn.begin()
        first.hear(ANSWER)
        wait = place.legs[0].round_trip.wait
        second.hear(ANSWER)
        assert all(one.is_over for one in asked)
        assert place.legs[0].round_trip.wait == wait

    @pytest.mark.parametrize("outcome", [(0.01, ANSWER), (0.01, said(SERVFAIL)), Failed.NETWORK])
    def test_each_question_is_one_first_query(self, scene: Scene, outcome: object) -> None:
        place = Place(scene, [outcome] * 5, [(0.01, OTHER)] * 5)
        for _ in range(5):
            place.outcome()
        assert place.servers[0].budget.firsts == 5

    def test_one_lost_datagram_changes_nothing(self, scene: Scene) -> None:
        place = Place(scene, [(5.0, ANSWER), (0.01, ANSWER)])
        assert place.outcome() == ANSWER
        assert place.servers[0].is_ready
        assert not place.servers[0].health.is_troubled


class TestState:
    def test_down_is_a_zone_whose_upstreams_all_are(self, scene: Scene) -> None:
        place = Place(scene, [], [])
        states = [place.zone.is_down]
        take_down(place.servers[0], scene.now)
        states.append(place.zone.is_down)
        place.servers[1].loops(is_looped=True)
        states.append(place.zone.is_down)
        for _ in range(2):
            place.servers[0].was_probed(scene.now, answered=True)
        states.append(place.zone.is_down)
        assert states == [False, False, True, False]
        assert place.zone.recoveries == 1
        assert not Zone(0, [], scene.network).is_down

    def test_one_made_of_what_is_down_is_down(self, scene: Scene) -> None:
        place = Place(scene, [])
        take_down(place.servers[0], scene.now)
        assert Zone(1, place.servers, scene.network).is_down

    def test_who_is_down_is_asked_last(self, scene: Scene) -> None:
        place = Place(scene, [(0.1, ANSWER)], [(0.1, OTHER)])
        take_down(place.servers[0], scene.now)
        assert place.outcome() == OTHER
        assert place.asked == [0, 1]

    def test_who_is_spoken_to_plainly_is_asked_so_from_the_start(self, scene: Scene) -> None:
        place = Place(scene, [(0.1, ANSWER), (0.1, ANSWER)])
        place.servers[0].learn_dialect(scene.now, edns=False, was_refused=True)
        assert place.outcome() == ANSWER
        scene.pass_time(1000)
        assert place.outcome() == ANSWER
        assert [exchange.edns for exchange in place.legs[0].exchanges] == [False, True]

    def test_asking_ahead_costs_a_token_of_the_first(self, scene: Scene) -> None:
        place = Place(scene, [], [])
        times = 0
        while place.zone.may_ask_ahead(scene.now):
            times += 1
        assert times == 256
        assert place.servers[1].budget.take(scene.now)
        place = Place(scene, [], [])
        take_down(place.servers[0], scene.now)
        assert not place.zone.may_ask_ahead(scene.now)
        assert not Zone(0, [], scene.network).may_ask_ahead(scene.now)

    def test_equals_are_asked_in_turn(self, scene: Scene) -> None:
        place = Place(scene, *[[(0.0, ANSWER)] * 6 for _ in range(3)], is_equal=True)
        asked = []
        for _ in range(6):
            place.outcome()
            asked.append(place.asked)
        assert [sum(one) for one in asked] == [1, 2, 3, 4, 5, 6]
        assert asked[2] == [1, 1, 1]
        assert asked[5] == [2, 2, 2]


class TestUnanswered:
    def test_no_upstream_is_ever_invented(self, scene: Scene) -> None:
        assert Place(scene).outcome() == NOBODY_CONFIGURED

    def test_the_first_that_was_not_asked_at_length_is_named(self, scene: Scene) -> None:
        because = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "SERVFAIL from 0")
        assert Place(scene, [(0.1, said(SERVFAIL))]).outcome() == because

    @pytest.mark.parametrize("phase", range(0, 20, 3))
    def test_silence_ends_by_the_deadline(self, scene: Scene, phase: int) -> None:
        scene.now += phase / 1000
        scene.network.turn.begin()
        began = scene.now
        outcome = Place(scene, [], []).outcome()
        assert isinstance(outcome, Unanswered)
        assert outcome.timed_out
        assert began + DEADLINE - 3 * TICK <= scene.now <= began + DEADLINE + 1e-9


class TestReal:
    """The transports there are, and the other side of them."""

    def test_what_is_truncated_is_asked_over_a_stream_and_the_response_is_whole(self, scene: Scene) -> None:
        with StreamPeer() as stream, DatagramPeer() as datagrams:
            udp = UdpUpstream(datagrams.address, scene.network, scene.tally, case_randomisation="auto", wants_ad=False)
            tcp = StreamUpstream(stream.address, scene.network, scene.tally, wants_ad=False)
            server = Server("both", (udp, tcp), scene.tally, scene.now)
            asked = Asked(Zone(0, [server], scene.network).ask(QUERY, scene.now + DEADLINE))
            query, port = datagrams.receive()
            datagrams.send(response_to(query, (), flags=QR | RD | RA | TC), port)
            scene.serve()
            connection = stream.accept()
            scene.serve()
            connection.send(framed(response_to(connection.receive())))
            scene.serve_until_over(asked)
            assert asked.address == ADDRESS
            server.leave()
        assert (scene.queries_sent("udp"), scene.queries_sent("tcp")) == (1, 1)

    def test_a_server_that_reads_and_closes_gets_at_most_three_queries_for_one_question(self, scene: Scene) -> None:
        """RFC 9520 section 3.1: at most three queries to one server over one transport."""
        with StreamPeer() as peer:
            tcp = StreamUpstream(peer.address, scene.network, scene.tally, wants_ad=False)
            server = Server("tcp", (tcp,), scene.tally, scene.now)
            asked = Asked(Zone(0, [server], scene.network).ask(QUERY, scene.now + DEADLINE))
            queries = 0
            while not asked.is_over:
                if peer.is_quiet():
                    scene.pass_time(TICK)
                    continue
                connection = peer.accept()
                scene.serve()
                connection.receive()
                queries += 1
                connection.close()
                scene.serve()
            assert isinstance(asked.outcome, Unanswered)
            assert (queries, tcp.open) == (3, 0)


def test_nothing_is_left_for_the_collector(scene: Scene) -> None:
    place = Place(scene, [], [], [])
    place.legs[0].always, place.legs[2].always = (0.01, said(SERVFAIL)), Failed.NETWORK

    def ask_in_vain() -> None:
        assert isinstance(place.outcome(), Unanswered)
        for leg in place.legs:
            leg.exchanges.clear()

    assert garbage_after(ask_in_vain, times=5) == 0


class TestTold:
    """Who answered, or was asked last, and how often anybody was asked."""

    @pytest.mark.parametrize(
        ("scripts", "told"),
        [
            (([(0.01, ANSWER)],), ("0", 1)),
            (([(0.01, said(NXDOMAIN))],), ("0", 1)),
            (([(0.01, said(SERVFAIL))], [(0.01, ANSWER)]), ("1", 2)),
            (([(0.01, said(SERVFAIL))], [(0.01, said(SERVFAIL))]), ("1", 2)),
            (([], [(0.01, ANSWER)]), ("1", 2)),
        ],
    )
    def test_of_a_question(self, scene: Scene, scripts: tuple[list[Any], ...], told: tuple[str, int]) -> None:
        place = Place(scene, *scripts)
        assert place.zone.told == ("", 0)
        place.outcome()
        assert place.zone.told == told

    def test_one_that_is_late_and_answers_is_told_though_another_was_asked_last(self, scene: Scene) -> None:
        place = Place(scene, [(0.5, ANSWER)], [(1.0, OTHER)])
        assert place.outcome() is ANSWER
        assert place.zone.told == ("0", 2)

    def test_a_denial_that_waited_for_who_may_know_more_is_told_by_who_gave_it(self, scene: Scene) -> None:
        place = Place(scene, [], [(0.01, said(NXDOMAIN))])
        for leg in place.legs:
            for _ in range(20):
                leg.round_trip.took(0.001, scene.now)
        outcome = place.outcome()
        assert isinstance(outcome, Response)
        assert outcome.kind is Kind.NXDOMAIN
        assert place.asked[0] > 1, "and was asked again meanwhile"
        assert place.zone.told == ("1", sum(place.asked))

    def test_of_equals_the_one_whose_turn_it_was(self, scene: Scene) -> None:
        place = Place(scene, [(0.01, ANSWER)] * 2, [(0.01, ANSWER)] * 2, is_equal=True)
        found = []
        for _ in range(3):
            place.outcome()
            found.append(place.zone.told)
        assert sorted(set(found)) == [("0", 1), ("1", 1)]

    def test_where_nobody_is_configured_it_is_nobody(self, scene: Scene) -> None:
        place = Place(scene)
        place.outcome()
        assert place.zone.told == ("", 0)
