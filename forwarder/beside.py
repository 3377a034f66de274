"""Work beside the answering of queries: started, waited for at the end, and told of when a defect ends it.

Always holds: what breaks here ends nothing else; no task is forgotten while it runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from forwarder.levels import Err


class Beside:
    """The work that is under way; lives in a running asyncio loop."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` takes one line about a defect."""
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have it done; `name` is what a line about its defect begins with."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._say_why(name, ended))
        task.add_done_callback(self._tasks.discard)
        return task

    async def ended(self) -> None:
        """Wait until all of it is done."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Have all of it end."""
        for task in self._tasks:
            task.cancel()

    def _say_why(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._say(Err(f"{name} ended, DNS goes on: {defect!r}. Please report this; a restart brings it back"))


async def has_happened(event: asyncio.Event, seconds: float) -> bool:
    """Whether this happens within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
