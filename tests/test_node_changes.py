"""What is done to links and addresses: the difference between plan and host, and never to what is somebody else's."""

import pytest

from forwarder.errors import NodeError
from forwarder.node.changes import (
    MARK_OF_ADDRESSES,
    MARK_OF_LINKS,
    AddAddress,
    Address,
    Link,
    MakeLink,
    RaiseLink,
    RemoveAddress,
    RemoveLink,
    Seen,
    is_carried,
    others_with,
    sentence_for,
    steps_down,
    steps_up,
)
from tests.lab.node_plans import planned

LO = Link("lo", "", "00:00:00:00:00:00", is_up=True)
ETH0 = Link("eth0", "", "02:00:00:00:00:01", is_up=True)
OURS = Link("forwarder0", "dummy", MARK_OF_LINKS, is_up=True)
PLAN = planned("192.0.2.1:53", "[fd00::10]:53")


def marked(text: str, interface: str = "forwarder0") -> Address:
    return Address(text, 128 if ":" in text else 32, interface, MARK_OF_ADDRESSES)


COMPLETE = Seen((LO, ETH0, OURS), (marked("192.0.2.1"), marked("fd00::10")))


def test_from_nothing() -> None:
    assert steps_up(PLAN, Seen((LO,), ())) == (
        MakeLink("forwarder0"),
        RaiseLink("forwarder0"),
        AddAddress("192.0.2.1", "forwarder0"),
        AddAddress("fd00::10", "forwarder0"),
    )


def test_what_is_there_is_not_done_again() -> None:
    assert steps_up(PLAN, COMPLETE) == ()


@pytest.mark.parametrize("address", COMPLETE.addresses)
def test_only_what_lacks_is_done(address: Address) -> None:
    left = tuple(one for one in COMPLETE.addresses if one != address)
    assert steps_up(PLAN, Seen(COMPLETE.links, left)) == (AddAddress(address.text, "forwarder0"),)


def test_an_interface_of_ours_that_is_down_is_set_up() -> None:
    down = Link("forwarder0", "dummy", MARK_OF_LINKS, is_up=False)
    assert steps_up(PLAN, Seen((LO, down), COMPLETE.addresses)) == (RaiseLink("forwarder0"),)


def test_addresses_of_a_former_configuration_go_after_the_new_ones_came() -> None:
    steps = steps_up(planned("192.0.2.2:53"), COMPLETE)
    assert steps == (
        AddAddress("192.0.2.2", "forwarder0"),
        RemoveAddress("192.0.2.1", 32, "forwarder0"),
        RemoveAddress("fd00::10", 128, "forwarder0"),
    )


def test_a_former_interface_goes_with_all_that_is_on_it() -> None:
    steps = steps_up(planned("192.0.2.1:53", interface="dns0"), COMPLETE)
    assert steps == (MakeLink("dns0"), RaiseLink("dns0"), AddAddress("192.0.2.1", "dns0"), RemoveLink("forwarder0"))


def test_an_address_that_somebody_else_has_is_left_alone() -> None:
    seen = Seen((LO, ETH0, OURS), (Address("192.0.2.1", 24, "eth0"), marked("fd00::10")))
    assert steps_up(PLAN, seen) == ()
    assert others_with("192.0.2.1", seen) == ("eth0",)
    assert not is_carried("192.0.2.1", PLAN, seen)


def test_a_named_interface_stays_as_it_is_and_loses_ours_alone() -> None:
    plan = planned("192.0.2.1:53", interface="eth0")
    theirs = Address("198.51.100.1", 24, "eth0")
    down = Link("eth0", "", "02:00:00:00:00:01", is_up=False)
    assert steps_up(plan, Seen((LO, down), (theirs,))) == (AddAddress("192.0.2.1", "eth0"),)
    assert steps_down(Seen((LO, down), (theirs, marked("192.0.2.1", "eth0")))) == (RemoveAddress("192.0.2.1", 32, "eth0"),)


def test_an_interface_of_our_name_that_we_did_not_make_is_refused() -> None:
    with pytest.raises(NodeError, match=r"the interface forwarder0 \(bridge\) was made by somebody else"):
        steps_up(PLAN, Seen((LO, Link("forwarder0", "bridge", "02:00:00:00:00:09", is_up=True)), ()))


def test_an_address_on_our_interface_is_ours_where_the_kernel_keeps_no_mark() -> None:
    assert steps_up(planned("192.0.2.1:53"), Seen((OURS,), (Address("192.0.2.1", 32, "forwarder0"),))) == ()


def test_down_takes_ours_and_nothing_else() -> None:
    theirs = Address("192.0.2.9", 24, "eth0")
    seen = Seen(COMPLETE.links, (*COMPLETE.addresses, theirs, marked("192.0.2.7", "eth0")))
    assert steps_down(seen) == (RemoveAddress("192.0.2.7", 32, "eth0"), RemoveLink("forwarder0"))
    assert steps_down(Seen((LO, ETH0), (theirs,))) == ()


def test_nothing_to_be_on_it_nothing_made() -> None:
    assert steps_up(planned("127.0.0.1:53"), Seen((LO,), ())) == ()
    assert steps_up(planned("127.0.0.1:53"), COMPLETE) == (RemoveLink("forwarder0"),)


def test_steps_in_words() -> None:
    assert [sentence_for(step) for step in steps_up(planned("192.0.2.2:53", interface="dns0"), COMPLETE)] == [
        "interface dns0 made",
        "interface dns0 set up",
        "address 192.0.2.2 added to dns0",
        "interface forwarder0 removed",
    ]
    assert sentence_for(RemoveAddress("192.0.2.1", 32, "eth0")) == "address 192.0.2.1 removed from eth0"
