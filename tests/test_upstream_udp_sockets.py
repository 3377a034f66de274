"""The sockets of a UDP upstream: one query at a time on each, for so many queries, for so long, and so many of them."""

import resource
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


def test_a_late_one_stays_open_and_its_response_counts(stage: Stage) -> None:
    before = open_descriptors()
    asked = stage.ask()
    query, port = stage.peer.receive()
    stage.pass_time(UNTIL)
    assert asked.failed is Failed.TIMEOUT
    asked.again()
    assert open_descriptors() == before + 1
    assert stage.answered() != port, "one that waits carries no other query"
    stage.peer.send(response_to(query), port)
    stage.serve()
    assert asked.address == ADDRESS
    assert stage.answered() == port, "and when it has its response it does"


def test_a_late_one_is_not_late_again(stage: Stage) -> None:
    asked = stage.ask(seconds=0.4)
    stage.pass_time(0.4)
    assert asked.failed is Failed.TIMEOUT
    asked.again()
    other = stage.ask(seconds=0.4)
    stage.pass_time_in_ticks(10)
    assert not asked.is_over
    assert other.failed is Failed.TIMEOUT


@pytest.mark.parametrize("is_late", [True, False])
def test_closed_when_nobody_waits_any_more_so_that_a_late_response_meets_nobody(stage: Stage, *, is_late: bool) -> None:
    before = open_descriptors()
    asked = stage.ask()
    query, port = stage.peer.receive()
    if is_late:
        stage.pass_time(UNTIL)
        asked.again()
    asked.abandon()
    assert open_descriptors() == before
    stage.peer.send(response_to(query), port)
    assert stage.is_quiet()
    stage.pass_time_in_ticks(UNTIL + 0.1)
    assert asked.times_over == is_late, "whoever left is told nothing any more"


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
        for _ in range(2):
            exchange = stage.upstream.exchange(query_for(), stage.now + 0.4)
            outcomes.append(await exchange)
            exchange.abandon()

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


def test_one_that_lay_idle_is_closed_and_one_used_since_is_not(stage: Stage) -> None:
    before = open_descriptors()
    asked = [stage.ask() for _ in range(3)]
    for _ in asked:
        stage.peer.answer()
    stage.serve_until_over(*asked)
    waiting = stage.ask()
    stage.peer.receive()
    stage.pass_time(udp.IDLE_TIMEOUT / 2)
    port = stage.answered()
    stage.upstream.tidy(stage.now)
    assert open_descriptors() == before + 3
    stage.pass_time(udp.IDLE_TIMEOUT / 2)
    stage.upstream.tidy(stage.now)
    assert open_descriptors() == before + 2
    assert stage.answered() == port
    waiting.abandon()
    stage.pass_time(udp.IDLE_TIMEOUT)
    stage.upstream.tidy(stage.now)
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
    assert stage.ask().failed is Failed.EXHAUSTED
    ports = [stage.peer.receive()[1] for _ in asked]
    assert (len(set(ports)), stage.peer.is_quiet()) == (3, True)
    stage.pass_time(UNTIL)
    assert [one.failed for one in asked] == [Failed.TIMEOUT] * 3
    assert stage.ask().failed is Failed.EXHAUSTED, "what is late has its socket yet"
    asked[0].abandon()
    stage.answered()


def test_not_more_than_may_be_open_to_all_upstreams_together(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "MAX_SOCKETS_IN_ALL", 3)
    others = [stage.upstream_with(), stage.upstream_with()]
    asked = [stage.ask(upstream=upstream) for upstream in (*others, others[0])]
    assert stage.ask().failed is Failed.EXHAUSTED
    assert stage.ask(upstream=others[1]).failed is Failed.EXHAUSTED
    asked[0].abandon()
    assert not stage.ask().is_over, "one was closed"
    assert stage.ask(upstream=others[1]).failed is Failed.EXHAUSTED


def test_all_that_are_open_are_known_and_no_others(stage: Stage) -> None:
    other = stage.upstream_with()
    for upstream in (stage.upstream, other):
        stage.answered(upstream=upstream)
    assert len(stage.network.open_sockets) == 2
    other.close()
    assert len(stage.network.open_sockets) == 1
    stage.pass_time(udp.IDLE_TIMEOUT)
    stage.answered()
    assert len(stage.network.open_sockets) == 1
    stage.leave()
    assert not stage.network.open_sockets
    assert udp.MAX_SOCKETS_IN_ALL == 2 * udp.MAX_SOCKETS == 4096


def test_none_to_be_had_from_the_kernel(stage: Stage) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        asked = stage.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert asked.failed is Failed.EXHAUSTED
    assert (stage.queries_sent("udp"), stage.peer.is_quiet()) == (0, True)


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
