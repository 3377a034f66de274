"""The program that answers: builds the rooms from the configuration, opens the doors, drains when told.

    python -m forwarder.worker LINK

LINK is the descriptor of the supervisor's socket pair; all else comes over it. Reads no file, holds no privilege. Always
holds: doors open only when everything behind them stands; when the supervisor is gone, so is the worker.
"""

import asyncio
import contextlib
import functools
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping

import msgspec
import uvloop

from forwarder import config as settings
from forwarder import link
from forwarder.cache.answers import AnswerCache
from forwarder.cache.exact import ExactCache
from forwarder.cache.lifetime import Limits
from forwarder.cache.pinned import PinnedNames
from forwarder.cache.snapshot import Conditions
from forwarder.observe import counters
from forwarder.serving.allow import AllowedClients
from forwarder.serving.answering import Answering, Memory, Terms
from forwarder.serving.coalescing import Coalescing
from forwarder.serving.tcp import Admission, TcpDoor
from forwarder.serving.udp import UdpDoor
from forwarder.snapshotting import Snapshots
from forwarder.upstream.network import Network, address_for
from forwarder.upstream.readiness import Readiness
from forwarder.upstream.selection import Upstream
from forwarder.upstream.stream import StreamUpstream
from forwarder.upstream.tally import Tally
from forwarder.upstream.turn import Turn
from forwarder.upstream.udp import UdpUpstream
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import TICK, Timers
from forwarder.upstream.zones import Zone, Zones
from forwarder.wire.names import ROOT, name_from_text

clock = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds of a clock that also runs while the host sleeps: a resumed VM must not serve yesterday's answers as fresh."""
EXACT_SHARE = 4
"""The exact cache may take one part in so many of `cache.memory`: it holds what was asked within a second, twice over."""
GAUGES_EVERY = 1.0
"""Seconds between two writings of what is a state and not an event: cache sizes, questions in progress."""
DRAIN_GRACE = 0.2
"""Seconds for TCP clients to take their last responses after the deadline of the last question."""
HEAD_START = 0.1
"""Seconds for the snapshot before the doors open: 10,000 answers, and nobody notices. What is left is put back beside the
answering."""
DESCRIPTORS_BESIDE = 256
"""Descriptors beyond those of clients and questions: doors, upstream connections, idle sockets."""


