"""DNS messages for the tests of the wire room, written and read by dnspython: no octet is judged by who wrote it.

A record is one line of a zone file. Nothing here asserts; always holds: what `response` writes, dnspython can read.
"""

import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from types import FrameType
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.rrset
from hypothesis import strategies as st

from forwarder.wire.message import Query, parse_query
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Response, parse_response
from tests.lab.collector import no_collector

HEADER = struct.Struct("!HHHHHH")
OK = 0x8180
"""Flags of an upstream's response: QR, RD, RA."""

labels = st.one_of(
    st.text("aAbBzZ09-_", min_size=1, max_size=12).map(str.encode),
    st.binary(min_size=1, max_size=63),
    st.sampled_from([b"a" * 63, b"A", b"a.b", b"\0", b"\xc0\x0c", b"\\", b'"@$; ']),
)


def _shortened(parts: list[bytes]) -> bytes:
    """As many of these labels as a name of 255 octets holds."""
    while sum(len(part) + 1 for part in parts) > 254:
        parts = parts[:-1]
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


names = st.one_of(
    st.lists(labels, max_size=5),
    st.lists(st.binary(min_size=1, max_size=1), max_size=127),
    st.lists(st.binary(min_size=60, max_size=63), max_size=4),
).map(_shortened)
"""Names in wire form, from the root to 255 octets and 127 labels."""

Sections = tuple[list[str], list[str], list[str]]
"""Records of answer, authority and additional, a line each."""
SOA = "example. 600 IN SOA ns.example. admin.example. 1 2 3 4 30"
SIGNATURE = "{c} 8 2 60 20300101000000 20200101000000 1 Example. AAAA"
owners = st.sampled_from(
    [
        "q.example.",
        "q.example.",
        "q.example.",
        "q.example.",
        "a.example.",
        "b.a.example.",
        "B.A.Example.",
        "c.other.",
        "a.other.",
        "example.",
        "other.",
    ]
)
RDATA = {
    "A": "192.0.2.{n}", "AAAA": "2001:db8::{n}", "CNAME": "{o}", "DNAME": "{o}", "NS": "{o}", "MX": "{n} {o}", "TXT": '"t{n}"',
    "SRV": "0 0 {n} {o}", "HTTPS": "{n} {o} alpn=h2", "SOA": "{o} admin.Example. {n} 2 3 4 {n}", "NSEC": "{o} A RRSIG NSEC",
    "PTR": "{o}",
}  # fmt: skip
plain_types = st.sampled_from(["A", "CNAME", "CNAME", "CNAME", "DNAME", "SOA", *RDATA])
record_texts = st.builds(
    lambda owner, ttl, rtype, number, target: f"{owner} {ttl} IN {rtype} {RDATA[rtype].format(n=number, o=target)}",
    owners, st.integers(0, 9), plain_types, st.integers(1, 9), owners,
)  # fmt: skip
signature_texts = st.builds(
    lambda owner, ttl, covered: f"{owner} {ttl} IN RRSIG {SIGNATURE.format(c=covered)}",
    owners, st.integers(0, 9), st.sampled_from(["A", "CNAME", "CNAME", "DNAME", "SOA", "NSEC", "RRSIG", "NS"]),
)  # fmt: skip
chaos_texts = st.builds(lambda owner, number: f'{owner} 5 CH TXT "{number}"', owners, st.integers(1, 9))
record_lists = st.lists(st.one_of(record_texts, record_texts, record_texts, signature_texts, chaos_texts), max_size=9)
sections_of_all = st.tuples(record_lists, record_lists, record_lists)
asked_types = st.sampled_from(
    ["A", "A", "AAAA", "CNAME", "DNAME", "TXT", "MX", "SRV", "HTTPS", "NS", "PTR", "SOA", "RRSIG", "NSEC"]
)
"""Records of every section, about few names, so that they belong together by chance."""


def dnspython_name(name: bytes) -> dns.name.Name:
    return dns.name.from_wire(name, 0)[0]


