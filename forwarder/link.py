"""What the supervisor and a worker say to each other, over one socket pair.

Each message is one datagram of a SOCK_SEQPACKET pair, msgpack inside, so that a message arrives whole or not at all. The
worker reads no file: all it needs to know comes this way. Always holds: the first message to a worker is `Begin`; what it is
ordered to do it does in that order; it serves from `Open` on, and says so; an order that is reported on has a number, and its
report the same.
"""

from pathlib import PurePath

import msgspec


class PinnedRecords(msgspec.Struct, frozen=True, array_like=True):
    """The records of one pinned name and type."""

    name: bytes
    """Owner, lower-cased wire form (`\\x05hello\\x04test\\x00`)."""
    qtype: int
    ttl: int
    """Seconds."""
    rdatas: list[bytes]
    """RDATA of each record, no compression inside; empty: the name exists and has no such records."""


class Pinned(msgspec.Struct, frozen=True, tag=True):
    """Names the operator pinned, all of them: replaces what was pinned before."""

    records: list[PinnedRecords]


class ZoneUpstreams(msgspec.Struct, frozen=True, array_like=True):
    """Whom to ask for one zone, in the order written; same order of zones as in the configuration."""

    zone: str
    addresses: list[str]
    """`192.0.2.1:53`, `[2001:db8::1]:53`, `192.0.2.1:853@dns.example`; resolv.conf files already read."""


class Upstreams(msgspec.Struct, frozen=True, tag=True):
    """The upstreams of every zone: replaces those before."""

    zones: list[ZoneUpstreams]
    """In the order of the configuration."""
    rows: list[str] = []
    """Whose each upstream's row in the counters is, those asked no more included. An address that is missing shares the
    last row. Empty: nobody was asked before, and the place of an address is its row."""
    search: list[str] = []
    """Search domains that resolv.conf files name, each a name below the root."""

    def names(self) -> list[str]:
        """Each address once, in order of appearance."""
        return list(dict.fromkeys(address for zone in self.zones for address in zone.addresses))

    def row_numbers(self) -> dict[str, int]:
        """The row of each address that is asked, the same on both sides."""
        names = self.names()
        rows = {label: number for number, label in enumerate(self.rows or names)}
        return {name: rows.get(name, len(rows) - 1) for name in names}


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Answers as octets: one snapshot or several, one behind the other."""

    memory: int
    """File descriptor of the memory in which they stand, inherited."""
    size: int
    """Octets, from its beginning."""


class Estate(msgspec.Struct, frozen=True):
    """What a worker can hand over to another instance when its supervisor was killed."""

    sockets: list[int]
    """File descriptors of everything that is bound for the network."""
    past: int
    """File descriptor of the counters of workers that ended."""
    control: int
    """File descriptor of the control socket, which listens."""
    control_path: str
    """Where it is."""
    made_directory: bool
    """Whether its directory was made for it."""
    workers: int
    """How many there are to ask."""

    @property
    def removable(self) -> tuple[str, str]:
        """Where files, and where directories, are to be removed when nobody comes; empty: nowhere."""
        directory = PurePath(self.control_path).parent
        return str(directory), str(directory.parent) if self.made_directory else ""

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        return [*self.sockets, self.past, self.control]


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Build what is needed to serve: the first message to a worker. The sockets are inherited under the numbers given here."""

    config: bytes
    """The effective configuration as `config.to_json` wrote it."""
    udp: list[int]
    """File descriptors of its bound UDP sockets, non-blocking."""
    tcp: list[int]
    """File descriptors of listening TCP sockets, non-blocking, shared by all workers."""
    counters: int
    """File descriptor of the memory map of `observe.counters`, its own."""
    pinned: Pinned
    upstreams: Upstreams
    authorities: dict[str, int] = msgspec.field(default_factory=dict)
    """`ca_file` of each zone asked over TLS (`` for the system's) -> file descriptor of a memory file with the certificates,
    DER, one after the other. Not in the message: the system's alone take 160 KB, and some links hold 200 KB."""
    snapshot: int = -1
    """File descriptor of the memory into which it writes its answers."""
    number: int = 0
    """Which of the workers it is, from 0 on."""
    workers: int = 1
    """How many share the names (`forwarder.steering`)."""
    notes: int = -1
    """File descriptor to which it writes what it notes of single queries (`observe.notes`); -1: nobody wants to know."""
    estate: Estate | None = None
    """None: nobody could ask for it, and a worker without a supervisor leaves."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """Open the doors; `Serving` follows."""


class Restore(msgspec.Struct, frozen=True, tag=True):
    """Put back those of these answers that are its own, beside the answering; `SnapshotRead` follows."""

    parts: list[Part]
    number: int = 0


class Snapshot(msgspec.Struct, frozen=True, tag=True):
    """Write all answers into the snapshot memory, beside the answering; `SnapshotWritten` follows, also while draining."""

    number: int = 0


class Flush(msgspec.Struct, frozen=True, tag=True):
    """Forget what is known of a name, beside the answering; `Flushed` follows."""

    name: bytes
    """Lower-cased wire form."""
    is_suffix: bool
    """And of all names below it."""
    number: int = 0


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Take nothing new, and say so with `Closed`; answer what is in progress, leave with exit status 0."""

    number: int = 0


class Serving(msgspec.Struct, frozen=True, tag=True):
    """The doors are open."""

    pid: int
    unfenced: str = ""
    """What it could not give up, and why, in one sentence; else empty."""


class SnapshotRead(msgspec.Struct, frozen=True, tag=True):
    """What was of use in the parts is put back, and their memory is left alone."""

    number: int
    answers: int
    problem: str
    """Why there were not more: what the octets are instead of a snapshot; else empty."""


class SnapshotWritten(msgspec.Struct, frozen=True, tag=True):
    """A whole snapshot stands in the memory, and the worker leaves it alone."""

    number: int
    size: int
    """Octets."""
    problem: str
    """Why there is none; else empty."""


class Flushed(msgspec.Struct, frozen=True, tag=True):
    """Nothing that was known of the name, or asked for it, before the order came is told any more."""

    number: int
    entries: int
    """Answers and failures that are forgotten."""


class Closed(msgspec.Struct, frozen=True, tag=True):
    """No query is taken any more."""

    number: int


Numbered = Restore | Snapshot | Flush | Drain
"""What is reported on when it is done."""
Order = Begin | Open | Pinned | Upstreams | Numbered
Done = SnapshotRead | SnapshotWritten | Flushed | Closed
"""What a worker says when it has done what it was ordered."""
Report = Serving | Done

MAX_MESSAGE_SIZE = 4 << 20
"""Octets of one message; a hosts file of 50,000 names takes 3 MiB. The socket buffers are set to hold it."""

_order_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_report_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
_encoder = msgspec.msgpack.Encoder()


def written(message: Order | Report) -> bytes:
    """A message as bytes, for either direction."""
    return _encoder.encode(message)


def read_order(data: bytes) -> Order:
    """What the supervisor says; raises msgspec.DecodeError on anything else, which is a defect of ours."""
    return _order_decoder.decode(data)


def read_report(data: bytes) -> Report:
    """What a worker says; raises msgspec.DecodeError on anything else, which is a defect of ours."""
    return _report_decoder.decode(data)
