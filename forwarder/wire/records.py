"""Responses of upstreams, read: what kind they are, and only the records that answer the question kept.

Pure, one pass over the records; a name is decompressed only where it decides something. Always holds: what is kept is the CNAME
and DNAME chain from QNAME in its order, the records at its end, the SOA of a negative answer, with DO what DNSSEC proves it with,
and the addresses of the hosts that SRV, MX, SVCB and HTTPS name. The OPT record is never among it. Pointers in it only point
backwards within the message, so that it may be cut behind any record.
"""

import struct
from dataclasses import dataclass
from enum import Enum, auto

from forwarder.errors import WireError
from forwarder.wire.edns import OPT
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AD, CLASS_IN, Qtype, Rcode
from forwarder.wire.names import POINTER, is_at_or_below, read_name, read_spelled_name, skip_name

MAX_MESSAGE = 65535
"""Octets of a message (RFC 1035 section 4.2.2: its length has two octets)."""
MAX_CHAIN = 16
"""Aliases followed in one response; unbound stops at 12, glibc's buffer at about as many."""
LEAST_RECORD = 11
"""Octets of the smallest record: root owner, type, class, TTL, RDLENGTH."""
TO_QNAME = b"\xc0\x0c"
"""A compression pointer to the question's name, which always starts behind the header."""
POINTER_TO_QNAME = 0xC00C
LARGEST_TTL = 0xFFFFFFFF
COUNTS_OF_ADDRESSES = tuple((count, 0, 0) for count in range(32))
"""Shared by all responses with as many records: a tuple of its own for each would be a tenth of a cached answer."""
ADDRESS_SIZES = {1: 4, 28: 16}
"""Octets of the RDATA of A and AAAA (RFC 1035 section 3.4.1, RFC 3596 section 2.2)."""
ROTATED = tuple(qtype.to_bytes(2) for qtype in ADDRESS_SIZES)
ADDRESS_RECORDS = {qtype: struct.Struct(f"!HHHIH{size}s").iter_unpack for qtype, size in ADDRESS_SIZES.items()}
"""Readers of such records in a row, each owned by a pointer."""
RRSIG, NSEC, NSEC3 = 46, 47, 50
NAMES_IN_RDATA = {
    2: (0, 1), 3: (0, 1), 4: (0, 1), 5: (0, 1), 6: (0, 2), 7: (0, 1), 8: (0, 1), 9: (0, 1), 12: (0, 1), 14: (0, 2), 15: (2, 1),
    17: (0, 2), 18: (2, 1), 21: (2, 1), 26: (2, 2), 33: (6, 1), 36: (2, 1), 39: (0, 1),
}  # fmt: skip
"""Types whose RDATA may hold compressed names: octets before the first, how many (RFC 3597 section 4; SRV and DNAME for servers
that compress them all the same)."""
HOST_AT = {Qtype.MX: 2, Qtype.SRV: 6, Qtype.SVCB: 2, Qtype.HTTPS: 2}
"""Types that name a host whose addresses may come along: where in RDATA its name stands."""

_read_header = struct.Struct("!HHHHHH").unpack_from
_read_fixed = struct.Struct("!HHIH").unpack_from
_read_opt = struct.Struct("!BHHIH").unpack_from
_read_soa_numbers = struct.Struct("!IIIII").unpack_from
_write_ttl = struct.Struct("!I").pack_into


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


@dataclass(slots=True)
class Response:
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


@dataclass(slots=True)
class _Record:
    start: int
    fixed: int
    """Where TYPE stands."""
    rtype: int
    """Its type; 0 for a class other than IN, which is never kept."""
    ttl: int
    end: int


def parse_response(message: bytes, name: bytes, qtype: int, *, do: bool) -> Response:
    """The response to the question (name lower-cased wire form, type, IN) that stands in the message.

    The caller has matched ID, QR, opcode and question. Raises WireError for records that run past the end and the like.
    """
    _, flags, _, answered, authority, additional = _read_header(message)
    start = HEADER_SIZE + len(name) + 4
    if answered and qtype in ADDRESS_SIZES and not authority and additional < 2 and not flags & 0xF:  # noqa: PLR2004 - OPT alone
        addresses = _addresses_alone(message, start, qtype, answered, flags, has_opt=additional == 1)
        if addresses is not None:
            return addresses
    if (answered + authority + additional) * LEAST_RECORD > len(message) - start:
        raise WireError("more records announced than there is room for")
    answers, position = _walked(message, start, answered)
    authorities, position = _walked(message, position, authority)
    additionals, position = _walked(message, position, additional)
    rcode = flags & 0xF
    for record in additionals:
        if record.rtype == OPT:
            rcode |= record.ttl >> 24 << 4
            break
    if rcode not in {Rcode.NOERROR, Rcode.NXDOMAIN}:
        return Response(message[:start], Kind.FAILURE, rcode, (0, 0, 0), 0, 0, -1, False)
    kept, final, last = _chain(message, answers, name, qtype, do=do)
    if rcode == Rcode.NXDOMAIN:
        kind = Kind.NXDOMAIN
        kept = [record for record in kept if record not in final]
        final = []
    else:
        kind = Kind.POSITIVE if final else Kind.NODATA
    answer_count = len(kept)
    negative_ttl = -1
    if not final:
        soa = _enclosing_soa(message, authorities, last)
        if soa is not None:
            kept.append(soa)
            negative_ttl = min(soa.ttl, _soa_minimum(message, soa))
        elif answer_count and kind is Kind.NODATA:
            kind = Kind.DANGLING
    if do:
        kept += _proofs(message, authorities, is_negative=negative_ttl >= 0)
    authority_count = len(kept) - answer_count
    if final and qtype in HOST_AT:
        kept += _addresses_of_hosts(message, final, additionals, HOST_AT[Qtype(qtype)])
    kept_counts = (answer_count, authority_count, len(kept) - answer_count - authority_count)
    cut, kept, final = _cut_to(message, start, name, kept, final, (answers, authorities, additionals))
    ttls = [record.ttl for record in kept] or [0]
    return Response(cut, kind, rcode, kept_counts, min(ttls), max(ttls), negative_ttl, bool(flags & AD))


