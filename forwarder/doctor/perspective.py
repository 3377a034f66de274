"""Where the clients of this place stand: whom they ask, who of those is this daemon, and whom it shields them from.

Pure. Always holds: a server's weakness is the clients' problem only where they ask it with no daemon of ours before.
"""

import ipaddress
from functools import cached_property

from forwarder.config import Config, is_own_address, split_address
from forwarder.doctor.facts import Facts, Server
from forwarder.doctor.findings import Severity, severity_of
from forwarder.lookup.settings import Libc, Settings, settings_for
from forwarder.node import resolv_conf

PUBLIC = frozenset((
    "8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220",
    "2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001", "2620:fe::fe", "2620:fe::9",
))  # fmt: skip
"""Resolvers of the wide world that are built into other people's code: Docker's, systemd-resolved's, installers'."""
RESOLVED = "/run/systemd/resolve/resolv.conf"
"""Whom systemd-resolved asks; its own stub stands in /etc/resolv.conf instead."""
STUB = ("127.0.0.53", "127.0.0.54")
"""Where systemd-resolved answers."""


class Perspective:
    """The facts, seen from the clients of this place."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.text = facts.texts.get(facts.resolv_conf, "")
        self.settings = settings_for(self.text, Libc.GLIBC)
        self.conf = resolv_conf.parsed(self.text)

    @cached_property
    def nameservers(self) -> list[Server]:
        """Whom clients ask, in their order."""
        by_address = {server.address: server for server in self.facts.servers}
        asked = dict.fromkeys(self.settings.nameservers)
        return [by_address[address] for address in asked if address in by_address and "nameserver" in by_address[address].roles]

    @cached_property
    def ours(self) -> list[Server]:
        """Those of them that are this daemon: by how they answer, or by the configuration."""
        own = self.facts.config.listen.addresses if self.facts.config is not None else ()
        return [one for one in self.nameservers if one.is_ours or is_own_address(own, one.address)]

    @property
    def upstreams(self) -> list[Server]:
        """Whom the daemon asks."""
        return [server for server in self.facts.servers if "upstream" in server.roles]

    def is_asked_directly(self, server: Server) -> bool:
        """Whether clients ask it with no daemon of ours in front of it in their list."""
        if "listen" in server.roles:
            return True
        for one in self.nameservers:
            if one is server:
                return True
            if one in self.ours:
                return False
        return False

    def weakness_of(self, server: Server) -> Severity:
        """How bad a weakness of this server is for the clients."""
        return severity_of(is_problem=self.is_asked_directly(server))

    def tries_for(self, name: str) -> list[str]:
        """The names a libc makes of this one, absolute, in its order."""
        return tries_for(name, self.settings)


def tries_for(name: str, settings: Settings) -> list[str]:
    """The names that glibc makes of `name`, absolute, in the order in which it asks for them."""
    if name.endswith("."):
        return [name]
    as_it_is = f"{name}."
    behind = [f"{name}.{domain.strip('.')}." for domain in settings.search if domain.strip(".")]
    return [as_it_is, *behind] if name.count(".") >= settings.ndots else [*behind, as_it_is]


def upstreams_of(config: Config, texts: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Zone -> `ADDRESS:PORT` of whom it asks; those of resolv.conf files from their texts, our own addresses included."""
    found = {}
    for zone in config.zones:
        asked: list[str] = []
        for upstream in zone.upstreams:
            if upstream.startswith("/"):
                asked += resolv_conf.parsed(texts.get(upstream, "")).nameservers
            else:
                asked.append(upstream.partition("@")[0])
        found[zone.zone] = tuple(dict.fromkeys(asked))
    return found


def short(address: str) -> str:
    """`192.0.2.1` of `192.0.2.1:53`; other ports stay."""
    return address.removesuffix(":53").strip("[]") if address.endswith(":53") else address


def host_of(address: str) -> str:
    """`192.0.2.1` of `192.0.2.1:53`, `::1` of `[::1]:53`."""
    return split_address(address)[0]


def is_public(address: str) -> bool:
    """One of the built-in resolvers of the wide world."""
    return host_of(address) in PUBLIC


def is_inside(host: str) -> bool:
    """A private, loopback or link-local address: of this network, not of the world."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return False
