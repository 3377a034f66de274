"""Many queries on one stream: message IDs given out, responses matched in any order (RFC 7766 sections 6.2.1.1 and 7).

Pure. Always holds: two queries outstanding on one stream never have the same ID.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

MAX_OUTSTANDING = 512
"""Queries outstanding on one stream: a drawn ID is then free at the first try in 99 of 100, and a connection that dies takes no
more with it. unbound stops at about as many."""

Q = TypeVar("Q")


class Pipeline(Generic[Q]):
    """What is outstanding on one stream, by message ID, oldest first; whoever takes a query out frees its ID."""

    __slots__ = ("_draw", "outstanding")

    def __init__(self, draw: Callable[[], int]) -> None:
        self._draw = draw
        self.outstanding: dict[int, Q] = {}

    def __len__(self) -> int:
        return len(self.outstanding)

    def admit(self, query: Q) -> int:
        """An ID for the query, which is outstanding from now on; with MAX_OUTSTANDING there is to be no more of them."""
        identity = self._draw()
        while identity in self.outstanding:
            identity = self._draw()
        self.outstanding[identity] = query
        return identity

    def take_all(self) -> list[Q]:
        """Everything outstanding, oldest first, when the stream is dead."""
        queries = list(self.outstanding.values())
        self.outstanding.clear()
        return queries
