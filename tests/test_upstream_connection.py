"""The connections of a TCP upstream: how many, which of them a query goes out on, and which are trusted no more."""

from collections.abc import Iterator

import pytest

from forwarder.upstream import connection as connections
from forwarder.upstream import stream
from forwarder.upstream.connection import HOPELESS, LOOK_AGAIN
from forwarder.upstream.round_trip import FIRST_WAIT
from forwarder.upstream.servers import Failed
from forwarder.upstream.stream import BUSY, CHUNK, IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_OPEN, STUCK
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import TICK
from tests.test_upstream_network import ADDRESS, Accepted, Asked, StreamPeer, open_descriptors
from tests.test_upstream_stream import UNTIL, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with StreamPeer() as peer, Stage(peer) as stage:
        yield stage
        stage.leave()


@pytest.fixture
def _one_query_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with one query outstanding counts as busy."""
    monkeypatch.setattr(stream, "BUSY", 1)
    monkeypatch.setattr(stream, "CHUNK", 1)


def answered_on(stage: Stage, connection: Accepted) -> None:
    """A query that goes out on this connection, and is answered."""
    asked = stage.ask_in_a_turn()
    connection.answer(connection.receive())
    stage.serve_until_over(asked)
    assert asked.address == ADDRESS


def outstanding_on(stage: Stage, connection: Accepted, seconds: float = UNTIL) -> Asked:
    """A query that goes out on this connection, and is not answered."""
    asked = stage.ask_in_a_turn(seconds=seconds)
    connection.receive()
    return asked


def kept_lively(stage: Stage, connection: Accepted, until: float) -> None:
    """A query answered on this connection every second tick until the clock says so."""
    while stage.now < until:
        answered_on(stage, connection)
        stage.pass_time_in_ticks(2 * TICK)


class TestPool:
    def test_grows_with_the_load_up_to_eight_least_loaded_first(self, stage: Stage) -> None:
        for _ in range(MAX_CONNECTIONS * (BUSY + CHUNK)):
            stage.ask()
        accepted = [stage.peer.accept() for _ in range(MAX_CONNECTIONS)]
        stage.serve()
        assert stage.peer.is_quiet()
        assert stage.connections == MAX_CONNECTIONS == 8
        queries = [connection.receive_all(BUSY + CHUNK) for connection in accepted]
        assert all(connection.is_quiet() for connection in accepted)
        accepted[5].answer(*queries[5][:3])
        stage.serve()
        for _ in range(3):
            stage.ask()
        stage.end_turn()
        assert len(accepted[5].receive_all(3)) == 3
        assert all(connection.is_quiet() for connection in accepted)

    def test_of_one_connection_where_that_is_enough(self, stage: Stage) -> None:
        connection = stage.connected()
        for _ in range(BUSY):
            stage.ask()
        stage.end_turn()
        assert len(connection.receive_all(BUSY)) == BUSY
        assert stage.peer.is_quiet()

    @pytest.mark.parametrize(("bound", "value"), [("MAX_OUTSTANDING", 20), ("MAX_UNSENT", 19 * 46)])
    def test_a_connection_is_bounded(self, stage: Stage, monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
        monkeypatch.setattr(stream, "MAX_CONNECTIONS", 1)
        monkeypatch.setattr(stream, bound, value)
        asked = [stage.ask() for _ in range(21)]
        assert [one.is_over for one in asked] == [False] * 20 + [True]
        assert asked[20].failed is Failed.EXHAUSTED
        connection = stage.dialled()
        connection.answer(*connection.receive_all(20))
        stage.serve_until_over(*asked)
        assert asked[19].address == ADDRESS

    def test_one_that_lay_idle_is_not_relied_upon(self, stage: Stage) -> None:
        former = stage.connected()
        stage.pass_time(IDLE_TIMEOUT + 0.1)
        stage.connected()
        assert former.is_closed_by_us()

    def test_one_that_is_old_takes_no_new_queries(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_AGE", 20.0)
        former = stage.connected()
        for _ in range(5):
            stage.pass_time(5)
            answered_on(stage, former)
        assert former.is_closed_by_us()
        stage.connected()


class TestStuck:
    def test_gets_no_new_queries(self, stage: Stage) -> None:
        connection = stage.connected()
        outstanding_on(stage, connection)
        stage.pass_time_in_ticks(STUCK - 0.02)
        outstanding_on(stage, connection)
        stage.pass_time_in_ticks(0.04)
        stage.connected()
        assert connection.is_quiet()

    def test_gets_them_again_when_it_says_something(self, stage: Stage) -> None:
        connection = stage.connected()
        asked = [stage.ask() for _ in range(2)]
        stage.end_turn()
        first, second = connection.receive_all(2)
        stage.pass_time_in_ticks(2 * STUCK)
        other = stage.connected()
        outstanding_on(stage, other)
        connection.answer(first)
        connection.answer(second)
        stage.serve_until_over(*asked)
        answered_on(stage, connection)

    def test_does_not_mean_idle(self, stage: Stage) -> None:
        connection = stage.connected()
        stage.pass_time_in_ticks(2 * STUCK)
        for _ in range(2):
            outstanding_on(stage, connection)
        assert stage.connections == 1

    def test_is_what_clients_hardly_feel(self) -> None:
        assert STUCK == 0.1

    def test_one_that_is_still_being_dialled_as_well(self, stage: Stage) -> None:
        stage.ask()
        stage.pass_time_in_ticks(2 * STUCK)
        stage.ask()
        assert stage.connections == 2

    def test_up_to_sixty_four_and_then_there_is_none_to_be_had(self, stage: Stage) -> None:
        for _ in range(MAX_OPEN):
            asked = stage.ask(seconds=100)
            stage.pass_time(STUCK + TICK)
            assert not asked.is_over
        assert stage.upstream.open == MAX_OPEN == 64
        assert stage.ask().failed is Failed.EXHAUSTED
        assert stage.queries_sent("tcp") == MAX_OPEN

    def test_those_that_take_leave_are_open_too(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream, "MAX_OPEN", 2)
        late = [outstanding_on(stage, stage.connected(), seconds=0.05)]
        stage.pass_time(0.05)
        late.append(outstanding_on(stage, stage.connected(), seconds=0.05))
        stage.pass_time(0.05)
        assert [one.failed for one in late] == [Failed.TIMEOUT] * 2
        assert stage.connections == stage.upstream.open == 2
        assert stage.ask().failed is Failed.EXHAUSTED
        late[0].abandon()
        stage.pass_time_in_ticks(LOOK_AGAIN + 0.1)
        stage.connected()


class TestLate:
    def test_on_a_silent_one_stays_open_and_the_next_go_out_on_a_fresh_one(self, stage: Stage) -> None:
        former = stage.connected()
        asked = stage.ask_in_a_turn(seconds=0.1)
        query = former.receive()
        stage.pass_time_in_ticks(0.1)
        assert asked.failed is Failed.TIMEOUT
        asked.again()
        stage.connected()
        assert former.is_quiet()
        former.answer(query)
        stage.serve_until_over(asked)
        assert asked.address == ADDRESS
        assert former.is_closed_by_us()

    def test_while_dialling_as_well(self, stage: Stage) -> None:
        before = open_descriptors()
        asked = stage.ask()
        stage.pass_time(UNTIL)
        assert asked.failed is Failed.TIMEOUT
        assert stage.connections == 1, "it may yet be answered"
        asked.abandon()
        stage.pass_time(LOOK_AGAIN)
        assert (stage.connections, open_descriptors()) == (0, before)

    def test_is_told_once_and_no_other_with_it(self, stage: Stage) -> None:
        former = stage.connected()
        short, long = outstanding_on(stage, former, seconds=0.3), outstanding_on(stage, former, seconds=1.6)
        stage.pass_time_in_ticks(0.3)
        assert short.failed is Failed.TIMEOUT
        short.again()
        stage.pass_time_in_ticks(1.2)
        assert not long.is_over
        stage.pass_time_in_ticks(0.2)
        assert long.failed is Failed.TIMEOUT
        assert not short.is_over

    @pytest.mark.usefixtures("_one_query_each")
    def test_on_a_silent_one_siblings_that_said_nothing_since_are_trusted_no_more(self, stage: Stage) -> None:
        asked = [stage.ask() for _ in range(3)]
        silent, heard, unheard = [stage.peer.accept() for _ in range(3)]
        stage.serve()
        for accepted in (silent, heard, unheard):
            accepted.answer(accepted.receive())
        stage.serve_until_over(*asked)
        stage.pass_time(TICK)
        late = outstanding_on(stage, silent, seconds=0.1)
        stage.pass_time(2 * TICK)
        answered_on(stage, heard)
        stage.pass_time_in_ticks(0.08)
        assert late.failed is Failed.TIMEOUT
        assert unheard.is_closed_by_us()
        assert stage.connections == 2
        answered_on(stage, heard)

    def test_on_a_lively_one_is_put_off_and_the_connection_trusted(self, stage: Stage) -> None:
        connection = stage.connected()
        began = stage.now
        slow = outstanding_on(stage, connection, seconds=0.05)
        kept_lively(stage, connection, began + FIRST_WAIT - 4 * TICK)
        assert not slow.is_over
        kept_lively(stage, connection, began + FIRST_WAIT + 4 * TICK)
        assert slow.failed is Failed.TIMEOUT
        slow.again()
        answered_on(stage, connection)
        assert stage.connections == 1

    def test_what_was_heard_before_it_was_sent_makes_nothing_lively(self, stage: Stage) -> None:
        asked = outstanding_on(stage, stage.connected(), seconds=0.025)
        stage.pass_time(TICK)
        assert asked.failed is Failed.TIMEOUT
        stage.connected()

    def test_is_put_off_no_more_when_the_connection_falls_silent(self, stage: Stage) -> None:
        connection = stage.connected()
        slow = outstanding_on(stage, connection, seconds=0.05)
        kept_lively(stage, connection, stage.now + 0.1)
        stage.pass_time_in_ticks(0.06)
        assert slow.failed is Failed.TIMEOUT
        stage.connected()


class TestApart:
    """What got late there before is asked where nobody waits behind it."""

    def test_on_a_fresh_one_that_nobody_joins_before_it_has_answered(self, stage: Stage) -> None:
        shared = stage.connected()
        outstanding_on(stage, shared)
        apart = stage.ask(apart=True)
        alone = stage.dialled()
        query = alone.receive()
        for _ in range(CHUNK + 1):
            outstanding_on(stage, shared)
        assert alone.is_quiet()
        alone.answer(query)
        stage.serve_until_over(apart)
        answered_on(stage, alone)

    def test_on_one_at_rest(self, stage: Stage) -> None:
        connection = stage.connected()
        stage.ask(apart=True)
        stage.end_turn()
        connection.receive()
        stage.connected()
        assert connection.is_quiet()

    def test_on_a_shared_one_where_too_many_are_open(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream, "MAX_APART", 1)
        connection = stage.connected()
        outstanding_on(stage, connection)
        stage.ask(apart=True)
        stage.end_turn()
        connection.receive()
        outstanding_on(stage, connection)
        assert stage.connections == 1, "and it is not taken for stuck, which would harm whoever is on it"


class TestAbandoned:
    def test_keeps_its_id_until_its_response(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = iter([5, 5, 6, 5])
        monkeypatch.setattr(Unpredictable, "message_id", lambda _self: next(drawn))
        asked = stage.ask()
        connection = stage.dialled()
        query = connection.receive()
        asked.abandon()
        stage.ask_in_a_turn()
        assert [query[:2], connection.receive()[:2]] == [b"\0\5", b"\0\6"]
        connection.answer(query)
        stage.serve()
        assert (asked.is_over, stage.mismatched) == (False, 0)
        stage.ask_in_a_turn()
        assert connection.receive()[:2] == b"\0\5"

    @pytest.mark.usefixtures("_one_query_each")
    def test_counts_as_load_until_its_response(self, stage: Stage) -> None:
        asked = stage.ask()
        connection = stage.dialled()
        query = connection.receive()
        asked.abandon()
        other = stage.connected()
        connection.answer(query)
        stage.serve()
        outstanding_on(stage, connection)
        answered_on(stage, other)

    def test_a_connection_where_nothing_comes_and_nobody_waits_is_closed(self, stage: Stage) -> None:
        before = open_descriptors()
        connection = stage.connected()
        outstanding_on(stage, connection).abandon()
        stage.pass_time_in_ticks(HOPELESS - 0.1)
        assert connection.is_quiet()
        stage.pass_time_in_ticks(LOOK_AGAIN + 0.2)
        assert connection.is_closed_by_us()
        assert (stage.connections, stage.upstream.open) == (0, 0)
        connection.close()
        assert open_descriptors() == before

    def test_not_while_somebody_waits(self, stage: Stage) -> None:
        connection = stage.connected()
        outstanding_on(stage, connection).abandon()
        asked = stage.ask_in_a_turn(seconds=60)
        query = connection.receive()
        stage.pass_time_in_ticks(2 * HOPELESS)
        assert connection.is_quiet()
        connection.answer(query)
        stage.serve_until_over(asked)
        assert asked.address == ADDRESS

    def test_one_that_takes_leave_is_closed_as_soon_as_nobody_waits(self, stage: Stage) -> None:
        connection = stage.connected()
        asked = outstanding_on(stage, connection, seconds=0.1)
        stage.pass_time_in_ticks(0.1)
        asked.again()
        stage.pass_time_in_ticks(2 * LOOK_AGAIN)
        assert connection.is_quiet()
        asked.abandon()
        stage.pass_time_in_ticks(LOOK_AGAIN + 0.1)
        assert connection.is_closed_by_us()

    def test_with_another_that_was_late_and_answered_its_connection_is_closed(self, stage: Stage) -> None:
        connection = stage.connected()
        outstanding_on(stage, connection).abandon()
        late = stage.ask_in_a_turn(seconds=0.1)
        query = connection.receive()
        stage.pass_time_in_ticks(2 * LOOK_AGAIN)
        late.again()
        connection.answer(query)
        stage.serve_until_over(late)
        assert (late.address, stage.connections) == (ADDRESS, 1)
        stage.pass_time_in_ticks(LOOK_AGAIN + 0.1)
        assert (connection.is_closed_by_us(), stage.connections) == (True, 0)

    def test_when_its_connection_is_lost_nobody_is_told(self, stage: Stage) -> None:
        connection = stage.connected()
        asked = outstanding_on(stage, connection)
        asked.abandon()
        connection.close()
        stage.serve()
        assert not asked.is_over
        assert stage.upstream.open == 0


def test_an_upstream_that_is_left_closes_what_is_idle_at_once_and_the_rest_when_it_is_done(stage: Stage) -> None:
    connection = stage.connected()
    asked = stage.ask_in_a_turn()
    query = connection.receive()
    stage.upstream.close()
    assert connection.is_quiet()
    connection.answer(query)
    stage.serve()
    assert asked.address == ADDRESS
    assert connection.is_closed_by_us()


def test_one_that_is_left_carries_a_question_in_progress_on_a_connection_for_it_alone(stage: Stage) -> None:
    stage.upstream.close()
    for _ in range(2):
        asked = stage.ask()
        connection = stage.dialled()
        connection.answer(connection.receive())
        stage.serve_until_over(asked)
        assert connection.is_closed_by_us()
