"""The order of things; `tests/scenarios/test_node_host.py` has the rest."""

from collections.abc import Iterator

import pytest

from forwarder.errors import NodeError
from forwarder.node import links, programs, undertaking
from forwarder.node.plan import Kind
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.node_plans import planned

PLAN = planned("169.254.20.10:53", intercept=("10.43.0.100",))


@pytest.fixture
def host() -> Iterator[Namespace]:
    needs_namespaces()
    needs_program("nft", package="nftables")
    with Network() as network:
        namespace = network.namespace("host")
        with namespace.inside():
            yield namespace


@pytest.mark.usefixtures("host")
def test_rules_come_last_and_go_first() -> None:
    """A service address is on no interface of ours without them longer than it takes to write them."""
    told: list[str] = []
    undertaking.up(PLAN, told.append)
    assert told[-1] == "rules written: nftables table inet forwarder"
    assert undertaking.status(PLAN).is_complete
    del told[:]
    undertaking.down(told.append)
    assert told == ["rules removed: nftables table inet forwarder", "interface forwarder0 removed"]
    undertaking.down(told.append)
    assert len(told) == 2


@pytest.mark.usefixtures("host")
def test_who_has_nothing_to_set_up_leaves_nothing_behind() -> None:
    told: list[str] = []
    undertaking.up(PLAN, told.append)
    undertaking.up(planned("127.0.0.1:53"), told.append)
    assert links.seen().link("forwarder0") is None
    assert programs.table_listed() is None


@pytest.mark.usefixtures("host")
def test_nothing_is_begun_where_the_table_is_somebody_elses() -> None:
    programs.load("table inet forwarder { }\n")
    with pytest.raises(NodeError, match="nft delete table inet forwarder"):
        undertaking.up(PLAN, print)
    assert links.seen().link("forwarder0") is None
    undertaking.down(print)
    assert programs.table_listed() is not None


@pytest.mark.usefixtures("host")
def test_from_one_sort_of_rules_to_the_other() -> None:
    needs_program("iptables-restore", package="iptables")
    by_iptables = planned("169.254.20.10:53", kind=Kind.IPTABLES)
    undertaking.up(planned("169.254.20.10:53"), print)
    undertaking.up(by_iptables, print)
    assert programs.table_listed() is None
    assert undertaking.status(by_iptables).is_complete
    undertaking.up(planned("169.254.20.10:53"), print)
    assert "FORWARDER" not in programs.saved(4)
