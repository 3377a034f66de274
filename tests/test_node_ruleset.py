"""The table: nft reads it, and what nft then lists is recognised."""

import json
from collections.abc import Mapping

import pytest

from forwarder.node import ruleset
from forwarder.node.plan import Plan
from tests.lab.namespaces import Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.node_plans import planned

FULL = planned("169.254.20.10:53", "[fd00::10]:5353", intercept=("10.43.0.100", "fd43::100"))
PLANS = {
    "full": FULL,
    "IPv4": planned("169.254.20.10:53"),
    "IPv6": planned("[fd00::10]:53", intercept=("fd43::100",)),
    "intercepted alone": planned("127.0.0.1:53", intercept=("10.43.0.100",)),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_nft_obeys_it_and_what_it_lists_is_what_was_to_be(plan: Plan) -> None:
    needs_namespaces()
    needs_program("nft", package="nftables")
    with Network() as network:
        host = network.namespace("host")
        for text in (ruleset.text_for(plan), ruleset.text_for(plan)):
            host.feed(text, "nft", "-f", "-")
            found = ruleset.found_in(json.loads(host.feed("", "nft", "-j", "list", "table", "inet", "forwarder")))
            assert found is not None
            assert found.is_ours
            assert found.version == ruleset.version_for(plan)
            assert found.rules == ruleset.rules_for(plan)
            assert found.seconds == {}
        host.feed(ruleset.removal_text(), "nft", "-f", "-")
        host.feed(ruleset.removal_text(), "nft", "-f", "-")
        assert host.feed("", "nft", "list", "ruleset") == ""


def test_without_an_intercepted_address_it_has_no_sets_and_translates_nothing() -> None:
    text = ruleset.text_for(PLANS["IPv4"])
    assert "set " not in text.replace("delete ", "")
    assert "type nat" not in text


def test_the_user_and_the_port_of_renewals() -> None:
    text = ruleset.text_for(FULL)
    assert "meta skuid 65532 ip daddr 10.43.0.100 udp dport 9 update @alive4 { ip daddr timeout 2800ms } drop" in text
    assert "meta skuid 65532 ip6 daddr fd43::100 udp dport 10 delete @alive6 { ip6 daddr } drop" in text


def test_nothing_of_an_intercepted_address_is_untracked_for_good_on_its_way_to_us() -> None:
    lines = [line for line in ruleset.text_for(FULL).splitlines() if "notrack" in line and "daddr" in line]
    assert len(lines) == 10
    unconditional = [line for line in lines if "@" not in line]
    assert unconditional
    assert not any("10.43.0.100" in line or "fd43::100" in line for line in unconditional)


def test_every_change_of_the_plan_is_another_version() -> None:
    plans = [*PLANS.values(), planned("169.254.20.10:54"), planned("169.254.20.10:53", interface="eth0")]
    assert len({ruleset.version_for(plan) for plan in plans}) == len(plans) - 1, "the interface is not in the rules"


def test_every_rule_has_a_name_of_its_own_in_its_chain() -> None:
    text = ruleset.text_for(FULL)
    assert len(ruleset.rules_for(FULL)) == text.count("comment")
    statements = [
        line
        for line in text.splitlines()
        if line.startswith("\t\t") and line.split()[0] not in {"type", "size", "flags", "timeout"}
    ]
    assert all("comment" in line for line in statements)


def listing(*objects: Mapping[str, object]) -> dict[str, object]:
    return {"nftables": [{"metainfo": {"version": "1.0.6"}}, *objects]}


def test_no_table_and_somebody_elses() -> None:
    table = {"table": {"family": "inet", "name": "forwarder", "handle": 1}}
    other = {"table": {"family": "ip", "name": "forwarder", "handle": 2}}
    assert ruleset.found_in(None) is None
    assert ruleset.found_in(listing(other)) is None
    theirs = ruleset.found_in(listing(table))
    assert theirs is not None
    assert not theirs.is_ours


def test_elements_and_what_is_left_of_their_lives() -> None:
    table = {"table": {"family": "inet", "name": "forwarder", "handle": 1}}
    element = {"elem": {"val": "10.43.0.100", "timeout": 3, "expires": 2}}
    alive = {"set": {"family": "inet", "table": "forwarder", "name": "alive4", "elem": [element]}}
    streams = {"set": {"family": "inet", "table": "forwarder", "name": "streams4", "elem": [element]}}
    found = ruleset.found_in(listing(table, streams, alive))
    assert found is not None
    assert found.seconds == {"10.43.0.100": 2.0}