@lru_cache(4096)
def _rrset(line: str) -> dns.rrset.RRset:
    owner, ttl, rclass, rtype, rdata = line.split(None, 4)
    return dns.rrset.from_text(owner, int(ttl), rclass, rtype, rdata)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


_Renderer: Any = dns.renderer.Renderer
"""dnspython leaves this class without types."""


def written(
    question: str,
    sections: Sequence[Iterable[str]],
    *,
    flags: int = OK,
    identity: int = 0x1234,
    edns: tuple[int, int] | None = None,
) -> bytes:
    """A message with compressed names, each record where it was put; `edns` is the TTL field and payload size of an OPT."""
    owner, rtype = question.split()
    renderer = _Renderer(identity, flags)
    renderer.add_question(dns.name.from_text(owner), dns.rdatatype.from_text(rtype))
    for number, section in enumerate(sections, 1):
        for line in section:
            renderer.add_rrset(number, _rrset(line))
    if edns is not None:
        renderer.add_edns(edns[0] >> 16 & 0xFF, *edns)
    renderer.write_header()
    return bytes(renderer.get_wire())


def response(question: str, answer: str = "", authority: str = "", additional: str = "", *, rcode: int = 0) -> bytes:
    """What an upstream says; records one to a line, an OPT behind them."""
    sections = (lines(answer), lines(authority), lines(additional))
    return written(question, sections, flags=OK | rcode & 0xF, edns=(rcode >> 4 << 24, 1232))


def parsed(message: bytes, question: str, *, do: bool = False) -> Response:
    """What the wire room makes of the message."""
    owner, rtype = question.split()
    return parse_response(message, name_from_text(owner), dns.rdatatype.from_text(rtype), do=do)


def _line(rrset: dns.rrset.RRset) -> str:
    """The record as `lines` would have it, its owner lower-cased and its RDATA as spelled."""
    rdclass, rdtype = dns.rdataclass.to_text(rrset.rdclass), dns.rdatatype.to_text(rrset.rdtype)
    return f"{rrset.name.to_text().lower()} {rrset.ttl} {rdclass} {rdtype} {rrset[0].to_text()}"


def read(message: bytes) -> dns.message.Message:
    return dns.message.from_wire(message, one_rr_per_rrset=True)


def records_in(message: bytes) -> tuple[list[str], list[str], list[str]]:
    """Records of each section as dnspython reads them, OPT left out; raises where it would."""
    seen = read(message)
    return (
        [_line(rrset) for rrset in seen.answer],
        [_line(rrset) for rrset in seen.authority],
        [_line(rrset) for rrset in seen.additional],
    )


def whole(kept: Response) -> bytes:
    """The records kept as a message of their own: the counts in its header are set."""
    return kept.message[:4] + b"\0\1" + struct.pack("!HHH", *kept.counts) + kept.message[12:]


def kept_records(kept: Response) -> tuple[list[str], list[str], list[str]]:
    return records_in(whole(kept))


def query_message(question: str, *, flags: int = 0x0100, identity: int = 0x4711, edns: tuple[int, int] | None = None) -> bytes:
    return written(question, (), flags=flags, identity=identity, edns=edns)


def query(question: str, *, flags: int = 0x0100, edns: tuple[int, int] | None = None) -> Query:
    return parse_query(query_message(question, flags=flags, edns=edns))


def raw_record(owner: bytes, rtype: int, rdata: bytes, ttl: int = 60, rclass: int = 1) -> bytes:
    """A record exactly as given, wrong or not."""
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


def raw_message(question: bytes, counts: tuple[int, int, int], records: bytes, flags: int = OK) -> bytes:
    """A message exactly as given; question is name, type and class."""
    return HEADER.pack(0x1234, flags, 1, *counts) + question + records


