"""Kubernetes, `ndots:5`: one name becomes eight queries, and three of four queries that leave the node are NXDOMAIN.

A pod's resolv.conf has three search domains, and `ndots:5` has the libc try them before a name with fewer dots than five as it
is. `api.example.com` is asked for as `api.example.com.default.svc.cluster.local` and so on, four names, A and AAAA of each. A
cache helps with names that come again; of each name asked for the first time the cluster's DNS hears all eight queries.

The daemon is told `cluster_domain: cluster.local`. When two names below `com.svc.cluster.local` did not exist, it asks whether
that exists itself; from then on everything below is denied on the node, names never asked before included.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import cluster_dns
from tests.lab.behaviours import Move, Received, answer, nodata
from tests.lab.caching_unbound import CachingUnbound
from tests.lab.daemon import Daemon
from tests.lab.faults import by_type
from tests.lab.libcs import compiled_for_glibc, lookups
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream

POD, NODE, DAEMON, UNBOUND = "10.42.2.87", "10.42.2.1", "169.254.20.10", "169.254.20.11"
SEARCH = cluster_dns.SEARCH[:3]
NAMES = 2000
EXPANSIONS = 2 * len(SEARCH) * NAMES
"""Queries of the search path, all of them denied."""
NEGATIVE_TTL = 30
"""Seconds; the whole run takes less."""
MOST_EXPANSIONS = 40
LEAST_HIT_RATIO = 0.74
"""Of 0.75: the two queries for each name itself are new."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A pod that may be told whom to ask, its node, and the DNS that both caches ask."""

    pod: Namespace
    node: Namespace
    upstream: ScriptedUpstream
    program: Path

    def expansions(self) -> int:
        """Queries of the search path that reached the cluster's DNS."""
        return sum(one.name.lower().endswith(".cluster.local.") for one in self.upstream.received)

    def look_up(self, server: str, names: list[str]) -> float:
        """All of them in one process, each found as it should be; the seconds it took."""
        self.pod.write_resolv_conf(f"nameserver {server}\nsearch {' '.join(SEARCH)}\noptions ndots:5\n")
        self.upstream.received.clear()
        begin = time.monotonic()
        found = lookups(self.pod, self.program, names)
        seconds = time.monotonic() - begin
        assert [set(one.addresses) for one in found] == [cluster_dns.addresses_of(name) for name in names]
        return seconds


def answers(received: Received) -> list[Move]:
    """The cluster's DNS, and the world behind it."""
    return [Move(cluster_dns.response_to(received.octets, ttl=NEGATIVE_TTL))]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Pod and node; the DNS answers on the node's loopback."""
    needs_namespaces()
    program = compiled_for_glibc(tmp_path)
    with Network() as network:
        pod, node = network.namespace("pod"), network.namespace("node")
        network.link(pod, [f"{POD}/24"], node, [f"{NODE}/24"])
        for address in (DAEMON, UNBOUND):
            node.add_address(f"{address}/32")
            pod.add_route(f"{address}/32", via=NODE)
        with node.inside():
            upstream = ScriptedUpstream()
        upstream.default = answers
        with upstream:
            yield Cluster(pod, node, upstream, program)


def config(cluster: Cluster, *, more: str = "") -> str:
    """The daemon's; `more` lines beside the zones."""
    return f"zones: [{{zone: ., upstreams: ['{cluster.upstream.address}']}}]\n{more}"


def test_names_asked_for_the_first_time(cluster: Cluster) -> None:
    """2,000 names of one top-level domain: all 12,000 expansions through unbound, a few dozen through the daemon."""
    needs_program("unbound")
    names = [f"api.shop{number}.com" for number in range(NAMES)]
    with ExitStack() as running:
        port = cluster.upstream.port
        running.enter_context(CachingUnbound(UNBOUND, f"127.0.0.1@{port}", namespace=cluster.node))
        seconds = cluster.look_up(UNBOUND, names)
        told = f"\nthrough unbound: {cluster.expansions()} expansions asked upstream, {seconds:.1f} s"
        assert cluster.expansions() >= EXPANSIONS
    with Daemon(config(cluster, more="cluster_domain: cluster.local"), hosts=(DAEMON,), namespace=cluster.node) as daemon:
        seconds = cluster.look_up(DAEMON, names)
        assert seconds < NEGATIVE_TTL, "the run took longer than a denial lasts: it shows nothing"
        asked, in_all = cluster.expansions(), daemon.metric("forwarder_responses_total")
        missed = sum(daemon.metric("forwarder_responses_total", source=source) for source in ("upstream", "failure"))
        denied = daemon.metric("forwarder_responses_total", source="denial")
    told += (
        f"\nthrough the daemon: {asked}, {seconds:.1f} s; hit ratio {1 - missed / in_all:.4f}, denied on the node {denied:.0f}"
    )
    sys.stdout.write(told)
    assert asked <= MOST_EXPANSIONS
    assert 1 - missed / in_all >= LEAST_HIT_RATIO
    assert denied >= EXPANSIONS - MOST_EXPANSIONS


def test_a_service_is_found_in_spite_of_all_denials(cluster: Cluster) -> None:
    """By its short name, by `name.namespace` and whole; one that appears later too, once the denial of its name has ended."""
    with Daemon(config(cluster, more="cluster_domain: cluster.local"), hosts=(DAEMON,), namespace=cluster.node):
        cluster.look_up(DAEMON, [f"api.shop{number}.com" for number in range(10)])
        cluster.look_up(DAEMON, ["svc-web", "svc-web.shop", "svc-web.shop.svc", "svc-web.default", "svc-db"])


def test_a_service_that_is_created_is_seen_within_max_negative_ttl(cluster: Cluster) -> None:
    """Its namespace did not exist, and was cut; within `max_negative_ttl` it does."""
    zones = (
        f"zones: [{{zone: ., upstreams: ['{cluster.upstream.address}'], max_negative_ttl: 2s}}]\ncluster_domain: cluster.local"
    )
    with Daemon(zones, hosts=(DAEMON,), namespace=cluster.node) as daemon:
        cluster.pod.write_resolv_conf(f"nameserver {DAEMON}\n")
        wanted = "svc-new.later.svc.cluster.local"
        lookups(cluster.pod, cluster.program, [f"svc-{number}.later.svc.cluster.local" for number in range(5)])
        before = len(cluster.upstream.asked(wanted))
        (found,) = lookups(cluster.pod, cluster.program, [wanted])
        assert found.error
        assert len(cluster.upstream.asked(wanted)) == before, "denied by the cut"
        assert daemon.metric("forwarder_responses_total", source="denial") > 0
        created = time.monotonic()
        cluster.upstream.on("later.svc.cluster.local.", nodata("cluster.local."))
        cluster.upstream.on(f"{wanted}.", by_type(a=answer("@ 30 IN A 192.0.2.9"), aaaa=nodata("cluster.local.")))
        wait_for(lambda: not lookups(cluster.pod, cluster.program, [wanted])[0].error, "the service is found")
        assert time.monotonic() - created < 3.0, "2 s, and the second that a lookup and its look may take"


def test_off_means_off(cluster: Cluster) -> None:
    """`search.nxdomain_cut: false`: every expansion is asked, but AAAA of what does not exist for A."""
    more = "cluster_domain: cluster.local\nsearch: {nxdomain_cut: false}"
    with Daemon(config(cluster, more=more), hosts=(DAEMON,), namespace=cluster.node):
        cluster.look_up(DAEMON, [f"api.shop{number}.com" for number in range(20)])
        assert cluster.expansions() >= 3 * 20
