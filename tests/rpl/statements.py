"""What a scenario can say, a class for each sentence. Nothing here does anything."""

from dataclasses import dataclass
from enum import Enum

from tests.rpl.words import Range


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or what is expected of one."""

    rtype: str
    rdata: str
    """As a zone file has it."""
    ttl: Range | None = None
    """Seconds; in a reply always one number. None: any."""
    owner: str = ""
    """Empty: the name asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an upstream says to a query: `silent`, `healthy`, an RCODE, or records."""

    kind: str
    """`silent`, `healthy`, `answer`."""
    rcode: str = "NOERROR"
    records: tuple[Record, ...] = ()
    addresses: int = 0
    """So many A records, in place of records that are written out."""
    is_negative: bool = False
    """An SOA record goes with it: NODATA or NXDOMAIN."""
    ttl: int = 60
    """Seconds: of those addresses, or of that SOA record and its minimum field."""
    changes: tuple[str, ...] = ()
    """Phrases of `answers.CHANGES`, in order."""
    delay: float = 0.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which queries are meant; what is empty is any."""

    rtype: str = ""
    name: str = ""
    """With its final dot, lower-case."""
    transport: str = ""
    """`udp` or `tcp`."""
    edns: bool | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence, and where it stands."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Standing(Statement):
    """From now on an upstream treats these queries like this."""

    upstream: int
    selector: Selector
    reply: Reply


class Turn(Enum):
    """What happens to an upstream as a whole."""

    DIES = "is dead"
    """Nobody listens there, and its connections are reset."""
    COMES_BACK = "comes back"
    CLOSES = "closes its connections"
    RESETS = "resets its connections"
    OLD_CONNECTIONS_MUTE = "says nothing on old connections"
    LOSES_EVERY_SECOND = "loses every second datagram"
    LOSES_NOTHING = "loses nothing"


@dataclass(frozen=True, slots=True)
class TurnOfFate(Statement):
    """An upstream as a whole changes."""

    upstream: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class Gets(Statement):
    """The next query the upstream has, not looked at yet, is one of these; no selector: there is none."""

    upstream: int
    selector: Selector | None


@dataclass(frozen=True, slots=True)
class Replies(Statement):
    """The upstream answers the query that was looked at last."""

    upstream: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Got(Statement):
    """How many such queries the upstream got since counting started."""

    upstream: int
    selector: Selector
    count: Range


@dataclass(frozen=True, slots=True)
class Ports(Statement):
    """How many source ports such queries came from since counting started."""

    upstream: int
    selector: Selector
    count: Range


@dataclass(frozen=True, slots=True)
class Has(Statement):
    """How many connections are open to the upstream."""

    upstream: int
    count: Range


@dataclass(frozen=True, slots=True)
class CountingStarts(Statement):
    """Queries are counted from here."""


@dataclass(frozen=True, slots=True)
class Asks(Statement):
    """Clients send a query each."""

    clients: int
    rtype: str
    name: str
    """As spelled, with its final dot."""
    transport: str = "udp"
    payload: int | None = None
    """Octets; None: no EDNS."""
    flags: tuple[str, ...] = ("RD",)
    twists: tuple[str, ...] = ()
    """Phrases of `clients.TWISTS`."""
    source: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a response holds; what is None is not looked at."""

    rcode: str = "NOERROR"
    records: tuple[Record, ...] = ()
    size: Range | None = None
    """Number of answer records, where they are not written out."""
    error: int | None = None
    """INFO-CODE of the extended error; -1: there is none."""
    error_text: str = ""
    """A part of its text."""
    is_truncated: bool = False
    has_soa: bool | None = None
    is_authentic: bool | None = None
    within: Range | None = None
    """Seconds from query to response; time passes until it is there."""


@dataclass(frozen=True, slots=True)
class Hears(Statement):
    """The oldest of these queries that no response was looked at for has this one; nothing expected: it has none yet."""

    clients: int
    selector: Selector
    expected: Expected | None
    is_final: bool = False
    """Nothing is expected ever: silence is right."""


@dataclass(frozen=True, slots=True)
class TimePasses(Statement):
    """So many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Metric(Statement):
    """The sum of a metric's samples with these labels."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: Range


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file."""

    file: str
    config: str
    """YAML, in which `{upstream 1}` stands for an address and port."""
    upstreams: int
    """How many there are, numbered from 1."""
    statements: tuple[Statement, ...]