class Worker:
    """One process that answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: link.Begin) -> None:
        self._loop = loop
        self._config = settings.from_json(begin.config)
        self._counts = counters.mapped(begin.counters)
        turn = Turn(clock)
        self._network = Network(Readiness(turn), Timers(), turn, Unpredictable())
        memory = self._config.cache.memory
        exact_budget = memory // EXACT_SHARE
        self._memory = Memory(ExactCache(exact_budget), PinnedNames(), AnswerCache(memory - exact_budget))
        self._coalescing = Coalescing(self._config.answering.max_in_progress)
        self._upstreams: list[StreamUpstream | UdpUpstream] = []
        limits = {
            number: Limits(int(zone.max_ttl), int(zone.max_negative_ttl)) for number, zone in enumerate(self._config.zones)
        }
        self.snapshots = Snapshots(begin.snapshot, self._memory.answers, _conditions_for(self._config, limits), clock)
        terms = Terms(self._config.answering.deadline, self._config.listen.max_udp_size, limits)
        zones = self._zones_for(begin.upstreams)
        self._answering = Answering(self._memory, self._coalescing, zones, terms, self._counts, turn)
        self.pin(begin.pinned)
        self._udp = [socket.socket(fileno=descriptor) for descriptor in begin.udp]
        self._tcp = [socket.socket(fileno=descriptor) for descriptor in begin.tcp]
        self._tcp_doors: list[TcpDoor] = []
        self._is_ticking = False

    def open(self) -> None:
        """Open the doors."""
        self._loop.add_reader(self._network.readiness.fileno(), self._network.readiness.serve)
        self._network.timers.on_first = self._start_ticking
        listen = self._config.listen
        allowed = AllowedClients(settings.allowed_networks(self._config))
        turn = self._network.turn
        for endpoint in self._udp:
            door = UdpDoor(endpoint, self._answering, allowed, turn, _row("udp", endpoint), listen.max_udp_size)
            self._loop.add_reader(endpoint.fileno(), door.on_readable)
        admission = Admission(allowed, listen.max_tcp_connections, listen.tcp_idle_timeout)
        for listener in self._tcp:
            row = _row("tcp", listener)
            self._tcp_doors.append(TcpDoor(self._loop, listener, self._answering, turn, row, admission))
        self._write_gauges()

    def pin(self, pinned: link.Pinned) -> None:
        """Pin these names and no others."""
        self._memory.pinned.replace((entry.name, entry.qtype, entry.ttl, entry.rdatas) for entry in pinned.records)
        self._memory.exact.clear()

    def ask_these(self, upstreams: link.Upstreams) -> None:
        """Forward to these upstreams from now on; questions in progress end where they began."""
        former, self._upstreams = self._upstreams, []
        self._answering.zones = self._zones_for(upstreams)
        for upstream in former:
            upstream.close()

    async def drain(self) -> None:
        """Take nothing new, and return when what was taken is answered and sent, or its clients have given up."""
        for endpoint in self._udp:
            self._loop.remove_reader(endpoint.fileno())
        for door in self._tcp_doors:
            door.close()
        until = clock() + self._config.answering.deadline + DRAIN_GRACE
        while (self._coalescing or not all(door.is_idle for door in self._tcp_doors)) and clock() < until:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(TICK)
        self._write_gauges()

    def _zones_for(self, upstreams: link.Upstreams) -> Zones:
        """The zones as configured, each with its upstreams; one server over one transport is one upstream in all of them."""
        rows = {name: number for number, name in enumerate(upstreams.names())}
        known: dict[tuple[str, str, str, bool], Upstream] = {}
        by_name: dict[bytes, Zone] = {}
        for number, (zone, told) in enumerate(zip(self._config.zones, upstreams.zones, strict=True)):
            tallies = [Tally(self._counts, rows[address], self._network.turn) for address in told.addresses]
            servers = []
            for address, tally in zip(told.addresses, tallies, strict=True):
                tally.is_up(up=True)
                key = (address, zone.transport, zone.case_randomisation, zone.trust_ad)
                if key not in known:
                    known[key] = self._upstream_for(address, zone, tally)
                servers.append(known[key])
            by_name[name_from_text(zone.zone)] = Zone(number, servers, tallies, self._network.turn, trust_ad=zone.trust_ad)
        return Zones(by_name, by_name.get(ROOT) or Zone(-1, [], [], self._network.turn, trust_ad=False))

    def _upstream_for(self, address: str, zone: settings.Zone, tally: Tally) -> Upstream:
        target = address_for(*settings.split_address(address))
        stream = StreamUpstream(target, self._network, tally, wants_ad=zone.trust_ad)
        self._upstreams.append(stream)
        if zone.transport == "tcp":
            return stream
        udp = UdpUpstream(
            target, self._network, tally, stream, case_randomisation=zone.case_randomisation, wants_ad=zone.trust_ad
        )
        self._upstreams.append(udp)
        return udp

    def _start_ticking(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        """Look at what is due, for as long as anything is."""
        try:
            self._network.timers.sweep(self._network.turn.begin())
            self._network.turn.end()
        finally:
            self._is_ticking = bool(self._network.timers)
            if self._is_ticking:
                self._loop.call_later(TICK, self._tick)

    def _write_gauges(self) -> None:
        counts, memory = self._counts, self._memory
        kinds = counters.CACHE_ENTRIES_AT
        counts[kinds + counters.CACHE_KINDS.index("exact")] = len(memory.exact)
        counts[kinds + counters.CACHE_KINDS.index("positive")] = memory.answers.positive
        counts[kinds + counters.CACHE_KINDS.index("negative")] = len(memory.answers) - memory.answers.positive
        counts[counters.CACHE_BYTES] = memory.answers.used + memory.exact.used
        counts[counters.IN_PROGRESS] = len(self._coalescing)
        counts[counters.CACHE_EVICTIONS] += memory.answers.take_evictions()
        counts[counters.COALESCED] += self._coalescing.take_coalesced()
        self._loop.call_later(GAUGES_EVERY, self._write_gauges)


def _conditions_for(config: settings.Config, limits: Mapping[int, Limits]) -> dict[bytes, Conditions]:
    """What each zone says about answers that come back from a snapshot, by name; `limits` by its place."""
    return {
        name_from_text(zone.zone): Conditions(limits[number], zone.maximum_stale_timer, zone.trust_ad)
        for number, zone in enumerate(config.zones)
    }


def _row(transport: str, endpoint: socket.socket) -> int:
    return counters.door_row(transport, "ipv6" if endpoint.family == socket.AF_INET6 else "ipv4")


async def serve(to_supervisor: socket.socket) -> None:
    """Serve until the supervisor says that it is enough, or is gone."""
    loop = asyncio.get_running_loop()
    first = await _heard(to_supervisor)
    if not first:
        return
    begin = link.read_order(first)
    if not isinstance(begin, link.Begin):
        raise msgspec.ValidationError("the first order must be Begin")
    _raise_descriptor_limit(settings.from_json(begin.config))
    worker = Worker(loop, begin)
    if begin.restore:
        worker.snapshots.begin_reading(begin.restore, HEAD_START)
    worker.open()
    _spare_the_collector()
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(to_supervisor, link.written(link.Serving(os.getpid())))
    if begin.restore:
        worker.snapshots.go_on_reading(to_supervisor)
    while data := await _heard(to_supervisor):
        match link.read_order(data):
            case link.Pinned() as pinned:
                worker.pin(pinned)
            case link.Upstreams() as upstreams:
                worker.ask_these(upstreams)
            case link.Restore() as order:
                worker.snapshots.begin_reading(order.size, 0.0)
                worker.snapshots.go_on_reading(to_supervisor)
            case link.Snapshot():
                worker.snapshots.write(to_supervisor)
            case link.Drain():
                await asyncio.gather(worker.drain(), worker.snapshots.settle())
                return
            case link.Begin():
                raise msgspec.ValidationError("a second Begin")


async def _heard(to_supervisor: socket.socket) -> bytes:
    """The next order; empty when the supervisor is gone, whether it had read all that we said or not."""
    try:
        return await asyncio.get_running_loop().sock_recv(to_supervisor, link.MAX_MESSAGE_SIZE)
    except ConnectionError:
        return b""


def _raise_descriptor_limit(config: settings.Config) -> None:
    """As many descriptors as clients and questions may need, or as many as we may have."""
    wanted = config.listen.max_tcp_connections + config.answering.max_in_progress + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _spare_the_collector() -> None:
    """No pauses: the data path makes no cycles (a test counts them), so reference counting frees everything at once."""
    gc.collect()
    gc.freeze()
    gc.disable()


def main() -> int:
    """The program: one argument, the descriptor of the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    to_supervisor = socket.socket(fileno=int(sys.argv[1]))
    to_supervisor.setblocking(False)  # noqa: FBT003 - the method's name says what is false
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(to_supervisor))
    return 0


if __name__ == "__main__":
    sys.exit(main())
