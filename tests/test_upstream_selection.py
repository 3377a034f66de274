"""Whom to ask next, over what, until when to wait: decisions as tables, the clock a number, the servers without a network."""

from collections.abc import Iterator, Sequence

import pytest

from forwarder.observe import counters
from forwarder.upstream.round_trip import FIRST_WAIT
from forwarder.upstream.selection import MAX_ATTEMPTS, Attempt, Attempts, Send
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.tally import Tally
from forwarder.upstream.waiting import SLACK
from forwarder.wire.records import Response
from tests.test_upstream_network import Scene
from tests.test_upstream_servers import FORMERR, NOTIMP, REFUSED, SERVFAIL, Leg, failures, said, take_down

NOW = 1000.0
UNTIL = NOW + 1.8


class Play:
    """One question, asked as is decided, with outcomes and a clock that the test makes up."""

    def __init__(self, scene: Scene, count: int = 1, *, legs: int = 1, is_stream: bool = False, hedges: bool = False) -> None:
        self.now = NOW
        self.servers = [
            Server(
                str(number),
                tuple(Leg(scene.network, is_stream=is_stream != (leg > 0)) for leg in range(legs)),
                Tally(scene.counts, number, scene.network.turn),
                NOW,
            )
            for number in range(count)
        ]
        self.hedges = hedges
        self.ask()

    def ask(self) -> None:
        """Another question begins."""
        self.attempts = Attempts(self.servers, self.now, self.now + 1.8, hedges=self.hedges)
        self.sent: list[Send] = []

    def next(self) -> Send | float | None:
        return self.attempts.next(self.now)

    def send(self, move: Send | None = None) -> Attempt:
        """The next query, which must be due now; or one that was decided already."""
        decided = move or self.next()
        assert isinstance(decided, Send), decided
        self.sent.append(decided)
        return self.attempts.begin(decided, self.now)

    def take(self, attempt: Attempt, outcome: Response | Failed) -> bool:
        return self.attempts.take(attempt, outcome, self.now)

    def met_with(self, outcome: Response | Failed, move: Send | None = None) -> Attempt:
        """The next query, and what comes of it: lateness in its time, anything else at once."""
        attempt = self.send(move)
        if outcome is Failed.TIMEOUT:
            self.now = attempt.due
        self.take(attempt, outcome)
        return attempt

    def all_met_with(self, outcome: Response | Failed) -> list[Send]:
        """All queries that are sent where each meets with this; time passes when it must."""
        while self.now + SLACK < self.attempts.until:
            move = self.next()
            if isinstance(move, Send):
                self.met_with(outcome, move)
            elif move is None:
                break
            else:
                self.now = move
        return self.sent

    def spend(self, number: int) -> None:
        """Leave no token to a server."""
        while self.servers[number].budget.take(self.now):
            pass


def servers_of(sent: Sequence[Send]) -> list[int]:
    return [send.server for send in sent]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


