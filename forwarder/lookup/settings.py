"""What a libc takes from a resolv.conf file: the nameservers, the search list and the options.

Pure. Always holds: there is at least one nameserver, for both libcs ask 127.0.0.1 when none is named; numbers are within the
bounds of the libc.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from forwarder.node import resolv_conf


class Libc(StrEnum):
    """Whose habits."""

    GLIBC = "glibc"
    MUSL = "musl"


MOST_PORT = 65535
LOOPBACK = f"127.0.0.1:{resolv_conf.PORT}"
"""Whom a libc asks when nobody is named."""
GLIBC_MOST = {"ndots": 15, "timeout": 30, "attempts": 5}
"""RES_MAXNDOTS, RES_MAXRETRANS and RES_MAXRETRY of glibc's resolver; what is above counts as this."""
MUSL_MOST = {"ndots": 15, "timeout": 60, "attempts": 10}
"""What musl cuts them to."""
DEFAULTS = {"ndots": 1, "timeout": 5, "attempts": 2}
"""Of both libcs."""
MUSL_LONGEST_LINE = 254
"""Characters of a line that musl reads; a longer one it passes over whole, a long search list included."""
GLIBC_FLAGS = frozenset({
    "edns0", "no-aaaa", "no-tld-query", "rotate", "single-request", "single-request-reopen", "strict-error", "trust-ad",
    "use-vc",
})  # fmt: skip
"""Options without a number that change what glibc asks, or how. musl knows none of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a lookup follows."""

    libc: Libc
    nameservers: tuple[str, ...]
    """`ADDRESS:PORT`, one to three, in the order of the file."""
    search: tuple[str, ...]
    """As written."""
    ndots: int
    timeout: int
    """Seconds."""
    attempts: int
    flags: frozenset[str]
    """Options without a number that are set; for musl none."""


def settings_for(text: str, libc: Libc, *, host_name: str = "", server: str | None = None) -> Settings:
    """The settings in the text of a resolv.conf file.

    `server` stands in for the nameservers of the file. Where the file has no search list, glibc takes the domain of the
    host's own name; musl has none then. One that is named twice is asked twice.
    """
    if libc is Libc.MUSL:
        text = "\n".join(line for line in text.split("\n") if len(line.encode()) <= MUSL_LONGEST_LINE)
    conf = resolv_conf.parsed(text)
    written = tuple(address for line in text.split("\n") for address in resolv_conf.parsed(line).nameservers)
    nameservers = (server,) if server is not None else written[: resolv_conf.MAX_NAMESERVERS] or (LOOPBACK,)
    domain = host_name.partition(".")[2]
    search = conf.search or ((domain,) if domain and libc is Libc.GLIBC else ())
    numbers = _numbers(conf.options, GLIBC_MOST if libc is Libc.GLIBC else MUSL_MOST)
    flags = _flags(conf.options) if libc is Libc.GLIBC else frozenset[str]()
    return Settings(libc, nameservers, search, numbers["ndots"], numbers["timeout"], numbers["attempts"], flags)


def _numbers(options: tuple[str, ...], most: dict[str, int]) -> dict[str, int]:
    """ndots, timeout and attempts: the last one written counts; what is no number is 0, as strtol has it."""
    numbers = dict(DEFAULTS)
    for option in options:
        key, colon, value = option.partition(":")
        if colon and key in numbers:
            digits = value[: len(value) - len(value.lstrip("0123456789"))]
            numbers[key] = min(int(digits[:9] or 0), most[key])
    return numbers


def _flags(options: tuple[str, ...]) -> frozenset[str]:
    """The flags that are set; `-name` takes one back. glibc compares beginnings, so that `edns0-please` is edns0."""
    flags: set[str] = set()
    for option in options:
        word = option.removeprefix("-").replace("_", "-")
        known = max((flag for flag in GLIBC_FLAGS if word.startswith(flag)), key=len, default=None)
        if known is not None and option.startswith("-"):
            flags.discard(known)
        elif known is not None:
            flags.add(known)
    return frozenset(flags)


def server_from_text(text: str) -> str:
    """`192.0.2.1`, `192.0.2.1:5300`, `2001:db8::1` or `[fe80::1%eth0]:53` as `ADDRESS:PORT`; raises ValueError for others."""
    host, port = text, str(resolv_conf.PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!a} is no ADDRESS or ADDRESS:PORT")
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!a} is no ADDRESS or ADDRESS:PORT; names are not taken") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= MOST_PORT):
        raise ValueError(f"{text!a} has no port from 1 to {MOST_PORT}")
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"  # noqa: PLR2004 - the version of IPv6
