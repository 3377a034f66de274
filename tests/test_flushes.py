"""The supervisor's part in a flush: told, waited for, and no snapshot that brings it back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder import flushes, link
from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.flushes import Flushes
from forwarder.snapshot_file import File, Snapshots
from forwarder.wire.names import name_from_text

PINNED = link.Pinned(
    [link.PinnedRecords(name_from_text(name), qtype, 30, []) for name in ("a.test", "b.a.test") for qtype in (1, 28)]
)


class Worker:
    """What it is told; answers when the test says so."""

    def __init__(self, file: File | None = None) -> None:
        self.orders: list[link.Order] = []
        self.is_behind = False
        self.snapshots = Snapshots(file, self._tell, print)
        self.flushes = Flushes(self._tell, self.snapshots)

    def _tell(self, order: link.Order) -> bool:
        self.orders.append(order)
        return not self.is_behind

    def ask(self, name: str = "a.test", *, below: bool = False) -> asyncio.Task[protocol.Flushed]:
        request = protocol.Flush(protocol.VERSION, name, below)
        return asyncio.create_task(self.flushes.answer(request, PINNED))


def play(scene: Callable[[Worker], Awaitable[None]], file: File | None = None) -> None:
    async def played() -> None:
        async with asyncio.timeout(20):
            await scene(Worker(file))

    asyncio.run(played())


def test_it_is_answered_when_the_worker_has_done_it() -> None:
    async def scene(worker: Worker) -> None:
        first, second = worker.ask("A.test."), worker.ask("a.test", below=True)
        await asyncio.sleep(0.01)
        assert worker.orders == [link.Flush(1, b"\1a\4test\0", False), link.Flush(2, b"\1a\4test\0", True)]
        assert not first.done()
        worker.flushes.take(link.Flushed(2, 7))
        assert await second == protocol.Flushed(7, pinned=2)
        assert not first.done()
        worker.flushes.take(link.Flushed(1, 3))
        assert await first == protocol.Flushed(3, pinned=1)
        worker.flushes.take(link.Flushed(1, 3))  # said twice, or too late: nobody waits

    play(scene)


def test_a_worker_that_died_meanwhile_knows_nothing_any_more() -> None:
    async def scene(worker: Worker) -> None:
        asked = worker.ask()
        await asyncio.sleep(0.01)
        worker.flushes.begin_worker()
        assert await asked == protocol.Flushed(0, pinned=1)

    play(scene)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "ü.test", "a b"])
def test_what_is_no_name_is_told_to_nobody(name: str) -> None:
    async def scene(worker: Worker) -> None:
        with pytest.raises(ControlError, match="there is no such name"):
            await worker.ask(name)
        assert worker.orders == []

    play(scene)


def test_a_worker_that_does_not_read_or_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushes, "PATIENCE_SECONDS", 0.05)

    async def scene(worker: Worker) -> None:
        with pytest.raises(ControlError, match="has not done it within"):
            await worker.ask()
        worker.is_behind = True
        with pytest.raises(ControlError, match="too busy"):
            await worker.ask()

    play(scene)


def test_no_snapshot_brings_it_back(tmp_path: Path) -> None:
    """From the moment it is asked for, the file is offered to nobody; when it is done, another one is ordered."""
    path = tmp_path / "snapshot"
    path.write_bytes(b"answers")
    begin = link.Begin(config=b"{}", udp=[], tcp=[], counters=0, pinned=PINNED, upstreams=link.Upstreams([]))

    async def scene(worker: Worker) -> None:
        worker.snapshots.offered(begin)
        asked = worker.ask()
        await asyncio.sleep(0.01)
        worker.snapshots.offered(begin)  # a successor
        worker.snapshots.served()
        await asyncio.sleep(0.05)
        assert worker.orders == [link.Flush(1, b"\1a\4test\0", False)]
        worker.flushes.take(link.Flushed(1, 0))
        await asked
        assert worker.orders[1:] == [link.Snapshot()]

    play(scene, File(str(path), 1000))
