"""The exact cache: a query's octets behind its ID -> the response's octets behind its ID.

It exists for speed alone: a hit parses nothing. It is filled when an answer is asked for again, lives in rounds of one second
and forgets everything at the end of each, so that TTLs are patched once a second and nothing needs to be invalidated one by
one.

Always holds: an entry is right for every client that sends these octets, over UDP and over TCP, until the round ends; at most
MAX_SPELLINGS of one question; at most `budget` octets.
"""

from forwarder.cache.answers import Answer

ROUND = 1.0
"""Seconds: a TTL is a whole number of them, so a response may be repeated for as long."""
MAX_SPELLINGS = 4
"""Spellings of one question per round. Clients that randomise case (0x20) never repeat themselves and must not fill the cache;
four leave room for with and without EDNS, and for two resolvers that differ in a flag."""
ENTRY_OVERHEAD = 320
"""Octets an entry costs beyond its octets: two bytes objects, a tuple, its place in the dict."""


class ExactCache:
    """Responses by the octets of their query."""

    __slots__ = ("_budget", "_responses", "recall", "round_ends", "used")

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._responses: dict[bytes, tuple[bytes, int]] = {}
        self.recall = self._responses.get
        """Query octets behind the ID -> (response octets behind the ID, counter slot within the door), or None. Whoever calls
        it has called `begin` with the time of this batch first. A dict's own `get`, for a call of ours would cost as much
        again."""
        self.round_ends = 0.0
        self.used = 0

    def __len__(self) -> int:
        return len(self._responses)

    def begin(self, now: float) -> None:
        """Start a new round if the last one is over."""
        if now >= self.round_ends:
            self.clear()
            self.round_ends = now + ROUND

    def put(self, query: bytes, response: bytes, slot: int, answer: Answer) -> None:
        """Keep the response to this query (both whole messages) unless the answer ends before the round does."""
        if answer.expires_at < self.round_ends:
            return
        if answer.spelled_at != self.round_ends:
            answer.spelled_at = self.round_ends
            answer.spellings = 0
        size = ENTRY_OVERHEAD + len(query) + len(response)
        if answer.spellings >= MAX_SPELLINGS or self.used + size > self._budget:
            return
        answer.spellings += 1
        self.used += size
        self._responses[query[2:]] = (response[2:], slot)

    def clear(self) -> None:
        """Forget everything, as when something changed that must be seen at once."""
        self._responses.clear()
        self.used = 0
