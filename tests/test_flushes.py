"""The supervisor's part in a flush: all workers told, all waited for, and no snapshot that brings it back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder import flushes, link
from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.snapshot_file import File, Snapshots
from forwarder.wire.names import name_from_text
from tests.lab.asked import AskedWorker

PINNED = link.Pinned(
    [link.PinnedRecords(name_from_text(name), qtype, 30, []) for name in ("a.test", "b.a.test") for qtype in (1, 28)]
)
ALONE, BELOW = link.Flush(b"\1a\4test\0", False), link.Flush(b"\1a\4test\0", True)


class Stage:
    """Workers that do what the test says, and those who ask for a flush."""

    def __init__(self, file: File | None) -> None:
        self.workers = [AskedWorker(), AskedWorker()]
        self.snapshots = Snapshots(file, self.workers, print)

    def ask(self, name: str = "a.test", *, below: bool = False) -> asyncio.Task[protocol.Flushed]:
        request = protocol.Flush(protocol.VERSION, name, below)
        return asyncio.create_task(flushes.flush(request, self.workers, self.snapshots, PINNED))

    @property
    def orders(self) -> list[list[link.Numbered]]:
        """What each worker has to do."""
        return [worker.orders for worker in self.workers]


def play(scene: Callable[[Stage], Awaitable[None]], file: File | None = None) -> None:
    async def played() -> None:
        async with asyncio.timeout(20):
            await scene(Stage(file))

    asyncio.run(played())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what changes has nothing to await
        await asyncio.sleep(0.005)


def test_it_is_answered_when_every_worker_has_done_it() -> None:
    async def scene(stage: Stage) -> None:
        asked = stage.ask("A.test.")
        await asyncio.sleep(0.01)
        assert stage.orders == [[ALONE], [ALONE]]
        stage.workers[1].report(link.Flushed(0, 3))
        await asyncio.sleep(0.01)
        assert not asked.done(), "one of them may still tell it"
        stage.workers[0].report(link.Flushed(0, 4))
        assert await asked == protocol.Flushed(7, pinned=1)

    play(scene)


def test_two_at_once_are_answered_each_when_it_is_done() -> None:
    async def scene(stage: Stage) -> None:
        first, second = stage.ask("A.test."), stage.ask("a.test", below=True)
        await asyncio.sleep(0.01)
        assert stage.orders == [[ALONE, BELOW]] * 2
        for worker in stage.workers:
            worker.report(link.Flushed(0, 3))
        assert await first == protocol.Flushed(6, pinned=1)
        assert not second.done()
        for worker in stage.workers:
            worker.report(link.Flushed(0, 7))
        assert await second == protocol.Flushed(14, pinned=2)

    play(scene)


def test_a_worker_that_died_meanwhile_knows_nothing_any_more() -> None:
    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        stage.workers[0].die()
        stage.workers[1].report(link.Flushed(0, 2))
        assert await asked == protocol.Flushed(2, pinned=1)

    play(scene)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "ü.test", "a b"])
def test_what_is_no_name_is_told_to_nobody(name: str) -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(ControlError, match="there is no such name"):
            await stage.ask(name)
        assert stage.orders == [[], []]

    play(scene)


def test_a_worker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushes, "PATIENCE_SECONDS", 0.05)

    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        stage.workers[0].report(link.Flushed(0, 1))
        with pytest.raises(ControlError, match="has not done it within"):
            await asked

    play(scene)


def test_no_snapshot_brings_it_back(tmp_path: Path) -> None:
    """From the moment it is asked for, the file is offered to nobody; when it is done, another one is ordered."""
    path = tmp_path / "snapshot"
    path.write_bytes(b"answers")

    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        stage.snapshots.reload(stage.workers[1])  # a successor
        await asyncio.sleep(0.05)
        assert stage.orders == [[ALONE], [ALONE]]
        for worker in stage.workers:
            worker.report(link.Flushed(0, 0))
        await asked
        await until(lambda: stage.orders == [[link.Snapshot()]] * 2)

    play(scene, File(str(path), 1000))


def test_nor_when_a_worker_has_not_done_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some may have: what the file holds is not true of them any more."""
    monkeypatch.setattr(flushes, "PATIENCE_SECONDS", 0.05)
    path = tmp_path / "snapshot"
    path.write_bytes(b"answers")

    async def scene(stage: Stage) -> None:
        with pytest.raises(ControlError, match="has not done it within"):
            await stage.ask()
        await until(lambda: stage.orders == [[ALONE, link.Snapshot()]] * 2)

    play(scene, File(str(path), 1000))
