"""The answers cache: what is known of a question, positive or negative, as whole responses (design: one entry a question).

Keys are `Query.key`: lower-cased QNAME, QTYPE, QCLASS, DO and CD. An answer is fresh while its TTLs last; then, if positive,
stale for the zone's `maximum_stale_timer` (RFC 8767); then gone. That is asked here and nowhere else. What is no longer fresh
stays where it is until SIEVE needs the room.

Always holds: a response of TTL 0 or of a failure is never kept, and the first ends what was known before; a negative answer is
never stale; half an answer replaces nothing usable, fresh or stale; entries stay within the byte budget.
"""

from collections.abc import Iterator

from forwarder.cache.bounded import Bounded, Entry
from forwarder.cache.lifetime import Limits, lifetime_for, stale_lifetime_for
from forwarder.wire.message import KEY_BEHIND_NAME, Rcode
from forwarder.wire.records import POSITIVE, Kind, Response, with_ttls_capped

DANGLING, FAILURE = Kind.DANGLING, Kind.FAILURE
LAST_PART = 10
"""One part in so many at the end of an answer's life, in which it is fetched again if somebody asks: early enough for an
upstream that takes its time, late enough to ask a tenth more often at most. unbound's prefetch takes the same."""
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
    is_asked_ahead: bool = False
    """Whether its successor was asked for before its end: once is enough."""

    def is_ending(self, now: float) -> bool:
        """Whether it is in the last part of its life, and its successor not asked for yet."""
        return not self.is_asked_ahead and (self.expires_at - now) * LAST_PART <= self.expires_at - self.stored_at

    def age(self, now: float) -> int:
        """Whole seconds since it was stored: what TTLs have counted down by."""
        return int(now - self.stored_at)


class AnswerCache:
    """Answers by question."""

    __slots__ = ("_entries", "_recall", "entries")

    def __init__(self, budget: int) -> None:
        self._entries: Bounded[Answer] = Bounded(budget)
        self.entries = self._entries.entries
        """Whatever stands under a key, fresh, stale or gone; to look into, not to change."""
        self._recall = self.entries.get

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
        return self._entries.take_evictions()

    def fresh(self, key: bytes, now: float) -> Answer | None:
        """The answer to this question, while its TTLs last."""
        answer = self._recall(key)
        if answer is None or now >= answer.expires_at:
            return None
        answer.visited = True
        return answer

    def stale(self, key: bytes, limits: Limits, now: float) -> Answer | None:
        """The answer to this question whose TTLs ran out, while it may stand in for one that cannot be had (RFC 8767)."""
        answer = self._recall(key)
        if answer is None:
            return None
        gone_at = answer.expires_at + stale_lifetime_for(answer.response, limits)
        return answer if answer.expires_at <= now < gone_at else None

    def put(self, key: bytes, response: Response, limits: Limits, now: float) -> Response:
        """Keep a response for as long as it may be kept; returns it as it is to be told, its TTLs capped.

        A negative response tells no TTL above its lifetime (RFC 2308 section 5). One that may not be kept still says that what
        was known before is over.
        """
        lifetime = lifetime_for(response, limits)
        group, cap = (1, limits.max_ttl) if response.kind is POSITIVE else (0, lifetime)
        if response.most_ttl > cap:
            response = with_ttls_capped(response, cap)
        if not group and not self._says_more(response, key, limits, now):
            return response
        if lifetime > 0:
            size = ENTRY_OVERHEAD + len(key) + len(response.message)
            self._entries.put(Answer(key, size, group, response=response, stored_at=now, expires_at=now + lifetime))
        elif (known := self._recall(key)) is not None:
            self._entries.remove(known)
        return response

    def found(self, now: float) -> Iterator[bytes]:
        """The names, lower-cased wire form, of which a fresh answer says that they exist; some more than once."""
        for key, answer in self.entries.items():
            if answer.response.rcode == Rcode.NOERROR and now < answer.expires_at:
                yield key[:-KEY_BEHIND_NAME]

    def kept(self) -> list[Answer]:
        """Everything known, whether it is still of use or not, the oldest first."""
        return list(self.entries.values())

    def restore(self, key: bytes, response: Response, limits: Limits, stored_at: float) -> bool:
        """Whether a response of former times is kept as of then: not where something newer is known."""
        if key in self.entries:
            return False
        self.put(key, response, limits, stored_at)
        return key in self.entries

    def forget(self, answer: Answer) -> None:
        """What is known under a key is to be known no more."""
        self._entries.remove(answer)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _says_more(self, response: Response, key: bytes, limits: Limits, now: float) -> bool:
        """Whether a response that is not positive says more than what is known: failures never, half an answer seldom."""
        if response.kind is not DANGLING:
            return response.kind is not FAILURE
        known = self._recall(key)
        if known is None or known.response.kind is DANGLING:
            return True
        return now >= known.expires_at and self.stale(key, limits, now) is None
