"""Which clients are answered: the verdict is that of the networks, the same each time, and what is remembered is bounded."""

import sys
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.config import NETWORKS
from forwarder.serving import allow
from forwarder.serving.allow import AllowedClients

CIDRS = [cidr for cidrs in NETWORKS.values() for cidr in cidrs] + [
    "192.0.2.0/31",
    "2001:db8::/33",
    "198.51.100.7/32",
    "::1/128",
]


def packed(address: str) -> bytes:
    return ip_address(address).packed


EDGES = [address.packed for cidr in CIDRS for address in (ip_network(cidr)[0], ip_network(cidr)[-1])]
ADDRESSES = st.sampled_from(EDGES) | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@given(st.lists(st.sampled_from(CIDRS)), st.lists(ADDRESSES, min_size=1))
def test_verdict_is_that_of_the_networks_first_and_again(cidrs: list[str], clients: list[bytes]) -> None:
    allowed = AllowedClients(cidrs)
    for client in clients + clients:
        assert allowed.permits(client) is any(ip_address(client) in ip_network(cidr) for cidr in cidrs)


@given(st.sampled_from(CIDRS))
def test_first_and_last_address_of_a_network_are_in_and_their_neighbours_out(cidr: str) -> None:
    network = ip_network(cidr)
    kind = IPv6Address if isinstance(network, IPv6Network) else IPv4Address
    first, last = int(network.network_address), int(network.broadcast_address)
    allowed = AllowedClients([cidr])
    assert allowed.permits(kind(first).packed)
    assert allowed.permits(kind(last).packed)
    for neighbour in (first - 1, last + 1):
        if 0 <= neighbour < 1 << network.max_prefixlen:
            assert not allowed.permits(kind(neighbour).packed)


@pytest.mark.parametrize(
    ("cidrs", "everybody"),
    [
        (["0.0.0.0/0", "::/0"], True),
        (["127.0.0.0/8", "::/0", "0.0.0.0/0"], True),
        (["0.0.0.0/0"], False),
        (["::/0"], False),
        (["0.0.0.0/1", "128.0.0.0/1", "::/0"], False),
        ([], False),
    ],
)
def test_everybody_is_both_families_whole(cidrs: list[str], *, everybody: bool) -> None:
    assert AllowedClients(cidrs).everybody is everybody


def test_four_octets_are_not_taken_for_the_end_of_an_ipv6_address() -> None:
    assert not AllowedClients(["::/0"]).permits(packed("127.0.0.1"))
    assert not AllowedClients(["0.0.0.0/0"]).permits(packed("::7f00:1"))


def test_nobody_is_permitted_where_nothing_is_written() -> None:
    assert not AllowedClients([]).permits(packed("127.0.0.1"))


def test_a_crowd_of_addresses_does_not_grow_memory_nor_change_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allow, "MAX_SEEN", 100)
    allowed = AllowedClients(["10.0.0.0/9"])

    def crowd(first: int) -> int:
        """Blocks of memory that hold what was seen of 5,000 addresses, all verdicts looked at."""
        before = sys.getallocatedblocks()
        for number in range(first, first + 5000):
            assert allowed.permits(bytes((10, number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF)))
            assert not allowed.permits(bytes((10, 128 | number >> 16 & 0x7F, number >> 8 & 0xFF, number & 0xFF)))
        return sys.getallocatedblocks() - before

    crowd(0)
    assert crowd(5000) < 1000  # a bytes object each, were they all kept: 10,000
