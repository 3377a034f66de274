"""What is asked and what exists: zones for the upstream, query files for dnsperf, one query for a probe.

Names and records are like a node's: external names under the four search expansions of a pod (ndots:5), services, and
wildcards for names that are asked once. Nothing is random: every run asks the same.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

EXTERNAL_NAMES = 500
SERVICES = 500
EXPANSIONS = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
SEARCH_LIST = (*(f".{domain}" for domain in EXPANSIONS), "")
"""The four names glibc and musl make of one, in the order in which they are asked."""
HIT_QUERIES = (EXTERNAL_NAMES * len(SEARCH_LIST) + SERVICES) * 2
PROBE_NAME = "web-0.default.svc.cluster.local"
TTL = 3600
"""Seconds; longer than any run here, so that no measurement of hits meets an expiry that its neighbour did not."""
TYPE_A = 1
SOA = f"@ {TTL} SOA ns.@ hostmaster.@ 2024010101 7200 1800 86400 {TTL}\n@ {TTL} NS ns\nns {TTL} A 192.0.2.53\n"


def external_name(number: int) -> str:
    """A name outside the cluster: 17 to 22 octets."""
    return f"api-{number}.site{number % 50}.example"


def service_name(number: int) -> str:
    """A service of the cluster."""
    return f"web-{number}.default.svc.cluster.local"


def zones() -> dict[str, str]:
    """Zone name -> master file."""
    return {"cluster.local": _cluster_zone(), "example": _external_zone()}


def _soa(zone: str) -> str:
    return SOA.replace(".@", f".{zone}.")


def _cluster_zone() -> str:
    records = (f"{service_name(number)}. {TTL} A 10.96.{number // 250}.{number % 250 + 1}" for number in range(SERVICES))
    return _soa("cluster.local") + "\n".join(records) + "\n"


def _external_zone() -> str:
    """Two thirds have addresses of their own, one third an alias as content networks give them; half have AAAA."""
    lines = []
    for number in range(EXTERNAL_NAMES):
        owner = f"{external_name(number)}."
        if number % 3 == 0:
            alias = f"edge-{number}.cdn.example."
            lines.append(f"{owner} {TTL} CNAME {alias}")
            owner = alias
        lines += (f"{owner} {TTL} A 198.51.{number % 250}.{address + 1}" for address in range(1 + number % 4))
        if number % 2 == 0:
            lines.append(f"{owner} {TTL} AAAA 2001:db8:{number:x}::1")
    lines += (f"*.once.example. {TTL} A 203.0.113.{address}" for address in (1, 2))
    lines.append(f'*.hot.example. {TTL} TXT "asked again and again, and never to be forgotten"')
    return _soa("example") + "\n".join(lines) + "\n"


def hit_lines() -> Iterator[str]:
    """HIT_QUERIES queries in dnsperf's syntax, A and AAAA of a name one after the other."""
    for number in range(EXTERNAL_NAMES):
        for suffix in SEARCH_LIST:
            for qtype in ("A", "AAAA"):
                yield f"{external_name(number)}{suffix} {qtype}\n"
        if number < SERVICES:
            for qtype in ("A", "AAAA"):
                yield f"{service_name(number)} {qtype}\n"


def once_lines(prefix: str, count: int) -> Iterator[str]:
    """Queries for `count` names never asked before, provided that the prefix is new."""
    for number in range(count):
        yield f"{prefix}-{number}.once.example A\n"


def hot_lines(count: int) -> Iterator[str]:
    """Queries for names that are asked again and again; TXT, which nothing else here asks for."""
    for number in range(count):
        yield f"name-{number}.hot.example TXT\n"


def written(lines: Iterator[str], path: Path) -> Path:
    """The queries as a file."""
    with path.open("w") as file:
        file.writelines(lines)
    return path


def query(name: str, ident: int, qtype: int = TYPE_A) -> bytes:
    """One query with RD set, class IN, no EDNS."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, qtype, 1)
