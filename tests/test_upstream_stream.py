"""The TCP upstream against a real listener whose side the test plays: order, cuts, writes, and connections that end."""

import struct
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forwarder.upstream import stream
from forwarder.upstream.network import address_for
from forwarder.upstream.servers import Failed
from forwarder.upstream.stream import BUSY, StreamUpstream
from forwarder.wire.message import QR, Query
from forwarder.wire.records import Kind
from tests.lab.collector import garbage_after
from tests.test_upstream_network import (
    ADDRESS,
    MISMATCHES,
    Accepted,
    Asked,
    Scene,
    StreamPeer,
    framed,
    open_descriptors,
    query_for,
    question_of,
    response_to,
)

UNTIL = 1.8


class Stage(Scene):
    """A scene with an upstream and its other side."""

    def __init__(self, peer: StreamPeer) -> None:
        super().__init__()
        self.peer = peer
        self.upstream = StreamUpstream(peer.address, self.network, self.tally, wants_ad=False)
        self._asked: list[Asked] = []

    def ask(self, query: Query | None = None, seconds: float = UNTIL, *, edns: bool = True, apart: bool = False) -> Asked:
        """Begin to ask, in a turn that goes on."""
        asked = Asked(self.upstream.exchange(query or query_for(), self.now + seconds, edns=edns, apart=apart))
        self._asked.append(asked)
        return asked

    def ask_in_a_turn(self, query: Query | None = None, seconds: float = UNTIL) -> Asked:
        """Ask, and write it where there is a connection already."""
        asked = self.ask(query, seconds)
        self.end_turn()
        return asked

    def connected(self) -> Accepted:
        """A connection over which one query was answered."""
        asked = self.ask()
        connection = self.dialled()
        connection.answer(connection.receive())
        self.serve_until_over(asked)
        assert asked.address == ADDRESS
        return connection

    def dialled(self) -> Accepted:
        """The connection that is being dialled, with what waited for it written."""
        connection = self.peer.accept()
        self.serve()
        return connection

    def forget(self) -> None:
        """What was asked so far is done with."""
        self._asked.clear()

    def leave(self) -> None:
        for asked in self._asked:
            if asked.is_open:
                asked.abandon()
        self.upstream.close()
        self.pass_time(100)
        assert self.upstream.open == 0


@pytest.fixture
def stage() -> Iterator[Stage]:
    with StreamPeer() as peer, Stage(peer) as stage:
        yield stage
        stage.leave()


def test_a_query_is_of_our_own_making_and_spelled_plainly(stage: Stage) -> None:
    stage.ask(query_for("www.example.com", do=True))
    message = dns.message.from_wire(stage.dialled().receive())
    assert (message.flags, message.edns, message.payload, message.ednsflags) == (dns.flags.RD, 0, 1232, dns.flags.DO)
    assert message.question[0].name.to_text() == "www.example.com."
    assert stage.queries_sent("tcp") == 1


def test_one_without_opt_for_those_who_do_not_know_it(stage: Stage) -> None:
    stage.ask(query_for("www.example.com", do=True), edns=False)
    message = dns.message.from_wire(stage.dialled().receive())
    assert (message.flags, message.edns) == (dns.flags.RD, -1)


