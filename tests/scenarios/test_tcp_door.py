"""The door for streams: pipelined queries, answers as they are ready, and clients that misbehave (RFC 7766).

No client, however slow, rude or silent, may hold up another.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import dns.rcode
import pytest

from tests.lab.behaviours import TRUTH, addresses, answer, late
from tests.lab.clients import HANG, TcpClient, framed, query, rdatas
from tests.lab.stage import Stage, staged

MOST_CONNECTIONS = 4


@pytest.fixture(scope="module")
def narrow() -> Iterator[Stage]:
    """A daemon that keeps few connections, none of them idle for long."""
    with staged(f"listen: {{max_tcp_connections: {MOST_CONNECTIONS}, tcp_idle_timeout: 1s}}") as made:
        made.upstream.on("*.door.test", TRUTH)
        yield made


def test_a_hundred_queries_in_one_write(stage: Stage) -> None:
    """Pipelined by the client: each gets its answer, by ID."""
    stage.upstream.on("*.many.test", TRUTH)
    queries = [query(f"n{number}.many.test") for number in range(100)]
    for number, message in enumerate(queries):
        message.id = number
    with TcpClient(stage.server) as client:
        client.send(*queries)
        responses = [client.receive() for _ in queries]
    answered = {response.id: response for response in responses if response is not None}
    assert len(answered) == 100
    for message in queries:
        assert answered[message.id].question == message.question
        assert rdatas(answered[message.id]) == ["192.0.2.1"]


def test_answers_leave_as_they_are_ready(stage: Stage) -> None:
    """RFC 7766 section 6.2.1.1: responses in any order; the slow one comes last and holds nobody up."""
    stage.upstream.on("slow.ready.test", late(0.3, answer("@ 300 IN A 192.0.2.9")))
    stage.upstream.on("*.ready.test", TRUTH)
    with TcpClient(stage.server) as client:
        client.send(query("slow.ready.test"), query("fast.ready.test"), query("quick.ready.test"))
        told = [rdatas(response) for response in (client.receive(), client.receive(), client.receive()) if response]
    assert told == [["192.0.2.1"], ["192.0.2.1"], ["192.0.2.9"]]


def test_the_stream_may_be_cut_anywhere(stage: Stage) -> None:
    """Two queries, sent in two pieces: at every place where one can cut."""
    stage.upstream.on("*.cut.test", TRUTH)
    first, second = query("a.cut.test"), query("b.cut.test", payload=1232)
    octets = framed(first) + framed(second)
    for place in range(1, len(octets)):
        with TcpClient(stage.server) as client:
            client.send_octets(octets[:place])
            client.send_octets(octets[place:])
            responses = [client.receive(), client.receive()]
        assert {response.id for response in responses if response} == {first.id, second.id}, place


def test_octet_by_octet(stage: Stage) -> None:
    """The slowest of writers is answered all the same."""
    stage.upstream.on("drip.door.test", TRUTH)
    with TcpClient(stage.server) as client:
        for octet in framed(query("drip.door.test")):
            client.send_octets(bytes((octet,)))
            time.sleep(0.001)
        response = client.receive()
    assert response is not None
    assert rdatas(response) == ["192.0.2.1"]


def test_a_half_closed_client_gets_its_answers(stage: Stage) -> None:
    """It says that it will ask nothing more: what it asked is answered, then the connection ends."""
    stage.upstream.on("half.door.test", late(0.3, TRUTH))
    stage.upstream.on("also.door.test", TRUTH)
    with TcpClient(stage.server) as client:
        client.send(query("half.door.test"), query("also.door.test"))
        client.half_close()
        responses = [client.receive(), client.receive()]
        assert all(response is not None and rdatas(response) == ["192.0.2.1"] for response in responses)
        assert client.is_closed_by_server()


@pytest.mark.parametrize(
    "octets",
    [b"\x00\x00", b"\x00\x05hello", b"\x00\x0c" + b"\xff" * 12, b"\x00\x20" + b"\x00" * 32, b"\xff\xff" + b"\xa5" * 65535],
    ids=["nothing", "short", "a response", "no question", "64 KiB of noise"],
)
def test_noise_in_the_stream(stage: Stage, octets: bytes) -> None:
    """A message that is none: no more than an error comes back, and the others never notice."""
    stage.upstream.on("calm.door.test", TRUTH)
    with TcpClient(stage.server) as noisy, TcpClient(stage.server) as calm:
        noisy.send_octets(octets)
        noisy.half_close()
        answered = noisy.receive_octets()
        assert answered is None or answered[3] & 15 in {dns.rcode.FORMERR, dns.rcode.NOTIMP}
        calm.send(query("calm.door.test"))
        response = calm.receive()
        assert response is not None
        assert rdatas(response) == ["192.0.2.1"]
    assert stage.daemon.metric("forwarder_workers_restarted_total") == 0


def test_a_client_that_leaves_without_a_word(stage: Stage) -> None:
    """It resets the connection while its query is in progress; the answer is remembered for the next one."""
    stage.upstream.on("gone.door.test", late(0.3, TRUTH))
    with TcpClient(stage.server) as client:
        client.send(query("gone.door.test"))
        while not stage.upstream.asked("gone.door.test"):
            time.sleep(0.01)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert rdatas(stage.ask("gone.door.test")) == ["192.0.2.1"]
    assert len(stage.upstream.asked("gone.door.test")) == 1
    assert stage.daemon.metric("forwarder_workers_restarted_total") == 0


def test_a_client_that_never_reads(stage: Stage) -> None:
    """128 MiB of answers ordered and not one taken: the daemon does not hoard them, and serves the others."""
    stage.upstream.on("huge.door.test", answer(*addresses(4000)))
    assert len(rdatas(stage.ask_tcp("huge.door.test"))) == 4000
    before = stage.daemon.worker_resident()
    with TcpClient(stage.server, receive_buffer=4096) as client:
        client.socket.settimeout(1.0)
        order = framed(query("huge.door.test"))
        for _ in range(2000):
            try:
                client.send_octets(order)
            except (TimeoutError, ConnectionError):
                break
        assert len(rdatas(stage.ask_tcp("huge.door.test"))) == 4000
        assert stage.daemon.worker_resident() - before < 32 << 20


def test_an_idle_connection_is_closed(narrow: Stage) -> None:
    """After `tcp_idle_timeout`, also one that never asked anything."""
    with TcpClient(narrow.server) as used, TcpClient(narrow.server) as unused:
        used.send(query("idle.door.test"))
        assert used.receive() is not None
        assert used.is_closed_by_server()
        assert unused.is_closed_by_server()


def test_an_unfinished_query_does_not_keep_a_connection(narrow: Stage) -> None:
    """Half a message and then nothing: as good as idle."""
    with TcpClient(narrow.server) as client:
        client.send_octets(framed(query("unfinished.door.test"))[:9])
        assert client.is_closed_by_server()


def test_a_connection_in_use_stays(narrow: Stage) -> None:
    """Longer than the idle time-out altogether, never idle as long."""
    with TcpClient(narrow.server) as client:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            client.send(query("busy.door.test"))
            assert client.receive() is not None
            time.sleep(0.1)


def test_a_slow_answer_is_no_idleness() -> None:
    """The query is in progress for longer than the idle time-out: it is answered, not cut off."""
    with staged("listen: {tcp_idle_timeout: 200ms}") as stage, TcpClient(stage.server) as client:
        stage.upstream.default = late(0.9, TRUTH)
        client.send(query("slow.door.test"))
        assert client.receive() is not None


def test_when_full_the_oldest_idle_one_gives_way(narrow: Stage) -> None:
    """A newcomer is always let in; who waited longest without asking leaves."""
    with ExitStack() as opened:
        clients = []
        for number in range(MOST_CONNECTIONS):
            client = opened.enter_context(TcpClient(narrow.server))
            client.send(query(f"n{number}.door.test"))
            assert client.receive() is not None
            clients.append(client)
        newcomer = opened.enter_context(TcpClient(narrow.server))
        newcomer.send(query("newcomer.door.test"))
        response = newcomer.receive()
        assert response is not None
        assert rdatas(response) == ["192.0.2.1"]
        assert clients[0].is_closed_by_server(seconds=HANG)
        clients[-1].send(query("last.door.test"))
        assert clients[-1].receive() is not None
