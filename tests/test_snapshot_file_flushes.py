"""A snapshot that was written before a flush brings nothing back: no worker is given it, and a new one takes its place."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from forwarder import link
from tests.test_snapshot_file import OCTETS
from tests.test_snapshot_file_turns import SECONDS, Play, play

AFTER = OCTETS[:9]
"""What a snapshot after the flush holds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot"
    path.write_bytes(OCTETS)
    return path


def test_it_is_replaced_at_once(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.begin_worker()
        one.snapshots.outdate()
        assert one.orders == [], "nothing is forgotten yet"
        one.snapshots.renew()
        one.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER
        one.begin_worker()
        await one.until(lambda: bool(one.orders))
        assert one.take_order() == link.Restore(len(AFTER))

    play(path, scene)


def test_no_successor_is_given_the_old_one(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.begin_worker()
        one.snapshots.outdate()
        assert one.begin_worker().restore == 0
        await asyncio.sleep(0.05)
        assert one.orders == []

    play(path, scene)


def test_nor_what_was_being_loaded(path: Path) -> None:
    async def scene(one: Play) -> None:
        one.begin_worker()
        one.begin_worker()
        one.snapshots.outdate()  # the thread has read the file, and its end is not heard of yet
        await one.until(lambda: bool(one.orders))
        assert one.orders == [link.Snapshot()], "a new one, and not the old one back"

    play(path, scene)


def test_one_that_is_being_written_is_followed_by_another(path: Path) -> None:
    """The worker had put some of what was flushed into it already."""

    async def scene(one: Play) -> None:
        one.begin_worker()
        one.snapshots.order()
        one.snapshots.outdate()
        one.snapshots.renew()
        one.write()
        await one.until(lambda: bool(one.orders))
        one.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER

    play(path, scene)


def test_one_that_is_being_saved_is_followed_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (may_go_on.wait(SECONDS), fsync(number)))

    async def scene(one: Play) -> None:
        one.begin_worker()
        one.snapshots.order()
        one.write()
        one.snapshots.outdate()
        one.snapshots.renew()
        assert one.orders == [], "the memory is on its way to the file"
        may_go_on.set()
        await one.until(lambda: bool(one.orders))
        one.write(AFTER)
        await one.snapshots.saved(SECONDS)
        assert one.saved() == AFTER

    play(path, scene)


def test_a_disk_that_takes_nothing_is_not_asked_again_and_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)

    async def scene(one: Play) -> None:
        one.begin_worker()
        one.snapshots.outdate()
        one.snapshots.renew()
        one.write()
        await one.until(lambda: bool(one.said))
        await asyncio.sleep(0.05)
        assert one.orders == []
        assert one.saved() == OCTETS

    play(path, scene)


@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_file_that_could_not_be_replaced_goes_with_the_daemon(path: Path, *, is_flushed: bool) -> None:
    """The next one would give its clients what was flushed here."""

    async def scene(one: Play) -> None:
        one.begin_worker()
        if is_flushed:
            one.snapshots.outdate()
        await one.snapshots.saved(SECONDS)
        assert one.saved() == (b"" if is_flushed else OCTETS)

    play(path, scene)
