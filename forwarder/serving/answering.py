"""THE RECIPE: how a query gets its response, in the order in which it happens.

    the exact cache       the door asks it itself, `recall`: a hit parses nothing
    at_once               refusals, pinned names, the answers cache; or the parsed query, for
    ask                   join a question in progress, or begin one and run
    after_asking          zone -> upstream -> store -> reply to all who wait

A question of which something is known, a stale answer or a former failure, takes a turn between the last two: `ask_again`
has its clients wait no longer than `patience` says. Always holds: a query of a permitted client gets exactly one response, at
the deadline at the latest; a failure never hides an answer that is still of use.
"""

from dataclasses import dataclass

from forwarder.cache.answers import Answer, AnswerCache
from forwarder.cache.denial import Denial, Denied
from forwarder.cache.exact import ExactCache
from forwarder.cache.failures import Failures
from forwarder.cache.pairs import ADDRESS_TYPES, Pairs, other_half
from forwarder.cache.pinned import PinnedNames
from forwarder.errors import WireError
from forwarder.observe.counters import ANSWERS, DENIAL, EXACT, HOSTS, PREFETCHES, kind_for
from forwarder.serving.coalescing import NOBODY, Asker, Coalescing, Door
from forwarder.serving.patience import ClientResponseTimer, Known, Patience, patience_for
from forwarder.serving.policy import FIRST_META_TYPE, aaaa_dropped, looped, not_in_memory, not_permitted, ruling_on
from forwarder.serving.responding import NO_ERROR, Outcome, Responding
from forwarder.upstream.asking import Unanswered, told_as
from forwarder.upstream.probing import Probing
from forwarder.upstream.waiting import Timers, Waiting, step
from forwarder.upstream.zones import NOBODY_ASKED, NOBODY_CONFIGURED, Zone, Zones
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import CLASS_IN, RD, Qtype, Query, Rcode, is_truncated, key_for, parse_query, query_for_key
from forwarder.wire.records import Kind, Response, as_nodata

MARGIN = 1 / 18
"""The part of the deadline by which the asking ends before it, 0.1 s of 1.8: a failure must leave in time though the host be
busy, and two busy cores kept a client beside us waiting for up to 83 ms."""
FAILING_TAKES = 0.0002
"""Seconds, with room to spare, that it takes to fail a question: thousands that came together and fail together must all do so
before the deadline."""
A, AAAA = ADDRESS_TYPES
NXDOMAIN = Kind.NXDOMAIN
SYNTHESIZED = ExtendedError.SYNTHESIZED
HINFO = int(Qtype.HINFO)
"""What probes for loops ask for: clients hardly ever do."""
OVERLOADED = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "too many questions in progress")
INTERRUPTED = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "the asking was interrupted")


@dataclass(frozen=True, slots=True)
class Memory:
    """What is answered from."""

    exact: ExactCache
    pinned: PinnedNames
    answers: AnswerCache
    pairs: Pairs
    denial: Denial
    failures: Failures


