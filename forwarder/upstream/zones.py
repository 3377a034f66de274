"""Zones: which upstreams know about a name, and the plain asking of the first of them.

Always holds: the zone with the longest suffix of the name is the only one asked (an upstream nobody configured for it never
is); `ask` returns at `until` at the latest and never raises.
"""

from forwarder.upstream.asking import Begun, Unanswered, asked, make_reasons
from forwarder.upstream.network import Network
from forwarder.upstream.selection import FAILURE, TOKEN_WAIT, Attempts, Send
from forwarder.upstream.servers import Failed, Server
from forwarder.upstream.waiting import SLACK
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import Query
from forwarder.wire.names import ancestors
from forwarder.wire.records import Response

NOBODY_CONFIGURED = Unanswered(ExtendedError.NO_REACHABLE_AUTHORITY, "no upstream is configured for this name")
Told = tuple[str, int]
"""What the asking of a question came to: the upstream that answered, or was asked last, and how often any was asked."""
NOBODY_ASKED: Told = ("", 0)
PLAIN, OTHER_LEG = Send(0, 0, edns=True), Send(0, 1, edns=True)


class Zone:
    """A zone's upstreams, in written order."""

    __slots__ = (
        "_first", "_is_equal", "_network", "_next", "_plainly", "_servers", "_trust_ad", "_turn", "is_down", "number", "told",
    )  # fmt: skip

    def __init__(
        self, number: int, servers: list[Server], network: Network, *, trust_ad: bool = False, is_equal: bool = False
    ) -> None:
        self.number = number
        """Its place in the configuration; -1 for names that no zone encloses."""
        self.is_down = False
        """Whether nobody of its upstreams is up."""
        self._servers = servers
        self._first = servers[0] if servers and not is_equal else None
        self._plainly: Told = (servers[0].name, 1) if servers else NOBODY_ASKED
        self.told = NOBODY_ASKED
        """What the question came to whose asking ended just now: for whoever awaited `ask`, before it awaits anything else."""
        self._network = network
        self._turn = network.turn
        self._trust_ad = trust_ad
        self._is_equal = is_equal
        """Whether the upstreams are equals: each question begins at the next of them, and slow ones are hedged."""
        self._next = 0
        for server in servers:
            server.zones.append(self)
            make_reasons(server.name)
        self.review()

    @property
    def recoveries(self) -> int:
        """How often one of its upstreams said something again after it had gone down."""
        return sum([server.health.recoveries for server in self._servers])

    def review(self) -> None:
        """One of its upstreams went down or came up."""
        self.is_down = bool(self._servers) and not any(server.is_usable for server in self._servers)

    def may_ask_ahead(self, now: float) -> bool:
        """Whether an answer may be fetched before it is asked for: one token of the first upstream, if that is up."""
        first = self._servers[0] if self._servers else None
        return first is not None and first.is_usable and first.budget.take(now)

    async def ask(self, query: Query, until: float) -> Response | Unanswered:
        """The first usable answer: upstreams in order, all inside the deadline."""
        first, turn = self._first, self._turn
        now = turn.now
        if first is None or not first.is_ready:
            return await self._ask_at_length(query, now, until)
        leg = first.legs[0]
        round_trip = leg.round_trip
        first.budget.firsts += 1
        late = now + round_trip.wait
        exchange = leg.exchange(query, late if late < until else until)  # noqa: FURB136 - a call of min on every miss
        response = await exchange
        if isinstance(response, Response) and response.kind is not FAILURE:
            answered_at = turn.now
            first.tally.answered(answered_at - now)
            if round_trip.sampled_at != answered_at:
                first.took(0, answered_at - now, answered_at)
                first.dialect.knows_edns = True
            if not self._trust_ad:
                response.is_authentic = False
            self.told = self._plainly
            return response
        send = PLAIN
        if response is Failed.EXHAUSTED and len(first.legs) > 1:
            send = OTHER_LEG
            exchange = first.legs[1].exchange(query, min(now + first.legs[1].round_trip.wait, until))
            response = await exchange
        is_late = response is Failed.TIMEOUT
        if is_late:
            first.failed(Failed.TIMEOUT.value, turn.now)
        # Of thousands at one silent upstream most can do nothing but wait: here that takes half the memory.
        while response is Failed.TIMEOUT and len(self._servers) == 1 and not first.budget.has_any(turn.now):
            exchange.prolong(min(until, turn.now + TOKEN_WAIT))
            response = await exchange
            if turn.now + SLACK >= until:
                break
        first.budget.firsts -= 1
        attempts = Attempts(self._servers, now, until)
        attempt = attempts.begin(send, now)
        attempt.is_late = is_late
        begun = Begun(attempt, exchange, response)
        return self._settled(await asked(query, self._servers, attempts, self._network, begun), attempts)

    def _settled(self, outcome: Response | Unanswered, attempts: Attempts) -> Response | Unanswered:
        self.told = attempts.told()
        if not self._trust_ad and isinstance(outcome, Response):
            outcome.is_authentic = False
        return outcome

    async def _ask_at_length(self, query: Query, now: float, until: float) -> Response | Unanswered:
        servers = self._servers
        if not servers:
            self.told = NOBODY_ASKED
            return NOBODY_CONFIGURED
        if self.is_down:
            servers[0].tally.asked_while_all_are_down()
        if self._is_equal:
            self._next = (self._next + 1) % len(servers)
            servers = servers[self._next :] + servers[: self._next]
        attempts = Attempts(servers, now, until, hedges=self._is_equal)
        return self._settled(await asked(query, servers, attempts, self._network), attempts)


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
