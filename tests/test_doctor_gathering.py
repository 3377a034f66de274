"""The host looked at for real, in namespaces: counters that grow, connections, rules, links, sockets, the clock."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forwarder.doctor.facts import Facts, decoded
from tests.lab.facts import finding, found
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.scripted import ScriptedUpstream

SERVER = "192.0.2.53"
CLASHING = """
table ip clash {
    chain leaving {
        type filter hook output priority -300;
        udp dport 53 ct original zone set numgen inc mod 2 map { 0 : 1, 1 : 2 }
    }
}
"""
"""Two packets of one socket are two connections for the kernel, whose replies are one: the second cannot be inserted."""
AGAIN = 2
"""Queries that may have been lost and sent again, so that nobody but the kernel knows of it."""


def gathered(namespace: Namespace, *arguments: str, before: tuple[str, ...] = ()) -> Facts:
    """`forwarder doctor --gather -` in there."""
    done = namespace.run(*before, sys.executable, "-m", "forwarder.doctor", "--gather", "-", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return decoded(done.stdout.encode(), "stdout")


@pytest.fixture(scope="module")
def facts() -> Iterator[Facts]:
    """A node whose server refuses, whose overlay is too large, and whose kernel loses the second of two packets."""
    needs_namespaces()
    nft = needs_program("nft", package="nftables")
    with Network() as network:
        node, other = network.namespace("node"), network.namespace("other")
        near, _ = network.link(node, ["192.0.2.1/24", "fd00::1/64"], other, [f"{SERVER}/24"])
        node.ip("link", "add", "flannel.1", "type", "vxlan", "id", "1", "dev", near, "dstport", "8472")
        node.ip("link", "set", "flannel.1", "up")
        node.ip("link", "set", near, "mtu", "1400")  # as when somebody mends the underlay, and forgets what is above it
        node.add_bridge("br0")
        port, _ = network.link(node, [], other, [])
        node.add_port("br0", port)
        node.feed(CLASHING, nft, "-f", "-")
        rule = ("PREROUTING", "-d", "192.0.2.77/32", "-p", "udp", "--dport", "53", "-j", "NOTRACK")
        node.feed("", needs_program("iptables"), "-t", "raw", "-A", *rule)
        node.write_resolv_conf(f"nameserver {SERVER}\n")
        with other.inside():
            server = ScriptedUpstream(SERVER, 53)
        with server, node.inside():
            holder = ScriptedUpstream("127.0.0.1", 53)
            with holder:
                yield gathered(node)


def test_counters_and_connections(facts: Facts) -> None:
    """A port that was drawn before, for another socket, loses a query too: now and then one is more than what pairs lost."""
    assert facts.conntrack is not None
    assert facts.conntrack.most > 0
    lost = sum(row["insert_failed"] for row in facts.conntrack.after)
    (server,) = facts.servers
    together, apart = server.together, server.apart
    assert together is not None
    assert apart is not None
    assert together.halves == together.sent
    assert 0 <= lost - together.lost - apart.lost <= AGAIN
    assert facts.connections is not None
    assert any((one.source, one.destination) == ("192.0.2.1", SERVER) for one in facts.connections.some), "our own queries"
    told = found(facts)
    assert (told["conntrack-insert-failed"], told["pair-lost"]) == ("problem", "problem")
    assert f"insert_failed {lost} (+{lost})" in finding(facts, "conntrack-insert-failed").seen


def test_links_and_addresses(facts: Facts) -> None:
    links = {one.name: one for one in facts.interfaces or ()}
    assert (links["flannel.1"].kind, links["flannel.1"].mtu) == ("vxlan", 1450)
    assert len(links["flannel.1"].lower) == 1
    assert (links["br0"].kind, links["br0"].ports, links["br0"].is_up) == ("bridge", 1, True)
    assert {"127.0.0.1", "192.0.2.1", "fd00::1"} <= set(facts.addresses or ())
    assert found(facts)["mtu-overlay"] == "problem"


def test_sockets_clock_and_rules(facts: Facts) -> None:
    holders = {(one.address, one.protocol) for one in facts.holders or ()}
    assert holders == {("127.0.0.1:53", "udp"), ("127.0.0.1:53", "tcp")}
    assert all("(" in one.process for one in facts.holders or ())
    assert facts.clock is not None
    assert facts.rules is not None
    assert facts.rules.source == "nft, iptables", "nft cannot read what iptables made"
    assert facts.rules.untracked_to == ("192.0.2.77",)
    assert facts.unknown == {}


def test_the_server_was_asked(facts: Facts) -> None:
    (server,) = facts.servers
    assert (server.address, server.roles) == (f"{SERVER}:53", ("nameserver",))
    assert found(facts)["server-refuses"] == "problem"


def test_what_is_not_permitted_is_said_and_is_no_health(tmp_path: Path) -> None:
    """Without capabilities: rules and connections cannot be looked at, nor who holds a port of another's."""
    needs_namespaces()
    setpriv = needs_program("setpriv", package="util-linux")
    with Network() as network:
        node = network.namespace("node")
        node.feed("table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }", "nft", "-f", "-")
        file = tmp_path / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\n")
        less = (
            setpriv,
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        )
        told = gathered(node, "--resolv-conf", "/etc/hostname", before=less)
    assert told.rules is None
    assert "run it as root" in told.unknown["the firewall's rules"]
    assert told.connections is None
