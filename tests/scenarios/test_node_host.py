"""A host as `forwarder node` finds it and leaves it: again and again, killed in the middle, with others' things in its way."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from forwarder.node.changes import MARK_OF_ADDRESSES
from forwarder.node.plan import Kind
from tests.lab.behaviours import answer
from tests.lab.clients import ask, query, rdatas
from tests.lab.conntrack import needs_conntrack, translate_service
from tests.lab.daemon import run_to_end
from tests.lab.host_state import addresses_on, config_file, host_state, node, settled_state, succeeded, up_until_killed
from tests.lab.kube_proxy import FAMILIES, joined
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

BOTH = ["169.254.20.10", "[fd00::10]:5353"]
SERVICES = ["10.43.0.100", "fd43::100"]
FULL = {"listen": {"addresses": BOTH}, "node": {"intercept": SERVICES}}
EVERYTHING = sorted(["169.254.20.10", "fd00::10", *SERVICES])
BEAT = """
import os, socket, sys
os.setresuid(*3 * (int(sys.argv[1]),))
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
try:
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"", (sys.argv[2], int(sys.argv[3])))
except PermissionError:
    print("taken out")
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    needs_namespaces()
    needs_conntrack()
    needs_program("iptables-restore", package="iptables")
    with Network() as network:
        yield network.namespace("host")


def test_killed_in_the_middle_it_leaves_nothing_that_down_does_not_take_away(host: Namespace) -> None:
    """Seven steps: made, set up, four addresses, rules. After an odd one down mends it, after an even one up does first."""
    before = host_state(host)
    with config_file(**FULL) as config:
        for steps in range(1, 8):
            assert up_until_killed(host, config, steps) == -9
            if steps % 2 == 0:
                succeeded(node(host, "up", "--config", config))
                assert addresses_on(host, "forwarder0") == EVERYTHING
            assert host_state(host)["links"] != before["links"], "nothing was begun"
            succeeded(node(host, "down"))
            assert host_state(host) == before
        assert up_until_killed(host, config, 8) == 0, "there are more steps than these"


def test_another_configuration_is_exactly_the_new_state(host: Namespace) -> None:
    before = host_state(host)
    with config_file(**FULL) as first, config_file(listen={"addresses": ["169.254.20.11:53"]}) as second:
        succeeded(node(host, "up", "--config", second))
        wanted = host_state(host)
        succeeded(node(host, "up", "--config", first))
        assert addresses_on(host, "forwarder0") == EVERYTHING
        assert node(host, "status", "--config", second).returncode == 1
        succeeded(node(host, "up", "--config", second))
        assert host_state(host) == wanted
        with config_file(listen={"addresses": ["169.254.20.11"]}, node={"interface": "dns0"}) as third:
            succeeded(node(host, "up", "--config", third))
            assert addresses_on(host, "forwarder0") == []
            assert addresses_on(host, "dns0") == ["169.254.20.11"]
        with config_file() as loopback:
            assert "nothing to set up" in succeeded(node(host, "up", "--config", loopback))
    assert host_state(host) == before


def test_an_existing_interface_is_used_and_stays(host: Namespace) -> None:
    host.add_bridge("br9")
    host.add_address("192.0.2.1/24", interface="br9")
    host.add_address("169.254.20.11/32", interface="lo")
    before = settled_state(host)
    addresses = [*BOTH, "192.0.2.1", "169.254.20.11"]
    with config_file(listen={"addresses": addresses}, node={"interface": "br9"}) as config:
        succeeded(node(host, "up", "--config", config))
        assert addresses_on(host, "br9") == ["169.254.20.10", "192.0.2.1", "fd00::10"]
        told = succeeded(node(host, "status", "--config", config))
        assert "interface br9                         foreign: it was there before, and stays" in told
        assert "address 192.0.2.1                     foreign: on br9, left alone" in told
        assert "address 169.254.20.11                 foreign: on lo, left alone" in told
        assert told.endswith("complete\n")
    succeeded(node(host, "down"))
    assert host_state(host) == before


