"""An upstream over TCP: a few connections, many queries pipelined on each, least loaded first (RFC 7766).

One connection alone would queue behind its slowest query where the upstream serves a connection serially (CoreDNS does), so
several are dialled as load grows. Queries of one turn leave in one write. Always holds: a response counts only on the
connection that asked, with an ID and question outstanding there; anything else is counted and ignored. A connection on which
nothing came for STUCK seconds though queries are outstanding gets no new ones. When one is lost with queries outstanding, or is
silent while a query gets late, it and its siblings that said nothing since get no new ones either, so that whoever asks again
does so on a fresh one.
"""

import math
import operator
import socket

from forwarder.errors import WireError
from forwarder.upstream.exchanging import Exchange, Settled
from forwarder.upstream.network import Address, Network
from forwarder.upstream.pipelining import MAX_OUTSTANDING, Pipeline
from forwarder.upstream.readiness import READ, WRITE
from forwarder.upstream.round_trip import FIRST_WAIT, RoundTrip
from forwarder.upstream.servers import Exchanging, Failed
from forwarder.upstream.tally import TCP, Tally
from forwarder.upstream.waiting import AT_ONCE, TICK
from forwarder.wire.framing import Deframer
from forwarder.wire.message import Match, Query, framed_query_for_upstream, match_for
from forwarder.wire.records import failure_response

MAX_CONNECTIONS = 8
"""Connections to one upstream that takes what it is sent. Servers bound them per client: CoreDNS and unbound by memory, nsd at
100 for everybody."""
MAX_OPEN = 64
"""Connections to one upstream with those that are stuck or take leave: enough for names that hang at a server that answers a
connection's queries one after the other."""
STUCK = 0.1
"""Seconds without a response, queries outstanding, after which a connection gets no new queries."""
LIVELY = 0.025
"""Seconds since the last response within which a connection counts as alive, and a query on it as slow rather than lost."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at a connection on which nobody waits for what is outstanding."""
HOPELESS = 5.0
"""Seconds without a response after which a connection that nobody waits on any more is closed: resolvers gave up too."""
BUSY = 32
"""Queries outstanding on the least loaded connection that make us dial another."""
CHUNK = 4
"""Queries of one turn that share one choice of connection: choosing costs as much as sending, and four are no load."""
MAX_AGE = 300.0
"""Seconds a connection takes queries, so that load finds upstreams that came later behind one address."""
IDLE_TIMEOUT = 8.0
"""Seconds without a query after which a connection is not relied upon: servers close idle ones after 10 (nsd 120, unbound
30)."""
MAX_UNSENT = 262_144
"""Octets waiting for an upstream that does not read; a connection with as many gets no new queries."""
RECEIVE_SIZE = 65536

BARE_FAILURE, EXACT, NONE = Match.BARE_FAILURE, Match.EXACT, Match.NONE


