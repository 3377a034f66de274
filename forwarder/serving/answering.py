"""THE RECIPE: how a query gets its response, in the order in which it happens.

    the exact cache       the door asks it itself, `recall`: a hit parses nothing
    at_once               refusals, pinned names, the answers cache; or the parsed query, for
    ask                   join a question in progress, or begin one and run
    after_asking          zone -> upstream -> store -> reply to all who wait

Always holds: a query of a permitted client gets exactly one response, at the deadline at the latest; what is sent is counted
once.
"""

from bisect import bisect_left
from dataclasses import dataclass

from forwarder.cache.answers import AnswerCache
from forwarder.cache.exact import ExactCache
from forwarder.cache.lifetime import Limits
from forwarder.cache.pinned import PinnedNames
from forwarder.errors import WireError
from forwarder.observe.counters import (
    ANSWERS,
    DEADLINE_MISSED,
    EXACT,
    FAILURE,
    HISTOGRAMS,
    HOSTS,
    MALFORMED_QUERIES,
    MICROSECOND_BUCKETS,
    OTHER_TYPE_ROW,
    PER_SOURCE,
    POLICY,
    SUM_IN_HISTOGRAM,
    TYPE_ROWS,
    UPSTREAM,
    Durations,
    kind_for,
)
from forwarder.serving.coalescing import Asker, Coalescing, Door
from forwarder.serving.policy import FIRST_META_TYPE, Ruling, not_in_memory, not_permitted, ruling_on
from forwarder.upstream.asking import Unanswered
from forwarder.upstream.turn import Turn
from forwarder.upstream.waiting import step
from forwarder.upstream.zones import Zones
from forwarder.wire.edns import ExtendedError
from forwarder.wire.fitting import fitted, response_opt
from forwarder.wire.message import CLASS_IN, RD, Query, Rcode, bare_response, is_truncated, own_response, parse_query
from forwarder.wire.records import Response

MARGIN = 0.05
"""Seconds before the deadline by which the asking ends, so that a failure leaves in time though the host be busy."""
FROM_UPSTREAM = UPSTREAM * PER_SOURCE
"""The first slot, within a type's, of responses that an upstream gave."""
LARGEST = 65535
"""Octets of a response over TCP."""
OVERLOADED = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "too many questions in progress")
INTERRUPTED = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "the asking was interrupted")


