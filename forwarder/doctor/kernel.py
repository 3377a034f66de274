"""What the kernel shows as text, read: counters and connections of conntrack, addresses, sockets.

Pure. Never fails: a line that is not as expected is passed over. Sources: net/netfilter/nf_conntrack_standalone.c,
net/ipv4/fib_trie.c, net/ipv6/addrconf.c, net/ipv4/udp.c of Linux.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forwarder.doctor.facts import Connection, Connections
from forwarder.observe.conntrack import counters_in

MAX_CONNECTIONS = 200
"""Of those that are DNS, kept; all are counted."""
COUNTERS = ("insert_failed", "drop", "early_drop", "clashres", "clash_resolve", "invalid")
"""Of /proc/net/stat/nf_conntrack, kept. Kernels before 5.10 have no clash_resolve; some call it clashres."""

_FIELD = re.compile(r"(src|dst|sport|dport)=(\S+)")
_LOCAL = re.compile(r"/32 host LOCAL")
_LEAF = re.compile(r"\|-- (\S+)")


def conntrack_counters(text: str) -> tuple[dict[str, int], ...]:
    """/proc/net/stat/nf_conntrack: of each CPU, those that are kept."""
    return tuple({name: figures[name] for name in COUNTERS if name in figures} for figures in counters_in(text))


def dns_connections(lines: Iterable[str], ports: frozenset[int]) -> Connections:
    """Of /proc/net/nf_conntrack, or of `conntrack -L`: the connections whose first packet went to one of these ports."""
    count = 0
    some: list[Connection] = []
    for line in lines:
        connection = _connection(line, ports)
        if connection is not None:
            count += 1
            if len(some) < MAX_CONNECTIONS:
                some.append(connection)
    return Connections(count=count, some=tuple(some))


def _connection(line: str, ports: frozenset[int]) -> Connection | None:
    fields = _FIELD.findall(line)
    first, reply = dict(fields[:4]), dict(fields[4:8])
    port = first.get("dport", "")
    if len(first) != len(reply) or len(first) != 4 or not port.isdigit() or int(port) not in ports:  # noqa: PLR2004 - the four fields
        return None
    protocol = next((word for word in line.split() if word in {"udp", "tcp"}), "")
    source, destination, replies_from = (_written(text) for text in (first["src"], first["dst"], reply["src"]))
    return Connection(
        protocol=protocol, source=source, destination=destination, port=int(port), replies_from=replies_from
    )  # fmt: skip


def _written(address: str) -> str:
    """As we write addresses: the kernel shows every zero of IPv6."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def local_addresses(fib_trie: str, if_inet6: str) -> tuple[str, ...]:
    """Of /proc/net/fib_trie and /proc/net/if_inet6: every address of this host."""
    found: dict[str, None] = {}
    leaf = ""
    for line in fib_trie.splitlines():
        match = _LEAF.search(line)
        if match is not None:
            leaf = match[1]
        elif leaf and _LOCAL.search(line):
            found[leaf] = None
    for line in if_inet6.splitlines():
        digits = line.partition(" ")[0]
        if re.fullmatch(r"[0-9a-f]{32}", digits):
            found[str(ipaddress.IPv6Address(int(digits, 16)))] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Socket:
    """A bound socket."""

    host: str
    port: int
    inode: str
    """By which /proc/PID/fd knows it."""


LISTENING = {"udp": "07", "tcp": "0A"}
"""State of a socket that takes queries of anybody: unconnected, or listening."""


def bound_sockets(table: str, protocol: str, ports: frozenset[int]) -> Iterator[Socket]:
    """Of /proc/net/udp, udp6, tcp or tcp6: who takes what comes to one of these ports."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != LISTENING[protocol]:  # noqa: PLR2004 - the inode is the tenth
            continue
        host, _, port = words[1].partition(":")
        try:
            if int(port, 16) in ports:
                yield Socket(_address(host), int(port, 16), words[9])
        except ValueError:
            continue


def _address(digits: str) -> str:
    """`0100007F` is 127.0.0.1: 32 bits at a time, in the order of a little-endian host."""
    octets = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return str(ipaddress.ip_address(octets))


def release_of(kernel: str) -> tuple[int, ...]:
    """`4.19.29-generic` is (4, 19, 29); empty for what begins with no number."""
    match = re.match(r"\d+(\.\d+){0,2}", kernel)
    return tuple(int(part) for part in match[0].split(".")) if match is not None else ()
