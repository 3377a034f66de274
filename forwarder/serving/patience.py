"""How long a client waits for an answer when something is known of its question already: a stale answer, a former failure.

Always holds: nobody is told something stale or old while a fresh answer may still come in time, unless no upstream answers at
all; a question that failed is not asked again before its rest is over; once a client was told, the asking goes on without it.
"""

from collections.abc import Callable
from enum import Enum, auto

from forwarder.cache.answers import Answer
from forwarder.cache.failures import Failure
from forwarder.serving.coalescing import Asker

Known = Answer | Failure
"""What a client can be told without an upstream: a stale answer, or how the question failed the last time."""
SLOW_STALE = 30.0
"""Seconds past its end for which an answer stands in where the upstream is merely slow. RFC 8767 section 4 gives a stale answer
a TTL of 30 s: a cache that asked us just before the end would hold it for as long. Older ones are for when nobody answers."""


class Patience(Enum):
    """What a client waits for."""

    NONE = auto()
    """It is told what is known, and nobody is asked: that was tried a moment ago."""
    ASKED_BEHIND = auto()
    """It is told what is known, and the question is asked in the background: no upstream has answered lately."""
    SHORT = auto()
    """For `client_response_timer`: then it is told what is known, and the asking goes on."""
    LONG = auto()
    """Until the asking has come to its end."""


def patience_for(
    stale: Answer | None, failure: Failure | None, recheck: float, now: float, *, is_down: bool
) -> Patience:  # fmt: skip
    """What a client waits for; `recheck` is the failure_recheck_timer, `is_down` whether every upstream counts as down.

    A failed question rests for its failure's TTL (RFC 9520 section 3.2), with a stale answer at hand for `recheck` seconds at
    least (RFC 8767 section 5).
    """
    if failure is not None and now < failure.rests_until(recheck if stale is not None else 0.0):
        return Patience.NONE
    if stale is not None:
        if is_down:
            return Patience.ASKED_BEHIND
        is_usable_for_slow = failure is not None or now < stale.expires_at + SLOW_STALE
        return Patience.SHORT if is_usable_for_slow else Patience.LONG
    return Patience.SHORT if failure is not None and failure.timed_out else Patience.LONG


class ClientResponseTimer:
    """A question's: when it is due, all who wait are told what was known before (RFC 8767 section 5)."""

    __slots__ = ("_first", "_known", "_tell", "due")

    def __init__(self, first: Asker, known: Known, tell: Callable[[Asker, Known, float], None]) -> None:
        self.due = 0.0
        self._first = first
        self._known = known
        self._tell = tell

    def look(self, now: float) -> int:
        """It is due."""
        self._first.is_timed = False
        self._tell(self._first, self._known, now)
        return 1
