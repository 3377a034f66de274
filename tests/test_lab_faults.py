"""The scripted upstream plays its faults: what a client with a bare socket sees of each, over UDP and TCP.

A fault that is not played proves nothing about a daemon that survives it.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.lab.behaviours import answer, late
from tests.lab.clients import HANG, Address, TcpClient, UdpClient, framed, query, rdatas
from tests.lab.faults import FAULTS, MANY, PLAYED, outcome
from tests.lab.scripted import ScriptedUpstream

A_MOMENT = 0.15
"""Seconds after which what should stay silent is taken to be silent."""

SEEN = {
    "silent": "silence",
    "late by 2 ms": "first",
    "late by 300 ms": "silence",
    "late by 10 s": "silence",
    "A answered, AAAA dropped": "first",
    "every second query dropped": "silence",
    "SERVFAIL": "SERVFAIL",
    "REFUSED": "REFUSED",
    "FORMERR": "FORMERR",
    "NOTIMP": "NOTIMP",
    "SERVFAIL without the question": "SERVFAIL, another question",
    "NODATA without SOA, AA=0, RA=0": "NODATA, no RA",
    "TC=1 always": "NODATA, TC",
    "wrong ID": "another ID, forged",
    "wrong question": "another question, forged",
    "wrong type": "another question, forged",
    "wrong case": "another spelling, first",
    "wrong port": "another port, forged",
    "a query back": "a query",
    "garbage": "unreadable",
    "truncated records": "unreadable",
    "compression loop": "unreadable",
    "two OPT records": "two OPT",
    "EDNS ignored": "first, no OPT",
    "EDNS answered with FORMERR": "FORMERR, no OPT",
    "EDNS answered with a bare FORMERR": "FORMERR, another question, no OPT",
    "EDNS answered with NOTIMP": "NOTIMP, no OPT",
    "EDNS met with silence": "silence",
    "closes at accept": "closed",
    "closes instead of an answer": "closed",
    "closes after one query": "closed after it, first",
    "closes within a length": "closed",
    "closes within a message": "closed",
    "answers out of order": "first",
    "one query at a time": "first",
    "TTL 0": "first",
    "TTL of 2^31": "first",
    "TTL of 2^32 - 1": "first",
    "loops our query back": "silence",
}
"""Fault -> what comes on a query with EDNS, the same over UDP and TCP; no word means nothing remarkable."""
SEEN_OVER_ONE = {("64 KiB", "udp"): "NODATA, TC", ("64 KiB", "tcp"): "many"}


def words_for(octets: bytes, asked: dns.message.Message) -> Iterator[str]:
    """What is remarkable about a message."""
    try:
        response = dns.message.from_wire(octets)
    except dns.message.BadEDNS:
        yield "two OPT"
        return
    except (dns.exception.DNSException, ValueError):
        yield "unreadable"
        return
    if not response.flags & dns.flags.QR:
        yield "a query"
        return
    told = outcome(response)
    yield "forged" if "66" in told else told
    if response.id != asked.id:
        yield "another ID"
    if response.question != asked.question:
        yield "another question"
    elif response.question[0].name.to_text() != asked.question[0].name.to_text():
        yield "another spelling"
    if response.flags & dns.flags.TC:
        yield "TC"
    if response.rcode() == dns.rcode.NOERROR and not response.flags & dns.flags.RA and "forged" not in told:
        yield "no RA"
    if response.edns == -1 and response.rcode() in {dns.rcode.NOERROR, dns.rcode.FORMERR, dns.rcode.NOTIMP}:
        yield "no OPT"


def seen_over_udp(server: Address, asked: dns.message.Message, seconds: float) -> Iterator[str]:
    """By a socket that is not connected."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as endpoint:
        endpoint.settimeout(seconds)
        endpoint.sendto(asked.to_wire(), server)
        try:
            octets, source = endpoint.recvfrom(65535)
        except TimeoutError:
            yield "silence"
            return
        yield from words_for(octets, asked)
        if source != server:
            yield "another port"


def seen_over_tcp(server: Address, asked: dns.message.Message, seconds: float) -> Iterator[str]:
    """On a connection of its own."""
    with TcpClient(server) as client:
        client.socket.settimeout(seconds)
        try:
            client.send(asked)
            octets = client.receive_octets()
        except TimeoutError:
            yield "silence"
            return
        except ConnectionError:
            octets = None
        if octets is None:
            yield "closed"
            return
        yield from words_for(octets, asked)
        if client.is_closed_by_server(seconds=A_MOMENT):
            yield "closed after it"


@pytest.mark.parametrize(("name", "transport"), PLAYED, ids=lambda value: value.replace(" ", "_"))
def test_each_fault_is_played(name: str, transport: str) -> None:
    """The table says what a client sees of it."""
    expected = SEEN_OVER_ONE.get((name, transport)) or SEEN[name]
    seconds = A_MOMENT if expected == "silence" else HANG
    seen = seen_over_udp if transport == "udp" else seen_over_tcp
    with ScriptedUpstream() as upstream:
        FAULTS[name].play(upstream)
        words = set(seen((upstream.host, upstream.port), query("Www.Fault.Test", payload=1232), seconds))
    assert ", ".join(sorted(words)) == ", ".join(sorted(expected.split(", ")))


