"""Everything the doctor may know of a place: what was seen, and what could not be looked at.

Pure: no judgement stands here. Always holds: what `encoded` writes, `decoded` reads as the same Facts; a fact that is None is
named in `unknown` with the reason, or is not there on such a host. Times are seconds, sizes octets, names absolute.
"""

from typing import Annotated, Literal

import msgspec

from forwarder.config import Config
from forwarder.errors import ConfigError, Problem

VERSION = 1
"""Of the file: a doctor reads the files of its own version."""
MAX_FILE = 4 << 20
"""Octets of a facts file: sixteen servers with all that was asked of them take a tenth of it."""
MAX_TEXT = 64 << 10
"""Characters of one resolv.conf file that are kept."""

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Time = Annotated[float, msgspec.Meta(ge=0, le=1 << 33)]
"""Seconds since 1970, until 2242."""
Address = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]|[0-9.]+):[0-9]{1,5}$")]
"""`192.0.2.1:53`, `[fe80::1%eth0]:53`."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of one query, or of none in time."""

    question: Text
    """`A www.example.`"""
    seconds: float | None = None
    """Until the response; None when none came that answers the query."""
    error: Text = ""
    """What the kernel said instead of a response: `Connection refused`."""
    rcode: int = 0
    """All of it, the upper bits from OPT included."""
    octets: int = 0
    is_truncated: bool = False
    """TC."""
    is_lame: bool = False
    """NOERROR, neither AA nor RA, no records: glibc takes it for a server that does not serve the name, and goes on."""
    addresses: tuple[Text, ...] = ()
    ttl: int = 0
    """The smallest of the answer's."""
    flaw: Text = ""
    """Why the records cannot be read."""
    opts: int = 0
    """OPT records in the additional section, owned by the root."""
    is_opt_misplaced: bool = False
    """There is one in another section, or with a name."""
    options: tuple[int, ...] = ()
    """Codes of the EDNS options in it."""
    reason: int = -1
    """INFO-CODE of the first Extended DNS Error (RFC 8914); -1 without one."""
    note: Text = ""
    """Its text."""
    signed: tuple[Time, Time] | None = None
    """Inception and expiration of the first RRSIG, seconds since 1970."""

    @property
    def is_answered(self) -> bool:
        """Whether a response came."""
        return self.seconds is not None


class Pairs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many A and AAAA queries, and how many of them were never answered."""

    sent: Count
    """Pairs."""
    halves: Count
    """Pairs of which exactly one was answered."""
    lost_a: Count
    lost_aaaa: Count
    slowest: float = 0.0
    """Seconds of the slowest answer."""

    @property
    def lost(self) -> int:
        """Queries without an answer."""
        return self.lost_a + self.lost_aaaa


class NameSaid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one server says about one name."""

    name: Text
    """Absolute."""
    a: Reply
    aaaa: Reply


class SearchLook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names made up for this, such as `forwarder-doctor-1f.com` behind one domain of the search list, one after the other."""

    domain: Text
    asked: Count
    denied: Count
    """NXDOMAIN."""
    synthesised: Count
    """Of these, said to come from memory although never asked before (EDE 29)."""


Role = Literal["nameserver", "upstream", "listen"]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One DNS server, and what came of asking it."""

    address: Address
    roles: tuple[Role, ...]
    """Clients are told to ask it; a zone of the configuration does; the configuration has the daemon listen there."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    """How the configuration asks it; clients begin with UDP."""
    zones: tuple[Text, ...] = ()
    """Of the configuration, for which it is asked."""
    is_ours: bool = False
    """It answers as this daemon does."""
    plain: tuple[Reply, ...] = ()
    """A few questions over UDP, without EDNS."""
    edns: Reply | None = None
    """The first of them with an OPT record."""
    option: Reply | None = None
    """With an EDNS option that nobody knows."""
    version: Reply | None = None
    """With EDNS version 1."""
    tcp: Reply | None = None
    """Over TCP; for TLS, whether the port takes connections."""
    large: Reply | None = None
    """A question whose answer takes about a thousand octets, over UDP."""
    large_tcp: Reply | None = None
    """The same over TCP."""
    together: Pairs | None = None
    """A and AAAA from one socket at one time, a fresh one for each pair, as a libc does."""
    apart: Pairs | None = None
    """Each from a socket of its own."""
    names: tuple[NameSaid, ...] = ()
    """In the order in which a libc tries them."""
    search: tuple[SearchLook, ...] = ()

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All single replies over UDP."""
        said = tuple(reply for one in self.names for reply in (one.a, one.aaaa))
        more = (self.edns, self.option, self.version, self.large)
        return (*self.plain, *(reply for reply in more if reply is not None), *said)

    @property
    def is_silent(self) -> bool:
        """Whether nothing at all was answered over UDP."""
        counted = (self.together, self.apart)
        return not any(reply.is_answered for reply in self.replies) and not any(
            pairs is not None and pairs.lost < 2 * pairs.sent for pairs in counted
        )


