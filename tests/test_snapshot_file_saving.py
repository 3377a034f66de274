"""The file is written: from the memory of all workers, when it is due, and whatever goes wrong is said once."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from forwarder import link
from tests.test_snapshot_file import OCTETS, filled, save
from tests.test_snapshot_file_turns import SECONDS, Play, play


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


def test_ordered_written_and_ordered_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (may_go_on.wait(SECONDS), fsync(number)))

    async def scene(one: Play) -> None:
        one.snapshots.save()
        one.snapshots.save()
        assert await one.asked() == link.Snapshot()
        one.worker.write(OCTETS)
        one.snapshots.save()
        assert await one.nobody_asked(), "the memory is on its way to the file"
        may_go_on.set()
        await one.snapshots.saved(SECONDS)
        assert one.saved() == OCTETS
        assert os.fstat(one.worker.memory).st_size == 0, "and given back"
        await one.write_file(OCTETS[:5])
        assert one.saved() == OCTETS[:5]
        assert one.said == []

    play(path, scene)


def test_the_file_holds_what_each_worker_wrote(path: Path) -> None:
    async def scene(one: Play) -> None:
        await one.write_file(OCTETS, b"two", b"three")
        assert one.saved() == OCTETS + b"two" + b"three"

    play(path, scene, workers=3)


def test_a_worker_that_dies_while_writing_takes_nothing_but_its_own_along(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.snapshots.save()
        for worker in one.workers:
            await one.asked(worker)
        one.workers[0].die()
        one.workers[1].write(OCTETS)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == OCTETS
        assert one.said == []

    play(path, scene, workers=2)


def test_the_only_worker_that_dies_while_writing_leaves_the_file_to_its_successor(path: Path) -> None:
    path.write_bytes(OCTETS)

    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.worker.die()
        await one.snapshots.saved(SECONDS)
        assert one.saved() == OCTETS
        one.snapshots.reload(one.worker)
        assert await one.asked() == one.restore()

    play(path, scene)


def test_a_disk_that_cannot_be_written_is_said_once(path: Path) -> None:
    nowhere = path / "in" / "nowhere"

    async def scene(one: Play) -> None:
        for _ in range(3):
            await one.write_file(OCTETS)
        assert one.said == [
            f"cache.snapshot: {nowhere} stays as it was, a new one cannot be written: No such file or directory"
        ]
        assert os.fstat(one.worker.memory).st_size == 0

    play(nowhere, scene)


def test_a_complaint_that_was_over_is_said_again(path: Path) -> None:
    async def scene(one: Play) -> None:
        beside = path.with_name("snapshot.tmp")
        for is_in_the_way in (True, False, True):
            if is_in_the_way:
                beside.mkdir()
            elif beside.exists():
                beside.rmdir()
            await one.write_file(OCTETS)
        assert len(one.said) == 2

    play(path, scene)


def test_an_end_that_comes_too_soon_is_said(path: Path) -> None:
    path.write_bytes(b"before")

    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        await one.snapshots.saved(0.0)
        assert one.said == [f"cache.snapshot: {path} stays as it was, a new one cannot be written: there was not enough time"]
        assert one.saved() == b"before"

    play(path, scene)


def test_a_disk_that_is_slow_at_the_end_holds_nobody_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"before")
    may_go_on = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: may_go_on.wait(SECONDS))

    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.worker.write(OCTETS)
        await one.snapshots.saved(0.01)
        assert one.said == [f"cache.snapshot: {path} stays as it was, a new one cannot be written: there was not enough time"]
        assert one.saved() == b"before"
        may_go_on.set()

    play(path, scene)


def test_a_worker_without_memory_is_said_and_asked_again_the_next_time(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.worker.report(link.SnapshotWritten(0, 0, "no memory"))
        await one.snapshots.saved(SECONDS)
        assert one.said[0].endswith("cannot be written: no memory")
        one.snapshots.save()
        assert await one.asked() == link.Snapshot()

    play(path, scene)


def test_who_has_given_the_answers_away_writes_no_more(path: Path) -> None:
    """Nor removes the file, which is the successor's, though it held here what was flushed."""
    path.write_bytes(b"of the successor")

    async def scene(one: Play) -> None:
        one.snapshots.outdate()
        one.snapshots.end()
        one.snapshots.save()
        assert await one.nobody_asked()
        await one.snapshots.saved(SECONDS)
        assert one.saved() == b"of the successor"

    play(path, scene)


def test_nor_what_its_workers_were_writing_meanwhile(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.snapshots.end()
        one.worker.write(OCTETS)
        assert await one.nobody_asked()
        assert one.saved() == b""

    play(path, scene)


def test_two_that_write_the_file_at_the_same_time_write_it_one_after_the_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one hands over and has not ended yet: the file is whole all the time, and at the end the later one's."""
    may_go_on, is_inside = threading.Event(), threading.Event()
    fsync = os.fsync

    def waiting(number: int) -> None:
        is_inside.set()
        may_go_on.wait(SECONDS)
        fsync(number)

    monkeypatch.setattr(os, "fsync", waiting)
    former, successor = filled(path, b"former"), filled(path, b"successor")
    first = threading.Thread(target=save, args=(former, 6))
    second = threading.Thread(target=save, args=(successor, 9))
    first.start()
    assert is_inside.wait(SECONDS)
    second.start()
    second.join(0.05)
    beside = path.with_name("snapshot.tmp")
    assert beside.read_bytes() == b"former", "the second waits"
    may_go_on.set()
    first.join(SECONDS)
    second.join(SECONDS)
    assert path.read_bytes() == b"successor"
    assert not beside.exists()


def test_nor_what_was_waiting_for_its_turn_meanwhile(path: Path) -> None:
    async def scene(one: Play) -> None:
        async with one.snapshots.use:
            one.snapshots.save()
            await asyncio.sleep(0)
            one.snapshots.end()
        assert await one.nobody_asked()
        assert one.saved() == b""

    play(path, scene)
