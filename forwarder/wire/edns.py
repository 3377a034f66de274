"""EDNS(0): the OPT record of both sides, written and read (RFC 6891), and Extended DNS Errors (RFC 8914).

Pure. Options of either side are hop-by-hop and never copied to the other.
"""

import struct
from enum import IntEnum

OPT = 41
"""The type number of the OPT record (RFC 6891 section 6.1.1)."""
DO = 0x8000
"""The DNSSEC OK bit in the flags of OPT (RFC 3225)."""
FIXED_SIZE = 11
"""Octets of an OPT record without options: root owner, type, class, TTL, RDLENGTH."""
EXTENDED_ERROR = 15
"""Option code of Extended DNS Errors (RFC 8914 section 2)."""
MAX_ERROR_TEXT = 64
"""Octets of EXTRA-TEXT we send: a short sentence that never makes a response too long."""

_write_opt = struct.Struct("!BHHBBHH").pack
_write_option = struct.Struct("!HHH").pack


class ExtendedError(IntEnum):
    """INFO-CODEs we send (RFC 8914 section 4, IANA registry)."""

    NONE = -1
    OTHER = 0
    STALE_ANSWER = 3
    CACHED_ERROR = 13
    BLOCKED = 15
    PROHIBITED = 18
    NOT_AUTHORITATIVE = 20
    NOT_SUPPORTED = 21
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23
    INVALID_DATA = 24
    SYNTHESIZED = 29


def opt_record(udp_size: int, *, rcode: int = 0, do: bool = False, options: bytes = b"") -> bytes:
    """An OPT record of version 0. `rcode` is the whole RCODE, of which OPT carries the upper eight bits."""
    return _write_opt(0, OPT, udp_size, rcode >> 4, 0, DO if do else 0, len(options)) + options


def extended_error(code: int, text: str = "") -> bytes:
    """The option that tells why (RFC 8914 section 2); the text is cut to MAX_ERROR_TEXT octets."""
    note = text.encode("ascii", "replace")[:MAX_ERROR_TEXT]
    return _write_option(EXTENDED_ERROR, 2 + len(note), code) + note
