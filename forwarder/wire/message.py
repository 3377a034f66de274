"""Queries of clients, read; and the responses we make ourselves, written (RFC 1035 section 4.1).

Pure and bounded: one pass over the message, no name longer than 255 octets. Always holds: a `Query` was a query (QR=0, opcode
QUERY) with one question; what was wrong with the rest of it stands in its `rcode`.
"""

import struct
from enum import Enum, IntEnum, auto

import msgspec

from forwarder.errors import WireError
from forwarder.wire.edns import DO, FIXED_SIZE, OPT, ExtendedError, extended_error, opt_record
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.names import MAX_LABEL, MAX_NAME, skip_name


class Rcode(IntEnum):
    """Response codes we send or look at (RFC 1035 section 4.1.1, RFC 6891 section 9)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Qtype(IntEnum):
    """Types that are more to us than a number."""

    A = 1
    CNAME = 5
    SOA = 6
    HINFO = 13
    MX = 15
    AAAA = 28
    SRV = 33
    DNAME = 39
    SVCB = 64
    HTTPS = 65
    TKEY = 249
    IXFR = 251
    AXFR = 252
    MAILA = 254
    ANY = 255


CLASS_IN = 1
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
"""Flags of the second 16 bits of the header (RFC 1035 section 4.1.1, RFC 4035 section 3.2)."""
OPCODE = 0x7800
QR_AND_OPCODE = QR | OPCODE
LEAST_UDP_SIZE = 512
"""Octets every client takes over UDP, and all it takes without EDNS (RFC 1035 section 2.3.4; RFC 6891 section 6.2.3)."""

_header = struct.Struct("!HHHHHH")
_read_header = _header.unpack_from
write_header = _header.pack
_write_framed_header = struct.Struct("!HHHHHHH").pack
_read_id_and_flags = struct.Struct("!HH").unpack_from
_read_identity = struct.Struct("!HHH").unpack_from
_read_type_and_class = struct.Struct("!HH").unpack_from
_read_fixed = struct.Struct("!HHIH").unpack_from


class Query(msgspec.Struct, gc=False):
    """A client's query. Nobody changes one."""

    id: int
    flags: int
    """The second 16 bits of the header as they came."""
    question: bytes
    """QNAME as spelled, QTYPE, QCLASS: the octets to echo."""
    name: bytes
    """QNAME, lower-cased wire form."""
    qtype: int
    qclass: int
    key: bytes
    """What coalescing and the answers cache know the question by: lower-cased QNAME, QTYPE, QCLASS, DO and CD."""
    rcode: int
    """NOERROR, or what the query earned by itself: FORMERR, BADVERS."""
    has_edns: bool
    do: bool
    is_plain: bool
    """Whether equal octets always deserve an equal response: no EDNS options, nothing behind the question but OPT."""
    udp_size: int
    """The largest response the client takes over UDP, octets; at least 512."""


def parse_query(message: bytes) -> Query:
    """The query in a datagram or stream message; guard clauses in the order of the wire.

    Raises WireError, with the RCODE to answer or None for silence, where there is no question to echo.
    """
    if len(message) < HEADER_SIZE:
        raise WireError("shorter than a header")
    identity, flags, questions, answers, authorities, additionals = _read_header(message)
    if flags & QR_AND_OPCODE or questions != 1:
        raise _no_query(flags)
    try:
        position = HEADER_SIZE
        while length := message[position]:
            if length > MAX_LABEL:
                raise WireError("a compressed or unknown label in the question", Rcode.FORMERR)
            position += 1 + length
        name_end = position + 1
        qtype, qclass = _read_type_and_class(message, name_end)
    except (IndexError, struct.error):
        raise WireError("the question runs past the end", Rcode.FORMERR) from None
    if name_end - HEADER_SIZE > MAX_NAME:
        raise WireError("QNAME longer than 255 octets", Rcode.FORMERR)
    end = name_end + 4
    question = message[HEADER_SIZE:end]
    name = message[HEADER_SIZE:name_end].lower()
    if end == len(message) and not (answers or authorities or additionals):
        has_edns = do = False
        is_plain, udp_size, rcode = True, LEAST_UDP_SIZE, 0
    else:
        counts = (answers, authorities, additionals)
        (has_edns, do, is_plain, udp_size), rcode = _read_rest(message, end, counts, qtype)
    key = name + message[name_end:end] + (_KEY_TAILS[(do, flags & CD)] if do or flags & CD else b"\0")
    return Query(
        identity, flags, question, name, qtype, qclass, key, rcode, has_edns, do, is_plain, udp_size
    )  # fmt: skip


