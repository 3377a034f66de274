"""Sockets that others bound and passed on, systemd at the start or the instance before us: which of them is at an address.

Never binds, changes or reads one. Always holds: a socket is taken at most once, two descriptors of one socket count as one, and
what nobody took is there to be named and closed.
"""

import os
import socket
from collections.abc import Iterable

from forwarder.config import split_address

INTERNET = (socket.AF_INET, socket.AF_INET6)
Place = tuple[socket.SocketKind, bytes, int, int]
"""Datagrams or streams, the address packed, port, scope (of IPv6, else 0)."""


class Offered:
    """Bound sockets that wait for an address of the configuration to name them."""

    def __init__(self, descriptors: Iterable[int] = ()) -> None:
        """The descriptors are ours from now on; one of a socket that another already stands for is closed."""
        self._left: list[socket.socket] = []
        seen = set()
        for descriptor in descriptors:
            status = os.fstat(descriptor)
            bound = socket.socket(fileno=descriptor)
            if (status.st_dev, status.st_ino) in seen:
                bound.close()
            else:
                self._left.append(bound)
            seen.add((status.st_dev, status.st_ino))

    def take_udp(self, address: str, count: int) -> list[socket.socket]:
        """The UDP sockets at this address (`127.0.0.1:5300`), in the order in which they came, so many at most."""
        return self._taken(socket.SOCK_DGRAM, address, count)

    def take_tcp(self, address: str) -> socket.socket | None:
        """The TCP socket that is bound there."""
        return next(iter(self._taken(socket.SOCK_STREAM, address, 1)), None)

    def close(self) -> dict[int, str]:
        """Close what nobody took: its number -> what it was, `127.0.0.1:5300 UDP`."""
        left = {bound.fileno(): described(bound) for bound in self._left}
        for bound in self._left:
            bound.close()
        self._left.clear()
        return left

    def _taken(self, kind: socket.SocketKind, address: str, count: int) -> list[socket.socket]:
        wanted = place_for(kind, address)
        taken = [bound for bound in self._left if place_of(bound) == wanted][:count]
        self._left = [bound for bound in self._left if bound not in taken]
        return taken


def place_for(kind: socket.SocketKind, address: str) -> Place | None:
    """Where a socket of this kind is that listens on this address; None when this host does not understand it."""
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None
    return _place(kind, found[0][0], found[0][4])


def place_of(bound: socket.socket) -> Place | None:
    """Where this socket is; None when it is not of the Internet."""
    return _place(bound.type, bound.family, bound.getsockname()) if bound.family in INTERNET else None


def described(bound: socket.socket) -> str:
    """A socket for a person: `[::1]:53 UDP`."""
    if bound.family not in INTERNET:
        return f"a socket of family {bound.family} at {bound.getsockname()!r}"
    host, port = bound.getsockname()[:2]
    return f"{f'[{host}]' if ':' in host else host}:{port} {'UDP' if bound.type == socket.SOCK_DGRAM else 'TCP'}"


def _place(kind: int, family: int, sockaddr: tuple[object, ...]) -> Place:
    host, port, *rest = sockaddr
    scope = rest[1] if len(rest) > 1 else 0
    packed = socket.inet_pton(family, str(host).partition("%")[0])
    return socket.SocketKind(kind), packed, int(str(port)), int(str(scope))
