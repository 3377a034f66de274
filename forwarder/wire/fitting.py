"""A stored response, fitted to one client: its ID, question as spelled, flags, TTLs, order of addresses, OPT, size.

Pure. Nothing is re-encoded: octets are copied and patched. Always holds: no response is longer than the limit; RA=1 and AA=0;
OPT is there if and only if the query had one; records are whole.
"""

import struct

from forwarder.wire.edns import ExtendedError, extended_error, opt_record
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AD, CD, QR, RA, RD, TC, Query
from forwarder.wire.names import skip_name
from forwarder.wire.records import Response

OURS = QR | RA
ECHOED = RD | CD

_header = struct.Struct("!HHHHHH")
_written_header = _header.pack
_write_header = _header.pack_into
_read_id_and_flags = struct.Struct("!HH").unpack_from
_read_count = struct.Struct("!H").unpack_from
ARCOUNT_AT = 10
"""Where in the header the number of additional records stands."""
_ttl = struct.Struct("!I")
_read_ttl = _ttl.unpack_from
_write_ttl = _ttl.pack_into


def fitted(
    response: Response, query: Query, limit: int, opt: bytes, *, age: int = 0, turn: int = 0
) -> bytes:  # fmt: skip
    """The response as this client gets it.

    `limit` octets at most; `opt` is the OPT record to send, empty when the query had none; `age` seconds are taken off the
    TTLs; address records start with number `turn`, so that a cached answer does not freeze the upstream's load balancing.
    AD must have been settled in `response.is_authentic` (RFC 6840 section 5.8: it goes to those who sent AD or DO).
    """
    flags = OURS | (query.flags & ECHOED) | (response.rcode & 0xF)
    if response.is_authentic and (query.do or query.flags & AD):
        flags |= AD
    answers, authorities, additionals = response.counts
    if opt:
        additionals += 1
    stored, question = response.message, query.question
    behind = HEADER_SIZE + len(question)
    head = _written_header(query.id, flags, 1, answers, authorities, additionals) + question
    if not age and not turn and len(stored) + len(opt) <= limit:
        return head + stored[behind:] + opt
    body = bytearray(stored)
    body[:behind] = head
    if age:
        for offset in response.ttl_offsets:
            (ttl,) = _read_ttl(body, offset)
            _write_ttl(body, offset, ttl - age if ttl > age else 0)
    if turn:
        _rotate(body, response, turn)
    if len(body) + len(opt) > limit:
        return _truncated(body, behind, limit - len(opt), response) + opt
    return bytes(body) + opt


def response_opt(query: Query, our_udp_size: int, error: ExtendedError = ExtendedError.NONE) -> bytes:
    """The OPT record for a response, with an extended error if there is one to tell; empty when the query had none."""
    if not query.has_edns:
        return b""
    return opt_record(our_udp_size, do=query.do, options=b"" if error is ExtendedError.NONE else extended_error(error))


def _rotate(body: bytearray, response: Response, turn: int) -> None:
    places = response.rotatable
    if not places:
        return
    size = body[places[0] - 1]
    addresses = [response.message[place : place + size] for place in places]
    first = turn % len(places)
    for place, address in zip(places, addresses[first:] + addresses[:first], strict=True):
        body[place : place + size] = address


Places = tuple[tuple[tuple[int, int], ...], tuple[int, ...], int]
"""What changes with time in a response without its ID: (place of a TTL, its first value in seconds), the places of the
addresses that rotate, their size in octets."""


def places_in(response: Response) -> Places:
    """What changes in the octets, behind the ID, of a response that was fitted whole."""
    message = response.message
    ttls = tuple([(offset - 2, int.from_bytes(message[offset : offset + 4])) for offset in response.ttl_offsets])
    addresses = response.rotatable
    return ttls, tuple([place - 2 for place in addresses]), message[addresses[0] - 1] if addresses else 0


def aged(octets: bytes, places: Places, age: int) -> bytes:
    """A response that was fitted before, its TTLs `age` seconds below their first value, its addresses moved on by one."""
    ttls, addresses, size = places
    body = bytearray(octets)
    for place, ttl in ttls:
        _write_ttl(body, place, ttl - age if ttl > age else 0)
    if addresses:
        last = addresses[-1]
        moved = octets[last : last + size]
        for place in addresses:
            body[place : place + size], moved = moved, octets[place : place + size]
    return bytes(body)


def _truncated(body: bytearray, position: int, limit: int, response: Response) -> bytes:
    """The whole records that fit: all of answer and authority, else what fits of the answer with TC=1 (RFC 2181 section 9)."""
    answers, authorities, additionals = response.counts
    fit, end = _fitting(body, position, limit, answers)
    kept_authorities = 0
    if fit == answers:
        kept_authorities, behind = _fitting(body, end, limit, authorities)
        if kept_authorities == authorities:
            end = behind
        else:
            kept_authorities = 0
    identity, flags = _read_id_and_flags(body)
    if fit < answers or kept_authorities < authorities:
        flags |= TC
    has_opt = _read_count(body, ARCOUNT_AT)[0] - additionals
    _write_header(body, 0, identity, flags, 1, fit, kept_authorities, has_opt)
    return bytes(body[:end])


def _fitting(body: bytearray, position: int, limit: int, count: int) -> tuple[int, int]:
    """How many of the `count` records from `position` on end within the limit, and where the last of those does."""
    for fit in range(count):
        fixed = skip_name(body, position)
        end = fixed + 10 + (body[fixed + 8] << 8 | body[fixed + 9])
        if end > limit:
            return fit, position
        position = end
    return count, position
