"""Zones: which upstreams know about a name, and the asking of them until one has answered.

Always holds: the zone with the longest suffix of the name is the only one asked (an upstream nobody configured for it never
is); `ask` returns at `until` at the latest and never raises.
"""

from dataclasses import dataclass

from forwarder.upstream.selection import Attempts, Failed, Selection, Upstream
from forwarder.upstream.tally import REASON_FOR_RCODE, Tally
from forwarder.upstream.turn import Turn
from forwarder.upstream.waiting import TICK
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import Query, Rcode
from forwarder.wire.names import ancestors
from forwarder.wire.records import Kind, Response

FAILURE = Kind.FAILURE


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody gave a usable answer: the client gets SERVFAIL, and this as the reason (RFC 8914)."""

    error: ExtendedError
    text: str


class Zone:
    """A zone's upstreams, in written order."""

    __slots__ = ("_selection", "_tallies", "_trust_ad", "_turn", "number", "upstreams")

    def __init__(self, number: int, upstreams: list[Upstream], tallies: list[Tally], turn: Turn, *, trust_ad: bool) -> None:
        self.number = number
        """Its place in the configuration; -1 for names that no zone encloses."""
        self.upstreams = upstreams
        self._trust_ad = trust_ad
        self._tallies = tallies
        self._selection = Selection(len(upstreams))
        self._turn = turn

    async def ask(self, query: Query, until: float) -> Response | Unanswered:
        """The first usable answer: upstreams in order, each until it fails, all inside the deadline."""
        turn, selection = self._turn, self._selection
        now = turn.now
        number = selection.first(now)
        if number < 0:
            return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "no upstream is configured for this name")
        outcome = await self.upstreams[number].exchange(query, selection.give_up_at(0, now, until))
        attempts: Attempts | None = None
        while not isinstance(outcome, Response) or outcome.kind is FAILURE:
            attempts = attempts or Attempts()
            self._note_failure(attempts, number, outcome)
            now = turn.now
            again = number if outcome is Failed.LOST else -1
            following = selection.next(attempts, now, again=again) if until - now > 2 * TICK else -1
            if following < 0:
                return _reason(self.upstreams[number].name, outcome)
            number = following
            ends = selection.give_up_at(attempts.made.get(number, 0), now, until)
            outcome = await self.upstreams[number].exchange(query, ends)
        self._tallies[number].answered(turn.now - now)
        if selection.health[number].failures:
            self._note_recovery(number)
        if not self._trust_ad:
            outcome.is_authentic = False
        return outcome

    def _note_recovery(self, number: int) -> None:
        self._selection.answered(number)
        self._tallies[number].is_up(up=True)

    def _note_failure(self, attempts: Attempts, number: int, outcome: Response | Failed) -> None:
        attempts.total += 1
        attempts.made[number] = attempts.made.get(number, 0) + 1
        tally = self._tallies[number]
        if isinstance(outcome, Response):
            attempts.ruled_out.add(number)
            self._selection.answered(number)
            tally.failed(REASON_FOR_RCODE.get(outcome.rcode, "other"))
        elif outcome is Failed.LOST:
            tally.failed(Failed.NETWORK.value)
        else:
            if outcome is Failed.CERTIFICATE:
                attempts.ruled_out.add(number)
            self._selection.failed(number, self._turn.now)
            tally.failed(outcome.value)
        tally.is_up(up=self._selection.health[number].is_up)


_RCODE_NAMES = {rcode.value: rcode.name for rcode in Rcode}


def _reason(upstream: str, outcome: Response | Failed) -> Unanswered:
    match outcome:
        case Failed.TIMEOUT:
            return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, f"no response from {upstream}")
        case Failed.NETWORK | Failed.LOST:
            return Unanswered(ExtendedError.NETWORK_ERROR, f"cannot reach {upstream}")
        case Failed.CERTIFICATE:
            return Unanswered(ExtendedError.NETWORK_ERROR, f"no valid certificate from {upstream}")
        case Failed.MALFORMED:
            return Unanswered(ExtendedError.INVALID_DATA, f"malformed response from {upstream}")
    rcode = _RCODE_NAMES.get(outcome.rcode, f"RCODE {outcome.rcode}")
    return Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, f"{rcode} from {upstream}")


class Zones:
    """All zones, by name."""

    __slots__ = ("_by_name", "the_only")

    def __init__(self, by_name: dict[bytes, Zone], otherwise: Zone) -> None:
        self._by_name = {b"\0": otherwise} | by_name
        self.the_only = self._by_name[b"\0"] if len(self._by_name) == 1 else None
        """The zone of every name, where there is but one."""

    def for_name(self, name: bytes) -> Zone:
        """The zone with the longest suffix of the name (lower-cased wire form)."""
        by_name = self._by_name
        return next(by_name[suffix] for suffix in ancestors(name) if suffix in by_name)
