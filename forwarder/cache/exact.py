"""The exact cache: a query's octets behind its ID -> the response's octets behind its ID.

It exists for speed alone: a hit parses nothing. It is filled when an answer is asked for again and lives in rounds of a second.
What is asked for in the next round too is renewed, which is patching its TTLs; what is not is forgotten with its round, so that
nothing needs to be invalidated one by one.

Always holds: an entry is right for every client that sends these octets, over UDP and over TCP, until the round ends; at most
MAX_SPELLINGS of one question; at most `budget` octets, both rounds together.
"""

from forwarder.cache.answers import Answer
from forwarder.wire.fitting import Places, aged, places_in

ROUND = 1.0
"""Seconds: a TTL is a whole number of them, so a response may be repeated for as long."""
MAX_SPELLINGS = 4
"""Spellings of one question per round. Clients that randomise case (0x20) never repeat themselves and must not fill the cache;
four leave room for with and without EDNS, and for two resolvers that differ in a flag."""
ENTRY_OVERHEAD = 480
"""Octets an entry costs beyond its octets: bytes objects, tuples, its place in the dict."""


Known = tuple[bytes, int, Answer, Places]
"""Response octets behind the ID, counter slot within the door, the answer they were made of, and what changes in them."""


class ExactCache:
    """Responses by the octets of their query."""

    __slots__ = ("_budget", "_responses", "_used", "_used_before", "ending", "former", "recall", "round_ends")

    def __init__(self, budget: int) -> None:
        self._budget = budget // 2
        self.round_ends = 0.0
        self.ending: list[Answer] = []
        """Answers that were renewed in the last part of their life, for the recipe to ask for their successors: doors have it
        do so after each batch."""
        self.clear()

    def __len__(self) -> int:
        return len(self._responses) + len(self.former)

    @property
    def used(self) -> int:
        """Octets charged, of both rounds at most: what was renewed counts twice until its first round is forgotten."""
        return self._used + self._used_before

    def begin(self, now: float) -> None:
        """Start a new round if the last one is over."""
        if now >= self.round_ends:
            is_next = now < self.round_ends + ROUND
            self._start(self._responses if is_next else {}, self._used if is_next else 0)
            self.round_ends = now + ROUND

    def put(self, query: bytes, response: bytes, slot: int, answer: Answer) -> None:
        """Keep the response to this query (both whole messages), where it may be kept."""
        if self._is_admitted(answer, len(query) + len(response)):
            self._responses[query[2:]] = (response[2:], slot, answer, places_in(answer.response))

    def renew(self, query: bytes, now: float) -> Known | None:
        """The entry of the `former` round for these octets (behind the ID), brought up to date and kept for this one."""
        octets, slot, answer, places = self.former.pop(query)
        if not self._is_admitted(answer, len(query) + len(octets)):
            return None
        answer.visited = True
        if answer.is_ending(now):
            self.ending.append(answer)
        renewed = self._responses[query] = (aged(octets, places, answer.age(now)), slot, answer, places)
        return renewed

    def _is_admitted(self, answer: Answer, octets: int) -> bool:
        """Whether an entry fits this round, and then charged: its answer lasts, has a spelling left, the budget holds it."""
        if answer.spelled_at != self.round_ends:
            answer.spelled_at = self.round_ends
            answer.spellings = 0
        size = ENTRY_OVERHEAD + octets
        if answer.expires_at < self.round_ends or answer.spellings >= MAX_SPELLINGS or self._used + size > self._budget:
            return False
        answer.spellings += 1
        self._used += size
        return True

    def clear(self) -> None:
        """Forget everything, as when something changed that must be seen at once."""
        self._start({}, 0)

    def _start(self, former: dict[bytes, Known], used_before: int) -> None:
        self._responses: dict[bytes, Known] = {}
        self.recall = self._responses.get
        """Query octets behind the ID -> what is known, or None; another function each round. Whoever calls it has called
        `begin` with the time of this batch, and looks into `former` next. A dict's own `get`: ours would cost as much again."""
        self.former = former
        """What was known in the round before and not asked for since: for `renew`."""
        self._used, self._used_before = 0, used_before
