"""What is said of the daemon of a configuration."""

import pytest
from msgspec.structs import replace

from forwarder.config import Config, NodeSettings
from forwarder.doctor.facts import DaemonSeen, Facts, Holder, Interface, Rules
from forwarder.doctor.perspective import RESOLVED
from tests.lab.facts import FILE, OURS, bare, config_of, finding, found, node, ours, server, silent, upstream

WELL = DaemonSeen(ready=200, why="ready", metrics={'forwarder_upstream_looped{upstream="192.0.2.53:53"}': 0.0})


def test_a_daemon_that_is_well() -> None:
    assert found(node(daemon=WELL)) == {}
    assert found(node(settings={"net.core.rmem_max": 8 << 20}, daemon=WELL)) == {}


def held(process: str, protocol: str = "udp", address: str = OURS) -> tuple[Holder, ...]:
    return (Holder(address=address, protocol="udp" if protocol == "udp" else "tcp", process=process),)


ABSENT = silent(OURS, "nameserver", "listen")


@pytest.mark.parametrize(
    ("facts", "identifier", "figure"),
    [
        (node(ABSENT, upstream()), "daemon-not-running", "nobody answers at 169.254.20.10"),
        (node(ABSENT, upstream(), holders=held("dnsmasq (812)")), "port-taken", "held by dnsmasq (812)"),
        (node(ABSENT, upstream(), holders=held("dnsmasq (812)", address="0.0.0.0:53")), "port-taken", "dnsmasq"),
        (node(ABSENT, upstream(), holders=held("")), "port-taken", "cannot be seen from here"),
        (node(server(OURS, "nameserver", "listen"), upstream(), holders=None), "port-taken", "held by somebody"),
        (node(daemon=DaemonSeen(ready=503, why="worker 0 starts", metrics={})), "daemon-not-ready", "503: worker 0 starts"),
        (node(addresses=("127.0.0.1", "192.0.2.1")), "address-missing", "169.254.20.10, of 2 addresses"),
        (
            node(daemon=DaemonSeen(ready=200, why="", metrics={'forwarder_upstream_looped{upstream="x"}': 1.0})),
            "forwarding-loop",
            "own queries back to it: 1",
        ),
    ],
)
def test_a_daemon_that_is_not(facts: Facts, identifier: str, figure: str) -> None:
    one = finding(facts, identifier)
    assert one.severity == "problem"
    assert figure in one.seen


def test_a_port_that_somebody_holds_elsewhere_is_not_taken() -> None:
    for address in ("127.0.0.53:53", "169.254.20.10:5300"):
        assert "daemon-not-running" in found(node(ABSENT, upstream(), holders=held("other", address=address)))


@pytest.mark.parametrize(
    ("facts", "identifier"),
    [
        (node(daemon=DaemonSeen(ready=0, why="Connection refused", metrics={})), "pages-unreachable"),
        (node(settings={"net.core.rmem_max": 212_992}), "receive-buffer-small"),
        (
            node(daemon=DaemonSeen(ready=200, why="", metrics={'forwarder_client_repeats_total{after="failure"}': 3.0})),
            "clients-repeat",
        ),
        (node(daemon=DaemonSeen(ready=200, why="", metrics={"forwarder_receive_drops_total": 9.0})), "queries-dropped"),
    ],
)
def test_what_is_worth_knowing(facts: Facts, identifier: str) -> None:
    assert found(facts) == {identifier: "notice"}


def in_file(text: str, **texts: str) -> Facts:
    """A node whose daemon asks the servers of a file."""
    config = config_of("{listen: {addresses: ['169.254.20.10:53']}, zones: [{zone: ., upstreams: [/up.conf]}]}")
    return node(ours(), upstream(), config=config, texts={FILE: "nameserver 169.254.20.10\n", "/up.conf": text} | texts)


def test_circles() -> None:
    itself = "nameserver 169.254.20.10\n"
    assert found(in_file(itself))["upstream-is-self"] == "problem"
    assert found(in_file(f"{itself}nameserver 192.0.2.53\n"))["upstream-is-self"] == "notice"
    stub = "nameserver 127.0.0.53\n"
    assert found(in_file(stub, **{RESOLVED: itself}))["loop-over-resolved"] == "problem"
    assert found(in_file(stub, **{RESOLVED: "nameserver 192.0.2.53\n"})) == {}


def intercepting(alive: tuple[str, ...], *names: str, has_table: bool = True) -> Facts:
    config: Config = replace(config_of(), node=NodeSettings(intercept=("10.43.0.10", "10.43.0.11")))
    us = ("169.254.20.10",)
    rules = Rules(source="nft", untracked_to=us, untracked_from=us, has_our_table=has_table, alive={"alive": alive})
    interfaces = tuple(Interface(name=name, kind="", mtu=1500, is_up=True) for name in names)
    return node(config=config, rules=rules, interfaces=interfaces)


def test_intercepted_addresses() -> None:
    both = ("10.43.0.10", "10.43.0.11")
    assert found(intercepting(both)) == {}
    one = finding(intercepting(both[:1]), "intercept-not-alive")
    assert one.severity == "problem"
    assert "10.43.0.11 is to be intercepted and is not (1 of 2)" in one.seen
    assert "there is no table inet forwarder" in finding(intercepting((), has_table=False), "intercept-not-alive").seen
    assert "IPVS" in finding(intercepting(both, "kube-ipvs0"), "intercept-without-effect").seen
    assert "Cilium" in finding(intercepting(both, "cilium_host"), "intercept-without-effect").seen
    beside = intercepting(both, "cilium_host")
    assert beside.rules is not None
    assert found(replace(beside, rules=replace(beside.rules, has_kube_proxy=True))) == {}, "kube-proxy makes the services"
    assert found(replace(beside, rules=None)) == {"intercept-without-effect": "notice"}, "perhaps it does"


def test_without_a_configuration_nothing_is_said() -> None:
    assert found(bare(server(), settings={"net.core.rmem_max": 1}, daemon=DaemonSeen(ready=503, why="", metrics={}))) == {}