@pytest.mark.parametrize(
    "name",
    [
        "EDNS answered with FORMERR",
        "EDNS answered with a bare FORMERR",
        "EDNS answered with NOTIMP",
        "EDNS met with silence",
        "EDNS ignored",
    ],
)
def test_without_edns_all_is_well(name: str) -> None:
    """An upstream that knows no EDNS answers who does not use it."""
    with ScriptedUpstream() as upstream, UdpClient((upstream.host, upstream.port)) as client:
        FAULTS[name].play(upstream)
        client.send(query("www.fault.test"))
        response = client.receive()
    assert response is not None
    assert outcome(response) == "first"


def test_one_of_the_pair_is_dropped() -> None:
    """A is answered, AAAA is not, A is."""
    with ScriptedUpstream() as upstream, UdpClient((upstream.host, upstream.port)) as client:
        FAULTS["A answered, AAAA dropped"].play(upstream)
        for qtype, seconds, is_answered in (("A", HANG, True), ("AAAA", A_MOMENT, False), ("A", HANG, True)):
            client.send(query("www.fault.test", qtype))
            assert (client.receive(seconds=seconds) is not None) == is_answered


@pytest.mark.parametrize(("name", "ttl"), [("TTL 0", 0), ("TTL of 2^31", 1 << 31), ("TTL of 2^32 - 1", (1 << 32) - 1)])
def test_extreme_times_to_live(name: str, ttl: int) -> None:
    """As they stand in the message; dnspython would read 0 where the top bit is set."""
    with ScriptedUpstream() as upstream, UdpClient((upstream.host, upstream.port)) as client:
        FAULTS[name].play(upstream)
        client.send(query("www.fault.test"))
        octets = client.receive_octets()
    assert octets is not None
    assert octets.endswith(ttl.to_bytes(4, "big") + b"\0\4" + bytes((192, 0, 2, 1)))


def test_64_kib_are_64_kib() -> None:
    """One more record would not fit."""
    with ScriptedUpstream() as upstream, TcpClient((upstream.host, upstream.port)) as client:
        FAULTS["64 KiB"].play(upstream)
        client.send(query("www.fault.test"))
        octets = client.receive_octets()
    assert octets is not None
    assert len(octets) > 65535 - 300
    assert len(rdatas(dns.message.from_wire(octets))) == MANY


def order_of_answers(upstream: ScriptedUpstream, names: list[str]) -> list[str]:
    """All asked at once on one connection; in which order they are answered."""
    with TcpClient((upstream.host, upstream.port)) as client:
        client.send(*(query(name) for name in names))
        responses = [client.receive() for _ in names]
    return [response.question[0].name.to_text(omit_final_dot=True) for response in responses if response is not None]


def test_answers_overtake_each_other() -> None:
    """The second comes before the first."""
    with ScriptedUpstream() as upstream:
        FAULTS["answers out of order"].play(upstream)
        assert order_of_answers(upstream, ["a.test", "b.test"]) == ["b.test", "a.test"]


def test_a_connection_is_served_one_query_at_a_time() -> None:
    """What is slow holds up those behind it on its connection, and nobody on another."""
    with ScriptedUpstream() as upstream, TcpClient((upstream.host, upstream.port)) as other:
        upstream.is_serial = True
        upstream.default = answer("@ 60 IN A 192.0.2.1")
        upstream.on("slow.test", late(0.3, answer("@ 60 IN A 192.0.2.1")))
        begin = time.monotonic()
        assert order_of_answers(upstream, ["slow.test", "a.test", "b.test"]) == ["slow.test", "a.test", "b.test"]
        assert time.monotonic() - begin >= 0.3
        slow, behind, _ = upstream.received
        assert behind.at - slow.at >= 0.25, "taken up before the one in front was dealt with"
        other.send(query("slow.test"))
        begin = time.monotonic()
        assert order_of_answers(upstream, ["c.test"]) == ["c.test"]
        assert upstream.asked("slow.test")[1].answered_at is None, "answered before the slow one on the other connection"


def test_a_query_is_forwarded_in_a_loop() -> None:
    """It arrives where it is sent to, and what is said there comes back."""
    with ScriptedUpstream() as there, ScriptedUpstream() as upstream, UdpClient((upstream.host, upstream.port)) as client:
        there.default = answer("@ 60 IN A 192.0.2.9")
        FAULTS["loops our query back"].play(upstream)
        upstream.forwards_to = (there.host, there.port)
        client.send(query("LOOP.test"))
        response = client.receive()
        assert response is not None
        assert rdatas(response) == ["192.0.2.9"]
        assert [received.name for received in there.received] == ["LOOP.test."]


def test_connections_are_reset_and_new_ones_work() -> None:
    """As by a process that was killed."""
    with ScriptedUpstream() as upstream:
        upstream.default = answer("@ 60 IN A 192.0.2.1")
        with TcpClient((upstream.host, upstream.port)) as client:
            client.send(query("a.test"))
            assert client.receive() is not None
            upstream.reset_connections()
            with pytest.raises(ConnectionResetError):
                client.socket.recv(1)
        assert order_of_answers(upstream, ["b.test"]) == ["b.test"]


def test_connections_go_silent_and_new_ones_work() -> None:
    """As when the server behind an address was replaced."""
    with ScriptedUpstream() as upstream:
        upstream.default = answer("@ 60 IN A 192.0.2.1")
        with TcpClient((upstream.host, upstream.port)) as client:
            client.send(query("a.test"))
            assert client.receive() is not None
            upstream.freeze_connections()
            client.send_octets(framed(query("c.test")))
            assert not client.is_closed_by_server(seconds=A_MOMENT)
            assert upstream.asked("c.test"), "read, and not answered"
        assert order_of_answers(upstream, ["b.test"]) == ["b.test"]