def _addresses_alone(message: bytes, start: int, qtype: int, count: int, flags: int, *, has_opt: bool) -> Response | None:
    """What most responses are, read at once: `count` addresses of QNAME, and at most an OPT behind them.

    None: it is not of that kind, or not whole, and is to be looked at properly.
    """
    size = ADDRESS_SIZES[qtype]
    stride = 12 + size
    end = start + count * stride
    least, most = LARGEST_TTL, 0
    try:
        for pointer, rtype, rclass, ttl, length, _ in ADDRESS_RECORDS[qtype](message[start:end]):
            if pointer != POINTER_TO_QNAME or rtype != qtype or rclass != CLASS_IN or length != size:
                return None
            if ttl < least:
                least = ttl
            if ttl > most:
                most = ttl
        if end > len(message):
            return None
        if has_opt:
            root, rtype, _, extended, length = _read_opt(message, end)
            if root or rtype != OPT or extended >> 24 or end + LEAST_RECORD + length > len(message):
                return None
    except struct.error:
        return None
    counts = COUNTS_OF_ADDRESSES[count] if count < len(COUNTS_OF_ADDRESSES) else (count, 0, 0)
    return Response(message[:end], POSITIVE, 0, counts, least, most, -1, flags & AD != 0)


def with_ttls_capped(response: Response, most: int) -> Response:
    """The same response, no TTL above `most` seconds. TTLs with the top bit set count as large (RFC 8767 section 4)."""
    message = response.message
    capped = bytearray(message)
    for offset in response.ttl_offsets:
        if int.from_bytes(message[offset : offset + 4]) > most:
            _write_ttl(capped, offset, most)
    return Response(
        bytes(capped), response.kind, response.rcode, response.counts, min(response.least_ttl, most), most,
        response.negative_ttl, response.is_authentic,
    )  # fmt: skip


def _walked(message: bytes, position: int, count: int) -> tuple[list[_Record], int]:
    """`count` records from `position` on, and where they end."""
    records = []
    size = len(message)
    try:
        for _ in range(count):
            fixed = position + 2 if message[position] >= POINTER else skip_name(message, position)
            rtype, rclass, ttl, length = _read_fixed(message, fixed)
            end = fixed + 10 + length
            if end > size:
                raise WireError("RDATA runs past the end")
            records.append(_Record(position, fixed, rtype if rclass == CLASS_IN or rtype == OPT else 0, ttl, end))
            position = end
    except (IndexError, struct.error):
        raise WireError("a record runs past the end") from None
    return records, position


def _owner(message: bytes, record: _Record, name: bytes) -> bytes:
    """The record's owner, lower-cased; `name` is what a pointer to the question means."""
    if message[record.start : record.start + 2] == TO_QNAME:
        return name
    return read_name(message, record.start)[0]


def _chain(
    message: bytes, answers: list[_Record], name: bytes, qtype: int, *, do: bool
) -> tuple[list[_Record], list[_Record], bytes]:
    """The records from QNAME along the aliases, those at its end, and the name where it ends (RFC 1034 section 3.6.2)."""
    owned: dict[bytes, list[_Record]] = {}
    for record in answers:
        owned.setdefault(_owner(message, record, name), []).append(record)
    dnames = [owner for owner, records in owned.items() if any(record.rtype == Qtype.DNAME for record in records)]
    kept: list[_Record] = []
    for _ in range(MAX_CHAIN):
        here = owned.pop(name, [])
        final = [record for record in here if record.rtype == qtype]
        if qtype in ADDRESS_SIZES and any(record.end - record.fixed - 10 != ADDRESS_SIZES[qtype] for record in final):
            raise WireError("an address of the wrong length")
        if final:
            kept += final + _signatures(message, here, qtype, do=do)
            return kept, final, name
        alias = next((record for record in here if record.rtype == Qtype.CNAME), None)
        if alias is None:
            return kept, [], name
        for owner in dnames:
            if owner != name and is_at_or_below(name, owner) and owner in owned:
                above = owned.pop(owner)
                kept += [next(record for record in above if record.rtype == Qtype.DNAME)]
                kept += _signatures(message, above, Qtype.DNAME, do=do)
        kept += [alias, *_signatures(message, here, Qtype.CNAME, do=do)]
        name = read_name(message, alias.fixed + 10)[0]
    raise WireError("an alias chain without an end")


