"""What is asked: names and types as a person types them, the names a search list makes of them, and the octets of a query.

Pure. Always holds: a `Query` is a whole DNS message with one question, built as the libc builds it.
"""

import ipaddress
from dataclasses import dataclass

from forwarder.lookup.settings import Libc, Settings
from forwarder.wire.edns import opt_record
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AD, CLASS_IN, RD, write_header
from forwarder.wire.names import name_from_text, text_from_name

A, AAAA, PTR = 1, 28, 12
TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "LOC": 29, "SRV": 33,
    "NAPTR": 35, "DNAME": 39, "DS": 43, "SSHFP": 44, "DNSKEY": 48, "TLSA": 52, "SVCB": 64, "HTTPS": 65, "ANY": 255,
    "URI": 256, "CAA": 257,
}  # fmt: skip
"""Types that have a name here; any other is written TYPE123 (RFC 3597 section 5)."""
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}
MOST_TYPE = 0xFFFF
GLIBC_UDP_SIZE = 1200
"""Octets that glibc's `edns0` says it takes (RESOLV_EDNS_BUFFER_SIZE)."""
MUSL_MOST_TYPE = 255
"""musl's res_mkquery refuses to ask for types above this."""
HOST_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
"""glibc's getaddrinfo asks for no name that has others, or that begins with a hyphen."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    text: str
    """The name as typed; of an address its name under in-addr.arpa or ip6.arpa, with the final dot."""
    types: tuple[int, ...]
    """One, or A and AAAA together."""
    is_pair: bool
    """Whether no type was named: getaddrinfo for any family."""

    @property
    def is_for_addresses(self) -> bool:
        """Whether getaddrinfo could have asked it: addresses of a name."""
        return all(qtype in {A, AAAA} for qtype in self.types)

    @property
    def is_absolute(self) -> bool:
        """Whether the final dot says that no search list applies."""
        return self.text.endswith(".")


def wanted_for(name: str, type_text: str | None) -> Wanted:
    """What NAME and TYPE of the command line ask for; raises ValueError that says what is wrong with them."""
    address = _address(name)
    if address is not None:
        if type_text is None or type_text.upper() != "PTR":
            raise ValueError(f"{name} is an address, no libc asks for it; for its name: forwarder lookup {name} PTR")
        return Wanted(f"{address.reverse_pointer}.", (PTR,), is_pair=False)
    if not name:
        raise ValueError("the name is empty")
    name_from_text(name)
    if type_text is None:
        return Wanted(name, (A, AAAA), is_pair=True)
    return Wanted(name, (type_from_text(type_text),), is_pair=False)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def type_from_text(text: str) -> int:
    """`AAAA` or `TYPE28`, in any case; raises ValueError for what is no type."""
    word = text.upper()
    if word in TYPES:
        return TYPES[word]
    digits = word.removeprefix("TYPE")
    if digits != word and digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= MOST_TYPE:
        return int(digits)
    raise ValueError(f"{text!a} is no type: write A, AAAA, SRV, TXT, PTR, MX, HTTPS or the like, or a number as TYPE65")


def type_text(qtype: int) -> str:
    """`AAAA`, `TYPE123`."""
    return NAMES_OF_TYPES.get(qtype, f"TYPE{qtype}")


def refusal_for(wanted: Wanted, settings: Settings) -> str:
    """Why the libc answers this without asking anybody; empty when it does ask."""
    if settings.libc is Libc.MUSL:
        return "musl asks for no type above 255" if wanted.types[0] > MUSL_MOST_TYPE else ""
    if wanted.types == (AAAA,) and "no-aaaa" in settings.flags:
        return "with `options no-aaaa` glibc asks for no AAAA"
    if wanted.is_for_addresses and (not HOST_NAME_CHARACTERS.issuperset(wanted.text) or wanted.text.startswith("-")):
        return "glibc's getaddrinfo asks for no name that is not a host name"
    return ""


def joined(text: str, domain: str) -> bytes | None:
    """The name with an entry of the search list behind it, wire form; None when that is no name, too long above all."""
    try:
        return name_from_text(f"{text}.{domain}" if domain else f"{text}.")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Query:
    """One query as it goes out."""

    identity: int
    name: bytes
    """QNAME, lower-cased wire form."""
    qtype: int
    message: bytes

    @property
    def question(self) -> bytes:
        """QNAME, QTYPE and QCLASS as they stand in the message."""
        return self.message[HEADER_SIZE : HEADER_SIZE + len(self.name) + 4]

    @property
    def shown(self) -> str:
        """`AAAA www.example.`."""
        return f"{type_text(self.qtype)} {text_from_name(self.name)}"


def query_for(name: bytes, qtype: int, identity: int, settings: Settings, *, from_getaddrinfo: bool = True) -> Query:
    """The query a libc with these settings sends. musl sets AD in what does not come from getaddrinfo (res_query)."""
    if settings.libc is Libc.MUSL:
        return _query(name, qtype, identity, RD if from_getaddrinfo else RD | AD)
    flags = RD | (AD if "trust-ad" in settings.flags else 0)
    return _query(name, qtype, identity, flags, opt_record(GLIBC_UDP_SIZE) if "edns0" in settings.flags else b"")


def _query(name: bytes, qtype: int, identity: int, flags: int, opt: bytes = b"") -> Query:
    question = name + qtype.to_bytes(2) + CLASS_IN.to_bytes(2)
    return Query(identity, name, qtype, write_header(identity, flags, 1, 0, 0, 1 if opt else 0) + question + opt)


def query_with_edns(query: Query, udp_size: int) -> Query:
    """The same question with an OPT record, so that the response may say why (RFC 8914)."""
    return _query(query.name, query.qtype, query.identity, RD, opt_record(udp_size))