class Conntrack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """/proc/net/stat/nf_conntrack, once before the servers were asked and once after."""

    before: tuple[dict[str, int], ...]
    """A counter by name, for each CPU."""
    after: tuple[dict[str, int], ...]
    seconds: float
    """Between the two."""
    entries: Count
    most: Count
    """nf_conntrack_max; 0 where it is not known."""


class Connection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tracked connection to port 53, or to a port that the daemon listens on."""

    protocol: Text
    source: Text
    destination: Text
    port: int
    replies_from: Text
    """Other than the destination where it is translated."""


class Connections(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tracked connections that are DNS."""

    count: Count
    """All of them."""
    some: tuple[Connection, ...]
    """The first of them."""


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the firewall's rules is about DNS."""

    source: Text
    """`nft`, `iptables`."""
    untracked_to: tuple[Text, ...]
    """Addresses, the packets to which are not tracked; `*` for any."""
    untracked_from: tuple[Text, ...]
    has_our_table: bool
    """`table inet forwarder`."""
    has_kube_proxy: bool = False
    """kube-proxy's chains are there: it makes the services, whatever network plug-in there is."""
    alive: dict[str, tuple[str, ...]]
    """Set of our table with a timeout -> the addresses in it at this moment."""


class Interface(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network interface."""

    name: Text
    kind: Text
    """`bridge`, `vxlan`, `veth`, as the kernel calls it; empty for plain ones."""
    mtu: int
    is_up: bool
    lower: tuple[Text, ...] = ()
    """Interfaces that carry what it sends."""
    ports: Count = 0
    """Of a bridge."""


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who has a port."""

    address: Address
    protocol: Literal["udp", "tcp"]
    process: Text
    """`dnsmasq (812)`; empty where that cannot be seen."""


class Clock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clock of the host, as the kernel thinks of it (adjtimex)."""

    is_synchronised: bool
    error: float
    """Seconds it may be wrong by, at most."""


class DaemonSeen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The daemon of the configuration, looked at over HTTP."""

    ready: int
    """Status of /ready; 0 when nobody answered."""
    why: Text
    """What stood there, or why nobody answered."""
    metrics: dict[str, float]
    """A few of /metrics, with their labels."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    version: Literal[1]
    at: Time
    """By the host's clock."""
    kernel: Text
    """`6.1.0-30-amd64`."""
    resolv_conf: Text
    """The path of the file that tells clients whom to ask."""
    texts: dict[str, Text]
    """Of that file and of others like it that matter: path -> what it says."""
    names: tuple[Text, ...] = ()
    """Those that the operator asks about, as typed."""
    config: Config | None = None
    servers: tuple[Server, ...] = ()
    conntrack: Conntrack | None = None
    connections: Connections | None = None
    rules: Rules | None = None
    settings: dict[str, int] = {}
    """Of sysctl(8), by their names with dots."""
    interfaces: tuple[Interface, ...] | None = None
    addresses: tuple[Text, ...] | None = None
    """Of this host."""
    holders: tuple[Holder, ...] | None = None
    """Of the ports that the daemon wants."""
    clock: Clock | None = None
    daemon: DaemonSeen | None = None
    unknown: dict[str, Text] = {}
    """What could not be looked at, in words -> why."""


_decoder = msgspec.json.Decoder(Facts)


def encoded(facts: Facts) -> bytes:
    """The text of a facts file."""
    return msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n"


def decoded(data: bytes, where: str) -> Facts:
    """What a facts file holds; raises ConfigError that names it as `where` for anything else."""
    if len(data) > MAX_FILE:
        raise ConfigError((Problem(where, f"is larger than {MAX_FILE >> 20} MiB: no facts are"),))
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = str(error).encode("ascii", "backslashreplace").decode()[:200]
        sentence = f"holds no facts of this version ({said}): write them with forwarder doctor --gather"
        raise ConfigError((Problem(where, sentence),)) from None
