"""Who holds the memory when: workers write, a thread saves, workers read, and nobody gets into another's way."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder import link, snapshot_file
from forwarder.snapshot_file import File, Snapshots
from tests.lab.asked import AskedWorker
from tests.test_snapshot_file import LIMIT, OCTETS

SECONDS = 20
A_WHILE = 0.05
"""Seconds after which something would have happened that must not happen."""


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
    """A Snapshots with workers that do what the test says."""

    def __init__(self, path: Path | None, workers: int = 1, *, is_outdated: bool = False) -> None:
        self.file = None if path is None else File(str(path), LIMIT)
        self.workers = [AskedWorker() for _ in range(workers)]
        self.worker = self.workers[0]
        self.said: list[str] = []
        self.snapshots = Snapshots(self.file, self.workers, self.said.append, is_outdated=is_outdated)

    def restore(self, size: int = len(OCTETS)) -> link.Restore:
        """The order to put back what the file holds."""
        assert self.file is not None
        return link.Restore([link.Part(self.file.memory, size)])

    def saved(self) -> bytes:
        """What the file holds; nothing where there is none."""
        assert self.file is not None
        return self.file.path.read_bytes() if self.file.path.exists() else b""

    async def asked(self, worker: AskedWorker | None = None) -> link.Numbered:
        """Wait until a worker has something to do, and see that it is one thing."""
        worker = worker or self.worker
        await self.until(lambda: bool(worker.orders))
        (order,) = worker.orders
        return order

    async def nobody_asked(self) -> bool:
        """Whether no worker has anything to do, and gets nothing in a while."""
        await asyncio.sleep(A_WHILE)
        return not any(worker.orders for worker in self.workers)

    async def write_file(self, *octets: bytes) -> None:
        """The workers are asked to write, and this is what they write; the file holds it then."""
        self.snapshots.save()
        for worker, written in zip(self.workers, octets, strict=True):
            await self.asked(worker)
            worker.write(written)
        await self.snapshots.saved(SECONDS)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a thread."""
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - what changes is a file: there is nothing to await
                await asyncio.sleep(0.005)


def play(path: Path | None, scene: Callable[[Play], Awaitable[None]], *, workers: int = 1, is_outdated: bool = False) -> None:
    async def played() -> None:
        await scene(Play(path, workers, is_outdated=is_outdated))

    asyncio.run(played())