def _no_query(flags: int) -> WireError:
    if flags & QR:
        return WireError("a response where a query belongs")
    if flags & OPCODE:
        return WireError("opcode other than QUERY", Rcode.NOTIMP)
    return WireError("QDCOUNT other than 1", Rcode.FORMERR)


_KEY_TAILS = {(False, CD): b"\1", (True, 0): b"\2", (True, CD): b"\3"}
_FLAGS_OF_TAILS = {b"\0": (False, 0)} | {tail: flags for flags, tail in _KEY_TAILS.items()}


def _read_rest(
    message: bytes, position: int, counts: tuple[int, int, int], qtype: int
) -> tuple[tuple[bool, bool, bool, int], int]:
    """What stands behind the question: (has_edns, do, is_plain, udp_size) and the RCODE it earns.

    An answer in a query, an authority record in any but IXFR (RFC 1995 section 3), more than one OPT (RFC 6891 section 6.1.1),
    an OPT that is not the root's, records past the end and octets behind the last record are each a FORMERR.
    """
    answers, authorities, additionals = counts
    has_edns = do = False
    is_plain = True
    udp_size = LEAST_UDP_SIZE
    rcode = Rcode.FORMERR if answers or (authorities and qtype != Qtype.IXFR) else Rcode.NOERROR
    try:
        for _ in range(answers + authorities + additionals):
            after_name = skip_name(message, position)
            rtype, size, ttl, length = _read_fixed(message, after_name)
            is_root = after_name == position + 1
            position = after_name + 10 + length
            if rtype != OPT:
                is_plain = False
                continue
            if has_edns or not is_root:
                rcode = Rcode.FORMERR
            has_edns = True
            do = bool(ttl & DO)
            is_plain = is_plain and not length
            udp_size = max(size, LEAST_UDP_SIZE)
            if ttl >> 16 & 0xFF and rcode == Rcode.NOERROR:
                rcode = Rcode.BADVERS
    except (WireError, struct.error):
        rcode = Rcode.FORMERR
    else:
        if position != len(message):
            rcode = Rcode.FORMERR
    return (has_edns, do, is_plain and not rcode, udp_size), rcode


KEY_BEHIND_NAME = 5
"""Octets of a question's key behind the name: QTYPE, QCLASS, one for DO and CD."""


def key_for(name: bytes, qtype: int) -> bytes:
    """The key of the question for this name (lower-cased wire form) and type, with neither DO nor CD."""
    return name + qtype.to_bytes(2) + CLASS_IN.to_bytes(2) + b"\0"


def query_for_key(key: bytes) -> Query:
    """A query of our own for the question that answers cache and coalescing know by this key."""
    do, cd = _FLAGS_OF_TAILS[key[-1:]]
    question = key[:-1]
    qtype, qclass = _read_type_and_class(question, len(question) - 4)
    name = question[:-4]
    return Query(0, RD | cd, question, name, qtype, qclass, key, 0, do, do, True, LEAST_UDP_SIZE)  # noqa: FBT003 - is_plain


def response_flags(query_flags: int, rcode: int) -> int:
    """Flags of a response of ours: QR, RA; opcode, RD and CD as asked; the lower four bits of the RCODE."""
    return QR | RA | (query_flags & (OPCODE | RD | CD)) | (rcode & 0xF)


