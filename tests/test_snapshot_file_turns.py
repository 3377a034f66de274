"""Who holds the memory when: one worker writes, a thread saves, the next worker reads, and nobody gets into another's way."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder import link, snapshot_file
from forwarder.snapshot_file import File, Snapshots
from tests.test_snapshot_file import LIMIT, OCTETS

SECONDS = 20
BEGIN = link.Begin(config=b"{}", udp=[], tcp=[], counters=0, pinned=link.Pinned([]), upstreams=link.Upstreams([]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


def slow_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A snapshot on a disk that gives nothing at the start, until the event is set."""
    path.write_bytes(OCTETS)
    monkeypatch.setattr(snapshot_file, "START_SECONDS", 0.01)
    may_go_on = threading.Event()
    fstat = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: (may_go_on.wait(SECONDS), fstat(number))[1])
    return may_go_on


class Play:
    """A Snapshots with a worker that does what the test says."""

    def __init__(self, path: Path | None, every: float) -> None:
        self.file = None if path is None else File(str(path), LIMIT)
        self.orders: list[link.Order] = []
        self.refused: list[link.Order] = []
        self.said: list[str] = []
        self.is_serving = True
        self.snapshots = Snapshots(self.file, self._tell, self.said.append, every=every)

    def _tell(self, order: link.Order) -> bool:
        (self.orders if self.is_serving else self.refused).append(order)
        return self.is_serving

    def take_order(self) -> link.Order:
        (order,) = self.orders
        self.orders.clear()
        return order

    def begin_worker(self) -> link.Begin:
        """One starts, and serves."""
        begin = self.snapshots.offered(BEGIN)
        self.snapshots.served()
        return begin

    def write(self, octets: bytes = OCTETS) -> None:
        """The worker does as ordered."""
        assert self.take_order() == link.Snapshot()
        assert self.file is not None
        os.pwrite(self.file.memory, octets, 0)
        self.snapshots.take(link.SnapshotWritten(len(octets), ""))

    def saved(self) -> bytes:
        """What the file holds; nothing where there is none."""
        assert self.file is not None
        return self.file.path.read_bytes() if self.file.path.exists() else b""

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a thread."""
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - what changes is a file: there is nothing to await
                await asyncio.sleep(0.005)


def play(path: Path | None, scene: Callable[[Play], Awaitable[None]], *, every: float = 1000.0) -> None:
    async def played() -> None:
        await scene(Play(path, every))

    asyncio.run(played())


class TestSnapshots:
    def test_the_first_worker_begins_with_what_the_file_holds(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            begin = one.begin_worker()
            assert begin.restore == len(OCTETS)
            assert os.pread(begin.snapshot, LIMIT, 0) == OCTETS
            assert one.snapshots.descriptors == (begin.snapshot,)
            one.snapshots.order()
            assert one.orders == [], "the memory is read at the moment"
            one.snapshots.take(link.SnapshotRead(7, ""))
            assert one.said == [f"cache.snapshot: 7 answers of {path} are known again"]
            assert os.fstat(begin.snapshot).st_blocks == 0
            one.snapshots.order()
            assert one.take_order() == link.Snapshot()

        play(path, scene)

    def test_ordered_written_and_ordered_again(self, path: Path) -> None:
        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            one.snapshots.order()
            one.write()
            one.snapshots.order()
            assert one.orders == [], "the memory is on its way to the file"
            await one.snapshots.saved(SECONDS)
            assert one.saved() == OCTETS
            one.snapshots.order()
            one.write(OCTETS[:5])
            await one.snapshots.saved(SECONDS)
            assert one.saved() == OCTETS[:5]
            assert one.said == []

        play(path, scene)

    def test_every_so_often(self, path: Path) -> None:
        async def scene(one: Play) -> None:
            one.begin_worker()
            ending = asyncio.Event()
            running = asyncio.create_task(one.snapshots.run(ending))
            for number in (1, 2, 3):
                await one.until(lambda: one.orders == [link.Snapshot()])
                one.write(OCTETS[:number])
                await one.snapshots.saved(SECONDS)
                assert one.saved() == OCTETS[:number]
            ending.set()
            await asyncio.wait_for(running, SECONDS)

        play(path, scene, every=0.01)

    def test_a_successor_is_given_the_file(self, path: Path) -> None:
        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            one.write()
            await one.snapshots.saved(SECONDS)
            assert one.begin_worker().restore == 0
            await one.until(lambda: bool(one.orders))
            assert one.take_order() == link.Restore(len(OCTETS))
            assert one.file is not None
            assert os.pread(one.file.memory, LIMIT, 0) == OCTETS

        play(path, scene)

    def test_a_successor_of_one_that_died_while_writing(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            assert one.take_order() == link.Snapshot()
            one.begin_worker()
            await one.until(lambda: bool(one.orders))
            assert one.take_order() == link.Restore(len(OCTETS))

        play(path, scene)

    def test_a_successor_while_a_thread_saves(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The memory is not touched until the file is whole; then the successor gets it."""
        may_go_on = threading.Event()
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda number: (may_go_on.wait(SECONDS), fsync(number)))

        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            one.write()
            one.begin_worker()
            assert one.orders == []
            may_go_on.set()
            await one.until(lambda: bool(one.orders))
            assert one.take_order() == link.Restore(len(OCTETS))
            assert one.saved() == OCTETS

        play(path, scene)

    def test_what_a_worker_died_of_is_not_offered_again(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert one.begin_worker().restore == len(OCTETS)
            assert one.begin_worker().restore == 0
            (line,) = one.said
            assert "was being read when the worker died" in line
            one.snapshots.order()
            one.write(OCTETS[:9])
            await one.snapshots.saved(SECONDS)
            assert one.saved() == OCTETS[:9]

        play(path, scene)

    def test_a_disk_that_is_slow_at_the_start_holds_nobody_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker begins with nothing, and is given the answers when they are there."""
        may_go_on = slow_disk(path, monkeypatch)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert one.begin_worker().restore == 0
            may_go_on.set()
            await one.until(lambda: bool(one.orders))
            assert one.take_order() == link.Restore(len(OCTETS))

        play(path, scene)

    def test_nor_does_one_that_is_ready_before_the_worker(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came in vain is read again when somebody serves."""
        may_go_on = slow_disk(path, monkeypatch)

        async def scene(one: Play) -> None:
            one.is_serving = False
            await one.snapshots.load()
            assert one.snapshots.offered(BEGIN).restore == 0
            may_go_on.set()
            await one.until(lambda: one.refused == [link.Restore(len(OCTETS))])
            one.is_serving = True
            one.snapshots.served()
            await one.until(lambda: bool(one.orders))
            assert one.take_order() == link.Restore(len(OCTETS))

        play(path, scene)

    def test_a_file_that_cannot_be_read_is_said_and_replaced(self, path: Path) -> None:
        path.write_bytes(bytes(LIMIT + 1))

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert one.begin_worker().restore == 0
            (line,) = one.said
            assert line.startswith(
                f"cache.snapshot: {path} cannot be read (1048577 octets are more than cache.memory): not used."
            )
            one.snapshots.order()
            one.write()
            await one.snapshots.saved(SECONDS)
            assert one.saved() == OCTETS

        play(path, scene)

    def test_a_file_that_the_worker_cannot_use_is_said(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            one.begin_worker()
            one.snapshots.take(link.SnapshotRead(0, "is damaged"))
            (line,) = one.said
            assert line.startswith(f"cache.snapshot: {path} is damaged: not used.")

        play(path, scene)

    def test_a_disk_that_cannot_be_written_is_said_once(self, path: Path) -> None:
        nowhere = path / "in" / "nowhere"

        async def scene(one: Play) -> None:
            one.begin_worker()
            for _ in range(3):
                one.snapshots.order()
                one.write()
                await one.snapshots.saved(SECONDS)
            assert one.said == [
                f"cache.snapshot: {nowhere} stays as it was, a new one cannot be written: No such file or directory"
            ]

        play(nowhere, scene)

    def test_an_end_that_comes_too_soon_is_said(self, path: Path) -> None:
        path.write_bytes(b"before")

        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            await one.snapshots.saved(0.0)
            assert one.said == [
                f"cache.snapshot: {path} stays as it was, a new one cannot be written: there was not enough time"
            ]
            assert one.saved() == b"before"

        play(path, scene)

    def test_a_disk_that_is_slow_at_the_end_holds_nobody_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_bytes(b"before")
        may_go_on = threading.Event()
        monkeypatch.setattr(os, "fsync", lambda _: may_go_on.wait(SECONDS))

        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            one.write()
            await one.snapshots.saved(0.01)
            assert one.said == [
                f"cache.snapshot: {path} stays as it was, a new one cannot be written: there was not enough time"
            ]
            assert one.saved() == b"before"
            may_go_on.set()

        play(path, scene)

    def test_a_worker_without_memory_is_said(self, path: Path) -> None:
        async def scene(one: Play) -> None:
            one.begin_worker()
            one.snapshots.order()
            one.snapshots.take(link.SnapshotWritten(0, "no memory"))
            assert one.said[0].endswith("cannot be written: no memory")
            one.orders.clear()
            one.snapshots.order()
            assert one.take_order() == link.Snapshot()

        play(path, scene)

    def test_without_a_file_nothing_happens(self) -> None:
        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert one.begin_worker() == BEGIN
            assert one.begin_worker() == BEGIN
            await one.snapshots.run(asyncio.Event())
            one.snapshots.order()
            await one.snapshots.saved(0.0)
            assert (one.orders, one.said, one.snapshots.descriptors) == ([], [], ())

        play(None, scene)
