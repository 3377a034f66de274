"""The sockets of a UDP upstream: one query at a time on each, for so many queries, for so long, and so many of them."""

from collections.abc import Iterator

import pytest

from forwarder.upstream import udp
from forwarder.upstream.servers import Failed
from forwarder.upstream.waiting import step
from forwarder.wire.message import Qtype
from tests.test_upstream_network import ADDRESS, DatagramPeer, open_descriptors, query_for, response_to
from tests.test_upstream_udp import TXT, UNTIL, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with DatagramPeer() as peer, Stage(peer) as stage:
        yield stage


def test_one_query_at_a_time_on_each(stage: Stage) -> None:
    asked = [stage.ask() for _ in range(30)]
    ports = [stage.peer.answer() for _ in asked]
    assert len(set(ports)) == 30
    stage.serve_until_over(*asked)
    again = [stage.ask() for _ in range(30)]
    assert {stage.peer.answer() for _ in again} == set(ports)
    stage.serve_until_over(*again)


def test_a_and_aaaa_never_share_a_port(stage: Stage) -> None:
    a = {stage.answered(query_for(qtype=Qtype.A)) for _ in range(3)}
    aaaa = {stage.answered(query_for(qtype=Qtype.AAAA)) for _ in range(3)}
    assert len(a) == len(aaaa) == 1
    assert not a & aaaa
    assert stage.answered(query_for(qtype=TXT)) in a
    pair = [stage.ask(query_for(qtype=qtype)) for qtype in (Qtype.A, Qtype.AAAA)]
    assert [stage.peer.answer() for _ in pair] == [*a, *aaaa]
    stage.serve_until_over(*pair)


def test_closed_after_sixteen_queries(stage: Stage) -> None:
    before = open_descriptors()
    ports = [stage.answered() for _ in range(15)]
    assert open_descriptors() == before + 1
    ports.append(stage.answered())
    assert len(set(ports)) == 1
    assert open_descriptors() == before


def test_closed_after_a_time_out_so_that_a_late_response_meets_nobody(stage: Stage) -> None:
    before = open_descriptors()
    asked = stage.ask()
    query, port = stage.peer.receive()
    stage.pass_time(UNTIL)
    assert asked.failed is Failed.TIMEOUT
    assert open_descriptors() == before
    stage.peer.send(response_to(query), port)
    assert stage.is_quiet()


def test_each_waits_until_it_is_due_itself(stage: Stage) -> None:
    first = {seconds: stage.ask(seconds=seconds) for seconds in (0.4, 0.9, 0.2)}
    stage.pass_time_in_ticks(0.1)
    later = {seconds: stage.ask(seconds=seconds - 0.1) for seconds in (0.7, 0.3)}
    for seconds, asked in sorted((first | later).items()):
        stage.pass_time_in_ticks(1000 + seconds - 0.05 - stage.now)
        assert not asked.is_over
        stage.pass_time_in_ticks(1000 + seconds - stage.now)
        assert asked.failed is Failed.TIMEOUT


def test_one_that_takes_up_what_another_gave_up_waits_anew(stage: Stage) -> None:
    at_rest = [stage.ask() for _ in range(30)]
    for _ in at_rest:
        stage.peer.answer()
    stage.serve_until_over(*at_rest)
    outcomes = []

    async def ask_twice() -> None:
        outcomes.append(await stage.upstream.exchange(query_for(), stage.now + 0.4))
        outcomes.append(await stage.upstream.exchange(query_for(), stage.now + 0.4))

    for _ in range(15):
        step(ask_twice())
    stage.pass_time(udp.IDLE_TIMEOUT - 1)
    assert outcomes == [Failed.TIMEOUT] * 15
    stage.pass_time(0.4)
    assert outcomes == [Failed.TIMEOUT] * 30


def test_one_that_lay_idle_is_not_relied_upon(stage: Stage) -> None:
    for _ in range(15):
        stage.answered()
    before = open_descriptors()
    stage.pass_time(udp.IDLE_TIMEOUT)
    assert len({stage.answered() for _ in range(15)}) == 1  # on a new one, or the second would be
    assert open_descriptors() == before


def test_of_idle_ones_a_bounded_number_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MAX_IDLE", 2)
    before = open_descriptors()
    asked = [stage.ask() for _ in range(5)]
    for _ in asked:
        stage.peer.answer()
    stage.serve_until_over(*asked)
    assert open_descriptors() == before + 2


def test_not_more_than_may_be_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MAX_SOCKETS", 3)
    asked = [stage.ask() for _ in range(3)]
    assert stage.ask().failed is Failed.NETWORK
    ports = [stage.peer.receive()[1] for _ in asked]
    assert (len(set(ports)), stage.peer.is_quiet()) == (3, True)
    stage.pass_time(UNTIL)
    assert all(one.failed is Failed.TIMEOUT for one in asked)
    stage.answered()


def test_all_are_closed_with_the_upstream_those_in_use_when_their_query_ends(stage: Stage) -> None:
    before = open_descriptors()
    stage.answered(query_for(qtype=Qtype.AAAA))
    asked = stage.ask()
    stage.leave()
    assert open_descriptors() == before + 1
    stage.peer.answer()
    stage.serve()
    assert asked.address == ADDRESS
    assert open_descriptors() == before
