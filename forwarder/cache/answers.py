"""The answers cache: what is known of a question, positive or negative, as whole responses (design: one entry a question).

Keys are `Query.key`: lower-cased QNAME, QTYPE, QCLASS, DO and CD. Freshness is asked here and nowhere else. Always holds: a
response of TTL 0 or of a failure is never kept, half an answer replaces nothing usable, entries stay within the byte budget.
"""

from forwarder.cache.bounded import Bounded, Entry
from forwarder.cache.lifetime import Limits, lifetime_for
from forwarder.wire.records import POSITIVE, Kind, Response, with_ttls_capped

DANGLING = Kind.DANGLING
ENTRY_OVERHEAD = 560
"""Octets an entry costs beyond its message and key: objects, its place in the dict, what the allocator loses. Measured as the
growth of PSS while `benchmarks/million.py` fills the cache, CPython 3.11, rounded up."""


class Answer(Entry, kw_only=True, eq=False, gc=False):
    """A response and the time it is good for."""

    response: Response
    stored_at: float
    expires_at: float
    turn: int = 0
    """How often it was fitted: which address comes first next time."""
    spellings: int = 0
    """Spellings of the question that the exact cache took in its round `spelled_at`."""
    spelled_at: float = 0.0

    def age(self, now: float) -> int:
        """Whole seconds since it was stored: what TTLs have counted down by."""
        return int(now - self.stored_at)


class AnswerCache:
    """Answers by question."""

    __slots__ = ("_entries", "_recall")

    def __init__(self, budget: int) -> None:
        self._entries: Bounded[Answer] = Bounded(budget)
        self._recall = self._entries.entries.get

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used(self) -> int:
        """Octets charged."""
        return self._entries.used

    @property
    def positive(self) -> int:
        """How many of the entries are positive."""
        return self._entries.groups[1]

    def take_evictions(self) -> int:
        """Entries that had to go before their time, since the last call."""
        taken, self._entries.evictions = self._entries.evictions, 0
        return taken

    def fresh(self, key: bytes, now: float) -> Answer | None:
        """The answer to this question, while its TTLs last."""
        answer = self._recall(key)
        if answer is None or now >= answer.expires_at:
            return None
        answer.visited = True
        return answer

    def put(self, key: bytes, response: Response, limits: Limits, now: float) -> Response:
        """Keep a response for as long as it may be kept; returns it as it is to be told, its TTLs capped.

        A negative response tells no TTL above its lifetime (RFC 2308 section 5).
        """
        lifetime = lifetime_for(response, limits)
        cap = limits.max_ttl if response.kind is POSITIVE else lifetime
        if response.most_ttl > cap:
            response = with_ttls_capped(response, cap)
        if lifetime > 0 and not (response.kind is DANGLING and self._holds_usable(key, now)):
            size = ENTRY_OVERHEAD + len(key) + len(response.message)
            group = 1 if response.kind is POSITIVE else 0
            self._entries.put(Answer(key, size, group, response=response, stored_at=now, expires_at=now + lifetime))
        return response

    def kept(self) -> list[Answer]:
        """Everything known, whether it is still of use or not, the oldest first."""
        return list(self._entries.entries.values())

    def restore(self, key: bytes, response: Response, limits: Limits, stored_at: float) -> bool:
        """Whether a response of former times is kept as of then: not where something newer is known."""
        known = self._entries.entries
        if key in known:
            return False
        self.put(key, response, limits, stored_at)
        return key in known

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _holds_usable(self, key: bytes, now: float) -> bool:
        known = self._recall(key)
        return known is not None and known.response.kind is not Kind.DANGLING and now < known.expires_at
