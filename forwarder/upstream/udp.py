"""An upstream over UDP: never two queries in flight on one 5-tuple.

Two queries that leave one socket together race for one conntrack entry, and the loser is dropped by the kernel; so a socket
carries one query at a time, and AAAA queries have sockets of their own, so that the A and AAAA of one name never share a port.
Always holds: a response counts only on the socket that asked (connected: the kernel checks address and port), with the ID and
the question that were sent; anything else is counted, and waiting goes on. A socket is closed after a time-out, so that a late
response meets nobody. A truncated response is not used: the question goes to the same upstream over TCP.
"""

import mmap
import socket

from forwarder.errors import WireError
from forwarder.upstream.network import Address, Network
from forwarder.upstream.readiness import READ
from forwarder.upstream.selection import Failed, Upstream
from forwarder.upstream.tally import UDP, Tally
from forwarder.upstream.waiting import TIMED_OUT, TimedOut, Waiting
from forwarder.wire.message import Match, Qtype, Query, is_truncated, match_for, query_for_upstream
from forwarder.wire.records import Response, failure_response, parse_response

MAX_USES = 16
"""Queries a socket carries, one after the other, before its port is given back: a port is worth guessing for that long."""
MAX_IDLE = 128
"""Sockets kept for the next query, of each kind; more than this many queries at once pay for a socket each."""
IDLE_TIMEOUT = 5.0
"""Seconds a socket may lie idle and still be used: after that its NAT and conntrack entries are not to be relied on."""
MAX_SOCKETS = 2048
"""Sockets open to one upstream; as many as questions may be in progress. RLIMIT_NOFILE is raised to hold them."""
ECHOES_TO_TRUST = 3
"""Responses that echo our case before we insist on it (0x20): one that lower-cases is not punished."""
RECEIVE_SIZE = 65536
"""Octets of the buffer that all sockets share; no datagram is longer."""

AAAA = int(Qtype.AAAA)
EXACT, OTHER_CASE, BARE_FAILURE = Match.EXACT, Match.OTHER_CASE, Match.BARE_FAILURE

_buffer = mmap.mmap(-1, RECEIVE_SIZE)


class UdpUpstream:
    """A server asked over UDP."""

    __slots__ = (
        "_address", "_counts", "_echoes", "_idle", "_is_closed", "_network", "_open", "_sent_slot", "_stream", "_tally",
        "_wants_ad", "_watch", "is_learning", "name", "randomises_case",
    )  # fmt: skip

    def __init__(
        self, address: Address, network: Network, tally: Tally, stream: Upstream, *, case_randomisation: str, wants_ad: bool
    ) -> None:
        self.name = address.text
        self.randomises_case = case_randomisation != "off"
        self._address = address
        self._network = network
        self._watch = network.timers.watch
        self._tally = tally
        self._counts, self._sent_slot = tally.slots, tally.sent_slot(UDP)
        self._stream = stream
        """The same server over TCP, for truncated responses."""
        self._wants_ad = wants_ad
        self._echoes = 0
        self.is_learning = case_randomisation != "on"
        """Whether a response in another case than ours may yet be how this server is."""
        self._idle: tuple[list[UdpSocket], list[UdpSocket]] = ([], [])
        """Sockets at rest: for AAAA, for all other types."""
        self._open = 0
        self._is_closed = False

    async def exchange(self, query: Query, until: float) -> Response | Failed:
        """One query, its response or why there is none."""
        unpredictable = self._network.unpredictable
        try:
            carrier = self._socket_for(query.qtype)
        except OSError:
            return Failed.NETWORK
        spelled = unpredictable.spelled(query.name) if self.randomises_case else query.name
        question = spelled + query.question[-4:]
        identity = unpredictable.message_id()
        if not carrier.send(query_for_upstream(identity, question, query, wants_ad=self._wants_ad), identity, question):
            return Failed.NETWORK
        self._counts[self._sent_slot] += 1
        self._watch(carrier, until)
        message: bytes | Failed | TimedOut = await carrier
        if not isinstance(message, bytes):
            return Failed.TIMEOUT if message is TIMED_OUT else message
        if is_truncated(message):
            return await self._stream.exchange(query, until)
        try:
            return parse_response(message, query.name, query.qtype, do=query.do)
        except WireError:
            return Failed.MALFORMED

    def accepts(self, message: bytes, found: Match, question: bytes) -> bytes | None:
        """The message, if it is the response that is waited for, in a form that can be parsed."""
        if found is EXACT:
            self._echoes += question[:-4] != question[:-4].lower()  # without a capital, a server that lower-cases echoes too
            self.is_learning = self._echoes < ECHOES_TO_TRUST
            return message
        if found is OTHER_CASE and self.is_learning:
            return message
        if found is BARE_FAILURE:
            return failure_response(message, question)
        self._tally.mismatched()
        return None

    def mismatched(self) -> None:
        """A datagram came on a socket that waits for none."""
        self._tally.mismatched()

    def release(self, carrier: "UdpSocket", *, reuse: bool) -> None:
        """A socket has done its work, or must not do any more."""
        idle = self._idle[carrier.kind]
        if reuse and len(idle) < MAX_IDLE and not self._is_closed:
            carrier.idle_since = self._network.turn.now
            idle.append(carrier)
            return
        self._open -= 1
        carrier.close()

    def close(self) -> None:
        """Close what is idle; sockets in use close when their query ends."""
        self._is_closed = True
        for idle in self._idle:
            while idle:
                self.release(idle.pop(), reuse=False)

    def _socket_for(self, qtype: int) -> "UdpSocket":
        kind = 0 if qtype == AAAA else 1
        idle = self._idle[kind]
        while idle:
            carrier = idle.pop()
            if self._network.turn.now - carrier.idle_since < IDLE_TIMEOUT:
                return carrier
            self.release(carrier, reuse=False)
        if self._open >= MAX_SOCKETS:
            raise OSError("too many sockets open to one upstream")
        carrier = UdpSocket(self, self._address, self._network, kind)
        self._open += 1
        return carrier


