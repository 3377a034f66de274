"""Work beside the answering: what breaks is told, what runs is waited for."""

import asyncio
from collections.abc import Awaitable, Callable

from forwarder.beside import Beside, has_happened

LONG, SHORT = 60.0, 0.01
"""Seconds that nobody waits for, and that everybody does."""


def lines_said(scene: Callable[[Beside], Awaitable[None]]) -> list[str]:
    said: list[str] = []

    async def play() -> None:
        await scene(Beside(said.append))

    asyncio.run(play())
    return said


def test_a_defect_is_told_and_ends_nothing_else() -> None:
    done: list[str] = []

    async def broken() -> None:
        raise KeyError("x")

    async def whole() -> None:
        await asyncio.sleep(0)
        done.append("whole")

    async def scene(beside: Beside) -> None:
        beside.start("the broken one", broken())
        beside.start("the whole one", whole())
        await beside.ended()

    assert lines_said(scene) == [
        "the broken one ended, DNS goes on: KeyError('x'). Please report this; a restart brings it back"
    ]
    assert done == ["whole"]


def test_what_is_cancelled_ends_in_silence() -> None:
    async def scene(beside: Beside) -> None:
        task = beside.start("the long one", asyncio.sleep(LONG))
        beside.cancel()
        await beside.ended()
        assert task.cancelled()

    assert lines_said(scene) == []


def test_nothing_to_wait_for() -> None:
    async def scene(beside: Beside) -> None:
        await beside.ended()

    assert lines_said(scene) == []


def test_whether_it_happens_in_time() -> None:
    async def happens(*, at_all: bool) -> bool:
        event = asyncio.Event()
        if at_all:
            asyncio.get_running_loop().call_soon(event.set)
        return await has_happened(event, LONG if at_all else SHORT)

    assert asyncio.run(happens(at_all=True))
    assert not asyncio.run(happens(at_all=False))
