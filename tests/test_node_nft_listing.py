"""What nft lists, read: real rules through a real kernel, and what nobody here knows."""

import json

import pytest

from forwarder.node.blocking import blocked, traffic_for
from forwarder.node.nft_listing import tables_in
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.node_plans import planned

TRAFFIC = tuple(traffic_for(planned("169.254.20.10:53", "[fd00::10]:53")))
START = "iifname lo accept; ct state vmap { established : accept, related : accept, invalid : drop };"
PASSING = (
    "meta l4proto { tcp, udp } th dport 53 accept;",
    "udp dport { 53, 5353 } accept; tcp dport 1-1023 accept;",
    "ip daddr 169.254.20.10 accept; ip6 daddr fd00::/8 accept;",
    "ip daddr 169.254.20.1-169.254.20.20 accept; meta nfproto ipv6 accept;",
    "ct state { new, untracked } accept;",
    "ct state new,untracked accept;",
    "iifname { cni0, eth0 } accept;",
    "iifname != eth0 accept;",
    "ip daddr . udp dport { 169.254.20.10 . 53 } accept; meta mark 1 accept;",
    "meta l4proto vmap { udp : accept, tcp : jump more };",
    "jump more;",
    "limit rate 10/second accept;",
    "ip saddr @friends accept; ip6 saddr fd42::/16 accept;",
)
FAILING = (
    "tcp dport 22 accept;",
    "ct state new accept;",
    "ct status dnat accept;",
    "ct mark != 1 accept;",
    "ct direction original accept;",
    "ip protocol icmp accept; icmpv6 type echo-request accept;",
    "tcp dport 53 ct state established accept;",
    "meta l4proto vmap { icmp : accept };",
    "reject with icmpx admin-prohibited;",
    "counter log drop;",
)


def blockers(rules: str) -> list[str]:
    needs_namespaces()
    needs_program("nft", package="nftables")
    text = (
        "table inet guard {\nset friends { type ipv4_addr; elements = { 192.0.2.1 }\n}\n"
        "chain more { udp dport 53 accept; tcp dport 53 accept;\n}\n"
        f"chain input {{ type filter hook input priority 0; policy drop; {START} {rules}\n}}\n}}\n"
    )
    with Network() as network:
        host = network.namespace("host")
        host.feed(text, "nft", "-f", "-")
        listing = json.loads(host.feed("", "nft", "-j", "list", "ruleset"))
    return [one.rule for one in blocked(tables_in(listing, frozenset()), TRAFFIC)]


@pytest.mark.parametrize("rules", PASSING)
def test_what_lets_us_pass(rules: str) -> None:
    assert blockers(rules) == []


@pytest.mark.parametrize("rules", FAILING)
def test_what_does_not(rules: str) -> None:
    (rule,) = blockers(rules)
    assert rule.startswith("table inet guard, chain input")


def listed(*expressions: object, table: str = "guard") -> dict[str, object]:
    place = {"family": "inet", "table": table}
    base = {**place, "name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}
    rule = {**place, "chain": "input", "handle": 7, "comment": "by hand", "expr": list(expressions)}
    return {"nftables": [{"chain": base}, {"rule": rule}]}


def test_a_rule_is_named_by_table_chain_handle_and_comment() -> None:
    (one,) = blocked(tables_in(listed({"drop": None}), frozenset()), TRAFFIC)
    assert one.rule == "table inet guard, chain input, rule with handle 7 (by hand)"


@pytest.mark.parametrize(
    "unknown",
    [
        {"xt": {"type": "match", "name": "bpf"}},
        {"match": {"op": "==", "left": {"osf": {}}, "right": "Linux"}},
        {"match": {"op": "<", "left": {"meta": {"key": "length"}}, "right": 100}},
        {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"novel": 1}}},
        {"novel": None},
        {},
        "novel",
    ],
    ids=str,
)
def test_what_nobody_here_knows_is_no_alarm(unknown: object) -> None:
    assert blocked(tables_in(listed(unknown, {"drop": None}), frozenset()), TRAFFIC) == ()


def test_tables_that_are_read_elsewhere_are_left_out() -> None:
    assert tables_in(listed({"drop": None}), frozenset({("inet", "guard")})) == ()
    assert tables_in({}, frozenset()) == ()
