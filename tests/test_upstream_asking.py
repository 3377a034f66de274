"""The asking at length: the first usable answer wins, within its time, whatever the upstreams do, and nothing is left open."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.upstream.asking import LOOPED, NOBODY_UP, Begun, Unanswered, asked, reason_for
from forwarder.upstream.round_trip import FIRST_WAIT, TAIL_SAMPLES
from forwarder.upstream.selection import Attempts, Send
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.waiting import TICK
from forwarder.wire.edns import ExtendedError
from forwarder.wire.records import Kind, Response
from tests.lab.collector import garbage_after
from tests.test_upstream_network import Asked, Scene
from tests.test_upstream_servers import FORMERR, NXDOMAIN, QUERY, REFUSED, SERVFAIL, Leg, said, server_of, take_down

DEADLINE = 1.8
EARLY = 2 * TICK + 1e-9
"""Seconds by which waits may end early."""


Script = tuple[float, Response | Failed] | Failed
"""What an attempt meets with, and after how many seconds."""


class Table:
    """Servers, and a question that is put to them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.legs: list[Leg] = []
        self.servers: list[Server] = []
        self.began = scene.now

    def seat(self, *outcomes: Script, over_tcp: list[tuple[float, Response | Failed]] | None = None) -> Leg:
        """One more server, and what it says over UDP to each attempt; over TCP as well, where that is given."""
        name = f"192.0.2.{len(self.servers) + 1}:53"
        leg = Leg(self.scene.network, name, *outcomes)
        both = [leg] if over_tcp is None else [leg, Leg(self.scene.network, name, *over_tcp, is_stream=True)]
        self.servers.append(server_of(self.scene, *both, number=len(self.servers)))
        self.legs += both
        return leg

    def ask(self, seconds: float = DEADLINE, *, hedges: bool = False) -> Asked:
        """Begin to ask them all."""
        self.began = self.scene.now
        attempts = Attempts(self.servers, self.scene.now, self.scene.now + seconds, hedges=hedges)
        return Asked(asked(QUERY, self.servers, attempts, self.scene.network))

    def outcome(self, seconds: float = DEADLINE, *, hedges: bool = False) -> tuple[object, float]:
        """What comes of a question, and after how many seconds; nothing is left open."""
        one = self.ask(seconds, hedges=hedges)
        while not one.is_over and self.scene.now < self.began + 2 * seconds:
            self.scene.pass_time(TICK)
        assert [leg.open for leg in self.legs] == [0] * len(self.legs)
        return one.outcome, self.scene.now - self.began


@pytest.fixture
def table() -> Iterator[Table]:
    with Scene() as scene:
        yield Table(scene)


def about(seconds: float) -> object:
    """So many, or as early as waits may end."""
    return pytest.approx(seconds - TICK, abs=TICK + 1e-9)


def close_to(seconds: float, apart: float) -> object:
    """So many, and at most so many more or less."""
    return pytest.approx(seconds, abs=apart)


ANSWER, OTHER = said(), said(rdatas=(b"\xc0\x00\x02\x02",))


