"""The settings: each described once, with its default, its least, its most and the reason.

The field names are the keys of the YAML file. Durations are seconds, sizes are octets, names are lower-case without the
trailing dot (the root is `.`), addresses are written `127.0.0.1:53` and `[::1]:53`, those asked over TLS with a name behind
(`192.0.2.1:853@dns.example`). Reads no file and knows no YAML, so that a worker can import it quickly. Always holds for a
Config that config_file made: every value is within its bounds, `config_file.contradictions` finds nothing in it, and the limits
of a zone are numbers of its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, Literal

import msgspec

# ------------------------------------------------------------------------------------------------ what a value may be

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds, written with a unit: `400ms`, `1.8s`, `5m`, `1h`."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Size:
    """Octets, written with a unit: `512KiB`, `32MiB`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number without a unit."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Entries:
    """How many entries a list may have."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`ADDRESS[:PORT]`: an IP address we listen on, and the port when none is written."""

    default_port: int


class Word(Enum):
    """The other shapes a piece of text may have."""

    UPSTREAM = auto()
    """`ADDRESS[:PORT]`, `ADDRESS[:PORT]@NAME` for TLS, or the absolute path of a resolv.conf file."""
    ADDRESS = auto()
    """An IP address without a port."""
    NETWORK = auto()
    """A CIDR (`192.0.2.0/24`), or a key of `NETWORKS`."""
    NAME = auto()
    """A domain name other than the root."""
    ZONE = auto()
    """A domain name, or `.` for everything."""
    PATH = auto()
    """The absolute path of a file."""
    INTERFACE = auto()
    """The name of a network interface, 15 characters at most (IFNAMSIZ of Linux less the closing NUL)."""
    USER = auto()
    """The name of a user of this host, or its number."""
    PINNED = auto()
    """An IP address, or text in double quotes of its own, which becomes a TXT record."""


