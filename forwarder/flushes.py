"""The supervisor's part in a flush: has all workers forget, waits until they did, and sees that no file brings it back.

Always holds: a flush is answered when no memory of the daemon has what was flushed: not that of a worker, not that of a
successor it may have got meanwhile, and no snapshot that one could be given.
"""

import asyncio
import operator
from collections.abc import Sequence

from forwarder import link
from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.snapshot_file import Asked, Snapshots
from forwarder.wire.names import is_at_or_below, name_from_text

PATIENCE_SECONDS = 8.0
"""Longer than the longest `answering.deadline` (4.5 s), for which a worker may wait until what was asked before has ended."""


async def flush(
    request: protocol.Flush, workers: Sequence[Asked], snapshots: Snapshots, pinned: link.Pinned
) -> protocol.Flushed:
    """Do what was asked for; raises ControlError with why it was not done."""
    try:
        name = name_from_text(request.name)
    except ValueError as error:
        raise ControlError(f"there is no such name: {error}") from error
    snapshots.outdate()  # from now on nothing is put back
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reports = await asyncio.gather(*(worker.ask(link.Flush(name, request.below)) for worker in workers))
    except TimeoutError:
        raise ControlError(f"a worker has not done it within {PATIENCE_SECONDS:.0f} s: try again") from None
    finally:
        snapshots.renew()  # what was written meanwhile is not good either
    meant = is_at_or_below if request.below else operator.eq
    return protocol.Flushed(
        entries=sum(report.entries for report in reports if isinstance(report, link.Flushed)),
        pinned=len({record.name for record in pinned.records if meant(record.name, name)}),
    )