def test_what_is_somebody_elses_is_refused_and_left_alone(host: Namespace) -> None:
    host.add_bridge("forwarder0")
    with config_file(**FULL) as config:
        before = settled_state(host)
        refused = node(host, "up", "--config", config)
        assert refused.returncode == 1
        assert "the interface forwarder0 (bridge) was made by somebody else" in refused.stderr
        succeeded(node(host, "down"))
        assert host_state(host) == before
        host.ip("link", "del", "forwarder0")
        host.feed("table inet forwarder { chain theirs { accept; }\n}\n", "nft", "-f", "-")
        before = host_state(host)
        refused = node(host, "up", "--config", config)
        assert refused.returncode == 1
        assert "the nftables table inet forwarder was made by somebody else" in refused.stderr
        assert "foreign: somebody else's table" in node(host, "status", "--config", config).stdout
        succeeded(node(host, "down"))
        assert host_state(host) == before


def test_a_rule_that_somebody_took_out_is_seen_and_mended(host: Namespace) -> None:
    with config_file(**FULL) as config:
        succeeded(node(host, "up", "--config", config))
        host.feed("flush chain inet forwarder prerouting", "nft", "-f", "-")
        host.ip("addr", "del", "169.254.20.10/32", "dev", "forwarder0")
        told = node(host, "status", "--config", config)
        assert told.returncode == 1
        assert "partly: queries, from elsewhere and from this host (chain prerouting)" in told.stdout
        lacking = json.loads(node(host, "status", "--config", config, "--json").stdout)
        assert [piece["state"] for piece in lacking["pieces"]].count("missing") == 2
        assert not lacking["complete"]
        succeeded(node(host, "up", "--config", config))
        succeeded(node(host, "status", "--config", config))


def test_only_the_daemons_user_holds_an_address_and_gives_it_back(host: Namespace) -> None:
    """By number: in a cluster nobody knows the name of 65532."""

    def alive() -> list[bool]:
        told = json.loads(node(host, "status", "--config", config, "--json").stdout)
        return [one["alive"] for one in told["intercepted"]]

    def beat(uid: int, address: str, port: int) -> str:
        return host.run(sys.executable, "-c", BEAT, str(uid), address, str(port)).stdout

    with config_file(**FULL) as config:
        succeeded(node(host, "up", "--config", config, "--user", "65532"))
        for uid in (0, 65534):
            assert beat(uid, SERVICES[0], 9) == ""
        assert alive() == [False, False]
        for address in SERVICES:
            assert beat(65532, address, 9) == "taken out\n"
        assert succeeded(node(host, "up", "--config", config, "--user", "65532")) == "nothing to change\n"
        assert alive() == [True, True], "an up that changes nothing ends no takeover"
        assert beat(65532, SERVICES[1], 10) == "taken out\n"
        assert alive()[1] is False


def test_programs_of_the_host_reach_the_service_from_an_address_that_can_be_answered() -> None:
    """Where kube-proxy masquerades nobody, and with nobody of ours alive."""
    needs_namespaces()
    needs_conntrack()
    with ExitStack() as undo:
        cluster = joined(undo.enter_context(Network()))
        family = FAMILIES[0]
        with cluster.servers.inside():
            server = undo.enter_context(ScriptedUpstream(family.server, 53))
        server.default = answer("@ 1 IN A 192.0.2.1")
        translate_service(cluster.node, family.service, family.server, pods="0.0.0.0/0")
        with config_file(**FULL) as config:
            succeeded(node(cluster.node, "up", "--config", config))
        with cluster.node.inside():
            assert rdatas(ask((family.service, 53), query("name.example"))) == ["192.0.2.1"]
        assert server.received[-1].source[0] == family.node


