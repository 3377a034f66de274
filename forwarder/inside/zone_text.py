"""What is remembered as the lines of a zone file (RFC 1035 section 5): records with the TTL that is left, remarks behind them.

Pure. Always holds: what begins with a semicolon is no record, and everything else is one in whole; whatever upstreams put into
names and data, a line is printable ASCII and stays one line.

    www.example.com.	240	IN	A	192.0.2.1 ; zone .
    ;none.example.com.	27	IN	A	NXDOMAIN ; zone .
    ;example.com.	27	IN	SOA	ns.example.com. ... ; NXDOMAIN, for none.example.com. A, zone .
"""

import math
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from forwarder import link
from forwarder.inside.remembered import Entry, Memory
from forwarder.lookup.questions import type_text
from forwarder.lookup.rdata import master_text_of
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import CLASS_IN
from forwarder.wire.names import Names, is_at_or_below, text_from_name
from forwarder.wire.records import Kind
from forwarder.wire.walking import NAMES_IN_RDATA, Record

KINDS = {Kind.NODATA: "NODATA", Kind.NXDOMAIN: "NXDOMAIN", Kind.DANGLING: "alias without an answer"}
"""What an entry is that is no whole answer."""


def title(release: str, memories: Sequence[Memory]) -> str:
    """The first line: what this is, of when, how many answers of how many workers; there is one at least."""
    written = max(memory.written for memory in memories)
    moment = datetime.fromtimestamp(int(written), UTC).isoformat().replace("+00:00", "Z")
    answers = sum(memory.count for memory in memories)
    return f"; forwarder {release} at {moment}, answers remembered: {answers}, workers: {len(memories)}"


def place_of(name: bytes) -> list[bytes]:
    """What names (lower-cased wire form) are sorted by: the last label first (RFC 4034 section 6.1)."""
    labels = []
    position = 0
    while length := name[position]:
        labels.append(name[position + 1 : position + 1 + length])
        position += 1 + length
    return labels[::-1]


def lines_for(entry: Entry) -> Iterator[str]:
    """One entry: the records of its answer, then what proves it."""
    answers, others = entry.records()
    question = f"{text_from_name(entry.name)} {type_text(entry.qtype)}"
    remark = f"zone {text_from_name(entry.zone)}"
    if entry.left <= 0:
        remark = f"stale for {math.floor(-entry.left)} s, {remark}"
    if entry.flags:
        remark += f", {' '.join(entry.flags)}"
    if entry.is_negative:
        left = max(0, math.ceil(entry.left))
        yield _line((entry.name, entry.qtype), left, KINDS[entry.response.kind], remark, is_record=False)
    if kind := KINDS.get(entry.response.kind):
        remark = f"{kind}, for {question}, {remark}"
    for place, record in enumerate((*answers, *others)):
        owner = entry.names.lowered(record.start)[0]
        is_itself = kind is None and owner == entry.name and record.rtype == entry.qtype
        text = remark if is_itself or kind is not None else f"for {question}, {remark}"
        yield from _record_line(entry, record, text, is_record=place < len(answers) or not entry.is_negative)


def pinned_lines(pinned: link.Pinned, suffix: bytes) -> Iterator[str]:
    """The names that the operator pinned, at or below a suffix."""
    for kept in sorted(pinned.records, key=lambda kept: (place_of(kept.name), kept.qtype)):
        if is_at_or_below(kept.name, suffix):
            if not kept.rdatas:
                yield _line((kept.name, kept.qtype), kept.ttl, "NODATA", "pinned", is_record=False)
            for rdata in kept.rdatas:
                message = bytes(HEADER_SIZE) + kept.name + _fixed(kept, rdata) + rdata
                fixed = HEADER_SIZE + len(kept.name)
                record = Record(HEADER_SIZE, fixed, kept.qtype, kept.ttl, len(message))
                data = master_text_of(message, record, Names(message))
                yield _line((kept.name, kept.qtype), kept.ttl, data, "pinned", is_record=True)


def _fixed(kept: link.PinnedRecords, rdata: bytes) -> bytes:
    return struct.pack("!HHIH", kept.qtype, CLASS_IN, kept.ttl, len(rdata))


def _record_line(entry: Entry, record: Record, remark: str, *, is_record: bool) -> Iterator[str]:
    """None for a record of another class than IN, which has no place there."""
    if record.rtype < 0:
        return
    owner = entry.names.lowered(record.start)[0]
    data = master_text_of(entry.response.message, record, entry.names)
    if record.rtype in NAMES_IN_RDATA:
        data = data.lower()  # names and numbers; their case is that of the query, which nobody typed (draft-vixie-dns-0x20)
    yield _line((owner, record.rtype), max(0, record.ttl - int(entry.age)), data, remark, is_record=is_record)


def _line(owner: tuple[bytes, int], ttl: int, data: str, remark: str, *, is_record: bool) -> str:
    name, rtype = owner
    return f"{'' if is_record else ';'}{text_from_name(name)}\t{ttl}\tIN\t{type_text(rtype)}\t{data} ; {remark}"
