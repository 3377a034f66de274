"""Every client is answered before it gives up, whatever the upstream does, and exactly once.

c-ares gives up after 2 s, glibc and musl after 5 s; the daemon's deadline is 1.8 s. The bound asserted here is wider, for
machines that are busy otherwise.
"""

import socket
import struct
import time

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.lab.behaviours import answer, in_turn, late, refusal, silent, truncate
from tests.lab.clients import TcpClient, UdpClient, extended_errors, query, rdatas
from tests.lab.daemon import Daemon
from tests.lab.needs import needs_root
from tests.lab.ports import free_port
from tests.lab.scripted import ScriptedUpstream
from tests.lab.stage import Stage, staged

DEADLINE_WITH_MARGIN = 2.6  # seconds
CACHED_ERROR, NO_REACHABLE_AUTHORITY, NETWORK_ERROR = 13, 22, 23  # EDE
MOST_QUERIES_TO_ONE_UPSTREAM = 3  # RFC 9520 section 3.1


def assert_unreachable(response: dns.message.Message | None) -> None:
    """SERVFAIL that says why, if the client can read it."""
    assert response is not None
    assert response.rcode() == dns.rcode.SERVFAIL
    assert response.flags & dns.flags.RA
    if response.edns == 0:
        codes = [code for code, _ in extended_errors(response)]
        assert set(codes) & {NO_REACHABLE_AUTHORITY, NETWORK_ERROR}
    else:
        assert response.edns == -1


def test_a_silent_upstream() -> None:
    """SERVFAIL in time over UDP with and without EDNS and over TCP; at most three queries for one question."""
    with staged() as stage, UdpClient(stage.server) as datagrams, TcpClient(stage.server) as stream:
        stage.upstream.default = silent
        begin = time.monotonic()
        datagrams.send(query("edns.silent.test", payload=1232))
        datagrams.send(query("plain.silent.test"))
        stream.send(query("stream.silent.test", payload=1232))
        for response in (datagrams.receive(), datagrams.receive(), stream.receive()):
            assert_unreachable(response)
        assert time.monotonic() - begin < DEADLINE_WITH_MARGIN
        for name in ("edns", "plain", "stream"):
            asked = stage.upstream.asked(f"{name}.silent.test")
            for transport in ("udp", "tcp"):
                assert sum(one.transport == transport for one in asked) <= MOST_QUERIES_TO_ONE_UPSTREAM
            assert asked
        assert stage.daemon.metric("forwarder_deadline_missed_total") == 0


def test_one_half_of_the_pair_is_lost() -> None:
    """A is answered, AAAA never: both halves reach the client in time, or glibc latches into single-request."""
    with staged() as stage, UdpClient(stage.server) as client:
        stage.upstream.on("half.deadline.test", answer("@ 300 IN A 192.0.2.1"), qtype="A")
        stage.upstream.on("half.deadline.test", silent, qtype="AAAA")
        begin = time.monotonic()
        client.send(query("half.deadline.test", "A"))
        client.send(query("half.deadline.test", "AAAA"))
        first, second = client.receive(), client.receive()
        assert time.monotonic() - begin < DEADLINE_WITH_MARGIN
        assert first is not None
        assert rdatas(first) == ["192.0.2.1"]
        assert_unreachable(second)


def test_a_response_past_the_deadline_is_not_sent_late() -> None:
    """One SERVFAIL; what the upstream says afterwards never reaches a client that may have reused its port."""
    with staged() as stage, UdpClient(stage.server) as client:
        stage.upstream.default = late(2.3, answer("@ 300 IN A 192.0.2.1"))
        client.send(query("late.deadline.test", payload=1232))
        assert_unreachable(client.receive())
        assert client.receive(seconds=1.5) is None


def test_a_lost_query_is_sent_again() -> None:
    """The first is lost on the way: the client still gets its answer, not SERVFAIL."""
    with staged() as stage:
        stage.upstream.default = in_turn(silent, answer("@ 300 IN A 192.0.2.1"))
        assert rdatas(stage.ask("lost.deadline.test")) == ["192.0.2.1"]
        first, second = stage.upstream.asked("lost.deadline.test")
        assert first.port != second.port, "a socket is closed after a time-out"
        assert first.message.id != second.message.id or first.name != second.name