class TestWrites:
    def test_the_queries_of_a_turn_leave_in_one_write_at_its_end(self, stage: Stage) -> None:
        connection = stage.connected()
        before = connection.segments
        for _ in range(12):
            stage.ask()
        assert connection.is_quiet()
        stage.end_turn()
        assert len(connection.receive_all(12)) == 12
        assert connection.segments == before + 1

    def test_those_that_waited_for_the_connection_leave_in_one_write_as_well(self, stage: Stage) -> None:
        for _ in range(12):
            stage.ask()
            stage.end_turn()
        connection = stage.dialled()
        assert len(connection.receive_all(12)) == 12
        assert connection.segments == 1

    def test_those_that_responses_lead_to_leave_in_one_write_as_well(self, stage: Stage) -> None:
        connection = stage.connected()

        async def ask_twice() -> None:
            for _ in range(2):
                await stage.upstream.exchange(query_for(), stage.now + UNTIL)

        asked = [Asked(ask_twice()) for _ in range(5)]
        stage.end_turn()
        queries = connection.receive_all(5)
        before = connection.segments
        connection.answer(*queries)
        stage.serve()
        connection.answer(*connection.receive_all(5))
        assert connection.segments == before + 1
        stage.serve_until_over(*asked)

    def test_a_server_that_reads_slowly_gets_every_octet(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than the kernel's buffers take at once: the rest is written when there is room."""
        monkeypatch.setattr(stream, "MAX_CONNECTIONS", 1)
        monkeypatch.setattr(stream, "MAX_OUTSTANDING", 20_000)
        monkeypatch.setattr(stream, "MAX_UNSENT", 1 << 30)
        query = query_for(".".join(["x" * 60] * 4))
        for _ in range(20_000):
            stage.ask(query)
        connection = stage.dialled()
        size = 2 + 12 + len(query.question) + 11
        octets = connection.read_some()
        writes = 1
        while len(octets) < 20_000 * size:
            if connection.is_quiet():
                stage.serve()
                writes += 1
            else:
                octets += connection.read_some()
        assert writes > 1
        messages = [octets[at + 2 : at + size] for at in range(0, len(octets), size)]
        assert {(len(octets), question_of(message)) for message in messages} == {(20_000 * size, query.question)}
        assert len({message[:2] for message in messages}) == 20_000


class TestResponses:
    @settings(max_examples=60)
    @given(st.permutations(range(6)), st.lists(st.integers(1, 400), max_size=30))
    def test_in_any_order_and_however_the_stream_is_cut(self, order: list[int], cuts: list[int]) -> None:
        with StreamPeer() as peer, Stage(peer) as stage:
            asked = [stage.ask(query_for(f"name{number}.test")) for number in range(6)]
            connection = stage.dialled()
            queries = connection.receive_all(6)
            octets = b"".join(framed(response_to(queries[number], [bytes((10, 0, 0, number))])) for number in order)
            position = 0
            for cut in [*sorted(set(cuts)), len(octets)]:
                if octets[position:cut]:
                    connection.send(octets[position:cut])
                    stage.serve()
                position = cut
            stage.serve_until_over(*asked)
            assert [one.address for one in asked] == [bytes((10, 0, 0, number)) for number in range(6)]
            assert stage.mismatched == 0
            stage.leave()

    @pytest.mark.parametrize("mismatch", [name for name in MISMATCHES if name not in {"half a header", "nothing"}])
    def test_what_answers_nothing_is_counted_and_waited_past(self, stage: Stage, mismatch: str) -> None:
        asked = stage.ask()
        connection = stage.dialled()
        query = connection.receive()
        connection.send(framed(MISMATCHES[mismatch](query)))
        stage.serve()
        assert not asked.is_over
        assert stage.mismatched == 1
        connection.answer(query)
        stage.serve()
        assert asked.address == ADDRESS

    @pytest.mark.parametrize("rcode", [1, 2, 4, 5])
    def test_a_failure_without_a_question_is_one(self, stage: Stage, rcode: int) -> None:
        asked = stage.ask()
        connection = stage.dialled()
        connection.send(framed(connection.receive()[:2] + struct.pack("!5H", QR | rcode, 0, 0, 0, 0)))
        stage.serve()
        assert (asked.response.kind, asked.response.rcode) == (Kind.FAILURE, rcode)

    def test_that_cannot_be_read_ends_the_attempt_and_not_the_connection(self, stage: Stage) -> None:
        connection = stage.connected()
        asked = [stage.ask(), stage.ask()]
        stage.end_turn()
        first, second = connection.receive_all(2)
        in_capitals = response_to(second, question=question_of(second).upper())
        connection.send(framed(response_to(first)[:-2]) + framed(in_capitals))
        stage.serve_until_over(*asked)
        assert asked[0].failed is Failed.MALFORMED
        assert asked[1].address == ADDRESS


class TestLost:
    @pytest.mark.parametrize("lose", [Accepted.close, Accepted.reset, Accepted.talk_nonsense])
    def test_its_queries_are_told_and_the_next_go_out_on_a_fresh_one(
        self, stage: Stage, lose: Callable[[Accepted], None]
    ) -> None:
        connection = stage.connected()
        asked = [stage.ask(query_for(f"name{number}.test")) for number in range(3)]
        stage.end_turn()
        connection.receive_all(3)
        lose(connection)
        stage.serve()
        assert [one.failed for one in asked] == [Failed.LOST] * 3
        again = stage.ask()
        fresh = stage.dialled()
        fresh.answer(fresh.receive())
        stage.serve_until_over(again)
        assert again.address == ADDRESS
        assert stage.connections == 1

    @pytest.mark.parametrize("lose", [Accepted.close, Accepted.reset, Accepted.talk_nonsense])
    def test_one_that_never_answered_is_no_connection_lost(self, stage: Stage, lose: Callable[[Accepted], None]) -> None:
        asked = stage.ask()
        connection = stage.dialled()
        connection.receive()
        lose(connection)
        stage.serve_until_over(asked)
        assert asked.failed is Failed.NETWORK

    def test_what_was_answered_before_it_ended_is_answered(self, stage: Stage) -> None:
        connection = stage.connected()
        asked = [stage.ask(query_for(f"name{number}.test")) for number in range(2)]
        stage.end_turn()
        connection.answer(connection.receive_all(2)[0])
        connection.close()
        stage.serve_until_over(*asked)
        assert asked[0].address == ADDRESS
        assert asked[1].failed is Failed.LOST

    def test_one_that_was_idle_is_replaced_and_nobody_notices(self, stage: Stage) -> None:
        stage.connected().close()
        stage.serve()
        assert stage.connections == 0
        stage.connected()
        assert stage.queries_sent("tcp") == 2

    def test_one_that_was_idle_for_long_is_closed_and_one_that_waits_is_not(self, stage: Stage) -> None:
        stage.connected()
        stage.pass_time(stream.IDLE_TIMEOUT)
        stage.upstream.tidy(stage.now)
        assert stage.connections == 1
        waiting = stage.ask_in_a_turn(seconds=2 * stream.IDLE_TIMEOUT)
        stage.pass_time(stream.IDLE_TIMEOUT + 0.1)
        stage.upstream.tidy(stage.now)
        assert (stage.connections, waiting.is_over) == (1, False)
        waiting.abandon()
        stage.forget()
        stage.connected()
        stage.pass_time(stream.IDLE_TIMEOUT + 0.1)
        stage.upstream.tidy(stage.now)
        assert stage.connections == 0

    def test_takes_its_siblings_out_of_use_as_when_the_server_is_replaced(self, stage: Stage) -> None:
        """They are about to be found dead as well."""
        asked = [stage.ask() for _ in range(BUSY + 1)]
        former = [stage.peer.accept(), stage.peer.accept()]
        stage.serve()
        for connection, queries in zip(former, (BUSY, 1), strict=True):
            connection.receive_all(queries)
        former[0].close()
        while not asked[0].is_over:
            stage.serve()
        assert stage.connections == 1, "until what it carries is settled"
        again = stage.ask()
        fresh = stage.dialled()
        fresh.answer(fresh.receive())
        stage.serve_until_over(again)
        assert again.address == ADDRESS


class TestUnreachable:
    def test_a_refused_connection_ends_the_attempt(self, stage: Stage) -> None:
        before = open_descriptors()
        stage.peer.close_listener()
        asked = stage.ask()
        stage.serve_until_over(asked)
        assert asked.failed is Failed.NETWORK
        assert stage.connections == 0
        assert open_descriptors() == before - 1  # the listener

    def test_an_address_that_cannot_be_dialled(self, stage: Stage) -> None:
        before = open_descriptors()
        stage.upstream = StreamUpstream(address_for("255.255.255.255", 53), stage.network, stage.tally, wants_ad=False)
        assert stage.ask().failed is Failed.NETWORK
        assert open_descriptors() == before
        assert stage.queries_sent("tcp") == 0


def test_nothing_is_left_for_the_collector(stage: Stage) -> None:
    def lose_connections() -> None:
        for _ in range(3):
            stage.connected().close()
            stage.serve()
        asked = stage.ask()
        stage.dialled().close()
        stage.serve_until_over(asked)
        late = stage.ask()
        stage.pass_time(UNTIL)
        assert late.failed is Failed.TIMEOUT
        late.abandon()
        stage.peer.accept()
        stage.pass_time(UNTIL)
        stage.forget()

    assert garbage_after(lose_connections, times=3) == 0
