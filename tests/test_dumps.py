"""The supervisor's part in a dump: every worker asked, copies given away, nothing held afterwards."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from forwarder import dumps, link
from forwarder.control import protocol
from forwarder.control.listening import Conversation
from forwarder.errors import ControlError
from forwarder.snapshot_file import Snapshots
from tests.lab.asked import AskedWorker

PINNED = link.Pinned([link.PinnedRecords(b"\1a\4test\0", 1, 30, [b"\xc0\0\2\1"])])
SECONDS = 20


class Stage:
    """Two workers that do what the test says, and who asks for a dump."""

    def __init__(self, connection: socket.socket) -> None:
        self.workers = [AskedWorker(), AskedWorker()]
        self.snapshots = Snapshots(None, self.workers, print)
        self.conversation = Conversation(connection)

    def ask(self) -> asyncio.Task[protocol.Dumped]:
        return asyncio.create_task(dumps.dump(self.conversation, self.snapshots, PINNED))


def copies() -> int:
    """Memories that this process has open and that were to be given away."""
    links = Path("/proc/self/fd").iterdir()
    return sum("forwarder-dump" in str(link.readlink()) for link in links if link.is_symlink())


def play(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def played() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            async with asyncio.timeout(SECONDS):
                await scene(Stage(ours))

    asyncio.run(played())
    assert copies() == 0, "a copy was left open"


def test_what_each_worker_wrote_is_given_and_let_go() -> None:
    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        assert [worker.orders for worker in stage.workers] == [[link.Snapshot()]] * 2
        stage.workers[0].write(b"answers of one")
        stage.workers[1].write(b"of the other")
        dumped = await asked
        assert dumped == protocol.Dumped(len(link.written(PINNED)), [14, 12])
        names, *answers = [os.pread(descriptor, 1000, 0) for descriptor in stage.conversation.descriptors]
        assert link.read_order(names) == PINNED
        assert answers == [b"answers of one", b"of the other"]
        assert not stage.snapshots.use.locked(), "whoever reads slowly holds nobody up"
        assert [os.fstat(worker.memory).st_size for worker in stage.workers] == [0, 0], "the workers' memory is given back"
        stage.conversation.let_go()

    play(scene)


def test_a_worker_that_died_meanwhile_remembers_nothing() -> None:
    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        stage.workers[0].die()
        stage.workers[1].write(b"of the other")
        assert (await asked).snapshots == [12]
        stage.conversation.let_go()

    play(scene)


@pytest.mark.parametrize("is_held", [True, False])
def test_who_does_not_come_to_it_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, is_held: bool) -> None:  # noqa: FBT001 - a case
    """A worker that hangs, or a disk that does while the snapshot is saved."""
    monkeypatch.setattr(dumps, "PATIENCE_SECONDS", 0.05)

    async def scene(stage: Stage) -> None:
        if is_held:
            await stage.snapshots.use.acquire()
        with pytest.raises(ControlError, match="not written within"):
            await stage.ask()
        assert stage.snapshots.use.locked() == is_held

    play(scene)


def test_no_memory_is_a_refusal() -> None:
    async def scene(stage: Stage) -> None:
        asked = stage.ask()
        await asyncio.sleep(0.01)
        for worker in stage.workers:
            worker.report(link.SnapshotWritten(0, 0, "the memory for it: no space"))
        with pytest.raises(ControlError, match="no memory"):
            await asked
        assert not stage.snapshots.use.locked()

    play(scene)


def test_two_at_once_are_answered_one_after_the_other() -> None:
    """Workers have one memory to write into."""

    async def scene(stage: Stage) -> None:
        first, second = stage.ask(), stage.ask()
        await asyncio.sleep(0.01)
        assert [worker.orders for worker in stage.workers] == [[link.Snapshot()]] * 2, "one after the other"
        for worker in stage.workers:
            worker.write(b"first")
        assert (await first).snapshots == [5, 5]
        stage.conversation.let_go()
        while not all(worker.orders for worker in stage.workers):  # noqa: ASYNC110 - what changes has nothing to await
            await asyncio.sleep(0.005)
        for worker in stage.workers:
            worker.write(b"the second")
        assert (await second).snapshots == [10, 10]
        stage.conversation.let_go()

    play(scene)
