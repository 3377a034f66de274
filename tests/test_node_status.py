"""How a host stands to a plan, piece by piece."""

import dataclasses

import pytest

from forwarder.node import iptables, ruleset
from forwarder.node.blocking import Blocked
from forwarder.node.changes import MARK_OF_ADDRESSES, MARK_OF_LINKS, Address, Link, Seen
from forwarder.node.plan import Kind
from forwarder.node.status import IPVS, Intercepted, Rules, State, status_for
from tests.lab.node_plans import planned

PLAN = planned("169.254.20.10:53", intercept=("10.43.0.100",))
LINK = Link("forwarder0", "dummy", MARK_OF_LINKS, is_up=True)
ADDRESSES = tuple(Address(text, 32, "forwarder0", MARK_OF_ADDRESSES) for text in PLAN.addresses)
SEEN = Seen((LINK,), ADDRESSES)
FOUND = ruleset.Found(is_ours=True, version=ruleset.version_for(PLAN), rules=ruleset.rules_for(PLAN), seconds={})
RULES = Rules(FOUND, {})


def states(seen: Seen = SEEN, rules: Rules = RULES) -> dict[str, tuple[State, bool]]:
    return {piece.name: (piece.state, piece.is_well) for piece in status_for(PLAN, seen, rules, ()).pieces}


def test_all_there() -> None:
    status = status_for(PLAN, SEEN, RULES, ())
    assert {piece.state for piece in status.pieces} == {State.PRESENT}
    assert len(status.pieces) == 4
    assert status.is_complete


def test_nothing_there() -> None:
    status = status_for(PLAN, Seen((), ()), Rules(None, {}), ())
    assert {piece.state for piece in status.pieces} == {State.MISSING}
    assert not status.is_complete


def test_each_piece_is_needed() -> None:
    assert states(Seen((LINK,), ADDRESSES[:1]))["address 10.43.0.100"] == (State.MISSING, False)
    down = dataclasses.replace(LINK, is_up=False)
    assert states(Seen((down,), ADDRESSES))["interface forwarder0"] == (State.MISSING, False)
    theirs = dataclasses.replace(LINK, mac="02:00:00:00:00:01")
    assert states(Seen((theirs,), ADDRESSES))["interface forwarder0"] == (State.FOREIGN, False)


def test_an_address_that_somebody_else_has_serves_as_well() -> None:
    theirs = tuple(Address(text, 24, "eth0") for text in PLAN.addresses)
    found = states(Seen((Link("eth0", "", "", is_up=True),), theirs))
    assert found["address 169.254.20.10"] == (State.FOREIGN, True)
    assert found["interface forwarder0"] == (State.MISSING, True), "nothing would be on it"


def test_under_ipvs_intercept_has_no_effect() -> None:
    theirs = Address("10.43.0.100", 32, IPVS)
    status = status_for(PLAN, Seen((LINK, Link(IPVS, "dummy", "", is_up=False)), (ADDRESSES[0], theirs)), RULES, ())
    assert "IPVS answers before we could" in next(
        piece.remark for piece in status.pieces if piece.name == "address 10.43.0.100"
    )
    assert not status.is_complete


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (dataclasses.replace(FOUND, is_ours=False), State.FOREIGN),
        (dataclasses.replace(FOUND, version="another"), State.MISSING),
        (dataclasses.replace(FOUND, rules=frozenset(sorted(FOUND.rules)[1:])), State.MISSING),
        (None, State.MISSING),
    ],
    ids=["foreign", "another", "partly", "none"],
)
def test_rules(found: ruleset.Found | None, state: State) -> None:
    assert states(rules=Rules(found, {}))["rules, nftables table inet forwarder"] == (state, False)


def test_rules_of_iptables_for_each_family_that_is_listened_on() -> None:
    plan = planned("169.254.20.10:53", "[fd00::10]:53", kind=Kind.IPTABLES)
    nothing = iptables.found_in("")
    pieces = status_for(plan, SEEN, Rules(None, {4: nothing, 6: nothing}), ()).pieces
    assert [piece.name for piece in pieces if piece.name.startswith("rules")] == ["rules, iptables", "rules, ip6tables"]
    assert pieces[-1].state is State.MISSING


def test_who_holds_an_address_is_told_and_decides_nothing() -> None:
    alive = status_for(PLAN, SEEN, Rules(dataclasses.replace(FOUND, seconds={"10.43.0.100": 2.0}), {}), ())
    dead = status_for(PLAN, SEEN, RULES, ())
    assert alive.intercepted == (Intercepted("10.43.0.100", 2.0),)
    assert dead.intercepted == (Intercepted("10.43.0.100", None),)
    assert alive.is_complete
    assert dead.is_complete


def test_who_is_dropped_is_not_complete() -> None:
    assert not status_for(PLAN, SEEN, RULES, (Blocked(("queries",), "a rule"),)).is_complete


def test_nothing_to_set_up_is_complete() -> None:
    status = status_for(planned("127.0.0.1:53"), Seen((), ()), Rules(None, {}), ())
    assert status.pieces == ()
    assert status.is_complete
