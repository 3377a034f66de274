"""The sockets of a lookup, against real ones on loopback."""

import socket
import time

import pytest

from forwarder.lookup.network import Network, endpoint
from forwarder.lookup.questions import Query, query_for
from forwarder.lookup.settings import Libc, settings_for
from forwarder.lookup.steps import Arrived, Await, Break, Broken, Close, Event, Kind, Link, Send, TimeOut
from tests.lab.behaviours import answer, close_mid_message, silent
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream

QUERY = query_for(b"\3www\4test\0", 1, 7, settings_for("", Libc.GLIBC))
LONG = 5.0
"""Seconds in which what happens at all has happened."""


def unwatched(waiting: Await, seconds: float) -> None:
    del waiting, seconds


def event_of(network: Network, link: Link, *queries: Query, seconds: float = LONG) -> Event:
    network.do(Send(link, queries or (QUERY,)))
    return network.do(Await((link,), time.monotonic() + seconds, queries))


@pytest.mark.parametrize("kind", list(Kind))
def test_an_answer_arrives(kind: Kind) -> None:
    with ScriptedUpstream() as upstream, Network(unwatched) as network:
        upstream.default = answer("@ 60 IN A 192.0.2.1")
        link = Link("1", kind, upstream.address)
        event = event_of(network, link)
    assert isinstance(event, Arrived)
    assert event.link == link
    assert event.message[:2] == b"\0\7"


@pytest.mark.parametrize("kind", [Kind.CONNECTED, Kind.STREAM])
def test_nobody_listens(kind: Kind) -> None:
    with Network(unwatched) as network:
        event = event_of(network, Link("1", kind, f"127.0.0.1:{free_port()}"))
    assert isinstance(event, Broken)
    assert event.why is Break.NO_LISTENER


def test_a_free_socket_does_not_hear_that_nobody_listens() -> None:
    with Network(unwatched) as network:
        assert isinstance(event_of(network, Link("1", Kind.FREE, f"127.0.0.1:{free_port()}"), seconds=0.2), TimeOut)


def test_one_free_socket_for_all_servers_and_a_new_one_after_it_was_closed() -> None:
    with ScriptedUpstream() as first, ScriptedUpstream() as second, Network(unwatched) as network:
        first.default = second.default = answer("@ 60 IN A 192.0.2.1")
        for upstream in (first, second):
            event = event_of(network, Link("1", Kind.FREE, upstream.address))
            assert isinstance(event, Arrived)
            assert event.link.server == upstream.address
        network.do(Close(Link("1", Kind.FREE, first.address)))
        event_of(network, Link("2", Kind.FREE, first.address))
    ports = [one.port for one in (*first.received, *second.received)]
    assert ports[0] == ports[2] != ports[1]


def test_a_pair_leaves_from_one_port() -> None:
    with ScriptedUpstream() as upstream, Network(unwatched) as network:
        upstream.default = answer("@ 60 IN A 192.0.2.1")
        other = query_for(b"\3www\4test\0", 28, 8, settings_for("", Libc.GLIBC))
        link = Link("1", Kind.CONNECTED, upstream.address)
        event_of(network, link, QUERY, other)
        assert isinstance(network.do(Await((link,), time.monotonic() + LONG, ())), Arrived)
    assert len({one.port for one in upstream.received}) == 1
    assert [one.qtype for one in upstream.received] == ["A", "AAAA"]


def test_a_connection_that_is_closed_in_the_middle() -> None:
    with ScriptedUpstream() as upstream, Network(unwatched) as network:
        upstream.default = close_mid_message(answer("@ 60 IN A 192.0.2.1"))
        event = event_of(network, Link("1", Kind.STREAM, upstream.address))
    assert isinstance(event, Broken)
    assert event.why is Break.CLOSED


def test_a_length_below_a_header_is_no_dns() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Network(unwatched) as network:
        link = Link("1", Kind.STREAM, f"127.0.0.1:{server.getsockname()[1]}")
        network.do(Send(link, (QUERY,)))
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"\0\3abc")
            event = network.do(Await((link,), time.monotonic() + LONG, ()))
    assert isinstance(event, Broken)
    assert event.why is Break.GARBLED


def test_an_address_without_a_way_to_it() -> None:
    with Network(unwatched) as network:
        event = event_of(network, Link("1", Kind.CONNECTED, "[fe80::1%lo]:53"))
    assert isinstance(event, Broken | TimeOut)


def test_whoever_watches_is_told_of_a_long_wait() -> None:
    told: list[float] = []
    with ScriptedUpstream() as upstream, Network(lambda _, seconds: told.append(seconds)) as network:
        upstream.default = silent
        begun = time.monotonic()
        event = event_of(network, Link("1", Kind.CONNECTED, upstream.address), seconds=1.3)
    assert isinstance(event, TimeOut)
    assert time.monotonic() - begun >= 1.3
    assert len(told) == 1


def test_endpoints() -> None:
    assert endpoint("192.0.2.1:53") == (socket.AF_INET, ("192.0.2.1", 53))
    assert endpoint("[2001:db8::1]:5300")[1][:2] == ("2001:db8::1", 5300)