NETWORKS = {
    "any": ("0.0.0.0/0", "::/0"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
"""What `listen.allow` calls by name; private is RFC 1918, RFC 6598 and RFC 4193, in which pods and VMs live."""


# ------------------------------------------------------------------------------------------------------- the settings


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients reach us, and which."""

    addresses: Annotated[tuple[Annotated[str, Endpoint(53)], ...], Entries(1, 64)] = ("127.0.0.1:5300",)
    """Each is one UDP and one TCP socket. The default needs no privilege; 64 is far above what a node has bridges."""
    workers: Literal["auto"] | Annotated[int, Count(1, 64)] = 1
    """Processes that answer; one serves 100,000 hits a second. `auto` is one per core; more than cores gain nothing."""
    allow: Literal["auto"] | Annotated[tuple[Annotated[str, Word.NETWORK], ...], Entries(1, 256)] = "auto"
    """Whose queries are answered: names of `NETWORKS` and CIDRs. See `allowed_networks` for what `auto` means."""
    receive_buffer: Annotated[int, Size(64 * KIB, 256 * MIB)] = 8 * MIB
    """Of each UDP socket. 8 MiB hold 10,000 queries, what waits while a worker is replaced; below 64 KiB bursts are lost."""
    max_udp_size: Annotated[int, Count(512, 4096)] = 1232
    """Octets of the largest datagram sent. 1232 passes any IPv6 path whole; 512 is RFC 1035's, nobody asks above 4096."""
    max_tcp_connections: Annotated[int, Count(1, 65_536)] = 1000
    """Of clients, per worker. Each holds a descriptor; the oldest idle one is closed when there are more."""
    tcp_idle_timeout: Annotated[float, Duration(0.1, HOUR)] = 10.0
    """A stream without a query this long is closed (RFC 7766 section 6.2.3: a few seconds)."""


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients' search path, whose misses are answered on the node."""

    domains: Annotated[tuple[Annotated[str, Word.NAME], ...], Entries(0, 16)] = ()
    """Search domains besides those that follow from `cluster_domain`; resolv.conf seldom has more than six."""
    nxdomain_cut: bool = True
    """Below a name proved not to exist nothing exists (RFC 8020)."""


class Zone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to ask for the names at and below one name; the longest suffix wins."""

    zone: Annotated[str, Word.ZONE]
    upstreams: Annotated[tuple[Annotated[str, Word.UPSTREAM], ...], Entries(1, 16)]
    """In the order in which they are asked, a later one after an earlier failed; 16 do not fit into one deadline anyway."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    """`tcp` keeps a few pipelined connections: what conntrack races cannot touch. `tls` does so encrypted (RFC 7858)."""
    ca_file: Annotated[str, Word.PATH] | None = None
    """Certificates (PEM) that vouch for `tls` upstreams; the system's when left out."""
    max_ttl: Annotated[float, Duration(1.0, 7 * DAY)] = HOUR
    """As `cache.max_ttl`, which is the default, for this zone."""
    max_negative_ttl: Annotated[float, Duration(0.0, 3 * HOUR)] = 30.0
    """As `cache.max_negative_ttl`, which is the default, for this zone."""
    maximum_stale_timer: Annotated[float, Duration(0.0, 7 * DAY)] = HOUR
    """As `cache.maximum_stale_timer`, which is the default; at and below `cluster_domain` at most 30 s unless written."""
    policy: Literal["ordered", "equal"] = "ordered"
    """`equal` spreads queries over all upstreams and hedges; for servers that give the same answers only."""
    trust_ad: bool = False
    """Pass the upstream's AD bit on to clients that asked for it: only when the way to the upstream is trusted."""
    on_failure: Literal["servfail", "nxdomain"] = "servfail"
    """What a client hears when every attempt failed; `nxdomain` frees clients that wait 5 s on a SERVFAIL. Not for `.`."""
    drop_aaaa: bool = False
    """AAAA is answered NODATA without asking."""
    case_randomisation: Literal["auto", "on", "off"] = "auto"
    """Random spelling of the question against forged responses (0x20); `auto` insists once the upstream echoed it."""


class Hosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names that are answered from here; other types of such a name are NODATA."""

    records: dict[Annotated[str, Word.NAME], Annotated[tuple[Annotated[str, Word.PINNED], ...], Entries(1, 64)]] = (
        msgspec.field(default_factory=dict)
    )
    """Name -> addresses and texts. 64 addresses are more than a UDP response holds."""
    files: Annotated[tuple[Annotated[str, Word.PATH], ...], Entries(0, 16)] = ()
    """In the syntax of hosts(5), watched."""


class AnsweringSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a client waits at most."""

    deadline: Annotated[float, Duration(0.1, 4.5)] = 1.8
    """From receipt to response. c-ares gives up at 2 s; glibc and musl at 5 s, after which an answer helps nobody."""
    client_response_timer: Annotated[float, Duration(0.01, 4.5)] = 0.4
    """Then a stale answer is used; must be below the deadline. RFC 8767 section 5 wants it under 1.8 s."""
    max_in_progress: Annotated[int, Count(1, 100_000)] = 2000
    """Questions being asked at one time; about 4 KiB each. Above it clients get a stale answer or SERVFAIL at once."""


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered, and for how long."""

    memory: Annotated[int, Size(1 * MIB, 64 * GIB)] = 32 * MIB
    """For all zones, per worker: 32 MiB hold some 30,000 answers; below 1 MiB a search path evicts itself."""
    max_ttl: Annotated[float, Duration(1.0, 7 * DAY)] = HOUR
    """A longer TTL counts as this one; a week is the cap RFC 8767 section 4 suggests."""
    max_negative_ttl: Annotated[float, Duration(0.0, 3 * HOUR)] = 30.0
    """The same for NXDOMAIN and NODATA; new services must not stay invisible. RFC 2308 section 5: up to 3 h."""
    failure_ttl: Annotated[float, Duration(1.0, 5 * MINUTE)] = 1.0
    """The first failure of a question is remembered this long, doubling; RFC 9520 section 3.2 wants 1 s to 5 min."""
    max_failure_ttl: Annotated[float, Duration(1.0, 5 * MINUTE)] = 30.0
    """Where the doubling ends; not below failure_ttl."""
    maximum_stale_timer: Annotated[float, Duration(0.0, 7 * DAY)] = HOUR
    """How long past its end an answer may still be used when the upstreams fail; RFC 8767 section 5 says up to 3 days."""
    stale_answer_ttl: Annotated[float, Duration(1.0, HOUR)] = 30.0
    """The TTL of such an answer; 30 s is RFC 8767's."""
    failure_recheck_timer: Annotated[float, Duration(1.0, HOUR)] = 5.0
    """While failing, an upstream is asked again at most this often for a stale answer (RFC 8767 section 5)."""
    prefetch: bool = True
    """Answers in use are fetched again before they end."""
    snapshot: Annotated[str, Word.PATH] | None = None
    """A file in which the answers outlive a restart: written on stop and every five minutes, read on start; mode 0600."""


class ObserveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon shows of itself."""

    http: Annotated[str, Endpoint(9253)] = "127.0.0.1:9253"
    """Where the status page and /metrics are; loopback: it names what clients ask. 9253 is NodeLocal DNSCache's port."""
    control: Literal["auto"] | Annotated[str, Word.PATH] = "auto"
    """The control socket; `auto` is /run/forwarder/control.sock, else below $XDG_RUNTIME_DIR."""
    query_log: Literal["off", "errors", "slow", "all"] = "off"
    """JSON lines, to stdout unless query_log_file is set."""
    query_log_file: Annotated[str, Word.PATH] | None = None
    """Where the query log goes instead of stdout."""
    top_names: bool = True
    """Count which names are asked most."""
    coredns_names: bool = False
    """Also show the metric names that dashboards of NodeLocal DNSCache use."""


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `forwarder node` sets up on the host."""

    interface: Annotated[str, Word.INTERFACE] = "forwarder0"
    """Carries the listen addresses; made when it does not exist."""
    intercept: Annotated[tuple[Annotated[str, Word.ADDRESS], ...], Entries(0, 16)] = ()
    """Service addresses of the cluster's DNS that are answered here while the daemon lives; two per family and cluster."""
    rules: Literal["auto", "nft", "iptables"] = "auto"
    """What writes the NOTRACK rules; `auto` is nft where there is one."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting. Only `zones` has to be written."""

    listen: Listen = msgspec.field(default_factory=Listen)
    cluster_domain: Annotated[str, Word.NAME] | None = None
    """The cluster's own domain, `cluster.local` mostly: its search path is known, its addresses are soon somebody else's."""
    search: Search = msgspec.field(default_factory=Search)
    zones: Annotated[tuple[Zone, ...], Entries(1, 1000)]
    """At least one: nobody is asked who is not written here. Some clusters have a few hundred stub domains."""
    hosts: Hosts = msgspec.field(default_factory=Hosts)
    answering: AnsweringSettings = msgspec.field(default_factory=AnsweringSettings)
    cache: CacheSettings = msgspec.field(default_factory=CacheSettings)
    observe: ObserveSettings = msgspec.field(default_factory=ObserveSettings)
    user: Annotated[str, Word.USER] | None = None
    """Who the daemon is once it was started as root: files are read and the snapshot is written as this user. None: who
    started it."""
    node: NodeSettings = msgspec.field(default_factory=NodeSettings)


# ------------------------------------------------------------------------------------------- from process to process

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Config] = msgspec.json.Decoder(Config)


def to_json(config: Config) -> bytes:
    """The configuration for a worker."""
    return _encoder.encode(config)


def from_json(data: bytes) -> Config:
    """What `to_json` wrote; raises msgspec.DecodeError on anything else, which is a defect of ours."""
    return _decoder.decode(data)


# ------------------------------------------------------------------------------------------------- what follows from it


def split_address(address: str) -> tuple[str, int]:
    """`[::1]:53` -> `("::1", 53)`, a name behind it left out; for addresses as a Config holds them."""
    host, _, port = address.partition("@")[0].rpartition(":")
    return host.strip("[]"), int(port)


def server_name(upstream: str) -> str:
    """`192.0.2.1:853@dns.example` -> `dns.example`: who a TLS upstream must prove to be. Empty for others, files among them."""
    return "" if upstream.startswith("/") else upstream.partition("@")[2]


def doors_of(config: Config) -> tuple[str, ...]:
    """Where clients reach us: the listen addresses, and port 53 of those intercepted."""
    intercepted = (f"[{host}]:53" if ":" in host else f"{host}:53" for host in config.node.intercept)
    return tuple(dict.fromkeys((*config.listen.addresses, *intercepted)))


def own_door_of(config: Config) -> tuple[str, int] | None:
    """Where the daemon meets itself and nobody else, intercepted addresses left out: address and port of this host."""
    for host, port in map(split_address, config.listen.addresses):
        if host not in config.node.intercept:
            return ON_THIS_HOST.get(host, host), port
    return None


ON_THIS_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""The wildcard address, as one may send to it."""


def is_own_address(doors: Sequence[str], upstream: str) -> bool:
    """Whether a query sent to this `ADDRESS:PORT[@NAME]` certainly comes back to one of our doors."""
    host, port = split_address(upstream)
    host = ON_THIS_HOST.get(host, host)
    own = {f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}
    if host == "::1":
        own.add(f"[::]:{port}")
    elif host.startswith("127."):
        own.add(f"0.0.0.0:{port}")
    return not own.isdisjoint(doors)


_LOCAL = re.compile(r"127\.|169\.254\.|::1$|fe[89ab][0-9a-f]:")
"""Loopback and link-local addresses, as a Config holds them: only this node, or a neighbour on its link, reaches them."""


def allowed_networks(config: Config) -> tuple[str, ...]:
    """The CIDRs whose queries are answered.

    `auto` is everybody when nobody from afar can reach us: all listen addresses are loopback, link-local or intercepted.
    Else it is loopback, link-local and private networks: never an open resolver by default.
    """
    allow = config.listen.allow
    if allow == "auto":
        local = all(
            _LOCAL.match(host) or host in config.node.intercept for host, _ in map(split_address, config.listen.addresses)
        )
        allow = ("any",) if local else ("loopback", "link-local", "private")
    return tuple(network for entry in allow for network in NETWORKS.get(entry, (entry,)))


CLUSTER_STALE_TIMER = 30.0
"""Seconds. A pod's address is given to the next pod soon; longer, a stale answer is somebody else's address."""


def is_below(name: str, zone: str) -> bool:
    """Is this name the zone's own or one below it? Both as a Config holds them."""
    return zone in (".", name) or name.endswith("." + zone)


def stale_timer_for(zone: str, cache: CacheSettings, cluster_domain: str | None) -> float:
    """The maximum_stale_timer of a zone that does not write one, seconds."""
    if cluster_domain is not None and is_below(zone, cluster_domain):
        return min(CLUSTER_STALE_TIMER, cache.maximum_stale_timer)
    return cache.maximum_stale_timer
