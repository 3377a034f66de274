"""Rules as nft and iptables-save print them: read by the real programs in a namespace, and read when they are nonsense."""

import json

import pytest

from forwarder.doctor.rules import both, rules_in_iptables, rules_in_nft
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces, needs_program

TABLE = """
table inet forwarder {
    set ours { type ipv4_addr; elements = { 169.254.20.10 } }
    set alive { type ipv4_addr; flags dynamic,timeout; timeout 3m; elements = { 10.43.0.10 } }
    set dead { type ipv4_addr; flags timeout; }
    chain either {
        type filter hook prerouting priority raw;
        ip daddr @ours udp dport 53 notrack
        ip saddr @ours udp sport 53 notrack
        ip daddr { 192.0.2.1, 192.0.2.2 } tcp dport 53 counter notrack
        ip6 daddr fd00::10 udp dport 53 notrack
        ip daddr @alive udp dport 53 notrack
        ip daddr 192.0.2.0/24 notrack
        ip daddr 192.0.2.9 accept
    }
}
"""


def test_what_nft_lists() -> None:
    needs_namespaces()
    nft = needs_program("nft", package="nftables")
    with Network() as network:
        node = network.namespace("node")
        node.feed(TABLE, nft, "-f", "-")
        found = rules_in_nft(node.feed("", nft, "--json", "list", "ruleset"))
        empty = rules_in_nft(network.namespace("other").feed("", nft, "--json", "list", "ruleset"))
    assert found is not None
    assert found.untracked_to == ("169.254.20.10", "192.0.2.1", "192.0.2.2", "fd00::10", "10.43.0.10")
    assert found.untracked_from == ("169.254.20.10",)
    assert found.has_our_table
    assert found.alive == {"alive": ("10.43.0.10",), "dead": ()}
    assert empty is not None
    assert (empty.untracked_to, empty.untracked_from, empty.has_our_table, empty.alive) == ((), (), False, {})


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"nftables": 7}', "[" * 100_000, '{"nftables": null}', "<html>"]
)  # fmt: skip
def test_what_is_no_listing(text: str) -> None:
    assert rules_in_nft(text) is None


NONSENSE: list[object] = [
    7,
    {},
    {"rule": 7},
    {"rule": {}},
    {"rule": {"expr": 7}},
    {"rule": {"expr": [7, {"match": 7}]}},
    {"rule": {"expr": [{"notrack": None}, {"match": {"left": 7}}, {"match": {"left": {"payload": {"field": "daddr"}}}}]}},
    {"set": {"elem": 7, "flags": 7}},
    {"set": {"name": [], "family": {}}},
    {"table": {"name": ["x"], "family": "inet"}},
]


@pytest.mark.parametrize("entry", NONSENSE)
def test_a_listing_with_nonsense_in_it(entry: object) -> None:
    found = rules_in_nft(json.dumps({"nftables": [{"metainfo": {}}, entry]}))
    assert found is not None
    assert found.untracked_to == ()


def test_a_rule_for_everybody() -> None:
    found = rules_in_nft(json.dumps({"nftables": [{"rule": {"expr": [{"notrack": None}]}}]}))
    assert found is not None
    assert found.untracked_to == found.untracked_from == ("*",)


SAVED = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK
-A OUTPUT -s 169.254.20.10/32 -p udp -m udp --sport 53 -j CT --notrack
-A OUTPUT -s 192.0.2.0/24 -j CT --notrack
-A OUTPUT -d 192.0.2.7/32 -j ACCEPT
-A OUTPUT -d 192.0.2.8/32 -j CT --zone 1
COMMIT
"""


def test_what_iptables_saves() -> None:
    found = rules_in_iptables(SAVED)
    assert (found.untracked_to, found.untracked_from) == (("169.254.20.10",), ("169.254.20.10",))
    assert rules_in_iptables("-A PREROUTING -j NOTRACK\n").untracked_to == ("*",)
    assert rules_in_iptables("").untracked_to == ()


@pytest.mark.parametrize("entry", [{"chain": {"name": "KUBE-SERVICES"}}, {"table": {"family": "ip", "name": "kube-proxy"}}])
def test_kube_proxy_is_known_by_its_chains(entry: object) -> None:
    found = rules_in_nft(json.dumps({"nftables": [entry]}))
    assert found is not None
    assert found.has_kube_proxy
    assert rules_in_iptables("*nat\n:KUBE-SERVICES - [0:0]\n").has_kube_proxy
    assert not rules_in_iptables(SAVED).has_kube_proxy


def test_both_together() -> None:
    nft = rules_in_nft('{"nftables": [{"table": {"family": "inet", "name": "forwarder"}}]}')
    assert nft is not None
    found = both(nft, rules_in_iptables(SAVED))
    assert found.source == "nft, iptables"
    assert found.has_our_table
    assert found.untracked_to == ("169.254.20.10",)
