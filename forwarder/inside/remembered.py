"""Reads the octets in which a worker wrote what it remembers: one entry for each question that it knows the answer to.

Pure. Always holds: an entry was read like a response from the network, all names in it too; what of it is still fresh follows
from its TTLs, which the daemon caps by what the zone allows when it keeps a response.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from forwarder.cache.lifetime import Limits, lifetime_for
from forwarder.cache.snapshot import DO_IN_KEY, HEADER_OCTETS, Reading, response_in, whole_records
from forwarder.errors import SnapshotError, WireError
from forwarder.wire.framing import HEADER_SIZE
from forwarder.wire.message import KEY_BEHIND_NAME, Qtype
from forwarder.wire.names import Names, is_at_or_below, skip_name
from forwarder.wire.records import Kind, Response
from forwarder.wire.walking import Record, walked

UNLIMITED = Limits(max_ttl=0xFFFFFFFF, max_negative_ttl=0xFFFFFFFF)
"""What the zone allowed is in the TTLs already."""
ALIASES = frozenset({Qtype.CNAME, Qtype.DNAME})
CD_IN_KEY = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """What one worker wrote."""

    written: float
    """Seconds since 1970."""
    count: int
    """How many answers it wrote."""
    octets: bytes
    """Their records."""

    def entries(self) -> Iterator["Entry"]:
        """The answers, the oldest first; what is none is passed over."""
        for record in whole_records(self.octets):
            try:
                response = response_in(record.message, record.key)
            except WireError:
                continue
            yield Entry(record.key, record.name[record.place :], response, record.age, Names(response.message))


def memory_in(octets: bytes) -> Memory:
    """Raises SnapshotError that says what it is instead."""
    reading = Reading(octets[:HEADER_OCTETS], len(octets))
    records = octets[HEADER_OCTETS : reading.size]
    reading.look_at(records)
    reading.prove()
    if reading.size != len(octets):
        raise SnapshotError("has more octets than were written")
    return Memory(reading.written.wall / 1000, reading.count, records)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one question."""

    key: bytes
    zone: bytes
    """From whose upstreams it came, lower-cased wire form."""
    response: Response
    age: float
    """Seconds."""
    names: Names
    """Those in the response."""

    @property
    def name(self) -> bytes:
        """Asked for, lower-cased wire form."""
        return self.key[:-KEY_BEHIND_NAME]

    @property
    def qtype(self) -> int:
        """Asked for."""
        return int.from_bytes(self.key[len(self.name) :][:2])

    @property
    def flags(self) -> list[str]:
        """What else was asked for: DO, CD."""
        return [flag for flag, bit in (("DO", DO_IN_KEY), ("CD", CD_IN_KEY)) if self.key[-1] & bit]

    @property
    def left(self) -> float:
        """Seconds for which it is fresh; below 0, it stands in for an answer that cannot be had."""
        return lifetime_for(self.response, UNLIMITED) - self.age

    @property
    def is_negative(self) -> bool:
        """Whether it says that there is nothing."""
        return self.response.kind in {Kind.NXDOMAIN, Kind.NODATA}

    def records(self) -> tuple[list[Record], list[Record]]:
        """Those that answer the question, and those that prove it or help."""
        message, (answers, authorities, additionals) = self.response.message, self.response.counts
        found, _ = walked(message, skip_name(message, HEADER_SIZE) + 4, answers + authorities + additionals)
        return found[:answers], found[answers:]

    def concerns(self, suffix: bytes) -> bool:
        """Whether it is about this name (lower-cased wire form) or one below it, or came to be by way of one."""
        if is_at_or_below(self.name, suffix):
            return True
        answers, _ = self.records()
        places = [record.start for record in answers]
        places += [record.rdata for record in answers if record.rtype in ALIASES]
        return any(is_at_or_below(self.names.lowered(place)[0], suffix) for place in places)
