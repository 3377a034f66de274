"""Responses as a libc looks at them, and as a person reads them: the header, the records, the reason.

Pure, and bounded by the wire room. Always holds: what is shown of a message was found within its bounds (`wire.walking`), and
shows as printable ASCII whatever the octets were.
"""

import struct
from dataclasses import dataclass

from forwarder.errors import WireError
from forwarder.lookup import rdata
from forwarder.lookup.questions import Query, type_text
from forwarder.wire.edns import EXTENDED_ERROR
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import AA, QR, RA, TC, Rcode
from forwarder.wire.names import Names, text_from_name
from forwarder.wire.walking import OPT_TYPE, Record, walked

CNAME = 5
BARE_ERRORS = frozenset((Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED))
"""RCODEs that make glibc ask the next nameserver; it takes them without a question too."""
RCODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
)  # fmt: skip
REASONS = (
    "other error", "unsupported DNSKEY algorithm", "unsupported DS digest type", "stale answer", "forged answer",
    "DNSSEC indeterminate", "DNSSEC bogus", "signature expired", "signature not yet valid", "DNSKEY missing", "RRSIGs missing",
    "no zone key bit set", "NSEC missing", "cached error", "not ready", "blocked", "censored", "filtered", "prohibited",
    "stale NXDOMAIN answer",
    "not authoritative", "not supported", "no reachable authority", "network error", "invalid data",
    "signature expired before valid", "too early", "unsupported NSEC3 iterations", "unable to conform to policy", "synthesised",
)  # fmt: skip
"""INFO-CODEs of Extended DNS Errors, by number (RFC 8914 section 4 and the IANA registry)."""
MAX_SHOWN_NOTE = 100
"""Characters of a reason's text that are shown."""
MAX_RECORDS = 200
"""Records of one response that are shown."""

_read_header = struct.Struct("!HHHHHH").unpack_from
_read_option = struct.Struct("!HH").unpack_from


@dataclass(frozen=True, slots=True)
class Response:
    """The header of a message, and the message."""

    message: bytes
    identity: int
    flags: int
    questions: int
    answers: int
    additionals: int

    @property
    def rcode(self) -> int:
        """The four bits of the header, which is all a libc reads."""
        return self.flags & 0xF

    @property
    def is_truncated(self) -> bool:
        """Whether TC is set."""
        return bool(self.flags & TC)

    @property
    def is_lame(self) -> bool:
        """What glibc takes for a server that does not serve the name: NOERROR, neither AA nor RA, no records at all."""
        return not (self.rcode or self.flags & (AA | RA) or self.answers or self.additionals)

    @property
    def has_answers(self) -> bool:
        """NOERROR with records in the answer section, whatever they are."""
        return self.rcode == Rcode.NOERROR and self.answers > 0


def response_in(message: bytes) -> Response | None:
    """The header of a message, or None for what is too short to be one or is a query."""
    if len(message) < HEADER_SIZE:
        return None
    identity, flags, questions, answers, _, additionals = _read_header(message)
    return Response(message, identity, flags, questions, answers, additionals) if flags & QR else None


def answers_query(response: Response, query: Query) -> bool:
    """Whether ID and question are the query's. An error that is a header and nothing more needs no question."""
    if response.identity != query.identity:
        return False
    if len(response.message) == HEADER_SIZE and not response.questions:
        return response.rcode in BARE_ERRORS
    question = query.question
    there = response.message[HEADER_SIZE : HEADER_SIZE + len(question)]
    return response.questions == 1 and there[:-4].lower() == question[:-4] and there[-4:] == question[-4:]


@dataclass(frozen=True, slots=True)
class Shown:
    """One record, in letters."""

    owner: str
    rtype: int
    ttl: int
    """Seconds."""
    data: str

    @property
    def text(self) -> str:
        """`192.0.2.1`, or with its type where that says more: `CNAME www.example.`."""
        return f"{type_text(self.rtype)} {self.data}"


@dataclass(frozen=True, slots=True)
class Reason:
    """An Extended DNS Error (RFC 8914)."""

    code: int
    note: str
    """EXTRA-TEXT, printable."""

    @property
    def text(self) -> str:
        """`EDE 13 (cached error: 192.0.2.1 did not answer)`."""
        name = REASONS[self.code] if self.code < len(REASONS) else "no known code"
        return f"EDE {self.code} ({name}: {self.note})" if self.note else f"EDE {self.code} ({name})"


@dataclass(frozen=True, slots=True)
class Content:
    """What stands in a response."""

    records: tuple[Shown, ...]
    """Of the answer section."""
    reasons: tuple[Reason, ...]
    flaw: str
    """Why the records cannot be read; empty when they can."""

    def has(self, qtype: int) -> bool:
        """Whether a record of this type is among them, whoever owns it: what getaddrinfo of either libc looks for."""
        return any(record.rtype == qtype for record in self.records)


def content_of(response: Response, query: Query) -> Content:
    """The records and reasons of a response to this query."""
    message = response.message
    if not response.questions:
        return Content((), (), "")
    _, _, _, answered, authority, additional = _read_header(message)
    start = HEADER_SIZE + len(query.question)
    try:
        answers, position = walked(message, start, answered)
        records = _shown(message, answers)
    except WireError as error:
        return Content((), (), "" if response.is_truncated else str(error))
    try:
        others, _ = walked(message, position, authority + additional)
    except WireError as error:
        return Content(records, (), "" if response.is_truncated else str(error))
    reasons = tuple(reason for record in others if record.rtype == OPT_TYPE for reason in _reasons(message, record))
    return Content(records, reasons, "")


def _shown(message: bytes, answers: list[Record]) -> tuple[Shown, ...]:
    names = Names(message)
    shown = []
    for record in answers[:MAX_RECORDS]:
        if record.rtype > 0:
            owner, _ = names.spelled(record.start)
            shown.append(Shown(text_from_name(owner), record.rtype, record.ttl, rdata.text_of(message, record, names)))
    return tuple(shown)


def _reasons(message: bytes, opt: Record) -> list[Reason]:
    """The Extended DNS Errors of an OPT record; options that run past its end are passed over."""
    found = []
    position = opt.rdata
    while position + 4 <= opt.end:
        code, length = _read_option(message, position)
        begin, position = position + 4, position + 4 + length
        if code == EXTENDED_ERROR and length >= 2 and position <= opt.end:  # noqa: PLR2004 - the INFO-CODE
            note = rdata.printable(message[begin + 2 : position])[:MAX_SHOWN_NOTE]
            found.append(Reason(int.from_bytes(message[begin : begin + 2]), note))
    return found


def rcode_text(rcode: int) -> str:
    """`NXDOMAIN`, `RCODE 14`."""
    return RCODES[rcode] if rcode < len(RCODES) else f"RCODE {rcode}"
