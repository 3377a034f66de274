"""The generations of workers in their order: which serves now, which leave, and how one takes the place of another.

Always holds: one thing changes at a time; a generation leaves only when the next one serves, on the same sockets and with the
same answers; a configuration that cannot be served changes nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from forwarder import config as settings
from forwarder import snapshot_file, sockets, watching
from forwarder.adoption import Offered
from forwarder.errors import ControlError
from forwarder.generation import Around, Former, Generation, count_for
from forwarder.observe import query_log

SETTLE_SECONDS = 10.0
"""What a new generation gets to serve: ten times what it takes on a busy node; the former serves meanwhile."""
PATIENCE_SECONDS = 8.0
"""What somebody waits until nothing else changes: less than a command waits for its answer."""
DRAIN_SECONDS = 2.8
"""Between being told to leave and the kill: longer than a question may take (1.8 s), and the whole ends within 3 s."""
ENDING = "the end came first"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from."""

    read: Callable[[], settings.Config]
    """As it is now. Raises ConfigError."""
    path: str | None = None
    """The file that is watched; None where there is none."""


class Succession:
    """The generations; lives in a running asyncio loop."""

    def __init__(self, source: Source, around: Around, first: Generation) -> None:
        self.now = first
        """The one that serves."""
        self._source = source
        self._around = around
        self._changing = asyncio.Lock()
        self._leaving: dict[Generation, asyncio.Task[None]] = {}
        self._restarts_before = 0
        self._drops = 0
        self._coming: Generation | None = None
        self._ending = asyncio.Event()
        self._seen = self._glimpsed = self._signature()

    @property
    def workers_restarted(self) -> int:
        """How often a worker was started again, in all generations."""
        return self._restarts_before + sum(worker.restarts for worker in self.now.workers)

    @property
    def receive_drops(self) -> int:
        """Datagrams lost at the receive queues of all addresses; never less than before."""
        drops = sum(sockets.receive_drops(door) for group in self.now.doors.udp for door in group)
        self._drops = max(self._drops, drops)
        return self._drops

    def has_news(self) -> bool:
        """Whether the file with the configuration is another than was read last, and was the same at the last call."""
        former, self._glimpsed = self._glimpsed, self._signature()
        return self._glimpsed not in {None, self._seen} and self._glimpsed == former

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nothing else changes. Raises ControlError when something else takes too long."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._changing.acquire()
        except TimeoutError:
            raise ControlError("something else changes (a reload, a successor that takes over): try again") from None
        try:
            yield
        finally:
            self._changing.release()

    async def reload(self) -> list[str]:
        """Serve by what the configuration says now; what differs from what one may expect, a sentence for each.

        To be called alone. Raises ConfigError, ListenError and ControlError; then all is as it was.
        """
        self._seen = self._signature()
        config = await asyncio.to_thread(self._source.read)
        files = await asyncio.to_thread(watching.read_files, config)
        former, listen = self.now, config.listen
        offered = Offered(map(os.dup, former.doors.descriptors))
        try:
            doors = sockets.bind_doors(settings.doors_of(config), listen.receive_buffer, count_for(listen), offered)
        finally:
            offered.close()
        with contextlib.ExitStack() as undo:
            undo.callback(doors.close)
            kept = Former(former.memories, former.following.upstreams.rows, may_have_flushed=True)
            await self._succeed(Generation(config, files, doors, self._around, kept))
            undo.pop_all()
        return [*warnings_for(config, files), *doors.complaints, *_unchanged(former.config, config)]

    async def drain(self) -> None:
        """Let all workers answer what is in progress and leave; none come any more."""
        self._ending.set()
        if self._coming is not None:
            self._coming.kill()
        await asyncio.gather(self.now.drain(DRAIN_SECONDS), *self._leaving.values())

    def kill(self) -> None:
        """End all workers at once."""
        for generation in (self.now, *self._leaving):
            generation.kill()

    async def _succeed(self, successor: Generation) -> None:
        """Have this generation take the place of the one that serves. Raises ControlError when it does not come to serve."""
        if self._ending.is_set():
            raise ControlError(ENDING)
        former = self.now
        self._coming = successor
        successor.start()
        try:
            async with former.snapshots.use:
                with contextlib.suppress(OSError):  # without memory for the answers it begins with none
                    await successor.restore(await former.snapshots.written())
                former.snapshots.forget()
            successor.open()
            serves = await successor.serves(SETTLE_SECONDS)
        except BaseException:
            successor.kill()
            raise
        finally:
            self._coming = None
        if self._ending.is_set() or not serves:
            successor.kill()
            why = "the workers of the new configuration did not come to serve, those before serve on"
            raise ControlError(ENDING if self._ending.is_set() else why)
        self.now = successor
        successor.steer()
        self._restarts_before += sum(worker.restarts for worker in former.workers)
        former.snapshots.end()
        successor.snapshots.save()
        self._leaving[former] = asyncio.create_task(self._leave(former))
        await former.closed.wait()  # from now on nobody answers by what was true before

    async def _leave(self, former: Generation) -> None:
        try:
            await former.drain(DRAIN_SECONDS)
        finally:
            former.doors.close()
            del self._leaving[former]

    def _signature(self) -> watching.Signature | None:
        return None if self._source.path is None else watching.signature_of(self._source.path)


def warnings_for(config: settings.Config, files: watching.Files) -> Iterator[str]:
    """What is missing outside the configuration, and no reason not to serve; each one sentence with the mend."""
    yield from files.asked.warnings
    yield from snapshot_file.warnings_for(config.cache.snapshot)
    yield from query_log.warnings_for(config.observe.query_log_file)


def _unchanged(before: settings.Config, now: settings.Config) -> Iterator[str]:
    """Settings that a reload leaves as they were."""
    takeover = "restart, or forwarder run --takeover"
    for path, old, new, mend in (
        ("observe.http", before.observe.http, now.observe.http, takeover),
        ("observe.control", before.observe.control, now.observe.control, takeover),
        ("user", before.user or f"uid {os.geteuid()}", now.user or f"uid {os.geteuid()}", "restart"),
    ):
        if old != new:
            yield f"{path}: {old} stays until the next start: {mend}"