NFTABLES_DROP = """
table inet guard {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state { established, related } accept
        iifname lo accept
        tcp dport 22 accept
    }
}
"""
IPTABLES_DROP = """
*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""
DROPPING = {
    "nftables": ("nft", NFTABLES_DROP, "table inet guard, chain input: its policy"),
    "iptables": ("iptables-restore", IPTABLES_DROP, "iptables table filter, chain INPUT: its policy"),
}


@pytest.mark.parametrize("firewall", DROPPING)
def test_on_a_host_that_drops_by_default_the_rule_is_named_that_drops_us(firewall: str) -> None:
    needs_namespaces()
    needs_program("iptables-restore", package="iptables")
    program, rules, named = DROPPING[firewall]
    words = ("-f", "-") if program == "nft" else ()
    with Network() as network, config_file(listen={"addresses": ["169.254.20.10"]}) as config:
        cluster = joined(network)
        host = cluster.node
        assert "blocked" not in node(host, "up", "--config", config).stderr
        with host.inside():
            server = ScriptedUpstream("169.254.20.10", 53)
        server.default = answer("@ 1 IN A 192.0.2.1")
        with server:
            assert answered(cluster.pod)
            host.feed(rules, program, *words)
            assert not answered(cluster.pod)
            told = node(host, "status", "--config", config)
            assert told.returncode == 1
            assert f"blocked by {named}: queries over UDP to 169.254.20.10; queries over TCP" in told.stdout
            assert "from this host's programs" not in told.stdout
            assert named in node(host, "up", "--config", config).stderr, "up says it too"
            if firewall == "iptables":
                with config_file(listen={"addresses": ["169.254.20.10"]}, node={"rules": "iptables"}) as by_iptables:
                    succeeded(node(host, "up", "--config", by_iptables))
                    assert answered(cluster.pod), "an accept of iptables is final"
                    succeeded(node(host, "status", "--config", by_iptables))
            else:
                host.feed("add rule inet guard input udp dport 53 accept\n", "nft", "-f", "-")
                assert answered(cluster.pod)
                assert "queries over UDP" not in node(host, "status", "--config", config).stdout


def answered(pod: Namespace) -> bool:
    command = pod.command("dig", "+short", "+tries=1", "+time=1", "@169.254.20.10", "name.example")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "192.0.2.1\n"


def test_without_nft_iptables_does_it(host: Namespace) -> None:
    host.feed("*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n-A OUTPUT -d 192.0.2.1/32 -j ACCEPT\nCOMMIT\n", "iptables-restore")
    saved = [rules_of_iptables(host, program) for program in ("iptables-save", "ip6tables-save")]
    with config_file(listen={"addresses": BOTH}, node={"rules": "iptables"}) as config:
        for killed_after in (5, 6):  # made, set up, two addresses; then the rules of IPv4, and of IPv6
            assert up_until_killed(host, config, killed_after, Kind.IPTABLES) == -9
            succeeded(node(host, "down"))
            assert [rules_of_iptables(host, program) for program in ("iptables-save", "ip6tables-save")] == saved
        succeeded(node(host, "up", "--config", config))
        once = host_state(host)
        assert succeeded(node(host, "up", "--config", config)) == "nothing to change\n"
        assert host_state(host) == once
        told = succeeded(node(host, "status", "--config", config))
        assert "rules, iptables        present\nrules, ip6tables       present\ncomplete\n" in told
        host.run("iptables", "-t", "raw", "-F", "FORWARDER-NODE-TO")
        assert "rules, iptables        missing: partly" in node(host, "status", "--config", config).stdout
        with config_file(listen={"addresses": BOTH}) as by_nft:
            succeeded(node(host, "up", "--config", by_nft))
        assert [rules_of_iptables(host, program) for program in ("iptables-save", "ip6tables-save")] == saved
        succeeded(node(host, "up", "--config", config))
        assert "table inet forwarder" not in host_state(host)["rules"]
    succeeded(node(host, "down"))
    assert [rules_of_iptables(host, program) for program in ("iptables-save", "ip6tables-save")] == saved
    succeeded(node(host, "down"))
    with config_file(node={"intercept": SERVICES, "rules": "iptables"}) as config:
        refused = node(host, "up", "--config", config)
    assert refused.returncode == 2
    assert "node.intercept needs nftables" in refused.stderr


def rules_of_iptables(host: Namespace, program: str) -> list[str]:
    """Without comments; tables and chains that decide nothing are left out: the program makes them by looking."""
    lines = host.feed("", program).splitlines()
    return [line for line in lines if not line.startswith(("#", "*", "COMMIT")) and " ACCEPT [" not in line]


def test_addresses_are_nobodys_choice_of_a_source(host: Namespace) -> None:
    """IPv6 ones are of use at once, and all bear our mark."""
    with config_file(**FULL) as config:
        succeeded(node(host, "up", "--config", config))
    (link,) = json.loads(host.feed("", "ip", "-j", "addr", "show", "dev", "forwarder0"))
    for one in link["addr_info"]:
        assert one["metric"] == MARK_OF_ADDRESSES
        assert not one.get("tentative", False)
        assert one["scope"] == "host" if one["family"] == "inet" else one["preferred_life_time"] == 0


def test_who_may_not_is_told_so_in_a_line() -> None:
    needs_namespaces()
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = run_to_end("node", "down", before=nobody)
    assert done.returncode == 1
    assert done.stderr == "forwarder: the table inet forwarder cannot be read: not permitted: it takes root, or CAP_NET_ADMIN\n"