class StreamUpstream:
    """A server asked over TCP."""

    __slots__ = (
        "_address",
        "_chosen",
        "_connections",
        "_counts",
        "_is_closed",
        "_network",
        "_sent_slot",
        "_tally",
        "_wants_ad",
        "_watch",
        "_why_none",
        "credit",
        "is_stream",
        "name",
        "open",
        "round_trip",
    )

    def __init__(self, address: Address, network: Network, tally: Tally, *, wants_ad: bool) -> None:
        self.name = address.text
        self.is_stream = True
        self.round_trip = RoundTrip()
        self._address = address
        self._network = network
        self._watch = network.timers.watch
        self._tally = tally
        self._counts, self._sent_slot = tally.slots, tally.sent_slot(TCP)
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

    def exchange(self, query: Query, until: float, *, edns: bool = True) -> Exchanging:
        """Send one query; to be awaited for its response or why there is none."""
        if self.credit:
            self.credit -= 1
            connection = self._chosen
        else:
            connection = self._choose()
        if connection is None:
            return Settled(self._why_none)
        sent = connection.send(query, until, wants_ad=self._wants_ad, edns=edns)
        self._counts[self._sent_slot] += 1
        if until < connection.due:
            self._watch(connection, until)
        if self._is_closed:
            connection.retire()
        return sent

    def gone(self, connection: "Connection") -> None:
        """A connection takes no more."""
        self.credit = 0
        if connection in self._connections:
            self._connections.remove(connection)
            self._tally.connections(len(self._connections))

    def retire(self, connection: "Connection") -> None:
        """A connection gets no new queries and is closed when the last it has is settled."""
        self.gone(connection)
        connection.is_retired = True
        connection.close_if_done()

    def distrust(self, silent: "Connection", since: float) -> None:
        """A query that was sent `since` got late on a silent connection; nor are those trusted that said nothing since."""
        silent.retire()
        for connection in [other for other in self._connections if other.heard_at <= since]:
            connection.retire()

    def mismatched(self) -> None:
        """Something came that answers nothing outstanding."""
        self._tally.mismatched()

    def close(self) -> None:
        """Take leave of every connection; one dialled later, for a question in progress, carries that question alone."""
        self._is_closed = True
        self.retire_all()

    def retire_all(self) -> None:
        """No connection gets new queries."""
        for connection in list(self._connections):
            self.retire(connection)

    def _choose(self) -> "Connection | None":
        """The connection for the next few queries; None when none can be had."""
        chosen = self._chosen = self._least_loaded()
        if chosen is not None:
            self.credit = CHUNK - 1
        return chosen

    def _least_loaded(self) -> "Connection | None":
        """The least loaded connection that is not stuck, or a fresh one where all are busy."""
        self._why_none = Failed.EXHAUSTED
        connections, now = self._connections, self._network.turn.now
        best = min(connections, key=_load, default=None)
        while best is not None and not best.load and now - best.used_at > IDLE_TIMEOUT:
            best.retire()
            best = min(connections, key=_load, default=None)
        in_use = len(connections)
        if best is not None and best.load and now - best.heard_at > STUCK:
            moving = [connection for connection in connections if now - connection.heard_at <= STUCK or not connection.load]
            in_use = len(moving)
            best = min(moving, key=_load, default=None)
        if best is None or (best.load >= BUSY and in_use < MAX_CONNECTIONS):
            fresh = self._dialled() if self.open < MAX_OPEN else None
            if fresh is not None:
                return fresh
        return best if best is not None and best.load < MAX_OUTSTANDING and best.unsent <= MAX_UNSENT else None

    def _dialled(self) -> "Connection | None":
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
        connection = Connection(self, endpoint, self._network)
        self.open += 1
        self._connections.append(connection)
        self._tally.connections(len(self._connections))
        return connection


_load = operator.attrgetter("load")


class Sent(Exchange):
    """A query outstanding on a connection."""

    __slots__ = ("connection", "identity", "late_at", "question", "sent_at")

    def __init__(self, connection: "Connection", query: Query, question: bytes, now: float) -> None:
        self.coroutine = None
        self.due = math.inf
        self.query = query
        self.connection = connection
        self.question = question
        self.identity = 0
        self.sent_at = now

    def look(self, now: float) -> None:
        """It is late, unless the connection is lively: then its turn is yet to come."""
        connection, sent_at = self.connection, self.sent_at
        is_lively = connection.heard_at > sent_at and now - connection.heard_at < LIVELY
        if is_lively and now - sent_at < FIRST_WAIT - 2 * TICK:
            self.due = now + LIVELY + TICK
            return
        if not is_lively:
            connection.distrust_since(sent_at)
        self.give_up()

    def abandon(self) -> None:
        """Nobody waits any more. Its ID stays taken until the response comes: the server is still busy with it."""
        self.coroutine = None
        self.connection.was_abandoned()


