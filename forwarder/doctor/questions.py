"""The doctor's queries as octets, and what can be read in a response to one.

Pure, and bounded by the wire room: every message is walked once. Always holds: a Reply holds nothing of a response but numbers,
addresses and printable ASCII.
"""

import ipaddress
import struct
from dataclasses import dataclass

from forwarder.doctor.facts import Reply
from forwarder.errors import WireError
from forwarder.wire.edns import EXTENDED_ERROR, opt_record
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import (
    AA,
    CLASS_IN,
    OUR_UDP_SIZE,
    RA,
    RD,
    TC,
    Match,
    Qtype,
    Rcode,
    match_for,
    write_header,
)
from forwarder.wire.names import name_from_text, skip_name
from forwarder.wire.walking import OPT_TYPE, Record, walked

TYPES = {"A": 1, "NS": 2, "SOA": 6, "TXT": 16, "AAAA": 28}
CHAOS = 3
"""The class in which servers are asked about themselves; this daemon refuses it with a reason."""
RRSIG = 46
UNKNOWN_OPTION = 65001
"""An EDNS option for local use (RFC 6891 section 9): nobody knows what this one means, and nobody need mind."""
MAX_ADDRESSES = 32
"""Of one response that are kept."""
OUR_REFUSAL = (Rcode.REFUSED, 21, "only class IN is served")
"""What this daemon, and nobody else, says to a query of another class."""

_read_header = struct.Struct("!HHHHHH").unpack_from
_read_option = struct.Struct("!HH").unpack_from
_read_signed = struct.Struct("!II").unpack_from


@dataclass(frozen=True, slots=True)
class Asked:
    """One query."""

    shown: str
    """`A www.example.`"""
    message: bytes

    @property
    def identity(self) -> int:
        """Its ID."""
        return int.from_bytes(self.message[:2])

    @property
    def question(self) -> bytes:
        """QNAME, QTYPE and QCLASS."""
        end = skip_name(self.message, HEADER_SIZE) + 4
        return self.message[HEADER_SIZE:end]


def plain_query(name: str, qtype: str, identity: int, *, qclass: int = CLASS_IN) -> Asked:
    """As a libc asks: no EDNS. Raises ValueError for what is no name."""
    return _query(name, qtype, identity, qclass, b"")


def edns_query(name: str, qtype: str, identity: int, *, do: bool = False, qclass: int = CLASS_IN) -> Asked:
    """With an OPT record that takes 1,232 octets."""
    return _query(name, qtype, identity, qclass, opt_record(OUR_UDP_SIZE, do=do))


def option_query(name: str, qtype: str, identity: int) -> Asked:
    """With an option that nobody knows: it must be passed over (RFC 6891 section 6.1.2)."""
    option = UNKNOWN_OPTION.to_bytes(2) + (8).to_bytes(2) + b"forwardr"
    return _query(name, qtype, identity, CLASS_IN, opt_record(OUR_UDP_SIZE, options=option))


def version_query(name: str, qtype: str, identity: int) -> Asked:
    """With EDNS version 1: BADVERS is due (RFC 6891 section 6.1.3)."""
    opt = bytearray(opt_record(OUR_UDP_SIZE))
    opt[6] = 1
    return _query(name, qtype, identity, CLASS_IN, bytes(opt))


def _query(name: str, qtype: str, identity: int, qclass: int, opt: bytes) -> Asked:
    question = name_from_text(name) + TYPES[qtype].to_bytes(2) + qclass.to_bytes(2)
    message = write_header(identity, RD, 1, 0, 0, 1 if opt else 0) + question + opt
    return Asked(f"{qtype} {name}", message)


def is_response_to(asked: Asked, message: bytes) -> bool:
    """Whether this message counts as the response to that query."""
    return match_for(message, asked.identity, asked.question) is not Match.NONE


def unanswered(asked: Asked, error: str = "") -> Reply:
    """What there is to say when none came."""
    return Reply(question=asked.shown, error=error)


def reply_to(asked: Asked, message: bytes, seconds: float) -> Reply:
    """What a response says, one that `is_response_to` took."""
    _, flags, questions, answers, authorities, additionals = _read_header(message)
    said = {
        "question": asked.shown,
        "seconds": round(seconds, 6),
        "octets": len(message),
        "is_truncated": bool(flags & TC),
        "rcode": flags & 0xF,
        "is_lame": not (flags & 0xF or flags & (AA | RA) or answers or additionals),
    }
    if not questions:
        return Reply(**said)
    try:
        records, position = walked(message, HEADER_SIZE + len(asked.question), answers)
        authority, position = walked(message, position, authorities)
        additional, _ = walked(message, position, additionals)
    except WireError as error:
        return Reply(**said | {"flaw": "" if flags & TC else str(error)})
    opts = [one for one in additional if one.rtype == OPT_TYPE and not message[one.start]]
    everything = (*records, *authority, *additional)
    said["opts"] = len(opts)
    said["is_opt_misplaced"] = any(one.rtype == OPT_TYPE and one not in opts for one in everything)
    said |= _told_by_opt(message, opts[0], flags & 0xF) if opts else {}
    return Reply(**said | _told_by_answer(message, records))


def _told_by_answer(message: bytes, records: list[Record]) -> dict[str, object]:
    sizes: dict[int, int] = {Qtype.A: 4, Qtype.AAAA: 16}
    datas = [message[one.rdata : one.end] for one in records if one.end - one.rdata == sizes.get(one.rtype)]
    signatures = [one for one in records if one.rtype == RRSIG and one.end - one.rdata >= 18]  # noqa: PLR2004 - fixed part of RDATA
    told: dict[str, object] = {"addresses": tuple(sorted(str(ipaddress.ip_address(data)) for data in datas[:MAX_ADDRESSES]))}
    told["ttl"] = min((one.ttl for one in records if one.rtype > 0), default=0)
    if signatures:
        expiration, inception = _read_signed(message, signatures[0].rdata + 8)
        told["signed"] = (inception, expiration)
    return told


def _told_by_opt(message: bytes, opt: Record, rcode: int) -> dict[str, object]:
    """Options, reason and the upper bits of the RCODE; options that run past the end are passed over."""
    options: list[int] = []
    told: dict[str, object] = {"rcode": opt.ttl >> 24 << 4 | rcode}
    position = opt.rdata
    while position + 4 <= opt.end:
        code, length = _read_option(message, position)
        begin, position = position + 4, position + 4 + length
        options.append(code)
        if position > opt.end:
            told["flaw"] = "an EDNS option runs past the end of OPT"
        elif code == EXTENDED_ERROR and length >= 2 and "reason" not in told:  # noqa: PLR2004 - the INFO-CODE
            told["reason"] = int.from_bytes(message[begin : begin + 2])
            note = message[begin + 2 : position].decode("ascii", "replace")
            told["note"] = "".join(one for one in note if " " <= one <= "~")[:100]
    return told | {"options": tuple(options[:MAX_ADDRESSES])}


def is_our_refusal(reply: Reply) -> bool:
    """Whether it answers a query of class CHAOS as this daemon does."""
    return (reply.rcode, reply.reason, reply.note) == OUR_REFUSAL
