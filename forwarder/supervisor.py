"""The parent: binds the sockets and keeps them, starts the worker and starts it again, watches files, shows the figures.

Never reads a query. Always holds: the sockets stay open whatever becomes of a worker; DNS does not wait for pages or files; a
watched file that cannot be used is said in one line, and what was true before stays true.
"""

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forwarder import config as settings
from forwarder import flushes, following, link, privileges, snapshot_file, sockets, watching, workers
from forwarder.control import listening, protocol
from forwarder.errors import ConfigError, ControlError, Problem
from forwarder.observe import counters, pages
from forwarder.terminal import say, show

DRAIN_SECONDS = 2.8
"""Between SIGTERM and the kill: longer than a question may take (1.8 s), and the whole ends within 3 s."""
WATCH_SECONDS = 1.0
"""A look at a file costs microseconds; a person who changed it has not typed the next command yet."""
STOP_SECONDS = 2.95
"""From SIGTERM to the end of the last write to a disk."""
PAGES_WAIT_SECONDS = 1.0
"""The pages start when the first worker serves, but no later than this: /health must tell when none does."""

NO_RELOAD = "reload is not available in this version: restart to read the configuration again"
DNS_PORT = 53
PTR = 12
"""RFC 1035 section 3.2.2: these names nobody wrote, they follow from the addresses."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What the daemon holds as long as it lives."""

    doors: sockets.Doors
    http: socket.socket
    counters: int
    """File descriptor of the counters' memory: it outlives each worker."""
    authorities: dict[str, int]
    """File descriptors of memory files with the same certificates."""


def run(config: settings.Config, *, program: Sequence[str] = workers.WORKER_PROGRAM) -> int:
    """Serve until a signal ends it; the exit status.

    Raises ConfigError, ListenError and PrivilegeError before anything runs.
    """
    _become(config)
    files = watching.read_files(config)
    with contextlib.ExitStack() as held:
        doors = sockets.bind_doors(config.listen.addresses, config.listen.receive_buffer)
        held.callback(doors.close)
        http = held.enter_context(sockets.bind_http(config.observe.http))
        privileges.settle()
        descriptor = os.memfd_create("forwarder-counters")
        held.callback(os.close, descriptor)
        os.ftruncate(descriptor, counters.SIZE * 8)
        authorities = {ca_file: _memory(content, held) for ca_file, content in files.authorities.items()}
        bound = Bound(doors=doors, http=http, counters=descriptor, authorities=authorities)
        return asyncio.run(_serve(config, files, bound, program))


def _become(config: settings.Config) -> None:
    """The configured user from here on, its place for the control socket included."""
    user = privileges.user_for(config.user)
    if user is not None:
        listening.ensure_directory(protocol.paths_for(config.observe.control, os.environ)[0], user.uid, user.gid)
    privileges.become(user)


def _memory(content: bytes, held: contextlib.ExitStack) -> int:
    """The file descriptor of a memory file with this content, closed when all is over."""
    descriptor = os.memfd_create("forwarder-authorities")
    held.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


async def _serve(config: settings.Config, files: watching.Files, bound: Bound, program: Sequence[str]) -> int:
    return await Supervisor(config, files, bound, program).serve()


