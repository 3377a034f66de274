"""Scripted upstreams: plain sockets in the thread of the test, that answer as the scenario says, by question.

Each has an address of 127.0.0.0/8 and a port of its own, the same for UDP and TCP, which it keeps when it dies and comes
back. Always holds: every query that arrives is noted, whatever becomes of it.
"""

import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from tests.lab.behaviours import Behaviour, Move, Received, silent
from tests.lab.clients import extended_errors
from tests.lab.ports import bound_pair
from tests.rpl.answers import behaviour_for
from tests.rpl.statements import Reply, Selector, Turn
from tests.rpl.virtual import VirtualLoop

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST."""
LARGEST = 65535
SHOWN = 4
"""Records of a message that the trace shows."""

OF_OUR_OWN = frozenset(("SOA", "HINFO"))
"""Types of the daemon's own probes: is an upstream alive, does one lead back to us."""
OF_CLIENTS = frozenset((8, 10))
"""Options that a client sends for us alone: ECS (RFC 7871), where nobody configured it, and the cookie (RFC 7873)."""

Trace = Callable[[str], None]


@dataclass(slots=True)
class Arrived:
    """A query, and how to answer it."""

    received: Received
    send: Callable[[Move], None]
    looked_at: bool = False

    def matches(self, selector: Selector) -> bool:
        """Whether this query is one of those."""
        received = self.received
        return (
            selector.rtype in {"", received.qtype}
            and selector.name in {"", received.name.lower()}
            and selector.transport in {"", received.transport}
            and selector.edns in {None, received.has_opt}
        )

    def is_meant(self, selector: Selector) -> bool:
        """Whether a scenario that looks at queries means this one: what the daemon asks for itself only by its type."""
        return self.matches(selector) and (bool(selector.rtype) or self.received.qtype not in OF_OUR_OWN)

    def __str__(self) -> str:
        received = self.received
        edns = "" if received.has_opt else ", no EDNS"
        way = f"TCP connection {received.connection}" if received.connection else f"UDP from port {received.port}"
        return f"{received.qtype} {received.name} over {way}{edns}"


@dataclass(slots=True)
class Stream:
    """One accepted connection."""

    connection: socket.socket
    number: int
    is_mute: bool = False
    buffered: bytes = b""