class Connection:
    """One TCP connection and what is outstanding on it."""

    __slots__ = (
        "_deframer", "_flush_is_due", "_has_answered", "_is_connected", "_is_open", "_network", "_output", "_socket",
        "_upstream", "_watched", "dialled_at", "due", "heard_at", "is_retired", "load", "pipeline", "unsent", "used_at",
    )  # fmt: skip

    def __init__(self, upstream: StreamUpstream, dialled: socket.socket, network: Network) -> None:
        self._socket = dialled
        self._upstream = upstream
        self._network = network
        self._deframer = Deframer()
        self._output: list[bytes] = []
        self._flush_is_due = False
        self._is_connected = False
        self._has_answered = False
        self._is_open = True
        self._watched = READ | WRITE
        self.unsent = 0
        """Octets in the output."""
        self.load = 0
        """Queries outstanding."""
        self.due = math.inf
        """When one of them may have waited for long enough; one timer serves them all."""
        self.is_retired = False
        self.dialled_at = self.used_at = network.turn.now
        self.heard_at = network.turn.now
        """When a response last came; or when the first query was sent after a time without any outstanding."""
        self.pipeline: Pipeline[Sent] = Pipeline(network.unpredictable.message_id)
        network.readiness.watch(self._socket.fileno(), self._on_ready, self._watched)

    def send(self, query: Query, until: float, *, wants_ad: bool, edns: bool) -> Sent:
        """Take a query along in this turn's write."""
        question, now = query.key[:-1], self._network.turn.now
        sent = Sent(self, query, question, now)
        sent.due = until
        sent.identity = identity = self.pipeline.admit(sent)
        if not self.load:
            self.heard_at = now
        self.load += 1
        message = framed_query_for_upstream(identity, question, query, wants_ad=wants_ad, edns=edns)
        self._output.append(message)
        self.unsent += len(message)
        if not self._flush_is_due and self._is_connected:
            self._flush_is_due = True
            self._network.turn.at_end(self._flush)
        return sent

    def retire(self) -> None:
        """No new queries from now on."""
        if not self.is_retired:
            self._upstream.retire(self)
        else:
            self.close_if_done()

    def distrust_since(self, sent_at: float) -> None:
        """A query sent then is late, and nothing comes."""
        self._upstream.distrust(self, sent_at)

    def was_abandoned(self) -> None:
        """Nobody waits for one of the queries any more: soon see whether anybody waits at all."""
        look_at = self._network.turn.now + LOOK_AGAIN
        if look_at < self.due:
            self._network.timers.watch(self, look_at)

    def look(self, now: float) -> None:
        """Tell the queries that are late, and be looked at again when the next is; close when all were abandoned."""
        self.due = math.inf
        left = AT_ONCE
        for sent in list(self.pipeline.outstanding.values()):
            if sent.due <= now + 2 * TICK and sent.coroutine is not None:
                sent.look(now)
                left -= 1
                if not left:
                    break
        if not self._is_open or not self.load:
            return
        dues = [sent.due for sent in self.pipeline.outstanding.values() if sent.coroutine is not None]
        if not dues and (self.is_retired or now - self.heard_at > HOPELESS):
            self._end()
            return
        following = min(dues) if dues else now + LOOK_AGAIN
        if following < self.due:
            self._network.timers.watch(self, following)

    def close_if_done(self) -> None:
        """Close a retired connection that nothing is outstanding on."""
        if self._is_open and not self.load:
            self._close()

    def _on_ready(self, events: int) -> None:
        if not self._is_connected:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._die()
                return
            self._is_connected = True
        if events & WRITE:
            self._flush()
        if self._is_open and events & ~WRITE:
            self._read()

    def _flush(self) -> None:
        self._flush_is_due = False
        self._upstream.credit = 0
        if not self._is_open:
            return
        data = b"".join(self._output)
        try:
            count = self._socket.send(data) if data else 0
        except BlockingIOError:
            count = 0
        except OSError:
            self._die()
            return
        self.used_at = self._network.turn.now
        if self.used_at - self.dialled_at > MAX_AGE:
            self.retire()
        rest = data[count:]
        self._output = [rest] if rest else []
        self.unsent = len(rest)
        watched = READ | WRITE if rest else READ
        if watched != self._watched:
            self._watched = watched
            self._network.readiness.change(self._socket.fileno(), watched)

    def _read(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_SIZE)
            messages = self._deframer.messages_in(data)
        except BlockingIOError:
            return
        except (OSError, WireError):
            self._die()
            return
        if not data:
            self._die()
            return
        outstanding = self.pipeline.outstanding
        self.heard_at = self._network.turn.now
        self._has_answered = True
        for message in messages:
            sent = outstanding.pop(message[0] << 8 | message[1], None)
            if sent is not None and match_for(message, sent.identity, sent.question) is EXACT:
                self.load -= 1
                sent.resume(message)
            else:
                self._on_odd_message(message, sent)
        if self.is_retired:
            self.close_if_done()

    def _on_odd_message(self, message: bytes, sent: Sent | None) -> None:
        """A response that is not plainly the one to its query: without a question, in another case, or none."""
        found = match_for(message, sent.identity, sent.question) if sent is not None else NONE
        if sent is None or found is NONE:
            if sent is not None:
                self.pipeline.outstanding[sent.identity] = sent
            self._upstream.mismatched()
            return
        self.load -= 1
        sent.resume(failure_response(message, sent.question) if found is BARE_FAILURE else message)

    def _die(self) -> None:
        """The connection is lost, and with it what was outstanding; its siblings are not trusted with more."""
        outstanding = self._end()
        if outstanding:
            self._upstream.retire_all()
        for sent in outstanding:
            sent.resume(Failed.LOST if self._has_answered else Failed.NETWORK)

    def _end(self) -> list[Sent]:
        """Close at once; what was outstanding."""
        self.is_retired = True
        self.load = 0
        self._upstream.gone(self)
        self._close()
        return self.pipeline.take_all()

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._upstream.open -= 1
        self._network.readiness.forget(self._socket.fileno())
        self._socket.close()
