"""Queries of our own: whether an upstream that is down has come back, and whether one sends what it is asked back to us.

A probe for health asks for the SOA of the zone, which whoever serves the zone can answer; any readable response will do. A
probe for loops asks for a name below the zone that nobody but we can know: when a client asks it, the upstream it was sent to
leads to ourselves. Always holds: probes for health cost tokens, and one is made at a time for each upstream.
"""

import secrets

from forwarder.upstream.network import Network
from forwarder.upstream.servers import OPEN, Failed, Server
from forwarder.upstream.waiting import step
from forwarder.wire.message import CLASS_IN, RD, Qtype, Query
from forwarder.wire.names import MAX_NAME
from forwarder.wire.records import Response

PROBE_WAIT = 0.5
"""Seconds for a probe: what it asks for is known to whoever serves the zone, and clients wait while an upstream is suspect."""
NO_TOKEN_WAIT = 0.1
"""Seconds until the next look when the budget is spent: a token comes at least this often."""
LOOP_REST = 60.0
"""Seconds until an upstream that led back to us is looked at again: whoever mends a loop need not restart us."""
MARK = "forwarder-loop-"
"""What the label of a probe for loops begins with, for whoever finds it in a log; 16 hexadecimal digits follow."""


class Probing:
    """The probes of one worker."""

    __slots__ = ("_marked", "_network", "_unseen")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._marked: dict[bytes, Probe] = {}
        self._unseen: list[Probe] = []

    def watch(self, server: Server, zone: bytes) -> None:
        """Look for a loop through this upstream at `begin`, later whenever it is down; `zone` in lower-cased wire form."""
        probe = Probe(self, server, zone, self._network)
        server.on_trouble = probe.on_trouble
        self._unseen.append(probe)

    def begin(self) -> None:
        """Look for loops through the upstreams that are new. Doors must be open, or what comes back meets nobody."""
        while self._unseen:
            step(self._unseen.pop().look_for_loop())

    def mark(self, probe: "Probe", zone: bytes) -> bytes:
        """A name below the zone that nobody else can know."""
        label = (MARK + secrets.token_hex(8)).encode()
        name = bytes((len(label),)) + label + zone
        if len(name) > MAX_NAME:
            name = name[: len(label) + 1] + b"\0"
        self._marked[name] = probe
        return name

    def unmark(self, name: bytes) -> None:
        """The name is not asked any more."""
        self._marked.pop(name, None)

    def has_come_back(self, name: bytes) -> bool:
        """Whether a client's QNAME (lower-cased wire form) is one that we sent, which is then known to loop."""
        probe = self._marked.get(name)
        if probe is None:
            return False
        probe.came_back()
        return True


class Probe:
    """What probes one upstream."""

    __slots__ = ("_has_come_back", "_is_looking", "_network", "_probing", "_server", "_zone", "due")

    def __init__(self, probing: Probing, server: Server, zone: bytes, network: Network) -> None:
        self._probing = probing
        self._server = server
        self._zone = zone
        self._network = network
        self._is_looking = False
        self._has_come_back = False
        self.due = 0.0

    def on_trouble(self, server: Server) -> None:
        """The upstream is suspect, or said something while it was down: probe it when its health says so."""
        self._network.timers.watch(self, server.health.probe_at)

    def look(self, now: float) -> int:
        """It is time."""
        server = self._server
        has_reason = server.is_looped or server.health.is_suspect or not server.health.is_up
        if server.has_left or self._is_looking or not has_reason:
            return 1
        if not server.budget.take(now):
            self._network.timers.watch(self, now + NO_TOKEN_WAIT)
        elif server.is_looped:
            step(self.look_for_loop())
        else:
            step(self._look_for_life())
        return 1

    def came_back(self) -> None:
        """The marked query reached us."""
        self._has_come_back = True
        if not self._server.is_looped:
            self._server.loops(is_looped=True)

    async def look_for_loop(self) -> None:
        """Ask for a marked name; where it does not come back although an answer does, there is no loop."""
        self._is_looking = True
        self._has_come_back = False
        server = self._server
        name = self._probing.mark(self, self._zone)
        try:
            has_answered = await self._asked(name, Qtype.HINFO)
        finally:
            self._probing.unmark(name)
            self._is_looking = False
        if server.is_looped and has_answered and not self._has_come_back:
            server.loops(is_looped=False)
        if server.is_looped:
            self._network.timers.watch(self, self._network.turn.now + LOOP_REST)
        elif not server.health.is_up or server.health.is_suspect:
            self.on_trouble(server)

    async def _look_for_life(self) -> None:
        """Ask for what the upstream must know; twice in a row where it is down, so that two answers bring it up at once."""
        self._is_looking = True
        server, turn = self._server, self._network.turn
        has_answered: bool | None = True
        try:
            while has_answered and (server.health.is_suspect or not server.health.is_up):
                has_answered = await self._asked(self._zone, Qtype.SOA)
                if has_answered is not None:
                    server.was_probed(turn.now, answered=has_answered)
        finally:
            self._is_looking = False
        if has_answered is None:
            self._network.timers.watch(self, turn.now + NO_TOKEN_WAIT)
        elif not server.health.is_up:
            self._network.timers.watch(self, server.health.probe_at)

    async def _asked(self, name: bytes, qtype: int) -> bool | None:
        """Whether any readable response comes; None: we had no socket to ask with."""
        question = name + qtype.to_bytes(2) + CLASS_IN.to_bytes(2)
        query = Query(0, RD, question, name, qtype, CLASS_IN, question + b"\0", 0, True, False, True, 0)  # noqa: FBT003 - as parse_query
        edns = not self._server.dialect.speaks_plain(self._network.turn.now)
        outcome: Response | Failed = Failed.LOST
        for _ in range(2):  # a connection at rest may have ended meanwhile
            exchange = self._server.legs[0].exchange(query, self._network.turn.now + PROBE_WAIT, edns=edns)
            outcome = await exchange
            while outcome is Failed.MISMATCHED:
                outcome = await exchange
            if outcome in OPEN:
                exchange.abandon()
            if outcome is not Failed.LOST:
                break
        if outcome is Failed.EXHAUSTED:
            return None
        return isinstance(outcome, Response) or outcome is Failed.TRUNCATED
