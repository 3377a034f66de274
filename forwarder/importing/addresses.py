"""Zones, addresses and durations as other programs write them, in the spelling of a Config.

Raises ValueError with a sentence, and nothing else, whatever the text.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from forwarder.config import Endpoint, Word
from forwarder.config_file.nodes import shown
from forwarder.config_file.values import value_for

DNS_PORT = 53
DEFAULT_PORTS = {"dns": 53, "tls": 853, "quic": 853, "grpc": 443, "https": 443, "https3": 443}
"""Scheme -> the port when none is written (CoreDNS)."""
MAX_ZONES = 256
"""Reverse zones that one network may become: an octet has as many values."""

_SCHEME = re.compile(r"([a-z][a-z0-9]*)://(.*)", re.DOTALL)
_SECONDS: Mapping[str, Decimal] = {
    unit: Decimal(size)
    for unit, size in (("ns", "1e-9"), ("us", "1e-6"), ("\u00b5s", "1e-6"), ("ms", "1e-3"), ("s", 1), ("m", 60), ("h", 3600))
}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?(?:ns|us|\u00b5s|ms|s|m|h))+")
_PART = re.compile(r"([0-9.]+)([a-z\u00b5]+)")

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """What stands before a server block."""

    scheme: str
    """`dns`, or how else the block is reached."""
    zones: tuple[str, ...]
    """One; several for a network whose prefix ends within a label."""
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask."""

    scheme: str
    """`dns` or `tls`."""
    upstream: str
    """As a Config holds it: `192.0.2.1:53`, `192.0.2.1:853@dns.example`, or a file."""


def zone_key(text: str) -> ZoneKey:
    """`example.org`, `dns://example.org:53`, `10.0.0.0/8`."""
    scheme, rest = _parted(text)
    host, port = rest, ""
    found = re.fullmatch(r"(.*):([0-9]*)", rest, re.DOTALL)
    if found is not None and (rest.count(":") == 1 or "/" in found[1]):
        host, port = found.groups()
    number = _port(port, DEFAULT_PORTS.get(scheme, DNS_PORT))
    return ZoneKey(scheme, zones_named(host), number)


def zones_named(text: str) -> tuple[str, ...]:
    """The zone of this name, or the reverse zones of this network."""
    try:
        network = ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        network = None
    if network is not None:
        return reverse_zones(network)
    return (str(value_for(Word.ZONE, text or ".")),)


def reverse_zones(network: IpNetwork) -> tuple[str, ...]:
    """`10.1.0.0/15` -> `0.10.in-addr.arpa` and `1.10.in-addr.arpa`; raises ValueError when it would be too many."""
    step = 8 if network.version == 4 else 4  # noqa: PLR2004 - an octet of IPv4, or four bits
    length = -(-network.prefixlen // step) * step
    if 1 << (length - network.prefixlen) > MAX_ZONES:
        raise ValueError(f"{network} is too large")
    labels = length // step
    return tuple(
        ".".join(
            (part.network_address.reverse_pointer.split(".")[-labels - 2 :])
            if labels
            else part.network_address.reverse_pointer.split(".")[-2:]
        )
        for part in network.subnets(new_prefix=length)
    )


def target_of(text: str, servername: str = "") -> Target:
    """`TO` of CoreDNS's forward: an address with or without scheme and port, or a file."""
    scheme, rest = _parted(text)
    if rest.startswith("/"):
        if scheme != "dns":
            raise ValueError(f"{shown(text)} names a file, which names no certificates")
        return Target("dns", str(value_for(Word.UPSTREAM, rest)))
    if scheme == "dns":
        return Target("dns", _upstream(rest))
    if scheme != "tls":
        raise ValueError(f"{shown(text)} is asked in a way that is not available: udp, tcp and tls are")
    address, percent, name = rest.rpartition("%")
    if percent:
        name, colon, port = name.partition(":")
        address, servername = f"{address}{colon}{port}", servername or name.rstrip("]")
    else:
        address = rest
    if not servername:
        raise NamelessError(f"{shown(text)} has no name to check its certificate against: write tls_servername NAME there")
    return Target("tls", str(value_for(Word.UPSTREAM, f"{_bracketed(address)}@{servername}")))


class NamelessError(ValueError):
    """An upstream over TLS whose certificate could not be checked."""


def listen_address(host: str, port: int) -> str:
    """`127.0.0.1` and 53 -> `127.0.0.1:53`."""
    return str(value_for(Endpoint(DNS_PORT), f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def seconds_of(text: str) -> float:
    """A duration of Go, `1h30m`, in seconds."""
    if text == "0":
        return 0.0
    if len(text) > 60 or _DURATION.fullmatch(text) is None:  # noqa: PLR2004 - longer than any that means something
        raise ValueError(f"{shown(text)} is no duration")
    try:
        return float(sum((Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(text)), Decimal()))
    except ArithmeticError:
        raise ValueError(f"{shown(text)} is no duration") from None


def _parted(text: str) -> tuple[str, str]:
    found = _SCHEME.fullmatch(text)
    return (found[1], found[2]) if found is not None else ("dns", text)


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,5}", text) is None or not 1 <= int(text) <= 65_535:  # noqa: PLR2004 - the largest port
        raise ValueError(f"{shown(text)} is no port")
    return int(text)


def _upstream(text: str) -> str:
    if "@" in text:
        raise ValueError(f"{shown(text)} is no address")
    return str(value_for(Word.UPSTREAM, _bracketed(text)))


def _bracketed(text: str) -> str:
    """An IPv6 address without brackets gets them."""
    return f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