def _signatures(message: bytes, records: list[_Record], covered: int, *, do: bool) -> list[_Record]:
    """The RRSIG records over one type (RFC 4034 section 3.1.1), for those who asked for them."""
    if not do:
        return []
    return [record for record in records if record.rtype == RRSIG and _covered_type(message, record) == covered]


def _covered_type(message: bytes, signature: _Record) -> int:
    if signature.end - signature.fixed < 12:  # noqa: PLR2004 - the fixed part and Type Covered
        raise WireError("RRSIG too short")
    return message[signature.fixed + 10] << 8 | message[signature.fixed + 11]


def _enclosing_soa(message: bytes, authorities: list[_Record], last: bytes) -> _Record | None:
    """The SOA of a zone that encloses the last name of the chain: only that denies it (RFC 2308 section 2)."""
    for record in authorities:
        if record.rtype == Qtype.SOA and is_at_or_below(last, read_name(message, record.start)[0]):
            return record
    return None


def _soa_minimum(message: bytes, soa: _Record) -> int:
    """The MINIMUM field, seconds (RFC 1035 section 3.3.13)."""
    numbers = skip_name(message, skip_name(message, soa.fixed + 10))
    if numbers + 20 != soa.end:
        raise WireError("SOA of the wrong length")
    minimum: int = _read_soa_numbers(message, numbers)[4]
    return minimum


def _proofs(message: bytes, authorities: list[_Record], *, is_negative: bool) -> list[_Record]:
    """NSEC, NSEC3 and their signatures, and that of the SOA where it was kept (RFC 4035 section 3.1.3)."""
    signed = {NSEC, NSEC3, Qtype.SOA} if is_negative else {NSEC, NSEC3}
    return [
        record
        for record in authorities
        if record.rtype in {NSEC, NSEC3} or (record.rtype == RRSIG and _covered_type(message, record) in signed)
    ]


def _addresses_of_hosts(message: bytes, final: list[_Record], additionals: list[_Record], offset: int) -> list[_Record]:
    """The additional address records of the hosts that the answer names."""
    hosts = set()
    for record in final:
        if record.fixed + 10 + offset >= record.end:
            raise WireError("RDATA too short to name a host")
        hosts.add(read_name(message, record.fixed + 10 + offset)[0])
    return [
        record
        for record in additionals
        if record.rtype in {Qtype.A, Qtype.AAAA} and read_name(message, record.start)[0] in hosts
    ]


def _cut_to(
    message: bytes, start: int, name: bytes, kept: list[_Record], final: list[_Record],
    sections: tuple[list[_Record], list[_Record], list[_Record]],
) -> tuple[bytes, list[_Record], list[_Record]]:  # fmt: skip
    """The message with only the records kept; they and `final` as they stand in it.

    Where those are the message's first records, cutting behind the last is enough, for pointers go backwards.
    """
    if not kept:
        return message[:start], kept, final
    ahead = (record for section in sections for record in section)
    if all(record is next(ahead) for record in kept):
        return message[: kept[-1].end], kept, final
    rewritten = bytearray(message[:start])
    moved = [_append(rewritten, message, record, name) for record in kept]
    if len(rewritten) > MAX_MESSAGE:
        raise WireError("too long without its compression")
    return bytes(rewritten), moved, [new for new, old in zip(moved, kept, strict=True) if old in final]


def _append(rewritten: bytearray, message: bytes, record: _Record, name: bytes) -> _Record:
    """The record behind what was rewritten so far, its names uncompressed."""
    start = len(rewritten)
    owner, _ = read_spelled_name(message, record.start)
    rewritten += TO_QNAME if owner.lower() == name else owner
    fixed = len(rewritten)
    rewritten += message[record.fixed : record.fixed + 10]
    position = record.fixed + 10
    prefix, names = NAMES_IN_RDATA.get(record.rtype, (0, 0))
    rewritten += message[position : position + prefix]
    position += prefix
    for _ in range(names):
        spelled, position = read_spelled_name(message, position)
        rewritten += spelled
    if position > record.end:
        raise WireError("a name runs past its RDATA")
    rewritten += message[position : record.end]
    length = len(rewritten) - fixed - 10
    rewritten[fixed + 8 : fixed + 10] = length.to_bytes(2)
    return _Record(start, fixed, record.rtype, record.ttl, len(rewritten))




def failure_response(message: bytes, question: bytes) -> bytes:
    """A failure that came without a question, with the question put back, so that it reads like any other."""
    return message[:4] + b"\0\1\0\0\0\0\0\0" + question
