"""Clients that see every octet: one over UDP, one over TCP, and dig.

They give what came and judge nothing; a wait that ends without anything is told as None. Always holds: a UDP client's socket
is connected, so that the kernel drops what comes from an address or port that was not asked.
"""

import re
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import dns.edns
import dns.flags
import dns.message

from tests.lab.needs import needs_program

HANG = 10.0
"""Seconds after which a test says that nothing will come any more; far above every deadline of the daemon's."""
LARGEST_MESSAGE = 65535

Address = tuple[str, int]


def query(
    name: str, qtype: str = "A", *, payload: int | None = None, options: Sequence[tuple[int, bytes]] = (), dnssec: bool = False
) -> dns.message.QueryMessage:
    """A query with RD=1; with an OPT record when a payload size, options or DO are asked for."""
    message = dns.message.make_query(name, qtype)
    if payload is not None or options or dnssec:
        given: list[dns.edns.Option] = [
            dns.edns.GenericOption(dns.edns.OptionType.make(code), value) for code, value in options
        ]
        message.use_edns(0, dns.flags.DO if dnssec else 0, payload or 1232, options=given)
    return message


def extended_errors(message: dns.message.Message) -> list[tuple[int, str]]:
    """The EDE options of a response (RFC 8914): code and text."""
    return [(int(option.code), option.text or "") for option in message.options if isinstance(option, dns.edns.EDEOption)]


def rdatas(message: dns.message.Message) -> list[str]:
    """What the records of the answer section say, in letters, in order."""
    return [rdata.to_text() for rrset in message.answer for rdata in rrset]


class UdpClient:
    """One socket, one source port, many datagrams."""

    def __init__(self, server: Address) -> None:
        self._socket = socket.socket(_family_of(server), socket.SOCK_DGRAM)
        try:
            self._socket.connect(server)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._socket.close()

    def send(self, message: dns.message.Message | bytes) -> None:
        """One datagram; a message dnspython would not write is given as octets."""
        self._socket.send(_octets_of(message))

    def receive_octets(self, *, seconds: float = HANG) -> bytes | None:
        """The next datagram, or None when none came in time."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(LARGEST_MESSAGE)
        except TimeoutError:
            return None

    def receive(self, *, seconds: float = HANG) -> dns.message.Message | None:
        """The next datagram, parsed in full; None when none came in time."""
        octets = self.receive_octets(seconds=seconds)
        return None if octets is None else dns.message.from_wire(octets)


class TcpClient:
    """One connection."""

    def __init__(self, server: Address, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(_family_of(server), socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(HANG)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect(server)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *messages: dns.message.Message) -> None:
        """All of them in one write, each with its length in front."""
        self.send_octets(b"".join(framed(message) for message in messages))

    def send_octets(self, octets: bytes) -> None:
        """Octets of the stream as they are."""
        self.socket.sendall(octets)

    def half_close(self) -> None:
        """Say that nothing more will be sent; go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive_octets(self) -> bytes | None:
        """The next message without its length; None when the server closed first."""
        length = self._exactly(2)
        return None if length is None else self._exactly(int.from_bytes(length, "big"))

    def receive(self) -> dns.message.Message | None:
        """The next message; None when the server closed first. Raises TimeoutError when neither happens."""
        octets = self.receive_octets()
        return None if octets is None else dns.message.from_wire(octets)

    def is_closed_by_server(self, *, seconds: float = HANG) -> bool:
        """Whether the server ends the connection within this time, nothing more sent by it."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(HANG)

    def _exactly(self, count: int) -> bytes | None:
        octets = b""
        while len(octets) < count:
            with suppress(ConnectionError):
                more = self.socket.recv(count - len(octets))
                if more:
                    octets += more
                    continue
            return None
        return octets


def framed(message: dns.message.Message | bytes) -> bytes:
    """A message with its two octets of length (RFC 1035 section 4.2.2)."""
    octets = _octets_of(message)
    return len(octets).to_bytes(2, "big") + octets


def ask(server: Address, message: dns.message.Message) -> dns.message.Message:
    """One query over UDP from a port of its own; the response, or TimeoutError."""
    with UdpClient(server) as client:
        client.send(message)
        response = client.receive()
    if response is None:
        raise TimeoutError(f"{server} did not answer {message.question} within {HANG:.0f} s")
    return response


def ask_tcp(server: Address, message: dns.message.Message) -> dns.message.Message:
    """One query over a connection of its own; the response, or ConnectionError when the server closed instead."""
    with TcpClient(server) as client:
        client.send(message)
        response = client.receive()
    if response is None:
        raise ConnectionError(f"{server} closed the connection instead of answering {message.question}")
    return response


@dataclass(frozen=True, slots=True)
class Dug:
    """What dig printed, and the few words of it that the scenarios ask for."""

    text: str

    @property
    def status(self) -> str:
        """NOERROR, REFUSED, BADVERS ...; empty when nothing came."""
        found = re.search(r"status: (\w+)", self.text)
        return found.group(1) if found else ""

    @property
    def flags(self) -> set[str]:
        """qr, rd, ra, tc ..."""
        found = re.search(r"^;; flags: ([a-z ]*);", self.text, re.MULTILINE)
        return set(found.group(1).split()) if found else set()

    @property
    def edns(self) -> str:
        """`version: 0, flags: do; udp: 1232`; empty without an OPT record."""
        found = re.search(r"^; EDNS: (.*)$", self.text, re.MULTILINE)
        return found.group(1) if found else ""

    @property
    def extended_errors(self) -> list[int]:
        """The EDE codes."""
        return [int(code) for code in re.findall(r"^; EDE: (\d+)", self.text, re.MULTILINE)]

    @property
    def answers(self) -> list[str]:
        """The lines of the answer section, single spaces between the words."""
        section = self.text.partition(";; ANSWER SECTION:\n")[2].partition("\n\n")[0]
        return [" ".join(line.split()) for line in section.splitlines() if line]


def dig(server: Address, *arguments: str) -> Dug:
    """Run dig against a server, one try, without a cookie unless asked for one."""
    command = [needs_program("dig", package="bind9-dnsutils"), f"@{server[0]}", "-p", str(server[1])]
    command += ["+tries=1", f"+time={HANG:.0f}", "+nocookie", *arguments]
    return Dug(subprocess.run(command, capture_output=True, text=True, timeout=3 * HANG, check=False).stdout)


def _family_of(server: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def _octets_of(message: dns.message.Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.to_wire(max_size=LARGEST_MESSAGE)
