"""A worker without a supervisor: who is answered, what is given, and what is left when nobody comes."""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forwarder import handover, link
from forwarder.control import asking, protocol
from forwarder.control.place import Place, taken_place
from forwarder.errors import ControlError
from forwarder.observe import counters
from forwarder.orphan import Orphan

SECONDS = 20
ROWS = ["192.0.2.1:53"]


@dataclass
class Bench:
    """An orphan's surroundings."""

    path: Path
    place: Place
    past: int
    counters: int
    memory: int
    written: int = 0
    estate: link.Estate = field(init=False)

    def __post_init__(self) -> None:
        for descriptor in (self.past, self.counters):
            os.ftruncate(descriptor, counters.SIZE * 8)
        control = self.place.listener.fileno()
        self.estate = link.Estate([], self.past, control, str(self.path), made_directory=False, workers=1)

    async def write(self) -> link.Part:
        self.written += 1
        return link.Part(self.memory, os.pwrite(self.memory, b"answers", 0))

    def orphan(self) -> Orphan:
        return Orphan(self.estate, self.place, self.counters, ROWS, self.write)


def orphaned(directory: Path, visit: Callable[[Bench], None], seconds: float = SECONDS) -> bool:
    """Be one for at most so long while somebody visits, from another thread; whether its file is there at the end."""

    async def played() -> bool:
        path = directory / "control.sock"
        memories = [os.memfd_create("test") for _ in range(3)]
        bench = Bench(path, taken_place([str(path)]), *memories)
        async with asyncio.timeout(2 * SECONDS):
            serving = asyncio.create_task(bench.orphan().serve(seconds))
            await asyncio.to_thread(visit, bench)
            await serving
        for memory in memories:
            os.close(memory)
        return path.exists()

    return asyncio.run(played())


def test_nobody_comes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert not orphaned(tmp_path, lambda _: None, 0.1), "its control socket was left behind"
    assert capfd.readouterr().err == (
        "forwarder: the supervisor is gone: serving on for 0 s, until `forwarder run` takes over\n"
        "forwarder: nobody took over: leaving. Start it again: forwarder run\n"
    )


def test_a_successor_is_given_everything_and_then_it_is_over(tmp_path: Path) -> None:
    """But for the conversation, which ends with the process: until then it counts what it still answers."""
    taken: list[tuple[handover.Legacy, socket.socket]] = []

    def visit(bench: Bench) -> None:
        legacy = handover.taken_from([str(bench.path)])
        assert [os.pread(part.memory, part.size, 0) for part in legacy.memories] == [b"answers"]
        assert (len(legacy.counters), legacy.rows, legacy.pids) == (2, ROWS, [os.getpid()])
        control = legacy.take_control()
        assert control is not None
        assert control.getsockname() == str(bench.path)
        (connection,) = legacy.release()
        taken.append((legacy, connection))
        control.close()

    assert orphaned(tmp_path, visit), "the successor's control socket was taken away"
    ((legacy, connection),) = taken
    with pytest.raises(BlockingIOError):
        connection.recv(1)
    legacy.close()


def test_a_successor_that_goes_again_changes_nothing(tmp_path: Path) -> None:
    def visit(bench: Bench) -> None:
        for _ in range(2):
            handover.taken_from([str(bench.path)]).close()
        legacy = handover.taken_from([str(bench.path)])
        assert bench.written == 3
        legacy.release()
        legacy.close()

    assert orphaned(tmp_path, visit)


@pytest.mark.parametrize("request_", [protocol.Flush(1, "a.test"), protocol.Reload(1), protocol.Release(1)])
def test_whatever_else_is_asked_is_told_what_to_do(tmp_path: Path, request_: protocol.Request) -> None:
    def visit(bench: Bench) -> None:
        with pytest.raises(ControlError, match=r"lost its supervisor: start it again \(forwarder run\), which takes over"):
            asking.ask([str(bench.path)], request_)

    assert not orphaned(tmp_path, visit, 0.5)


def test_one_of_another_age_is_refused_and_it_serves_on(tmp_path: Path) -> None:
    def visit(bench: Bench) -> None:
        with pytest.raises(ControlError, match="stop it, then start the other one"):
            asking.ask([str(bench.path)], protocol.Takeover(1, protocol.HANDOVER_VERSION + 1))
        assert bench.written == 0
        legacy = handover.taken_from([str(bench.path)])
        legacy.release()
        legacy.close()

    assert orphaned(tmp_path, visit)


def test_it_leaves_further_visitors_to_its_siblings(tmp_path: Path) -> None:
    """All of them listen at one place; whoever was given one's answers must meet another next."""

    def visit(bench: Bench) -> None:
        first = asking.connected([str(bench.path)])
        asking.answer_to(first, protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION))
        with asking.connected([str(bench.path)], 0.3) as second, pytest.raises(ControlError, match="did not answer within"):
            asking.answer_to(second, protocol.Takeover(protocol.VERSION, protocol.HANDOVER_VERSION))
        first.close()

    assert not orphaned(tmp_path, visit, 1.5)
