"""Responses of upstreams, read: what kind they are, and only the records that answer the question kept.

Pure, one pass over the records; a name is decompressed only where it decides something. Always holds: a `Response` holds what
`scrubbing` keeps and no more; the OPT record is never among it. Work is linear in the size of the message.
"""

import struct
from enum import Enum, auto

import msgspec

from forwarder.errors import WireError
from forwarder.wire.edns import OPT
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AD, CLASS_IN, TC, Qtype, Rcode
from forwarder.wire.names import POINTER, Names, skip_name
from forwarder.wire.scrubbing import ADDRESS_SIZES, Sections
from forwarder.wire.walking import OPT_TYPE, walked

TC_AND_RCODE = TC | 0xF
LEAST_RECORD = 11
"""Octets of the smallest record: root owner, type, class, TTL, RDLENGTH."""
POINTER_TO_QNAME = 0xC00C
LARGEST_TTL = 0xFFFFFFFF
COUNTS_OF_ADDRESSES = tuple((count, 0, 0) for count in range(32))
"""Shared by all responses with as many records: a tuple of its own for each would be a tenth of a cached answer."""
ROTATED = tuple(qtype.to_bytes(2) for qtype in ADDRESS_SIZES)
ADDRESS_RECORDS = {qtype: struct.Struct(f"!HHHIH{size}s").iter_unpack for qtype, size in ADDRESS_SIZES.items()}
"""Readers of such records in a row, each owned by a pointer."""

_read_header = struct.Struct("!HHHHHH").unpack_from
_read_opt = struct.Struct("!BHHIH").unpack_from
_write_ttl = struct.Struct("!I").pack_into
_write_fixed = struct.Struct("!HHIH").pack


class Kind(Enum):
    """What a response says about its question."""

    POSITIVE = auto()
    NODATA = auto()
    """NOERROR without records of the type at the end of the chain (RFC 2308 section 2.2)."""
    NXDOMAIN = auto()
    DANGLING = auto()
    """An alias with nothing behind it, neither records nor SOA: half an answer."""
    FAILURE = auto()
    """Any other RCODE (RFC 9520 section 2)."""


POSITIVE = Kind.POSITIVE


class Response(msgspec.Struct, gc=False):
    """What an upstream said, ready to be kept and fitted to clients. Nobody changes one once it is stored."""

    message: bytes
    """Header, question and the records kept; no OPT. ID and flags are those of the upstream."""
    kind: Kind
    rcode: int
    """The whole RCODE, the upper bits from OPT included."""
    counts: tuple[int, int, int]
    """Records kept: answer, authority, additional."""
    least_ttl: int
    """Seconds: the smallest TTL of the records kept; 0 when there are none."""
    most_ttl: int
    """Seconds: the largest of them."""
    negative_ttl: int
    """Seconds: min(TTL of the SOA, its MINIMUM), RFC 2308 section 5; -1 without an SOA that encloses the chain's last name."""
    is_authentic: bool
    """The AD flag as the upstream set it."""

    @property
    def ttl_offsets(self) -> list[int]:
        """Where in the message the TTL of each record kept stands. Walked when asked for: most responses never are again."""
        return [fixed + 4 for fixed in self._fixed_parts(sum(self.counts))]

    @property
    def rotatable(self) -> list[int]:
        """Where the RDATA of the address records at the end of the chain stand, when there are several; else empty."""
        start = skip_name(self.message, HEADER_SIZE)
        rtype = self.message[start : start + 2]
        if self.counts[0] < 2 or rtype not in ROTATED:  # noqa: PLR2004 - one record cannot rotate
            return []
        fixed_parts = self._fixed_parts(self.counts[0])
        places = [fixed + 10 for fixed in fixed_parts if self.message[fixed : fixed + 2] == rtype]
        return places if len(places) > 1 else []

    def _fixed_parts(self, count: int) -> list[int]:
        """Where TYPE of each of the first `count` records stands; they were found whole when the response was read."""
        message = self.message
        position = skip_name(message, HEADER_SIZE) + 4
        places = []
        for _ in range(count):
            fixed = position + 2 if message[position] >= POINTER else skip_name(message, position)
            places.append(fixed)
            position = fixed + 10 + (message[fixed + 8] << 8 | message[fixed + 9])
        return places


def parse_response(message: bytes, name: bytes, qtype: int, *, do: bool) -> Response:
    """The response to the question (name lower-cased wire form, type, IN) that stands in the message.

    The caller has matched ID, QR, opcode and question. Raises WireError for records that run past the end and the like.
    What most responses are is read at once: addresses of QNAME alone, and at most an OPT behind them.
    """
    _, flags, _, count, authority, additional = _read_header(message)
    start = HEADER_SIZE + len(name) + 4
    if not count or authority or additional > 1 or flags & TC_AND_RCODE or qtype not in ADDRESS_SIZES:
        return _read_at_length(message, start, (name, qtype), do=do)
    size = ADDRESS_SIZES[qtype]
    end = start + count * (12 + size)
    least, most = LARGEST_TTL, 0
    try:
        for pointer, rtype, rclass, ttl, length, _ in ADDRESS_RECORDS[qtype](message[start:end]):
            if pointer != POINTER_TO_QNAME or rtype != qtype or rclass != CLASS_IN or length != size:
                return _read_at_length(message, start, (name, qtype), do=do)
            if ttl < least:  # noqa: PLR1730 - a call of min costs as much as the rest of the record
                least = ttl
            if ttl > most:  # noqa: PLR1730 - as above
                most = ttl
        if end > len(message) or (additional and not _is_plain_opt(message, end)):
            return _read_at_length(message, start, (name, qtype), do=do)
    except struct.error:
        return _read_at_length(message, start, (name, qtype), do=do)
    counts = COUNTS_OF_ADDRESSES[count] if count < len(COUNTS_OF_ADDRESSES) else (count, 0, 0)
    return Response(message[:end], POSITIVE, 0, counts, least, most, -1, flags & AD != 0)


