"""A pool of TCP connections to an upstream, and clients that do not notice what becomes of it.

Steady load of names nobody asked before, from a process of its own; meanwhile every pooled connection goes silent or is
reset, or some names hang at a server that serves each connection one query at a time.
"""

import time
from collections.abc import Iterator

import pytest

from tests.lab.behaviours import Behaviour, late
from tests.lab.clients import UdpClient, query, rdatas
from tests.lab.faults import in_rotation, told_by
from tests.lab.stage import Stage, staged
from tests.lab.steady import LAST_ANSWERS, Steady, Told

RATE = 150.0
"""Queries a second."""
SECONDS = 3.0
TRUTH = late(0.001, told_by(1))
SILENT_POOL = 0.5
"""Seconds within which a client is answered although all connections went silent at once."""
RESET_POOL = 0.2
"""Seconds within which it is when all were reset: one attempt that is known to have failed, and another."""
BESIDE_HANGING = 0.1
"""Seconds within which names are answered while others hang."""
NOISE = 0.05
"""Seconds the machine may take for itself."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One upstream, asked over TCP."""
    with staged(zone="transport: tcp") as made:
        made.upstream.default = TRUTH
        yield made


def questions(zone: str, seconds: float = SECONDS) -> list[tuple[str, str]]:
    """A different name each time."""
    return [(f"n{number}.{zone}.test", "A") for number in range(round(seconds * RATE))]


def assert_all_told(report: list[Told], within: float) -> None:
    """The truth, once, in time; the slowest are shown if not."""
    wrong = [told for told in report if told.answers != 1 or rdatas(told.response) != ["192.0.2.1"]]
    assert [(told.name, told.answers, told.seconds) for told in wrong] == []
    slowest = sorted(report, key=lambda told: told.charged)[-5:]
    assert slowest[-1].charged < within + NOISE, [(told.name, round(told.at, 3), told.seconds) for told in slowest]


def warmed(stage: Stage) -> None:
    """Several connections, all in use: twenty slow answers at once, four times."""
    stage.upstream.on("*.warm.test", late(0.03, told_by(1)))
    for turn in range(4):
        with UdpClient(stage.server) as client:
            for number in range(60):
                client.send(query(f"n{number}-{turn}.warm.test"))
            assert all(client.receive() for _ in range(60))


def test_all_connections_go_silent_at_once(stage: Stage) -> None:
    """As when cluster DNS pods were replaced: new connections work, and no client waits longer than 500 ms."""
    warmed(stage)
    with Steady(stage.server, questions("frozen"), RATE) as client:
        time.sleep(SECONDS / 2)
        stage.upstream.freeze_connections()
        report = client.report()
    assert_all_told(report, SILENT_POOL)


@pytest.mark.parametrize("way", ["reset", "closed"])
def test_all_connections_end_at_once(stage: Stage, way: str) -> None:
    """No client notices: whatever was on its way is asked again on a fresh connection, at once."""
    warmed(stage)
    with Steady(stage.server, questions(way), RATE) as client:
        for _ in range(2):
            time.sleep(SECONDS / 3)
            (stage.upstream.reset_connections if way == "reset" else stage.upstream.drop_connections)()
        report = client.report()
    assert_all_told(report, RESET_POOL)


def test_connections_end_with_questions_outstanding(stage: Stage) -> None:
    """Fifty questions wait for their answers when all connections are reset; all fifty are answered."""
    stage.upstream.on("*.outstanding.test", late(0.4, told_by(1)))
    with UdpClient(stage.server) as client:
        for number in range(50):
            client.send(query(f"n{number}.outstanding.test"))
        time.sleep(0.15)
        assert stage.upstream.open_connections
        stage.upstream.reset_connections()
        responses = [client.receive() for _ in range(50)]
    assert [rdatas(response) for response in responses if response is not None] == [["192.0.2.1"]] * 50


def test_two_hundred_misses_at_once_use_few_connections(stage: Stage) -> None:
    """The upstream answers out of order; eight connections carry them all."""
    stage.upstream.default = in_rotation(late(0.15, told_by(1)), late(0.05, told_by(1)))
    with UdpClient(stage.server) as client:
        for number in range(200):
            client.send(query(f"n{number}.crowd.test"))
        responses = [client.receive() for _ in range(200)]
    assert [rdatas(response) for response in responses if response is not None] == [["192.0.2.1"]] * 200
    assert stage.upstream.connections <= 8
    assert {received.transport for received in stage.upstream.received} == {"tcp"}


def hanging(seconds: float) -> Behaviour:
    """An answer that takes so long that nobody waits for it."""
    return late(seconds, told_by(1))


def test_hanging_names_hold_nobody_up(stage: Stage) -> None:
    """Eight names hang 5 s at a server that serves each connection one query at a time; all others take 100 ms at most.

    As CoreDNS does: a query behind a hanging one on the same connection is not even read.
    """
    stage.upstream.is_serial = True
    stage.upstream.on("*.hanging.test", hanging(5.0))
    warmed(stage)
    with Steady(stage.server, questions("beside", 6.0), RATE) as client, UdpClient(stage.server) as other:
        time.sleep(1.0)
        begin = time.monotonic()
        for number in range(8):
            other.send(query(f"n{number}.hanging.test"))
        assert all(other.receive() for _ in range(8))
        assert time.monotonic() - begin < LAST_ANSWERS
        report = client.report()
    assert_all_told(report, BESIDE_HANGING)
    during: list[Told] = [told for told in report if 1.0 < told.at < 6.0]
    assert len(during) > 4 * RATE, "the load ran beside the hanging names"
    assert stage.upstream.most_open <= 64
