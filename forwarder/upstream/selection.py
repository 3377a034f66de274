"""What to do about a question whose first attempt did not do: whom to ask next, over what, until when to wait.

Pure decisions: `now` and what happened go in, what to do comes out. Always holds: upstreams are asked in their order, a later
one only after an earlier failed, was late or counts as down; at most MAX_ATTEMPTS queries for a question, at most
MAX_ATTEMPTS_EACH of them to one upstream over one transport; who answered with a failure is not asked again for this question;
whatever goes to an upstream beyond the first query of a question, or while it is down, costs one of its tokens, but for the
stream that follows a truncated response.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from forwarder.upstream.round_trip import FIRST_WAIT
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.waiting import SLACK
from forwarder.wire.message import Rcode
from forwarder.wire.records import Kind, Response

MAX_ATTEMPTS = 6
"""Upstream queries for one question, whatever happens (RFC 9520 section 3.1 asks for a limit)."""
MAX_ATTEMPTS_EACH = 3
"""To one upstream over one transport (RFC 9520 section 3.1)."""
LONGER = (1, 1, 2)
"""How many times the usual wait each attempt at one upstream over one transport waits: a lost datagram is made good twice
before it is felt, then the network is given time."""
TOKEN_WAIT = 0.4
"""Seconds until a question with nothing under way asks for a token again: thousands may wait for the next ten."""
SUSPECTED_ATTEMPT = 2
"""Attempts met with silence after which one goes without OPT, where OPT was never answered."""
FAILURE = Kind.FAILURE
REFUSES_EDNS = frozenset((Rcode.FORMERR, Rcode.NOTIMP))
"""What servers say to an OPT record that they do not know (RFC 6891 section 7)."""


class Send(NamedTuple):
    """Ask this upstream."""

    server: int
    """Its place among the candidates."""
    leg: int
    """Which of its transports."""
    edns: bool

    @property
    def there(self) -> int:
        """One number for both."""
        return 2 * self.server + self.leg


@dataclass(slots=True, eq=False)
class Attempt:
    """One query that was sent."""

    send: Send
    sent_at: float
    due: float
    """When it counts as late."""
    is_apart: bool
    """Whether it may be what others there wait behind: the same was sent there before, and is late."""
    is_late: bool = False
    was_mismatched: bool = False
    """Whether something came that was not its response: what then fails says nothing about the upstream."""


class Attempts:
    """What was tried for one question so far, and what follows from it."""

    __slots__ = (
        "_at_once", "_begun_at", "_candidates", "_full", "_hedges", "_made", "_not_before", "_refused", "_ruled_out", "_total",
        "by", "open", "until",
    )  # fmt: skip

    def __init__(self, candidates: Sequence[Server], now: float, until: float, *, hedges: bool = False) -> None:
        """`candidates` in the order in which they are to be asked; `hedges`: they are equals."""
        self.until = until
        self.open: list[Attempt] = []
        """Those that may yet bring a response."""
        self.by = -1
        """Which candidate answered; before that, which was asked last."""
        self._candidates = candidates
        self._begun_at = now
        self._hedges = hedges
        self._made = bytearray(2 * len(candidates))
        """Attempts by server and leg. All that is kept of a question is small: thousands may be late at one time."""
        self._not_before: dict[int, float] | None = None
        self._ruled_out = self._refused = 0
        """One bit for each server."""
        self._full = 0
        """One bit for each server and leg where nothing more could be sent; one look is enough for a question."""
        self._at_once: tuple[tuple[Send, bool], ...] = ()
        """What has to be asked next, and whether that costs a token."""
        self._total = 0

    @property
    def patient_until(self) -> float:
        """Until when a later upstream's denial waits for an earlier one."""
        return self._begun_at + FIRST_WAIT

    def told(self) -> tuple[str, int]:
        """Who answered, or was asked last, and how often anybody was asked."""
        return (self._candidates[self.by].name, self._total) if self._total else ("", 0)

    def begin(self, send: Send, now: float) -> Attempt:
        """The query leaves."""
        made = self._made[send.there]
        self._made[send.there] = made + 1
        self._total += 1
        self.by = send.server
        server = self._candidates[send.server]
        if self._times_asked(send.server) == 1:
            server.budget.firsts += 1
        due = now + server.legs[send.leg].round_trip.wait * LONGER[made]
        is_apart = any(other.is_late and other.send[:2] == send[:2] for other in self.open)
        attempt = Attempt(send, now, due, is_apart)
        self.open.append(attempt)
        return attempt

    def next(self, now: float) -> Send | float | None:
        """Ask somebody, which is then to be begun; or wait for what is open, to `until` at most; or, with None, give up."""
        while self._at_once:
            (send, costs), *others = self._at_once
            self._at_once = tuple(others)
            if self._may(send) and (not costs or self._candidates[send.server].budget.take(now)):
                return send
        if self._total >= MAX_ATTEMPTS:
            return self.until if self._may_come else None
        if any(not attempt.is_late for attempt in self.open):
            return self._hedged(now) if self._hedges else self.until
        return self._another(now)

    def take(self, attempt: Attempt, outcome: Response | Failed, now: float) -> bool:
        """Something came of an attempt; whether it answers the question."""
        server, send = self._candidates[attempt.send.server], attempt.send
        if isinstance(outcome, Response):
            self.open.remove(attempt)
            if outcome.kind is FAILURE:
                server.answered(now)
                self._take_failure(attempt, outcome.rcode, now)
                return False
            server.tally.answered(now - attempt.sent_at)
            server.took(send.leg, now - attempt.sent_at, now)
            if self._hedges:
                server.legs[send.leg].round_trip.took_among_equals(now - attempt.sent_at)
            server.learn_dialect(now, edns=send.edns, was_refused=bool(self._refused >> send.server & 1))
            self._rule_out(send.server)  # should its denial wait, it has said all it knows
            return True
        if outcome is Failed.TIMEOUT:
            if not attempt.is_late:
                attempt.is_late = True
                if not attempt.was_mismatched:
                    server.failed(outcome.value, now)
        elif outcome is Failed.MISMATCHED:
            attempt.was_mismatched = True
            self._ask_other_leg(send, costs=True)  # of a stream this is never heard: nobody forges what is on it
        else:
            self.open.remove(attempt)
            self._take_end(attempt, outcome, now)
        return False

    def is_outranked(self, attempt: Attempt, response: Response, now: float) -> bool:
        """Whether a denial must wait for an earlier upstream that is up and late.

        Resolvers of a company and of the world stand side by side in resolv.conf: what the second denies the first may know.
        """
        return (
            response.kind in {Kind.NXDOMAIN, Kind.NODATA}
            and not self._hedges
            and now + SLACK < self.patient_until
            and any(other.send.server < attempt.send.server and self._may_know(other.send.server) for other in self.open)
        )

    @property
    def _may_come(self) -> bool:
        """Whether what is open may bring more than is known: who said that it cannot answer says so of what is late as well."""
        return any(not (attempt.is_late and self._is_ruled_out(attempt.send.server)) for attempt in self.open)

    def _rule_out(self, number: int) -> None:
        self._ruled_out |= 1 << number

    def _is_ruled_out(self, number: int) -> bool:
        return bool(self._ruled_out >> number & 1)

    def _may_know(self, number: int) -> bool:
        return not self._is_ruled_out(number) and self._candidates[number].is_usable

    def _take_failure(self, attempt: Attempt, rcode: int, now: float) -> None:
        send = attempt.send
        server = self._candidates[send.server]
        server.tally.failed_with(rcode, now - attempt.sent_at)
        if rcode in REFUSES_EDNS and send.edns and not server.dialect.knows_edns:
            if not self._refused >> send.server & 1:
                self._refused |= 1 << send.server
                self._ask_next(send._replace(edns=False), costs=True)
        else:
            self._rule_out(send.server)

    def _take_end(self, attempt: Attempt, outcome: Failed, now: float) -> None:
        send, server = attempt.send, self._candidates[attempt.send.server]
        match outcome:
            case Failed.TRUNCATED:
                server.answered(now)
                self._ask_other_leg(send, costs=False)
            case Failed.EXHAUSTED:
                self._total -= 1
                self._made[send.there] -= 1
                self._full |= 1 << send.there
                self._ask_other_leg(send, costs=False)
            case Failed.LOST:
                server.tally.failed(Failed.NETWORK.value)
                self._ask_next(send, costs=True)
            case Failed.CERTIFICATE:
                server.failed(outcome.value, now)
                self._rule_out(send.server)
            case _:
                server.failed(outcome.value, now)
                self._not_before = (self._not_before or {}) | {send.server: attempt.due}

    def _ask_other_leg(self, send: Send, *, costs: bool) -> None:
        other = Send(send.server, 1 - send.leg, send.edns)
        if other.leg < len(self._candidates[send.server].legs) and not self._made[other.there]:
            self._ask_next(other, costs=costs)

    def _ask_next(self, send: Send, *, costs: bool) -> None:
        self._at_once = (*self._at_once, (send, costs))

    def _may(self, send: Send) -> bool:
        if self._is_ruled_out(send.server) or self._full >> send.there & 1:
            return False
        return self._total < MAX_ATTEMPTS and self._made[send.there] < MAX_ATTEMPTS_EACH

    def _times_asked(self, number: int) -> int:
        return self._made[2 * number] + self._made[2 * number + 1]

    def _another(self, now: float) -> Send | float | None:
        """The upstream asked least, those that are up first; where none may be asked yet, when one may."""
        soonest = math.inf
        for asked, _, number in self._ranked():
            server = self._candidates[number]
            legs = range(1 if server.legs[0].is_stream else len(server.legs))  # after UDP a stream, never the other way round
            leg = next((leg for leg in legs if self._may(Send(number, leg, edns=True))), -1)
            if leg < 0:
                continue
            ready_at = self._not_before.get(number, now) if self._not_before else now
            if ready_at <= now + SLACK:
                is_first = not asked and server.health.is_up
                if is_first or server.budget.take(now):
                    return Send(number, leg, self._edns_for(number, asked, now))
                if self.open:
                    continue
                ready_at = now + TOKEN_WAIT
            soonest = min(soonest, ready_at)
        if self._may_come:
            return min(soonest, self.until)
        return soonest if soonest + SLACK < self.until else None

    def _ranked(self) -> list[tuple[int, bool, int]]:
        return sorted(
            (self._times_asked(number), not server.health.is_up, number)
            for number, server in enumerate(self._candidates)
            if not self._is_ruled_out(number) and not server.is_looped
        )

    def _edns_for(self, number: int, asked: int, now: float) -> bool:
        dialect = self._candidates[number].dialect
        return not dialect.speaks_plain(now) and (asked != SUSPECTED_ATTEMPT or dialect.knows_edns)

    def _hedged(self, now: float) -> Send | float:
        """Another equal as well, once the first takes longer than 99 in 100 of its answers did."""
        attempt = self.open[0]
        tail = self._candidates[attempt.send.server].legs[attempt.send.leg].round_trip.tail
        if len(self.open) > 1 or tail < 0:
            return self.until
        hedge_at = attempt.sent_at + tail + SLACK
        if now + SLACK < hedge_at:
            return min(hedge_at, self.until)
        for asked, is_down, number in self._ranked():
            if not asked and not is_down and self._candidates[number].budget.take(now):
                return Send(number, 0, self._edns_for(number, asked, now))
        return self.until
