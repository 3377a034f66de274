"""What the transports share: numeric addresses; and the scene on which the tests of this room play them against real sockets.

The scene has a clock that stands still, and turns that end when a test says so: nothing here depends on how fast a machine is.
"""

import select
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from forwarder.observe import counters
from forwarder.upstream.network import Address, Network, address_for
from forwarder.upstream.readiness import Readiness
from forwarder.upstream.servers import OPEN, Failed
from forwarder.upstream.tally import Tally
from forwarder.upstream.turn import Turn
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import TICK, Timers, step
from forwarder.wire.edns import opt_record
from forwarder.wire.message import QR, RA, RD, Qtype, Query, parse_query
from forwarder.wire.names import name_from_text, skip_name
from forwarder.wire.records import Response

HANG = 5.0
"""Seconds after which what must come will not come any more."""
HEADER = 12
ADDRESS = b"\xc0\x00\x02\x01"
"""192.0.2.1, what scripted peers answer unless told otherwise."""


def query_for(name: str = "www.example.com", qtype: int = Qtype.A, *, do: bool = False) -> Query:
    """A client's query for this name."""
    question = name_from_text(name) + struct.pack("!HH", qtype, 1)
    message = struct.pack("!6H", 7, RD, 1, 0, 0, 1 if do else 0) + question
    return parse_query(message + (opt_record(1232, do=True) if do else b""))


def question_of(message: bytes) -> bytes:
    """The octets of a message's question."""
    return message[HEADER : skip_name(message, HEADER) + 4]


def response_to(
    query: bytes, rdatas: Sequence[bytes] = (ADDRESS,), *, rcode: int = 0, flags: int = QR | RD | RA, question: bytes = b""
) -> bytes:
    """A response to a query message: these RDATA as records of the type asked for, TTL 60; the query's question or another."""
    question = question or question_of(query)
    records = b"".join(b"\xc0\x0c" + question[-4:] + struct.pack("!IH", 60, len(rdata)) + rdata for rdata in rdatas)
    return query[:2] + struct.pack("!5H", flags | rcode, 1, len(rdatas), 0, 0) + question + records


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def with_flags(flags: int) -> Callable[[bytes], bytes]:
    return lambda query: response_to(query, flags=flags)


