"""The answers of all workers as octets: when they are written and put back, and the file that `cache.snapshot` names.

Workers write answers into memory that both share, and read them there; this side moves octets between such memory and the
file, in threads, and never looks into them. Always holds: the file is a whole snapshot or what it was before; DNS waits for no
disk but START_SECONDS at the start; a snapshot that a worker died of is not offered to the next, nor one from before a flush;
the memory is given back once it was read or saved.
"""

import asyncio
import contextlib
import errno
import fcntl
import functools
import os
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from forwarder import link
from forwarder.levels import Info

START_SECONDS = 0.5
"""A local disk gives 8 MB in a tenth of that; later the daemon begins with an empty cache."""
MODE = 0o600
"""It names what clients asked."""
CHUNK = 1 << 20
"""Octets moved by one system call."""


class File:
    """Octets between the file and the memory. Blocks: for threads."""

    def __init__(self, path: str, limit: int) -> None:
        """`limit` octets at most are read."""
        self.path = Path(path)
        self.memory = os.memfd_create("forwarder-snapshot")
        """What is read; lives as long as this object."""
        self._limit = limit

    def __del__(self) -> None:
        os.close(self.memory)

    def load(self) -> int:
        """The file into the memory; its octets, 0 where there is no file. Raises OSError that says why it is not used."""
        try:
            source = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if status.st_uid not in {0, os.geteuid()} or status.st_mode & stat.S_IWOTH:
                raise OSError(errno.EPERM, "others can write it, and could make up answers")
            if not status.st_size:
                raise OSError(errno.ENODATA, "it is empty")
            if status.st_size > self._limit:
                raise OSError(errno.EFBIG, f"{status.st_size} octets are more than cache.memory")
            os.ftruncate(self.memory, 0)
            os.lseek(self.memory, 0, os.SEEK_SET)
            _move(source, self.memory, status.st_size)
        finally:
            os.close(source)
        return status.st_size

    def save(self, parts: Sequence[link.Part]) -> int:
        """These parts, one behind the other, in place of the file; the octets they take.

        Raises OSError; the file is then what it was.
        """
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(directory, fcntl.LOCK_EX)  # whoever hands over may still be writing it, here or in another process
            self._save(parts)
            os.fsync(directory)
        finally:
            os.close(directory)
        return sum(part.size for part in parts)

    def _save(self, parts: Sequence[link.Part]) -> None:
        beside = self.path.with_name(self.path.name + ".tmp")
        beside.unlink(missing_ok=True)
        target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            for part in parts:
                _move(part.memory, target, part.size)
            os.fsync(target)
            beside.rename(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(target)

    def remove(self) -> None:
        """Nobody is to read the file any more."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def forget(self) -> None:
        """Give the memory back."""
        os.ftruncate(self.memory, 0)


def memory_with(octets: bytes, name: str) -> link.Part:
    """A memory with these octets, the caller's own, to be closed by it; `name` is seen in /proc. Raises OSError."""
    with contextlib.ExitStack() as undo:
        memory = os.memfd_create(name)
        undo.callback(os.close, memory)
        if os.pwrite(memory, octets, 0) < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        undo.pop_all()
    return link.Part(memory, len(octets))


def _copy(parts: Sequence[link.Part], copies: list[link.Part]) -> int:
    """Copy each part into a memory of its own; the octets they take. Raises OSError; then there is no copy."""
    with contextlib.ExitStack() as undo:
        for part in parts:
            memory = os.memfd_create("forwarder-dump")
            undo.callback(os.close, memory)
            _move(part.memory, memory, part.size)
            copies.append(link.Part(memory, part.size))
        undo.pop_all()
    return sum(part.size for part in parts)


def _move(source: int, target: int, size: int) -> None:
    """The first so many octets of one file to where the other stands."""
    moved = 0
    while moved < size:
        count = os.sendfile(target, source, moved, min(CHUNK, size - moved))
        if not count:
            raise OSError(errno.EIO, "it became shorter meanwhile")
        moved += count


class Asked(Protocol):
    """A worker, as far as it is asked for answers here."""

    @property
    def memory(self) -> int:
        """Descriptor of the memory into which it writes."""

    def ask(self, order: link.Numbered) -> asyncio.Future[link.Done | None]:
        """What it reports when it is done, None when it is no more; at once when it was not there to be asked."""


class Snapshots:
    """When answers are written and put back; lives in a running asyncio loop."""

    def __init__(
        self, file: File | None, workers: Sequence[Asked], say: Callable[[str], None], *, is_outdated: bool = False
    ) -> None:
        """Without a file none is written or read. `is_outdated`: what the file holds now must not be put back."""
        self.use = asyncio.Lock()
        """Whoever holds it may have workers write, and read what they wrote."""
        self._file = file
        self._workers = workers
        self._say = say
        self._complaint = ""
        self._flushes = int(is_outdated)
        self._flushes_saved = 0
        """How many there had been when the snapshot in the file was ordered."""
        self._died_of_it = False
        self._saving: asyncio.Task[None] | None = None
        self._restoring: set[asyncio.Task[None]] = set()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What workers inherit besides the memory of each."""
        return () if self._file is None else (self._file.memory,)

    async def written(self) -> list[link.Part]:
        """Have every worker write all its answers; where they stand until `forget`. For whoever holds `use`.

        Of a worker that ends meanwhile there is none. Raises OSError when there is no memory for them.
        """
        reports = await asyncio.gather(*(worker.ask(link.Snapshot()) for worker in self._workers))
        parts = []
        for worker, report in zip(self._workers, reports, strict=True):
            if isinstance(report, link.SnapshotWritten):
                if report.problem:
                    raise OSError(errno.ENOMEM, report.problem)
                parts.append(link.Part(worker.memory, report.size))
        return parts

    async def copied(self, seconds: float) -> list[link.Part]:
        """Every worker's answers as they are now, in memories that are the caller's own, to be closed by it.

        Raises TimeoutError when they are not written within so many seconds, OSError when there is no memory for them.
        """
        async with contextlib.AsyncExitStack() as held:
            async with asyncio.timeout(seconds):
                await held.enter_async_context(self.use)
                held.callback(self.forget)
                parts = await self.written()
            copies: list[link.Part] = []
            await _in_thread(functools.partial(_copy, parts, copies))
            return copies

    def forget(self) -> None:
        """Give back the memory that workers wrote into."""
        for worker in self._workers:
            os.ftruncate(worker.memory, 0)

    # The file.

    def save(self) -> None:
        """Have the file written, unless it is being written."""
        if self._file is not None and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save(self._file))

    async def saved(self, seconds: float) -> None:
        """The end is near: wait for what is being written, for so many seconds."""
        if self._file is None:
            return
        if self._saving is not None and not self._saving.done():
            await asyncio.wait((self._saving,), timeout=seconds)
            if not self._saving.done():
                self._say_unwritten(self._file, "there was not enough time")
                self._saving.cancel()
        if self._is_outdated:
            self._file.remove()

    async def load(self) -> None:
        """Have the workers put back what the file holds; a slow disk is waited for no longer than START_SECONDS."""
        if self._file is not None:
            told = asyncio.Event()
            self._begin(self._restore(self._file, self._workers, told))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await told.wait()

    def reload(self, worker: Asked) -> asyncio.Event:
        """The same for one worker that takes the place of another; set when it is told, or is not to be."""
        told = asyncio.Event()
        if self._file is None:
            told.set()
        else:
            self._begin(self._restore(self._file, (worker,), told))
        return told

    def end(self) -> None:
        """Others have the answers from now on: write no more."""
        self._file = None

    def outdate(self) -> None:
        """Answers are being flushed: what the file holds is given to no worker any more."""
        self._flushes += 1

    def renew(self) -> None:
        """Answers were flushed: replace the file, once more where it is being written."""
        self._flushes += 1
        self.save()

    @property
    def _is_outdated(self) -> bool:
        """Whether the file holds what was flushed since."""
        return self._flushes_saved < self._flushes

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._restoring.add(task)
        task.add_done_callback(self._restoring.discard)

    async def _save(self, file: File) -> None:
        """Again while there are flushes meanwhile; until it cannot be done."""
        while True:
            async with self.use:
                flushes = self._flushes
                if self._file is None:
                    return
                try:
                    parts = await self.written()
                    if not parts or self._file is None:
                        return  # nobody was there to write, or others have the answers by now
                    await _in_thread(functools.partial(file.save, parts))
                except OSError as error:
                    self._say_unwritten(file, error.strerror)
                    return
                finally:
                    self.forget()
            self._complaint = ""
            self._died_of_it = False
            self._flushes_saved = flushes
            if not self._is_outdated:
                return

    async def _restore(self, file: File, workers: Sequence[Asked], told: asyncio.Event) -> None:
        async with self.use:
            try:
                if not self._is_unfit and (size := await _in_thread(file.load)) and not self._is_unfit:
                    asked = [worker.ask(link.Restore([link.Part(file.memory, size)])) for worker in workers]
                    told.set()
                    heard = [report for report in asked if not report.done()]  # the others' successors come for it
                    if heard:
                        self._tell_of(file, await asyncio.gather(*heard))
            except OSError as error:
                self._say_unused(file, f"cannot be read ({error.strerror})")
            finally:
                told.set()
                file.forget()

    @property
    def _is_unfit(self) -> bool:
        return self._is_outdated or self._died_of_it

    def _tell_of(self, file: File, reports: Sequence[link.Done | None]) -> None:
        """What became of a file that workers were given."""
        read = [report for report in reports if isinstance(report, link.SnapshotRead)]
        if len(read) < len(reports):
            self._died_of_it = True
            self._say_unused(file, "was being read when the worker died (please report)")
            return
        answers = sum(report.answers for report in read)
        problem = next((report.problem for report in read if report.problem), "")
        if problem and answers:
            self._say(f"cache.snapshot: a part of {file.path} {problem}: not used, the others are")
        elif problem:
            self._say_unused(file, problem)
        if answers or not problem:
            self._say(Info(f"cache.snapshot: {answers} answers of {file.path} are known again"))

    def _say_unused(self, file: File, why: str) -> None:
        self._say(f"cache.snapshot: {file.path} {why}: not used. The next snapshot takes its place, so move it away to keep it")

    def _say_unwritten(self, file: File, why: str | None) -> None:
        """Once, not every few minutes."""
        if why != self._complaint:
            self._complaint = why or "for no reason given"
            self._say(f"cache.snapshot: {file.path} stays as it was, a new one cannot be written: {self._complaint}")


def warnings_for(path: str | None) -> Iterator[str]:
    """What will keep the file from being written, each one sentence with the mend."""
    if path is None:
        return
    directory = Path(path).parent
    if Path(path).is_dir():
        yield f"cache.snapshot: {path} is a directory: name a file in it, or the cache is not kept"
    elif not directory.is_dir():
        yield f"cache.snapshot: {directory} is no directory: make it, or the cache is not kept"
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield f"cache.snapshot: {directory} cannot be written to: permit it, or the cache is not kept"


async def _in_thread(work: Callable[[], int]) -> int:
    """Blocking work in a thread that does not hold up the end of the program; its result, or the OSError it raised."""
    loop = asyncio.get_running_loop()
    moved: asyncio.Future[int | OSError] = loop.create_future()

    def settle(outcome: int | OSError) -> None:
        if not moved.done():
            moved.set_result(outcome)

    def run() -> None:
        outcome: int | OSError
        try:
            outcome = work()
        except OSError as error:
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waited for it
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, daemon=True).start()
    outcome = await moved
    if isinstance(outcome, OSError):
        raise outcome
    return outcome
