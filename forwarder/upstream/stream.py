"""An upstream over TCP or TLS: a few connections, many queries pipelined on each, least loaded first (RFC 7766).

One connection alone would queue behind its slowest query where the upstream serves a connection serially (CoreDNS does), so
several are dialled as load grows. Always holds: a connection on which nothing came for STUCK seconds though queries are
outstanding gets no new ones; when one is lost with queries outstanding, or is silent while a query gets late, neither it nor
those siblings that said nothing since get new ones, so that whoever asks again does so on a fresh one.
"""

import math
import operator
import socket

from forwarder.upstream.connection import Connection
from forwarder.upstream.exchanging import Settled
from forwarder.upstream.network import Address, Network
from forwarder.upstream.pipelining import MAX_OUTSTANDING
from forwarder.upstream.round_trip import RoundTrip
from forwarder.upstream.servers import Exchanging, Failed
from forwarder.upstream.tally import TCP, TLS, Tally
from forwarder.upstream.tls import ServerIdentity
from forwarder.wire.message import Query

MAX_CONNECTIONS = 8
"""Connections to one upstream that takes what it is sent. Servers bound them per client: CoreDNS and unbound by memory, nsd at
100 for everybody."""
MAX_OPEN = 64
"""Connections to one upstream with those that are stuck or take leave: enough for names that hang at a server that answers a
connection's queries one after the other."""
MAX_APART = 32
"""Connections open up to which a query that got late has the next one for itself: where a server answers a connection's queries
one after the other, the one that hangs must not take others with it again and again."""
STUCK = 0.1
"""Seconds without a response, queries outstanding, after which a connection gets no new queries."""
BUSY = 32
"""Queries outstanding on the least loaded connection that make us dial another."""
CHUNK = 4
"""Queries of one turn that share one choice of connection: choosing costs as much as sending, and four are no load."""
IDLE_TIMEOUT = 8.0
"""Seconds without a query after which a connection is not relied upon: servers close idle ones after 10 (nsd 120, unbound
30)."""
MAX_UNSENT = 262_144
"""Octets waiting for an upstream that does not read; a connection with as many gets no new queries."""


class StreamUpstream:
    """A server asked over TCP, or over TLS where it has an identity to prove."""

    __slots__ = (
        "_address", "_chosen", "_connections", "_counts", "_identity", "_is_closed", "_network", "_sent_slot", "_tally",
        "_wants_ad", "_watch", "_why_none", "credit", "is_stream", "name", "open", "round_trip",
    )  # fmt: skip

    def __init__(
        self, address: Address, network: Network, tally: Tally, *, wants_ad: bool, identity: ServerIdentity | None = None
    ) -> None:
        self.name = address.text if identity is None else identity.text
        self._identity = identity
        self.is_stream = True
        self.round_trip = RoundTrip()
        self._address = address
        self._network = network
        self._watch = network.timers.watch
        self._tally = tally
        self._counts, self._sent_slot = tally.slots, tally.sent_slot(TCP if identity is None else TLS)
        self._wants_ad = wants_ad
        self._connections: list[Connection] = []
        """Those that get new queries."""
        self.open = 0
        """All that are not closed."""
        self._is_closed = False
        self._chosen: Connection | None = None
        self._why_none = Failed.EXHAUSTED
        self.credit = 0
        """How many more queries of this turn go where the last went."""

    def exchange(self, query: Query, until: float, *, edns: bool = True, apart: bool = False) -> Exchanging:
        """Send one query; to be awaited for its response or why there is none."""
        if apart:
            connection = self._unshared()
        elif self.credit:
            self.credit -= 1
            connection = self._chosen
        else:
            connection = self._choose()
        if connection is None:
            return Settled(self._why_none)
        sent = connection.send(query, until, wants_ad=self._wants_ad, edns=edns)
        if apart and connection.load == 1:
            connection.heard_at = -math.inf  # as if it were stuck: nobody joins before it has answered
        self._counts[self._sent_slot] += 1
        if until < connection.due:
            self._watch(connection, until)
        if self._is_closed:
            connection.retire()
        return sent

    def gone(self, connection: Connection) -> None:
        """A connection takes no more."""
        self.credit = 0
        self._chosen = None
        if connection in self._connections:
            self._connections.remove(connection)

    def closed(self) -> None:
        """A connection was closed."""
        self.open -= 1
        self._tally.connections(self.open)

    def retire(self, connection: Connection) -> None:
        """A connection gets no new queries and is closed when the last it has is settled."""
        self.gone(connection)
        connection.is_retired = True
        connection.close_if_done()

    def distrust(self, silent: Connection, since: float) -> None:
        """A query that was sent `since` got late on a silent connection; nor are those trusted that said nothing since."""
        silent.retire()
        for connection in [other for other in self._connections if other.heard_at <= since]:
            connection.retire()

    def mismatched(self) -> None:
        """Something came that answers nothing outstanding."""
        self._tally.mismatched()

    def tidy(self, now: float) -> None:
        """Close what has been idle for so long that it is not relied upon."""
        for connection in [idle for idle in self._connections if _is_unreliable(idle, now)]:
            self.retire(connection)

    def close(self) -> None:
        """Take leave of every connection; one dialled later, for a question in progress, carries that question alone."""
        self._is_closed = True
        self.retire_all()

    def retire_all(self) -> None:
        """No connection gets new queries."""
        for connection in list(self._connections):
            self.retire(connection)

    def _choose(self) -> Connection | None:
        """The connection for the next few queries; None when none can be had."""
        chosen = self._chosen = self._least_loaded()
        if chosen is not None:
            self.credit = CHUNK - 1
        return chosen

    def _unshared(self) -> Connection | None:
        """A connection that nothing is outstanding on, or a fresh one; the least loaded where too many are open."""
        best = self._least_loaded()
        if best is not None and best.load and self.open < MAX_APART:
            return self._dialled() or best
        return best

    def _least_loaded(self) -> Connection | None:
        """The least loaded connection that is not stuck, or a fresh one where all are busy."""
        self._why_none = Failed.EXHAUSTED
        connections, now = self._connections, self._network.turn.now
        best = min(connections, key=_load, default=None)
        if best is not None and _is_unreliable(best, now):
            self.tidy(now)
            best = min(connections, key=_load, default=None)
        in_use = len(connections)
        if best is not None and best.load and now - best.heard_at > STUCK:
            moving = [connection for connection in connections if now - connection.heard_at <= STUCK]
            in_use = len(moving)
            best = min(moving, key=_load, default=None)
        if best is None or (best.load >= BUSY and in_use < MAX_CONNECTIONS):
            fresh = self._dialled() if self.open < MAX_OPEN else None
            if fresh is not None:
                return fresh
        return best if best is not None and best.load < MAX_OUTSTANDING and best.unsent <= MAX_UNSENT else None

    def _dialled(self) -> Connection | None:
        try:
            endpoint = socket.socket(self._address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            return None
        try:
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            endpoint.connect(self._address.sockaddr)
        except BlockingIOError:
            pass
        except OSError:
            endpoint.close()
            self._why_none = Failed.NETWORK
            return None
        connection = Connection(self, endpoint, self._network, self._identity)
        self.open += 1
        self._connections.append(connection)
        self._tally.connections(self.open)
        return connection


def _is_unreliable(connection: Connection, now: float) -> bool:
    return not connection.load and now - connection.used_at > IDLE_TIMEOUT


_load = operator.attrgetter("load")
