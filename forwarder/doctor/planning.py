"""Whom to ask what: made of the resolv.conf file, the configuration and the names that the operator gave.

Pure. Always holds: nobody is in a plan whom no file names; there are MOST_SERVERS at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from forwarder.config import Config, is_below, split_address
from forwarder.doctor.facts import Role, Server
from forwarder.doctor.perspective import tries_for, upstreams_of
from forwarder.lookup.settings import Libc, Settings, settings_for

MOST_SERVERS = 16
MOST_TRIES = 24
"""Names asked of one server: three of the operator's, behind a search list of seven."""
REFERENCE = "example.com."
"""A name that whoever reaches the world can resolve; whoever does not may say anything, as long as it says it."""
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound

Transport = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask one server about."""

    server: Server
    """Whom; nothing is known of it yet."""
    names: tuple[str, ...] = ()
    """Absolute, A and AAAA of each."""
    search: tuple[str, ...] = ()
    """Domains of the search list that names of the world are tried behind, absolute."""
    below: str = ""
    """Absolute name under which names for pairs are made up; empty: pairs ask for `name`."""
    apex: str = "."
    """The zone whose SOA whoever is asked must know."""
    name: str = REFERENCE
    """Absolute; its A is asked for in every way there is."""


def plans_for(
    resolv_conf: str, config: Config | None, names: tuple[str, ...], texts: dict[str, str]
) -> tuple[list[Plan], list[str]]:
    """What to ask whom, and the servers for whom there was no room."""
    settings = settings_for(texts.get(resolv_conf, ""), Libc.GLIBC)
    servers = _servers(settings, config, texts)
    tries = tuple(dict.fromkeys(one for name in names for one in tries_for(name, settings)))[:MOST_TRIES]
    domains = [domain.strip(".") for domain in settings.search if domain.strip(".")]
    plans = []
    for server in servers[:MOST_SERVERS]:
        is_for_clients = "nameserver" in server.roles or "listen" in server.roles
        own = "" if is_for_clients or "." in server.zones else f"{server.zones[0]}."
        below = f"{domains[0]}." if domains and is_for_clients else own
        mine = tries if is_for_clients else tuple(name for name in tries if _is_asked_about(server, name, config))
        search = tuple(f"{domain}." for domain in domains[:6]) if "nameserver" in server.roles and settings.ndots > 1 else ()
        plans.append(Plan(server, mine, search, below, apex=own or ".", name=own or REFERENCE))
    return plans, [server.address for server in servers[MOST_SERVERS:]]


def _servers(settings: Settings, config: Config | None, texts: dict[str, str]) -> list[Server]:
    """Each address once, with all that it is."""
    roles: dict[str, list[Role]] = {}
    zones: dict[str, list[str]] = {}
    transports: dict[str, Transport] = {}
    for address in settings.nameservers:
        roles.setdefault(address, []).append("nameserver")
    for address in _listened(config):
        roles.setdefault(address, []).append("listen")
    if config is not None:
        asked = upstreams_of(config, texts)
        for zone in config.zones:
            for address in asked[zone.zone]:
                roles.setdefault(address, []).append("upstream")
                zones.setdefault(address, []).append(zone.zone)
                transports.setdefault(address, zone.transport)
    return [
        Server(
            address=address,
            roles=tuple(dict.fromkeys(said)),
            zones=tuple(zones.get(address, ())),
            transport="udp" if said[0] == "nameserver" else transports.get(address, "udp"),
        )
        for address, said in roles.items()
    ]


def _listened(config: Config | None) -> Iterator[str]:
    for address in config.listen.addresses if config is not None else ():
        host, port = split_address(address)
        host = WILDCARDS.get(host, host)
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_asked_about(server: Server, name: str, config: Config | None) -> bool:
    """Whether the daemon asks this upstream about the name: its zone is the longest suffix."""
    if config is None:
        return True
    enclosing = [zone.zone for zone in config.zones if is_below(name.rstrip(".").lower(), zone.zone)]
    return max(enclosing, key=lambda zone: (zone != ".", zone.count("."), len(zone)), default="") in server.zones
