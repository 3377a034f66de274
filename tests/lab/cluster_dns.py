"""What a cluster's DNS knows, a pure function of the question: services of two namespaces, and the names of the world outside.

`svc-*` in `default` and `shop` are services with an IPv4 address; below the cluster's domain and below `lab.example`, where the
nodes themselves are named, nothing else is; any other name of two labels or more has one address of each family.
Always holds: a denial carries the SOA of its zone, and a name above others that exist is empty and not denied.
"""

import ipaddress
import struct
import zlib

from tests.lab.oracle import AAAA, HEADER_SIZE, OPT_RECORD, RECORD, SOA, A, question_end

CLUSTER_DOMAIN, NODES_DOMAIN = "cluster.local", "lab.example"
NAMESPACES = ("default", "shop")
SEARCH = ("default.svc.cluster.local", "svc.cluster.local", CLUSTER_DOMAIN, NODES_DOMAIN)
"""What a pod of the namespace `default` searches: the cluster's three, and the domain of its node."""
RESOLV_CONF = f"search {' '.join(SEARCH)}\noptions ndots:5\n"
"""Its resolv.conf but for the nameserver."""
_ABOVE = frozenset(("svc.cluster.local", *(f"{namespace}.svc.cluster.local" for namespace in NAMESPACES)))
"""Names without records that have others below them."""
_NXDOMAIN = 3


def response_to(query: bytes, *, ttl: int, is_stream: bool = False) -> bytes:  # noqa: ARG001 - every answer fits a datagram
    """The response to a query, as a message."""
    end = question_end(query)
    name, qtype = _printed(query[HEADER_SIZE : end - 4]), int.from_bytes(query[end - 4 : end - 2], "big")
    is_known, addresses = _known(name)
    size = {A: 4, AAAA: 16}.get(qtype)
    rdatas = [address.packed for address in addresses if len(address.packed) == size]
    records = b"".join(RECORD.pack(b"\xc0\x0c", qtype, 1, ttl, len(rdata)) + rdata for rdata in rdatas)
    if not records:
        zone = _wire(_zone_for(name))
        records = zone + RECORD.pack(b"", SOA, 1, ttl, 22)[2:] + b"\0\0" + struct.pack("!5I", 1, 3600, 600, 86400, ttl)
    has_opt = query[10:12] != b"\0\0"
    flags = 0x8080 | query[2] << 8 & 0x0100 | (0 if is_known else _NXDOMAIN)
    counts = (1, len(rdatas), not rdatas, has_opt)
    return query[:2] + struct.pack("!H4H", flags, *counts) + query[HEADER_SIZE:end] + records + (OPT_RECORD if has_opt else b"")


def addresses_of(name: str) -> set[str]:
    """All addresses of a name that a pod of the namespace `default` looks up, as getaddrinfo tells them."""
    tries = (_known(one) for one in (*(f"{name}.{domain}" for domain in SEARCH), name))
    return {str(address) for address in next((addresses for _, addresses in tries if addresses), [])}


def _known(name: str) -> tuple[bool, list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    """Whether a name exists, and its addresses."""
    mark = zlib.crc32(name.encode()) & 0xFFFFFF
    zone = _zone_for(name)
    if zone == CLUSTER_DOMAIN:
        first, _, rest = name.partition(".")
        if first.startswith("svc-") and rest in _ABOVE - {"svc.cluster.local"}:
            return True, [ipaddress.IPv4Address(11 << 24 | mark)]
        return name in _ABOVE or name == zone, []
    if zone or "." not in name:
        return name == zone, []
    return True, [ipaddress.IPv4Address(10 << 24 | mark), ipaddress.IPv6Address(0xFD << 120 | mark)]


def _zone_for(name: str) -> str:
    """The zone that a name is in; empty for the root."""
    zones = (CLUSTER_DOMAIN, NODES_DOMAIN)
    return next((zone for zone in zones if name == zone or name.endswith(f".{zone}")), "")


def _printed(name: bytes) -> str:
    labels, at = [], 0
    while length := name[at]:
        labels.append(name[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels)


def _wire(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"
