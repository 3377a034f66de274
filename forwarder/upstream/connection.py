"""One connection to an upstream, TCP alone or with TLS on it, and the queries outstanding on it (RFC 7766).

Queries of one turn leave in one write. Always holds: a response counts only on the connection that asked, with an ID and
question outstanding there; anything else is counted and ignored. A query that is late is told so and stays outstanding; one
that nobody waits for any more keeps its ID until its response, for the server is still busy with it.
"""

import math
import socket
from typing import Protocol

from forwarder.errors import WireError
from forwarder.upstream.exchanging import Exchange
from forwarder.upstream.network import Network
from forwarder.upstream.pipelining import Pipeline
from forwarder.upstream.readiness import READ, WRITE
from forwarder.upstream.round_trip import FIRST_WAIT
from forwarder.upstream.servers import Failed
from forwarder.upstream.tls import ServerIdentity, TlsSocket
from forwarder.upstream.waiting import AT_ONCE, SLACK, TICK
from forwarder.wire.framing import Deframer
from forwarder.wire.message import Match, Query, framed_query_for_upstream, match_for
from forwarder.wire.records import failure_response

LIVELY = 0.025
"""Seconds since the last response within which a connection counts as alive, and a query on it as slow rather than lost."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at a connection on which nobody waits for what is outstanding."""
HOPELESS = 5.0
"""Seconds without a response after which a connection that nobody waits on any more is closed: resolvers gave up too."""
MAX_AGE = 300.0
"""Seconds a connection takes queries, so that load finds upstreams that came later behind one address."""
RECEIVE_SIZE = 65536
BARE_FAILURE, EXACT, NONE = Match.BARE_FAILURE, Match.EXACT, Match.NONE


class Pool(Protocol):
    """Those who gave a connection its queries."""

    credit: int
    """How many more queries of this turn go where the last went."""

    def gone(self, connection: "Connection") -> None:
        """It takes no more."""

    def closed(self) -> None:
        """It is closed."""

    def retire(self, connection: "Connection") -> None:
        """It is to get no new queries, and is closed when the last it has is settled."""

    def retire_all(self) -> None:
        """Nor is any other to get any."""

    def distrust(self, silent: "Connection", since: float) -> None:
        """A query that was sent `since` got late on it, and nothing came meanwhile."""

    def mismatched(self) -> None:
        """Something came that answers nothing outstanding."""


class Sent(Exchange):
    """A query outstanding on a connection."""

    __slots__ = ("connection", "identity", "question", "sent_at")

    identity: int
    """The message ID; set when the pipeline gave it out."""

    def __init__(self, connection: "Connection", query: Query, question: bytes, now: float, due: float) -> None:
        self.coroutine = None
        self.due = due
        self.query = query
        self.connection = connection
        self.question = question
        self.sent_at = now

    def look(self, now: float) -> int:
        """It is late, unless the connection is lively: then its turn is yet to come."""
        connection, sent_at = self.connection, self.sent_at
        is_lively = connection.heard_at > sent_at and now - connection.heard_at < LIVELY
        if is_lively and now - sent_at < FIRST_WAIT - SLACK:
            self.due = now + LIVELY + TICK
            return 1
        if not is_lively:
            connection.distrust_since(sent_at)
        self.give_up()
        return 1

    def abandon(self) -> None:
        """Nobody waits any more. Its ID stays taken until the response comes: the server is still busy with it."""
        self.coroutine = None
        self.connection.was_abandoned()


class Connection:
    """One connection and what is outstanding on it."""

    __slots__ = (
        "_deframer", "_flush_is_due", "_has_answered", "_is_connected", "_is_open", "_network", "_output", "_pool", "_socket",
        "_tcp", "_tls", "_watched", "dialled_at", "due", "heard_at", "is_retired", "load", "pipeline", "unsent", "used_at",
    )  # fmt: skip

    def __init__(self, pool: Pool, tcp: socket.socket, network: Network, identity: ServerIdentity | None) -> None:
        """`tcp` is connected or about to be."""
        self._tcp = tcp
        self._tls = None if identity is None else TlsSocket(tcp, identity)
        self._socket = tcp if self._tls is None else self._tls
        self._pool = pool
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
        sent = Sent(self, query, question, now, until)
        sent.identity = identity = self.pipeline.admit(sent)
        if not self.load:
            self.heard_at = now
        self.load += 1
        message = framed_query_for_upstream(identity, question, query, wants_ad=wants_ad, edns=edns)
        self._output.append(message)
        self.unsent += len(message)
        if not self._is_connected:
            self._pool.credit = 0  # no flush ends it at the end of this turn
        elif not self._flush_is_due:
            self._flush_is_due = True
            self._network.turn.at_end(self._flush)
        return sent

    def retire(self) -> None:
        """No new queries from now on."""
        if not self.is_retired:
            self._pool.retire(self)
        else:
            self.close_if_done()

    def distrust_since(self, sent_at: float) -> None:
        """A query sent then is late, and nothing comes."""
        self._pool.distrust(self, sent_at)

    def was_abandoned(self) -> None:
        """Nobody waits for one of the queries any more: soon see whether anybody waits at all."""
        look_at = self._network.turn.now + LOOK_AGAIN
        if look_at < self.due:
            self._network.timers.watch(self, look_at)

    def look(self, now: float) -> int:
        """Tell the queries that are late, and be looked at again when the next is; close when all were abandoned."""
        self.due = math.inf
        left = AT_ONCE
        for sent in list(self.pipeline.outstanding.values()):
            if sent.due <= now + SLACK and sent.coroutine is not None:
                sent.look(now)
                left -= 1
                if not left:
                    break
        if self._is_open and self.load:
            self._look_again(now)
        return AT_ONCE - left

    def _look_again(self, now: float) -> None:
        dues = [sent.due for sent in self.pipeline.outstanding.values() if sent.coroutine is not None]
        if not dues and (self.is_retired or now - self.heard_at > HOPELESS):
            self._end()
            return
        following = min(dues, default=math.inf)
        if len(dues) < self.load:
            following = min(following, now + LOOK_AGAIN)
        if following < self.due:
            self._network.timers.watch(self, following)

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
        self.heard_at = self._network.turn.now  # each step is a sign of life: a handshake far away takes longer than STUCK
        found = tls.handshake(self.heard_at)
        if isinstance(found, Failed):
            self._die(found)
        elif found and found != self._watched:
            self._watched = found
            self._network.readiness.change(tls.fileno(), found)
        return found == 0

    def _flush(self) -> None:
        self._flush_is_due = False
        self._pool.credit = 0
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
            self._pool.mismatched()
            return
        self.load -= 1
        sent.resume(failure_response(message, sent.question) if found is BARE_FAILURE else message)

    def _die(self, before_any_answer: Failed = Failed.NETWORK) -> None:
        """The connection is lost, and with it what was outstanding; its siblings are not trusted with more."""
        outstanding = self._end()
        if outstanding:
            self._pool.retire_all()
        for sent in outstanding:
            sent.resume(Failed.LOST if self._has_answered else before_any_answer)

    def _end(self) -> list[Sent]:
        """Close at once; what was outstanding."""
        self.is_retired = True
        self.load = 0
        self._pool.gone(self)
        self._close()
        return self.pipeline.take_all()

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._pool.closed()
        self._network.readiness.forget(self._socket.fileno())
        self._socket.close()
