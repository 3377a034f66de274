"""What a worker says of single queries: many notes in one datagram, from all workers over one socket.

Each datagram of the SOCK_SEQPACKET pair is a batch, msgpack inside. Workers only write, and never wait; the supervisor only
reads. Always holds: who asked is in no note that is not meant for the query log; a note is small, whatever was asked.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from forwarder.observe.counters import FAILURE, RCODES, SOURCES

SLOW_MICROSECONDS = 100_000
"""What `query_log: slow` calls slow, 0.1 s: no answer from memory takes as long, and people begin to feel it."""
MOST_QUESTION = 255 + 4
"""Octets of the longest question: QNAME, QTYPE, QCLASS (RFC 1035 sections 3.1 and 4.1.2)."""
NXDOMAIN = 3
ANSWERED = frozenset((0, NXDOMAIN))
"""RCODEs that answer a question: that a name does not exist is an answer."""
LATEST = 253_402_300_799
"""The last second that has a date of four digits (RFC 3339)."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""What any reader of JSON takes for a number."""


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One query that was answered."""

    at: Annotated[float, msgspec.Meta(ge=0, le=LATEST)]
    """When it was answered, seconds since 1970."""
    question: Annotated[bytes, msgspec.Meta(max_length=MOST_QUESTION)]
    """QNAME, QTYPE, QCLASS as the client spelled them; what stands behind them has no meaning."""
    is_stream: bool
    """It came over TCP."""
    source: Annotated[int, msgspec.Meta(ge=0, lt=len(SOURCES))]
    """Where the response came from, its place in `counters.SOURCES`."""
    rcode: Annotated[int, msgspec.Meta(ge=0, lt=len(RCODES))]
    microseconds: Count
    """From the arrival of the query to its response."""
    stands_for: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]
    """How many queries like it were answered, this one included: so many there were for each that is noted."""
    client: Annotated[bytes, msgspec.Meta(max_length=16)] = b""
    """Its address, 4 or 16 octets; empty where the query log is not to have this note."""
    upstream: Annotated[str, msgspec.Meta(max_length=512)] = ""
    """Who answered, or was asked last; empty where nobody was asked."""
    attempts: Count = 0
    """How often upstreams were asked for it."""


_decoder = msgspec.msgpack.Decoder(list[Note])
_encoder = msgspec.msgpack.Encoder()


def is_failing(source: int, rcode: int) -> bool:
    """Whether a response says that the question could not be answered."""
    return source == FAILURE or rcode not in ANSWERED


def written(notes: Sequence[Note]) -> bytes:
    """A batch as octets."""
    return _encoder.encode(notes)


def read(data: bytes) -> list[Note]:
    """A batch; raises msgspec.DecodeError on anything else."""
    return _decoder.decode(data)
