"""What there is to be on this host, by the configuration: an interface, its addresses, whose traffic is not tracked.

Decides and does nothing. Always holds: loopback and wildcard addresses are in no plan, the one because nobody loses a race
there, the other because it would take port 53 of every address of the host out of tracking, containers' and services' too. An
intercepted address is never among those whose traffic is left untracked for good.
"""

import ipaddress
import math
from dataclasses import dataclass
from enum import StrEnum

from forwarder.config import Config, NodeSettings, split_address
from forwarder.errors import ConfigError, Problem

PORT = 53
"""Of an intercepted address: that of the service."""
MAX_UID = (1 << 32) - 2
"""2^32 - 1 is the kernel's word for nobody at all."""


class Kind(StrEnum):
    """What writes the rules."""

    NFT = "nft"
    IPTABLES = "iptables"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients reach us."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to be."""

    interface: str
    """Who carries the addresses."""
    is_named: bool
    """Whether that is an interface the operator named, which may be there already and somebody else's."""
    addresses: tuple[str, ...]
    """To be on it: listen addresses, then intercepted ones; none where there is nothing to set up."""
    endpoints: tuple[Endpoint, ...]
    """Whose traffic is not tracked, in either direction."""
    intercepted: tuple[str, ...]
    """Service addresses that are answered here while the daemon lives."""
    uid: int
    """Of the daemon, whose datagrams renew that."""
    stream_seconds: int
    """How long an intercepted TCP stream without a segment is still ours."""
    kind: Kind

    def endpoints_of(self, version: int) -> tuple[Endpoint, ...]:
        """Those of IPv4 or of IPv6."""
        return tuple(one for one in self.endpoints if version_of(one.address) == version)

    def intercepted_of(self, version: int) -> tuple[str, ...]:
        """Those of IPv4 or of IPv6."""
        return tuple(one for one in self.intercepted if version_of(one) == version)


def version_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def plan_for(config: Config, uid: int, kind: Kind) -> Plan:
    """The plan; raises ConfigError where the configuration asks for what cannot be."""
    node = config.node
    problems = [Problem(f"node.intercept[{place}]", sentence) for place, sentence in _unfit(node.intercept)]
    if node.intercept and kind is Kind.IPTABLES:
        sentence = "iptables cannot end a takeover when the daemon dies: install nft (nftables), or leave intercept out"
        problems.append(Problem("node.intercept", sentence))
    if problems:
        raise ConfigError(tuple(problems))
    hosts = [(host.partition("%"), port) for host, port in map(split_address, config.listen.addresses)]
    reachable = [(host, scope, port) for (host, _, scope), port in hosts if not is_idle(host)]
    ours = [host for host, scope, _ in reachable if not scope]  # an address with a scope is that interface's own
    return Plan(
        interface=node.interface,
        is_named=node.interface != NodeSettings().interface,
        addresses=tuple(dict.fromkeys([*ours, *node.intercept])),
        endpoints=tuple(Endpoint(host, port) for host, _, port in reachable if not (host in node.intercept and port == PORT)),
        intercepted=node.intercept,
        uid=uid,
        stream_seconds=math.ceil(config.listen.tcp_idle_timeout) + 10,
        kind=kind,
    )


def is_idle(host: str) -> bool:
    """Whether nothing is to be set up for this listen address: loopback, or the wildcard."""
    address = ipaddress.ip_address(host)
    return address.is_loopback or address.is_unspecified


def wildcards_in(config: Config) -> tuple[str, ...]:
    """Listen addresses whose traffic stays tracked because they mean every address."""
    hosts = (split_address(address)[0].partition("%")[0] for address in config.listen.addresses)
    return tuple(host for host in hosts if ipaddress.ip_address(host).is_unspecified)


def _unfit(intercepted: tuple[str, ...]) -> list[tuple[int, str]]:
    """Which of them no service has, and why."""
    found = []
    for place, text in enumerate(intercepted):
        address = ipaddress.ip_address(text)
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            found.append((place, f"{text} is no service address: write the cluster IP of the cluster's DNS service"))
    return found
