"""The text of a resolv.conf file, read as glibc reads it.

Never reads the file itself, never fails, and never invents a nameserver: glibc asks 127.0.0.1 when none is named, we ask
nobody whom nobody named. Always holds: what glibc passes over (addresses it cannot read, indented lines, nameservers behind
the third) is not in the result, and every address is written as `192.0.2.1:53` or `[fe80::1%eth0]:53`.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass

MAX_NAMESERVERS = 3
"""MAXNS of resolv.h: further ones are never asked by anybody."""
PORT = 53
"""The file has no way to name another."""

_ENDING = re.compile(r"[;# \t]")
"""Where an address ends."""
_SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
"""An interface by name or number."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf file says."""

    nameservers: tuple[str, ...]
    """`ADDRESS:53`, in the order in which they are asked; the first three that are addresses, each once."""
    search: tuple[str, ...]
    """Of the last `search` or `domain` line, as written."""
    options: tuple[str, ...]
    """Of all `options` lines, as written: `ndots:5`, `single-request`."""


def parsed(text: str) -> ResolvConf:
    """Read the text; what cannot be understood is passed over, as glibc does."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.split("\n"):
        keyword, *rest = re.split(r"[ \t]", line.rstrip("\r"), maxsplit=1)
        value = rest[0].strip(" \t") if rest else ""
        if keyword == "nameserver" and len(nameservers) < MAX_NAMESERVERS:
            address = _address(_ENDING.split(value, maxsplit=1)[0])
            nameservers += [address] if address is not None else []
        elif keyword == "search" and value:
            search = tuple(value.split())
        elif keyword == "domain" and value:
            search = (value.split()[0],)
        elif keyword == "options":
            options += value.split()
    return ResolvConf(nameservers=tuple(dict.fromkeys(nameservers)), search=search, options=tuple(options))


def _address(text: str) -> str | None:
    """`ADDRESS:53`, or None for what is no address. IPv4 in every form of inet_aton(3): 10.1 is 10.0.0.1."""
    try:
        return f"{ipaddress.IPv4Address(socket.inet_aton(text))}:{PORT}"
    except (OSError, ValueError):
        pass
    host, percent, scope = text.partition("%")
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return None
    if percent and _SCOPE.fullmatch(scope) is None:
        return None
    return f"[{address}{percent}{scope}]:{PORT}"