class TestAnswered:
    def test_by_the_first_nobody_else_is_asked(self, table: Table) -> None:
        table.seat((0.1, ANSWER))
        second = table.seat((0.0, OTHER))
        assert table.outcome() == (ANSWER, about(0.1))
        assert second.exchanges == []

    def test_by_the_next_when_the_first_is_late(self, table: Table) -> None:
        first, second = table.seat(), table.seat((0.02, OTHER))
        assert table.outcome() == (OTHER, close_to(0.4, 0.03))
        assert (first.sent_after(table.began), second.sent_after(table.began)) == ([0], [about(0.4)])

    def test_by_the_first_though_it_is_late(self, table: Table) -> None:
        table.seat((0.6, ANSWER))
        table.seat()
        assert table.outcome() == (ANSWER, about(0.6))

    @pytest.mark.parametrize("failed", [Failed.NETWORK, Failed.MALFORMED, Failed.CERTIFICATE, Failed.EXHAUSTED])
    def test_by_the_next_at_once_when_the_first_failed(self, table: Table, failed: Failed) -> None:
        table.seat(failed)
        table.seat((0.1, OTHER))
        assert table.outcome() == (OTHER, about(0.1))

    @pytest.mark.parametrize("rcode", [FORMERR, SERVFAIL, REFUSED])
    def test_by_the_next_when_the_first_said_no(self, table: Table, rcode: int) -> None:
        table.seat((0.1, said(rcode)), (0.1, said(rcode)))
        table.seat((0.1, OTHER))
        assert table.outcome()[0] == OTHER

    def test_by_the_same_on_another_connection_when_one_was_lost(self, table: Table) -> None:
        first, second = table.seat((0.1, Failed.LOST), (0.1, ANSWER)), table.seat()
        assert table.outcome() == (ANSWER, about(0.2))
        assert (len(first.exchanges), second.exchanges) == (2, [])

    def test_over_the_stream_what_was_truncated(self, table: Table) -> None:
        table.seat((0.1, Failed.TRUNCATED), over_tcp=[(0.1, ANSWER)])
        assert table.outcome() == (ANSWER, about(0.2))

    @pytest.mark.parametrize(("over_udp", "over_tcp"), [(0.3, 0.1), (0.1, 0.3)])
    def test_over_either_when_somebody_may_be_forging(self, table: Table, over_udp: float, over_tcp: float) -> None:
        udp = table.seat((over_udp, ANSWER), over_tcp=[(over_tcp, ANSWER)])
        one = table.ask()
        udp.exchanges[0].hear(Failed.MISMATCHED)
        assert len(table.legs[1].exchanges) == 1
        table.scene.pass_time_in_ticks(0.12)
        assert one.outcome == ANSWER
        assert [leg.open for leg in table.legs] == [0, 0]

    def test_without_opt_where_it_was_refused(self, table: Table) -> None:
        leg = table.seat((0.1, said(FORMERR)), (0.1, ANSWER))
        assert table.outcome() == (ANSWER, about(0.2))
        assert [exchange.edns for exchange in leg.exchanges] == [True, False]

    def test_apart_where_it_was_late_there(self, table: Table) -> None:
        leg = table.seat()
        table.outcome()
        assert [exchange.apart for exchange in leg.exchanges] == [False, True, True]

    def test_one_that_could_not_be_reached_is_asked_again_later(self, table: Table) -> None:
        leg = table.seat(Failed.NETWORK, (0.1, ANSWER))
        assert table.outcome() == (ANSWER, close_to(0.5, 0.03))
        assert leg.sent_after(table.began) == [0, about(0.4)]

    def test_by_an_equal_when_the_first_is_slower_than_it_ever_is(self, table: Table) -> None:
        first, second = table.seat((0.3, ANSWER)), table.seat((0.01, OTHER))
        for _ in range(TAIL_SAMPLES):
            first.round_trip.took_among_equals(0.05)
        assert table.outcome(hedges=True) == (OTHER, close_to(0.08, 0.03))
        assert len(second.exchanges) == 1

    def test_how_long_it_may_take_is_learnt(self, table: Table) -> None:
        leg = table.seat()
        leg.always = (0.01, ANSWER)
        for _ in range(30):
            table.outcome()
        leg.always = None
        table.outcome()
        first, second, third = leg.exchanges[-3:]
        assert [second.sent_at - first.sent_at, third.sent_at - second.sent_at] == [about(0.05)] * 2


class TestDenied:
    """A denial of a later upstream waits for an earlier one that is up and late: what the world denies the company may know."""

    def late_then(self, table: Table, *firsts: tuple[float, Response | Failed]) -> None:
        leg = table.seat(*firsts)
        leg.round_trip.took(0.01, table.scene.now)
        table.seat((0.05, said(NXDOMAIN)))

    def test_until_a_time_that_clients_hardly_feel(self, table: Table) -> None:
        self.late_then(table)
        outcome, seconds = table.outcome()
        assert isinstance(outcome, Response)
        assert outcome.kind is Kind.NXDOMAIN
        assert seconds == pytest.approx(FIRST_WAIT - TICK, abs=2 * TICK)

    def test_for_the_answer_of_the_earlier(self, table: Table) -> None:
        self.late_then(table, (0.25, ANSWER))
        assert table.outcome() == (ANSWER, about(0.25))

    def test_no_longer_than_the_earlier_may_yet_answer(self, table: Table) -> None:
        self.late_then(table, (0.15, said(SERVFAIL)))
        outcome, seconds = table.outcome()
        assert outcome == said(NXDOMAIN)
        assert seconds < 0.2

    def test_no_longer_than_the_question(self, table: Table) -> None:
        self.late_then(table)
        assert table.outcome(0.2) == (said(NXDOMAIN), about(0.2))

    def test_not_for_one_that_is_down(self, table: Table) -> None:
        self.late_then(table)
        take_down(table.servers[0], table.scene.now)
        assert table.outcome() == (said(NXDOMAIN), about(0.05))


