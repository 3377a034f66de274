"""Queries of our own: whether an upstream that is down has come back, and whether one sends what it is asked back to us.

A probe for health asks for the SOA of a zone of the upstream, which whoever serves the zone can answer; any readable response
will do. A probe for loops asks for a name below a zone that nobody but we can know: when a client asks it, the upstream it was
sent to leads to ourselves. It is made for each zone of each upstream, again and again until one was answered or came back.
Always holds: one probe is made at a time for each upstream; those for health come out of its budget, though it be spent.
"""

import math
import secrets

from forwarder.upstream.network import Network
from forwarder.upstream.servers import OPEN, Failed, Server
from forwarder.upstream.waiting import step
from forwarder.wire.message import Qtype, key_for, query_for_key
from forwarder.wire.names import MAX_NAME
from forwarder.wire.records import Response

PROBE_WAIT = 0.5
"""Seconds for a probe: what it asks for is known to whoever serves the zone, and clients wait while an upstream is suspect."""
NO_SOCKET_WAIT = 0.1
"""Seconds until the next look when we had no socket to ask with."""
LOOP_REST = 60.0
"""Seconds until an upstream that led back to us is looked at again: whoever mends a loop need not restart us."""
UNSEEN_REST = 5.0
"""The same for one that did not answer the probe for loops: it may not have been there yet when the node started. Doubles up to
LOOP_REST: some never answer such a question."""
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
        """Look for a loop through this upstream and zone at `begin`, for its health whenever that is in doubt.

        `zone` in lower-cased wire form; one that is watched already stays so.
        """
        if server.probe is None:
            server.probe = Probe(self, server, self._network)
        probe = server.probe
        assert isinstance(probe, Probe)  # noqa: S101 - nobody else gives a server one
        if probe.add(zone) and probe not in self._unseen:
            self._unseen.append(probe)

    def begin(self) -> None:
        """Look for loops through what is new, within a turn. Doors must be open, or what comes back meets nobody."""
        while self._unseen:
            self._unseen.pop().begin()

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

    __slots__ = (
        "_has_come_back", "_is_looking", "_network", "_probing", "_server", "_unseen", "_unseen_rest", "_zones", "due",
    )  # fmt: skip

    def __init__(self, probing: Probing, server: Server, network: Network) -> None:
        self._probing = probing
        self._server = server
        self._network = network
        self._zones: list[bytes] = []
        self._unseen: list[bytes] = []
        """Zones of it for which no probe for loops was answered or came back yet."""
        self._unseen_rest = UNSEEN_REST
        self._is_looking = False
        self._has_come_back = False
        self.due = math.inf

    def add(self, zone: bytes) -> bool:
        """Whether the zone is new to it."""
        if zone in self._zones:
            return False
        self._zones.append(zone)
        self._unseen.append(zone)
        return True

    def begin(self) -> None:
        """Look for loops where none was looked for; whatever is under way goes on with that."""
        if not self._is_looking:
            step(self._look())

    def on_trouble(self) -> None:
        """The upstream is suspect, or said something while it was down: probe it when its health says so."""
        self._network.timers.watch(self, self._server.health.probe_at)

    def look(self, now: float) -> int:
        """It is time."""
        server = self._server
        has_reason = self._unseen or server.is_looped or server.health.is_suspect or not server.health.is_up
        if has_reason and not server.has_left and not self._is_looking:
            if server.health.is_suspect or not server.health.is_up:
                server.budget.spend(now)
            step(self._look())
        return 1

    def came_back(self) -> None:
        """The marked query reached us."""
        self._has_come_back = True
        if not self._server.is_looped:
            self._server.loops(is_looped=True)

    async def _look(self) -> None:
        """Ask what is in doubt, and see when to look again."""
        self._is_looking = True
        server, timers = self._server, self._network.timers
        for_life = for_loops = UNSEEN_REST  # where a defect ends it: the next would come at once, again and again
        try:
            if server.health.is_suspect or not server.health.is_up:
                for_life = await self._look_for_life()
            else:
                for_loops = await self._look_for_loops()
                for_life = 0.0
        finally:
            self._is_looking = False
            now = self._network.turn.now
            if server.health.is_suspect or not server.health.is_up:
                timers.watch(self, max(server.health.probe_at, now + for_life))
            elif self._unseen or server.is_looped:
                timers.watch(self, now + for_loops)
            else:
                self.due = math.inf

    async def _look_for_loops(self) -> float:
        """Seconds until the next look for loops, where one is needed."""
        server = self._server
        for zone in list(self._zones if server.is_looped else self._unseen):
            self._has_come_back = False
            name = self._probing.mark(self, zone)
            try:
                has_answered = await self._asked(name, Qtype.HINFO)
            finally:
                self._probing.unmark(name)
            if self._has_come_back:
                return LOOP_REST
            if not has_answered:
                rest, self._unseen_rest = self._unseen_rest, min(self._unseen_rest * 2, LOOP_REST)
                return LOOP_REST if server.is_looped else rest
            if zone in self._unseen:
                self._unseen.remove(zone)
        if server.is_looped:
            server.loops(is_looped=False)
        return UNSEEN_REST

    async def _look_for_life(self) -> float:
        """Seconds to wait with the next probe at least.

        Where it is down it is asked twice in a row, so that two answers bring it up at once.
        """
        server, turn = self._server, self._network.turn
        has_answered: bool | None = True
        while has_answered and (server.health.is_suspect or not server.health.is_up):
            server.health.probe_begins()
            has_answered = await self._asked(self._zones[0], Qtype.SOA)
            if has_answered is None:
                return NO_SOCKET_WAIT
            server.was_probed(turn.now, answered=has_answered)
        return 0.0

    async def _asked(self, name: bytes, qtype: int) -> bool | None:
        """Whether any readable response comes; None: we had no socket to ask with, or somebody forges responses."""
        query = query_for_key(key_for(name, qtype))
        edns = not self._server.dialect.speaks_plain(self._network.turn.now)
        outcome: Response | Failed = Failed.LOST
        was_mismatched = False
        for _ in range(2):  # a connection at rest may have ended meanwhile
            exchange = self._server.legs[0].exchange(query, self._network.turn.now + PROBE_WAIT, edns=edns)
            outcome = await exchange
            while outcome is Failed.MISMATCHED:
                was_mismatched = True
                outcome = await exchange
            if outcome in OPEN:
                exchange.abandon()
            if outcome is not Failed.LOST:
                break
        if isinstance(outcome, Response) or outcome is Failed.TRUNCATED:
            return True
        return None if was_mismatched or outcome is Failed.EXHAUSTED else False
