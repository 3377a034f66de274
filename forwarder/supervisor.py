"""The parent: begins and ends, hears signals and requests, watches files, shows the figures.

Never reads a query. Always holds: DNS does not wait for pages or files; what cannot be used, a file or a configuration, is said
in one line, and what was true before stays true; when the supervisor is killed, workers serve on until another takes over.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forwarder import config as settings
from forwarder import dumps, flushes, handover, privileges, systemd, watching, workers
from forwarder.beside import Beside, has_happened
from forwarder.control import listening, protocol
from forwarder.errors import ConfigError, ControlError, ListenError
from forwarder.generation import Around, Former, Generation
from forwarder.greeting import summary
from forwarder.hearing import Hearing
from forwarder.holdings import Holdings, acquired, become
from forwarder.intercepting import INTERVAL, Intercepting
from forwarder.levels import Err, Notice
from forwarder.observe import counters, pages
from forwarder.observe.changes import Changes
from forwarder.observe.totals import Totals
from forwarder.showing import Showing
from forwarder.succession import Source, Succession, warnings_for
from forwarder.terminal import say, show

WATCH_SECONDS = 1.0
"""A look at a file costs microseconds; a person who changed it has not typed the next command yet."""
HISTORY_SECONDS = 1.0
"""Between two looks at all figures: as often as a page moves; a look takes a millisecond or two."""
SAVE_SECONDS = 300.0
"""Between two snapshots: what a crash may cost, at a tenth of a second of one core and some MB written each time. Most answers
live no longer than five minutes."""
STOP_SECONDS = 2.95
"""From SIGTERM to the end of the last write to a disk."""
PAGES_WAIT_SECONDS = 1.0
"""The pages start when the first workers serve, but no later than this: /health must tell when none does."""
ENDS = (signal.SIGTERM, signal.SIGINT)
HANDED_OVER = -1
"""In the place of an exit status: a successor serves. `ENDS` are blocked then, so that none is lost until somebody waits."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a supervisor begins with."""

    config: settings.Config
    source: Source
    files: watching.Files
    holdings: Holdings
    program: Sequence[str]


def run(
    config: settings.Config, source: Source, *, takeover: bool = False, program: Sequence[str] = workers.WORKER_PROGRAM
) -> int:
    """Serve until a signal ends it, or a successor does; the exit status, or HANDED_OVER.

    Before anything runs it raises ConfigError, ListenError, PrivilegeError, and ControlError where it is to take over in vain.
    """
    become(config)
    files = watching.read_files(config)
    with contextlib.ExitStack() as held:
        holdings = acquired(config, held, takeover=takeover)
        privileges.settle()
        return asyncio.run(_serve(Start(config, source, files, holdings, program)))


async def _serve(start: Start) -> int:
    return await Supervisor(start).serve()


