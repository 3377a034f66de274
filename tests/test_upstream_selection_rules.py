"""What holds whatever happens to a question: what its queries cost, who is hedged, which denial waits, what is learnt."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.upstream.budget import BURST, Budget
from forwarder.upstream.round_trip import FIRST_WAIT, TAIL_SAMPLES
from forwarder.upstream.selection import MAX_ATTEMPTS, MAX_ATTEMPTS_EACH, TOKEN_WAIT, Attempt, Send
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import SLACK
from forwarder.wire.records import Response
from tests.test_upstream_network import Scene
from tests.test_upstream_selection import NOW, UNTIL, Play, servers_of
from tests.test_upstream_servers import FORMERR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL, failures, in_row, said, take_down


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


def cost(play: Play, number: int = 0) -> int:
    """Tokens a server has lost, where no time has passed; afterwards it has none."""
    left = 0
    while play.servers[number].budget.take(NOW):
        left += 1
    return int(BURST) - left


class TestTokens:
    @pytest.mark.parametrize(
        ("legs", "outcomes", "tokens"),
        [
            (1, [said()], 0),
            (2, [Failed.TRUNCATED, said()], 0),
            (2, [Failed.EXHAUSTED, said()], 0),
            (1, [Failed.LOST, said()], 1),
            (1, [Failed.LOST, Failed.LOST, said()], 2),
            (1, [said(FORMERR), said()], 1),
        ],
    )
    def test_everything_beyond_the_first_but_for_what_follows_truncation(
        self, scene: Scene, legs: int, outcomes: list[Response | Failed], tokens: int
    ) -> None:
        play = Play(scene, legs=legs)
        for outcome in outcomes:
            play.met_with(outcome)
        assert cost(play) == tokens

    def test_what_was_sent_again_after_silence(self, scene: Scene) -> None:
        play = Play(scene)
        play.take(play.send(), Failed.TIMEOUT)
        play.send()
        assert cost(play) == 1

    def test_the_first_query_to_each_is_free(self, scene: Scene) -> None:
        play = Play(scene, 3)
        for number in range(3):
            play.spend(number)
        assert servers_of([play.met_with(Failed.NETWORK).send for _ in range(3)]) == [0, 1, 2]
        assert not isinstance(play.next(), Send)

    def test_but_not_to_one_that_is_down(self, scene: Scene) -> None:
        play = Play(scene)
        take_down(play.servers[0], NOW)
        play.send()
        assert cost(play) == 1
        play.ask()
        assert not isinstance(play.next(), Send)

    def test_first_queries_are_counted_once_for_each_question(self, scene: Scene) -> None:
        play = Play(scene)
        for _ in range(3):
            play.take(play.send(), Failed.TIMEOUT)
        assert play.servers[0].budget.firsts <= 1

    def test_without_any_it_waits_and_asks_when_there_is_one(self, scene: Scene) -> None:
        play = Play(scene)
        play.met_with(Failed.NETWORK)
        play.now += FIRST_WAIT
        play.spend(0)
        again_at = play.next()
        assert again_at == play.now + TOKEN_WAIT
        assert isinstance(again_at, float)
        play.now = again_at
        assert isinstance(play.next(), Send)

    def test_without_any_what_is_open_is_waited_for(self, scene: Scene) -> None:
        play = Play(scene)
        play.met_with(Failed.TIMEOUT)
        play.spend(0)
        assert play.next() == UNTIL


class TestHedging:
    def equals(self, scene: Scene, count: int = 2, *, hedges: bool = True) -> Play:
        play = Play(scene, count, hedges=hedges)
        for server in play.servers:
            for _ in range(TAIL_SAMPLES):
                server.legs[0].round_trip.took_among_equals(0.05)
        return play

    def test_another_equal_beyond_the_tail_and_not_before(self, scene: Scene) -> None:
        play = self.equals(scene, 3)
        play.send()
        hedge_at = play.next()
        assert hedge_at == pytest.approx(NOW + 0.05 + SLACK)
        assert isinstance(hedge_at, float)
        play.now = hedge_at
        play.send()
        assert servers_of(play.sent) == [0, 1]
        assert play.next() == UNTIL, "two at a time are enough"

    def test_the_question_ends_before_a_tail_that_is_longer(self, scene: Scene) -> None:
        play = self.equals(scene)
        play.now = UNTIL - 0.04
        play.send()
        assert play.next() == UNTIL

    def test_never_where_order_counts(self, scene: Scene) -> None:
        play = self.equals(scene, hedges=False)
        play.send()
        play.now += 0.2
        assert play.next() == UNTIL

    def test_not_while_too_few_answers_are_known(self, scene: Scene) -> None:
        play = Play(scene, 2, hedges=True)
        play.send()
        play.now += 0.2
        assert play.next() == UNTIL

    @pytest.mark.parametrize("kind", ["down", "looped", "no tokens"])
    def test_not_where_the_other_is_of_no_use(self, scene: Scene, kind: str) -> None:
        play = self.equals(scene)
        play.send()
        play.now += 0.2
        if kind == "down":
            take_down(play.servers[1], NOW)
        elif kind == "looped":
            play.servers[1].loops(is_looped=True)
        else:
            play.spend(1)
        assert play.next() == UNTIL

    def test_costs_a_token(self, scene: Scene) -> None:
        play = self.equals(scene)
        play.send()
        play.now += 0.2
        play.send()
        assert BURST - 1 <= BURST - cost(play, 1) < BURST

    def test_only_answers_of_equals_make_a_tail(self, scene: Scene) -> None:
        tails = []
        for hedges in (True, False):
            play = Play(scene, hedges=hedges)
            for _ in range(TAIL_SAMPLES):
                play.ask()
                play.met_with(said())
            tails.append(play.servers[0].legs[0].round_trip.tail)
        assert tails == [0, -1]


class TestDenial:
    """What a later upstream denies an earlier one may know, when it is up and late."""

    def late_first(self, scene: Scene, *, hedges: bool = False) -> tuple[Play, Attempt]:
        play = Play(scene, 2, hedges=hedges)
        play.servers[0].legs[0].round_trip.took(0.01, NOW)
        play.met_with(Failed.TIMEOUT)
        return play, play.send()

    @pytest.mark.parametrize("denial", [said(NXDOMAIN), said(0, ())], ids=["NXDOMAIN", "NODATA"])
    def test_waits_for_an_earlier_one_that_is_late_for_so_long(self, scene: Scene, denial: Response) -> None:
        play, second = self.late_first(scene)
        assert play.take(second, denial)
        for seconds, waits in ((0.05, True), (FIRST_WAIT - 2 * SLACK, True), (FIRST_WAIT - SLACK, False), (1, False)):
            assert play.attempts.is_outranked(second, denial, NOW + seconds) == waits
        assert play.attempts.patient_until == NOW + FIRST_WAIT

    def test_an_answer_does_not(self, scene: Scene) -> None:
        play, second = self.late_first(scene)
        assert play.take(second, said())
        assert not play.attempts.is_outranked(second, said(), play.now)

    def test_not_for_one_that_is_down(self, scene: Scene) -> None:
        play, second = self.late_first(scene)
        take_down(play.servers[0], NOW)
        play.take(second, said(NXDOMAIN))
        assert not play.attempts.is_outranked(second, said(NXDOMAIN), play.now)

    def test_not_for_one_that_failed(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.met_with(said(SERVFAIL))
        second = play.met_with(said(NXDOMAIN))
        assert not play.attempts.is_outranked(second, said(NXDOMAIN), play.now)

    def test_not_for_a_later_one(self, scene: Scene) -> None:
        play, second = self.late_first(scene)
        (first, _) = play.attempts.open
        play.now = second.due
        play.take(second, Failed.TIMEOUT)
        play.take(first, said(NXDOMAIN))
        assert not play.attempts.is_outranked(first, said(NXDOMAIN), play.now)

    def test_not_among_equals(self, scene: Scene) -> None:
        play, second = self.late_first(scene, hedges=True)
        play.take(second, said(NXDOMAIN))
        assert not play.attempts.is_outranked(second, said(NXDOMAIN), play.now)

    def test_who_denied_is_not_asked_again_meanwhile(self, scene: Scene) -> None:
        play, second = self.late_first(scene)
        play.take(second, said(NXDOMAIN))
        assert set(servers_of(play.all_met_with(Failed.TIMEOUT)[2:])) == {0}


class TestLearnt:
    @pytest.mark.parametrize(
        ("outcome", "reasons"),
        [
            (Failed.TIMEOUT, {"timeout": 1}),
            (Failed.NETWORK, {"network": 1}),
            (Failed.LOST, {"network": 1}),
            (Failed.MALFORMED, {"malformed": 1}),
            (Failed.CERTIFICATE, {"certificate": 1}),
            (Failed.MISMATCHED, {}),
            (Failed.EXHAUSTED, {}),
            (Failed.TRUNCATED, {}),
            (said(FORMERR), {"formerr": 1}),
            (said(SERVFAIL), {"servfail": 1}),
            (said(NOTIMP), {"notimp": 1}),
            (said(REFUSED), {"refused": 1}),
            (said(9), {"other": 1}),
            (said(NXDOMAIN), {}),
            (said(), {}),
        ],
        ids=lambda value: getattr(value, "name", None) or str(getattr(value, "rcode", "")),
    )
    def test_failures_are_counted_by_reason(self, scene: Scene, outcome: Response | Failed, reasons: dict[str, int]) -> None:
        play = Play(scene)
        play.met_with(outcome)
        assert failures(scene) == reasons
        is_silence = isinstance(outcome, Failed) and outcome in {
            Failed.TIMEOUT,
            Failed.NETWORK,
            Failed.MALFORMED,
            Failed.CERTIFICATE,
        }
        assert play.servers[0].health.is_troubled == is_silence

    @pytest.mark.parametrize("outcome", [said(), said(SERVFAIL), said(NXDOMAIN), Failed.TRUNCATED])
    def test_whatever_it_says_it_is_not_in_trouble(self, scene: Scene, outcome: Response | Failed) -> None:
        play = Play(scene)
        play.servers[0].failed("timeout", NOW)
        play.met_with(outcome)
        assert not play.servers[0].health.is_troubled

    def test_how_long_it_took_is_counted_from_its_own_attempt(self, scene: Scene) -> None:
        play = Play(scene, 2)
        play.met_with(Failed.TIMEOUT)
        second = play.send()
        play.now += 0.02
        play.take(second, said())
        scene.end_turn()
        microseconds = counters.SECONDS_IN_ROW + counters.PER_HISTOGRAM - 1
        assert in_row(scene, 0, microseconds) == 0
        assert in_row(scene, 1, microseconds) == pytest.approx(20_000, abs=5)
        assert play.servers[1].legs[0].round_trip.wait == pytest.approx(0.06)

    def test_a_late_answer_makes_it_patient(self, scene: Scene) -> None:
        play = Play(scene)
        play.servers[0].legs[0].round_trip.took(0.01, NOW)
        late = play.met_with(Failed.TIMEOUT)
        play.now = NOW + 0.5
        play.take(late, said())
        assert play.servers[0].legs[0].round_trip.wait > 0.3


class CountingBudget(Budget):
    """Says how often a token was taken."""

    def __init__(self, tokens: int) -> None:
        super().__init__(NOW)
        self.taken = 0
        while self._tokens > tokens:
            self._tokens -= 1

    @property
    def is_spent(self) -> bool:
        return self._tokens < 1

    def take(self, now: float) -> bool:
        is_taken = super().take(now)
        self.taken += is_taken
        return is_taken


ANY = (Failed.NETWORK, Failed.MALFORMED, Failed.TIMEOUT, said(SERVFAIL), said(FORMERR), said(NOTIMP), said(REFUSED))
OVER_UDP = (*ANY, Failed.MISMATCHED, Failed.TRUNCATED, Failed.EXHAUSTED)
OVER_A_STREAM = (*ANY, Failed.LOST, Failed.CERTIFICATE, Failed.EXHAUSTED)


@given(st.data())
def test_whatever_happens_a_question_keeps_the_rules(data: st.DataObject) -> None:
    count, legs = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    with Scene() as scene:
        play = Play(scene, count, legs=legs, is_stream=data.draw(st.booleans()), hedges=data.draw(st.booleans()))
        for number, server in enumerate(play.servers):
            server.legs[0].round_trip.tail = data.draw(st.sampled_from([-1.0, 0.02, 0.5, 1.7]))
            server.budget = CountingBudget(data.draw(st.sampled_from([0, 1, 256])))
            server.dialect.knows_edns = data.draw(st.booleans())
            if data.draw(st.integers(0, 3)) == 0:
                take_down(server, NOW)
            if data.draw(st.integers(0, 4)) == 0:
                play.servers[number].loops(is_looped=True)
        Referee(play, data).play_on()


class Referee:
    """Has a question meet with anything, and looks at every query that is decided."""

    def __init__(self, play: Play, data: st.DataObject) -> None:
        self.play = play
        self._data = data
        self._free = dict.fromkeys(range(len(play.servers)), 0)
        self._said_no: set[int] = set()
        self._refused: set[int] = set()
        self._exhausted = 0

    def play_on(self) -> None:
        play = self.play
        for _ in range(100):
            move = play.next()
            if isinstance(move, Send):
                self._look_at(move)
                play.send(move)
            elif move is None:
                assert all(attempt.is_late and attempt.send.server in self._said_no for attempt in play.attempts.open)
                return
            elif not play.attempts.open or (move < UNTIL and self._may_pass_the_time()):
                assert play.now < move <= UNTIL
                play.now = move
            else:
                assert move <= UNTIL
                self._happen(self._data.draw(st.sampled_from(play.attempts.open)))
            if play.now + SLACK >= UNTIL:
                return
        pytest.fail("it does not end")

    def _may_pass_the_time(self) -> bool:
        """Whether nothing comes of what is open before that."""
        return all(attempt.is_late for attempt in self.play.attempts.open) or self._data.draw(st.booleans())

    def _look_at(self, move: Send) -> None:
        play, server = self.play, self.play.servers[move.server]
        assert len(play.sent) - self._exhausted < MAX_ATTEMPTS
        assert sum(sent[:2] == move[:2] for sent in play.sent) < MAX_ATTEMPTS_EACH + self._exhausted
        assert not server.is_looped
        assert move.server not in self._said_no
        before = servers_of(play.sent)
        if move.server not in before:
            self._free[move.server] += server.health.is_up
            is_hedge = any(not attempt.is_late for attempt in play.attempts.open)
            for number in range(move.server if server.health.is_up else len(play.servers)):
                earlier = play.servers[number].budget
                assert isinstance(earlier, CountingBudget)
                if play.servers[number].is_usable and not (is_hedge and earlier.is_spent):
                    assert number in before, "in order"
        budget = server.budget
        assert isinstance(budget, CountingBudget)
        assert before.count(move.server) + 1 <= budget.taken + self._free[move.server]
        if not move.edns and server.dialect.knows_edns:
            assert move.server in self._refused

    def _happen(self, attempt: Attempt) -> None:
        play, send = self.play, attempt.send
        server = play.servers[send.server]
        outcomes = OVER_A_STREAM if server.legs[send.leg].is_stream else OVER_UDP
        outcome = self._data.draw(st.sampled_from(outcomes))
        assert isinstance(outcome, Response | Failed)
        if outcome is Failed.TIMEOUT:
            if attempt.is_late or attempt.due >= UNTIL:
                play.now = UNTIL
                return
            play.now = max(play.now, attempt.due)
        if isinstance(outcome, Response):
            if outcome.rcode in {FORMERR, NOTIMP} and send.edns and not server.dialect.knows_edns:
                self._refused.add(send.server)
            else:
                self._said_no.add(send.server)
        elif outcome is Failed.CERTIFICATE:
            self._said_no.add(send.server)
        else:
            self._free[send.server] += outcome in {Failed.TRUNCATED, Failed.EXHAUSTED}
        self._exhausted += outcome is Failed.EXHAUSTED
        play.take(attempt, outcome)
