"""Which clients are answered: `listen.allow`.

Always holds: the verdict on an address is the same each time; what is remembered of addresses seen is bounded.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

MAX_SEEN = 65_536
"""Client addresses whose verdict is remembered; a node has some hundred pods."""


class AllowedClients:
    """The verdict on client addresses, walked out once for each."""

    __slots__ = ("_networks", "_seen", "everybody")

    def __init__(self, cidrs: Iterable[str]) -> None:
        networks = [ip_network(text) for text in cidrs]
        self._networks = networks
        self._seen: dict[bytes, bool] = {}
        versions = {network.version for network in networks if network.prefixlen == 0}
        self.everybody = versions == {4, 6}
        """Whether nobody need be looked at."""

    def permits(self, address: bytes) -> bool:
        """Whether this client is answered: its address as 4 or 16 octets."""
        verdict = self._seen.get(address)
        if verdict is None:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            client = ip_address(address)
            verdict = any(client in network for network in self._networks)
            self._seen[address] = verdict
        return verdict
