"""The text of one value, read and written: durations, sizes, addresses, names.

Every reader takes text and the shape the setting has in config.py, and gives the value in the one spelling a Config holds.
Raises ValueError with a sentence that says what is wrong and what to write; nothing else, whatever the text. Always holds:
what is written here reads as the same value.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from forwarder.config import NETWORKS, Count, Duration, Endpoint, Size, Word
from forwarder.config_file.nodes import shown

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
"""Units of durations; a millisecond is the finest that is worth configuring."""
KIBIBYTES = {"KiB": 1, "MiB": 1 << 10, "GiB": 1 << 20}
"""Units of sizes."""

MAX_NAME_SIZE = 255
"""Octets of a name on the wire (RFC 1035 section 3.1): one more than its characters and their dots, and the root's."""
MAX_TEXT_SIZE = 1000
"""Octets of a TXT record: what fits into a datagram of 1232 beside the rest of the response."""
MAX_PORT = 65_535
UPSTREAM_PORT = 53
TLS_PORT = 853
"""RFC 7858 section 3.1."""

_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,20})")
_LABEL = re.compile(r"[A-Za-z0-9_/-]{1,63}")
"""Letters, digits and hyphens, with the underscore of services and the slash of RFC 2317."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Shape = Duration | Size | Count | Endpoint | Word


def value_for(shape: Shape, text: str) -> float | int | str:
    """What this text means where a value of this shape is wanted; raises ValueError with the sentence for a person."""
    if not text.isprintable():
        raise ValueError(f"{shown(text)} holds a character that is not printable: take it out")
    match shape:
        case Duration():
            return _within(_steps(text, MILLISECONDS, "400ms", "duration"), shape, MILLISECONDS, 1000) / 1000
        case Size():
            return _within(_steps(text, KIBIBYTES, "32MiB", "size"), shape, KIBIBYTES, 1 / 1024) * 1024
        case Count():
            return _count(text, shape)
        case Endpoint():
            return _listen_address(text, shape.default_port)
        case Word():
            return _WORDS[shape](text)


# ---------------------------------------------------------------------------------------------------------- quantities


def duration_text(seconds: float) -> str:
    """0.4 -> `400ms`, 3600.0 -> `1h`."""
    return _text(round(seconds * 1000), MILLISECONDS)


def size_text(octets: int) -> str:
    """33554432 -> `32MiB`."""
    return _text(octets // 1024, KIBIBYTES)


def _text(steps: int, units: Mapping[str, int]) -> str:
    """The largest unit of which it is a whole number; `1.8s` rather than `1800ms`."""
    names = list(units)
    unit = next((name for name in reversed(names) if steps % units[name] == 0 and steps), names[0])
    if unit == names[0] and steps > (larger := units[names[1]]) and steps * 10 % larger == 0:
        return f"{Decimal(steps) / larger}{names[1]}"
    return f"{steps // units[unit]}{unit}"


def _steps(text: str, units: Mapping[str, int], example: str, noun: str) -> int:
    """A quantity in the smallest of these units."""
    known = f"the units are {', '.join(units)}"
    if (found := _QUANTITY.fullmatch(text)) is None:
        raise ValueError(f"{shown(text)} is no {noun}: write a number and a unit, such as {example}; {known}")
    number, unit = found.groups()
    if not unit:
        raise ValueError(f"{text} has no unit: write a {noun} such as {example}; {known}")
    if unit not in units:
        raise ValueError(f"there is no unit {shown(unit)} for a {noun}: {known}, as in {example}")
    steps = Decimal(number) * units[unit]
    if steps != int(steps):
        raise ValueError(f"{text} is finer than what counts: write a whole number of {next(iter(units))}")
    return int(steps)


def _within(steps: int, bounds: Duration | Size, units: Mapping[str, int], scale: float) -> int:
    least, most = round(bounds.least * scale), round(bounds.most * scale)
    if not least <= steps <= most:
        beyond = "little" if steps < least else "much"
        raise ValueError(f"{_text(steps, units)} is too {beyond}: write {_text(least, units)} to {_text(most, units)}")
    return steps


def _count(text: str, bounds: Count) -> int:
    if re.fullmatch(r"[0-9]{1,12}", text) is None:
        raise ValueError(f"{shown(text)} is no whole number: write {bounds.least} to {bounds.most}, without a unit")
    if not bounds.least <= int(text) <= bounds.most:
        beyond = "little" if int(text) < bounds.least else "much"
        raise ValueError(f"{text} is too {beyond}: write {bounds.least} to {bounds.most}")
    return int(text)


# ----------------------------------------------------------------------------------------------------------- addresses


def _address(text: str) -> IpAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        sentence = f"{shown(text)} is no IP address: write one such as 192.0.2.1 or 2001:db8::1, not a name"
        raise ValueError(sentence) from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            raise ValueError(f"{text} is an IPv4 address in IPv6 form: write {address.ipv4_mapped}")
        if address.scope_id is not None and re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", address.scope_id) is None:
            raise ValueError(f"{shown(address.scope_id)} is no name of an interface: write fe80::1%eth0")
    return address


def _host_and_port(text: str, default_port: int) -> tuple[IpAddress, int]:
    """`192.0.2.1:53`, `[2001:db8::1]:53`, or either without its port."""
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        colon, port = port[:1], port[1:]
        if not bracket or colon not in {"", ":"} or ":" not in host:
            raise ValueError(f"{shown(text)} is no address: write [2001:db8::1] or [2001:db8::1]:{default_port}")
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    elif (found := re.fullmatch(r"(.*):([0-9]{1,5})", text)) is not None and _is_address(found[1]):
        host, port = found.groups()
        raise ValueError(f"{shown(text)} can be read in two ways: write [{host}]:{port} if {port} is the port, else [{text}]")
    address = _address(host)
    if not colon:
        return address, default_port
    if re.fullmatch(r"[0-9]{1,5}", port) is None or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"{shown(port)} is no port: write 1 to {MAX_PORT}, or leave it out for {default_port}")
    return address, int(port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _joined(address: IpAddress, port: int) -> str:
    return f"[{address}]:{port}" if isinstance(address, ipaddress.IPv6Address) else f"{address}:{port}"


def _listen_address(text: str, default_port: int) -> str:
    address, port = _host_and_port(text, default_port)
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError(f"{address} belongs to no single host: write an address of this one")
    return _joined(address, port)


def _upstream(text: str) -> str:
    if text.startswith("/"):
        return text
    where, at, name = text.partition("@")
    if "/" in where:
        raise ValueError(f"{shown(text)} is no address; a file needs its whole path, such as /etc/resolv.conf")
    address, port = _host_and_port(where, TLS_PORT if at else UPSTREAM_PORT)
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        raise ValueError(f"{address} belongs to no single host: write the address of a DNS server")
    return f"{_joined(address, port)}@{_server_name(name)}" if at else _joined(address, port)


def _server_name(text: str) -> str:
    """The name in a server's certificate, as of a host: `dns.example`."""
    if not text or _is_address(text.strip("[]")) or "/" in text:
        raise ValueError(f"{shown(text)} behind @ is no name: write the one in the server's certificate, such as dns.example")
    return _name(text)


