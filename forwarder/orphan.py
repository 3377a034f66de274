"""A worker whose supervisor was killed: it serves on for a while, and hands over to the first instance that asks.

What it needs for that it was given at the start, the control socket too. Always holds: it never asks for more than it has, and
starts nothing; when its time is over it takes the control socket's file away, so that nothing is left of the daemon.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

from forwarder import handover, link
from forwarder.control import listening, protocol
from forwarder.control.place import Place
from forwarder.errors import ControlError
from forwarder.levels import Err
from forwarder.terminal import say

SERVE_ON_SECONDS = 30.0
"""An instance that is started again comes within seconds; by then whoever watches over the node should know."""


class Orphan:
    """One worker without a supervisor; lives in a running asyncio loop."""

    def __init__(
        self,
        estate: link.Estate,
        control: Place,
        counters: int,
        rows: list[str],
        write: Callable[[], Awaitable[link.Part]],
    ) -> None:
        """`counters` is the descriptor of its own map; `write` has all answers written, and says where they stand."""
        self._estate = estate
        self._control = control
        self._counters = counters
        self._rows = rows
        self._write = write
        self._over = asyncio.Event()

    async def serve(self, seconds: float = SERVE_ON_SECONDS) -> None:
        """Until a successor serves, or nobody came for so long; then the worker is to drain."""
        say(f"the supervisor is gone: serving on for {seconds:.0f} s, until `forwarder run` takes over")
        waiting = asyncio.create_task(listening.Listening(self._control, self._answer, say, 1).serve(self._over))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        if not self._over.is_set():
            say(Err("nobody took over: leaving. Start it again: forwarder run"))
        self._over.set()
        await waiting

    async def _answer(self, request: protocol.Request, conversation: listening.Conversation) -> protocol.Response:
        match request:
            case protocol.Takeover():
                handover.ensure_understood(request)
                conversation.on_end = _nothing
                parts = []
                with contextlib.suppress(OSError):  # without memory for the answers it begins with none
                    parts = [await self._write()]
                return handover.given(conversation, self._estate, parts, [self._counters], self._rows)
            case protocol.Release() if conversation.on_end is not None:
                self._control.is_ours = False
                os.dup(conversation.connection.fileno())  # open until the process ends: so the successor knows that it has
                self._over.set()
                return protocol.Released()
            case _:
                raise ControlError("this daemon lost its supervisor: start it again (forwarder run), which takes over")


def _nothing() -> None:
    """A successor that goes before it serves changes nothing."""
