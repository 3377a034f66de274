"""A worker that is told to forget: beside the answering, and reported when the next query cannot see the old any more."""

import time

import pytest

from forwarder import link
from forwarder.wire.names import name_from_text
from tests.lab.behaviours import answer, late
from tests.lab.clients import UdpClient, ask, ask_tcp, query, rdatas
from tests.test_worker import Bench, serving

OLD = answer("@ 300 IN A 192.0.2.1")
NEW = answer("@ 300 IN A 192.0.2.2")


def flushed(at: Bench, name: str, *, below: bool = False) -> int:
    """Tell it, and wait for the report; how many entries went."""
    at.tell(link.Flush(5, name_from_text(name), below))
    report = link.read_report(at.ours.recv(link.MAX_MESSAGE_SIZE))
    assert isinstance(report, link.Flushed)
    assert report.number == 5
    return report.entries


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_next_query_has_what_is_true_now(transport: str) -> None:
    with serving(transport) as (at, upstream):
        upstream.on("*.test.", OLD)
        for asking in (ask, ask, ask, ask_tcp):
            assert rdatas(asking(at.server, query("a.test."))) == ["192.0.2.1"]
        upstream.on("*.test.", NEW)
        assert flushed(at, "a.test") == 1
        for asking in (ask, ask_tcp):
            assert rdatas(asking(at.server, query("a.test."))) == ["192.0.2.2"]


def test_what_was_asked_before_is_told_to_who_asked_and_to_nobody_after() -> None:
    with serving() as (at, upstream):
        upstream.on("a.test.", late(0.3, OLD))
        with UdpClient(at.server) as client:
            client.send(query("a.test."))
            while not upstream.asked("a.test."):
                time.sleep(0.001)
            upstream.on("a.test.", NEW)
            assert flushed(at, "a.test") == 1
            assert rdatas(ask(at.server, query("a.test."))) == ["192.0.2.2"]
            told = client.receive()
            assert told is not None
            assert rdatas(told) == ["192.0.2.1"]
