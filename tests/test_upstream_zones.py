"""Zones: the longest suffix alone is asked, its upstreams in order until one has answered, and why when none has."""

from collections.abc import Iterator

import pytest

from forwarder.observe import counters
from forwarder.upstream.selection import FIRST_WAIT, Failed, Upstream
from forwarder.upstream.stream import StreamUpstream
from forwarder.upstream.tally import Tally
from forwarder.upstream.waiting import TICK, Waiting, step
from forwarder.upstream.zones import Unanswered, Zone, Zones
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import AD, QR, RA, RD, Query, query_for_upstream
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, Response, parse_response
from tests.lab.collector import garbage_after
from tests.test_upstream_network import ADDRESS, Asked, Scene, StreamPeer, query_for, response_to

DEADLINE = 1.8
QUERY = query_for("www.example.com")
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


def said(rcode: int = 0, rdatas: tuple[bytes, ...] = (ADDRESS,), flags: int = QR | RD | RA) -> Response:
    """A response to QUERY."""
    asked = query_for_upstream(1, QUERY.question, QUERY, wants_ad=False)
    message = response_to(asked, () if rcode else rdatas, rcode=rcode, flags=flags)
    return parse_response(message, QUERY.name, QUERY.qtype, do=False)


class Fake:
    """An upstream that does as it is told, attempt by attempt, and the last for ever; time-outs and answers take their time."""

    def __init__(self, scene: Scene, name: str, *outcomes: Response | Failed, seconds: float = 0.0) -> None:
        self.name = name
        self.waits: list[float] = []
        """How long each attempt might have taken."""
        self._scene = scene
        self._outcomes = list(outcomes)
        self._seconds = seconds

    async def exchange(self, query: Query, until: float) -> Response | Failed:
        assert query is QUERY
        self.waits.append(until - self._scene.network.turn.now)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        self._scene.now = until if outcome is Failed.TIMEOUT else self._scene.now + self._seconds
        self._scene.network.turn.begin()
        return outcome