def _network(text: str) -> str:
    if text in NETWORKS:
        return text
    sentence = f"{shown(text)} is no network: write one such as 192.0.2.0/24 or fd00::/8, or one of {', '.join(NETWORKS)}"
    if "%" in text:
        raise ValueError(sentence)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(sentence) from None
    address = text.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        length = network.max_prefixlen
        raise ValueError(f"{text} is an address within a network: write {network}, or {address}/{length} for it alone")
    return str(network)


# --------------------------------------------------------------------------------------------------- names and the rest


def _zone(text: str) -> str:
    return text if text == "." else _name(text)


def _name(text: str) -> str:
    """A domain name in the one spelling a Config holds: lower-case, no dot at its end."""
    if text == ".":
        raise ValueError('"." is the root: write a name below it')
    if not text.isascii():
        raise ValueError(f"{shown(text)} is not ASCII: write the name in its xn-- form")
    if "*" in text:
        raise ValueError(f"{shown(text)}: wildcards are not available, write each name")
    name = text.removesuffix(".")
    for label in name.split("."):
        if not label:
            raise ValueError(f"{shown(text)} is no domain name: a part between two dots is empty")
        if len(label) > 63:  # noqa: PLR2004 - RFC 1035 section 2.3.4
            raise ValueError(f"{shown(text)} is no domain name: a part between two dots is longer than 63 characters")
        if _LABEL.fullmatch(label) is None:
            raise ValueError(f"{shown(text)} is no domain name: {shown(label)} holds more than letters, digits, -, _ and /")
    if len(name) + 2 > MAX_NAME_SIZE:
        raise ValueError(f"{shown(text)} is no domain name: longer than {MAX_NAME_SIZE} octets on the wire")
    return name.lower()


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"{shown(text)} is not a whole path: write one that begins with /")
    return text


def _interface(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", text) is None or text in {".", ".."}:
        raise ValueError(f"{shown(text)} is no name of an interface: 1 to 15 letters, digits, -, _ and .")
    return text


def _user(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", text) is None:
        raise ValueError(f"{shown(text)} is no name of a user: write one such as nobody, or its number (uid)")
    return text


def _pinned(text: str) -> str:
    if text[:1] == '"':
        if not text.endswith('"') or len(text) < 2:  # noqa: PLR2004 - the two quotes
            raise ValueError(f"{shown(text)} begins with a quote and has none at its end: write '\"some text\"'")
        if len(text.encode()) - 2 > MAX_TEXT_SIZE:
            raise ValueError(f"{shown(text)} is longer than {MAX_TEXT_SIZE} octets: no response could hold it")
        return text
    if not _is_address(text):
        sentence = "is neither an IP address nor a text: write 192.0.2.1, 2001:db8::1, or '\"some text\"' for TXT"
        raise ValueError(f"{shown(text)} {sentence}")
    if "%" in text:
        raise ValueError(f"{shown(text)}: an interface (%) means nothing to clients, write the address alone")
    return str(_address(text))


_WORDS: Mapping[Word, Callable[[str], str]] = {
    Word.UPSTREAM: _upstream,
    Word.ADDRESS: lambda text: str(_address(text)),
    Word.NETWORK: _network,
    Word.NAME: _name,
    Word.ZONE: _zone,
    Word.PATH: _path,
    Word.INTERFACE: _interface,
    Word.USER: _user,
    Word.PINNED: _pinned,
}
