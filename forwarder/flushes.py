"""The supervisor's part in a flush: has the worker forget, waits until it did, and sees that no file brings it back.

Always holds: a flush is answered when no memory of the daemon has what was flushed: not the worker's, not that of a
successor it may have got meanwhile, and no snapshot that one could be given.
"""

import asyncio
import operator
from collections.abc import Callable

from forwarder import link
from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.snapshot_file import Snapshots
from forwarder.wire.names import is_at_or_below, name_from_text

PATIENCE_SECONDS = 8.0
"""Longer than the longest `answering.deadline` (4.5 s), for which a worker may wait until what was asked before has ended."""


class Flushes:
    """The flushes that are being done; lives in a running asyncio loop."""

    def __init__(self, tell: Callable[[link.Order], bool], snapshots: Snapshots) -> None:
        """`tell` says something to the worker, False when it has not read what was said before."""
        self._tell = tell
        self._snapshots = snapshots
        self._number = 0
        self._waiting: dict[int, asyncio.Future[int]] = {}

    async def answer(self, request: protocol.Flush, pinned: link.Pinned) -> protocol.Flushed:
        """Do what was asked for; raises ControlError with why it was not done."""
        try:
            name = name_from_text(request.name)
        except ValueError as error:
            raise ControlError(f"there is no such name: {error}") from error
        entries = await self._flush(name, is_suffix=request.below)
        meant = is_at_or_below if request.below else operator.eq
        return protocol.Flushed(entries, len({record.name for record in pinned.records if meant(record.name, name)}))

    def take(self, report: link.Flushed) -> None:
        """The worker has done it."""
        done = self._waiting.get(report.number)
        if done is not None and not done.done():
            done.set_result(report.entries)

    def begin_worker(self) -> None:
        """A worker begins, with nothing in its memory: there is nothing left to wait for."""
        for done in self._waiting.values():
            if not done.done():
                done.set_result(0)

    async def _flush(self, name: bytes, *, is_suffix: bool) -> int:
        """Forget what is known of a name, and below it where it is a suffix; how many entries."""
        self._snapshots.outdate()  # from now on nothing is put back
        self._number += 1
        number = self._number
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = done
        try:
            if not self._tell(link.Flush(number, name, is_suffix)):
                raise ControlError("the worker is too busy to be told: try again")
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await done
        except TimeoutError:
            raise ControlError(f"the worker has not done it within {PATIENCE_SECONDS:.0f} s: try again") from None
        finally:
            del self._waiting[number]
            self._snapshots.renew()  # what was written meanwhile is not good either
