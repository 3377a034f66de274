"""One question, one upstream query, many askers.

Pure. The key is the question alone (`Query.key`): who asks changes nothing about the answer. Always holds: a question is in progress
once; the questions in progress and the askers of each are bounded.
"""

from typing import Protocol

from forwarder.wire.message import Query

MAX_WAITERS = 512
"""Askers of one question in progress: more are told SERVFAIL at once. A node with as many pods asking the same name in the same
fraction of a second has a retry storm, not clients."""


class Door(Protocol):
    """Where a query came in and its response goes out."""

    row: int
    """Its first slot in the counters."""
    is_stream: bool
    """Whether a response may have any size."""

    def reply(self, peer: object, message: bytes) -> None:
        """Send a response to whom the door knows by this name."""


class Asker:
    """Someone who waits for the answer."""

    __slots__ = ("door", "peer", "query", "received_at")

    def __init__(self, query: Query, door: Door, peer: object, received_at: float) -> None:
        self.query = query
        self.door = door
        self.peer = peer
        self.received_at = received_at


class InProgress:
    """A question that is being asked, and who wants to know."""

    __slots__ = ("askers", "query", "until")

    def __init__(self, asker: Asker, until: float) -> None:
        self.query = asker.query
        self.askers = [asker]
        self.until = until
        """When all of them must have their response, the first being the first to run out of time."""


class Coalescing:
    """The questions in progress."""

    __slots__ = ("_coalesced", "_max_in_progress", "_questions")

    def __init__(self, max_in_progress: int) -> None:
        self._max_in_progress = max_in_progress
        self._questions: dict[bytes, InProgress] = {}
        self._coalesced = 0

    def __len__(self) -> int:
        return len(self._questions)

    def take_coalesced(self) -> int:
        """Askers that joined a question somebody else had asked, since the last call."""
        taken, self._coalesced = self._coalesced, 0
        return taken

    def admit(self, asker: Asker, until: float) -> InProgress | None:
        """The question that the asker waits for from now on, to be asked if it has no other asker yet.

        None: too many are in progress, or this one has as many askers as it may have.
        """
        key = asker.query.key
        progress = self._questions.get(key)
        if progress is None:
            if len(self._questions) >= self._max_in_progress:
                return None
            progress = self._questions[key] = InProgress(asker, until)
            return progress
        if len(progress.askers) >= MAX_WAITERS:
            return None
        progress.askers.append(asker)
        self._coalesced += 1
        return progress

    def end(self, progress: InProgress) -> list[Asker]:
        """Everybody who waits for this question, which is in progress no more."""
        del self._questions[progress.query.key]
        return progress.askers
