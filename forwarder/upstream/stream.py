"""An upstream over TCP or TLS: a few connections, many queries pipelined on each, least loaded first (RFC 7766).

One connection alone would queue behind its slowest query where the upstream serves a connection serially (CoreDNS does), so
several are dialled as load grows. Queries of one turn leave in one write. Always holds: a response counts only on the
connection that asked, with an ID and question outstanding there; anything else is counted and ignored. When a connection is
lost with queries outstanding, its siblings, dialled before, get no new ones, so that whoever asks again does so on a fresh
one; nor does one that let a query time out.
"""

import math
import operator
import socket
from collections.abc import Awaitable

from forwarder.errors import WireError
from forwarder.upstream.exchanging import Exchange, settled
from forwarder.upstream.network import Address, Network
from forwarder.upstream.pipelining import MAX_OUTSTANDING, Pipeline
from forwarder.upstream.readiness import READ, WRITE
from forwarder.upstream.selection import Failed
from forwarder.upstream.tally import TCP, TLS, Tally
from forwarder.upstream.tls import ServerIdentity, TlsSocket
from forwarder.upstream.waiting import TICK
from forwarder.wire.framing import Deframer
from forwarder.wire.message import Match, Query, framed_query_for_upstream, match_for
from forwarder.wire.records import Response, failure_response

MAX_CONNECTIONS = 8
"""Connections to one upstream. Servers bound them per client: CoreDNS and unbound by memory, nsd at 100 for everybody."""
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
    """A server asked over TCP, or over TLS where it has an identity to prove."""

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
        "credit",
        "identity",
        "name",
    )

    def __init__(
        self, address: Address, network: Network, tally: Tally, *, wants_ad: bool, identity: ServerIdentity | None = None
    ) -> None:
        self.name = address.text if identity is None else identity.text
        self.identity = identity
        self._address = address
        self._network = network
        self._watch = network.timers.watch
        self._tally = tally
        self._counts, self._sent_slot = tally.slots, tally.sent_slot(TCP if identity is None else TLS)
        self._wants_ad = wants_ad
        self._connections: list[Connection] = []
        self._is_closed = False
        self._chosen: Connection | None = None
        self.credit = 0
        """How many more queries of this turn go where the last went."""

    def exchange(self, query: Query, until: float) -> Awaitable[Response | Failed]:
        """Send one query; to be awaited for its response or why there is none."""
        if self.credit:
            self.credit -= 1
            connection = self._chosen
        else:
            connection = self._choose()
        if connection is None:
            return settled(Failed.NETWORK)
        sent = connection.send(query, until, wants_ad=self._wants_ad)
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
        """The least loaded connection, or a fresh one where all are busy."""
        connections = self._connections
        best = min(connections, key=_load, default=None)
        while best is not None and not best.load and self._network.turn.now - best.used_at > IDLE_TIMEOUT:
            best.retire()
            best = min(connections, key=_load, default=None)
        if best is None or (best.load >= BUSY and len(connections) < MAX_CONNECTIONS):
            return self._dialled()
        return best if best.load < MAX_OUTSTANDING and best.unsent <= MAX_UNSENT else None

    def _dialled(self) -> "Connection | None":
        try:
            connection = Connection(self, self._address, self._network)
        except OSError:
            return None
        self._connections.append(connection)
        self._tally.connections(len(self._connections))
        return connection


_load = operator.attrgetter("load")


class Sent(Exchange):
    """A query outstanding on a connection."""

    __slots__ = ("connection", "identity", "question")

    def __init__(self, connection: "Connection", query: Query, question: bytes, due: float) -> None:
        self.coroutine = None
        self.due = due
        self.query = query
        self.connection = connection
        self.question = question
        self.identity = 0

    def give_up(self) -> None:
        """Nothing came in time: the connection is not trusted with new queries."""
        self.connection.settle(self)
        self.connection.retire()
        super().give_up()


class Connection:
    """One connection, TCP alone or with TLS on it, and what is outstanding on it."""

    __slots__ = (
        "_deframer", "_flush_is_due", "_is_connected", "_is_open", "_network", "_output", "_socket", "_tcp", "_tls",
        "_upstream", "_watched", "dialled_at", "due", "is_retired", "load", "pipeline", "unsent", "used_at",
    )  # fmt: skip

    def __init__(self, upstream: StreamUpstream, address: Address, network: Network) -> None:
        tcp = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp.connect(address.sockaddr)
        except BlockingIOError:
            pass
        except OSError:
            tcp.close()
            raise
        self._tcp = tcp
        self._tls = None if upstream.identity is None else TlsSocket(tcp, upstream.identity)
        self._socket = tcp if self._tls is None else self._tls
        self._upstream = upstream
        self._network = network
        self._deframer = Deframer()
        self._output: list[bytes] = []
        self._flush_is_due = False
        self._is_connected = False
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
        self.pipeline: Pipeline[Sent] = Pipeline(network.unpredictable.message_id)
        network.readiness.watch(self._socket.fileno(), self._on_ready, self._watched)

    def send(self, query: Query, until: float, *, wants_ad: bool) -> Sent:
        """Take a query along in this turn's write."""
        question = query.key[:-1]
        sent = Sent(self, query, question, until)
        sent.identity = identity = self.pipeline.admit(sent)
        self.load += 1
        message = framed_query_for_upstream(identity, question, query, wants_ad=wants_ad)
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

    def look(self, now: float) -> None:
        """Give up the queries that are due, and be looked at again when the next is."""
        self.due = math.inf
        waiting = list(self.pipeline.outstanding.values())
        for sent in waiting:
            if sent.due <= now + 2 * TICK:
                sent.look(now)
        if self.load:
            self._network.timers.watch(self, min([sent.due for sent in self.pipeline.outstanding.values()]))

    def settle(self, sent: Sent) -> None:
        """A query has its response, or nobody waits for it any more."""
        self.pipeline.settle(sent.identity)
        self.load -= 1

    def close_if_done(self) -> None:
        """Close a retired connection that nothing is outstanding on."""
        if self._is_open and not self.load:
            self._close()

    def _on_ready(self, events: int) -> None:
        if not self._is_connected:
            if self._tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._die()
                return
            if self._tls is not None and not self._has_shaken_hands(self._tls):
                return
            self._is_connected = True
            events |= WRITE  # the first queries have waited for this
        if events & WRITE:
            self._flush()
        if self._is_open and events & ~WRITE:
            self._read()

    def _has_shaken_hands(self, tls: TlsSocket) -> bool:
        found = tls.handshake(self._network.turn.now)
        if isinstance(found, Failed):
            self._die(found)
        elif found and found != self._watched:
            self._watched = found
            self._network.readiness.change(tls.fileno(), found)
        return found == 0

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

    def _die(self, before_connected: Failed = Failed.NETWORK) -> None:
        """The connection is lost, and with it what was outstanding; its siblings are not trusted with more."""
        self.is_retired = True
        self.load = 0
        self._upstream.gone(self)
        self._close()
        outstanding = self.pipeline.take_all()
        if outstanding:
            self._upstream.retire_all()
        for sent in outstanding:
            sent.resume(Failed.LOST if self._is_connected else before_connected)

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._network.readiness.forget(self._socket.fileno())
        self._socket.close()
