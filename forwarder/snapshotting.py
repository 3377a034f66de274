"""The worker's side of the cache snapshot: a slice of answers per turn of the loop, into and out of memory that it inherited.

Opens no file. Always holds: one slice takes about a millisecond; while a snapshot is read none is written, so that half a
cache never takes the place of a whole one; the header is written last, so that what is cut off proves nothing.
"""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from forwarder import link
from forwarder.cache.answers import AnswerCache
from forwarder.cache.snapshot import HEADER_OCTETS, MAX_RECORD, Conditions, Moment, Reading, Restoring, Writing, passed_between
from forwarder.errors import SnapshotError

LOOK_SIZE = 1 << 18
"""Octets looked at in one turn: a tenth of a millisecond."""
WRITE_GRACE = 2.3
"""Seconds that a worker which is to leave goes on writing: longer than the last question may take, shorter than the 2.8 s
after which it is killed."""


class Snapshots:
    """The answers cache of this worker, and the memory in which it is handed over."""

    def __init__(
        self,
        memory: int,
        answers: AnswerCache,
        zones: Mapping[bytes, Conditions],
        clock: Callable[[], float],
        on_read: Callable[[], None],
    ) -> None:
        """`memory` is a descriptor, -1 for none; `clock` is that of the answers (CLOCK_BOOTTIME); `on_read`: they are back."""
        self._memory = memory
        self._answers = answers
        self._zones = zones
        self._clock = clock
        self._on_read = on_read
        self._restored = 0
        self._problem = ""
        self._reading: Iterator[None] = iter(())
        self._task: asyncio.Task[None] | None = None
        self._reading_task: asyncio.Task[None] | None = None
        self._is_writing = False

    def begin_reading(self, size: int, seconds: float) -> None:
        """Begin to put back what stands in the first `size` octets of the memory, and go on for so many seconds."""
        self._reading = self._read(size)
        until = self._clock() + seconds
        for _ in self._reading:
            if self._clock() >= until:
                break

    def go_on_reading(self, to_supervisor: socket.socket) -> None:
        """Put back the rest beside the answering, and report."""
        self._task = self._reading_task = asyncio.create_task(self._read_on(to_supervisor))

    def write(self, to_supervisor: socket.socket) -> None:
        """Write all answers into the memory beside the answering, and report."""
        self._is_writing = True
        self._task = asyncio.create_task(self._write_after(self._task, to_supervisor))

    async def settle(self) -> None:
        """The worker is to leave: end writing where it was begun, within WRITE_GRACE."""
        if self._task is not None and self._is_writing:
            await asyncio.wait((self._task,), timeout=WRITE_GRACE)

    async def settle_reading(self) -> None:
        """Wait until everything that is to be put back is."""
        if self._reading_task is not None:
            await asyncio.wait((self._reading_task,))

    async def _read_on(self, to_supervisor: socket.socket) -> None:
        for _ in self._reading:
            await asyncio.sleep(0)
        await _report(to_supervisor, link.SnapshotRead(self._restored, self._problem))

    def _read(self, size: int) -> Iterator[None]:
        """Slice by slice; what is wrong with it is kept for the report."""
        self._restored, self._problem = 0, ""
        memory = self._memory
        try:
            reading = Reading(os.pread(memory, HEADER_OCTETS, 0), size)
            for position in range(HEADER_OCTETS, size, LOOK_SIZE):
                reading.look_at(os.pread(memory, min(LOOK_SIZE, size - position), position))
                yield
            reading.prove()
        except SnapshotError as error:
            self._problem = str(error)
            return
        now = self._clock()
        restoring = Restoring(self._answers, self._zones, now, passed_between(reading.written, moment_of(now)))
        position = HEADER_OCTETS
        while taken := restoring.restore(os.pread(memory, min(MAX_RECORD, size - position), position)):
            position += taken
            self._restored = restoring.restored
            yield
        self._on_read()

    async def _write_after(self, former: asyncio.Task[None] | None, to_supervisor: socket.socket) -> None:
        if former is not None:
            await asyncio.wait((former,))
        size, problem = 0, ""
        try:
            size = await self._write()
        except OSError as error:
            problem = f"the memory for it: {error.strerror}"
        await _report(to_supervisor, link.SnapshotWritten(size, problem))
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
