"""Sockets of the daemon: bound once by the supervisor, with every option set, and kept until it ends.

Never reads a datagram or accepts a connection: that is the workers' part, on the same sockets. Always holds: an address is
either bound for UDP and for TCP, or `ListenError` says in one line why not and what to do; nothing is left open then.
"""

import contextlib
import errno
import itertools
import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forwarder.adoption import Offered, described
from forwarder.config import split_address
from forwarder.errors import ListenError
from forwarder.steering import program_for

# Numbers of Linux which the socket module of Python 3.11 does not name.
SO_RCVBUFFORCE = 33
SO_ATTACH_REUSEPORT_CBPF = 51
SO_MEMINFO = 55
IP_PKTINFO = 8
IP_FREEBIND = 15
IPV6_FREEBIND = 78

MEMINFO_SIZE = 36
"""Octets: SO_MEMINFO gives nine 32-bit integers."""
MEMINFO_DROPS_AT = 32
"""The ninth, SK_MEMINFO_DROPS: datagrams that found the receive queue full."""

DNS_SETTING = "listen.addresses (--listen)"
HTTP_SETTING = "observe.http"
_HOLDERS = {
    DNS_SETTING: "another forwarder or another DNS server (systemd-resolved, dnsmasq, unbound ...)",
    HTTP_SETTING: "another forwarder or NodeLocal DNSCache perhaps",
}