class Silent:
    """An upstream that never says anything: each attempt waits with the timers until it is given up."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.name = name
        self.waits: list[float] = []
        self._scene = scene

    async def exchange(self, query: Query, until: float) -> Response | Failed:
        assert query is QUERY
        self.waits.append(until - self._scene.network.turn.now)
        waiting = Waiting()
        self._scene.network.timers.watch(waiting, until)
        assert await waiting is None
        return Failed.TIMEOUT


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


def zone_of(scene: Scene, *upstreams: Upstream, trust_ad: bool = False) -> Zone:
    tallies = [Tally(scene.counts, number, scene.network.turn) for number in range(len(upstreams))]
    return Zone(0, list(upstreams), tallies, scene.network.turn, trust_ad=trust_ad)


def ask(scene: Scene, zone: Zone, seconds: float = DEADLINE) -> Response | Unanswered:
    """What comes of QUERY, where nothing has to be waited for."""
    outcomes: list[Response | Unanswered] = []

    async def asking() -> None:
        outcomes.append(await zone.ask(QUERY, scene.now + seconds))

    scene.network.turn.begin()
    step(asking())
    scene.network.turn.end()
    return outcomes[0]


def in_row(scene: Scene, number: int, place: int) -> int:
    return scene.counts[counters.upstream_row(number) + place]


def failures(scene: Scene, number: int) -> dict[str, int]:
    counted = {
        reason: in_row(scene, number, counters.FAILURES_IN_ROW + at) for at, reason in enumerate(counters.FAILURE_REASONS)
    }
    return {reason: count for reason, count in counted.items() if count}


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
        zones = Zones(
            {
                name_from_text(text): Zone(number, [], [], scene.network.turn, trust_ad=False)
                for number, text in enumerate(["example.com", "corp.example.com", "local"])
            },
            Zone(9, [], [], scene.network.turn, trust_ad=False),
        )
        assert zones.for_name(name_from_text(name)).number == expected

    @pytest.mark.parametrize("name", [".", "com", "www.example.com"])
    def test_the_root_encloses_everything(self, scene: Scene, name: str) -> None:
        root = Zone(4, [], [], scene.network.turn, trust_ad=False)
        nowhere = Zone(-1, [], [], scene.network.turn, trust_ad=False)
        assert Zones({b"\0": root}, nowhere).for_name(name_from_text(name)) is root
        assert Zones({}, nowhere).for_name(name_from_text(name)) is nowhere


class TestAnswered:
    def test_by_the_first_nobody_else_is_asked(self, scene: Scene) -> None:
        first, second = Fake(scene, "first", said()), Fake(scene, "second", said())
        outcome = ask(scene, zone_of(scene, first, second))
        assert isinstance(outcome, Response)
        assert outcome.message.endswith(ADDRESS)
        assert (len(first.waits), len(second.waits)) == (1, 0)

    @pytest.mark.parametrize("failed", [Failed.TIMEOUT, Failed.NETWORK, Failed.MALFORMED])
    def test_by_the_next_when_the_first_failed(self, scene: Scene, failed: Failed) -> None:
        first, second = Fake(scene, "first", failed), Fake(scene, "second", said())
        assert isinstance(ask(scene, zone_of(scene, first, second)), Response)
        assert (len(first.waits), len(second.waits)) == (1, 1)
        assert failures(scene, 0) == {failed.value: 1}
        assert failures(scene, 1) == {}

    def test_by_the_same_when_its_connection_was_lost(self, scene: Scene) -> None:
        """The next in order may know another truth: a public server beside an internal one."""
        first, second = Fake(scene, "first", Failed.LOST, said()), Fake(scene, "second", said())
        assert isinstance(ask(scene, zone_of(scene, first, second)), Response)
        assert (len(first.waits), len(second.waits)) == (2, 0)
        assert failures(scene, 0) == {"network": 1}

    @pytest.mark.parametrize("rcode", [1, 2, 4, 5, 9])
    def test_by_the_next_when_the_first_said_it_cannot(self, scene: Scene, rcode: int) -> None:
        first, second = Fake(scene, "first", said(rcode)), Fake(scene, "second", said())
        assert isinstance(ask(scene, zone_of(scene, first, second)), Response)
        reason = {1: "formerr", 2: "servfail", 4: "notimp", 5: "refused"}.get(rcode, "other")
        assert failures(scene, 0) == {reason: 1}

    @pytest.mark.parametrize(("rcode", "kind"), [(NXDOMAIN, Kind.NXDOMAIN), (0, Kind.NODATA)])
    def test_a_negative_is_an_answer(self, scene: Scene, rcode: int, kind: Kind) -> None:
        second = Fake(scene, "second", said())
        outcome = ask(scene, zone_of(scene, Fake(scene, "first", said(rcode, ())), second))
        assert isinstance(outcome, Response)
        assert outcome.kind is kind
        assert second.waits == []

    def test_by_the_same_one_in_a_later_round(self, scene: Scene) -> None:
        first = Fake(scene, "first", Failed.TIMEOUT, Failed.NETWORK, said())
        assert isinstance(ask(scene, zone_of(scene, first)), Response)
        assert first.waits == pytest.approx([0.4, 0.6, 0.9])

    def test_how_long_it_took_is_counted_from_its_own_attempt(self, scene: Scene) -> None:
        first, second = Fake(scene, "first", Failed.TIMEOUT), Fake(scene, "second", said(), seconds=0.02)
        ask(scene, zone_of(scene, first, second))
        microseconds = counters.SECONDS_IN_ROW + counters.PER_HISTOGRAM - 1
        assert in_row(scene, 0, microseconds) == 0
        assert in_row(scene, 1, microseconds) == pytest.approx(20_000, abs=5)

    @pytest.mark.parametrize(
        ("trust_ad", "flag", "authentic"), [(True, AD, True), (True, 0, False), (False, AD, False), (False, 0, False)]
    )
    def test_ad_counts_only_where_the_zone_trusts_it(self, scene: Scene, *, trust_ad: bool, flag: int, authentic: bool) -> None:
        upstream = Fake(scene, "first", said(flags=QR | RD | RA | flag))
        outcome = ask(scene, zone_of(scene, upstream, trust_ad=trust_ad))
        assert isinstance(outcome, Response)
        assert outcome.is_authentic is authentic


class TestUnanswered:
    @pytest.mark.parametrize(
        ("outcome", "error", "text"),
        [
            (Failed.TIMEOUT, ExtendedError.NO_REACHABLE_AUTHORITY, "no response from 192.0.2.1:53"),
            (Failed.NETWORK, ExtendedError.NETWORK_ERROR, "cannot reach 192.0.2.1:53"),
            (Failed.MALFORMED, ExtendedError.INVALID_DATA, "malformed response from 192.0.2.1:53"),
            (said(SERVFAIL), ExtendedError.NO_REACHABLE_AUTHORITY, "SERVFAIL from 192.0.2.1:53"),
            (said(REFUSED), ExtendedError.NO_REACHABLE_AUTHORITY, "REFUSED from 192.0.2.1:53"),
            (said(4), ExtendedError.NO_REACHABLE_AUTHORITY, "NOTIMP from 192.0.2.1:53"),
            (said(1), ExtendedError.NO_REACHABLE_AUTHORITY, "FORMERR from 192.0.2.1:53"),
            (said(9), ExtendedError.NO_REACHABLE_AUTHORITY, "RCODE 9 from 192.0.2.1:53"),
        ],
        ids=lambda value: getattr(value, "name", None) or (value if isinstance(value, str) else "response"),
    )
    def test_says_why(self, scene: Scene, outcome: Response | Failed, error: ExtendedError, text: str) -> None:
        said_why = Unanswered(error, text, timed_out=outcome is Failed.TIMEOUT)
        assert ask(scene, zone_of(scene, Fake(scene, "192.0.2.1:53", outcome))) == said_why

    def test_the_last_that_was_asked_is_named(self, scene: Scene) -> None:
        zone = zone_of(scene, Fake(scene, "first", said(SERVFAIL)), Fake(scene, "second", said(REFUSED)))
        outcome = ask(scene, zone)
        assert isinstance(outcome, Unanswered)
        assert outcome.text == "REFUSED from second"

    def test_no_upstream_is_ever_invented(self, scene: Scene) -> None:
        outcome = ask(scene, zone_of(scene))
        assert outcome == Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "no upstream is configured for this name")

    def test_who_said_it_cannot_is_asked_once(self, scene: Scene) -> None:
        first, second = Fake(scene, "first", said(SERVFAIL)), Fake(scene, "second", Failed.NETWORK)
        assert isinstance(ask(scene, zone_of(scene, first, second)), Unanswered)
        assert (len(first.waits), len(second.waits)) == (1, 3)

    def test_nobody_is_asked_more_than_three_times_and_all_together_six(self, scene: Scene) -> None:
        upstreams = [Fake(scene, str(number), Failed.NETWORK) for number in range(4)]
        assert isinstance(ask(scene, zone_of(scene, *upstreams)), Unanswered)
        assert [len(upstream.waits) for upstream in upstreams] == [2, 2, 1, 1]

    def test_the_deadline_ends_it(self, scene: Scene) -> None:
        first, second = Fake(scene, "first", Failed.TIMEOUT), Fake(scene, "second", Failed.TIMEOUT)
        began = scene.now
        assert isinstance(ask(scene, zone_of(scene, first, second)), Unanswered)
        assert scene.now == pytest.approx(began + DEADLINE)
        assert first.waits == pytest.approx([0.4, 0.6])
        assert second.waits == pytest.approx([0.4, 0.4])


class TestHealth:
    def test_three_questions_in_vain_and_the_next_is_asked_first(self, scene: Scene) -> None:
        first, second = Fake(scene, "first", Failed.TIMEOUT), Fake(scene, "second", said())
        zone = zone_of(scene, first, second)
        ups = []
        for _ in range(4):
            ask(scene, zone)
            ups.append(in_row(scene, 0, counters.UP_IN_ROW))
        assert (len(first.waits), len(second.waits)) == (3, 4)
        assert ups == [1, 1, 0, 0]

    def test_after_its_rest_it_is_asked_first_and_a_response_brings_it_back(self, scene: Scene) -> None:
        first = Fake(scene, "first", Failed.NETWORK, Failed.NETWORK, Failed.NETWORK, said())
        zone = zone_of(scene, first, Fake(scene, "second", said()))
        for _ in range(3):
            ask(scene, zone)
        assert in_row(scene, 0, counters.UP_IN_ROW) == 0
        scene.now += 1.0
        ask(scene, zone)
        assert len(first.waits) == 4
        assert in_row(scene, 0, counters.UP_IN_ROW) == 1

    def test_who_says_it_cannot_is_up(self, scene: Scene) -> None:
        first = Fake(scene, "first", said(SERVFAIL))
        zone = zone_of(scene, first, Fake(scene, "second", said()))
        for _ in range(5):
            ask(scene, zone)
        assert len(first.waits) == 5
        assert in_row(scene, 0, counters.UP_IN_ROW) == 1


@pytest.mark.parametrize("upstreams", [1, 2, 3])
@pytest.mark.parametrize("phase", range(0, 20, 3))
def test_silence_ends_by_the_deadline_and_every_attempt_had_time_for_an_answer(
    scene: Scene, upstreams: int, phase: int
) -> None:
    """With the real timers, which end waits a little early: what is left then is no time for another attempt."""
    scene.now += phase / 1000
    scene.network.turn.begin()
    silent = [Silent(scene, str(number)) for number in range(upstreams)]
    began = scene.now
    asked = Asked(zone_of(scene, *silent).ask(QUERY, began + DEADLINE))
    over_at = 0.0
    while not asked.is_over:
        scene.pass_time(TICK)
        over_at = scene.now
    assert began + DEADLINE - 2 * TICK - 1e-9 <= over_at <= began + DEADLINE + 1e-9
    assert min(wait for upstream in silent for wait in upstream.waits) >= FIRST_WAIT / 2


def test_a_server_that_reads_and_closes_gets_at_most_three_queries_for_one_question(scene: Scene) -> None:
    """RFC 9520 section 3.1: at most three queries to one server over one transport."""
    with StreamPeer() as peer:
        upstream = StreamUpstream(peer.address, scene.network, scene.tally, wants_ad=False)
        asked = Asked(zone_of(scene, upstream).ask(QUERY, scene.now + DEADLINE))
        queries = 0
        while not asked.is_over:
            connection = peer.accept()
            scene.serve()
            connection.receive()
            queries += 1
            connection.close()
            scene.serve()
        assert queries <= 3


def test_nothing_is_left_for_the_collector(scene: Scene) -> None:
    zone = zone_of(scene, Silent(scene, "first"), Fake(scene, "second", said(SERVFAIL), Failed.NETWORK))

    def ask_until_the_deadline() -> None:
        asked = Asked(zone.ask(QUERY, scene.now + DEADLINE))
        scene.pass_time_in_ticks(2.0)
        assert asked.is_over

    assert garbage_after(ask_until_the_deadline, times=5) == 0