class Answering:
    """The recipe, with its ingredients."""

    __slots__ = (
        "_admit", "_answers", "_coalescing", "_denial", "_drops_aaaa", "_each", "_failures", "_habits", "_in_progress",
        "_limits", "_longest", "_probing", "_reply", "_responding", "_terms", "_timers", "_turn", "_watched", "clock", "counts",
        "memory", "noting", "zones",
    )  # fmt: skip

    def __init__(
        self,
        memory: Memory,
        coalescing: Coalescing,
        zones: Zones,
        responding: Responding,
        probing: Probing,
        timers: Timers,
    ) -> None:
        self.zones = zones
        self.memory = memory
        self._answers = memory.answers.entries
        self._watched, self._denial = memory.pairs.watched, memory.denial
        self._failures = memory.failures.entries
        self._coalescing = coalescing
        self._responding = responding
        self._habits = responding.habits
        self._reply = responding.reply
        self._terms = responding.terms
        self._longest = self._terms.deadline * (1 - MARGIN)
        """Seconds from the receipt of a query to the end of the asking, where no other is in progress."""
        self._admit = coalescing.admit
        self._in_progress = coalescing.questions
        most = max(0.0, self._longest - self._terms.client_response_timer)
        self._each = min(FAILING_TAKES, most / coalescing.max_in_progress)
        """Seconds by which it ends earlier for each question that is."""
        self._probing = probing
        self._limits = self._terms.limits
        self._drops_aaaa = self._terms.drops_aaaa
        self._timers = timers
        self._turn = responding.turn
        self.counts = responding.counts
        self.noting = responding.noting
        self.clock = self._turn.clock
        """For what takes long enough to be measured within a turn."""

    def at_once(self, message: bytes, door: Door, now: float) -> bytes | Query | None:
        """The response, where no upstream is needed; the query, where one is; None where silence is right."""
        responding = self._responding
        try:
            query = parse_query(message)
        except WireError as problem:
            return responding.unreadable(message, problem, door)
        memory = self.memory
        if query.qtype >= FIRST_META_TYPE or query.qclass != CLASS_IN or query.rcode:
            ruling = ruling_on(query, self._terms.max_udp_size)
            if ruling is not None:
                return responding.ruled(ruling, query, door, now)
        if query.name in memory.pinned.names:
            pinned = memory.pinned.response_to(query)
            response = responding.fitted(pinned, query, door, turn=memory.pinned.turn)
            responding.count(query, door, HOSTS, pinned.rcode, self.clock() - now)
            return response
        if self._drops_aaaa and query.qtype == AAAA and self.zones.for_name(query.name).number in self._drops_aaaa:
            return responding.ruled(aaaa_dropped(query, self._terms.max_udp_size), query, door, now)
        answer = memory.answers.fresh(query.key, now)
        source, error = ANSWERS, NO_ERROR
        if answer is None and (query.qtype == AAAA or self._denial.suffixes):
            answer, source, error = self._denied(query, now), DENIAL, SYNTHESIZED
        if answer is None:
            if query.qtype == HINFO and self._probing.has_come_back(query.name):
                return responding.ruled(looped(query, self._terms.max_udp_size), query, door, now)
            if query.flags & RD:
                return query
            return responding.ruled(not_in_memory(query, self._terms.max_udp_size), query, door, now)
        known = answer.response
        answer.turn += 1
        response = responding.fitted(known, query, door, age=answer.age(now), turn=answer.turn, error=error)
        if query.is_plain and answer.visited and responding.fits_everybody(response, query) and not is_truncated(response):
            memory.exact.put(message, response, kind_for(query.qtype, EXACT, known.rcode), answer)
        responding.count(query, door, source, known.rcode, self.clock() - now)
        if self._terms.prefetch and answer.is_ending(now):
            self._ask_ahead(answer, now)
        return response

    def ask(self, query: Query, door: Door, peer: object, now: float) -> None:
        """Have the question answered by an upstream; the door hears of it by `reply`."""
        asker = Asker(query, door, peer, now)
        key = query.key
        if key not in self._answers and key not in self._failures:
            first = self._admit(asker)
            if first is asker:
                step(self.after_asking(asker))
            elif first is None:
                self._reply(asker, OVERLOADED, now)
            else:
                self._habits.joined(first, asker)
        else:
            self._ask_again(asker, now)

    async def after_asking(self, first: Asker) -> None:
        """The second half of the recipe, once per question in progress."""
        query, turn = first.query, self._turn
        zone = self.zones.the_only or self.zones.for_name(query.name)
        until = first.received_at + self._longest - len(self._in_progress) * self._each
        if zone.is_down:
            until = self._until_when_down(first, until)
        outcome: Outcome = INTERRUPTED
        told, says_more = NOBODY_ASKED, False
        try:
            outcome = await zone.ask(query, until)
            told = zone.told
            if isinstance(outcome, Response):
                says_more = outcome.kind is NXDOMAIN or query.key in self._watched or self._denial.suffixes != ()
                if outcome.kind is NXDOMAIN and query.qtype == AAAA and await self._exists_for_a(query, until):
                    outcome = as_nodata(outcome)
                outcome = self.memory.answers.put(query.key, outcome, self._limits[zone.number], turn.now)
                if query.key in self._failures:
                    self.memory.failures.forget(query.key)
            else:
                if outcome.timed_out:
                    self._habits.timed_out(first, self._answers)
                outcome = self._remembered(query, outcome, zone)
        finally:
            self._coalescing.end(first)
            if first.is_waiting:
                self._reply(first, outcome, turn.now, told)
            for asker in first.joined or ():
                self._reply(asker, outcome, turn.now, told)
            if first.other_half is not None:
                first.other_half.resume(outcome)
        if says_more and isinstance(outcome, Response):
            self._learn(query, outcome, zone)

    def ask_ahead(self, now: float) -> None:
        """Ask for the successors of the answers that the exact cache renewed in the last part of their lives."""
        exact = self.memory.exact
        ending, exact.ending = exact.ending, []
        if self._terms.prefetch:
            for answer in ending:
                self._ask_ahead(answer, now)

    def refuse(self, message: bytes, door: Door, now: float) -> bytes | None:
        """The response to a client outside `listen.allow`, over TCP; None where silence is right."""
        try:
            query = parse_query(message)
        except WireError as problem:
            return self._responding.unreadable(message, problem, door)
        return self._responding.ruled(not_permitted(query, self._terms.max_udp_size), query, door, now)

    def _join(self, asker: Asker, otherwise: Outcome, now: float) -> None:
        """Wait for the question in progress, or begin it; where too many are or do, tell the client otherwise."""
        first = self._coalescing.admit(asker)
        if first is asker:
            step(self.after_asking(asker))
        elif first is None:
            self._reply(asker, otherwise, now)
        else:
            self._habits.joined(first, asker)

    def _ask_again(self, asker: Asker, now: float) -> None:
        """A question that was answered or failed before: its client may be told that, at once or after a while."""
        query, terms = asker.query, self._terms
        zone = self.zones.for_name(query.name)
        stale = self.memory.answers.stale(query.key, terms.limits[zone.number], now)
        failure = self.memory.failures.known(query.key, zone.recoveries, now)
        if failure is not None and failure.rcode == Rcode.NXDOMAIN and self._is_half_of_known(query, now):
            failure.rcode = Rcode.NOERROR
        known = stale or failure
        patience = patience_for(stale, failure, terms.failure_recheck_timer, now, is_down=zone.is_down)
        if known is None or patience is Patience.LONG:
            self._join(asker, stale or OVERLOADED, now)
        elif patience is Patience.SHORT:
            self._join_for_a_while(asker, known, now)
        else:
            self._reply(asker, known, now)
            if patience is Patience.ASKED_BEHIND and self._coalescing.may_begin(query.key):
                self._ask_behind(query, now)

    def _join_for_a_while(self, asker: Asker, known: Known, now: float) -> None:
        """Wait until the question's client response timer, and be told at once where that is over."""
        first = self._coalescing.asked_first(asker.query.key) or asker
        ends = first.received_at + self._terms.client_response_timer
        if now >= ends:
            self._reply(asker, known, now)
            return
        if not first.is_timed:
            first.is_timed = True
            self._timers.watch(ClientResponseTimer(first, known, self._tell_early), ends)
        self._join(asker, known, now)

    def _denied(self, query: Query, now: float) -> Answer | None:
        """NXDOMAIN that follows from what is known of another question."""
        if query.qtype == AAAA and query.key not in self._in_progress:
            answer = self.memory.pairs.denied(query.key, now)
            if answer is not None:
                return answer
        return self._denial.answer_to(query, now) if query.name.endswith(self._denial.suffixes) else None

    async def _exists_for_a(self, query: Query, until: float) -> bool:
        """Whether the name of an AAAA question exists by its A, which is waited for where it is in progress."""
        exists = self.memory.pairs.exists_for_a(query.key, self._turn.now)
        first = self._in_progress.get(other_half(query.key))
        if exists or first is None:
            return exists
        first.other_half = waiting = Waiting()
        self._timers.watch(waiting, until)
        outcome = await waiting
        told = outcome.response if isinstance(outcome, Answer) else outcome
        return isinstance(told, Response) and told.rcode == Rcode.NOERROR

    def _is_half_of_known(self, query: Query, now: float) -> bool:
        """Whether this is an AAAA question, and its name exists by its A, or may."""
        if query.qtype != AAAA:
            return False
        return other_half(query.key) in self._in_progress or self.memory.pairs.exists_for_a(query.key, now)

    def _learn(self, query: Query, response: Response, zone: Zone) -> None:
        """What a response, just kept, says of other questions."""
        key, pairs, denial, now = query.key, self.memory.pairs, self._denial, self._turn.now
        if key in pairs.watched:
            pairs.learn_watched(key, response, now)
        if response.kind is NXDOMAIN and query.qtype in ADDRESS_TYPES:
            pairs.learn_denied(key, response, now, is_other_asked=other_half(key) in self._in_progress)
        if query.name.endswith(denial.suffixes):
            candidate = denial.learn(query, response, self._limits[zone.number], now)
            if candidate is not None:
                self._ask_candidate(candidate, now)

    def _ask_candidate(self, candidate: bytes, now: float) -> None:
        """Ask whether a name exists at which may be cut, where the upstream's budget allows."""
        zone = self.zones.for_name(candidate)
        if self._denial.may_ask(candidate, now):
            for key in (key_for(candidate, A), key_for(candidate, AAAA)):
                if self._coalescing.may_begin(key) and zone.may_ask_ahead(now):
                    self._ask_behind(query_for_key(key), now)

    def _ask_behind(self, query: Query, now: float) -> None:
        """Begin a question, which may be begun, in the background."""
        asker = Asker(query, NOBODY, None, now, is_waiting=False)
        self._coalescing.begin(asker)
        step(self.after_asking(asker))

    def _ask_ahead(self, answer: Answer, now: float) -> None:
        """Ask for an answer's successor, once, where the upstream's budget allows."""
        if isinstance(answer, Denied):
            candidate = self._denial.to_renew(answer)
            if candidate is not None:
                self._ask_candidate(candidate, now)
            return
        query = query_for_key(answer.key)
        zone = self.zones.for_name(query.name)
        if self._coalescing.may_begin(answer.key) and zone.may_ask_ahead(now):
            self._ask_behind(query, now)
            answer.is_asked_ahead = True
            self.counts[PREFETCHES] += 1

    def _until_when_down(self, first: Asker, until: float) -> float:
        """When the asking of upstreams that all count as down ends: soon, where somebody waits who can be told nothing else."""
        is_free = first.is_timed or not first.is_waiting
        return until if is_free else min(until, first.received_at + self._terms.client_response_timer)

    def _remembered(self, query: Query, unanswered: Unanswered, zone: Zone) -> Outcome:
        """What to tell of a question that nobody answered: a stale answer where there is one, else why.

        What upstreams came to that were replaced meanwhile says nothing of those asked now.
        """
        now = self._turn.now
        is_known = unanswered is not NOBODY_CONFIGURED and zone is self.zones.for_name(query.name)
        if zone.number in self._terms.nxdomain_on_failure:
            is_half = self._is_half_of_known(query, now)
            unanswered = told_as(unanswered, Rcode.NOERROR if is_half else Rcode.NXDOMAIN)
        if is_known:
            self.memory.failures.put(query.key, unanswered, zone.recoveries, now)
        return self.memory.answers.stale(query.key, self._terms.limits[zone.number], now) or unanswered

    def _tell_early(self, first: Asker, known: Known, now: float) -> None:
        """The client response timer of a question is over, which may have come to its end meanwhile: all who wait are told."""
        if self._coalescing.asked_first(first.query.key) is not first:
            return
        if first.is_waiting:
            first.is_waiting = False
            self._reply(first, known, now)
        joined, first.joined = first.joined, None
        for asker in joined or ():
            self._reply(asker, known, now)
