"""Two in a hundred packets are lost between node and upstream, and no program notices: getaddrinfo of glibc and of musl.

Three namespaces: client - node - upstream. The upstream takes 2 ms for an answer; queries and responses between it and the
node are dropped at random where they arrive, so that no sender is told. 10,000 lookups of names nobody asked before: none
fails, and hardly any takes as long as a person would notice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.daemon import Daemon
from tests.lab.fast_upstream import FastUpstream
from tests.lab.libcs import Lookup, compiled_for_glibc, compiled_for_musl, lookups
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_musl, needs_namespaces, needs_program
from tests.lab.oracle import addresses_of
from tests.lab.standstills import Standstills
from tests.lab.steady import percentile

LOOKUPS = 10_000
WARM_UP = 500
"""Lookups in which the daemon learns how long answers take."""
PROCESSES = 8
"""That look up at the same time."""
UPSTREAM_DELAY = 0.002  # seconds
SLOW = {"udp": 250.0, "tcp": 500.0}
"""Milliseconds. What is lost of a stream the kernel sends again, after 200 ms at the earliest."""
MOST_SLOW = 2
"""Each needs three losses in a row, of a query or its response, about one in 10,000 lookups."""
NODE_SIDE, UPSTREAM_SIDE = "10.42.0.1", "10.42.0.16"
DROP = "add rule inet loss arriving meta l4proto {{ tcp, udp }} th {port} 53 numgen random mod 1000 < 20 counter drop"
RULES = "add table inet loss; add chain inet loss arriving {{ type filter hook prerouting priority 0; }}; " + DROP


@dataclass(frozen=True, slots=True)
class Net:
    """The client to look up from, node and upstream with what is lost between them."""

    client: Namespace
    node: Namespace
    upstream: Namespace
    programs: dict[str, Path]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """Built once."""
    needs_namespaces()
    needs_program("nft", package="nftables")
    needs_musl()
    directory = tmp_path_factory.mktemp("clients")
    programs = {"glibc": compiled_for_glibc(directory), "musl": compiled_for_musl(directory)}
    with Network() as network:
        client, node, upstream = (network.namespace(role) for role in ("client", "node", "up"))
        network.link(client, ["10.42.2.87/24"], node, ["10.42.2.1/24"])
        network.link(node, [f"{NODE_SIDE}/24"], upstream, [f"{UPSTREAM_SIDE}/24"])
        client.write_resolv_conf("nameserver 10.42.2.1\n")
        for namespace, port in ((upstream, "dport"), (node, "sport")):
            done = namespace.run("nft", RULES.format(port=port))
            assert done.returncode == 0, done.stderr
        yield Net(client, node, upstream, programs)


def distribution(found: list[Lookup]) -> str:
    """Percentiles, and the worst one by one."""
    times = [one.milliseconds for one in found]
    shares = ", ".join(f"{share:.2%} {percentile(times, share):.1f} ms" for share in (0.5, 0.9, 0.99, 0.999, 0.9999, 1.0))
    return f"{shares}; worst: {sorted(times)[-10:]}"


@pytest.mark.parametrize("libc", ["glibc", "musl"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_notices_the_loss(net: Net, libc: str, transport: str) -> None:
    """Every name is found, with all its addresses; after the first few hundred, at most two lookups are slow."""
    config = f"zones: [{{zone: ., upstreams: ['{UPSTREAM_SIDE}'], transport: {transport}}}]"
    names = [f"n{number}.good.{libc}.{transport}.test" for number in range(WARM_UP + LOOKUPS)]
    with (
        FastUpstream(host=UPSTREAM_SIDE, delay=UPSTREAM_DELAY, namespace=net.upstream),
        Daemon(config, hosts=("10.42.2.1",), namespace=net.node) as daemon,
    ):
        with Standstills() as machine:
            found = lookups(net.client, net.programs[libc], names, processes=PROCESSES)
        wrong = [
            (name, one) for name, one in zip(names, found, strict=True) if one.error or set(one.addresses) != addresses_of(name)
        ]
        assert wrong == []
        measured = found[WARM_UP:]
        slow = [one for one in measured if one.charged(machine) > SLOW[transport]]
        assert len(slow) <= MOST_SLOW, distribution(measured)
        assert daemon.metric("forwarder_deadline_missed_total") == 0
        if transport == "udp":
            repeated = daemon.metric("forwarder_upstream_queries_total", transport="udp") - 2 * len(names)
            assert repeated > 0.02 * 2 * len(names), "nothing was lost: the scenario proves nothing"
