"""The supervisor's part in a dump: has all workers write what they remember, and gives it to the command that asked.

Never looks into it: the command does. Always holds: workers answer on meanwhile; what is given away is a copy, so that nobody
waits until a command has read it.
"""

import contextlib
import os

from forwarder import link
from forwarder.control import protocol
from forwarder.control.listening import Conversation
from forwarder.errors import ControlError
from forwarder.snapshot_file import Snapshots, memory_with

PATIENCE_SECONDS = 8.0
"""Less than a command waits for its answer; 64 MiB of answers take a worker two."""


async def dump(conversation: Conversation, snapshots: Snapshots, pinned: link.Pinned) -> protocol.Dumped:
    """The answer to `Dump`, the descriptors that go with it set. Raises ControlError with why there is none."""
    with contextlib.ExitStack() as held:
        try:
            names = memory_with(link.written(pinned), "forwarder-dump")
            held.callback(os.close, names.memory)
            answers = await snapshots.copied(PATIENCE_SECONDS)
        except TimeoutError:
            raise ControlError(f"the answers were not written within {PATIENCE_SECONDS:.0f} s: try again") from None
        except OSError as error:
            raise ControlError(f"there is no memory for a copy of the answers: {error.strerror}") from error
        for part in answers:
            held.callback(os.close, part.memory)
        conversation.descriptors = [part.memory for part in (names, *answers)]
        conversation.on_sent = held.pop_all().close
    return protocol.Dumped(names.size, [part.size for part in answers])
