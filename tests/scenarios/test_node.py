"""A node between pods and the cluster's DNS: the daemon takes the service address over while it lives, and gives it back.

Real rules of kube-proxy's shape, real kernel, real daemon as another user. Which answers came from whom is seen by the
addresses in them: the cluster's own server and the daemon's upstream say different things.
"""

import functools
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

from tests.lab.behaviours import answer
from tests.lab.clients import TcpClient, UdpClient, ask, ask_tcp, query, rdatas
from tests.lab.conntrack import needs_conntrack
from tests.lab.daemon import Daemon
from tests.lab.host_state import config_file, host_state, node, succeeded
from tests.lab.kube_proxy import FAMILIES, Cluster, joined, proxy_services
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_namespaces, needs_program
from tests.lab.patience import wait_for
from tests.lab.scripted import ScriptedUpstream

BY_CLUSTER, BY_DAEMON = ["192.0.2.1"], ["192.0.2.2"]
LISTEN = ("169.254.20.10", "fd00::10")
NAME = "name.example"
SETTINGS = {
    "listen": {"addresses": [f"{LISTEN[0]}:53", f"[{LISTEN[1]}]:53"], "allow": ["any"]},
    "node": {"intercept": [family.service for family in FAMILIES]},
    "user": "nobody",
}
ENDS_WITHIN = 4.0
"""Seconds: after 2.8 the service address is the cluster's again, and two clients in turn have asked."""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """The cluster, and its servers."""

    cluster: Cluster
    proxy: str


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def kubernetes(request: pytest.FixtureRequest) -> Iterator[Kubernetes]:
    needs_namespaces()
    needs_conntrack()
    needs_program("iptables-restore", package="iptables")
    with ExitStack() as undo:
        cluster = joined(undo.enter_context(Network()))
        proxy_services(cluster.node, request.param)
        servers = []
        with cluster.servers.inside():
            for family in FAMILIES:
                servers += [(ScriptedUpstream(family.server, port), BY_CLUSTER) for port in (53, 9153)]
                servers.append((ScriptedUpstream(family.upstream, 53), BY_DAEMON))
        for server, addresses in servers:
            server.default = answer(f"@ 1 IN A {addresses[0]}")
            undo.enter_context(server)
        yield Kubernetes(cluster, request.param)


def asked(namespace: Namespace, address: str, port: int = 53) -> list[list[str]]:
    """What is answered over UDP and over TCP."""
    with namespace.inside():
        return [rdatas(way((address, port), query(NAME))) for way in (ask, ask_tcp)]


def tracked(namespace: Namespace, addresses: tuple[str, ...]) -> set[str]:
    """Connections to these addresses that the kernel keeps track of, by their first packet's addresses and ports."""
    found = set()
    for version in ("ipv4", "ipv6"):
        for line in namespace.feed("", "conntrack", "--dump", "--family", version).splitlines():
            first = re.search(r"src=\S+ dst=(\S+) sport=\d+ dport=(\d+)", line)
            if first is not None and {first[1], line.split("src=")[1].split()[0]} & set(addresses):
                found.add(first[0])
    return found


def daemon_in(namespace: Namespace) -> Daemon:
    upstreams = ", ".join(f"'{family.upstream}'" for family in FAMILIES)
    settings = f"zones: [{{zone: ., upstreams: [{upstreams}]}}]\nuser: nobody\nlisten: {{allow: [any]}}"
    intercept = ", ".join(f"'{family.service}'" for family in FAMILIES)
    return Daemon(f"{settings}\nnode: {{intercept: [{intercept}]}}", hosts=LISTEN, namespace=namespace)


def wait_until_answered(namespace: Namespace, by: list[str], what: str) -> None:
    for family in FAMILIES:
        wait_for(functools.partial(is_answered, namespace, family.service, by), f"{what}: {family.service}")


def is_answered(namespace: Namespace, address: str, by: list[str]) -> bool:
    """Whether one query is, at once."""
    with namespace.inside(), suppress(OSError), UdpClient((address, 53)) as client:
        client.send(query(NAME))
        response = client.receive(seconds=0.3)
        return response is not None and rdatas(response) == by
    return False


@contextmanager
def falling_silent(daemon: Daemon, proxy: str) -> Iterator[None]:
    """Its supervisor, which renews, hangs for a while, or all of it is killed for good: one beside each sort of kube-proxy."""
    if proxy == "nftables":
        os.kill(daemon.process.pid, signal.SIGSTOP)
        yield
        os.kill(daemon.process.pid, signal.SIGCONT)
    else:
        for pid in (daemon.process.pid, *daemon.workers()):
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait()
        daemon.process.returncode = 0  # killed by the test: no fault of the daemon's
        yield


def test_the_service_address_is_ours_while_the_daemon_lives(kubernetes: Kubernetes) -> None:
    pod, host = kubernetes.cluster.pod, kubernetes.cluster.node
    services = tuple(family.service for family in FAMILIES)
    before = host_state(host)
    with config_file(**SETTINGS) as config, ExitStack() as undo:
        succeeded(node(host, "up", "--config", config))
        once = host_state(host)
        assert succeeded(node(host, "up", "--config", config)) == "nothing to change\n"
        assert host_state(host) == once
        for family in FAMILIES:
            for client in (pod, host):
                assert asked(client, family.service) == [BY_CLUSTER, BY_CLUSTER], "nobody of ours lives yet"
        with pod.inside():
            begun_before = [undo.enter_context(TcpClient((service, 53))) for service in services]
        with daemon_in(host) as daemon:
            wait_until_answered(pod, BY_DAEMON, "taken over")
            known = tracked(host, (*services, *LISTEN))
            for address in (*LISTEN, *services):
                for client in (pod, host):
                    assert asked(client, address) == [BY_DAEMON, BY_DAEMON]
            assert tracked(host, (*services, *LISTEN)) <= known, "what we answer is tracked"
            for stream in begun_before:
                stream.send(query(NAME))
                assert rdatas(stream.receive() or query(NAME)) == BY_CLUSTER, "it began with the cluster"
            with pod.inside():
                begun_with_us = [undo.enter_context(TcpClient((service, 53))) for service in services]
            for family in FAMILIES:
                for client in (pod, host):
                    with client.inside():
                        assert rdatas(ask_tcp((family.service, 9153), query(NAME))) == BY_CLUSTER, "another port"
            assert re.search(r"10.43.0.100 is answered here, for [1-3] s", succeeded(node(host, "status", "--config", config)))
            with falling_silent(daemon, kubernetes.proxy):
                began = time.monotonic()
                wait_until_answered(pod, BY_CLUSTER, "given back")
                assert time.monotonic() - began < ENDS_WITHIN
                for client in (pod, host):
                    assert asked(client, services[0]) == [BY_CLUSTER, BY_CLUSTER]
            if kubernetes.proxy == "nftables":
                for stream in begun_with_us:
                    stream.send(query(NAME))
                    assert rdatas(stream.receive() or query(NAME)) == BY_DAEMON, (
                        "it began with us, and we hung for a while only"
                    )
        succeeded(node(host, "down"))
        assert host_state(host) == before
        succeeded(node(host, "down"))
        assert host_state(host) == before
