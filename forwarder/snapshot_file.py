"""The file that `cache.snapshot` names: when the answers are written to it and read from it.

The worker writes answers into memory that both share, and reads them there; this side moves octets between that memory and the
file, in threads, and never looks into them. Always holds: the file is a whole snapshot or what it was before; DNS waits for no
disk but START_SECONDS at the start; a snapshot that a worker died of is not offered to the next; the memory is given back once
it was read or saved.
"""

import asyncio
import contextlib
import errno
import functools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path

import msgspec

from forwarder import link

EVERY_SECONDS = 300.0
"""Between two snapshots: what a crash may cost, at a tenth of a second of one core and some MB written each time. Most answers
live no longer than five minutes."""
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
        self._limit = limit

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
            _move(source, self.memory, status.st_size)
        finally:
            os.close(source)
        return status.st_size

    def save(self, size: int) -> int:
        """The first `size` octets of the memory in place of the file. Raises OSError; the file is then what it was."""
        beside = self.path.with_name(self.path.name + ".tmp")
        beside.unlink(missing_ok=True)
        target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            _move(self.memory, target, size)
            os.fsync(target)
            beside.rename(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(target)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return size

    def remove(self) -> None:
        """Nobody is to read the file any more."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def forget(self) -> None:
        """Give the memory back."""
        os.ftruncate(self.memory, 0)


def _move(source: int, target: int, size: int) -> None:
    """Exactly so many octets from the beginning of one file to the other."""
    moved = 0
    os.lseek(target, 0, os.SEEK_SET)
    while moved < size:
        count = os.sendfile(target, source, moved, min(CHUNK, size - moved))
        if not count:
            raise OSError(errno.EIO, "it became shorter meanwhile")
        moved += count


class Holder(Enum):
    """Who may touch the shared memory."""

    NOBODY = auto()
    READER = auto()
    """A worker that reads it."""
    WRITER = auto()
    """A worker that writes it."""
    FILE = auto()
    """A thread that moves it to the file or from there."""


Moving = asyncio.Future[int | OSError]
"""What a thread does: the octets it moved, or why it could not."""


class Snapshots:
    """When the cache is written and read; lives in a running asyncio loop."""

    def __init__(
        self, file: File | None, tell: Callable[[link.Order], bool], say: Callable[[str], None], *, every: float = EVERY_SECONDS
    ) -> None:
        """Without a file nothing ever happens. `tell` says something to a worker that serves, False when none does."""
        self._file = file
        self._tell = tell
        self._say = say
        self._every = every
        self._holder = Holder.NOBODY
        self._loaded = 0
        self._has_begun = False
        self._is_wanted = False  # by a worker that began with an empty cache
        self._complaint = ""
        self._flushes = 0
        self._flushes_ordered = 0
        """How many there had been when the last snapshot was ordered."""
        self._flushes_saved = 0
        """The same of the snapshot in the file."""
        self._saving: Moving | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a worker inherits."""
        return () if self._file is None else (self._file.memory,)

    async def load(self) -> None:
        """Have the file ready for the first worker; a slow disk is waited for no longer than START_SECONDS."""
        if self._file is not None:
            await asyncio.wait((self._load(self._file),), timeout=START_SECONDS)

    async def run(self, ending: asyncio.Event) -> None:
        """A snapshot every so often, until the end comes."""
        while self._file is not None and not ending.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await ending.wait()
                    return
            self.order()

    def order(self) -> None:
        """Have a snapshot written, unless one is being written or read."""
        if self._file is not None and self._holder is Holder.NOBODY and self._tell(link.Snapshot()):
            self._holder = Holder.WRITER
            self._flushes_ordered = self._flushes

    def outdate(self) -> None:
        """Answers are being flushed: what the file holds is given to no worker any more."""
        self._flushes += 1

    def renew(self) -> None:
        """Answers were flushed: replace the file, as soon as what is written now, if anything is, is done."""
        self._flushes += 1
        self.order()

    async def saved(self, seconds: float) -> None:
        """The last worker is gone: wait for what it left, within so many seconds."""
        if self._file is None:
            return
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=seconds)
        if self._holder is Holder.WRITER or self._saving is not None:
            self._say_unwritten(self._file, "there was not enough time")
        if self._is_outdated():
            self._file.remove()

    # What happens to workers.

    def offered(self, begin: link.Begin) -> link.Begin:
        """The first message to a worker, which takes the place of the one before."""
        if self._file is None:
            return begin
        died_of_it = self._holder is Holder.READER
        if died_of_it:
            self._say_unused(self._file, "was being read when the worker died (please report)")
        if self._holder is not Holder.FILE:
            self._holder = Holder.NOBODY
        restore, self._loaded = self._loaded, 0
        if restore:
            self._holder = Holder.READER
        self._is_wanted = self._has_begun and not died_of_it
        self._has_begun = True
        return msgspec.structs.replace(begin, snapshot=self._file.memory, restore=restore)

    def served(self) -> None:
        """A worker answers; one that took the place of another is given what the file holds."""
        if self._file is not None and self._is_wanted and self._holder is Holder.NOBODY and not self._is_outdated():
            self._load(self._file)

    def take(self, report: link.SnapshotRead | link.SnapshotWritten) -> None:
        """The worker is done with the memory."""
        file = self._file
        if file is None:
            return
        match report:
            case link.SnapshotWritten(problem="", size=size):
                self._save(file, size)
                return
            case link.SnapshotWritten(problem=problem):
                self._say_unwritten(file, problem)
            case link.SnapshotRead(problem="", answers=answers):
                self._say(f"cache.snapshot: {answers} answers of {file.path} are known again")
            case link.SnapshotRead(problem=problem):
                self._say_unused(file, problem)
        self._release(file)

    # What happens to the file.

    def _load(self, file: File) -> Moving:
        self._holder = Holder.FILE
        self._is_wanted = False
        loading = _in_thread(file.load)
        loading.add_done_callback(lambda ended: self._end_loading(file, ended.result()))
        return loading

    def _end_loading(self, file: File, outcome: int | OSError) -> None:
        self._holder = Holder.NOBODY
        if isinstance(outcome, OSError):
            self._say_unused(file, f"cannot be read ({outcome.strerror})")
        elif not self._has_begun:
            self._loaded = outcome
        elif self._is_outdated():
            self._release(file)
        elif outcome and self._tell(link.Restore(outcome)):
            self._holder = Holder.READER
        else:
            self._is_wanted = outcome > 0
            self._release(file)

    def _save(self, file: File, size: int) -> None:
        self._holder = Holder.FILE
        self._saving = _in_thread(functools.partial(file.save, size))
        self._saving.add_done_callback(lambda ended: self._end_saving(file, ended.result()))

    def _end_saving(self, file: File, outcome: int | OSError) -> None:
        self._saving = None
        if isinstance(outcome, OSError):
            self._say_unwritten(file, outcome.strerror)
        else:
            self._complaint = ""
            self._flushes_saved = self._flushes_ordered
        self._release(file)
        self.served()  # whoever began meanwhile

    def _release(self, file: File) -> None:
        self._holder = Holder.NOBODY
        file.forget()
        if self._flushes_ordered < self._flushes:
            self.order()

    def _is_outdated(self) -> bool:
        """Whether the file holds what was flushed since."""
        return self._flushes_saved < self._flushes

    # What is said of it.

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


def _in_thread(work: Callable[[], int]) -> Moving:
    """Blocking work in a thread that does not hold up the end of the program; its result, or the OSError it raised."""
    loop = asyncio.get_running_loop()
    moving: Moving = loop.create_future()

    def run() -> None:
        outcome: int | OSError
        try:
            outcome = work()
        except OSError as error:
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waited for it
            loop.call_soon_threadsafe(moving.set_result, outcome)

    threading.Thread(target=run, daemon=True).start()
    return moving
