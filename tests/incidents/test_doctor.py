"""`forwarder doctor` in the places of the six incidents: it names the true cause before the mend, and is content after it.

It is run where somebody suffers, in the pod, the VM or the container host, and on the node where that says more. The places
are those of the incidents' own tests, and so is what mends them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import cluster_dns
from tests.lab.behaviours import Move, Received, addresses, answer, nodata, refusal, silent, sized
from tests.lab.caching_unbound import CachingUnbound
from tests.lab.clients import ask, query, rdatas
from tests.lab.conntrack import leave_untracked, needs_conntrack
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.dnsmasq import Dnsmasq
from tests.lab.docker import PUBLIC, EmbeddedServer, container_resolv_conf
from tests.lab.doctor import Told, examined
from tests.lab.edns_agents import AGENTS
from tests.lab.fast_upstream import FastUpstream
from tests.lab.faults import by_type
from tests.lab.lossy import Lossy
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_filtered_bridges, needs_namespaces, needs_program
from tests.lab.scripted import ScriptedUpstream
from tests.lab.sites import behind_a_bridge, pods_of_a_node, two_nodes

DAEMON = "169.254.20.10"
UPSTREAM_DELAY = 0.002
"""Seconds; an answer quicker than the second query would end the race before it is run."""


@pytest.fixture
def network() -> Iterator[Network]:
    needs_namespaces()
    with Network() as network:
        yield network


def at_once(*asked: tuple[Namespace, tuple[str, ...]]) -> list[Told]:
    """Several doctors at one time: each waits most of the time."""
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda one: examined(one[0], *one[1]), asked))


def is_content(told: Told) -> None:
    """Nothing but notices."""
    assert told.problems == set(), told.text
    assert told.status == 0


def test_s1_a_pod_whose_node_loses_one_of_each_pair(network: Network) -> None:
    needs_conntrack()
    service, server = "10.43.0.100", "10.42.1.16"
    node, other, (direct, pod) = two_nodes(network, service, server, ("direct", "pod"))
    config = f"cluster_domain: cluster.local\nsearch: {{domains: [{cluster_dns.NODES_DOMAIN}]}}\nzones:\n"
    config += (
        f"  - {{zone: cluster.local, upstreams: ['{service}'], transport: tcp}}\n  - {{zone: ., upstreams: ['{service}']}}\n"
    )
    for place, nameserver in ((direct, service), (pod, DAEMON)):
        place.write_resolv_conf(f"nameserver {nameserver}\n{cluster_dns.RESOLV_CONF}")
    node.write_resolv_conf(f"nameserver {DAEMON}\n")
    node.add_address(f"{DAEMON}/32")
    leave_untracked(node, DAEMON)
    with (
        FastUpstream(host=server, delay=UPSTREAM_DELAY, namespace=other, knows="cluster"),
        Daemon(config, hosts=(DAEMON,), namespace=node) as daemon,
    ):
        before, after, on_node = at_once((direct, ()), (pod, ()), (node, ("--config", daemon.config_file)))
    assert before.status == 1
    assert before.problems == {"pair-lost", "search-path"}
    assert "24 of 24 pairs" in before.text
    is_content(after)
    is_content(on_node)


def test_s2_a_pod_whose_answers_get_lost_and_a_name_that_fails(network: Network, tmp_path: Path) -> None:
    needs_program("nft", package="nftables")
    needs_program("sysctl", package="procps")
    server, name = "10.42.0.16", "keydb-0.keydb"
    first = f"{name}.default.svc.cluster.local"
    pod, direct, node, servers = pods_of_a_node(network, server, DAEMON)
    search = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    direct.write_resolv_conf(f"nameserver {server}\n{search}")
    pod.write_resolv_conf(f"nameserver {DAEMON}\n{search}")
    config = f"zones: [{{zone: ., upstreams: ['{server}']}}]\ncluster_domain: cluster.local\n"
    config += f"hosts: {{records: {{'{first}': [192.0.2.10]}}}}\n"
    servers.add_address("10.42.0.17/32")
    half_of = tmp_path / "half.conf"
    half_of.write_text("nameserver 10.42.0.17\n")
    with servers.inside():
        upstream, halved = ScriptedUpstream(server, 53), ScriptedUpstream("10.42.0.17", 53)
    upstream.default = answer(authority=[". 60 IN SOA ns. host. 1 3600 600 86400 60"], rcode="NXDOMAIN")
    upstream.on(f"{first}.", refusal("SERVFAIL"))
    halved.default = by_type(a=upstream.default, aaaa=silent)
    with (
        upstream,
        halved,
        Daemon(config, hosts=(DAEMON,), namespace=node),
        Lossy(node, server, "10.42.3.87", 20),
        Lossy(node, server, "10.42.0.1", 8),
    ):
        before, after, half = at_once((direct, (name,)), (pod, (name,)), (direct, ("--resolv-conf", str(half_of))))
    assert before.status == 1
    assert {"answers-lost", "name-fails"} <= before.problems
    assert not {"pair-lost", "server-silent", "aaaa-silent"} & before.problems
    assert any(f"to A {first}" in seen for seen in before.seen["name-fails"])
    is_content(after)
    assert "aaaa-silent" in half.problems, "the other way into the latch"


def test_s3_a_vm_and_its_compute_node(network: Network, tmp_path: Path) -> None:
    needs_conntrack()
    needs_filtered_bridges()
    server = "192.0.2.53"
    vm, compute, gateway = behind_a_bridge(network, server, DAEMON)
    compute.set_kernel("net.bridge.bridge-nf-call-iptables", 1)
    compute.write_resolv_conf(f"nameserver {DAEMON}\n")
    config = f"zones: [{{zone: ., upstreams: ['{server}']}}]\n"
    with FastUpstream(host=server, delay=UPSTREAM_DELAY, namespace=gateway, knows="cluster"):
        vm.write_resolv_conf(f"nameserver {DAEMON}\nsearch lab.example example.cn\n")
        given = tmp_path / "dhcp.conf"
        given.write_text(f"nameserver {server}\nsearch lab.example example.cn\n")
        with Daemon(config, hosts=(DAEMON,), namespace=compute) as daemon:
            on_compute = (compute, ("--config", daemon.config_file))
            in_vm, tracked, below = at_once((vm, ("--resolv-conf", str(given))), (vm, ()), on_compute)
            leave_untracked(compute, DAEMON)
            compute.feed("", "conntrack", "--flush")
            after = at_once((vm, ()), on_compute)
    assert in_vm.status == 1
    assert in_vm.problems == {"pair-lost"}
    assert "bridge-nf-call-iptables" in in_vm.text
    assert tracked.problems == {"pair-lost"}, "the way to the daemon is raced on as well, without NOTRACK"
    assert {"bridge-filtered", "notrack-missing"} <= below.problems
    for told in after:
        is_content(told)


def test_s4_a_pod_with_a_search_path(network: Network) -> None:
    needs_program("unbound")
    unbound = "169.254.20.11"
    node, direct, pod = (network.namespace(role) for role in ("node", "direct", "pod"))
    for number, (place, server) in enumerate(((direct, unbound), (pod, DAEMON))):
        network.link(place, [f"10.42.{number}.87/24"], node, [f"10.42.{number}.1/24"])
        node.add_address(f"{server}/32")
        place.add_route(f"{server}/32", via=f"10.42.{number}.1")
        place.write_resolv_conf(f"nameserver {server}\nsearch {' '.join(cluster_dns.SEARCH[:3])}\noptions ndots:5\n")
    with node.inside():
        upstream = ScriptedUpstream()

    def answers(received: Received) -> list[Move]:
        return [Move(cluster_dns.response_to(received.octets, ttl=30))]

    upstream.default = answers
    config = f"zones: [{{zone: ., upstreams: ['{upstream.address}']}}]\ncluster_domain: cluster.local\n"
    with (
        upstream,
        CachingUnbound(unbound, f"127.0.0.1@{upstream.port}", namespace=node),
        Daemon(config, hosts=(DAEMON,), namespace=node),
    ):
        before, after = at_once((direct, ()), (pod, ()))
    assert before.status == 1
    assert before.problems == {"search-path"}
    assert "8 queries, 6 of them for names that do not exist (75%)" in before.text
    is_content(after)
    assert "search-path" not in after.severities


def test_s5_a_host_behind_agents_that_do_not_know_edns(network: Network, tmp_path: Path) -> None:
    """Ten agents, as many as go into each resolv.conf; then one daemon that asks them all."""
    host = network.namespace("host")
    host.add_address(f"{DAEMON}/32")
    one = by_type(a=answer("@ 300 IN A 192.0.2.1"), aaaa=nodata("test."))
    many = by_type(a=answer(*addresses(100)), aaaa=nodata("test."))
    with ExitStack() as running:
        zones, hosts = [], []
        for number, made in enumerate(AGENTS.values()):
            host.add_address(f"10.0.0.{number + 1}/32")
            with host.inside():
                agent = ScriptedUpstream(f"10.0.0.{number + 1}", 53)
            agent.default = made(one)
            agent.on("many.a9.test.", made(sized(many)))
            running.enter_context(agent)
            hosts.append(agent.host)
            zones.append(f"{{zone: {'.' if not number else f'a{number}.test'}, upstreams: ['{agent.host}']}}")
        files = [tmp_path / f"{number}.conf" for number in range(0, len(hosts), 3)]
        for number, file in enumerate(files):
            file.write_text("".join(f"nameserver {one}\n" for one in hosts[3 * number : 3 * number + 3]) + "options edns0\n")
        daemon = running.enter_context(Daemon(f"zones: [{', '.join(zones)}]", hosts=(DAEMON,), namespace=host))
        before = at_once(*((host, ("--resolv-conf", str(file), "many.a9.test.")) for file in files))
        host.write_resolv_conf(f"nameserver {DAEMON}\noptions edns0\n")
        names = [f"one.a{number}.test." for number in range(1, len(AGENTS))]
        after = examined(host, "--config", daemon.config_file, *names, "one.test.", "many.a9.test.")
    named = {"edns-broken": set[str](), "size-ignored": set[str]()}
    for told in before:
        assert told.status == 1
        assert told.problems <= named.keys()
        for identifier in told.problems:
            named[identifier] |= {seen.split()[1] for seen in told.seen[identifier]}
    assert named == {"edns-broken": set(hosts[:-1]), "size-ignored": {hosts[-1]}}
    is_content(after)
    assert after.severities["edns-broken"] == "notice", "the daemon bears it"


@pytest.fixture
def container_host(network: Network) -> Namespace:
    """With an address for whoever is asked."""
    host = network.namespace("host")
    for address in ("10.0.0.53", DAEMON, *PUBLIC):
        host.add_address(f"{address}/32")
    return host


def server_at(host: Namespace, address: str) -> ScriptedUpstream:
    """A server that says nothing until it is told to."""
    with host.inside():
        server = ScriptedUpstream(address, 53)
    server.default = silent
    return server


def test_s6_an_alias_that_moved(container_host: Namespace, tmp_path: Path) -> None:
    docker = EmbeddedServer("shop.test.")
    docker.run("db", "172.18.0.5")
    docker.alias("primary", "db")
    upstream = server_at(container_host, "10.0.0.53")
    upstream.default = docker.behaviour()
    through, name = tmp_path / "through.conf", "primary.shop.test"
    through.write_text("nameserver 127.0.0.54\n")
    container_host.write_resolv_conf(f"nameserver {DAEMON}\n")
    config = f"zones: [{{zone: ., upstreams: ['{upstream.host}']}}]"
    with (
        upstream,
        Dnsmasq(container_host, "127.0.0.54", upstream.host),
        Daemon(config, hosts=(DAEMON,), namespace=container_host) as daemon,
    ):
        by_peer = ("--resolv-conf", str(through), "--config", daemon.config_file, name)
        by_daemon = ("--config", daemon.config_file, name)
        with container_host.inside():
            for server in ("127.0.0.54", DAEMON):
                assert rdatas(ask((server, 53), query(f"{name}.")))[-1] == "172.18.0.5"
        docker.run("db", "172.18.0.9")
        before = at_once((container_host, by_peer), (container_host, by_daemon))
        assert run_to_end("flush", "db.shop.test", "--control", daemon.control).returncode == 0
        after = examined(container_host, *by_daemon)
    for told in before:
        assert told.problems == {"servers-disagree"}
        assert "172.18.0.5" in told.text
        assert "172.18.0.9" in told.text
    assert "forwarder flush primary.shop.test." in before[1].text
    is_content(after)


def test_s6_servers_that_nobody_named_and_servers_that_are_not_up(container_host: Namespace, tmp_path: Path) -> None:
    """In a closed network: Docker's 8.8.8.8, and the network's own server before it has booted."""
    fallback, dead, mended = (tmp_path / f"{what}.conf" for what in ("fallback", "dead", "mended"))
    fallback.write_text(container_resolv_conf("nameserver 127.0.0.53\n"))
    dead.write_text("nameserver 10.0.0.53\n")
    mended.write_text(f"nameserver {DAEMON}\n")
    config = "zones: [{zone: ., upstreams: [10.0.0.53]}]\nhosts: {records: {pinned.shop.test: [192.0.2.7]}}"
    with ExitStack() as running:
        for address in PUBLIC:
            running.enter_context(server_at(container_host, address))
        upstream = running.enter_context(server_at(container_host, "10.0.0.53"))
        daemon = running.enter_context(Daemon(config, hosts=(DAEMON,), namespace=container_host))
        by_daemon = ("--resolv-conf", str(mended), "--config", daemon.config_file, "pinned.shop.test.")
        closed, booting, waiting = at_once(
            (container_host, ("--resolv-conf", str(fallback))), (container_host, ("--resolv-conf", str(dead))),
            (container_host, by_daemon),
        )  # fmt: skip
        upstream.default = answer("@ 300 IN A 192.0.2.1")
        after = examined(container_host, *by_daemon)
    assert closed.problems == {"public-resolvers", "server-silent"}
    assert "/etc/docker/daemon.json" in closed.text
    assert booting.problems == {"server-silent"}
    assert waiting.problems == {"zone-unanswered"}, "pinned names are answered; others cannot be"
    is_content(after)


def test_a_healthy_node(network: Network) -> None:
    """Everything as it should be: not a word but about the clock and the buffer, which are the machine's own."""
    needs_conntrack()
    server = "192.0.2.53"
    node, world = network.namespace("node"), network.namespace("world")
    network.link(node, ["192.0.2.1/24"], world, [f"{server}/24"])
    node.add_address(f"{DAEMON}/32")
    leave_untracked(node, DAEMON)
    node.write_resolv_conf(f"nameserver {DAEMON}\nsearch {' '.join(cluster_dns.SEARCH[:3])}\noptions ndots:5\n")
    config = f"zones: [{{zone: ., upstreams: ['{server}']}}]\ncluster_domain: cluster.local\n"
    with (
        FastUpstream(host=server, delay=UPSTREAM_DELAY, namespace=world, knows="cluster"),
        Daemon(config, hosts=(DAEMON,), namespace=node) as daemon,
    ):
        told = examined(node, "--config", daemon.config_file, "svc-web", "www.example.org")
    is_content(told)
    assert told.severities.keys() <= {"clock-free", "receive-buffer-small"}