class Supervisor:
    """One daemon in a running asyncio loop; `pages` reads what it shows of itself."""

    def __init__(self, config: settings.Config, files: watching.Files, bound: Bound, program: Sequence[str]) -> None:
        """Raises ConfigError when more names are pinned than the way to the worker takes."""
        self.slots = counters.mapped(bound.counters)
        self._config = config
        self._warnings = tuple(warnings_for(config, files))
        self._bound = bound
        self._removable = ("", "")
        self._link_capacity = workers.link_capacity()
        self._following = following.Following(config, files, self._ensure_link_holds, say)
        self._ensure_link_holds(self._following.pinned, self._following.upstreams)
        self._ending = asyncio.Event()
        self._settled = asyncio.Event()  # the first worker serves, or none will
        self._has_served = False
        self._status = 0
        self._beside: list[asyncio.Task[None]] = []
        cache = config.cache
        file = None if cache.snapshot is None else snapshot_file.File(cache.snapshot, cache.memory)
        self._snapshots = snapshot_file.Snapshots(file, self._tell, say)
        descriptors = (
            *(door.fileno() for door in (*bound.doors.udp, *bound.doors.tcp)),
            bound.counters,
            *bound.authorities.values(),
            *self._snapshots.descriptors,
        )
        surroundings = workers.Surroundings(
            program=program,
            descriptors=descriptors,
            slots=self.slots,
            begin=self._first_message,
            say=say,
            on_serving=self._tell_serving,
            on_report=self._take,
            on_giving_up=self._give_up,
        )
        self._worker = workers.Worker(0, surroundings)
        self._flushes = flushes.Flushes(self._worker.tell, self._snapshots)

    async def serve(self) -> int:
        """Run until a signal comes or no worker can be had; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, say, NO_RELOAD)
        for line in self._complaints():
            say(line)
        await self._snapshots.load()
        self._open_control()
        self._worker.start()
        try:
            await _passed(self._settled, PAGES_WAIT_SECONDS)
            self._start_beside("the pages for metrics and health", pages.serve(self._bound.http, self, self._ending))
            self._start_beside("the watching of files", self._watch_files())
            self._start_beside("the snapshots of the cache", self._snapshots.run(self._ending))
            await self._ending.wait()
            await self._drain()
            await asyncio.wait(self._beside)
        finally:
            self._worker.kill()
        return self._status

    # What the pages show.

    def workers(self) -> Sequence[workers.Worker]:
        """Every worker; one in this version."""
        return (self._worker,)

    def upstreams(self) -> Mapping[str, bool]:
        """Whose each row for upstreams in the counters is, in their order -> whether it is asked now."""
        return self._following.shown()

    def is_ready(self) -> bool:
        """Whether queries were answered at least once, and the end is not near."""
        return self._has_served and not self._ending.is_set()

    def receive_drops(self) -> int:
        """Datagrams lost at the receive queues of all addresses."""
        return sum(sockets.receive_drops(door) for door in self._bound.doors.udp)

    # The worker.

    def _begin(self, pinned: link.Pinned, upstreams: link.Upstreams) -> link.Begin:
        return link.Begin(
            config=settings.to_json(self._config),
            udp=[door.fileno() for door in self._bound.doors.udp],
            tcp=[door.fileno() for door in self._bound.doors.tcp],
            counters=self._bound.counters,
            pinned=pinned,
            upstreams=upstreams,
            authorities=self._bound.authorities,
            removable=self._removable,
        )

    def _first_message(self) -> link.Begin:
        """A worker begins."""
        self._flushes.begin_worker()
        return self._snapshots.offered(self._begin(self._following.pinned, self._following.upstreams))

    def _take(self, report: link.Beside) -> None:
        if isinstance(report, link.Flushed):
            self._flushes.take(report)
        else:
            self._snapshots.take(report)

    def _ensure_link_holds(self, pinned: link.Pinned, upstreams: link.Upstreams) -> None:
        """Refuse what no worker could be told, rather than start workers in vain."""
        size = len(link.written(self._begin(pinned, upstreams)))
        if size > self._link_capacity:
            sentence = (
                f"{len(pinned.records)} pinned records take {size} octets, {self._link_capacity} at most: "
                "pin fewer names, or raise net.core.wmem_max (up to 4194304)"
            )
            raise ConfigError((Problem("hosts", sentence),))

    def _tell(self, order: link.Order) -> bool:
        """Whether a worker that serves was told."""
        return self._worker.serving and self._worker.tell(order)

    def _tell_serving(self) -> None:
        self._snapshots.served()
        if self._has_served:
            say(f"worker {self._worker.number} (pid {self._worker.pid}) serving")
            return
        self._has_served = True
        self._settled.set()
        show("\n".join(summary(self._config, self._following.upstreams, self._following.pinned)))

    def _give_up(self) -> None:
        self._status = 1
        self._settled.set()
        self._ending.set()

    def _end(self) -> None:
        """A signal: drain. A second one: no patience left."""
        if self._ending.is_set():
            self._worker.kill()
            for task in self._beside:
                task.cancel()
        self._settled.set()
        self._ending.set()

    async def _drain(self) -> None:
        until = asyncio.get_running_loop().time() + STOP_SECONDS
        self._snapshots.order()
        self._worker.drain()
        if not await _passed(self._worker.gone, DRAIN_SECONDS):
            say(f"worker {self._worker.number} did not end within {DRAIN_SECONDS} s: killed")
            self._worker.kill()
            await self._worker.gone.wait()
        await self._snapshots.saved(until - asyncio.get_running_loop().time())

    # What runs beside it.

    def _start_beside(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda ended: _say_why(name, ended))
        self._beside.append(task)

    def _open_control(self) -> None:
        try:
            place = listening.taken_place(protocol.paths_for(self._config.observe.control, os.environ))
        except ControlError as error:
            say(f"there is no control socket, DNS goes on without: {error}")
            return
        self._removable = place.removable
        self._start_beside("the control socket", listening.Listening(place, self._answer, say).serve(self._ending))

    async def _answer(self, request: protocol.Request) -> protocol.Response:
        """Do what was asked for at the control socket. Raises ControlError with why it was not done."""
        match request:
            case protocol.Flush():
                return await self._flushes.answer(request, self._following.pinned)

    async def _watch_files(self) -> None:
        """Take over what changes in files; a worker that is behind is told again."""
        while not await _passed(self._ending, WATCH_SECONDS):
            await self._following.look()
            self._following.tell(self._worker.tell)

    def _complaints(self) -> Iterator[str]:
        """What is not as the operator may think it is, and no reason not to serve."""
        yield from self._warnings
        for address in self._bound.doors.absent:
            yield f"{address}: no interface of this host has the address yet; queries are answered as soon as one has"
        asked, granted = self._config.listen.receive_buffer, self._bound.doors.receive_buffer
        if granted < asked:
            yield (
                f"listen.receive_buffer: the kernel grants {granted} octets of {asked}, so a burst may be lost: "
                f"set net.core.rmem_max to {asked} (sysctl), or give the daemon CAP_NET_ADMIN"
            )


def warnings_for(config: settings.Config, files: watching.Files) -> Iterator[str]:
    """What is missing outside the configuration, and no reason not to serve; each one sentence with the mend."""
    yield from files.asked.warnings
    yield from snapshot_file.warnings_for(config.cache.snapshot)


def summary(config: settings.Config, upstreams: link.Upstreams, pinned: link.Pinned) -> Iterator[str]:
    """The lines for a person who started the daemon: where it listens, whom it asks, where the figures are, what to try."""
    yield "forwarder is serving"
    for address in config.listen.addresses:
        yield f"  listens on  {address} (UDP and TCP)"
    for zone, told in zip(config.zones, upstreams.zones, strict=True):
        named = watching.resolv_confs(zone)
        source = f" (from {', '.join(named)})" if named else ""
        asks = f"{', '.join(told.addresses)} over {zone.transport.upper()}" if told.addresses else "nobody"
        yield f"  {zone.zone} asks {asks}{source}"
    if names := len({record.name for record in pinned.records if record.qtype != PTR}):
        yield f"  pinned      {names} name{'s' if names > 1 else ''}"
    yield f"  metrics     http://{config.observe.http}/metrics"
    yield f"  try         {dig_line(config)}"


def dig_line(config: settings.Config) -> str:
    """A command that asks this daemon for something it knows."""
    host, port = settings.split_address(config.listen.addresses[0])
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    name = next(iter(config.hosts.records), "example.com")
    return f"dig @{host} -p {port} {name}" if port != DNS_PORT else f"dig @{host} {name}"


def _say_why(name: str, task: asyncio.Task[None]) -> None:
    """A defect beside DNS is told, and ends nothing."""
    if not task.cancelled() and (defect := task.exception()) is not None:
        say(f"{name} ended, DNS goes on: {defect!r}")


async def _passed(event: asyncio.Event, seconds: float) -> bool:
    """Whether this happened within these seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