class Supervisor:
    """One daemon in a running asyncio loop; `Showing` is what others see of it."""

    def __init__(self, start: Start) -> None:
        """Raises ConfigError when more names are pinned than the way to the workers takes."""
        self._held = start.holdings
        self._totals = Totals(counters.mapped(self._held.past))
        self._warnings = tuple(warnings_for(start.config, start.files))
        self._ending = asyncio.Event()
        self._has_served = False
        self._is_handed_over = False
        self._is_told_to_end = False
        self._status = 0
        self._successor: socket.socket | None = None
        """Open until the process ends: that is how a successor knows that it has."""
        self._beside = Beside(say)
        self._forgetting: asyncio.Task[None] | None = None
        self._said: set[str] = set()
        self._hearing = Hearing(lambda: self._generations.now.config.observe, self._totals, say)
        around = Around(start.program, self._totals, say, self._say_once, self._held.estate, self._hearing.descriptor)
        legacy = self._held.legacy
        former = Former()
        if legacy is not None:
            former = Former([part.memory for part in legacy.memories], legacy.rows, may_have_flushed=True)
        first = Generation(start.config, start.files, self._held.doors, around, former)
        self._generations = Succession(start.source, around, first)
        self._showing = Showing(self._totals, self._generations, self._is_ready, self._hearing.names)

    async def serve(self) -> int:
        """Run until a signal comes or no worker can be had; what `run` gives."""
        loop = asyncio.get_running_loop()
        for number in ENDS:
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._beside.start("the reload", self._reload_and_say()))
        for line in self._complaints():
            say(line)
        first = self._generations.now
        first.start()
        self._hearing.begin()
        try:
            await self._give_answers(first)
            if self._held.legacy is None:
                first.steer()  # nobody else reads these sockets
            first.open()
            beginning = self._beside.start("the first words", self._begin(first))
            await has_happened(first.settled, PAGES_WAIT_SECONDS)
            self._beside.start("the pages for metrics and health", pages.serve(self._held.http, self._showing, self._ending))
            self._beside.start("the history", self._keep_history())
            self._beside.start("the watching of files", self._watch_files())
            if (interval := self._held.service.watchdog_interval) is not None:
                self._beside.start("the watchdog", self._stay_watched(interval))
            self._beside.start("the snapshots of the cache", self._save_regularly())
            await self._ending.wait()
            await self._drain()
            beginning.cancel()  # where none ever served
            await self._beside.ended()
        finally:
            self._generations.kill()
            self._hearing.close()
        if not self._is_handed_over or self._is_told_to_end:
            return self._status
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        return HANDED_OVER

    def _is_ready(self) -> bool:
        return self._has_served and not self._ending.is_set()

    # The beginning and the end.

    async def _give_answers(self, first: Generation) -> None:
        """What is remembered of the time before: by an instance that hands over, or in a file."""
        legacy = self._held.legacy
        if legacy is None:
            await first.snapshots.load()
            return
        for slots in legacy.counters:
            self._totals.begin(slots)
        await first.restore(legacy.memories)
        legacy.forget_answers()

    async def _begin(self, first: Generation) -> None:
        """When the first workers serve: say so, have the instance before us leave, be there for questions."""
        await first.settled.wait()
        if first.has_given_up:
            self._fail()
            return
        self._has_served = True
        self._tell_systemd()
        show("\n".join(summary(first.config, first.following.upstreams, first.following.pinned)))
        if self._held.legacy is not None and not await self._release(self._held.legacy):
            self._fail()
            return
        if self._held.place is not None:
            conversations = listening.Listening(self._held.place, self._answer, say)
            self._beside.start("the control socket", conversations.serve(self._ending))
        self._beside.start("the interception", self._intercept())

    async def _release(self, legacy: handover.Legacy) -> bool:
        """Have the names come to our workers, and the instance before us leave; whether it does."""
        self._generations.now.steer()
        try:
            connections = await asyncio.to_thread(legacy.release)
        except ControlError as error:
            say(Err(f"the instance before was not released, and serves on: {error}"))
            return False
        if self._held.place is not None:
            self._held.place.is_ours = True
        self._generations.now.snapshots.save()
        say(Notice(f"took over from {' and '.join(f'pid {pid}' for pid in legacy.pids)}"))
        self._forgetting = self._beside.start("the end of the instance before", self._forget(legacy, connections))
        return True

    async def _forget(self, legacy: handover.Legacy, connections: Sequence[socket.socket]) -> None:
        """When the instance before has left: what it counted stays."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2 * STOP_SECONDS):
                await asyncio.gather(*(loop.sock_recv(connection, 1) for connection in connections))
        for slots in legacy.counters:
            self._totals.end(slots)
        legacy.close()

    def _fail(self) -> None:
        self._status = 1
        self._ending.set()

    def _end(self) -> None:
        """A signal: drain. A second one: no patience left."""
        self._is_told_to_end = True
        if self._ending.is_set():
            self._generations.kill()
            self._beside.cancel()
        self._ending.set()

    async def _drain(self) -> None:
        until = asyncio.get_running_loop().time() + STOP_SECONDS
        snapshots = self._generations.now.snapshots
        if self._is_handed_over:
            snapshots.end()
        else:
            self._held.service.stopping()
        snapshots.save()
        await asyncio.sleep(0)  # workers are told to write before they are told to leave
        await self._generations.drain()
        await snapshots.saved(until - asyncio.get_running_loop().time())

    # What is asked at the control socket, and by signals.

    async def _answer(self, request: protocol.Request, conversation: listening.Conversation) -> protocol.Response:
        """Do what was asked for at the control socket. Raises ControlError with why it was not done."""
        match request:
            case protocol.Flush():
                async with self._generations.alone():
                    now = self._generations.now
                    return await flushes.flush(request, now.workers, now.snapshots, now.following.pinned)
            case protocol.Reload():
                return protocol.Reloaded(await self._reload())
            case protocol.Stats():
                return protocol.shown(self._showing.moment(self._showing.overview()))
            case protocol.Dump():
                async with self._generations.alone():
                    now = self._generations.now
                    return await dumps.dump(conversation, now.snapshots, now.following.pinned)
            case protocol.Takeover():
                return await self._hand_over(request, conversation)
            case protocol.Release():
                return self._leave_to(conversation)

    async def _reload(self) -> list[str]:
        """Raises ControlError: every problem, and that nothing changed."""
        before = self._generations.now
        self._held.service.reloading()
        try:
            async with self._generations.alone():
                notes = await self._generations.reload()
        except (ConfigError, ListenError, ControlError) as error:
            raise ControlError(f"{error}\nconfiguration stays as it was") from error
        finally:
            self._tell_systemd(before)
        for line in (*notes, Notice("configuration reloaded")):
            say(line)
        return notes

    async def _reload_and_say(self) -> None:
        try:
            await self._reload()
        except ControlError as error:
            for line in str(error).splitlines():
                say(Err(line))

    async def _hand_over(self, request: protocol.Takeover, conversation: listening.Conversation) -> protocol.Response:
        """Give a successor what there is. Nothing changes until it says that it serves, or goes."""
        handover.ensure_understood(request)
        if self._forgetting is not None:
            await asyncio.wait((self._forgetting,))  # what was counted before us is ours then
        async with contextlib.AsyncExitStack() as taking:
            await taking.enter_async_context(self._generations.alone())
            now = self._generations.now
            await taking.enter_async_context(now.snapshots.use)
            taking.callback(now.snapshots.forget)
            parts = []
            with contextlib.suppress(OSError):  # without memory for the answers it begins with none
                parts = await now.snapshots.written()
            estate = self._held.estate(now.doors, 1)
            if estate is None or conversation.on_end is not None:
                raise ControlError("everything was handed over already")
            maps = [worker.counters for worker in now.workers if worker.pid is not None]
            given = handover.given(conversation, estate, parts, maps, now.following.upstreams.rows)
            taken = taking.pop_all()

            def take_back() -> None:
                if not self._is_handed_over:
                    self._generations.now.steer()
                self._beside.start("the end of a handover", taken.aclose())

            conversation.on_end = take_back
            return given

    def _leave_to(self, conversation: listening.Conversation) -> protocol.Response:
        """The successor serves."""
        if conversation.on_end is None or self._held.place is None:
            raise ControlError("nothing was handed over in this conversation")
        self._is_handed_over = True
        self._held.place.is_ours = False
        self._totals.hand_over()
        self._successor = conversation.connection.dup()
        self._held.service.main_process_is(conversation.pid)
        say(Notice("a successor took over: leaving"))
        self._ending.set()
        return protocol.Released()

    # What runs beside it.

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            say(line)

    def _tell_systemd(self, before: Generation | None = None) -> None:
        """We serve: it keeps our sockets from now on, for the process that comes after us, and no others of those before."""
        service, now = self._held.service, self._generations.now
        for name in _names_kept(before).keys() - _names_kept(now):
            service.forget(name)
        for name, bound in _names_kept(now).items():
            service.keep(name, [bound.fileno()])
        service.keep("http", [self._held.http.fileno()])
        service.ready(f"serving {', '.join(settings.doors_of(now.config))}")

    async def _stay_watched(self, interval: float) -> None:
        """As long as this loop turns, systemd hears of it."""
        while not await has_happened(self._ending, interval):
            self._held.service.alive()

    async def _keep_history(self) -> None:
        """Once a second: keep what is shown, say what happened to upstreams."""
        changes = Changes()
        while not await has_happened(self._ending, HISTORY_SECONDS):
            moment = self._showing.look()
            for line in changes.look(moment.overview, asyncio.get_running_loop().time()):
                say(line)

    async def _save_regularly(self) -> None:
        while not await has_happened(self._ending, SAVE_SECONDS):
            self._generations.now.snapshots.save()

    async def _intercept(self) -> None:
        """Hold the addresses that are intercepted; a successor holds them on."""
        intercepting = Intercepting(os.geteuid(), say)
        while not await has_happened(self._ending, INTERVAL):
            await intercepting.look(self._generations.now.config, len(self._generations.now.workers))
        if not self._is_handed_over:
            intercepting.give_back()

    async def _watch_files(self) -> None:
        """Take over what changes in files; workers that are behind are told again."""
        while not await has_happened(self._ending, WATCH_SECONDS):
            now = self._generations.now
            await now.following.look()
            now.following.tell(now.tell)
            if self._generations.has_news():
                await self._reload_and_say()

    def _complaints(self) -> Iterator[str]:
        """What is not as the operator may think it is, and no reason not to serve."""
        yield from self._warnings
        yield from self._held.complaints
        now = self._generations.now
        yield from now.doors.complaints
        for address in now.doors.absent:
            yield Notice(f"{address}: no interface of this host has the address yet; queries are answered as soon as one has")
        asked, granted = now.config.listen.receive_buffer, now.doors.receive_buffer
        if granted < asked:
            yield (
                f"listen.receive_buffer: the kernel grants {granted} octets of {asked}, so a burst may be lost: "
                f"set net.core.rmem_max to {asked} (sysctl), or give the daemon CAP_NET_ADMIN"
            )


def _names_kept(generation: Generation | None) -> dict[str, socket.socket]:
    """By which name systemd keeps which socket: the listener of an address, then those of its workers in their order."""
    if generation is None:
        return {}
    addresses, doors = settings.doors_of(generation.config), generation.doors
    groups = zip(addresses, doors.tcp, doors.udp, strict=True)
    at = [(address, (listener, *group)) for address, listener, group in groups]
    return {systemd.name_for(address, place): bound for address, group in at for place, bound in enumerate(group)}
