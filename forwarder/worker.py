"""The program that answers: builds the rooms from the configuration, opens the doors, drains when told.

    python -m forwarder.worker LINK

LINK is the descriptor of the supervisor's socket pair; all else comes over it. Reads no file, holds no privilege. Always
holds: doors open only when everything behind them stands; what it counts, it alone counts; it answers for its share of the
names, and may be asked for others.
"""

import asyncio
import contextlib
import functools
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop

from forwarder import collecting, fence, link, terminal
from forwarder import config as settings
from forwarder.control.place import adopted_place
from forwarder.observe import counters
from forwarder.orphan import Orphan
from forwarder.serving.allow import AllowedClients
from forwarder.serving.answering import Answering
from forwarder.serving.coalescing import Coalescing
from forwarder.serving.flushing import Flushing, Scope
from forwarder.serving.responding import Responding
from forwarder.serving.tcp import Admission, TcpDoor
from forwarder.serving.udp import UdpDoor
from forwarder.snapshotting import Share, Snapshots
from forwarder.terms import conditions_for, memory_for, noting_for, terms_for
from forwarder.upstream.network import Network, address_for
from forwarder.upstream.probing import Probing
from forwarder.upstream.readiness import Readiness
from forwarder.upstream.servers import Server, Upstream
from forwarder.upstream.stream import StreamUpstream
from forwarder.upstream.tally import Tally
from forwarder.upstream.tls import ServerIdentity, context_for
from forwarder.upstream.turn import Turn
from forwarder.upstream.udp import MAX_SOCKETS_IN_ALL, UdpUpstream
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import TICK, Timers
from forwarder.upstream.zones import Zone, Zones
from forwarder.wire.names import ROOT, name_from_text

clock = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds of a clock that also runs while the host sleeps: a resumed VM must not serve yesterday's answers as fresh."""
TIDY_EVERY = 1.0
"""Seconds until what is over is let go of again, and what is a state and not an event is written: cache sizes, questions in
progress."""
DRAIN_GRACE = 0.2
"""Seconds for TCP clients to take their last responses after the deadline of the last question."""
HEAD_START = 0.1
"""Seconds for the snapshot before the doors open: 10,000 answers, and nobody notices. What is left is put back beside the
answering."""
DESCRIPTORS_BESIDE = 256
"""Descriptors beyond those of clients and questions: doors, upstream connections, idle sockets."""

Served = tuple[str, str, str, bool, str | None]
"""What makes a server one in all zones: address, transport, case randomisation, whether its AD is trusted, its `ca_file`."""