class UdpSocket(Waiting):
    """A connected socket; what waits on it is the one query it carries."""

    __slots__ = (
        "_identity",
        "_network",
        "_question",
        "_receive",
        "_send",
        "_socket",
        "_upstream",
        "idle_since",
        "kind",
        "uses",
    )

    def __init__(self, upstream: UdpUpstream, address: Address, network: Network, kind: int) -> None:
        super().__init__()
        self.kind = kind
        self.uses = 0
        self.idle_since = 0.0
        self._upstream = upstream
        self._network = network
        self._identity = 0
        self._question = b""
        self._socket = socket.socket(address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(address.sockaddr)
        except OSError:
            self._socket.close()
            raise
        self._receive, self._send = self._socket.recv_into, self._socket.send
        network.readiness.watch(self._socket.fileno(), self._on_ready, READ)

    def send(self, message: bytes, identity: int, question: bytes) -> bool:
        """Send a query. False: it could not leave, and the socket is closed."""
        self.uses += 1
        self._identity = identity
        self._question = question
        try:
            self._send(message)
        except OSError:
            self._upstream.release(self, reuse=False)
            return False
        return True

    def give_up(self) -> None:
        """Nothing came in time."""
        self._upstream.release(self, reuse=False)
        self.resume(TIMED_OUT)

    def close(self) -> None:
        """Give the port back."""
        self._network.readiness.forget(self._socket.fileno())
        self._socket.close()

    def _on_ready(self, _events: int) -> None:
        try:
            size = self._receive(_buffer)
        except BlockingIOError:
            return
        except OSError:
            self._on_error()
            return
        if self.coroutine is None:
            self._upstream.mismatched()
            return
        received = _buffer[:size]
        found = match_for(received, self._identity, self._question)
        is_plain = found is EXACT and not self._upstream.is_learning
        message = received if is_plain else self._upstream.accepts(received, found, self._question)
        if message is not None:
            self._upstream.release(self, reuse=self.uses < MAX_USES)
            self.resume(message)

    def _on_error(self) -> None:
        """ICMP said that nobody listens there, or that it cannot be reached."""
        if self.coroutine is not None:
            self._upstream.release(self, reuse=False)
            self.resume(Failed.NETWORK)
