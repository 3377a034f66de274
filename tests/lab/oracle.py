"""The right answer to every question, a pure function of it: fast upstreams give it, clients under chaos compare with it.

A name is `UNIQUE.KIND.ZONE`, and the kind says what there is: `good` and `slow` have one address of each family, `four` has
no AAAA, `many` has more A records than a datagram holds, `empty` exists without addresses; any other name does not exist.
Always holds: no two names share an address but by chance of one in 16 million, and no spelling changes an answer.
"""

import ipaddress
import struct
import zlib

import dns.flags
import dns.message
import dns.rcode

from tests.lab.clients import rdatas

HEADER_SIZE = 12
A, AAAA, SOA, OPT = 1, 28, 6, 41
MANY = 120
"""A records of a `many` name: 1.9 KiB."""
RECORD = struct.Struct("!2sHHIH")
"""Owner (a pointer), type, class, TTL and length of RDATA."""
OPT_RECORD = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
_KINDS = frozenset((b"good", b"slow", b"four", b"many", b"empty"))
_PLAIN = 512
"""Octets of a datagram for who sends no OPT."""


def question_end(message: bytes) -> int:
    """Where the question ends: QNAME, QTYPE, QCLASS."""
    return message.index(0, HEADER_SIZE) + 5


def kind_of(name: bytes) -> bytes:
    """The second label of a name in wire form, in lower case; empty for a name of one label."""
    start = 1 + name[0]
    return name[start + 1 : start + 1 + name[start]].lower() if name[0] and name[start] else b""


def _addresses(name: bytes, kind: bytes, qtype: int) -> list[bytes]:
    """RDATA of the records there are."""
    mark = zlib.crc32(name.lower()) & 0xFFFFFF
    if qtype == A and kind in _KINDS and kind != b"empty":
        return [struct.pack("!I", 10 << 24 | (mark + number) & 0xFFFFFF) for number in range(MANY if kind == b"many" else 1)]
    if qtype == AAAA and kind in _KINDS and kind not in {b"empty", b"four"}:
        return [b"\xfd" + bytes(12) + mark.to_bytes(3, "big")]
    return []


def response_to(query: bytes, *, ttl: int, has_opt: bool | None = None, is_stream: bool = False) -> bytes:
    """What a server that knows everything says to a query, as a message; over UDP TC=1 where it does not fit.

    `has_opt`: whether the query had an OPT record, where that is not for its own count of additional records to say.
    """
    end = question_end(query)
    name, qtype = query[HEADER_SIZE : end - 4], int.from_bytes(query[end - 4 : end - 2], "big")
    kind = kind_of(name)
    records = [RECORD.pack(b"\xc0\x0c", qtype, 1, ttl, len(rdata)) + rdata for rdata in _addresses(name, kind, qtype)]
    authority = b""
    if not records:
        zone = struct.pack("!H", 0xC000 | HEADER_SIZE + (1 + name[0] if name[0] else 0))
        authority = RECORD.pack(zone, SOA, 1, ttl, 22) + b"\0\0" + struct.pack("!5I", 1, 3600, 600, 86400, ttl)
    if has_opt is None:
        has_opt = query[10:12] != b"\0\0"
    flags = 0x8080 | query[2] << 8 & 0x0100 | (0 if kind in _KINDS else dns.rcode.NXDOMAIN)
    opt = OPT_RECORD if has_opt else b""
    body = query[HEADER_SIZE:end] + b"".join(records) + authority + opt
    counts = [1, len(records), bool(authority), has_opt]
    size = int.from_bytes(query[end + 3 : end + 5], "big") if has_opt else _PLAIN
    if not is_stream and HEADER_SIZE + len(body) > max(size, _PLAIN):
        flags, body, counts = flags | 0x0200, query[HEADER_SIZE:end] + opt, [1, 0, 0, has_opt]
    return query[:2] + struct.pack("!H4H", flags, *counts) + body


def complaint(response: dns.message.Message) -> str:
    """What is wrong with this answer; empty when it is right. SERVFAIL is never wrong here.

    A response with TC=1 may hold fewer records.
    """
    rcode = response.rcode()
    if rcode == dns.rcode.SERVFAIL:
        return ""
    (question,) = response.question
    name = question.name.to_wire() or b""
    kind = kind_of(name)
    expected_rcode = dns.rcode.NOERROR if kind in _KINDS else dns.rcode.NXDOMAIN
    if rcode != expected_rcode:
        return f"{question}: {dns.rcode.to_text(rcode)} instead of {dns.rcode.to_text(expected_rcode)}"
    expected = {str(ipaddress.ip_address(rdata)) for rdata in _addresses(name, kind, int(question.rdtype))}
    told = set(rdatas(response))
    is_cut = bool(response.flags & dns.flags.TC)
    if not (told <= expected if is_cut else told == expected):
        return f"{question}: {sorted(told)[:3]} instead of {sorted(expected)[:3]}"
    return ""


def addresses_of(name: str) -> set[str]:
    """All addresses of a name, as getaddrinfo tells them."""
    wire = b"".join(bytes((len(label),)) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"
    kind = kind_of(wire)
    return {str(ipaddress.ip_address(rdata)) for qtype in (A, AAAA) for rdata in _addresses(wire, kind, qtype)}
