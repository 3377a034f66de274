"""A snapshot that was written before a flush brings nothing back: no worker is given it, and a new one takes its place."""

import os
import threading
from pathlib import Path

import pytest

from forwarder import link
from tests.test_snapshot_file import OCTETS
from tests.test_snapshot_file_turns import SECONDS, Play, play, slow_disk

AFTER = OCTETS[:9]
"""What a snapshot after the flush holds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot"
    path.write_bytes(OCTETS)
    return path


def test_it_is_replaced_at_once(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.snapshots.outdate()
        assert await one.nobody_asked(), "nothing is forgotten yet"
        one.snapshots.renew()
        assert await one.asked() == link.Snapshot()
        one.worker.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER
        one.snapshots.reload(one.worker)
        assert await one.asked() == one.restore(len(AFTER))

    play(path, scene)


def test_no_successor_is_given_the_old_one(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.snapshots.outdate()
        one.snapshots.reload(one.worker)
        await one.snapshots.load()
        assert await one.nobody_asked()

    play(path, scene)


def test_nor_a_generation_that_begins_after_it(path: Path) -> None:
    """The former may have flushed what the file holds: it is not read, but replaced, or removed at the end."""

    async def scene(one: Play) -> None:
        await one.snapshots.load()
        assert await one.nobody_asked()
        await one.write_file(AFTER)
        assert one.saved() == AFTER
        one.snapshots.reload(one.worker)
        assert await one.asked() == one.restore(len(AFTER))

    play(path, scene, is_outdated=True)


def test_nor_what_was_being_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = slow_disk(path, monkeypatch)

    async def scene(one: Play) -> None:
        await one.snapshots.load()
        one.snapshots.outdate()
        may_go_on.set()
        assert await one.nobody_asked()
        one.snapshots.renew()
        assert await one.asked() == link.Snapshot(), "a new one, and not the old one back"

    play(path, scene)


def test_one_that_is_being_written_is_followed_by_another(path: Path) -> None:
    """The worker had put some of what was flushed into it already."""

    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.snapshots.outdate()
        one.snapshots.renew()
        one.worker.write(OCTETS)
        await one.asked()
        one.worker.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER

    play(path, scene)


def test_one_that_is_being_saved_is_followed_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (may_go_on.wait(SECONDS), fsync(number)))

    async def scene(one: Play) -> None:
        one.snapshots.save()
        await one.asked()
        one.worker.write(OCTETS)
        one.snapshots.outdate()
        one.snapshots.renew()
        assert await one.nobody_asked(), "the memory is on its way to the file"
        may_go_on.set()
        await one.asked()
        one.worker.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER

    play(path, scene)


def test_a_disk_that_takes_nothing_is_not_asked_again_and_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)

    async def scene(one: Play) -> None:
        one.snapshots.outdate()
        one.snapshots.renew()
        await one.asked()
        one.worker.write(AFTER)
        await one.until(lambda: bool(one.said))
        assert await one.nobody_asked()
        assert one.saved() == OCTETS

    play(path, scene)


@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_file_that_could_not_be_replaced_goes_with_the_daemon(path: Path, *, is_flushed: bool) -> None:
    """The next one would give its clients what was flushed here."""

    async def scene(one: Play) -> None:
        if is_flushed:
            one.snapshots.outdate()
        await one.snapshots.saved(SECONDS)
        assert one.saved() == (b"" if is_flushed else OCTETS)

    play(path, scene)