def with_question(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda query: response_to(query, question=change(question_of(query)))


MISMATCHES: dict[str, Callable[[bytes], bytes]] = {
    "another ID": lambda query: bytes((query[0] ^ 1,)) + response_to(query)[1:],
    "a query": with_flags(RD),
    "another opcode": with_flags(QR | RD | RA | 0x2000),
    "another name": with_question(lambda question: question.replace(b"\3", b"\3x")[: len(question)]),
    "a longer name": with_question(lambda question: b"\1x" + question),
    "another type": with_question(lambda question: question[:-4] + b"\0\x1c\0\1"),
    "another class": with_question(lambda question: question[:-4] + b"\0\1\0\3"),
    "no question and no failure": lambda query: query[:2] + struct.pack("!5H", QR | RA, 0, 0, 0, 0),
    "no question and NXDOMAIN": lambda query: query[:2] + struct.pack("!5H", QR | RA | 3, 0, 0, 0, 0),
    "two questions": lambda query: response_to(query)[:4] + b"\0\2" + response_to(query)[6:],
    "our own query": lambda query: query,
    "half a header": lambda query: query[: HEADER - 1],
    "nothing": lambda _query: b"",
    "noise": lambda query: query[:2] + b"\xff" * 50,
}
"""What must never be taken for the response to a query, made from the query."""


class Asked:
    """An exchange under way, and what came of it; while it is open it is awaited again, in the same call stack."""

    def __init__(self, awaited: Any) -> None:  # noqa: ANN401 - an exchange, or a coroutine
        self.is_over = False
        self.times_over = 0
        self._is_abandoned = False
        self._outcome: Any = None
        self._awaited = awaited
        step(self._run())

    async def _run(self) -> None:
        while self.is_open:
            self._outcome = await self._awaited
            self.is_over = True
            self.times_over += 1

    def again(self) -> None:
        """An exchange is still open, and awaited: what it was told so far is forgotten."""
        assert self._outcome in OPEN
        self.is_over = False

    def abandon(self) -> None:
        """Wait no more for an exchange that is open."""
        self._is_abandoned = True
        self._awaited.abandon()

    @property
    def is_open(self) -> bool:
        """Whether an exchange may yet bring a response, and nobody abandoned it."""
        return not self._is_abandoned and (not self.is_over or self._outcome in OPEN)

    @property
    def outcome(self) -> object:
        """Whatever came of it."""
        assert self.is_over
        return self._outcome

    @property
    def failed(self) -> Failed:
        """Why there is no response."""
        assert self.is_over
        assert isinstance(self._outcome, Failed)
        return self._outcome

    @property
    def response(self) -> Response:
        """The response."""
        assert self.is_over
        assert isinstance(self._outcome, Response), self._outcome
        return self._outcome

    @property
    def address(self) -> bytes:
        """The RDATA at the end of the response."""
        return self.response.message[-4:]


class Scene:
    """A network whose clock and turns the test moves, counters that nobody else writes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counts = counters.private()
        turn = Turn(self._clock)
        self.tally = Tally(self.counts, 0, turn)
        self.network = Network(Readiness(turn), Timers(), turn, Unpredictable())
        self._poll = select.poll()
        self._poll.register(self.network.readiness.fileno(), select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.network.readiness.close()

    def _clock(self) -> float:
        return self.now

    def serve(self) -> None:
        """One turn of the loop, as soon as a socket of ours has something."""
        assert self._poll.poll(HANG * 1000), "no socket of ours has anything to say"
        self.network.readiness.serve()

    def serve_until_over(self, *asked: Asked) -> None:
        """Turns of the loop until these are over."""
        while not all(one.is_over for one in asked):
            self.serve()

    def end_turn(self) -> None:
        """What was collected is written."""
        self.network.turn.end()

    def is_quiet(self) -> bool:
        """Whether no socket of ours has anything."""
        return not self._poll.poll(0)

    def pass_time(self, seconds: float) -> None:
        """The clock moves on, and the timers look."""
        self.now += seconds
        while self.network.timers.sweep(self.network.turn.begin()):
            self.network.turn.end()
        self.network.turn.end()

    def pass_time_in_ticks(self, seconds: float) -> None:
        """The same in steps of a TICK, as the worker's loop takes them."""
        ends = self.now + seconds
        while self.now < ends:
            self.pass_time(TICK)

    def counted(self, place: int) -> int:
        """What a place of the upstream's row in the counters says."""
        return self.counts[counters.upstream_row(0) + place]

    def queries_sent(self, transport: str) -> int:
        """Queries counted as sent."""
        return self.counted(counters.QUERIES_IN_ROW + counters.UPSTREAM_TRANSPORTS.index(transport))

    @property
    def connections(self) -> int:
        """TCP connections, as the gauge has it."""
        return self.counted(counters.CONNECTIONS_IN_ROW)

    @property
    def mismatched(self) -> int:
        """Messages counted that answer nothing."""
        return self.counted(counters.MISMATCHED_IN_ROW)


class DatagramPeer:
    """The other side of UDP, told what to do step by step. What is sent over loopback has arrived when `send` returns."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(HANG)
        self.address: Address = address_for("127.0.0.1", self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """From now on ICMP says that nobody listens here."""
        self._socket.close()

    def receive(self) -> tuple[bytes, int]:
        """The next query, and the port it came from."""
        message, (_, port) = self._socket.recvfrom(65535)
        return message, port

    def is_quiet(self) -> bool:
        """Whether no query waits to be received."""
        return not select.select([self._socket], [], [], 0)[0]

    def send(self, message: bytes, port: int) -> None:
        """Say this to that port."""
        self._socket.sendto(message, ("127.0.0.1", port))

    def answer(self, *rdatas: bytes) -> int:
        """Receive a query and answer it as it wants to be answered; returns the port it came from."""
        query, port = self.receive()
        usual = bytes(12) + ADDRESS if question_of(query)[-3] == Qtype.AAAA else ADDRESS
        self.send(response_to(query, rdatas or (usual,)), port)
        return port


class StreamPeer:
    """The other side of TCP: a listener whose connections the test accepts."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(HANG)
        self.address: Address = address_for("127.0.0.1", self._listener.getsockname()[1])
        self._accepted: list[Accepted] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._listener.close()
        for accepted in self._accepted:
            accepted.close()

    def close_listener(self) -> None:
        """From now on connections are refused."""
        self._listener.close()

    def accept(self) -> "Accepted":
        """The next connection, which was dialled."""
        accepted = Accepted(self._listener.accept()[0])
        self._accepted.append(accepted)
        return accepted

    def is_quiet(self) -> bool:
        """Whether nobody else has dialled."""
        return not select.select([self._listener], [], [], 0)[0]


class Accepted:
    """A connection, seen from the other side."""

    DATA_SEGMENTS_IN = 152
    """Where `tcpi_data_segs_in` stands in Linux's struct tcp_info."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(HANG)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> bytes:
        """The next query, without its length."""
        return self._exactly(int.from_bytes(self._exactly(2)))

    def receive_all(self, count: int) -> list[bytes]:
        """So many queries."""
        return [self.receive() for _ in range(count)]

    def read_some(self) -> bytes:
        """Octets as they come, at least one."""
        octets = self._socket.recv(1 << 20)
        assert octets, "the connection was closed"
        return octets

    def _exactly(self, size: int) -> bytes:
        octets = b""
        while len(octets) < size:
            more = self._socket.recv(size - len(octets))
            assert more, "the connection was closed"
            octets += more
        return octets

    def is_quiet(self) -> bool:
        """Whether there is nothing to read, not even the end."""
        return not select.select([self._socket], [], [], 0)[0]

    def is_closed_by_us(self) -> bool:
        """Whether the stream ends here; waits until something comes."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True

    @property
    def segments(self) -> int:
        """TCP segments with data that came so far."""
        information = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, self.DATA_SEGMENTS_IN + 4)
        return int.from_bytes(information[self.DATA_SEGMENTS_IN :], "little")

    def send(self, octets: bytes) -> None:
        """These octets as they are."""
        self._socket.sendall(octets)

    def answer(self, *queries: bytes) -> None:
        """Answer these queries in this order, in one write."""
        self.send(b"".join(framed(response_to(query)) for query in queries))

    def reset(self) -> None:
        """The stream ends here, and not well: SO_LINGER of no seconds makes `close` send a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def talk_nonsense(self) -> None:
        """A message shorter than a header, which nobody sends who means DNS."""
        self.send(framed(bytes(HEADER - 1)))

    def close(self) -> None:
        """The stream ends here."""
        self._socket.close()


def framed(message: bytes) -> bytes:
    """A message as it stands in a stream."""
    return len(message).to_bytes(2) + message


class TestAddressFor:
    def test_ipv4(self) -> None:
        assert address_for("192.0.2.1", 53) == Address(socket.AF_INET, ("192.0.2.1", 53), "192.0.2.1:53")

    def test_ipv6(self) -> None:
        assert address_for("2001:db8::1", 5353) == Address(socket.AF_INET6, ("2001:db8::1", 5353, 0, 0), "[2001:db8::1]:5353")

    def test_link_local_with_its_scope(self) -> None:
        address = address_for("fe80::1%lo", 53)
        assert address.sockaddr == ("fe80::1", 53, 0, socket.if_nametoindex("lo"))
        assert address.text == "[fe80::1%lo]:53"

    @pytest.mark.parametrize("host", ["localhost", "dns.example", "", "192.0.2", "1.2.3.4.5", "fe80::1%no-such-interface"])
    def test_nothing_is_ever_looked_up(self, host: str) -> None:
        if host == "192.0.2":  # inet_aton's short forms are numeric too: nothing is looked up, and config refuses them
            assert address_for(host, 53).family == socket.AF_INET
            return
        with pytest.raises(OSError, match=r"."):
            address_for(host, 53)

    def test_a_socket_can_connect_to_it(self) -> None:
        with DatagramPeer() as peer, socket.socket(peer.address.family, socket.SOCK_DGRAM) as ours:
            ours.connect(peer.address.sockaddr)
            ours.send(b"hello")
            assert peer.receive() == (b"hello", ours.getsockname()[1])


class TestNetwork:
    def test_it_is_as_late_as_when_the_turn_began(self) -> None:
        with Scene() as scene:
            scene.now += 1.5
            assert scene.network.turn.now == scene.now - 1.5
            scene.network.readiness.serve()
            assert scene.network.turn.now == scene.now
