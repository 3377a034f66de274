"""One question, one upstream query, many askers, or none: what is asked again in the background is in progress like any other.

Pure. The key is the question alone (`Query.key`): who asks changes nothing about the answer. Always holds: a question is in
progress once; the questions in progress and the askers of each are bounded.
"""

from typing import Protocol

import msgspec

from forwarder.upstream.waiting import Waiting
from forwarder.wire.message import Query

MAX_JOINED = 512
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

    def client(self, peer: object) -> bytes:
        """The address of whom the door knows by this name: 4 or 16 octets, none where there is nobody."""


class Nobody:
    """The door of a question that is asked for no client: what memory knows is made new before it ends, or after."""

    __slots__ = ("is_stream", "row")

    def __init__(self) -> None:
        self.row = 0
        self.is_stream = False

    def reply(self, peer: object, message: bytes) -> None:
        """Nobody waits."""

    def client(self, peer: object) -> bytes:  # noqa: ARG002 - as every door has it
        """Nobody asked."""
        return b""


NOBODY = Nobody()


class Asker(msgspec.Struct, eq=False):
    """Someone who waits for the answer. The first asker of a question stands for the question in progress."""

    query: Query
    door: Door
    peer: object
    received_at: float
    joined: "list[Asker] | None" = None
    """Those who asked the same while it was in progress, and wait; for the first asker alone."""
    is_waiting: bool = True
    """Whether it is still to be answered: not once it was told what was known before, nor where nobody asked."""
    is_timed: bool = False
    """Whether a client response timer runs for those who wait; for the first asker alone."""
    other_half: Waiting | None = None
    """Who waits for the outcome of this A question to tell what AAAA is; for the first asker alone."""


class Coalescing:
    """The questions in progress."""

    __slots__ = ("_coalesced", "max_in_progress", "questions")

    def __init__(self, max_in_progress: int) -> None:
        self.max_in_progress = max_in_progress
        self.questions: dict[bytes, Asker] = {}
        """The first asker of each, by key."""
        self._coalesced = 0

    def __len__(self) -> int:
        return len(self.questions)

    def take_coalesced(self) -> int:
        """Askers that joined a question somebody else had asked, since the last call."""
        taken, self._coalesced = self._coalesced, 0
        return taken

    def admit(self, asker: Asker) -> Asker | None:
        """The first asker of the question: this one, if it is to be asked now.

        None: too many are in progress, or this one has as many askers as it may have.
        """
        questions = self.questions
        key = asker.query.key
        first = questions.get(key)
        if first is None:
            if len(questions) >= self.max_in_progress:
                return None
            questions[key] = asker
            return asker
        if first.joined is None:
            first.joined = []
        elif len(first.joined) >= MAX_JOINED:
            return None
        first.joined.append(asker)
        self._coalesced += 1
        return first

    def asked_first(self, key: bytes) -> Asker | None:
        """The first asker of the question with this key, while it is in progress."""
        return self.questions.get(key)

    def may_begin(self, key: bytes) -> bool:
        """Whether the question with this key may be begun though nobody waits: it is not in progress, nor too many others."""
        return key not in self.questions and len(self.questions) < self.max_in_progress

    def begin(self, asker: Asker) -> None:
        """A question that may be begun is in progress from now on; nobody waits for it yet."""
        self.questions[asker.query.key] = asker

    def end(self, first: Asker) -> None:
        """The question is in progress no more: `first` and who joined it are to have the answer."""
        del self.questions[first.query.key]
