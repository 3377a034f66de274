"""The records of a message, found: where each starts, what it is, where it ends.

Pure, linear. Always holds: a record that was found lies within the message; one of another class than IN, or OPT, has a type
that nobody asks for.
"""

import struct
from dataclasses import dataclass

from forwarder.errors import WireError
from forwarder.wire.edns import OPT
from forwarder.wire.message import CLASS_IN
from forwarder.wire.names import POINTER, Names, skip_name

FOREIGN_TYPE = -1
"""The type of a record whose class is not IN."""
OPT_TYPE = -OPT
"""The type of an OPT record, whose class is something else (RFC 6891 section 6.1.2)."""
NAMES_IN_RDATA = {
    2: (0, 1), 3: (0, 1), 4: (0, 1), 5: (0, 1), 6: (0, 2), 7: (0, 1), 8: (0, 1), 9: (0, 1), 12: (0, 1), 14: (0, 2), 15: (2, 1),
    17: (0, 2), 18: (2, 1), 21: (2, 1), 26: (2, 2), 33: (6, 1), 36: (2, 1), 39: (0, 1),
}  # fmt: skip
"""Types whose RDATA may hold compressed names: octets before the first, how many (RFC 3597 section 4; SRV and DNAME for servers
that compress them all the same)."""
NAMES_AND_MORE = frozenset({6})
"""Those of them whose names are not the end of the RDATA: SOA."""

_read_fixed = struct.Struct("!HHIH").unpack_from


@dataclass(slots=True, eq=False)
class Record:
    """Where a record stands in its message. One is itself and no other: comparing is by identity."""

    start: int
    fixed: int
    """Where TYPE stands."""
    rtype: int
    ttl: int
    """Seconds; for OPT its flags."""
    end: int

    @property
    def rdata(self) -> int:
        """Where RDATA starts."""
        return self.fixed + 10


def walked(message: bytes, position: int, count: int) -> tuple[list[Record], int]:
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
            if rtype == OPT:
                rtype = OPT_TYPE
            elif rclass != CLASS_IN:
                rtype = FOREIGN_TYPE
            records.append(Record(position, fixed, rtype, ttl, end))
            position = end
    except (IndexError, struct.error):
        raise WireError("a record runs past the end") from None
    return records, position


def names_in(record: Record, names: Names) -> list[tuple[int, int]]:
    """Where names in the RDATA stand that may be compressed, and what follows each. Raises WireError if they do not fit."""
    prefix, count = NAMES_IN_RDATA.get(record.rtype, (0, 0))
    position = record.rdata + prefix
    found = []
    for _ in range(count):
        _, after = names.spelled(position)
        found.append((position, after))
        position = after
    if count and (position > record.end or (position < record.end and record.rtype not in NAMES_AND_MORE)):
        raise WireError("a name that is not as long as its RDATA")
    return found
