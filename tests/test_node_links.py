"""Links and addresses, against a real kernel; what is done twice is done once."""

from collections.abc import Iterator

import pytest

from forwarder.errors import NodeError
from forwarder.node import links
from forwarder.node.changes import (
    MARK_OF_ADDRESSES,
    MARK_OF_LINKS,
    AddAddress,
    Address,
    MakeLink,
    RaiseLink,
    RemoveAddress,
    RemoveLink,
    Step,
)
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces

UP: tuple[Step, ...] = (MakeLink("test0"), RaiseLink("test0"), AddAddress("192.0.2.1", "test0"), AddAddress("fd00::1", "test0"))
DOWN: tuple[Step, ...] = (RemoveAddress("192.0.2.1", 32, "test0"), RemoveAddress("fd00::1", 128, "test0"), RemoveLink("test0"))


@pytest.fixture
def host() -> Iterator[Namespace]:
    needs_namespaces()
    with Network() as network:
        namespace = network.namespace("host")
        with namespace.inside():
            yield namespace


@pytest.mark.usefixtures("host")
def test_made_and_removed_as_often_as_one_likes() -> None:
    before = links.seen()
    for _ in range(2):
        for step in UP:
            links.do(step)
    seen = links.seen()
    link = seen.link("test0")
    assert link is not None
    assert (link.mac, link.is_up, link.is_ours) == (MARK_OF_LINKS, True, True)
    assert link.kind in links.KINDS
    assert seen.holders("192.0.2.1") == (Address("192.0.2.1", 32, "test0", MARK_OF_ADDRESSES),)
    assert seen.holders("fd00::1") == (Address("fd00::1", 128, "test0", MARK_OF_ADDRESSES),)
    for _ in range(2):
        for step in DOWN:
            links.do(step)
    assert links.seen() == before


def test_what_was_made_of_another_kind_than_wanted_is_said(host: Namespace) -> None:
    has_dummy = host.run("ip", "link", "add", "try0", "type", "dummy").returncode == 0
    assert bool(links.do(MakeLink("test0"))) is not has_dummy


def test_others_addresses_bear_no_mark(host: Namespace) -> None:
    host.add_address("192.0.2.7/24")
    (theirs,) = links.seen().holders("192.0.2.7")
    assert theirs == Address("192.0.2.7", 24, "lo")
    assert not theirs.is_ours


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("step", [RaiseLink("test9"), AddAddress("192.0.2.1", "test9")], ids=str)
def test_an_interface_that_is_not_there(step: Step) -> None:
    with pytest.raises(NodeError, match=r"test9.*: No such device"):
        links.do(step)


def test_without_ipv6_there_the_mend_is_named(host: Namespace) -> None:
    links.do(MakeLink("test0"))
    host.set_kernel("net.ipv6.conf.test0.disable_ipv6", 1)
    with pytest.raises(NodeError, match=r"address fd00::1 cannot be added to test0: IPv6 is off there: sysctl"):
        links.do(AddAddress("fd00::1", "test0"))
