"""Where a Corefile listens: our own addresses, and service addresses that are taken over.

NodeLocal DNSCache binds a link-local address of its own and the service address of the cluster's DNS, on which it answers in
place of the cluster. The first is a listen address, the second `node.intercept`. Always holds: an address that is asked is
neither.
"""

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from forwarder.config import NETWORKS, split_address
from forwarder.importing.addresses import DNS_PORT, is_address, listen_address
from forwarder.importing.drafts import Notes
from forwarder.importing.sources import Place, quoted

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what CoreDNS binds without `bind`
CIRCLE = "is asked as an upstream too, and answers would be asked in a circle: it is not listened on"
INTERCEPTED = "is the service address of the cluster's DNS: it is answered here while the daemon lives (node.intercept)"
TAKEN_FOR_SERVICE = (
    "is taken for the service address of the cluster's DNS, for it stands beside a link-local one: answered here while the"
    " daemon lives (node.intercept); write it under listen.addresses if it is this node's own"
)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one server block listens."""

    hosts: tuple[str, ...]
    """As written; none for everywhere."""
    ports: tuple[int, ...]
    place: Place
    """Of its `bind`, or of the block."""


@dataclass(frozen=True, slots=True)
class Listening:
    """All of them together."""

    addresses: tuple[str, ...]
    """As a Config holds them; none when none is known."""
    intercept: tuple[str, ...]


def listening_of(bindings: Sequence[Binding], upstreams: Collection[str], services: Collection[str], notes: Notes) -> Listening:
    """Where to listen. `upstreams`: addresses without port that are asked; `services`: known service addresses."""
    addresses: dict[str, None] = {}
    intercept: dict[str, None] = {}
    for binding in bindings:
        here = {host for host in binding.hosts if _is_of(host, ("link-local", "loopback"))}
        for host in binding.hosts or EVERYWHERE:
            if not is_address(host):
                sentence = f"{quoted([host])} is no address: write those of the interface under listen.addresses"
                notes.add(binding.place, sentence)
                continue
            known = str(ipaddress.ip_address(host))
            is_guess = known not in services and bool(here) and _is_of(host, ("private",)) and host not in here
            if known not in services and not is_guess:
                addresses.update(dict.fromkeys(listen_address(known, port) for port in binding.ports))
            elif known in upstreams:
                notes.add(binding.place, f"{known} {CIRCLE}")
            else:
                intercept[known] = None
                notes.add(binding.place, f"{known} {TAKEN_FOR_SERVICE if is_guess else INTERCEPTED}")
                if set(binding.ports) != {DNS_PORT}:
                    notes.add(binding.place, f"a service address is intercepted on port {DNS_PORT} alone")
    _compare(bindings, addresses, notes)
    return Listening(tuple(addresses), tuple(intercept))


def _compare(bindings: Sequence[Binding], addresses: Iterable[str], notes: Notes) -> None:
    """Say where blocks differ, and that not everybody is answered any more."""
    for binding in bindings:
        if (set(binding.hosts), set(binding.ports)) != (set(bindings[0].hosts), set(bindings[0].ports)):
            notes.add(binding.place, "every zone is answered at every listen address, whatever the client asked")
    if any(not _is_of(split_address(address)[0], ("loopback", "link-local")) for address in addresses):
        notes.add(
            bindings[0].place, "clients from loopback, link-local and private networks are answered: others by listen.allow"
        )


def _is_of(host: str, names: tuple[str, ...]) -> bool:
    if not is_address(host):
        return False
    address = ipaddress.ip_address(host)
    networks = (ipaddress.ip_network(network) for name in names for network in NETWORKS[name])
    return any(address.version == network.version and address in network for network in networks)
