"""The failure cache: questions nobody answered, and for how long they are not asked again (RFC 9520).

Keys are those of the answers cache. A failure holds for `failure_ttl`, twice as long each time it repeats, `max_failure_ttl`
at most. It is remembered for `max_failure_ttl` beyond that: whether the next one repeats it, and whether its clients have
waited for a time-out once before, is known from it.

Always holds: one good answer forgets it; a time-out is forgotten when an upstream of its zone came back; entries stay within
the byte budget.
"""

from itertools import islice
from typing import Protocol

from forwarder.cache.bounded import Bounded, Entry

ENTRY_OVERHEAD = 480
"""Octets an entry costs beyond its key and text: the struct, its two times, the text's own header, its place in the dict."""

EXPIRED_AT_ONCE = 512
"""Failures looked at in one go, some 100 microseconds; once a second, all that 1 MiB holds are gone within four seconds."""


class Reason(Protocol):
    """Why a question was not answered."""

    @property
    def text(self) -> str:
        """As the clients are told who wait for it."""

    @property
    def timed_out(self) -> bool:
        """Nobody answered in time; False: the upstreams said that they cannot, or could not be reached."""

    @property
    def rcode(self) -> int:
        """What the clients are told."""


class Failure(Entry, kw_only=True, eq=False, gc=False):
    """What came of the last asking of a question."""

    text: str
    timed_out: bool
    rcode: int
    recoveries: int
    """How often upstreams of its zone had come back until then."""
    failed_at: float
    ttl: float
    """Seconds it holds."""

    def rests_until(self, at_least: float = 0.0) -> float:
        """Until when the question is not asked again, where it is to rest for so many seconds at least."""
        return self.failed_at + max(self.ttl, at_least)


class Failures:
    """Failures by question."""

    __slots__ = ("_entries", "_first_ttl", "_longest_ttl", "entries")

    def __init__(self, budget: int, first_ttl: float, longest_ttl: float) -> None:
        self._entries: Bounded[Failure] = Bounded(budget)
        self._first_ttl = first_ttl
        self._longest_ttl = longest_ttl
        self.entries = self._entries.entries
        """Whatever stands under a key, forgotten or not; to look into, not to change."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used(self) -> int:
        """Octets charged."""
        return self._entries.used

    def take_evictions(self) -> int:
        """Entries that had to go before their time, since the last call."""
        return self._entries.take_evictions()

    def known(self, key: bytes, recoveries: int, now: float) -> Failure | None:
        """The last failure of this question, while it is remembered; `recoveries` of its zone so far."""
        failure = self.entries.get(key)
        if failure is None:
            return None
        came_back = failure.timed_out and failure.recoveries != recoveries
        if came_back or self._is_over(failure, now):
            self._entries.remove(failure)
            return None
        failure.visited = True
        return failure

    def put(self, key: bytes, reason: Reason, recoveries: int, now: float) -> None:
        """Remember that the question failed, twice as long as the last time."""
        text, timed_out, rcode = reason.text, reason.timed_out, reason.rcode
        last = self.known(key, recoveries, now)
        ttl = min(last.ttl * 2, self._longest_ttl) if last is not None else self._first_ttl
        size = ENTRY_OVERHEAD + len(key) + len(text)
        self._entries.put(
            Failure(key, size, text=text, timed_out=timed_out, rcode=rcode, recoveries=recoveries, failed_at=now, ttl=ttl)
        )

    def forget(self, key: bytes) -> None:
        """The question, which is known to have failed, was answered, or is to be asked again."""
        self._entries.remove(self.entries[key])

    def expire(self, now: float) -> None:
        """Let go of what is over, among the EXPIRED_AT_ONCE oldest."""
        for failure in list(islice(self.entries.values(), EXPIRED_AT_ONCE)):
            if self._is_over(failure, now):
                self._entries.remove(failure)

    def clear(self) -> None:
        """Forget everything, as when others are asked from now on."""
        self._entries.clear()

    def _is_over(self, failure: Failure, now: float) -> bool:
        return now >= failure.failed_at + failure.ttl + self._longest_ttl