@dataclass(slots=True)
class ScenarioUpstream:
    """One scripted upstream."""

    number: int
    loop: VirtualLoop
    trace: Trace
    arrived: list[Arrived] = field(default_factory=list)
    """Every query since counting started."""
    copied: list[str] = field(default_factory=list)
    """Queries that brought what was between a client and us: its cookie, its subnet."""
    _rules: list[tuple[Selector, Behaviour]] = field(default_factory=list)
    _streams: dict[int, Stream] = field(default_factory=dict)
    _accepted: int = 0
    _loses: bool = False
    _datagrams_in: int = 0
    _host: str = ""
    _port: int = 0
    _doors: tuple[socket.socket, ...] = ()

    def __post_init__(self) -> None:
        self._host = ".".join(["127", *(str(1 + secrets.randbelow(253)) for _ in range(3))])
        self._open(*bound_pair(self._host))
        self._port = self._doors[0].getsockname()[1]

    @property
    def address(self) -> str:
        """As the configuration has it."""
        return f"{self._host}:{self._port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._streams)

    def treat(self, selector: Selector, reply: Reply) -> None:
        """From now on answer these queries so; what is said of all queries replaces everything said before."""
        if selector == Selector():
            self._rules.clear()
        self._rules.insert(0, (selector, behaviour_for(reply, self.number)))

    def take_turn(self, turn: Turn) -> None:
        """Change as a whole."""
        match turn:
            case Turn.DIES:
                self.close()
            case Turn.COMES_BACK:
                self._come_back()
            case Turn.CLOSES:
                self._drop_connections(reset=False)
            case Turn.RESETS:
                self._drop_connections(reset=True)
            case Turn.OLD_CONNECTIONS_MUTE:
                for stream in self._streams.values():
                    stream.is_mute = True
            case Turn.LOSES_EVERY_SECOND:
                self._loses, self._datagrams_in = True, 0
            case Turn.LOSES_NOTHING:
                self._loses = False

    def move(self, arrived: Arrived, behaviour: Behaviour) -> None:
        """Answer a query."""
        for move in behaviour(arrived.received):
            if move.after:
                self.loop.call_later(move.after, partial(arrived.send, move))
            else:
                arrived.send(move)

    def close(self) -> None:
        """Nobody listens here from now on, and every connection is reset."""
        self._drop_connections(reset=True)
        for door in self._doors:
            self.loop.remove_reader(door.fileno())
            door.close()
        self._doors = ()

    def _come_back(self) -> None:
        assert not self._doors, f"upstream {self.number} was not dead"
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams.setblocking(False)
        listener.setblocking(False)
        datagrams.bind((self._host, self._port))
        listener.bind((self._host, self._port))
        listener.listen(256)
        self._open(datagrams, listener)

    def _open(self, datagrams: socket.socket, listener: socket.socket) -> None:
        self._doors = (datagrams, listener)
        self.loop.add_reader(datagrams.fileno(), self._on_datagram)
        self.loop.add_reader(listener.fileno(), self._on_connection)

    def _on_datagram(self) -> None:
        door = self._doors[0]
        octets, source = door.recvfrom(LARGEST)

        def send(move: Move) -> None:
            if not self._doors:
                return
            if move.from_other_port:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.bind((self._host, 0))
                    other.sendto(move.octets, source)
            elif move.octets:
                self._doors[0].sendto(move.octets, source)
            self.trace(f"upstream {self.number} answers {source[1]}: {_in_short(move.octets)}")

        self._datagrams_in += 1
        if self._loses and not self._datagrams_in % 2:
            self.trace(f"upstream {self.number} never sees a datagram from port {source[1]}: lost")
            return
        self._take(Received("udp", source, 0, octets, dns.message.from_wire(octets)), send)

    def _on_connection(self) -> None:
        connection, _ = self._doors[1].accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted += 1
        stream = Stream(connection, self._accepted)
        self._streams[stream.number] = stream
        self.loop.add_reader(connection.fileno(), lambda: self._on_octets(stream))

    def _on_octets(self, stream: Stream) -> None:
        try:
            octets = stream.connection.recv(LARGEST)
        except ConnectionError:
            octets = b""
        if not octets:
            self._drop(stream)
            return
        stream.buffered += octets
        while len(stream.buffered) >= 2 and len(stream.buffered) >= 2 + int.from_bytes(stream.buffered[:2]):
            end = 2 + int.from_bytes(stream.buffered[:2])
            octets, stream.buffered = stream.buffered[2:end], stream.buffered[end:]
            source = stream.connection.getpeername()
            received = Received("tcp", source, stream.number, octets, dns.message.from_wire(octets))
            self._take(received, lambda move: self._send_on(stream, move))
            if stream.number not in self._streams:
                return

    def _send_on(self, stream: Stream, move: Move) -> None:
        if stream.number not in self._streams or stream.is_mute:
            return
        self.trace(f"upstream {self.number} answers on connection {stream.number}: {_in_short(move.octets)}")
        if move.octets:
            stream.connection.send((len(move.octets).to_bytes(2) if move.is_framed else b"") + move.octets)
        if move.close:
            self._drop(stream)

    def _take(self, received: Received, send: Callable[[Move], None]) -> None:
        arrived = Arrived(received, send)
        self.arrived.append(arrived)
        if OF_CLIENTS & set(received.option_codes):
            self.copied.append(str(arrived))
        self.trace(f"upstream {self.number} gets {arrived}")
        self.move(arrived, next((behaviour for selector, behaviour in self._rules if arrived.matches(selector)), silent))

    def _drop_connections(self, *, reset: bool) -> None:
        for stream in list(self._streams.values()):
            if reset:
                stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        self.loop.remove_reader(stream.connection.fileno())
        stream.connection.close()
        del self._streams[stream.number]


def _in_short(octets: bytes) -> str:
    """What is sent, in few words, readable or not."""
    try:
        message = dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return f"{len(octets)} octets that are no message"
    return in_short(message)


def in_short(message: dns.message.Message) -> str:
    """RCODE, answer records, TC and extended errors of a message, on one line."""
    records = [
        f"{dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()} TTL {rrset.ttl}"
        for rrset in message.answer
        for rdata in rrset
    ]
    shown = records[:SHOWN] + [f"and {len(records) - SHOWN} more"] * (len(records) > SHOWN)
    truncated = ["TC"] * bool(message.flags & dns.flags.TC)
    errors = [f'EDE {code} "{text}"' for code, text in extended_errors(message)]
    return " ".join([dns.rcode.to_text(message.rcode()), *shown, *truncated, *errors])