class TestReading:
    def test_workers_begin_with_what_the_file_holds(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            assert one.file is not None
            await one.snapshots.load()
            assert [await one.asked(worker) for worker in one.workers] == [one.restore()] * 2
            assert os.pread(one.file.memory, LIMIT, 0) == OCTETS
            assert one.snapshots.descriptors == (one.file.memory,)
            one.snapshots.save()
            one.workers[0].read(7)
            assert await one.nobody_asked() is False
            assert one.workers[0].orders == [], "the memory is read by the other at the moment"
            one.workers[1].read(4)
            assert [await one.asked(worker) for worker in one.workers] == [link.Snapshot()] * 2
            assert one.said == [f"cache.snapshot: 11 answers of {path} are known again"]
            assert os.fstat(one.file.memory).st_blocks == 0

        play(path, scene, workers=2)

    def test_a_successor_is_given_the_file(self, path: Path) -> None:
        async def scene(one: Play) -> None:
            await one.write_file(OCTETS)
            one.snapshots.reload(one.worker)
            assert await one.asked() == one.restore()
            assert one.file is not None
            assert os.pread(one.file.memory, LIMIT, 0) == OCTETS

        play(path, scene)

    def test_the_successor_of_one_worker_is_given_it_and_the_others_are_not(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            one.snapshots.reload(one.workers[1])
            assert await one.asked(one.workers[1]) == one.restore()
            assert one.workers[0].orders == []

        play(path, scene, workers=2)

    def test_a_successor_while_a_thread_saves(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It waits until the file is whole, and gets that."""
        may_go_on = threading.Event()
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda number: (may_go_on.wait(SECONDS), fsync(number)))

        async def scene(one: Play) -> None:
            one.snapshots.save()
            await one.asked()
            one.worker.write(OCTETS)
            one.snapshots.reload(one.worker)
            assert await one.nobody_asked()
            may_go_on.set()
            assert await one.asked() == one.restore()
            assert one.saved() == OCTETS

        play(path, scene)

    @pytest.mark.parametrize("dying", [0, 1])
    def test_what_a_worker_died_of_is_not_offered_again(self, path: Path, dying: int) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            one.workers[dying].die()
            one.workers[1 - dying].read(5)
            await one.until(lambda: bool(one.said))
            one.snapshots.reload(one.workers[dying])
            assert await one.nobody_asked()
            (line,) = one.said
            assert "was being read when the worker died" in line
            await one.write_file(OCTETS[:9], OCTETS[:3])
            assert one.saved() == OCTETS[:9] + OCTETS[:3]
            one.snapshots.reload(one.workers[dying])
            assert await one.asked(one.workers[dying]) == one.restore(12), "a new one is another matter"

        play(path, scene, workers=2)

    def test_a_worker_that_was_not_there_to_be_asked_did_not_die_of_it(self, path: Path) -> None:
        """It died while the disk was read: its successor is given the file, and nothing is said of it."""
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            one.worker.is_there = False
            one.snapshots.reload(one.worker)
            assert await one.nobody_asked()
            one.worker.is_there = True
            one.snapshots.reload(one.worker)
            assert await one.asked() == one.restore()
            assert one.said == []

        play(path, scene)

    def test_a_disk_that_is_slow_at_the_start_holds_nobody_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The workers begin with nothing, and are given the answers when they are there."""
        may_go_on = slow_disk(path, monkeypatch)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert one.worker.orders == []
            may_go_on.set()
            assert await one.asked() == one.restore()

        play(path, scene)

    def test_a_file_that_cannot_be_read_is_said_and_replaced(self, path: Path) -> None:
        path.write_bytes(bytes(LIMIT + 1))

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            assert await one.nobody_asked()
            (line,) = one.said
            assert line.startswith(
                f"cache.snapshot: {path} cannot be read (1048577 octets are more than cache.memory): not used."
            )
            await one.write_file(OCTETS)
            assert one.saved() == OCTETS

        play(path, scene)

    def test_a_file_that_a_worker_cannot_use_is_said_once(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            for worker in one.workers:
                worker.read(0, "is damaged")
            await one.until(lambda: bool(one.said))
            (line,) = one.said
            assert line.startswith(f"cache.snapshot: {path} is damaged: not used.")

        play(path, scene, workers=2)

    def test_a_file_of_which_a_part_cannot_be_used(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            await one.snapshots.load()
            for worker in one.workers:
                worker.read(3, "is damaged")
            await one.until(lambda: len(one.said) > 1)
            assert one.said == [
                f"cache.snapshot: a part of {path} is damaged: not used, the others are",
                f"cache.snapshot: 6 answers of {path} are known again",
            ]

        play(path, scene, workers=2)

    def test_without_a_file_nothing_happens(self) -> None:
        async def scene(one: Play) -> None:
            await one.snapshots.load()
            one.snapshots.reload(one.worker)
            one.snapshots.save()
            one.snapshots.renew()
            assert await one.nobody_asked()
            await one.snapshots.saved(0.0)
            assert (one.said, one.snapshots.descriptors) == ([], ())

        play(None, scene)


class TestWritten:
    """For who hands the answers on, with or without a file."""

    def test_each_worker_writes_into_its_memory_until_it_is_given_back(self) -> None:
        async def scene(one: Play) -> None:
            writing = asyncio.create_task(one.snapshots.written())
            await one.asked()
            one.workers[1].write(OCTETS[:9])
            await asyncio.sleep(0)
            assert not writing.done(), "the other writes on"
            one.workers[0].write(OCTETS)
            parts = await writing
            assert parts == [link.Part(one.workers[0].memory, len(OCTETS)), link.Part(one.workers[1].memory, 9)]
            assert [os.pread(part.memory, part.size, 0) for part in parts] == [OCTETS, OCTETS[:9]]
            one.snapshots.forget()
            assert [os.fstat(worker.memory).st_size for worker in one.workers] == [0, 0]

        play(None, scene, workers=2)

    @pytest.mark.parametrize("dying", [0, 1])
    def test_of_a_worker_that_died_there_is_none(self, dying: int) -> None:
        async def scene(one: Play) -> None:
            writing = asyncio.create_task(one.snapshots.written())
            await one.asked()
            one.workers[dying].die()
            one.workers[1 - dying].write(OCTETS)
            assert await writing == [link.Part(one.workers[1 - dying].memory, len(OCTETS))]

        play(None, scene, workers=2)

    def test_one_without_memory_is_an_error(self) -> None:
        async def scene(one: Play) -> None:
            writing = asyncio.create_task(one.snapshots.written())
            await one.asked()
            one.workers[0].write(OCTETS)
            one.workers[1].report(link.SnapshotWritten(0, 0, "the memory for it: No space left on device"))
            with pytest.raises(OSError, match="the memory for it: No space left on device"):
                await writing

        play(None, scene, workers=2)

    def test_who_holds_it_is_disturbed_by_nobody(self, path: Path) -> None:
        path.write_bytes(OCTETS)

        async def scene(one: Play) -> None:
            async with one.snapshots.use:
                one.snapshots.save()
                one.snapshots.reload(one.worker)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(one.snapshots.load(), A_WHILE)
                assert await one.nobody_asked()
            await one.asked()

        play(path, scene)