def work_of(call: Callable[[], object]) -> int:
    """Lines of Python executed: what work costs, counted and not timed."""
    count = 0

    def count_line(_frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:  # noqa: ANN401 - sys.settrace's signature
        nonlocal count
        count += event == "line"
        return count_line

    before = sys.gettrace()
    with no_collector():
        sys.settrace(count_line)
        try:
            call()
        finally:
            sys.settrace(before)
    return count


# ------------------------------------------------------------------------------------------------------ malice (RFC 9267)

LONG = b"\1a" * 126 + b"\1q\0"
"""A name of 127 labels: the QNAME of what follows."""
TO_QNAME = b"\xc0\x0c"
AT = 12 + len(LONG) + 4
"""Where the first record starts."""
TO_FIRST = struct.pack("!H", 0xC000 | AT)
POINTERS = TO_QNAME + b"".join(struct.pack("!H", 0xC000 | AT + 12 + 2 * number) for number in range(14))
"""RDATA of a first record that is owned over a pointer: a pointer to QNAME, a pointer to that, and so on."""
DEEPEST = struct.pack("!H", 0xC000 | AT + 12 + 28)
"""Sixteen jumps, then 127 labels."""
DEEP = raw_record(TO_QNAME, 16, POINTERS)
NAMED_LONG = raw_record(LONG[2:], 16, b"")


def filled(size: int, qtype: int, one: bytes, *, first: bytes = b"", section: int = 0, flags: int = OK) -> bytes:
    """A message of about `size` octets: `first` and then as many of `one` as there is room for."""
    question = LONG + struct.pack("!HH", qtype, 1)
    many = (size - 12 - len(question) - len(first)) // len(one)
    counts = [1 if first else 0, 0, 0]
    counts[section] += many
    return raw_message(question, (counts[0], counts[1], counts[2]), first + one * many, flags)


MALICE: Mapping[str, tuple[int, Callable[[int], bytes]]] = {
    "records of QNAME beside NXDOMAIN": (1, partial(filled, qtype=1, one=raw_record(TO_QNAME, 1, bytes(4)), flags=OK | 3)),
    "records to be moved": (
        1,
        partial(filled, qtype=1, one=raw_record(TO_QNAME, 1, bytes(4)), first=raw_record(TO_QNAME, 16, b"")),
    ),
    "long names": (1, partial(filled, qtype=1, one=raw_record(TO_FIRST, 1, bytes(4)), first=NAMED_LONG)),
    "chains of pointers": (1, partial(filled, qtype=1, one=raw_record(DEEPEST, 16, b""), first=DEEP)),
    "chains of pointers to be moved": (1, partial(filled, qtype=1, one=raw_record(DEEPEST, 1, bytes(4)), first=DEEP)),
    "long names to be moved": (2, partial(filled, qtype=2, one=raw_record(DEEPEST, 2, DEEPEST), first=DEEP)),
    "hosts": (15, partial(filled, qtype=15, one=raw_record(TO_QNAME, 15, b"\0\0" + TO_QNAME))),
    "addresses of hosts": (
        15,
        partial(
            filled,
            qtype=15,
            one=raw_record(TO_QNAME, 1, bytes(4)),
            first=raw_record(TO_QNAME, 15, b"\0\0" + TO_QNAME),
            section=2,
        ),
    ),
    "zones": (
        1,
        partial(
            filled, qtype=1, one=raw_record(TO_FIRST, 6, b""), first=raw_record(b"\1z" + LONG[2:-3] + b"\0", 16, b""), section=1
        ),
    ),
    "redirections": (1, partial(filled, qtype=1, one=raw_record(TO_FIRST, 39, TO_QNAME), first=NAMED_LONG)),
    "aliases": (1, partial(filled, qtype=1, one=raw_record(TO_QNAME, 5, TO_QNAME))),
    "signatures": (
        1,
        partial(filled, qtype=1, one=raw_record(TO_QNAME, 46, b"\0\x05"), first=raw_record(TO_QNAME, 5, b"\0")),
    ),
}
"""What a hostile upstream fills a message with: QTYPE, and the message of so many octets."""
