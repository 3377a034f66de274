"""What a worker says of single queries: many notes in one datagram, from all workers over one socket.

Each datagram of the SOCK_SEQPACKET pair is a batch, msgpack inside. Workers only write, and never wait; the supervisor only
reads. Always holds: who asked is in no note that is not meant for the query log; a note is small, whatever was asked.
"""

from collections.abc import Sequence

import msgspec

from forwarder.observe.counters import FAILURE

SLOW_MICROSECONDS = 100_000
"""What `query_log: slow` calls slow, 0.1 s: no answer from memory takes as long, and people begin to feel it."""
MOST_QUESTION = 255 + 4
"""Octets of the longest question: QNAME, QTYPE, QCLASS (RFC 1035 sections 3.1 and 4.1.2)."""
NXDOMAIN = 3


class Note(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One query that was answered."""

    at: float
    """When it was answered, seconds since 1970."""
    question: bytes
    """QNAME, QTYPE, QCLASS as the client spelled them; what stands behind them has no meaning."""
    is_stream: bool
    """It came over TCP."""
    source: int
    """Where the response came from, its place in `counters.SOURCES`."""
    rcode: int
    microseconds: int
    """From the arrival of the query to its response."""
    stands_for: int
    """How many queries like it were answered, this one included: so many there were for each that is noted."""
    client: bytes = b""
    """Its address, 4 or 16 octets; empty where the query log is not to have this note."""
    upstream: str = ""
    """Who answered, or was asked last; empty where nobody was asked."""
    attempts: int = 0
    """How often upstreams were asked for it."""


_decoder = msgspec.msgpack.Decoder(list[Note])
_encoder = msgspec.msgpack.Encoder()


def is_failing(source: int, rcode: int) -> bool:
    """Whether a response says that the question could not be answered; that a name does not exist is an answer."""
    return source == FAILURE or rcode not in {0, NXDOMAIN}


def written(notes: Sequence[Note]) -> bytes:
    """A batch as octets."""
    return _encoder.encode(notes)


def read(data: bytes) -> list[Note]:
    """A batch; raises msgspec.DecodeError on anything else."""
    return _decoder.decode(data)
