"""What is said of connection tracking."""

import pytest

from forwarder.doctor.facts import Connection, Connections, Conntrack, Facts, Interface, Rules
from tests.lab.facts import bare, connection, finding, found, node, server

QUIET = {"insert_failed": 0, "drop": 0, "early_drop": 0}


def counted(before: int, after: int, *, entries: int = 10, most: int = 1000) -> Conntrack:
    """insert_failed and drop of the second CPU."""
    rows = [({**QUIET}, {**QUIET, "insert_failed": count, "drop": count}) for count in (before, after)]
    return Conntrack(before=rows[0], after=rows[1], seconds=3.0, entries=entries, most=most)


def test_a_kernel_that_loses_nothing() -> None:
    assert found(bare(server(), conntrack=counted(0, 0))) == {}
    assert found(node(conntrack=counted(0, 0))) == {}


def test_what_is_lost_now_is_a_problem_and_what_was_lost_a_notice() -> None:
    one = finding(bare(server(), conntrack=counted(4, 7)), "conntrack-insert-failed")
    assert one.severity == "problem"
    assert "in these 3.0 s): insert_failed 7 (+3), drop 7 (+3); CPU 1: 7" in one.seen
    assert found(bare(server(), conntrack=counted(7, 7))) == {"conntrack-insert-failed": "notice"}
    assert found(node(conntrack=counted(4, 7))) == {"conntrack-insert-failed": "notice"}, "clients ask past it"


@pytest.mark.parametrize(("entries", "severity"), [(749, None), (750, "notice"), (899, "notice"), (900, "problem")])
def test_a_table_that_fills(entries: int, severity: str | None) -> None:
    told = found(bare(server(), conntrack=counted(0, 0, entries=entries)))
    assert told.get("conntrack-full") == severity


def test_a_table_whose_size_is_not_known() -> None:
    assert found(bare(server(), conntrack=counted(0, 0, entries=900, most=0))) == {}


@pytest.mark.parametrize(
    ("kernel", "races"),
    [
        ("3.10.0-1160.el7.x86_64", 2), ("4.19.29-generic", 2), ("4.20.1", 2), ("5.0.0", 1), ("5.5.19", 1),
        ("5.6.0", 0), ("6.1.0-30-amd64", 0), ("unreadable", 0),
    ],
)  # fmt: skip
def test_kernels(kernel: str, races: int) -> None:
    facts = bare(server(), kernel=kernel, conntrack=counted(0, 0))
    assert found(facts) == ({"kernel-races": "notice"} if races else {})
    if races:
        assert finding(facts, "kernel-races").seen.count("mended in") == races
    assert found(bare(server(), kernel=kernel)) == {}, "what tracks nothing races with nobody"


RULES = Rules(source="nft", untracked_to=("*",), untracked_from=("*",), has_our_table=False, alive={})
NO_RULES = Rules(source="nft", untracked_to=(), untracked_from=(), has_our_table=False, alive={})


def tracked(*some: Connection) -> Connections:
    return Connections(count=len(some), some=some)


TO_US, FROM_US = connection("10.42.0.7", "169.254.20.10"), connection("169.254.20.10", "10.42.0.7")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (node(connections=tracked(TO_US)), {"notrack-ineffective": "problem"}),
        (node(connections=tracked(FROM_US)), {"notrack-ineffective": "problem"}),
        (node(connections=tracked(TO_US), rules=RULES), {"notrack-ineffective": "problem"}),
        (node(connections=tracked(TO_US), rules=NO_RULES), {"notrack-missing": "problem"}),
        (node(connections=tracked(TO_US), rules=None), {"notrack-missing": "problem"}),
        (node(rules=NO_RULES, conntrack=counted(0, 0)), {"notrack-missing": "notice"}),
        (node(rules=NO_RULES), {}),
        (node(rules=None, conntrack=counted(0, 0)), {}),
        (node(rules=RULES, conntrack=counted(0, 0)), {}),
        (node(connections=tracked(connection("10.42.0.7", "192.0.2.53"))), {}),
        (node(connections=None, rules=NO_RULES, conntrack=counted(0, 0)), {}),
    ],
)
def test_whether_the_daemon_is_tracked(facts: Facts, told: dict[str, str]) -> None:
    assert found(facts) == told


def bridged(some: Connection, *, ports: int = 2, setting: int = 1) -> Facts:
    bridge = Interface(name="brq0", kind="bridge", mtu=1500, is_up=True, ports=ports)
    return bare(
        server(),
        settings={"net.bridge.bridge-nf-call-iptables": setting},
        interfaces=(bridge,),
        addresses=("127.0.0.1", "192.0.2.1"),
        connections=tracked(some),
    )


def test_a_bridge_that_is_filtered() -> None:
    foreign = connection("10.8.0.5", "192.0.2.53")
    one = finding(bridged(foreign), "bridge-filtered")
    assert one.severity == "problem"
    assert "1 DNS connections between others are tracked here, as 10.8.0.5 to 192.0.2.53" in one.seen
    for facts in (
        bridged(foreign, setting=0),
        bridged(foreign, ports=0),
        bridged(connection("192.0.2.1", "192.0.2.53")),
        bridged(connection("10.8.0.5", "192.0.2.1")),
        bridged(connection("10.8.0.5", "10.43.0.10", replies_from="10.42.1.16")),
    ):
        assert found(facts) == {}, "off, without ports, our own, or a service that is translated"
