"""What all upstream transports share: sockets' readiness, timers, the turn and its time, random octets."""

import encodings.idna  # noqa: F401 - getaddrinfo and ssl ask for it, perhaps when a worker opens no file any more
import socket
from dataclasses import dataclass, field

from forwarder.upstream.readiness import Readiness
from forwarder.upstream.turn import Turn
from forwarder.upstream.unpredictable import Unpredictable
from forwarder.upstream.waiting import Timers


@dataclass(frozen=True, slots=True)
class Network:
    """One per worker."""

    readiness: Readiness
    timers: Timers
    turn: Turn
    unpredictable: Unpredictable
    open_sockets: set[object] = field(default_factory=set)
    """The UDP sockets open to all upstreams together."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an upstream listens."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int]
    """As `socket.connect` takes it; numeric, so that nothing is ever looked up."""
    text: str
    """As people write it: `192.0.2.1:53`, `[2001:db8::1]:53`."""


def address_for(host: str, port: int) -> Address:
    """The address of a numeric host, IPv4 or IPv6 (a scope as `fe80::1%eth0` included). Raises OSError for anything else."""
    family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    text = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
    return Address(family, sockaddr, text)  # type: ignore[arg-type]  # the stub admits address families without sockets
