"""An upstream over UDP: never two queries in flight on one 5-tuple.

Two queries that leave one socket together race for one conntrack entry, and the loser is dropped by the kernel; so a socket
carries one query at a time, and AAAA queries have sockets of their own, so that the A and AAAA of one name never share a port.
Always holds: a response counts only on the socket that asked (connected: the kernel checks address and port), with the ID and
the question that were sent; anything else is counted, and waiting goes on. A socket whose query nobody waits for any
more is closed, so that a late response meets nobody. A truncated response is not used.
"""

import math
import mmap
import socket

from forwarder.upstream.exchanging import Exchange, Settled
from forwarder.upstream.network import Address, Network
from forwarder.upstream.readiness import READ
from forwarder.upstream.round_trip import RoundTrip
from forwarder.upstream.servers import Exchanging, Failed
from forwarder.upstream.tally import UDP, Tally
from forwarder.upstream.waiting import AT_ONCE, SLACK
from forwarder.wire.message import Match, Qtype, Query, is_truncated, match_for, query_for_upstream
from forwarder.wire.records import failure_response

MAX_USES = 16
"""Queries a socket carries, one after the other, before its port is given back: a port is worth guessing for that long."""
MAX_IDLE = 128
"""Sockets kept for the next query, of each kind; more than this many queries at once pay for a socket each."""
IDLE_TIMEOUT = 5.0
"""Seconds a socket may lie idle and still be used: after that its NAT and conntrack entries are not to be relied on."""
MAX_SOCKETS = 2048
"""Sockets open to one upstream: as many as questions may be in progress by default; what finds none goes over TCP."""
OTHERS_TO_RELENT = 8
"""Responses in another case, none in ours between them, after which we do not insist any more: the server was replaced by one
that lower-cases. Whoever forges responses has those of the true server between his."""
MAX_SOCKETS_IN_ALL = 4096
"""Sockets open to all upstreams together: a worker's descriptors are for its clients too."""
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
        "_address", "_counts", "_echoes", "_idle", "_insists", "_is_closed", "_network", "_open", "_others", "_sent_slot",
        "_tally", "_wants_ad", "_watch", "due", "is_learning", "is_stream", "looks_closer", "name", "randomises_case",
        "round_trip",
    )  # fmt: skip

    def __init__(self, address: Address, network: Network, tally: Tally, *, case_randomisation: str, wants_ad: bool) -> None:
        self.name = address.text
        self.is_stream = False
        self.round_trip = RoundTrip()
        self.randomises_case = case_randomisation != "off"
        self._address = address
        self._network = network
        self._watch = network.timers.watch
        self._tally = tally
        self._counts, self._sent_slot = tally.slots, tally.sent_slot(UDP)
        self._wants_ad = wants_ad
        self._echoes = self._others = 0
        """Responses in our case so far; in another case since the last of those."""
        self._insists = case_randomisation == "on"
        self.is_learning = not self._insists
        """Whether a response in another case than ours may yet be how this server is."""
        self.looks_closer = self.is_learning
        """Whether `accepts` must see every response."""
        self._idle: tuple[list[UdpSocket], list[UdpSocket]] = ([], [])
        """Sockets at rest: for AAAA, for all other types."""
        self._open: set[UdpSocket] = set()
        self.due = math.inf
        """When one of them may have waited for long enough; one timer serves them all."""
        self._is_closed = False

    def exchange(
        self,
        query: Query,
        until: float,
        *,
        edns: bool = True,
        apart: bool = False,  # noqa: ARG002 - as Upstream has it
    ) -> Exchanging:
        """Send one query; to be awaited for its response or why there is none. Each is `apart` anyway."""
        carrier = self._socket_for(query.qtype)
        if isinstance(carrier, Settled):
            return carrier
        spelled = self._network.unpredictable.spelled(query.name) if self.randomises_case else query.name
        if not carrier.send(query, spelled + query.question[-4:], wants_ad=self._wants_ad, edns=edns):
            return Settled(Failed.NETWORK)
        carrier.due = until
        self._counts[self._sent_slot] += 1
        if until < self.due:
            self._watch(self, until)
        return carrier

    def look(self, now: float) -> int:
        """Tell the queries that are late, and be looked at again when the next is."""
        self.due = math.inf
        left = AT_ONCE
        for carrier in list(self._open):
            if carrier.due <= now + SLACK and carrier.coroutine is not None:
                carrier.look(now)
                left -= 1
                if not left:
                    break
        following = min([carrier.due for carrier in self._open if carrier.coroutine is not None], default=math.inf)
        if following < self.due:
            self._watch(self, following)
        return AT_ONCE - left

    def accepts(self, message: bytes, found: Match, question: bytes) -> bytes | None:
        """The message, if it is the response that is waited for, in a form that can be parsed."""
        if found is EXACT:
            if question[:-4] != question[:-4].lower():  # without a capital, a server that lower-cases echoes too
                self._echoes += 1
                self._others = 0
                self.is_learning = self._echoes < ECHOES_TO_TRUST and not self._insists
                self.looks_closer = self.is_learning
            return message
        if found is OTHER_CASE:
            self._others += 1
            self.is_learning = self.is_learning or (self._others >= OTHERS_TO_RELENT and not self._insists)
            self.looks_closer = True
            if self.is_learning:
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
        self._open.discard(carrier)
        self._network.open_sockets.discard(carrier)
        carrier.close()

    def tidy(self, now: float) -> None:
        """Close what has been idle for so long that it is not relied upon."""
        for idle in self._idle:  # the longest first
            while idle and now - idle[0].idle_since >= IDLE_TIMEOUT:
                self.release(idle.pop(0), reuse=False)

    def close(self) -> None:
        """Close what is idle; sockets in use close when their query ends."""
        self._is_closed = True
        for idle in self._idle:
            while idle:
                self.release(idle.pop(), reuse=False)

    def _socket_for(self, qtype: int) -> "UdpSocket | Settled":
        """A socket at rest, or a fresh one."""
        kind = 0 if qtype == AAAA else 1
        idle, now = self._idle[kind], self._network.turn.now
        if idle and now - idle[-1].idle_since >= IDLE_TIMEOUT:
            self.tidy(now)
        if idle:
            return idle.pop()
        if len(self._open) >= MAX_SOCKETS or len(self._network.open_sockets) >= MAX_SOCKETS_IN_ALL:
            return Settled(Failed.EXHAUSTED)
        try:
            endpoint = socket.socket(self._address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError:
            return Settled(Failed.EXHAUSTED)
        try:
            endpoint.connect(self._address.sockaddr)
        except OSError:
            endpoint.close()
            return Settled(Failed.NETWORK)
        carrier = UdpSocket(self, endpoint, self._network, kind)
        self._open.add(carrier)
        self._network.open_sockets.add(carrier)
        return carrier


class UdpSocket(Exchange):
    """A connected socket, and the one query it carries."""

    __slots__ = (
        "_network",
        "_receive",
        "_send",
        "_socket",
        "_upstream",
        "identity",
        "idle_since",
        "kind",
        "question",
        "uses",
    )

    def __init__(self, upstream: UdpUpstream, connected: socket.socket, network: Network, kind: int) -> None:
        super().__init__()
        self.kind = kind
        self.uses = 0
        self.idle_since = 0.0
        self._upstream = upstream
        self._network = network
        self.identity = 0
        self.question = b""
        """As it was sent."""
        self._socket = connected
        self._receive, self._send = self._socket.recv_into, self._socket.send
        network.readiness.watch(self._socket.fileno(), self._on_ready, READ)

    def send(self, query: Query, question: bytes, *, wants_ad: bool, edns: bool) -> bool:
        """Send a query, its question spelled like this. False: it could not leave, and the socket is closed."""
        self.uses += 1
        self.query = query
        self.question = question
        self.identity = identity = self._network.unpredictable.message_id()
        try:
            self._send(query_for_upstream(identity, question, query, wants_ad=wants_ad, edns=edns))
        except OSError:
            self._upstream.release(self, reuse=False)
            return False
        return True

    def abandon(self) -> None:
        """Nobody waits any more: a late response must meet nobody."""
        self.coroutine = None
        self._upstream.release(self, reuse=False)

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
        received, upstream, question = _buffer[:size], self._upstream, self.question
        found = match_for(received, self.identity, question)
        is_plain = found is EXACT and not upstream.looks_closer
        message = received if is_plain else upstream.accepts(received, found, question)
        if message is None:
            self.resume(Failed.MISMATCHED)
            return
        upstream.release(self, reuse=self.uses < MAX_USES)
        self.resume(Failed.TRUNCATED if is_truncated(message) else message)

    def _on_error(self) -> None:
        """ICMP said that nobody listens there, or that it cannot be reached."""
        if self.coroutine is not None:
            self._upstream.release(self, reuse=False)
            self.resume(Failed.NETWORK)
