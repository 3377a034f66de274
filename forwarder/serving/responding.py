"""How what was found leaves: fitted to the client, with the reason where there is one, in time or not at all, and counted.

The Extended DNS Errors (RFC 8914) that say where an answer of ours comes from are chosen here: 3 for a stale answer, 13 for a
failure from memory, else what the recipe or the asking came to. 19 (Stale NXDOMAIN Answer) never occurs, for negative answers
are never served stale. Always holds: what is sent is counted once; nothing is sent after the deadline.
"""

from bisect import bisect_left
from dataclasses import dataclass

from forwarder.cache.answers import Answer
from forwarder.cache.failures import Failure
from forwarder.cache.lifetime import Limits
from forwarder.errors import WireError
from forwarder.observe.counters import (
    DEADLINE_MISSED,
    FAILURE,
    HISTOGRAMS,
    MALFORMED_QUERIES,
    MICROSECOND_BUCKETS,
    OTHER_TYPE_ROW,
    PER_SOURCE,
    POLICY,
    STALE,
    SUM_IN_HISTOGRAM,
    TYPE_ROWS,
    UPSTREAM,
    Durations,
    kind_for,
)
from forwarder.serving.coalescing import Asker, Door
from forwarder.serving.habits import Habits
from forwarder.serving.noting import Noting
from forwarder.serving.patience import Known
from forwarder.serving.policy import Ruling
from forwarder.upstream.asking import Unanswered
from forwarder.upstream.turn import Turn
from forwarder.upstream.zones import NOBODY_ASKED, Told
from forwarder.wire.edns import ExtendedError
from forwarder.wire.fitting import fitted, response_opt
from forwarder.wire.message import Query, bare_response, own_response
from forwarder.wire.records import Response, with_ttls_set

FROM_UPSTREAM = UPSTREAM * PER_SOURCE
"""The first slot, within a type's, of responses that an upstream gave."""
NO_ERROR = ExtendedError.NONE
LARGEST = 65535
"""Octets of a response over TCP."""

Outcome = Response | Unanswered | Known
"""What becomes of a question: an upstream's response or why there is none, or what was known before."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says about answering. Times are seconds."""

    deadline: float
    """From the receipt of a query to its response."""
    client_response_timer: float
    """After which a client is told what was known before."""
    failure_recheck_timer: float
    """For which a question that failed is answered with stale data before it is asked again."""
    stale_answer_ttl: int
    """The TTL of each record of a stale answer."""
    prefetch: bool
    """Whether answers in use are asked for again before they end."""
    max_udp_size: int
    """Octets."""
    limits: dict[int, Limits]
    """By `Zone.number`, -1 included: a snapshot may bring answers to names that no zone encloses any more."""
    nxdomain_on_failure: frozenset[int] = frozenset()
    """The zones whose failures are told as NXDOMAIN, by `Zone.number`."""
    drops_aaaa: frozenset[int] = frozenset()
    """The zones in which AAAA is not asked for."""


class Responding:
    """The way out."""

    __slots__ = ("_took", "counts", "habits", "noting", "terms", "turn")

    def __init__(self, terms: Terms, counts: memoryview, turn: Turn, noting: Noting | None = None) -> None:
        """`noting` is None where nobody wants to know of single queries."""
        self.noting = noting
        self.terms = terms
        self.counts = counts
        self.turn = turn
        self.habits = Habits(counts)
        self._took = Durations(counts, HISTOGRAMS[UPSTREAM], turn.at_end).add

    def reply(self, asker: Asker, outcome: Outcome, now: float, told: Told = NOBODY_ASKED) -> None:
        """Send what came of it, unless the client has stopped waiting; `told`: what asking for it came to, if that was done."""
        query, door, noting = asker.query, asker.door, self.noting
        if noting is not None:
            noting.peer = asker.peer
        elapsed = now - asker.received_at
        if elapsed > self.terms.deadline:
            self.counts[DEADLINE_MISSED] += 1
            door.reply(asker.peer, b"")
        elif isinstance(outcome, Response):
            self.counts[door.row + TYPE_ROWS.get(query.qtype, OTHER_TYPE_ROW) + FROM_UPSTREAM + outcome.rcode] += 1
            self._took(elapsed)
            if noting is not None:
                noting.answered(query, door, UPSTREAM, outcome.rcode, elapsed, told)
            door.reply(asker.peer, self.fitted(outcome, query, door))
        elif isinstance(outcome, Answer):
            self.count(query, door, STALE, outcome.response.rcode, elapsed, told)
            door.reply(asker.peer, self._stale(outcome, query, door))
        else:
            self.habits.failed(asker)
            self.count(query, door, FAILURE, outcome.rcode, elapsed, told)
            error = ExtendedError.CACHED_ERROR if isinstance(outcome, Failure) else outcome.error
            door.reply(asker.peer, own_response(query, outcome.rcode, self.terms.max_udp_size, error, outcome.text))

    def fitted(
        self, response: Response, query: Query, door: Door, *, age: int = 0, turn: int = 0, error: ExtendedError = NO_ERROR
    ) -> bytes:
        """A response as this client gets it."""
        limit = our_size = self.terms.max_udp_size
        opt = response_opt(query, our_size, error) if query.has_edns else b""
        if door.is_stream:
            limit = LARGEST
        elif query.udp_size < limit:
            limit = query.udp_size
        return fitted(response, query, limit, opt, age=age, turn=turn)

    def fits_everybody(self, response: bytes, query: Query) -> bool:
        """Whether whoever sends these octets over UDP may get this response too."""
        return len(response) <= query.udp_size and len(response) <= self.terms.max_udp_size

    def ruled(self, ruling: Ruling, query: Query, door: Door, now: float) -> bytes:
        """A refusal."""
        self.count(query, door, POLICY, ruling.rcode, self.turn.clock() - now)
        return ruling.message

    def unreadable(self, message: bytes, problem: WireError, door: Door) -> bytes | None:
        """The response to what is no query; None where silence is right."""
        self.counts[MALFORMED_QUERIES] += 1
        if problem.rcode is None:
            return None
        self.counts[door.row + kind_for(0, POLICY, problem.rcode)] += 1
        return bare_response(message, problem.rcode)

    def count(
        self, query: Query, door: Door, source: int, rcode: int, elapsed: float, told: Told = NOBODY_ASKED
    ) -> None:  # fmt: skip
        """Count one response and the seconds it took, and note it."""
        counts = self.counts
        counts[door.row + TYPE_ROWS.get(query.qtype, OTHER_TYPE_ROW) + source * PER_SOURCE + rcode] += 1
        first, microseconds = HISTOGRAMS[source], int(elapsed * 1e6)
        counts[first + bisect_left(MICROSECOND_BUCKETS, microseconds)] += 1
        counts[first + SUM_IN_HISTOGRAM] += microseconds
        if self.noting is not None:
            self.noting.answered(query, door, source, rcode, elapsed, told)

    def _stale(self, answer: Answer, query: Query, door: Door) -> bytes:
        answer.visited = True
        answer.turn += 1
        response = with_ttls_set(answer.response, self.terms.stale_answer_ttl)
        return self.fitted(response, query, door, turn=answer.turn, error=ExtendedError.STALE_ANSWER)
