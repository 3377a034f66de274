"""What is said of the clock and the links of a host."""

import pytest

from forwarder.doctor.facts import Clock, Interface
from tests.lab.facts import AT, bare, finding, found, reply, server


def test_a_clock_that_is_right() -> None:
    assert found(bare(server(), clock=Clock(is_synchronised=True, error=0.01))) == {}
    assert found(bare(server(large=reply("NS .")))) == {}, "without a signature nothing is known"


@pytest.mark.parametrize("window", [(AT + 3600, AT + 7200), (AT - 7200, AT - 3600)])
def test_a_clock_outside_of_what_was_just_signed(window: tuple[float, float]) -> None:
    off = server(large=reply("NS .", signed=window))
    one = finding(bare(off), "clock-wrong")
    assert one.severity == "problem"
    assert "2027-01-15 08:00 UTC" in one.seen
    within = server("192.0.2.54:53", large=reply("NS .", signed=(AT - 1, AT + 1)))
    assert found(bare(off, within)) == {}, "one server that keeps an old answer is not the clock"


def test_a_clock_of_another_age_and_one_that_nothing_keeps_right() -> None:
    assert found(bare(server(large=None, large_tcp=None), at=1000.0)) == {"clock-wrong": "problem"}
    assert found(bare(server(), clock=Clock(is_synchronised=False, error=16.0))) == {"clock-free": "notice"}


def link(name: str, mtu: int, kind: str = "", *, is_up: bool = True, lower: tuple[str, ...] = ()) -> Interface:
    return Interface(name=name, kind=kind, mtu=mtu, is_up=is_up, lower=lower)


@pytest.mark.parametrize(
    "links",
    [
        [link("eth0", 1500), link("flannel.1", 1450, "vxlan", lower=("eth0",))],
        [link("eth0", 9000), link("flannel.1", 8950, "vxlan", lower=("eth0",)), link("eth0.5", 9000, "vlan", lower=("eth0",))],
        [link("eth0", 1280)],
        [link("eth0", 500, is_up=False)],
        [link("veth0", 1500, lower=("gone",))],
    ],
)
def test_links_that_fit(links: list[Interface]) -> None:
    assert found(bare(server(), interfaces=tuple(links))) == {}


def test_links_that_do_not() -> None:
    overlay = (link("eth0", 1500), link("flannel.1", 1500, "vxlan", lower=("eth0",)))
    one = finding(bare(server(), interfaces=overlay), "mtu-overlay")
    assert one.severity == "problem"
    assert "needs 1550 of eth0, which has 1500" in one.seen
    assert one.mend == "ip link set flannel.1 mtu 1450"
    assert found(bare(server(), interfaces=(link("eth0", 1279),))) == {"mtu-small": "problem"}
