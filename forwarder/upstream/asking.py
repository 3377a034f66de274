"""The asking of upstreams until one has answered, when a plain first attempt was not enough or not possible.

Does what `selection` says. Always holds: `asked` returns at `until` at the latest, never raises, and leaves no exchange open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from forwarder.upstream.network import Network
from forwarder.upstream.racing import Race
from forwarder.upstream.selection import Attempt, Attempts, Send
from forwarder.upstream.servers import OPEN, Exchanging, Failed, Server
from forwarder.upstream.waiting import SLACK
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import Query, Rcode
from forwarder.wire.records import Response


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody gave a usable answer: the client gets SERVFAIL or what the zone says, and this as the reason (RFC 8914)."""

    error: ExtendedError
    text: str
    timed_out: bool = False
    """Whether nobody said anything of use: it says nothing about the question, and is forgotten when an upstream comes back."""
    rcode: int = Rcode.SERVFAIL
    """What the client gets."""


NOBODY_UP = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "every upstream is down", timed_out=True)
LOOPED = Unanswered(ExtendedError.NETWORK_ERROR, "the upstream sends our queries back to us", timed_out=True)


@lru_cache(256)
def told_as(unanswered: Unanswered, rcode: int) -> Unanswered:
    """The same, as the zone's `on_failure` wants it told; the reason says that it is not an upstream's word."""
    return replace(unanswered, rcode=rcode, text=f"on_failure: {unanswered.text}")


@dataclass(frozen=True, slots=True)
class Begun:
    """The first attempt, which did not do."""

    attempt: Attempt
    exchange: Exchanging
    outcome: Response | Failed


async def asked(
    query: Query, candidates: Sequence[Server], attempts: Attempts, network: Network, begun: Begun | None = None
) -> Response | Unanswered:
    """The first usable answer, or why there is none."""
    race = Race(network.timers)
    turn, until = network.turn, attempts.until
    reason = NOBODY_UP if any(not server.is_looped for server in candidates) else LOOPED
    denial: tuple[Attempt, Response] | None = None
    if begun is not None:
        if attempts.take(begun.attempt, begun.outcome, turn.now) and isinstance(begun.outcome, Response):
            return begun.outcome
        reason = reason_for(candidates[begun.attempt.send.server].name, begun.outcome, reason)
        if begun.outcome in OPEN:
            race.enter(begun.attempt, begun.exchange)
    try:
        while True:
            now = turn.now
            if denial is not None and not attempts.is_outranked(*denial, now):
                break
            if now + SLACK >= until:
                break
            move = attempts.next(now)
            if isinstance(move, Send):
                attempt = attempts.begin(move, now)
                exchange = (
                    candidates[move.server].legs[move.leg].exchange(query, attempt.due, edns=move.edns, apart=attempt.is_apart)
                )
                race.enter(attempt, exchange)
                continue
            if move is None:
                break
            event = await race.following(min(move, attempts.patient_until) if denial is not None else move)
            if event is None:
                continue
            attempt, outcome = event
            if attempts.take(attempt, outcome, turn.now) and isinstance(outcome, Response):
                if not attempts.is_outranked(attempt, outcome, turn.now):
                    attempts.by = attempt.send.server
                    return outcome
                denial = denial or (attempt, outcome)
            else:
                reason = reason_for(candidates[attempt.send.server].name, outcome, reason)
    finally:
        race.close()
    if denial is None:
        return reason
    attempts.by = denial[0].send.server
    return denial[1]


_RCODE_NAMES = {rcode.value: rcode.name for rcode in Rcode}


def reason_for(upstream: str, outcome: Response | Failed, before: Unanswered) -> Unanswered:
    """Why an attempt did not do; what another attempt came to `before` is kept where this one tells nothing."""
    if isinstance(outcome, Response):
        return _failure_of(upstream, outcome.rcode)
    return _reason(upstream, outcome) or before


def make_reasons(upstream: str) -> None:
    """Make them ahead: those made in a flood of questions, and kept, would keep its memory as well."""
    for failed in Failed:
        _reason(upstream, failed)


@lru_cache(256)
def _failure_of(upstream: str, rcode: int) -> Unanswered:
    name = _RCODE_NAMES.get(rcode, f"RCODE {rcode}")
    return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, f"{name} from {upstream}")


@lru_cache(256)
def _reason(upstream: str, failed: Failed) -> Unanswered | None:
    # One object for all questions that end so: thousands may, and each is remembered for a while.
    match failed:
        case Failed.TIMEOUT:
            return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, f"no response from {upstream}", timed_out=True)
        case Failed.NETWORK | Failed.LOST:
            return Unanswered(ExtendedError.NETWORK_ERROR, f"cannot reach {upstream}", timed_out=True)
        case Failed.CERTIFICATE:
            return Unanswered(ExtendedError.NETWORK_ERROR, f"no valid certificate from {upstream}", timed_out=True)
        case Failed.MALFORMED:
            return Unanswered(ExtendedError.INVALID_DATA, f"malformed response from {upstream}")
        case Failed.EXHAUSTED:
            return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, f"too many queries wait for {upstream}", timed_out=True)
    return None