class TestOrder:
    @pytest.mark.parametrize(
        ("count", "order"),
        [(0, []), (1, [0, 0, 0]), (2, [0, 1, 0, 1, 0, 1]), (3, [0, 1, 2, 0, 1, 2]), (7, [0, 1, 2, 3, 4, 5])],
    )
    def test_as_written_six_attempts_three_each(self, scene: Scene, count: int, order: list[int]) -> None:
        play = Play(scene, count)
        for server in play.servers:
            server.legs[0].round_trip.took(0.01, NOW)
        assert servers_of(play.all_met_with(Failed.TIMEOUT)) == order

    def test_silence_of_one_over_udp_leads_to_a_stream(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        play.servers[0].legs[0].round_trip.took(0.01, NOW)
        assert [send.leg for send in play.all_met_with(Failed.TIMEOUT)] == [0, 0, 0, 1, 1, 1]

    def test_silence_of_one_over_a_stream_never_leads_to_udp(self, scene: Scene) -> None:
        play = Play(scene, legs=2, is_stream=True)
        play.servers[0].legs[0].round_trip.took(0.01, NOW)
        assert [send.leg for send in play.all_met_with(Failed.TIMEOUT)] == [0, 0, 0]

    @pytest.mark.parametrize(
        ("down", "order"), [({0}, [1, 2, 0]), ({1}, [0, 2, 1]), ({0, 1}, [2, 0, 1]), ({0, 1, 2}, [0, 1, 2])]
    )
    def test_who_is_down_is_asked_last_but_asked(self, scene: Scene, down: set[int], order: list[int]) -> None:
        play = Play(scene, 3)
        for number in down:
            take_down(play.servers[number], NOW)
        assert servers_of(play.all_met_with(Failed.TIMEOUT))[:3] == order

    def test_who_loops_is_never_asked(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.servers[0].loops(is_looped=True)
        assert set(servers_of(play.all_met_with(Failed.TIMEOUT))) == {1}
        play.servers[1].loops(is_looped=True)
        play.ask()
        assert play.next() is None

    @pytest.mark.parametrize("rcode", [FORMERR, SERVFAIL, NOTIMP, REFUSED, 9])
    def test_who_said_no_is_not_asked_again(self, scene: Scene, rcode: int) -> None:
        play = Play(scene, 2, legs=2)
        play.servers[0].dialect.knows_edns = True
        play.met_with(said(rcode))
        assert servers_of(play.all_met_with(Failed.NETWORK)) == [0, 1, 1, 1, 1]
        play.ask()
        play.met_with(said(rcode))
        play.servers[1].dialect.knows_edns = True
        play.met_with(said(rcode))
        assert play.next() is None

    def test_how_late_a_servfail_came_is_counted(self, scene: Scene) -> None:
        play = Play(scene)
        attempt, play.now = play.send(), NOW + 0.03
        play.take(attempt, said(SERVFAIL))
        first = counters.upstream_row(0) + counters.SERVFAIL_SECONDS_IN_ROW
        assert scene.counts[first + counters.SUM_IN_HISTOGRAM] == pytest.approx(30_000, abs=1)

    def test_who_has_no_valid_certificate_is_not_asked_again(self, scene: Scene) -> None:
        play = Play(scene)
        play.met_with(Failed.CERTIFICATE)
        assert play.next() is None

    def test_a_later_one_is_not_asked_while_the_first_may_yet_answer_in_time(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.send()
        assert play.next() == UNTIL


class TestWaits:
    def test_the_usual_twice_and_then_twice_as_long(self, scene: Scene) -> None:
        play = Play(scene)
        play.servers[0].legs[0].round_trip.took(0.1, NOW)
        waits = []
        for _ in range(3):
            began = play.now
            waits.append(play.met_with(Failed.TIMEOUT).due - began)
        assert waits == pytest.approx([0.3, 0.3, 0.6])
        assert play.next() == UNTIL, "what is late may yet answer"

    def test_of_each_transport_for_itself(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        attempt = play.send()
        play.servers[0].legs[1].round_trip.took(0.01, NOW)
        play.take(attempt, Failed.TRUNCATED)
        assert play.send().due == pytest.approx(NOW + 0.05)

    def test_a_late_one_stays_open_and_its_answer_counts(self, scene: Scene) -> None:
        play = Play(scene, 2)
        late = play.met_with(Failed.TIMEOUT)
        other = play.send()
        assert play.attempts.open == [late, other]
        assert play.take(late, said())
        assert play.attempts.open == [other]

    def test_what_is_late_is_not_waited_for_where_the_same_server_said_no(self, scene: Scene) -> None:
        play = Play(scene)
        play.met_with(Failed.TIMEOUT)
        second, third = play.met_with(Failed.TIMEOUT), play.send()
        play.take(second, said(SERVFAIL))
        assert play.next() == UNTIL, "the third is not late yet"
        play.now = third.due
        play.take(third, Failed.TIMEOUT)
        assert play.next() is None

    def test_what_is_late_is_waited_for_where_another_said_no(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.met_with(Failed.TIMEOUT)
        play.met_with(said(SERVFAIL), Send(1, 0, edns=True))
        for _ in range(2):
            play.met_with(Failed.TIMEOUT)
        assert play.next() == UNTIL

    def test_what_was_sent_there_before_and_is_late_is_asked_apart(self, scene: Scene) -> None:
        play = Play(scene, 2)
        first = play.met_with(Failed.TIMEOUT)
        second = play.met_with(Failed.TIMEOUT)
        assert [first.is_apart, second.is_apart, play.send().is_apart] == [False, False, True]

    @pytest.mark.parametrize("outcome", [Failed.NETWORK, Failed.MALFORMED])
    def test_who_cannot_be_reached_is_not_asked_again_at_once(self, scene: Scene, outcome: Failed) -> None:
        play = Play(scene)
        play.met_with(outcome)
        assert play.next() == NOW + FIRST_WAIT
        play.now = NOW + FIRST_WAIT - SLACK
        assert isinstance(play.next(), Send)

    def test_others_are(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.met_with(Failed.NETWORK)
        play.met_with(Failed.NETWORK)
        assert (servers_of(play.sent), play.now) == ([0, 1], NOW)
        assert play.next() == NOW + FIRST_WAIT

    def test_who_could_not_be_reached_is_asked_again_though_an_earlier_attempt_is_open(self, scene: Scene) -> None:
        play = Play(scene)
        late = play.met_with(Failed.TIMEOUT)
        play.met_with(Failed.NETWORK)
        assert late in play.attempts.open
        assert play.next() == pytest.approx(play.now + FIRST_WAIT)

    def test_not_where_it_would_be_too_late(self, scene: Scene) -> None:
        play = Play(scene)
        play.now = UNTIL - 0.1
        play.met_with(Failed.NETWORK)
        assert play.next() is None


class TestAtOnce:
    def test_truncated_goes_over_the_stream_and_costs_nothing(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        play.spend(0)
        play.met_with(Failed.TRUNCATED)
        attempt = play.send()
        assert play.sent == [Send(0, 0, edns=True), Send(0, 1, edns=True)]
        assert not play.servers[0].health.is_troubled
        assert play.take(attempt, said())

    def test_truncated_without_end_is_no_circle(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        assert len(play.all_met_with(Failed.TRUNCATED)) <= MAX_ATTEMPTS

    def test_mismatched_goes_over_the_stream_as_well_once_and_waiting_goes_on(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        attempt = play.send()
        assert not play.take(attempt, Failed.MISMATCHED)
        play.send()
        assert play.sent[1:] == [Send(0, 1, edns=True)]
        for _ in range(5):
            assert not play.take(attempt, Failed.MISMATCHED)
            assert play.next() == UNTIL
        assert play.take(attempt, said())

    def test_mismatched_costs_a_token(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        attempt = play.send()
        play.spend(0)
        play.take(attempt, Failed.MISMATCHED)
        assert play.next() == UNTIL

    def test_mismatched_says_nothing_of_health_or_dialect(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        attempt = play.send()
        for _ in range(50):
            play.take(attempt, Failed.MISMATCHED)
        (server,) = play.servers
        assert not server.health.is_troubled
        assert (server.dialect.is_plain, server.dialect.knows_edns) == (False, False)

    def test_late_after_a_mismatch_says_nothing_of_health_either(self, scene: Scene) -> None:
        """Whoever forges responses and keeps the true ones away must not have an upstream left out."""
        play = Play(scene)
        for _ in range(20):
            play.ask()
            attempt = play.send()
            play.take(attempt, Failed.MISMATCHED)
            play.now = attempt.due
            play.take(attempt, Failed.TIMEOUT)
            assert (attempt.is_late, attempt.was_mismatched) == (True, True)
        health = play.servers[0].health
        assert (health.is_troubled, health.is_suspect, health.is_up) == (False, False, True)
        assert failures(scene) == {}

    def test_of_other_attempts_lateness_counts_as_ever(self, scene: Scene) -> None:
        play = Play(scene)
        for mismatches in (1, 0, 0):
            play.ask()
            attempt = play.send()
            for _ in range(mismatches):
                play.take(attempt, Failed.MISMATCHED)
            play.now = attempt.due
            play.take(attempt, Failed.TIMEOUT)
        assert play.servers[0].health.is_suspect
        assert failures(scene) == {"timeout": 2}

    def test_a_lost_connection_is_replaced_at_once(self, scene: Scene) -> None:
        play = Play(scene, 2, legs=2, is_stream=True)
        play.met_with(Failed.LOST)
        play.send()
        assert (play.sent, play.now) == ([Send(0, 0, edns=True)] * 2, NOW)
        assert not play.servers[0].health.is_troubled, "it may have been replaced"

    def test_three_times_at_most(self, scene: Scene) -> None:
        play = Play(scene, legs=2, is_stream=True)
        assert play.all_met_with(Failed.LOST) == [Send(0, 0, edns=True)] * 3

    def test_what_could_not_be_sent_uses_the_other_transport_and_counts_for_nothing(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        play.spend(0)
        play.met_with(Failed.EXHAUSTED)
        assert play.send() is not None
        assert play.sent == [Send(0, 0, edns=True), Send(0, 1, edns=True)]
        assert not play.servers[0].health.is_troubled

    @pytest.mark.parametrize(("legs", "is_stream"), [(1, False), (1, True), (2, False), (2, True)])
    def test_where_nothing_can_be_sent_it_ends(self, scene: Scene, legs: int, *, is_stream: bool) -> None:
        play = Play(scene, 2, legs=legs, is_stream=is_stream)
        for _ in range(2 * legs):
            play.met_with(Failed.EXHAUSTED)
        assert play.next() is None


class TestDialect:
    @pytest.mark.parametrize("rcode", [FORMERR, NOTIMP])
    def test_who_refuses_opt_is_asked_without_at_once_and_it_is_remembered(self, scene: Scene, rcode: int) -> None:
        play = Play(scene, 2)
        play.met_with(said(rcode))
        assert play.take(play.send(), said())
        assert play.sent == [Send(0, 0, edns=True), Send(0, 0, edns=False)]
        play.ask()
        play.send()
        assert play.sent == [Send(0, 0, edns=False)]
        play.now += 899
        play.ask()
        assert not play.send().send.edns
        play.now += 1
        play.ask()
        assert play.send().send.edns

    @pytest.mark.parametrize("rcode", [FORMERR, NOTIMP])
    def test_who_refuses_it_without_as_well_said_no(self, scene: Scene, rcode: int) -> None:
        play = Play(scene, 2)
        play.met_with(said(rcode))
        play.met_with(said(rcode))
        play.met_with(said())
        assert servers_of(play.sent) == [0, 0, 1]
        play.ask()
        assert play.send().send.edns, "nothing was learnt"

    def test_once_though_two_attempts_were_refused(self, scene: Scene) -> None:
        play = Play(scene)
        attempts = [play.met_with(Failed.TIMEOUT), play.send()]
        for attempt in attempts:
            play.take(attempt, said(FORMERR))
        play.send()
        assert [send.edns for send in play.sent] == [True, True, False]
        assert play.next() == UNTIL

    def test_not_where_another_attempt_met_with_no(self, scene: Scene) -> None:
        play = Play(scene)
        attempts = [play.met_with(Failed.TIMEOUT), play.send()]
        play.take(attempts[0], said(FORMERR))
        play.take(attempts[1], said(SERVFAIL))
        assert play.next() is None

    def test_silence_twice_and_then_without_remembered_for_a_short_while(self, scene: Scene) -> None:
        play = Play(scene)
        play.met_with(Failed.TIMEOUT)
        play.met_with(Failed.TIMEOUT)
        play.met_with(said())
        assert [send.edns for send in play.sent] == [True, True, False]
        play.ask()
        assert not play.send().send.edns
        play.now += 60
        play.ask()
        assert play.send().send.edns

    def test_never_for_silence_of_one_that_knows_it(self, scene: Scene) -> None:
        play = Play(scene, legs=2)
        play.met_with(said())
        assert play.servers[0].dialect.knows_edns
        play.servers[0].legs[0].round_trip.took(0.01, NOW)
        play.ask()
        assert {send.edns for send in play.all_met_with(Failed.TIMEOUT)} == {True}

    def test_nor_for_a_network_that_says_no(self, scene: Scene) -> None:
        """Nobody is there who could be silent to OPT: the third attempt may go without, but nothing comes of it."""
        play = Play(scene)
        play.all_met_with(Failed.NETWORK)
        assert not play.servers[0].dialect.is_plain
