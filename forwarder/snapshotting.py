"""The worker's side of the cache snapshot: a slice of answers per turn of the loop, into and out of memory that it inherited.

Opens no file. Always holds: one slice takes about a millisecond; while a snapshot is read none is written, so that half a
cache never takes the place of a whole one; the header is written last, so that what is cut off proves nothing; of answers that
several workers had, each takes those whose names are its own.
"""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forwarder import link
from forwarder.cache.answers import AnswerCache
from forwarder.cache.snapshot import HEADER_OCTETS, MAX_RECORD, Conditions, Moment, Reading, Restoring, Writing, passed_between
from forwarder.errors import SnapshotError
from forwarder.steering import worker_for

LOOK_SIZE = 1 << 18
"""Octets looked at in one turn: a tenth of a millisecond."""
WRITE_GRACE = 2.3
"""Seconds that a worker which is to leave goes on writing: longer than the last question may take, shorter than the 2.8 s
after which it is killed."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the names are this worker's."""

    number: int
    workers: int

    def has(self, name: bytes) -> bool:
        """Whether this one (lower-cased wire form) is."""
        return self.workers == 1 or worker_for(name, self.workers) == self.number


class Snapshots:
    """The answers cache of this worker, and the memory in which it is handed over."""

    def __init__(
        self, memory: int, answers: AnswerCache, zones: Mapping[bytes, Conditions], share: Share, clock: Callable[[], float],
        on_read: Callable[[], None],
    ) -> None:  # fmt: skip
        """`memory` is a descriptor, -1 for none; `clock` is that of the answers (CLOCK_BOOTTIME); `on_read`: they are back."""
        self._memory = memory
        self._answers = answers
        self._zones = zones
        self._share = share
        self._clock = clock
        self._on_read = on_read
        self._restored = 0
        self._problem = ""
        self._task: asyncio.Task[None] | None = None
        self._reading_task: asyncio.Task[None] | None = None
        self._is_writing = False

    def read(self, order: link.Restore, head_start: float, to_supervisor: socket.socket) -> None:
        """Begin to put back what stands in these parts, for so many seconds; the rest beside the answering, then report."""
        reading = self._read(order.parts)
        until = self._clock() + head_start
        for _ in reading:
            if self._clock() >= until:
                break
        self._task = self._reading_task = asyncio.create_task(self._read_on(order.number, reading, to_supervisor))

    def write(self, order: link.Snapshot, to_supervisor: socket.socket) -> None:
        """Write all answers into the memory beside the answering, and report."""
        self._is_writing = True
        self._task = asyncio.create_task(self._write_after(self._task, order.number, to_supervisor))

    async def part(self) -> link.Part:
        """Write all answers into the memory beside the answering; where they stand. Raises OSError without memory."""
        return link.Part(self._memory, await self._write())

    async def settle(self) -> None:
        """The worker is to leave: end writing where it was begun, within WRITE_GRACE."""
        if self._task is not None and self._is_writing:
            await asyncio.wait((self._task,), timeout=WRITE_GRACE)

    async def settle_reading(self) -> None:
        """Wait until everything that is to be put back is."""
        if self._reading_task is not None:
            await asyncio.wait((self._reading_task,))

    async def _read_on(self, number: int, reading: Iterator[None], to_supervisor: socket.socket) -> None:
        for _ in reading:
            await asyncio.sleep(0)
        await _report(to_supervisor, link.SnapshotRead(number, self._restored, self._problem))

    def _read(self, parts: Sequence[link.Part]) -> Iterator[None]:
        """Slice by slice; what is wrong is kept for the report, and what was proved before it stays."""
        self._restored, self._problem = 0, ""
        for part in parts:
            position = 0
            try:
                while position < part.size or not position:
                    reading = Reading(os.pread(part.memory, HEADER_OCTETS, position), part.size - position)
                    yield from self._read_one(part.memory, position, reading)
                    position += reading.size
            except SnapshotError as error:
                self._problem = self._problem or str(error)
        if self._restored:
            self._on_read()

    def _read_one(self, memory: int, start: int, reading: Reading) -> Iterator[None]:
        """One snapshot: looked at as a whole, then put back. Raises SnapshotError when it is not what was written."""
        first, end = start + HEADER_OCTETS, start + reading.size
        for position in range(first, end, LOOK_SIZE):
            reading.look_at(os.pread(memory, min(LOOK_SIZE, end - position), position))
            yield
        reading.prove()
        now = self._clock()
        restoring = Restoring(self._answers, self._zones, self._share.has, now, passed_between(reading.written, moment_of(now)))
        before, position = self._restored, first
        while taken := restoring.restore(os.pread(memory, min(MAX_RECORD, end - position), position)):
            position += taken
            self._restored = before + restoring.restored
            yield

    async def _write_after(self, former: asyncio.Task[None] | None, number: int, to_supervisor: socket.socket) -> None:
        if former is not None:
            await asyncio.wait((former,))
        size, problem = 0, ""
        try:
            size = await self._write()
        except OSError as error:
            problem = f"the memory for it: {error.strerror}"
        await _report(to_supervisor, link.SnapshotWritten(number, size, problem))
        self._is_writing = False

    async def _write(self) -> int:
        """Slice by slice; the octets it takes in all. Raises OSError when the host has no memory left."""
        now = self._clock()
        moment = moment_of(now)
        writing = Writing(self._answers, self._zones, now)
        position = HEADER_OCTETS
        while (octets := writing.slice()) is not None:
            position += self._put(octets, position)
            await asyncio.sleep(0)
        self._put(writing.header(moment), 0)
        return position

    def _put(self, octets: bytes, position: int) -> int:
        if os.pwrite(self._memory, octets, position) < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(octets)


def moment_of(now: float) -> Moment:
    """The time of both clocks; `now` are seconds of CLOCK_BOOTTIME, just read."""
    return Moment(wall=int(time.time() * 1000), running=int(now * 1000))


async def _report(to_supervisor: socket.socket, report: link.Report) -> None:
    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(to_supervisor, link.written(report))