def test_no_upstream_listens() -> None:
    """The port is closed and the kernel says so: SERVFAIL, and the reason."""
    port = free_port()
    with Daemon(f"zones: [{{zone: ., upstreams: ['127.0.0.1:{port}']}}]") as daemon, UdpClient(daemon.server) as client:
        client.send(query("closed.deadline.test", payload=1232))
        assert_unreachable(client.receive())


@pytest.mark.parametrize("rcode", ["REFUSED", "NOTIMP", "FORMERR"])
def test_other_errors_leave_as_servfail_with_the_original_in_words(rcode: str) -> None:
    """A glibc client walks on through its search list only after SERVFAIL; the operator finds the RCODE in the EDE text."""
    with staged() as stage:
        stage.upstream.default = refusal(rcode)
        response = stage.ask("error.deadline.test", payload=1232)
        assert response.rcode() == dns.rcode.SERVFAIL
        assert any(rcode in text for _, text in extended_errors(response)), extended_errors(response)
        assert stage.ask("error.deadline.test").edns == -1


def test_a_failure_ends() -> None:
    """The upstream is asked again, and its good answer is passed on."""
    with staged() as stage:
        stage.upstream.default = refusal("SERVFAIL")
        assert stage.ask("mended.deadline.test").rcode() == dns.rcode.SERVFAIL
        stage.upstream.default = answer("@ 300 IN A 192.0.2.1")
        until = time.monotonic() + 10
        while not rdatas(stage.ask("mended.deadline.test")) and time.monotonic() < until:
            time.sleep(0.05)
        assert rdatas(stage.ask("mended.deadline.test")) == ["192.0.2.1"]


def test_the_next_upstream() -> None:
    """A closed port, SERVFAIL, REFUSED, an error without question, silence, an endless TC=1: the second one answers."""
    bad = {
        "servfail": refusal("SERVFAIL"),
        "refused": refusal("REFUSED"),
        "bare": refusal("SERVFAIL", with_question=False),
        "silent": silent,
    }
    with ScriptedUpstream() as first, ScriptedUpstream() as second:
        second.default = answer("@ 300 IN A 192.0.2.2")
        for name, behaviour in bad.items():
            first.on(f"*.{name}.test", behaviour)
        closed = f"127.0.0.1:{free_port()}"
        zones = f"""
            zones:
              - {{zone: closed.test, upstreams: ['{closed}', '{second.address}']}}
              - {{zone: ., upstreams: ['{first.address}', '{second.address}']}}
        """
        with Daemon(zones) as daemon:
            stage = Stage(daemon, first)
            for name in ("closed", *bad):
                assert rdatas(stage.ask(f"www.{name}.test")) == ["192.0.2.2"], name
            assert {received.name.lower() for received in first.received} == {f"www.{name}.test." for name in bad}


def test_the_first_upstream_is_asked_first() -> None:
    """Written order: internal and public servers stand side by side in resolv.conf; NXDOMAIN of the first is final."""
    with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.default = answer(authority=["test. 60 IN SOA ns.test. host.test. 1 60 60 60 60"], rcode="NXDOMAIN")
        second.default = answer("@ 300 IN A 192.0.2.2")
        with Daemon(f"zones: [{{zone: ., upstreams: ['{first.address}', '{second.address}']}}]") as daemon:
            stage = Stage(daemon, first)
            for number in range(10):
                assert stage.ask(f"n{number}.order.test").rcode() == dns.rcode.NXDOMAIN
        assert len(first.received) == 10
        assert second.received == []


def test_the_longest_suffix_wins() -> None:
    """Zones are matched by whole labels, in any case."""
    with ScriptedUpstream() as outer, ScriptedUpstream() as inner:
        outer.default = answer("@ 300 IN A 192.0.2.1")
        inner.default = answer("@ 300 IN A 192.0.2.2")
        zones = f"""
            zones:
              - {{zone: ., upstreams: ['{outer.address}']}}
              - {{zone: Inner.Test, upstreams: ['{inner.address}']}}
        """
        with Daemon(zones) as daemon:
            stage = Stage(daemon, outer)
            for name in ("inner.test", "www.INNER.test", "a.b.c.inner.test"):
                assert rdatas(stage.ask(name)) == ["192.0.2.2"], name
            for name in ("test", "winner.test", "inner.test.example"):
                assert rdatas(stage.ask(name)) == ["192.0.2.1"], name


