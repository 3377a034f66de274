"""Whether some rule of this host's firewall drops what must pass, and which.

Decides and does nothing. Each sort of traffic that we need is walked through the chains that see it, in three-valued logic:
whether a condition fits may be unknown (a client's address, a mark). Always holds: what is named drops this traffic whatever
the unknown turns out to be; a rule that only may drop it is passed over, and one that may accept it counts as accepting, so
that a healthy host has no false alarm.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from forwarder.node.plan import Endpoint, Plan, version_of

MAX_DEPTH = 32
"""Jumps within jumps; the kernel allows 16."""
HOOKS = ("prerouting", "input", "output", "postrouting")


class Fit(Enum):
    """Whether a condition holds."""

    NO = auto()
    MAYBE = auto()
    YES = auto()


class Verdict(StrEnum):
    """What a rule does with what it fits; those that go on are not rules here."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets that must pass. An empty address or a port of 0: any."""

    what: str
    """For people."""
    hooks: tuple[str, ...]
    """Which of `HOOKS` see them."""
    version: int
    protocol: str
    source: Endpoint
    destination: Endpoint
    is_local: bool
    """Over the loopback interface."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a rule asks."""

    key: str
    """version, protocol, iif, oif, saddr, daddr, sport, dport or state, those of one protocol's header with its name in front
    (`udp dport`); anything else cannot be known."""
    values: tuple[str, ...] = ()
    """One of these; ports may be ranges (`1-1023`), addresses networks."""
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that decides something."""

    conditions: tuple[Condition, ...]
    verdict: Verdict
    target: str
    """The chain to go on in, for jump and goto."""
    text: str
    """The rule for people: table, chain, and which."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain, by its name in `Table.chains`."""

    rules: tuple[Rule, ...]
    hook: str = ""
    """One of `HOOKS`, where the kernel enters."""
    drops: bool = False
    """Whether its policy is to drop."""
    text: str = ""
    """Table and chain, for people."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of IPv4, IPv6 or both."""

    versions: tuple[int, ...]
    chains: Mapping[str, Chain]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Traffic that does not pass."""

    traffic: tuple[str, ...]
    rule: str
    """Who drops it."""


class _End(Enum):
    ACCEPTED = auto()
    THROUGH = auto()


def traffic_for(plan: Plan) -> Iterator[Traffic]:
    """What must pass, of clients elsewhere and on this host."""
    intercepted = (Endpoint(address, 53) for address in plan.intercepted)
    for us in (*plan.endpoints, *intercepted):
        anybody = Endpoint("", 0)
        for protocol in ("udp", "tcp"):
            shape = (version_of(us.address), protocol)
            name = f"over {protocol.upper()} to {us.address}"
            yield Traffic(f"queries {name}", ("prerouting", "input"), *shape, anybody, us, is_local=False)
            yield Traffic(
                f"answers {name}".replace(" to ", " from "), ("output", "postrouting"), *shape, us, anybody, is_local=False
            )
            local = "from this host's programs"
            yield Traffic(f"queries {name} {local}", HOOKS, *shape, Endpoint(us.address, 0), us, is_local=True)
            yield Traffic(f"answers {name} {local}", HOOKS, *shape, us, Endpoint(us.address, 0), is_local=True)


def blocked(tables: tuple[Table, ...], traffic: tuple[Traffic, ...]) -> tuple[Blocked, ...]:
    """Who drops what, each rule once."""
    found: dict[str, list[str]] = {}
    for one in traffic:
        for rule in sorted(set(_droppers(tables, one))):
            found.setdefault(rule, []).append(one.what)
    return tuple(Blocked(tuple(whats), rule) for rule, whats in found.items())


def _droppers(tables: tuple[Table, ...], traffic: Traffic) -> Iterator[str]:
    for table in tables:
        if traffic.version not in table.versions:
            continue
        for chain in table.chains.values():
            if chain.hook in traffic.hooks:
                end = _walked(table.chains, chain, _Walk(traffic, chain.hook), 0)
                if isinstance(end, str):
                    yield end
                elif end is _End.THROUGH and chain.drops:
                    yield f"{chain.text}: its policy"


@dataclass(slots=True)
class _Walk:
    """One sort of traffic on its way through the chains of one hook."""

    traffic: Traffic
    hook: str
    is_certain: bool = True
    """Whether it certainly came here."""


def _walked(chains: Mapping[str, Chain], chain: Chain, walk: _Walk, depth: int) -> _End | str:
    """How it ends here: accepted, through, or dropped by the rule that this text names."""
    was_certain = walk.is_certain
    for rule in chain.rules:
        fit = _fit(rule, walk)
        if fit is Fit.NO:
            continue
        end: _End | str | None = None
        if rule.verdict is Verdict.ACCEPT:
            end = _End.ACCEPTED
        elif rule.verdict is Verdict.DROP and fit is Fit.YES and walk.is_certain:
            end = rule.text
        elif rule.verdict is Verdict.RETURN:
            if fit is Fit.YES:
                end = _End.THROUGH
            walk.is_certain = walk.is_certain and fit is Fit.YES
        elif rule.verdict in {Verdict.JUMP, Verdict.GOTO}:
            end = _followed(chains, rule, walk, fit, depth)
        if end is not None:
            walk.is_certain = was_certain
            return end
    walk.is_certain = was_certain
    return _End.THROUGH


def _followed(chains: Mapping[str, Chain], rule: Rule, walk: _Walk, fit: Fit, depth: int) -> _End | str | None:
    """How it ends in the chain that a rule leads to; None: it goes on behind the rule."""
    if rule.target not in chains or depth >= MAX_DEPTH:
        return None
    was_certain = walk.is_certain
    walk.is_certain = was_certain and fit is Fit.YES
    end = _walked(chains, chains[rule.target], walk, depth + 1)
    walk.is_certain = was_certain
    if end is not _End.THROUGH:
        return end
    if rule.verdict is Verdict.GOTO:
        if fit is Fit.YES:
            return _End.THROUGH
        walk.is_certain = False
    return None


def _fit(rule: Rule, walk: _Walk) -> Fit:
    """Of all its conditions together."""
    fits = [_fit_of(condition, walk) for condition in rule.conditions]
    if Fit.NO in fits:
        return Fit.NO
    return Fit.MAYBE if Fit.MAYBE in fits else Fit.YES


def _fit_of(condition: Condition, walk: _Walk) -> Fit:
    traffic = walk.traffic
    protocol, _, key = condition.key.rpartition(" ")
    if protocol and protocol != traffic.protocol:
        return Fit.NO
    if key in {"saddr", "daddr"}:
        end = traffic.source if key == "saddr" else traffic.destination
        return _fit_of_address(end.address, traffic.version, condition)
    fit = Fit.MAYBE
    if key == "state":
        fit = _yes("untracked" in condition.values)
    elif key == "version":
        fit = _yes(str(traffic.version) in condition.values)
    elif key == "protocol":
        fit = _yes(traffic.protocol in condition.values)
    elif key in {"iif", "oif"}:
        fit = _fit_of_interface(condition, walk)
    elif key in {"sport", "dport"}:
        end = traffic.source if key == "sport" else traffic.destination
        fit = _yes(_is_among(end.port, condition.values)) if end.port else Fit.MAYBE
    return _negated(fit, condition)


def _fit_of_interface(condition: Condition, walk: _Walk) -> Fit:
    """Of two interfaces a packet has one here; of those that are not loopback we know no more."""
    if (condition.key == "iif") is not (walk.hook in {"prerouting", "input"}):
        return Fit.NO
    has_loopback = "lo" in condition.values
    if walk.traffic.is_local:
        return _yes(has_loopback)
    return Fit.MAYBE if len(condition.values) > has_loopback else Fit.NO


def _fit_of_address(address: str, version: int, condition: Condition) -> Fit:
    """A packet of the other family fits no such condition, negated or not."""
    networks = [network for value in condition.values for network in _networks(value) if network.version == version]
    if not networks:
        return Fit.NO
    if not address:
        is_all = any(network.prefixlen == 0 for network in networks)
        return _negated(Fit.YES if is_all else Fit.MAYBE, condition)
    return _negated(_yes(any(ipaddress.ip_address(address) in network for network in networks)), condition)


def _networks(value: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Of an address, a network, or a range of addresses."""
    first, _, last = value.partition("-")
    if not last:
        return [ipaddress.ip_network(value, strict=False)]
    ends = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return list(ipaddress.summarize_address_range(*ends))


def _is_among(port: int, values: tuple[str, ...]) -> bool:
    ranges = [value.partition("-") for value in values]
    return any(int(low) <= port <= int(high or low) for low, _, high in ranges)


def _yes(holds: object) -> Fit:
    return Fit.YES if holds else Fit.NO


def _negated(fit: Fit, condition: Condition) -> Fit:
    if not condition.is_negated or fit is Fit.MAYBE:
        return fit
    return Fit.NO if fit is Fit.YES else Fit.YES
