"""The door for streams: many queries on a connection, each answered as soon as its answer is there (RFC 7766).

Always holds: a slow answer holds nobody up; responses of one turn leave in one write; a client that does not read, or sends
more than MAX_PIPELINED questions ahead, is not read from until it has caught up; a connection idle for `idle_timeout` is
closed, and the longest idle one when a new client finds the door full.
"""

import asyncio
import socket
from collections import deque

from forwarder.errors import WireError
from forwarder.observe.counters import EXACT, HISTOGRAMS, REFUSED_CLIENTS, TCP_CONNECTIONS, observe_microseconds
from forwarder.serving.allow import AllowedClients
from forwarder.serving.answering import Answering
from forwarder.serving.noting import NOTED_OCTETS
from forwarder.upstream.turn import Turn
from forwarder.wire.framing import Deframer, framed
from forwarder.wire.message import Query

RECEIVE_SIZE = 16_384
"""Octets per read: some 300 queries."""
MAX_PIPELINED = 128
"""Questions of one connection in progress at once; RFC 7766 section 6.2.1.1 asks for pipelining and names no number, unbound
and dnsdist stop at about as many."""
MAX_UNSENT = 262_144
"""Octets a client may leave unread before it is answered no further; four of the largest responses."""
ACCEPTS_PER_TURN = 64
"""Connections accepted before others have their turn."""
LOOK_AROUND = 1.0
"""Seconds between two looks for idle connections: the time-out is met to within that."""
PAUSE = 0.1
"""Seconds without accepting after the system refused to (no descriptors): the queue keeps, and the loop does not spin."""