def _is_plain_opt(message: bytes, position: int) -> bool:
    """Whether a whole OPT record stands here that adds nothing to the RCODE. Raises struct.error if it is cut."""
    root, rtype, _, extended, length = _read_opt(message, position)
    return not root and rtype == OPT and not extended >> 24 and position + LEAST_RECORD + length <= len(message)


def _read_at_length(message: bytes, start: int, asked: tuple[bytes, int], *, do: bool) -> Response:
    """Any response; its records start at `start`, and `asked` are name and type."""
    _, flags, _, answered, authority, additional = _read_header(message)
    if flags & TC:
        raise WireError("truncated, and nothing longer to ask over")
    if (answered + authority + additional) * LEAST_RECORD > len(message) - start:
        raise WireError("more records announced than there is room for")
    answers, position = walked(message, start, answered)
    authorities, position = walked(message, position, authority)
    additionals, position = walked(message, position, additional)
    rcode = flags & 0xF
    for record in additionals:
        if record.rtype == OPT_TYPE:
            rcode |= record.ttl >> 24 << 4
            break
    if rcode not in {Rcode.NOERROR, Rcode.NXDOMAIN}:
        return Response(message[:start], Kind.FAILURE, rcode, (0, 0, 0), 0, 0, -1, is_authentic=False)
    sections = Sections(message, *asked, do, answers, authorities, additionals)
    return _scrubbed(sections, start, rcode, is_authentic=bool(flags & AD))


def _scrubbed(sections: Sections, start: int, rcode: int, *, is_authentic: bool) -> Response:
    """What answers the question, classified."""
    kept, final, last = sections.chain()
    if rcode == Rcode.NXDOMAIN:
        kind, final = Kind.NXDOMAIN, []
    else:
        kind = Kind.POSITIVE if final else Kind.NODATA
    kept = kept + final
    answer_count = len(kept)
    negative_ttl = -1
    if not final:
        soa, minimum = sections.enclosing_soa(last)
        if soa is not None:
            kept.append(soa)
            negative_ttl = min(soa.ttl, minimum)
        elif answer_count and kind is Kind.NODATA:
            kind = Kind.DANGLING
    kept += sections.proofs(with_soa=negative_ttl >= 0)
    authority_count = len(kept) - answer_count
    kept += sections.addresses_of_hosts(final, last)
    counts = (answer_count, authority_count, len(kept) - answer_count - authority_count)
    ttls = [record.ttl for record in kept] or [0]
    cut = sections.cut_to(start, kept)
    return Response(cut, kind, rcode, counts, min(ttls), max(ttls), negative_ttl, is_authentic)


def with_ttls_capped(response: Response, most: int) -> Response:
    """The same response, no TTL above `most` seconds. TTLs with the top bit set count as large (RFC 8767 section 4)."""
    message = response.message
    capped = bytearray(message)
    for offset in response.ttl_offsets:
        if int.from_bytes(message[offset : offset + 4]) > most:
            _write_ttl(capped, offset, most)
    return Response(
        bytes(capped), response.kind, response.rcode, response.counts, min(response.least_ttl, most), min(response.most_ttl,
        most), response.negative_ttl, response.is_authentic,
    )  # fmt: skip


def with_ttls_set(response: Response, ttl: int) -> Response:
    """The same response, each TTL so many seconds: for a stale answer, whose own have run out (RFC 8767 section 4)."""
    message = bytearray(response.message)
    for offset in response.ttl_offsets:
        _write_ttl(message, offset, ttl)
    return Response(
        bytes(message), response.kind, response.rcode, response.counts, ttl, ttl, response.negative_ttl, response.is_authentic
    )  # fmt: skip


def soa_of(response: Response) -> tuple[bytes, bytes]:
    """Owner and RDATA of the SOA of a negative response whose `negative_ttl` is not -1; names uncompressed, lower-cased."""
    message = response.message
    position = skip_name(message, HEADER_SIZE) + 4
    records, _ = walked(message, position, response.counts[0] + response.counts[1])
    soa = next(record for record in records if record.rtype == Qtype.SOA)
    names = Names(message)
    owner, _ = names.lowered(soa.start)
    server, behind = names.lowered(soa.rdata)
    mailbox, behind = names.lowered(behind)
    return owner, server + mailbox + message[behind : soa.end]


def denial(question: bytes, soa: tuple[bytes, bytes], ttl: int) -> Response:
    """NXDOMAIN of our own making for a question (QNAME, QTYPE, QCLASS): proved by an SOA with this owner and RDATA."""
    owner, rdata = soa
    message = bytes(HEADER_SIZE) + question + owner + _write_fixed(Qtype.SOA, CLASS_IN, ttl, len(rdata)) + rdata
    return Response(message, Kind.NXDOMAIN, Rcode.NXDOMAIN, (0, 1, 0), ttl, ttl, ttl, is_authentic=False)


def as_nodata(response: Response) -> Response:
    """An NXDOMAIN of one type, told as NODATA: its name exists, for it has records of another (RFC 2308 section 2)."""
    message = response.message[:3] + bytes((response.message[3] & 0xF0,)) + response.message[4:]
    return Response(
        message, Kind.NODATA, Rcode.NOERROR, response.counts, response.least_ttl, response.most_ttl, response.negative_ttl,
        response.is_authentic,
    )  # fmt: skip


def failure_response(message: bytes, question: bytes) -> bytes:
    """A failure that came without a question, with the question put back, so that it reads like any other."""
    return message[:4] + b"\0\1\0\0\0\0\0\0" + question
