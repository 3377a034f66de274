"""Names pinned by the operator: answered from memory, whoever else may know them.

Pure. Always holds: a pinned name exists, so a type it has no records of is NODATA, never NXDOMAIN, and never asked upstream.
What was pinned is replaced as a whole.
"""

import struct
from collections.abc import Iterable

from forwarder.wire.message import CLASS_IN, Query
from forwarder.wire.names import TO_QNAME
from forwarder.wire.records import Kind, Response

_write_fixed = struct.Struct("!HHIH").pack


class PinnedNames:
    """Responses by name and type, built when the names were pinned."""

    __slots__ = ("names", "turn")

    def __init__(self) -> None:
        self.names: dict[bytes, dict[int, Response]] = {}
        """By owner, then by type."""
        self.turn = 0
        """Which address comes first in the next response."""

    def replace(self, records: Iterable[tuple[bytes, int, int, list[bytes]]]) -> None:
        """Pin these and nothing else: (owner in lower-cased wire form, type, TTL in seconds, RDATA of each record)."""
        names: dict[bytes, dict[int, Response]] = {}
        for name, qtype, ttl, rdatas in records:
            names.setdefault(name, {})[qtype] = _response_for(name, qtype, ttl, rdatas)
        self.names = names

    def response_to(self, query: Query) -> Response:
        """The response for a name that is among the pinned `names`."""
        self.turn += 1
        return self.names[query.name].get(query.qtype) or _response_for(query.name, query.qtype, 0, [])


def _response_for(name: bytes, qtype: int, ttl: int, rdatas: list[bytes]) -> Response:
    message = bytearray(12) + name + struct.pack("!HH", qtype, CLASS_IN)
    for rdata in rdatas:
        message += TO_QNAME + _write_fixed(qtype, CLASS_IN, ttl, len(rdata)) + rdata
    return Response(
        message=bytes(message), kind=Kind.POSITIVE if rdatas else Kind.NODATA, rcode=0, counts=(len(rdatas), 0, 0),
        least_ttl=ttl, most_ttl=ttl, negative_ttl=-1, is_authentic=False,
    )  # fmt: skip