class TestUnanswered:
    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("phase", range(0, 20, 3))
    def test_silence_ends_by_the_deadline(self, table: Table, count: int, phase: int) -> None:
        table.scene.now += phase / 1000
        table.scene.network.turn.begin()
        for _ in range(count):
            table.seat()
        outcome, seconds = table.outcome()
        assert isinstance(outcome, Unanswered)
        assert (outcome.error, outcome.timed_out) == (ExtendedError.NO_REACHABLE_AUTHORITY, True)
        assert DEADLINE - EARLY - TICK <= seconds <= DEADLINE + 1e-9

    def test_all_that_said_no_end_it_at_once_and_the_last_is_named(self, table: Table) -> None:
        table.seat((0.1, said(SERVFAIL)))
        table.seat((0.1, said(REFUSED)))
        because = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "REFUSED from 192.0.2.2:53")
        assert table.outcome() == (because, about(0.2))

    def test_nothing_to_be_had_to_ask_with_ends_it_at_once(self, table: Table) -> None:
        table.seat(over_tcp=[]).always = Failed.EXHAUSTED
        table.legs[1].always = Failed.EXHAUSTED
        outcome, seconds = table.outcome()
        assert (outcome, seconds) == (reason_for("192.0.2.1:53", Failed.EXHAUSTED, NOBODY_UP), 0)

    def test_all_looped(self, table: Table) -> None:
        table.seat()
        table.servers[0].loops(is_looped=True)
        assert table.outcome() == (LOOPED, 0)
        assert LOOPED.timed_out, "it is forgotten when the loop ends"

    def test_all_down_and_no_tokens(self, table: Table) -> None:
        leg = table.seat()
        take_down(table.servers[0], table.scene.now)
        while table.servers[0].budget.take(table.scene.now):
            pass
        outcome, _ = table.outcome(0.05)
        assert (outcome, leg.exchanges) == (NOBODY_UP, [])

    @pytest.mark.parametrize(
        ("outcome", "error", "text", "timed_out"),
        [
            (Failed.TIMEOUT, ExtendedError.NO_REACHABLE_AUTHORITY, "no response from here", True),
            (Failed.NETWORK, ExtendedError.NETWORK_ERROR, "cannot reach here", True),
            (Failed.LOST, ExtendedError.NETWORK_ERROR, "cannot reach here", True),
            (Failed.CERTIFICATE, ExtendedError.NETWORK_ERROR, "no valid certificate from here", True),
            (Failed.EXHAUSTED, ExtendedError.NO_REACHABLE_AUTHORITY, "too many queries wait for here", True),
            (Failed.MALFORMED, ExtendedError.INVALID_DATA, "malformed response from here", False),
            (said(SERVFAIL), ExtendedError.NO_REACHABLE_AUTHORITY, "SERVFAIL from here", False),
            (said(4), ExtendedError.NO_REACHABLE_AUTHORITY, "NOTIMP from here", False),
            (said(9), ExtendedError.NO_REACHABLE_AUTHORITY, "RCODE 9 from here", False),
        ],
        ids=lambda value: getattr(value, "name", None) or str(value)[:20],
    )
    def test_says_why(self, outcome: Response | Failed, error: ExtendedError, text: str, *, timed_out: bool) -> None:
        assert reason_for("here", outcome, NOBODY_UP) == Unanswered(error, text, timed_out)

    @pytest.mark.parametrize("outcome", [Failed.MISMATCHED, Failed.TRUNCATED])
    def test_what_tells_nothing_hides_no_reason(self, outcome: Failed) -> None:
        before = Unanswered(ExtendedError.NETWORK_ERROR, "cannot reach here")
        assert reason_for("there", outcome, before) == before