class TcpDoor:
    """One listening socket and the connections that came in by it."""

    __slots__ = (
        "_admission", "_is_looking", "_is_open", "_listener", "answering", "is_stream", "loop", "row", "turn",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: socket.socket, answering: Answering, turn: Turn, row: int,
        admission: "Admission",
    ) -> None:  # fmt: skip
        self.loop = loop
        self.answering = answering
        self.turn = turn
        self.row = row
        self.is_stream = True
        self._listener = listener
        self._admission = admission
        self._is_looking = False
        self._is_open = True
        loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; clients end as what they asked so far is answered."""
        self._is_open = False
        self.loop.remove_reader(self._listener.fileno())
        for client in [client for client in self._admission.clients if client.door is self]:
            client.finish()

    @property
    def is_idle(self) -> bool:
        """Whether every client that came in here has what it asked for."""
        return all(client.is_idle for client in self._admission.clients if client.door is self)

    def reply(self, peer: object, message: bytes) -> None:
        """Send a response to a client; an empty one only says that there will be none."""
        assert isinstance(peer, StreamClient)  # noqa: S101 - what we gave `ask` comes back
        peer.on_answer(message)

    def client(self, peer: object) -> bytes:
        """The address of a client."""
        assert isinstance(peer, StreamClient)  # noqa: S101 - the same
        return peer.address

    def forget(self, client: "StreamClient") -> None:
        """A client was closed."""
        self._admission.clients.discard(client)
        self.answering.counts[TCP_CONNECTIONS] -= 1

    def _accept(self) -> None:
        self.turn.begin()
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError:
                self.loop.remove_reader(self._listener.fileno())
                self.loop.call_later(PAUSE, self._resume)
                return
            if not self._admission.has_room():
                connection.close()
                continue
            connection.setblocking(False)  # noqa: FBT003 - the method's name says what is false
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            who = socket.inet_pton(self._listener.family, str(address[0]).partition("%")[0])
            client = StreamClient(self, connection, who, is_permitted=self._admission.permits(who))
            self._admission.clients.add(client)
            self.answering.counts[TCP_CONNECTIONS] += 1
            if not self._is_looking:
                self._is_looking = True
                self.loop.call_later(LOOK_AROUND, self._look_around)

    def _resume(self) -> None:
        if self._is_open:
            self.loop.add_reader(self._listener.fileno(), self._accept)

    def _look_around(self) -> None:
        self._admission.close_idle(self.turn.begin())
        self._is_looking = bool(self._admission.clients)
        if self._is_looking:
            self.loop.call_later(LOOK_AROUND, self._look_around)


class Admission:
    """The connections of all listeners together: who may have one, and for how long."""

    __slots__ = ("_allowed", "_idle_timeout", "_max_connections", "clients")

    def __init__(self, allowed: AllowedClients, max_connections: int, idle_timeout: float) -> None:
        self.clients: set[StreamClient] = set()
        self._allowed = allowed
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        """Seconds."""

    def permits(self, address: bytes) -> bool:
        """Whether a client is answered at all."""
        return self._allowed.everybody or self._allowed.permits(address)

    def has_room(self) -> bool:
        """Whether one more is welcome; when full, the connection that has been idle longest makes room, if any is idle."""
        if len(self.clients) < self._max_connections:
            return True
        idle = min((client for client in self.clients if client.is_idle), key=lambda client: client.active_at, default=None)
        if idle is None:
            return False
        idle.close()
        return True

    def close_idle(self, now: float) -> None:
        """Close the connections whose time is over: nothing is in progress, and nothing moved for as long."""
        since = now - self._idle_timeout
        for client in [client for client in self.clients if client.active_at <= since and not client.in_progress]:
            client.close()


class StreamClient:
    """One connection: what came in and waits, what is in progress, what is to go out."""

    __slots__ = (
        "_connection", "_deframer", "_flush_is_due", "_has_ended", "_is_open", "_is_permitted", "_is_reading", "_is_serving",
        "_is_writing", "_output", "_unsent", "_waiting", "active_at", "address", "door", "in_progress",
    )  # fmt: skip

    def __init__(self, door: TcpDoor, connection: socket.socket, address: bytes, *, is_permitted: bool) -> None:
        self.door = door
        self.address = address
        self._connection = connection
        self._is_permitted = is_permitted
        self._deframer = Deframer()
        self._waiting: deque[bytes] = deque()
        """Queries read and not yet looked at, while the client is over a limit."""
        self._output: list[bytes] = []
        self._unsent = 0
        self._flush_is_due = False
        self._is_open = True
        self._has_ended = False
        """Whether the client will send no more, or we will read no more."""
        self._is_reading = True
        self._is_writing = False
        self._is_serving = False
        self.in_progress = 0
        self.active_at = door.turn.now
        """When octets last went either way."""
        door.loop.add_reader(connection.fileno(), self._on_readable)

    @property
    def is_idle(self) -> bool:
        """Whether the client would lose nothing but its connection."""
        return not self.in_progress and not self._unsent and not self._waiting

    def on_answer(self, message: bytes) -> None:
        """What an upstream was asked for is there."""
        self.in_progress -= 1
        if self._is_open:
            self._write(message)
            self._serve_waiting()

    def finish(self) -> None:
        """Read what has come, and no more; close when everything asked is answered."""
        if self._is_reading:
            self._on_readable()
        self.end()

    def end(self) -> None:
        """Read no more; close when everything asked is answered."""
        self._has_ended = True
        self._watch()
        self._close_if_done()

    def close(self) -> None:
        """Close at once; answers still to come are dropped."""
        if self._is_open:
            self._is_open = False
            self.door.loop.remove_reader(self._connection.fileno())
            self.door.loop.remove_writer(self._connection.fileno())
            self._connection.close()
            self.door.forget(self)

    def _on_readable(self) -> None:
        try:
            data = self._connection.recv(RECEIVE_SIZE)
            self._waiting.extend(self._deframer.messages_in(data))
        except BlockingIOError:
            return
        except (OSError, WireError):
            self.close()
            return
        self.active_at = self.door.turn.begin()
        if not data:
            self.end()
            return
        self._serve_waiting()
        self.door.turn.end()

    def _serve_waiting(self) -> None:
        """Answer what was read, up to the limits."""
        if self._is_serving:
            return  # an answer came at once: the loop that asked goes on
        self._is_serving = True
        now = self.door.turn.now
        self.door.answering.memory.exact.begin(now)
        try:
            while self._waiting and self._is_open and self.in_progress < MAX_PIPELINED and self._unsent < MAX_UNSENT:
                self._serve(self._waiting.popleft(), now)
            if self.door.answering.memory.exact.ending:
                self.door.answering.ask_ahead(now)
        finally:
            self._is_serving = False
        self._watch()
        self._close_if_done()

    def _serve(self, message: bytes, now: float) -> None:
        answering, door = self.door.answering, self.door
        if answering.noting is not None:
            answering.noting.peer = self
        if not self._is_permitted:
            answering.counts[REFUSED_CLIENTS] += 1
            self._write(answering.refuse(message, door, now) or b"")
            return
        exact, query = answering.memory.exact, message[2:]
        known = exact.recall(query)
        if known is None and query in exact.former:
            known = exact.renew(query, now)
        if known is not None:
            response, slot, _, _ = known
            answering.counts[door.row + slot] += 1
            microseconds = int((answering.clock() - now) * 1e6)
            observe_microseconds(answering.counts, HISTOGRAMS[EXACT], microseconds)
            if answering.noting is not None:
                answering.noting.stream_hit(message[:2] + response[: NOTED_OCTETS - 2], door, microseconds)
            self._write(message[:2] + response)
            return
        outcome = answering.at_once(message, door, now)
        if isinstance(outcome, Query):
            self.in_progress += 1
            answering.ask(outcome, door, self, now)
        elif outcome is not None:
            self._write(outcome)

    def _write(self, message: bytes) -> None:
        if not message:
            return
        self._output.append(framed(message))
        self._unsent += len(message) + 2
        if not self._flush_is_due:
            self._flush_is_due = True
            self.door.turn.at_end(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if not self._is_open:
            return
        data = b"".join(self._output)
        try:
            count = self._connection.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            self.close()
            return
        if count:
            self.active_at = self.door.turn.now
        rest = data[count:]
        self._output = [rest] if rest else []
        self._unsent = len(rest)
        if bool(rest) != self._is_writing:
            self._is_writing = bool(rest)
            if rest:
                self.door.loop.add_writer(self._connection.fileno(), self._on_writable)
            else:
                self.door.loop.remove_writer(self._connection.fileno())
        self._serve_waiting()

    def _on_writable(self) -> None:
        self.door.turn.begin()
        self._flush()
        self.door.turn.end()

    def _watch(self) -> None:
        """Read only while the client has caught up."""
        reading = not self._has_ended and not self._waiting and self._unsent < MAX_UNSENT
        if self._is_open and reading != self._is_reading:
            self._is_reading = reading
            if reading:
                self.door.loop.add_reader(self._connection.fileno(), self._on_readable)
            else:
                self.door.loop.remove_reader(self._connection.fileno())

    def _close_if_done(self) -> None:
        if self._has_ended and self.is_idle:
            self.close()