MAX_GROUP = 64
"""Sockets taken over at one address: as many as there may be workers."""
SHARED = "workers read them together, and each remembers what others know too; let the daemon bind them by itself"
UNSTEERED = "any of them gets any name, and each remembers what others know too"
TCP_BACKLOG = 1024
"""Connections that wait while a worker is replaced; the kernel lowers it to net.core.somaxconn (4096)."""
HTTP_BACKLOG = 16
"""Scrapers and probes: two or three, never a crowd."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
"""What bind() takes: host and port, and for IPv6 flow information and scope."""

_WHY = {
    errno.EADDRINUSE: (
        "already in use, by {holder}: see whose it is with `ss -ln{letter}p 'sport = :{port}'`, stop it or change {setting}"
    ),
    errno.EACCES: (
        "not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE; grant it (systemd: AmbientCapabilities=), "
        "or change {setting} to a port such as 5300"
    ),
    errno.EADDRNOTAVAIL: "not an address of this host: add it to an interface, or change {setting}",
    errno.EAFNOSUPPORT: "this kernel does not speak that address family: take the address out of {setting}",
}


@dataclass(frozen=True, slots=True)
class Doors:
    """The bound sockets of all configured addresses, in the order of the configuration."""

    udp: tuple[tuple[socket.socket, ...], ...]
    """Of each address one for each worker, or more: non-blocking, SO_REUSEPORT, in the order in which they were bound."""
    tcp: tuple[socket.socket, ...]
    """Of each address one for all workers: non-blocking, listening."""
    absent: tuple[str, ...]
    """Addresses bound although no interface has them yet: queries reach them as soon as one does."""
    complaints: tuple[str, ...] = ()
    """What is not as it should be, each one sentence."""

    @property
    def receive_buffer(self) -> int:
        """Octets that wait for a worker at each UDP socket: what was asked for, or less where the kernel grants no more.

        The kernel doubles what it is asked for, to have room for its own records, and tells the double (socket(7)).
        """
        return min(bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2 for bound in itertools.chain(*self.udp))

    def udp_for(self, worker: int, workers: int) -> list[int]:
        """The descriptors that one of so many workers reads: its own, and those of workers that there are no more."""
        return [bound.fileno() for group in self.udp for bound in group[worker::workers] or group[worker % len(group) :][:1]]

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        return [bound.fileno() for bound in (*itertools.chain(*self.udp), *self.tcp)]

    def steer(self, workers: int) -> Iterator[str]:
        """Divide the names among so many workers from now on; where that cannot be done, each one sentence."""
        for group in self.udp:
            if len(group) > 1 and len(group) >= workers:
                try:
                    steer(group[0], program_for(workers))
                except OSError as error:
                    why = error.strerror or error
                    yield f"{described(group[0])}: names cannot be steered to workers ({why}): {UNSTEERED}"

    def close(self) -> None:
        """Close all of them; what waits in their queues is lost, unless somebody else holds them too."""
        for bound in (*itertools.chain(*self.udp), *self.tcp):
            bound.close()


def bind_doors(addresses: Sequence[str], receive_buffer: int, workers: int = 1, offered: Offered | None = None) -> Doors:
    """Bind UDP and TCP of each address (`127.0.0.1:5300`, `[::1]:53`); receive_buffer in octets. Raises ListenError.

    What is offered at an address is taken instead, with whatever waits in its queue. Whoever reads what was offered gets every
    query until `Doors.steer`.
    """
    offered = Offered() if offered is None else offered
    udp: list[tuple[socket.socket, ...]] = []
    tcp: list[socket.socket] = []
    absent: list[str] = []
    complaints: list[str] = []
    with contextlib.ExitStack() as undo:
        for address in addresses:
            if not _is_local(address):
                absent.append(address)
            group = _udp_group(address, receive_buffer, workers, offered, undo)
            if len(group) < workers:
                complaints.append(f"{address} UDP: {len(group)} of {workers} sockets could be bound: {SHARED}")
            udp.append(group)
            tcp.append(undo.enter_context(_adopted_or_listening(address, DNS_SETTING, TCP_BACKLOG, offered)))
        undo.pop_all()
    return Doors(tuple(udp), tuple(tcp), tuple(absent), tuple(complaints))


def _udp_group(
    address: str, receive_buffer: int, workers: int, offered: Offered, undo: contextlib.ExitStack
) -> tuple[socket.socket, ...]:
    """The sockets of one address: those offered there, and new ones for workers that have none."""
    group: list[socket.socket] = []
    for adopted in offered.take_udp(address, MAX_GROUP):
        group.append(undo.enter_context(adopted))
        _fit_udp(adopted, address, receive_buffer)
    if not group:
        _ensure_free(address)
        group.append(undo.enter_context(_bound_udp(address, receive_buffer)))
    elif len(group) < workers:
        with contextlib.suppress(OSError):  # nobody reads yet what is bound here
            steer(group[0], program_for(len(group)))
    with contextlib.suppress(ListenError):  # another user bound the first: nobody else may join
        while len(group) < workers:
            group.append(undo.enter_context(_bound_udp(address, receive_buffer)))
    return tuple(group)


def bind_http(address: str, offered: Offered | None = None) -> socket.socket:
    """A listening socket for the pages, `127.0.0.1:9253`, or the one that is offered there. Raises ListenError."""
    return _adopted_or_listening(address, HTTP_SETTING, HTTP_BACKLOG, Offered() if offered is None else offered)


def receive_drops(bound: socket.socket) -> int:
    """Datagrams that this UDP socket lost since it was bound, because its receive queue was full (wraps at 2**32)."""
    figures = bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO_SIZE)
    drops: int = struct.unpack_from("=I", figures, MEMINFO_DROPS_AT)[0]
    return drops


def steer(member: socket.socket, program: bytes) -> None:
    """Let this program (`steering.program_for`) choose a socket for each datagram to the group that this UDP socket belongs to.

    A group is what is bound to one address and port with SO_REUSEPORT. Any member will do, a later program takes the place of
    the former at once, and no privilege is needed. Index n is the nth socket that was bound. When one is closed, by every
    process that holds it, the last one takes its index: close the last ones first, and no other moves. Where the program
    returns an index that no socket has, the kernel hashes addresses and ports instead. Raises OSError: EINVAL for a socket
    without SO_REUSEPORT, ENOMEM where net.core.optmem_max is below 16 KiB (kernels begin with 20 KiB or more).
    """
    instructions = array("Q", program)
    address, count = instructions.buffer_info()
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", count, address))


def _is_local(address: str) -> bool:
    """Whether an interface of this host has the address, found out by binding it to a port the kernel chooses."""
    host, _ = split_address(address)
    family, sockaddr = _resolved(host, 0, "UDP", address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind(sockaddr)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _ensure_free(address: str) -> None:
    """Refuse an address that somebody holds already, also with SO_REUSEPORT, which would share it with us in silence."""
    host, port = split_address(address)
    family, sockaddr = _resolved(host, port, "UDP", address)
    with _explained(address, "UDP", DNS_SETTING), socket.socket(family, socket.SOCK_DGRAM) as trial:
        _set_address_options(trial)
        trial.bind(sockaddr)


def _bound_udp(address: str, receive_buffer: int) -> socket.socket:
    host, port = split_address(address)
    family, sockaddr = _resolved(host, port, "UDP", address)
    with contextlib.ExitStack() as undo, _explained(address, "UDP", DNS_SETTING):
        bound = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        bound.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
        _set_address_options(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _set_receive_buffer(bound, receive_buffer)
        if _is_wildcard(host):
            _tell_destination(bound)
        bound.bind(sockaddr)
        undo.pop_all()
    return bound


def _listening(address: str, setting: str, backlog: int) -> socket.socket:
    host, port = split_address(address)
    family, sockaddr = _resolved(host, port, "TCP", address)
    with contextlib.ExitStack() as undo, _explained(address, "TCP", setting):
        bound = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        bound.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
        _set_address_options(bound)
        # Connections of the instance before us linger in TIME_WAIT; a listener of somebody else still means EADDRINUSE.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(sockaddr)
        bound.listen(backlog)
        undo.pop_all()
    return bound


def _fit_udp(adopted: socket.socket, address: str, receive_buffer: int) -> None:
    """What somebody else bound becomes like our own, as far as that can be done to a bound socket."""
    adopted.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
    _ensure_one_family(adopted, address)
    if adopted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * receive_buffer:
        _set_receive_buffer(adopted, receive_buffer)  # never less than it has: whoever bound it may have been allowed more
    if _is_wildcard(split_address(address)[0]):
        _tell_destination(adopted)


def _adopted_or_listening(address: str, setting: str, backlog: int, offered: Offered) -> socket.socket:
    adopted = offered.take_tcp(address)
    if adopted is None:
        return _listening(address, setting, backlog)
    with contextlib.ExitStack() as undo, _explained(address, "TCP", setting):
        undo.enter_context(adopted)
        adopted.setblocking(False)  # noqa: FBT003 - the name of the method says what is false
        _ensure_one_family(adopted, address)
        adopted.listen(backlog)
        undo.pop_all()
    return adopted


def _ensure_one_family(adopted: socket.socket, address: str) -> None:
    """A socket for both families cannot be turned into one for IPv6 once it is bound."""
    if adopted.family == socket.AF_INET6 and not adopted.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        raise ListenError(
            f"{address}: the socket that was passed takes IPv4 too: write BindIPv6Only=ipv6-only in the .socket unit"
        )


def _set_address_options(unbound: socket.socket) -> None:
    """One family per socket, and addresses that the node gets later may be bound now."""
    if unbound.family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        unbound.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        unbound.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def _set_receive_buffer(unbound: socket.socket, octets: int) -> None:
    """What waits while a worker is replaced; without CAP_NET_ADMIN the kernel grants no more than net.core.rmem_max."""
    try:
        unbound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)
    except PermissionError:
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


def _tell_destination(unbound: socket.socket) -> None:
    """Each datagram comes with the address it was sent to, so that the response can leave from it."""
    if unbound.family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        unbound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def _is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound


def _resolved(host: str, port: int, transport: str, address: str) -> tuple[socket.AddressFamily, SocketAddress]:
    """The family and socket address of a literal (`fe80::1%eth0` included); nothing is looked up."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        raise ListenError(f"{address} {transport}: not an address this host understands ({error.strerror})") from error
    return found[0][0], found[0][4]


@contextlib.contextmanager
def _explained(address: str, transport: str, setting: str) -> Iterator[None]:
    """Turn what the kernel refuses into one line: which address, which transport, why, what to do."""
    try:
        yield
    except OSError as error:
        why = _WHY.get(error.errno or 0, "cannot be bound: {reason}; change {setting}")
        letter, (_, port) = "u" if transport == "UDP" else "t", split_address(address)
        sentence = why.format(holder=_HOLDERS[setting], letter=letter, port=port, setting=setting, reason=error.strerror)
        raise ListenError(f"{address} {transport}: {sentence}") from error
