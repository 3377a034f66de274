"""The worker as the supervisor runs it: a process of its own, told over the link, asked over real sockets."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dns.rcode
import pytest

from forwarder import config, link
from forwarder.observe import counters
from tests.lab.behaviours import (
    answer,
    by_transport,
    late,
    silent,
    truncate,
)
from tests.lab.clients import HANG, Address, TcpClient, UdpClient, ask, ask_tcp, extended_errors, query, rdatas
from tests.lab.kitchen import counted
from tests.lab.needs import needs_address
from tests.lab.ports import bound_pair
from tests.lab.scripted import ScriptedUpstream

PROJECT = Path(__file__).resolve().parents[1]
NO_SECTIONS: Mapping[str, Any] = MappingProxyType({})
PROGRAM = (sys.executable, "-m", "forwarder.worker")
WATCHED = """
import asyncio, gc, socket, sys
import uvloop
from forwarder import worker

async def watched():
    await worker.serve(to_supervisor)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return [repr(thing)[:200] for thing in gc.garbage]

to_supervisor = socket.socket(fileno=int(sys.argv[1]))
to_supervisor.setblocking(False)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    found = runner.run(watched())
print(len(found), *found[:50], sep="\\n")
"""
"""The worker, which collects no garbage while it serves, asked at the end what there would have been."""


class Place:
    """What outlives a worker: bound sockets, counters and the memory for a snapshot."""

    def __init__(self, host: str, open_until_end: ExitStack) -> None:
        self.udp, self.tcp = map(open_until_end.enter_context, bound_pair(host))
        self.memory = os.memfd_create("counters")
        self.snapshot = os.memfd_create("snapshot")
        for descriptor in (self.memory, self.snapshot):
            open_until_end.callback(os.close, descriptor)
        os.ftruncate(self.memory, counters.SIZE * 8)
        self.server: Address = (host, self.udp.getsockname()[1])
        self.counts = counters.mapped(self.memory)


class Bench:
    """A worker, and the supervisor's end of its link."""

    def __init__(self, program: Sequence[str], place: Place, open_until_end: ExitStack) -> None:
        self._open_until_end = open_until_end
        self._place = place
        self.server, self.counts = place.server, place.counts
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        open_until_end.enter_context(self.ours)
        self.ours.settimeout(HANG)
        with theirs:
            self.process = subprocess.Popen(
                [*program, str(theirs.fileno())],
                pass_fds=(theirs.fileno(), place.udp.fileno(), place.tcp.fileno(), place.memory, place.snapshot),
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        open_until_end.callback(self._end)

    def successor(self) -> "Bench":
        """Another worker for the same sockets and counters."""
        return Bench(PROGRAM, self._place, self._open_until_end)

    def begin(
        self, zones: Sequence[config.Zone], *, pinned: link.Pinned | None = None, sections: Mapping[str, Any] = NO_SECTIONS
    ) -> link.Begin:
        """The first order, for these zones."""
        settings = config.Config(zones=tuple(zones), **sections)
        upstreams = link.Upstreams([link.ZoneUpstreams(zone.zone, list(zone.upstreams)) for zone in zones])
        place, told = self._place, pinned or link.Pinned([])
        udp, tcp = [place.udp.fileno()], [place.tcp.fileno()]
        return link.Begin(config.to_json(settings), udp, tcp, place.memory, told, upstreams, snapshot=place.snapshot)

    def tell(self, order: link.Order) -> None:
        self.ours.send(link.written(order))

    def serve(self, begin: link.Begin) -> None:
        """Have it serve, and wait until it does."""
        self.tell(begin)
        self.tell(link.Open())
        data = self.ours.recv(link.MAX_MESSAGE_SIZE)
        assert data, self.process.communicate()[1]
        report = link.read_report(data)
        assert isinstance(report, link.Serving)
        assert report.pid == self.process.pid

    def left(self) -> int:
        """Its exit status, when it has left by itself."""
        return self.process.wait(HANG)

    def descriptors(self) -> int:
        """How many it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        _, complaints = self.process.communicate()
        sys.stderr.write(complaints)


@contextmanager
def bench(host: str = "127.0.0.1", *, program: Sequence[str] = PROGRAM) -> Iterator[Bench]:
    needs_address(host)
    with ExitStack() as open_until_end:
        yield Bench(program, Place(host, open_until_end), open_until_end)


@contextmanager
def serving(
    transport: str = "udp", *, host: str = "127.0.0.1", sections: Mapping[str, Any] = NO_SECTIONS
) -> Iterator[tuple[Bench, ScriptedUpstream]]:
    """A worker that serves, with one upstream for everything."""
    with ScriptedUpstream() as upstream, bench(host) as at:
        at.serve(at.begin([zone_for(upstream, transport=transport)], sections=sections))
        yield at, upstream


def zone_for(*upstreams: ScriptedUpstream, zone: str = ".", transport: str = "udp") -> config.Zone:
    addresses = tuple(upstream.address for upstream in upstreams)
    return config.Zone(zone=zone, upstreams=addresses, transport=transport)  # type: ignore[arg-type]  # udp or tcp


def pinned(*names: bytes) -> link.Pinned:
    return link.Pinned([link.PinnedRecords(name, 1, 30, [b"\xc6\x33\x64\x07"]) for name in names])


def until(true: Callable[[], object]) -> None:
    """Wait for something that the worker brings about."""
    end = time.monotonic() + HANG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_answers_over_udp_and_tcp_from_upstream_and_from_memory(host: str, transport: str) -> None:
    with serving(transport, host=host) as (at, upstream):
        upstream.on("a.test.", answer("@ 300 IN A 192.0.2.1"))
        for asking in (ask, ask_tcp, ask, ask_tcp, ask):
            response = asking(at.server, query("A.test.", payload=1232))
            assert rdatas(response) == ["192.0.2.1"]
            assert response.question[0].name.to_text() == "A.test."
        assert [received.transport for received in upstream.asked("a.test.")] == [transport]
        family = "ipv6" if ":" in host else "ipv4"
        row = counters.door_row("udp", family) + counters.kind_for(1, counters.UPSTREAM, 0)
        assert at.counts[row] == 1
        assert sum(counted(at.counts).values()) == 5
        assert at.process.poll() is None


def test_pinned_names_are_answered_and_replaced_while_it_serves() -> None:
    with bench() as at, ScriptedUpstream() as upstream:
        upstream.on("*.test.", answer("@ 300 IN A 192.0.2.1"))
        at.serve(at.begin([zone_for(upstream)], pinned=pinned(b"\1a\4test\0")))
        assert rdatas(ask(at.server, query("a.test."))) == ["198.51.100.7"]
        at.tell(pinned(b"\1b\4test\0"))
        until(lambda: rdatas(ask(at.server, query("b.test."))) == ["198.51.100.7"])
        assert rdatas(ask(at.server, query("a.test."))) == ["192.0.2.1"]


def test_a_name_pinned_while_it_was_answered_from_memory_is_pinned_at_once() -> None:
    with serving() as (at, upstream):
        upstream.on("*.test.", answer("@ 300 IN A 192.0.2.1"))
        names = [f"n{number}.test." for number in range(5)]
        queries = [query(name) for name in names]
        for _ in range(3):
            for message in queries:
                assert rdatas(ask(at.server, message)) == ["192.0.2.1"]
        assert counted(at.counts)["udp", "A", "exact", "NOERROR"] > 0
        at.tell(pinned(b"\3new\4test\0", *(b"\2" + name[:2].encode() + b"\4test\0" for name in names)))
        until(lambda: rdatas(ask(at.server, query("new.test."))) == ["198.51.100.7"])
        assert [rdatas(ask(at.server, message)) for message in queries] == [["198.51.100.7"]] * 5


def test_upstreams_are_replaced_while_it_serves() -> None:
    with serving() as (at, upstream), ScriptedUpstream() as successor:
        upstream.on("*.test.", answer("@ 0 IN A 192.0.2.1"))
        successor.on("*.test.", answer("@ 0 IN A 192.0.2.2"))
        assert rdatas(ask(at.server, query("a.test."))) == ["192.0.2.1"]
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [successor.address])]))
        until(lambda: rdatas(ask(at.server, query("b.test."))) == ["192.0.2.2"])
        asked = len(upstream.received)
        for transport in (ask, ask_tcp):
            assert rdatas(transport(at.server, query("c.test."))) == ["192.0.2.2"]
        assert len(upstream.received) == asked
        row = counters.upstream_row(0)
        assert at.counts[row + counters.UP_IN_ROW] == 1


def test_without_upstreams_all_are_refused_with_a_reason_and_pinned_names_are_answered() -> None:
    with serving() as (at, _):
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [])]))
        at.tell(pinned(b"\1p\4test\0"))
        until(lambda: rdatas(ask(at.server, query("p.test."))) == ["198.51.100.7"])
        response = ask(at.server, query("a.test.", payload=1232))
        assert response.rcode() == dns.rcode.SERVFAIL
        assert [code for code, _ in extended_errors(response)] == [22]


@pytest.mark.parametrize("transport", ["udp", "tcp", "udp, then tcp"])
def test_questions_in_progress_when_upstreams_are_replaced_end_where_they_began_and_leave_nothing_open(transport: str) -> None:
    with serving(transport[:3]) as (at, upstream), ScriptedUpstream() as successor, UdpClient(at.server) as client:
        successor.on("*.test.", answer("@ 0 IN A 192.0.2.2"))
        former = answer("@ 0 IN A 192.0.2.1")
        both_legs = by_transport(udp=late(0.2, truncate(answer())), tcp=former)  # well inside the wait of one attempt
        upstream.on("*.test.", both_legs if transport == "udp, then tcp" else late(0.2, former))
        before = at.descriptors()
        for number in range(20):
            client.send(query(f"n{number}.test."))
        until(lambda: len(upstream.received) >= 20)
        at.tell(link.Upstreams([link.ZoneUpstreams(".", [successor.address])]))
        until(lambda: rdatas(ask(at.server, query("b.test."))) == ["192.0.2.2"])
        assert [rdatas(client.receive() or query(".")) for _ in range(20)] == [["192.0.2.1"]] * 20
        until(lambda: upstream.open_connections == 0)
        assert at.descriptors() <= before + 2, "what was opened to the former upstream is closed; one is open to the new one"


def test_the_longest_suffix_is_asked() -> None:
    with ScriptedUpstream() as root, ScriptedUpstream() as inner, bench() as at:
        root.on("*.test.", answer("@ 60 IN A 192.0.2.1"))
        inner.on("*.sub.test.", answer("@ 60 IN A 192.0.2.2"))
        at.serve(at.begin([zone_for(root), zone_for(inner, zone="sub.test")]))
        assert rdatas(ask(at.server, query("a.sub.test."))) == ["192.0.2.2"]
        assert rdatas(ask(at.server, query("a.notsub.test."))) == ["192.0.2.1"]


def test_draining_it_answers_what_it_took_takes_nothing_new_and_leaves() -> None:
    with serving() as (at, upstream), UdpClient(at.server) as by_udp, TcpClient(at.server) as by_tcp:
        upstream.on("*.test.", late(0.2, answer("@ 60 IN A 192.0.2.1")))
        by_udp.send(query("a.test."))
        by_tcp.send(query("b.test."), query("c.test."))
        until(lambda: len(upstream.received) == 3)
        at.tell(link.Drain())
        for response in (by_udp.receive(), by_tcp.receive(), by_tcp.receive()):
            assert response is not None
            assert rdatas(response) == ["192.0.2.1"]
        assert by_tcp.is_closed_by_server()
        assert at.left() == 0
        assert at.counts[counters.IN_PROGRESS] == at.counts[counters.TCP_CONNECTIONS] == 0


def test_what_comes_after_the_draining_waits_for_the_successor() -> None:
    with serving() as (at, upstream), UdpClient(at.server) as client:
        upstream.on("*.test.", answer("@ 60 IN A 192.0.2.1"))
        at.tell(link.Drain())
        assert at.left() == 0, "nothing is in progress"
        client.send(query("a.test."))
        assert client.receive(seconds=0.01) is None
        successor = at.successor()
        successor.serve(successor.begin([zone_for(upstream)]))
        response = client.receive()
    assert response is not None
    assert rdatas(response) == ["192.0.2.1"]


@pytest.mark.parametrize("is_serving", [True, False])
def test_it_leaves_when_the_supervisor_is_gone(*, is_serving: bool) -> None:
    with bench() as at, ScriptedUpstream() as upstream:
        if is_serving:
            at.serve(at.begin([zone_for(upstream)]))
            upstream.default = silent
            with UdpClient(at.server) as client:
                client.send(query("a.test."))
                until(lambda: upstream.received)
        at.ours.close()
        assert at.left() == 0


def broken(begin: link.Begin) -> dict[str, bytes]:
    """First orders that no worker can do anything with."""
    written = link.written(begin)
    return {
        "nothing of ours": b"\xff\xfe not msgpack",
        "cut": written[: len(written) // 2],
        "not Begin": link.written(link.Drain()),
        "configuration": link.written(link.Begin(b'{"zones": 3}', [], [], begin.counters, begin.pinned, begin.upstreams)),
        "zones that do not match": link.written(
            link.Begin(begin.config, begin.udp, begin.tcp, begin.counters, begin.pinned, link.Upstreams([]))
        ),
    }


@pytest.mark.parametrize("kind", ["nothing of ours", "cut", "not Begin", "configuration", "zones that do not match"])
def test_an_unreadable_first_order_ends_it_with_a_status(kind: str) -> None:
    with bench() as at, ScriptedUpstream() as upstream:
        at.ours.send(broken(at.begin([zone_for(upstream)]))[kind])
        assert at.left() > 0
        assert at.ours.recv(link.MAX_MESSAGE_SIZE) == b"", "it never said that it serves"


def test_an_unreadable_later_order_or_a_second_begin_ends_it_with_a_status() -> None:
    for order in (b"\xc1", None):
        with bench() as at, ScriptedUpstream() as upstream:
            begin = at.begin([zone_for(upstream)])
            at.serve(begin)
            at.ours.send(order or link.written(begin))
            assert at.left() > 0


def test_gauges_tell_what_it_holds() -> None:
    with serving() as (at, upstream):
        upstream.on("a.test.", answer("@ 60 IN A 192.0.2.1"))
        upstream.on("late.test.", silent)
        for _ in range(2):
            ask(at.server, query("a.test."))
        with TcpClient(at.server) as client, TcpClient(at.server) as other:
            client.send(query("late.test."))
            other.send(query("late.test."))
            until(lambda: at.counts[counters.IN_PROGRESS] == 1)
            assert at.counts[counters.TCP_CONNECTIONS] == 2
            assert at.counts[counters.COALESCED] == 1
            assert at.counts[counters.CACHE_ENTRIES_AT + counters.CACHE_KINDS.index("positive")] == 1
            assert at.counts[counters.CACHE_BYTES] > 0


def test_the_configured_clients_alone_are_answered() -> None:
    with serving(sections={"listen": config.Listen(allow=("192.0.2.0/24",))}) as (at, upstream), UdpClient(at.server) as client:
        client.send(query("a.test."))
        response = ask_tcp(at.server, query("a.test.", payload=1232))
        assert (response.rcode(), [code for code, _ in extended_errors(response)]) == (dns.rcode.REFUSED, [18])
        until(lambda: at.counts[counters.REFUSED_CLIENTS] == 2)
        assert client.receive(seconds=0.01) is None
        assert not upstream.received