class Worker:
    """One process that answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: link.Begin, clock: Callable[[], float] = clock) -> None:
        self._loop = loop
        self._config = settings.from_json(begin.config)
        self._counters = begin.counters
        self._counts = counters.mapped(begin.counters)
        turn = Turn(clock)
        self._network = Network(Readiness(turn), Timers(), turn, Unpredictable())
        self._memory = memory_for(self._config.cache)
        self._workers = begin.workers
        self._coalescing = Coalescing(-(-self._config.answering.max_in_progress // begin.workers))
        self._servers: dict[Served, Server] = {}
        self._probing = Probing(self._network)
        self._search, self._rows = begin.upstreams.search, begin.upstreams.rows
        self._trust = {ca_file: context_for(_content(memory)) for ca_file, memory in begin.authorities.items()}
        zones = self._zones_for(begin.upstreams)
        terms = terms_for(self._config)
        conditions = conditions_for(self._config, terms.limits)
        share = Share(begin.number, begin.workers)
        self.snapshots = Snapshots(
            begin.snapshot, self._memory.answers, conditions, share, clock, self._deny_in_search_path
        )  # fmt: skip
        self._noting = noting_for(self._config.observe, begin.notes, turn, self._counts)
        responding = Responding(terms, self._counts, turn, self._noting)
        self._answering = Answering(self._memory, self._coalescing, zones, responding, self._probing, self._network.timers)
        self.pin(begin.pinned)
        self._udp = [socket.socket(fileno=descriptor) for descriptor in begin.udp]
        self._tcp = [socket.socket(fileno=descriptor) for descriptor in begin.tcp]
        self._tcp_doors: list[TcpDoor] = []
        self.is_open = False
        self._is_ticking = False
        self._floods = collecting.Floods()
        self._flushing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Open the doors."""
        self.is_open = True
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
        self._tidy()
        turn.begin()
        self._probing.begin()
        turn.end()

    def pin(self, pinned: link.Pinned) -> None:
        """Pin these names and no others."""
        self._memory.pinned.replace((entry.name, entry.qtype, entry.ttl, entry.rdatas) for entry in pinned.records)
        self._memory.exact.clear()
        self._deny_in_search_path()

    def ask_these(self, upstreams: link.Upstreams) -> None:
        """Forward to these upstreams from now on; questions in progress end where they began."""
        self._network.turn.begin()
        self._answering.zones = self._zones_for(upstreams)
        self._memory.failures.clear()
        self._search, self._rows = upstreams.search, upstreams.rows
        self._deny_in_search_path()
        self._probing.begin()
        self._network.turn.end()

    def flush(self, order: link.Flush, to_supervisor: socket.socket) -> None:
        """Forget what is known of a name, beside the answering, and report."""
        task = self._loop.create_task(self._flush(order, to_supervisor))
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)

    async def _flush(self, order: link.Flush, to_supervisor: socket.socket) -> None:
        await self.snapshots.settle_reading()  # what it puts back may be what is to be forgotten
        flushing = Flushing(self._memory, self._coalescing, Scope(order.name, order.is_suffix))
        for seconds in flushing.steps():
            await asyncio.sleep(seconds)
        with contextlib.suppress(ConnectionError):
            await self._loop.sock_sendall(to_supervisor, link.written(link.Flushed(order.number, flushing.entries)))

    def close(self) -> None:
        """Take nothing new."""
        for endpoint in self._udp:
            self._loop.remove_reader(endpoint.fileno())
        for door in self._tcp_doors:
            door.close()

    async def drain(self) -> None:
        """Take nothing new, and return when what was taken is answered and sent, or its clients have given up."""
        self.close()
        clock = self._network.turn.clock
        until = clock() + self._config.answering.deadline + DRAIN_GRACE
        while (self._coalescing or not all(door.is_idle for door in self._tcp_doors)) and clock() < until:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(TICK)
        self._write_gauges()
        if self._noting is not None:
            self._noting.write()

    async def leave(self) -> None:
        """Drain, and end writing the answers where that was begun."""
        await asyncio.gather(self.drain(), self.snapshots.settle())

    async def orphaned(self, estate: link.Estate) -> None:
        """The supervisor is gone: serve on until another takes over, or nobody came."""
        listener = socket.socket(fileno=estate.control)
        place = adopted_place((estate.control_path,), listener, made_directory=estate.made_directory)
        if place is not None:
            place.is_ours = True
            await Orphan(estate, place, self._counters, self._rows, self.snapshots.part).serve()

    def _deny_in_search_path(self) -> None:
        """Look for cuts inside the search domains, as they are now, and begin anew."""
        config = self._config
        domains = set(config.search.domains)
        if config.cluster_domain is None:
            domains.update(self._search)
        cluster_domain = None if config.cluster_domain is None else name_from_text(config.cluster_domain)
        zones = (name_from_text(zone.zone) for zone in config.zones)
        if config.search.nxdomain_cut:
            denial, now = self._memory.denial, self._network.turn.clock()
            denial.search_in(cluster_domain, map(name_from_text, domains), (*zones, *self._memory.pinned.names))
            denial.learn_found(self._memory.answers.found(now), now)

    def _zones_for(self, upstreams: link.Upstreams) -> Zones:
        """The zones as configured, each with its upstreams; one server over one transport is one in all of them."""
        rows = upstreams.row_numbers()
        known: dict[Served, Server] = {}
        by_name: dict[bytes, Zone] = {}
        for server in self._servers.values():
            server.zones.clear()
        for number, (zone, told) in enumerate(zip(self._config.zones, upstreams.zones, strict=True)):
            servers = []
            for address in told.addresses:
                key: Served = (address, zone.transport, zone.case_randomisation, zone.trust_ad, zone.ca_file)
                if key not in known:
                    known[key] = self._servers.get(key) or self._server_for(address, zone, rows[address])
                servers.append(known[key])
                self._probing.watch(known[key], name_from_text(zone.zone))
            is_equal = zone.policy == "equal"
            by_name[name_from_text(zone.zone)] = Zone(number, servers, self._network, trust_ad=zone.trust_ad, is_equal=is_equal)
        for key, server in self._servers.items():
            if key not in known:
                server.leave()
        self._servers = known
        return Zones(by_name, by_name.get(ROOT) or Zone(-1, [], self._network))

    def _server_for(self, address: str, zone: settings.Zone, row: int) -> Server:
        target, turn = address_for(*settings.split_address(address)), self._network.turn
        tally, wants_ad = Tally(self._counts, row, turn), zone.trust_ad
        if zone.transport == "tls":
            identity = ServerIdentity(self._trust[zone.ca_file or ""], target, settings.server_name(address))
            legs: tuple[Upstream, ...] = (StreamUpstream(target, self._network, tally, wants_ad=wants_ad, identity=identity),)
        else:
            stream = StreamUpstream(target, self._network, tally, wants_ad=wants_ad)
            udp = UdpUpstream(target, self._network, tally, case_randomisation=zone.case_randomisation, wants_ad=wants_ad)
            legs = (stream, udp) if zone.transport == "tcp" else (udp, stream)
        return Server(legs[0].name, legs, tally, turn.now, 1 / self._workers)

    def _start_ticking(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        """Look at what is due, for as long as anything is; at once again where more is due than was looked at."""
        is_behind = False
        try:
            is_behind = self._network.timers.sweep(self._network.turn.begin())
            self._network.turn.end()
        finally:
            self._is_ticking = bool(self._network.timers)
            if self._is_ticking:
                self._loop.call_later(0 if is_behind else TICK, self._tick)

    def _tidy(self) -> None:
        """Let go of what is over, write what is a state; and come again, whatever happens."""
        self._loop.call_later(TIDY_EVERY, self._tidy)
        memory, turn = self._memory, self._network.turn
        now = turn.begin()
        memory.exact.begin(now)
        memory.failures.expire(now)
        for server in self._servers.values():
            server.tidy(now)
        turn.end()
        if self._noting is not None:
            self._noting.tidy()
        self._floods.look(len(self._coalescing) + len(memory.failures))
        self._counts[counters.HEARTBEAT] += 1
        self._write_gauges()

    def _write_gauges(self) -> None:
        counts, memory = self._counts, self._memory
        kinds = counters.CACHE_ENTRIES_AT
        counts[kinds + counters.CACHE_KINDS.index("exact")] = len(memory.exact)
        counts[kinds + counters.CACHE_KINDS.index("positive")] = memory.answers.positive
        counts[kinds + counters.CACHE_KINDS.index("negative")] = len(memory.answers) - memory.answers.positive
        counts[kinds + counters.CACHE_KINDS.index("failure")] = len(memory.failures)
        counts[counters.CACHE_BYTES] = memory.answers.used + memory.exact.used + memory.denial.used + memory.failures.used
        counts[counters.IN_PROGRESS] = len(self._coalescing)
        counts[counters.CACHE_EVICTIONS] += memory.answers.take_evictions() + memory.failures.take_evictions()
        counts[counters.COALESCED] += self._coalescing.take_coalesced()


def _content(memory: int) -> bytes:
    """What a memory file of the supervisor's holds; read from its start, for the worker before us has read it too."""
    return os.pread(memory, os.fstat(memory).st_size, 0)


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
    while data := await _heard(to_supervisor):
        match link.read_order(data):
            case link.Open():
                unfenced = fence.shut(*(("", "") if begin.estate is None else begin.estate.removable))
                worker.open()
                collecting.settle()
                with contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(to_supervisor, link.written(link.Serving(os.getpid(), unfenced)))
            case link.Pinned() as pinned:
                worker.pin(pinned)
            case link.Upstreams() as upstreams:
                worker.ask_these(upstreams)
            case link.Restore() as order:
                worker.snapshots.read(order, 0.0 if worker.is_open else HEAD_START, to_supervisor)
            case link.Snapshot() as order:
                worker.snapshots.write(order, to_supervisor)
            case link.Flush() as order:
                worker.flush(order, to_supervisor)
            case link.Drain() as order:
                worker.close()
                with contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(to_supervisor, link.written(link.Closed(order.number)))
                await worker.leave()
                return
            case link.Begin():
                raise msgspec.ValidationError("a second Begin")
    if worker.is_open and begin.estate is not None:
        await worker.orphaned(begin.estate)
        await worker.leave()


async def _heard(to_supervisor: socket.socket) -> bytes:
    """The next order; empty when the supervisor is gone, whether it had read all that we said or not."""
    try:
        return await asyncio.get_running_loop().sock_recv(to_supervisor, link.MAX_MESSAGE_SIZE)
    except ConnectionError:
        return b""


def _raise_descriptor_limit(config: settings.Config) -> None:
    """As many descriptors as clients and questions may need, or as many as we may have."""
    wanted = config.listen.max_tcp_connections + MAX_SOCKETS_IN_ALL + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def main() -> int:
    """The program: one argument, the descriptor of the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminal.say_what_is_logged()
    to_supervisor = socket.socket(fileno=int(sys.argv[1]))
    to_supervisor.setblocking(False)  # noqa: FBT003 - the method's name says what is false
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(to_supervisor))
    return 0


if __name__ == "__main__":
    sys.exit(main())