def bare_response(message: bytes, rcode: int) -> bytes:
    """A header alone, for a query whose question cannot be echoed. At least four octets of the query are needed."""
    identity, flags = _read_id_and_flags(message)
    return write_header(identity, response_flags(flags, rcode), 0, 0, 0, 0)


def own_response(
    query: Query, rcode: int, our_udp_size: int, error: ExtendedError = ExtendedError.NONE, text: str = "", records: bytes = b""
) -> bytes:
    """A response without or with one record of our own making: failures, refusals, RFC 8482.

    `records` is empty or exactly one answer record in wire form. OPT is there if and only if the query had one (RFC 6891
    section 7), and the reason with it.
    """
    flags = response_flags(query.flags, rcode)
    head = write_header(query.id, flags, 1, 1 if records else 0, 0, 1 if query.has_edns else 0) + query.question + records
    if not query.has_edns:
        return head
    options = b"" if error is ExtendedError.NONE else extended_error(error, text)
    return head + opt_record(our_udp_size, rcode=rcode, do=query.do, options=options)


class Match(Enum):
    """How a message from an upstream relates to the query it was sent."""

    EXACT = auto()
    OTHER_CASE = auto()
    """The question differs from ours in nothing but case."""
    BARE_FAILURE = auto()
    """No question and an RCODE that says why: some servers send that for what they cannot read."""
    NONE = auto()


EXACT = Match.EXACT
BARE_FAILURES = frozenset({Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED})


def match_for(message: bytes, identity: int, question: bytes) -> Match:
    """Whether this is the response to the query with this ID and question, spelled as it was sent (RFC 5452 section 9.1)."""
    if len(message) < HEADER_SIZE:
        return Match.NONE
    received, flags, questions = _read_identity(message)
    if received != identity or flags & QR_AND_OPCODE != QR:
        return Match.NONE
    if questions == 1:
        if message.startswith(question, HEADER_SIZE):
            return EXACT
        end = HEADER_SIZE + len(question)
        same_name = message[HEADER_SIZE : end - 4].lower() == question[:-4].lower()
        return Match.OTHER_CASE if same_name and message[end - 4 : end] == question[-4:] else Match.NONE
    return Match.BARE_FAILURE if not questions and flags & 0xF in BARE_FAILURES else Match.NONE


def is_truncated(message: bytes) -> bool:
    """Whether TC is set; for messages that matched."""
    return bool(message[2] & TC >> 8)


OUR_UDP_SIZE = 1232
"""Octets we say to upstreams that we take over UDP: what passes IPv6's least MTU unfragmented (DNS flag day 2020)."""
_OPT_TO_UPSTREAM = {do: opt_record(OUR_UDP_SIZE, do=do) for do in (False, True)}


def query_for_upstream(identity: int, question: bytes, query: Query, *, wants_ad: bool, edns: bool = True) -> bytes:
    """The query that we send for a client's: RD, its CD and DO, OPT of our own. `question` is ours to spell.

    Without `edns` there is no OPT, for servers that do not know it (RFC 6891 section 6.2.2).
    """
    flags = RD | (query.flags & CD) | (AD if wants_ad else 0)
    if edns:
        return write_header(identity, flags, 1, 0, 0, 1) + question + _OPT_TO_UPSTREAM[query.do]
    return write_header(identity, flags, 1, 0, 0, 0) + question


def framed_query_for_upstream(identity: int, question: bytes, query: Query, *, wants_ad: bool, edns: bool = True) -> bytes:
    """The same, as it goes into a stream: behind its length."""
    if not edns:
        plain = query_for_upstream(identity, question, query, wants_ad=wants_ad, edns=False)
        return len(plain).to_bytes(2) + plain
    flags = RD | (query.flags & CD) | (AD if wants_ad else 0)
    size = HEADER_SIZE + len(question) + FIXED_SIZE
    return _write_framed_header(size, identity, flags, 1, 0, 0, 1) + question + _OPT_TO_UPSTREAM[query.do]
