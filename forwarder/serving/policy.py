"""What is answered without asking anybody: queries that are not for a forwarder.

Pure. Guard clauses in the order of the wire, each with its RFC.
"""

from dataclasses import dataclass

from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import CLASS_IN, Qtype, Query, Rcode, own_response
from forwarder.wire.names import TO_QNAME

FIRST_META_TYPE = int(Qtype.TKEY)
"""From here to 255 (ANY) types are not of records but of transfers and transactions (RFC 6895 section 3.1)."""
ANY_TTL = 3600
"""Seconds of the HINFO that answers ANY: nothing about it changes (RFC 8482 section 4.2 leaves it to us)."""
_HINFO = TO_QNAME + b"\0\x0d\0\x01" + ANY_TTL.to_bytes(4) + b"\0\x09\x07RFC8482\0"


@dataclass(frozen=True, slots=True)
class Ruling:
    """An answer of our own."""

    rcode: int
    message: bytes


def ruling_on(query: Query, our_udp_size: int) -> Ruling | None:
    """The response that the query earns by what it is; None: it is to be answered like any other.

    A query of RCODE 0, class IN and a type below FIRST_META_TYPE never earns one, and need not be asked about.
    """
    if query.rcode:
        return _ruled(query, query.rcode, our_udp_size, ExtendedError.NONE, "")
    if query.qclass != CLASS_IN:
        return _ruled(query, Rcode.REFUSED, our_udp_size, ExtendedError.NOT_SUPPORTED, "only class IN is served")
    if query.qtype == Qtype.ANY:
        return Ruling(Rcode.NOERROR, own_response(query, Rcode.NOERROR, our_udp_size, records=_HINFO))
    if FIRST_META_TYPE <= query.qtype <= Qtype.MAILA:
        return _ruled(query, Rcode.REFUSED, our_udp_size, ExtendedError.NOT_SUPPORTED, "a forwarder has no zone to transfer")
    return None


def not_permitted(query: Query, our_udp_size: int) -> Ruling:
    """For a client outside `listen.allow`, over TCP."""
    return _ruled(query, Rcode.REFUSED, our_udp_size, ExtendedError.PROHIBITED, "client is outside listen.allow")


def not_in_memory(query: Query, our_udp_size: int) -> Ruling:
    """For a query without RD that memory has no answer to (RFC 8914 section 4.21)."""
    return _ruled(query, Rcode.REFUSED, our_udp_size, ExtendedError.NOT_AUTHORITATIVE, "not in memory, and RD was not set")


def aaaa_dropped(query: Query, our_udp_size: int) -> Ruling:
    """For an AAAA query in a zone with `drop_aaaa`: the name may exist, and has no IPv6 address to tell of."""
    return _ruled(query, Rcode.NOERROR, our_udp_size, ExtendedError.BLOCKED, "drop_aaaa: AAAA is not asked for in this zone")


def looped(query: Query, our_udp_size: int) -> Ruling:
    """For a probe of our own that an upstream sent back to us."""
    return _ruled(query, Rcode.REFUSED, our_udp_size, ExtendedError.OTHER, "forwarding loop: this query began here")


def _ruled(query: Query, rcode: int, our_udp_size: int, error: ExtendedError, text: str) -> Ruling:
    return Ruling(rcode, own_response(query, rcode, our_udp_size, error, text))