class TestBegun:
    """The first attempt was made elsewhere, and did not do."""

    def ask(self, table: Table, outcome: Failed) -> Asked:
        leg, now = table.legs[0], table.scene.now
        attempts = Attempts(table.servers, now, now + DEADLINE)
        attempt = attempts.begin(Send(0, 0, edns=True), now)
        exchange = leg.exchange(QUERY, attempt.due)
        leg.exchanges[0].is_open = outcome is Failed.TIMEOUT
        return Asked(asked(QUERY, table.servers, attempts, table.scene.network, Begun(attempt, exchange, outcome)))

    def test_it_is_waited_for_when_it_is_open(self, table: Table) -> None:
        table.seat((0.6, ANSWER))
        one = self.ask(table, Failed.TIMEOUT)
        table.scene.pass_time_in_ticks(0.65)
        assert one.outcome == ANSWER
        assert table.legs[0].open == 0

    def test_and_not_touched_when_it_is_not(self, table: Table) -> None:
        table.seat()
        one = self.ask(table, Failed.NETWORK)
        table.scene.pass_time_in_ticks(DEADLINE + 0.1)
        assert isinstance(one.outcome, Unanswered)
        assert [exchange.is_open for exchange in table.legs[0].exchanges] == [False] * 3


class TestDefects:
    def test_an_upstream_that_raises_leaves_nothing_open(self, table: Table, caplog: pytest.LogCaptureFixture) -> None:
        table.seat()
        table.seat().defect = RuntimeError("this is a test")
        table.ask()
        table.scene.pass_time_in_ticks(0.5)
        assert "this is a test" in caplog.text
        assert table.legs[0].open == 0

    def test_an_exchange_that_raises_does_not_hang_the_question(self, table: Table, caplog: pytest.LogCaptureFixture) -> None:
        leg = table.seat()
        one = table.ask()
        leg.exchanges[0].hear(RuntimeError("this is a test"))
        table.scene.pass_time_in_ticks(DEADLINE + TICK)
        assert isinstance(one.outcome, Unanswered)
        assert "this is a test" in caplog.text


ANYTHING = (*(why for why in Failed if why is not Failed.EXHAUSTED), ANSWER, said(NXDOMAIN), said(SERVFAIL), said(FORMERR))
LATER = st.tuples(st.sampled_from([0.0, 0.005, 0.04, 0.1, 0.3, 0.41, 0.9, 2.5]), st.sampled_from(ANYTHING))
AT_ONCE = st.sampled_from([Failed.NETWORK, Failed.EXHAUSTED])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.one_of(LATER, AT_ONCE), max_size=5), min_size=1, max_size=3),
    st.lists(LATER, max_size=3),
    st.sampled_from([None, -1.0, 0.02, 0.4, 1.7]),
    st.sampled_from([0.02, 0.5, DEADLINE]),
)
def test_whatever_they_do_it_ends_in_time_with_six_queries_at_most_and_nothing_open(
    scripts: list[list[tuple[float, Response | Failed] | Failed]],
    over_tcp: list[tuple[float, Response | Failed]],
    tail: float | None,
    seconds: float,
) -> None:
    """`tail`: that of each of them, which are equals then."""
    with Scene() as scene:
        table = Table(scene)
        for script in scripts:
            table.seat(*script, over_tcp=list(over_tcp))
        for leg in table.legs:
            leg.round_trip.tail = -1.0 if tail is None else tail
        outcome, took = table.outcome(seconds, hedges=tail is not None)
        assert isinstance(outcome, Unanswered) or (isinstance(outcome, Response) and outcome.kind is not Kind.FAILURE)
        assert took <= seconds + 1e-9
        assert sum(exchange.was_sent for leg in table.legs for exchange in leg.exchanges) <= 6
        scene.pass_time_in_ticks(3)


def test_nothing_is_left_for_the_collector(table: Table) -> None:
    leg, other = table.seat(), table.seat()
    leg.always, other.always = None, (0.7, said(SERVFAIL))

    def ask_in_vain() -> None:
        assert isinstance(table.outcome()[0], Unanswered)
        for one in table.legs:
            one.exchanges.clear()

    assert garbage_after(ask_in_vain, times=5) == 0