@dataclass(frozen=True, slots=True)
class Memory:
    """What is answered from."""

    exact: ExactCache
    pinned: PinnedNames
    answers: AnswerCache


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says about answering."""

    deadline: float
    """Seconds from the receipt of a query to its response."""
    max_udp_size: int
    """Octets."""
    limits: dict[int, Limits]
    """By `Zone.number`."""


class Answering:
    """The recipe, with its ingredients."""

    __slots__ = ("_coalescing", "_terms", "_took", "_turn", "clock", "counts", "memory", "zones")

    def __init__(
        self, memory: Memory, coalescing: Coalescing, zones: Zones, terms: Terms, counts: memoryview, turn: Turn
    ) -> None:
        self.zones = zones
        self.memory = memory
        self._coalescing = coalescing
        self._terms = terms
        self.counts = counts
        self._turn = turn
        self._took = Durations(counts, HISTOGRAMS[UPSTREAM], turn.at_end).add
        self.clock = turn.clock
        """For what takes long enough to be measured within a turn."""

    def at_once(self, message: bytes, door: Door, now: float) -> bytes | Query | None:
        """The response, where no upstream is needed; the query, where one is; None where silence is right."""
        try:
            query = parse_query(message)
        except WireError as problem:
            return self._unreadable(message, problem, door)
        memory = self.memory
        if query.qtype >= FIRST_META_TYPE or query.qclass != CLASS_IN or query.rcode:
            ruling = ruling_on(query, self._terms.max_udp_size)
            if ruling is not None:
                return self._ruled(ruling, query, door, now)
        if query.name in memory.pinned.names:
            pinned = memory.pinned.response_to(query)
            response = self._fitted(pinned, query, door, turn=memory.pinned.turn)
            self._count(query, door, HOSTS, pinned.rcode, self.clock() - now)
            return response
        answer = memory.answers.fresh(query.key, now)
        if answer is None:
            if query.flags & RD:
                return query
            return self._ruled(not_in_memory(query, self._terms.max_udp_size), query, door, now)
        known = answer.response
        answer.turn += 1
        response = self._fitted(known, query, door, age=answer.age(now), turn=answer.turn)
        if query.is_plain and len(response) <= self._udp_limit(query) and not is_truncated(response):
            memory.exact.put(message, response, kind_for(query.qtype, EXACT, known.rcode), answer)
        self._count(query, door, ANSWERS, known.rcode, self.clock() - now)
        return response

    def ask(self, query: Query, door: Door, peer: object, now: float) -> None:
        """Have the question answered by an upstream; the door hears of it by `reply`."""
        asker = Asker(query, door, peer, now)
        first = self._coalescing.admit(asker)
        if first is asker:
            step(self.after_asking(asker))
        elif first is None:
            self._reply(asker, OVERLOADED, now)

    async def after_asking(self, first: Asker) -> None:
        """The second half of the recipe, once per question in progress."""
        query = first.query
        zone = self.zones.the_only or self.zones.for_name(query.name)
        outcome: Response | Unanswered = INTERRUPTED
        try:
            outcome = await zone.ask(query, first.received_at + self._terms.deadline - MARGIN)
            if isinstance(outcome, Response):
                outcome = self.memory.answers.put(query.key, outcome, self._terms.limits[zone.number], self._turn.now)
        finally:
            self._coalescing.end(first)
            self._reply(first, outcome, self._turn.now)
            for asker in first.joined or ():
                self._reply(asker, outcome, self._turn.now)

    def refuse(self, message: bytes, door: Door, now: float) -> bytes | None:
        """The response to a client outside `listen.allow`, over TCP; None where silence is right."""
        try:
            query = parse_query(message)
        except WireError as problem:
            return self._unreadable(message, problem, door)
        return self._ruled(not_permitted(query, self._terms.max_udp_size), query, door, now)

    def _reply(self, asker: Asker, outcome: Response | Unanswered, now: float) -> None:
        """Send what came of it, unless the client has stopped waiting."""
        query, door = asker.query, asker.door
        elapsed = now - asker.received_at
        if elapsed > self._terms.deadline:
            self.counts[DEADLINE_MISSED] += 1
            door.reply(asker.peer, b"")
        elif isinstance(outcome, Response):
            self.counts[door.row + TYPE_ROWS.get(query.qtype, OTHER_TYPE_ROW) + FROM_UPSTREAM + outcome.rcode] += 1
            self._took(elapsed)
            door.reply(asker.peer, self._fitted(outcome, query, door))
        else:
            self._count(query, door, FAILURE, Rcode.SERVFAIL, elapsed)
            udp_size = self._terms.max_udp_size
            door.reply(asker.peer, own_response(query, Rcode.SERVFAIL, udp_size, outcome.error, outcome.text))

    def _fitted(self, response: Response, query: Query, door: Door, *, age: int = 0, turn: int = 0) -> bytes:
        limit = our_size = self._terms.max_udp_size
        opt = response_opt(query, our_size) if query.has_edns else b""
        if door.is_stream:
            limit = LARGEST
        elif query.udp_size < limit:
            limit = query.udp_size
        return fitted(response, query, limit, opt, age=age, turn=turn)

    def _udp_limit(self, query: Query) -> int:
        return min(query.udp_size, self._terms.max_udp_size)

    def _ruled(self, ruling: Ruling, query: Query, door: Door, now: float) -> bytes:
        self._count(query, door, POLICY, ruling.rcode, self.clock() - now)
        return ruling.message

    def _unreadable(self, message: bytes, problem: WireError, door: Door) -> bytes | None:
        self.counts[MALFORMED_QUERIES] += 1
        if problem.rcode is None:
            return None
        self.counts[door.row + kind_for(0, POLICY, problem.rcode)] += 1
        return bare_response(message, problem.rcode)

    def _count(self, query: Query, door: Door, source: int, rcode: int, elapsed: float) -> None:
        counts = self.counts
        counts[door.row + TYPE_ROWS.get(query.qtype, OTHER_TYPE_ROW) + source * PER_SOURCE + rcode] += 1
        first, microseconds = HISTOGRAMS[source], int(elapsed * 1e6)
        counts[first + bisect_left(MICROSECOND_BUCKETS, microseconds)] += 1
        counts[first + SUM_IN_HISTOGRAM] += microseconds