def test_truncation_without_end() -> None:
    """TC=1 over UDP and over TCP: an answer or SERVFAIL in time, not a circle."""
    with staged() as stage:
        stage.upstream.default = truncate(answer())
        response = stage.ask("tc.deadline.test")
        assert rdatas(response) == []
        assert len(stage.upstream.received) <= 2 * MOST_QUERIES_TO_ONE_UPSTREAM


def test_more_questions_than_may_be_in_progress() -> None:
    """Above `max_in_progress` SERVFAIL at once; everybody is answered, and the upstream sees no flood."""
    with staged("answering: {max_in_progress: 5}") as stage, UdpClient(stage.server) as client:
        stage.upstream.default = silent
        for number in range(40):
            client.send(query(f"n{number}.flood.test"))
        for _ in range(40):
            response = client.receive()
            assert response is not None
            assert response.rcode() == dns.rcode.SERVFAIL
        names = {received.name.lower() for received in stage.upstream.received}
        assert len(names - {"."}) <= 5, "what is silent is probed beside them"


# --- what is no query ------------------------------------------------------------------------------------------------


def test_what_is_no_query_gets_no_answer(stage: Stage) -> None:
    """Responses and datagrams shorter than a header: silence, or two servers could talk to each other for ever."""
    stage.upstream.on("after.deadline.test", answer("@ 300 IN A 192.0.2.1"))
    wire = query("response.deadline.test").to_wire()
    with UdpClient(stage.server) as client:
        for length in range(12):
            client.send(wire[:length])
        for rcode in range(6):
            client.send(wire[:2] + bytes((wire[2] | 0x80, rcode)) + wire[4:])
        client.send(b"\xff" * 12)
        client.send(query("after.deadline.test"))
        response = client.receive()
        assert response is not None
        assert rdatas(response) == ["192.0.2.1"]
        assert client.receive(seconds=0.3) is None
    assert stage.upstream.asked("response.deadline.test") == []


def test_noise_is_survived(stage: Stage) -> None:
    """A query cut off at each octet, and with octets behind it: FORMERR or silence, then the next is answered as ever."""
    stage.upstream.on("whole.deadline.test", answer("@ 300 IN A 192.0.2.1"))
    wire = query("noise.deadline.test", payload=1232).to_wire()
    with UdpClient(stage.server) as client:
        for length in range(12, len(wire)):
            client.send(wire[:length])
        client.send(wire[:12] + b"\xc0\x0c\x00\x01\x00\x01")
        client.send(wire[:12] + b"\x40" + wire[13:])
        client.send(wire[:12] + b"\x3fa" * 600)
        while (octets := client.receive_octets(seconds=0.3)) is not None:
            assert octets[:2] == wire[:2]
            assert octets[3] & 15 == dns.rcode.FORMERR
    assert rdatas(stage.ask("whole.deadline.test")) == ["192.0.2.1"]
    assert stage.upstream.asked("noise.deadline.test") == []
    assert stage.daemon.metric("forwarder_workers_restarted_total") == 0


def test_a_query_from_port_zero(stage: Stage) -> None:
    """Nobody can be answered there; nobody is asked, and the next query is answered as ever."""
    needs_root()
    stage.upstream.on("*.deadline.test", answer("@ 300 IN A 192.0.2.1"))
    payload = query("zero.deadline.test").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        datagram = struct.pack("!HHHH", 0, stage.server[1], 8 + len(payload), 0) + payload
        raw.sendto(datagram, (stage.server[0], 0))
    assert rdatas(stage.ask("next.deadline.test")) == ["192.0.2.1"]
    assert stage.upstream.asked("zero.deadline.test") == []
    assert stage.daemon.metric("forwarder_workers_restarted_total") == 0
