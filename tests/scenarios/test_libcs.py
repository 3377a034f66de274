"""Real programs on a real network: getaddrinfo of glibc and musl in a pod, through the daemon on its node.

Three namespaces: pod - node - cluster. The daemon listens on 169.254.20.10 (and an IPv6 address) of the node and forwards to
a real nsd in the cluster; the pod's resolv.conf names the daemon and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.daemon import Daemon
from tests.lab.libcs import Lookup, compiled_for_musl, glibc_lookup, musl_lookup
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_musl, needs_namespaces, needs_program
from tests.lab.nsd import Nsd

pytestmark = pytest.mark.side_by_side

BIG = [f"10.1.0.{number}" for number in range(1, 181)]
"""3 KB as A records: neither 512 octets nor 1232 hold them."""
ZONE = """\
$ORIGIN lab.test.
$TTL 300
@      SOA   ns host 1 3600 600 86400 60
@      NS    ns
ns     A     10.42.0.16
web    A     192.0.2.1
web    AAAA  2001:db8::1
four   A     192.0.2.4
six    AAAA  2001:db8::6
alias  CNAME web
text   TXT   "no address at all"
""" + "".join(f"big A {address}\n" for address in BIG)
ROOT = """\
$ORIGIN .
$TTL 300
@     SOA ns host 1 3600 600 86400 60
@     NS  ns
ns    A   10.42.0.16
"""
"""So that a name without its search list is NXDOMAIN, not REFUSED: on the SERVFAIL that becomes of it musl waits 5 s."""
LISTEN = ("169.254.20.10", "fd00:20::10")
GENEROUS = 4000.0
"""Milliseconds; a lookup that lost a query takes 5000 with glibc and with musl."""

Resolver = Callable[[str], Lookup]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The pod to ask from, and the daemon it asks."""

    pod: Namespace
    daemon: Daemon
    musl_client: Path

    def resolver(self, libc: str) -> Resolver:
        """The getaddrinfo of one of the two."""
        if libc == "glibc":
            return lambda name: glibc_lookup(self.pod, name)
        return lambda name: musl_lookup(self.pod, self.musl_client, name)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Built once; each scenario only looks names up."""
    needs_namespaces()
    needs_program("nsd")
    needs_musl()
    client = compiled_for_musl(tmp_path_factory.mktemp("musl"))
    with Network() as network:
        pod, node, servers = (network.namespace(role) for role in ("pod", "node", "clu"))
        network.link(pod, ["10.42.2.87/24", "fd00:42::87/64"], node, ["10.42.2.1/24", "fd00:42::1/64"])
        network.link(node, ["10.42.0.1/24"], servers, ["10.42.0.16/24"])
        node.add_address("169.254.20.10/32")
        node.add_address("fd00:20::10/128")
        pod.add_route("169.254.20.10/32", via="10.42.2.1")
        pod.add_route("fd00:20::10/128", via="fd00:42::1")
        config = "zones: [{zone: ., upstreams: ['10.42.0.16']}]"
        nsd = Nsd({"lab.test": ZONE, ".": ROOT}, host="10.42.0.16", namespace=servers)
        with nsd, Daemon(config, hosts=LISTEN, namespace=node) as daemon:
            yield Cluster(pod, daemon, client)


@pytest.fixture(params=["glibc", "musl"])
def libc(request: pytest.FixtureRequest) -> str:
    """Each story with both."""
    return str(request.param)


@pytest.fixture(params=LISTEN)
def lookup(request: pytest.FixtureRequest, cluster: Cluster, libc: str) -> Resolver:
    """Over IPv4 and over IPv6."""
    cluster.pod.write_resolv_conf(f"nameserver {request.param}\n")
    return cluster.resolver(libc)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.lab.test", {"192.0.2.1", "2001:db8::1"}),
        ("WEB.Lab.Test", {"192.0.2.1", "2001:db8::1"}),
        ("alias.lab.test", {"192.0.2.1", "2001:db8::1"}),
        ("four.lab.test", {"192.0.2.4"}),
        ("six.lab.test", {"2001:db8::6"}),
    ],
)
def test_names_with_addresses(lookup: Resolver, name: str, expected: set[str]) -> None:
    """Both families, one family, an alias; fetched and then from memory."""
    for _ in range(2):
        found = lookup(name)
        assert (set(found.addresses), found.error) == (expected, "")
        assert found.milliseconds < GENEROUS


@pytest.mark.parametrize("name", ["missing.lab.test", "text.lab.test"])
def test_names_without_addresses(lookup: Resolver, name: str) -> None:
    """NXDOMAIN and NODATA: an error, and soon."""
    for _ in range(2):
        found = lookup(name)
        assert found.addresses == ()
        assert found.error
        assert found.milliseconds < GENEROUS


def test_an_answer_of_three_kilobytes(lookup: Resolver, libc: str, cluster: Cluster) -> None:
    """TC=1 over UDP. glibc comes again over TCP and has all; musl before 1.2.4 uses the records that fitted."""
    before = cluster.daemon.metric("forwarder_queries_total", transport="tcp")
    found = lookup("big.lab.test")
    over_tcp = cluster.daemon.metric("forwarder_queries_total", transport="tcp") - before
    assert found.error == ""
    assert found.milliseconds < GENEROUS
    if libc == "glibc":
        assert sorted(found.addresses) == sorted(BIG)
        assert over_tcp >= 1
    else:
        assert set(found.addresses) <= set(BIG)
        assert len(found.addresses) >= 20
        assert over_tcp == 0 or len(found.addresses) == 48, "musl's MAXADDRS: a later musl that asked over TCP"


@pytest.mark.parametrize("name", ["web", "web.svc", "web.lab.test", "big"])
def test_a_search_path(cluster: Cluster, libc: str, name: str) -> None:
    """Names that need the search list, as in a pod: each try that fails is a quick NXDOMAIN."""
    search = "search default.svc.lab.test svc.lab.test lab.test\noptions ndots:5\n"
    cluster.pod.write_resolv_conf(f"nameserver 169.254.20.10\n{search}")
    found = cluster.resolver(libc)(name)
    assert found.milliseconds < GENEROUS
    if name == "web.svc":
        assert found.error
    else:
        assert found.error == ""
        assert set(found.addresses) <= {"192.0.2.1", "2001:db8::1", *BIG}
