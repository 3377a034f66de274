"""An upstream that is asked over TCP (`transport: tcp`): a few connections, many queries, answers in any order.

Connections die in every way there is; a client must not notice as long as new ones work.
"""

from collections.abc import Callable, Iterator

import dns.rcode
import pytest

from tests.lab.behaviours import (
    TRUTH,
    Behaviour,
    addresses,
    answer,
    both,
    close_after,
    close_mid_length,
    close_mid_message,
    in_turn,
    late,
    wrong_id,
)
from tests.lab.clients import UdpClient, query, rdatas
from tests.lab.stage import Stage, staged

MOST_CONNECTIONS = 64


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """As in the other files, but TCP to the upstream."""
    with staged(zone="transport: tcp") as made:
        yield made


def ask_many(stage: Stage, names: list[str]) -> int:
    """All names at once from one socket; how many were answered with the truth."""
    with UdpClient(stage.server) as client:
        for name in names:
            client.send(query(name))
        responses = [client.receive() for _ in names]
    return sum(response is not None and rdatas(response) == ["192.0.2.1"] for response in responses)


def test_many_queries_few_connections(stage: Stage) -> None:
    """Pipelined (RFC 7766 section 6.2.1.1): more queries than connections, nothing over UDP."""
    stage.upstream.on("*.many.test", late(0.02, TRUTH))
    assert ask_many(stage, [f"n{number}.many.test" for number in range(200)]) == 200
    assert stage.upstream.connections <= MOST_CONNECTIONS
    assert {received.transport for received in stage.upstream.received} == {"tcp"}


def test_a_slow_answer_holds_nobody_up(stage: Stage) -> None:
    """The upstream answers out of order; so are the clients answered, each with its own."""
    stage.upstream.on("slow.order.test", late(0.3, answer("@ 300 IN A 192.0.2.9")))
    stage.upstream.on("*.order.test", TRUTH)
    with UdpClient(stage.server) as client:
        client.send(query("slow.order.test"))
        for number in range(30):
            client.send(query(f"n{number}.order.test"))
        responses = [client.receive() for _ in range(31)]
    told = [rdatas(response) for response in responses if response is not None]
    assert told == [["192.0.2.1"]] * 30 + [["192.0.2.9"]]


def test_an_answer_of_64_kib(stage: Stage) -> None:
    """In as many pieces as the stream likes."""
    stage.upstream.on("huge.stream.test", answer(*addresses(4080)))
    assert len(set(rdatas(stage.ask_tcp("huge.stream.test")))) == 4080


def test_a_response_with_another_id_is_waited_past(stage: Stage) -> None:
    """Nobody asked with that ID: counted, the connection's other answers stay good."""
    stage.upstream.on("forged.stream.test", both(wrong_id(TRUTH), TRUTH))
    assert rdatas(stage.ask("forged.stream.test")) == ["192.0.2.1"]
    assert stage.daemon.metric("forwarder_mismatched_responses_total") == 1


def test_a_server_that_closes_after_each_answer() -> None:
    """Every query needs a connection of its own, and every one is answered."""
    with staged(zone="transport: tcp") as stage:
        stage.upstream.default = close_after(TRUTH)
        for number in range(10):
            assert rdatas(stage.ask(f"n{number}.once.test")) == ["192.0.2.1"]


@pytest.mark.parametrize("end", [lambda _: close_mid_length, close_mid_message, lambda _: lambda _: [], close_after])
def test_a_connection_that_dies_before_the_answer(end: Callable[[Behaviour], Behaviour]) -> None:
    """In the middle of a length, of a message, or in silence: asked again on a fresh connection."""
    with staged(zone="transport: tcp") as stage:
        stage.upstream.on("dies.stream.test", in_turn(end(answer("@ 300 IN A 192.0.2.1")), TRUTH))
        assert rdatas(stage.ask("dies.stream.test")) == ["192.0.2.1"]


def test_idle_connections_are_closed_by_the_server() -> None:
    """All of the pool at once, between two queries, as when the server is restarted."""
    with staged(zone="transport: tcp") as stage:
        stage.upstream.on("*.restart.test", TRUTH)
        assert ask_many(stage, [f"n{number}.restart.test" for number in range(20)]) == 20
        stage.upstream.drop_connections()
        assert ask_many(stage, [f"m{number}.restart.test" for number in range(20)]) == 20


def test_all_pooled_connections_go_silent_while_new_ones_work() -> None:
    """As when the server behind a service address was replaced: no client is left without its answer."""
    with staged(zone="transport: tcp") as stage:
        stage.upstream.on("*.replaced.test", TRUTH)
        assert ask_many(stage, [f"n{number}.replaced.test" for number in range(20)]) == 20
        stage.upstream.freeze_connections()
        assert ask_many(stage, [f"m{number}.replaced.test" for number in range(20)]) == 20


def test_a_server_that_accepts_and_closes() -> None:
    """SERVFAIL in time, and nothing over UDP, which nobody configured; when it takes connections again, so do we."""
    with staged(zone="transport: tcp") as stage:
        stage.upstream.default = TRUTH
        stage.upstream.closes_at_accept = True
        stage.upstream.drop_connections()
        assert stage.ask("closed.stream.test").rcode() == dns.rcode.SERVFAIL
        assert stage.upstream.asked("closed.stream.test") == []
        stage.upstream.closes_at_accept = False
        assert rdatas(stage.ask("open.stream.test")) == ["192.0.2.1"]
