"""Docker's ways with DNS, as far as clients see them: the embedded server, and the resolv.conf that containers are given.

Always holds: nothing here asks anybody; the records are those of the containers that run at the moment.
"""

import ipaddress
from collections.abc import Callable

from tests.lab.behaviours import Behaviour, Move, Received, answer, nodata, nxdomain

TTL = 600
"""Seconds: what the embedded server says of containers. They move in less."""
PUBLIC = ("8.8.8.8", "8.8.4.4")
"""Whom a container on the default bridge is told to ask when the host's file names nobody that it could."""


class EmbeddedServer:
    """The names of one network: containers, and the aliases of some of them."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._addresses: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def run(self, container: str, address: str) -> None:
        """A container runs there from now on, and nowhere else."""
        self._addresses[f"{container}.{self._zone}"] = address

    def alias(self, alias: str, name: str) -> None:
        """Another name for a container, or for another name."""
        self._aliases[f"{alias}.{self._zone}"] = f"{name}.{self._zone}"

    def behaviour(self) -> Behaviour:
        """For the scripted upstream: what is true when the query comes."""

        def behave(received: Received) -> list[Move]:
            name = received.name.lower()
            chain: list[str] = []
            while name in self._aliases:
                owner, name = "@" if not chain else name, self._aliases[name]
                chain.append(f"{owner} {TTL} IN CNAME {name}")
            address = self._addresses.get(name)
            if address is None:
                return nxdomain(self._zone)(received)
            if received.qtype != "A":
                return answer(*chain)(received) if chain else nodata(self._zone)(received)
            return answer(*chain, f"{name if chain else '@'} {TTL} IN A {address}")(received)

        return behave


def container_resolv_conf(host_file: str) -> str:
    """What the container gets of the host's file: no nameserver of the host's own loopback, and never none at all."""
    lines = [line for line in host_file.splitlines() if not _names(line, lambda address: address.is_loopback)]
    if not any(_names(line, lambda _: True) for line in lines):
        lines += [f"nameserver {address}" for address in PUBLIC]
    return "\n".join(lines) + "\n"


def _names(line: str, kind: Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool]) -> bool:
    """Whether the line names a nameserver whose address is of this kind."""
    words = line.split()
    return words[:1] == ["nameserver"] and len(words) > 1 and kind(ipaddress.ip_address(words[1]))
