"""Who asks: one socket for each query, and what every response must fulfil whatever the scenario expects.

Always holds: everything that arrives on a query's socket is noted with its time, so that a second response is seen too.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from tests.lab.clients import framed
from tests.rpl.statements import Asks, Selector
from tests.rpl.upstreams import Trace, in_short
from tests.rpl.virtual import VirtualLoop

LARGEST = 65535
LEAST_UDP_SIZE = 512
"""Octets a client without EDNS takes over UDP (RFC 1035 section 2.3.4)."""
OPT = bytes((0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0))
COOKIE = bytes((0, 10, 0, 8)) + b"8 octets"
EXTENDED_ERROR = 15
_ONE_MORE = 1

Twist = Callable[[bytearray], None]


def _is_response(octets: bytearray) -> None:
    octets[2] |= 0x80


def _notify(octets: bytearray) -> None:
    octets[2] |= 4 << 3


def _chaos(octets: bytearray) -> None:
    end = octets.index(0, 12)
    octets[end + 3 : end + 5] = b"\0\3"


def _two_questions(octets: bytearray) -> None:
    octets[5] = 2


def _one_more_opt(octets: bytearray) -> None:
    octets[11] += _ONE_MORE
    octets += OPT


def _version_one(octets: bytearray) -> None:
    octets[11] += _ONE_MORE
    octets += OPT[:6] + b"\1" + OPT[7:]


def _with_cookie(octets: bytearray) -> None:
    octets[11] += _ONE_MORE
    octets += OPT[:9] + len(COOKIE).to_bytes(2) + COOKIE


def _cut(octets: bytearray) -> None:
    del octets[5:]


TWISTS: Mapping[str, Twist] = {
    "with QR": _is_response,
    "with opcode NOTIFY": _notify,
    "with class CH": _chaos,
    "with QDCOUNT 2": _two_questions,
    "with one more OPT": _one_more_opt,
    "with EDNS version 1": _version_one,
    "with a cookie": _with_cookie,
    "cut to 5 octets": _cut,
}
"""What may be odd about a query, by how a scenario says it."""


@dataclass(slots=True)
class Asked:
    """One query of a client, and what came of it."""

    asks: Asks
    octets: bytes
    at: float
    """Seconds of the virtual clock."""
    responses: list[tuple[float, bytes]] = field(default_factory=list)
    """When, and what."""
    heard: int = 0
    """How many of them the scenario looked at."""
    expects_silence: bool = False
    """Whether the scenario says that there is no response, ever."""

    def matches(self, selector: Selector) -> bool:
        """Whether a scenario means this one."""
        asks = self.asks
        return (
            selector.rtype in {"", asks.rtype}
            and selector.name in {"", asks.name.lower()}
            and selector.transport in {"", asks.transport}
        )

    def __str__(self) -> str:
        return f"{self.asks.rtype} {self.asks.name} over {self.asks.transport.upper()}"


class Clients:
    """All clients of a scenario."""

    def __init__(self, server: tuple[str, int], loop: VirtualLoop, trace: Trace) -> None:
        self.asked: list[Asked] = []
        self._server = server
        self._loop = loop
        self._trace = trace
        self._sockets: list[socket.socket] = []

    def ask(self, asks: Asks) -> None:
        """One client sends this query, from a socket of its own."""
        octets = _octets_of(asks)
        asked = Asked(asks, octets, self._loop.now)
        self.asked.append(asked)
        self._trace(f"client asks {asked}")
        is_stream = asks.transport == "tcp"
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM)
        self._sockets.append(endpoint)
        endpoint.bind((asks.source, 0))
        endpoint.connect(self._server)  # the kernel of the other side completes it: nobody has to accept first
        endpoint.setblocking(False)
        endpoint.send(framed(octets) if is_stream else octets)
        self._loop.add_reader(endpoint.fileno(), lambda: self._hear(endpoint, asked))

    def close(self) -> None:
        """Nobody listens any more."""
        for endpoint in self._sockets:
            self._loop.remove_reader(endpoint.fileno())
            endpoint.close()
        self._sockets.clear()

    def _hear(self, endpoint: socket.socket, asked: Asked) -> None:
        try:
            octets = endpoint.recv(LARGEST)
        except ConnectionError:
            octets = b""
        if asked.asks.transport == "tcp":
            if not octets:
                self._loop.remove_reader(endpoint.fileno())
                return
            while len(octets) < 2 + int.from_bytes(octets[:2]):
                octets += endpoint.recv(LARGEST)  # loopback delivers what was sent in one write; else BlockingIOError says so
            octets = octets[2:]
        asked.responses.append((self._loop.now, octets))
        try:
            said = in_short(dns.message.from_wire(octets, ignore_trailing=True))
        except dns.exception.DNSException as problem:
            said = f"{len(octets)} octets that cannot be read: {problem}"
        self._trace(f"client hears for {asked}: {said}")


def _octets_of(asks: Asks) -> bytes:
    message = dns.message.make_query(asks.name, asks.rtype, want_dnssec=False)
    message.flags = dns.flags.Flag(0)
    ednsflags = dns.flags.EDNSFlag(0)
    for flag in asks.flags:
        if flag == "DO":
            ednsflags |= dns.flags.DO
        else:
            message.flags |= dns.flags.Flag[flag]
    if asks.payload is not None:
        message.use_edns(0, ednsflags, asks.payload)
    octets = bytearray(message.to_wire())
    for twist in asks.twists:
        TWISTS[twist](octets)
    return bytes(octets)


def shortcomings(asked: Asked, octets: bytes) -> list[str]:
    """What is wrong with a response, whatever question it answers.

    ID, opcode, RD and question (spelling included) echo the query; QR=1, RA=1, AA=0; OPT if and only if the
    query had one, with no options but extended errors; no datagram is larger than the client takes.
    """
    try:
        response = dns.message.from_wire(octets)
    except dns.exception.DNSException as problem:
        return [f"the response cannot be read: {problem}"]
    query, found = asked.octets, []
    if octets[:2] != query[:2]:
        found.append("the ID is not the query's")
    if not octets[2] & 0x80:
        found.append("QR=0")
    if (octets[2] ^ query[2]) & 0x79:
        found.append("opcode or RD is not the query's")
    if octets[2] & 0x04:
        found.append("AA=1")
    if not octets[3] & 0x80:
        found.append("RA=0")
    end = query.index(0, 12) + 5
    has_question = octets[4:6] == b"\0\1"
    may_lack_question = response.rcode() in {dns.rcode.FORMERR, dns.rcode.NOTIMP}
    if not (has_question and octets[12:end] == query[12:end]) and not (may_lack_question and not has_question):
        found.append("the question is not the query's")
    had_opt = asked.asks.payload is not None or {"with one more OPT", "with EDNS version 1", "with a cookie"} & set(
        asked.asks.twists
    )
    if (response.edns >= 0) != bool(had_opt) and has_question:
        found.append("OPT in the response" if response.edns >= 0 else "no OPT in the response")
    if foreign := [int(option.otype) for option in response.options if int(option.otype) != EXTENDED_ERROR]:
        found.append(f"options {foreign}, which are between us and the upstream")
    limit = max(asked.asks.payload or LEAST_UDP_SIZE, LEAST_UDP_SIZE)
    if asked.asks.transport == "udp" and len(octets) > limit:
        found.append(f"{len(octets)} octets for a client that takes {limit}")
    return found
