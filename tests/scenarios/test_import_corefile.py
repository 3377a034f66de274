"""A Corefile of a release, imported and served: who is asked, how, and for how long the answer counts.

The addresses in the Corefile are those of two scripted upstreams, one for the cluster and one for everything else; what is
imported is served as it is, but for the addresses it listens on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import yaml

from tests.lab.behaviours import TRUTH, answer, soa
from tests.lab.clients import ask, query, rdatas
from tests.lab.daemon import Daemon, run_to_end
from tests.lab.importing import COREFILES
from tests.lab.scripted import ScriptedUpstream

pytestmark = pytest.mark.side_by_side

HOUR = answer("@ 3600 IN A 192.0.2.1")


@dataclass(frozen=True, slots=True)
class Served:
    """The daemon by an imported file, and the two that it asks."""

    daemon: Daemon
    cluster: ScriptedUpstream
    outside: ScriptedUpstream

    def asked(self, name: str) -> dns.message.Message:
        return ask(self.daemon.server, query(name))

    def ways(self, name: str) -> set[tuple[str, str]]:
        """Who was asked for a name, and over what."""
        both = (("cluster", self.cluster), ("outside", self.outside))
        return {(who, one.transport) for who, upstream in both for one in upstream.asked(name)}


def ttl(response: dns.message.Message) -> int:
    """Of the answer, or of the SOA that comes with a negative one."""
    return (response.answer or response.authority)[0].ttl


@contextmanager
def served(release: str, tmp_path: Path) -> Iterator[Served]:
    """The Corefile of this release, imported by the command and served."""
    with ScriptedUpstream() as cluster, ScriptedUpstream() as outside:
        for upstream in (cluster, outside):
            upstream.default = TRUTH
            upstream.on("*.there.svc.cluster.local.", HOUR)
            upstream.on("*.outside.test.", HOUR)
            upstream.on("*.10.in-addr.arpa.", HOUR)
            for name, zone in (("gone.svc.cluster.local.", "cluster.local."), ("gone.test.", "test.")):
                upstream.on(name, answer(authority=[soa(zone, ttl=3600, minimum=3600)], rcode="NXDOMAIN"))
        file = tmp_path / "Corefile"
        file.write_text((COREFILES / f"{release}.Corefile").read_text().replace("/etc/resolv.conf", outside.address))
        values = {
            "DNS__DOMAIN": "cluster.local",
            "LOCAL__DNS": "169.254.20.10",
            "DNS__SERVER": cluster.address if release == "node-cache-1.15.2" else "",
            "CLUSTER__DNS": cluster.address,
            "UPSTREAM__SERVERS": outside.address,
        }
        options = [word for name, value in values.items() for word in ("--pillar", f"{name}={value}")]
        done = run_to_end("import-corefile", str(file), *options)
        assert (done.returncode, done.stderr) == (0, "")
        config = yaml.safe_load(done.stdout)
        assert config.pop("listen")
        assert config.pop("observe")
        with Daemon(yaml.safe_dump(config)) as daemon:
            yield Served(daemon, cluster, outside)


@pytest.mark.parametrize(
    ("release", "cluster_way", "outside_way", "negative"),
    [
        ("node-cache-1.15.2", "tcp", "tcp", 5),
        ("node-cache-1.22.28", "tcp", "udp", 5),
        ("prefer-udp", "udp", "udp", 5),
        ("coredns-1.14.2", "tcp", "udp", 30),
    ],
)
def test_names_go_where_the_corefile_says(
    release: str, cluster_way: str, outside_way: str, negative: int, tmp_path: Path
) -> None:
    """Cluster names and reverse names to the cluster, others outside, over the transport, with the limits that stand there."""
    with served(release, tmp_path) as stage:
        for name, way in (
            ("web.there.svc.cluster.local.", ("cluster", cluster_way)),
            ("www.outside.test.", ("outside", outside_way)),
            ("1.0.0.10.in-addr.arpa.", ("cluster", cluster_way)),
        ):
            response = stage.asked(name)
            assert rdatas(response) == ["192.0.2.1"]
            assert 28 <= ttl(response) <= 30, name
            assert stage.ways(name) == {way}, name
        for name, way, limit in (
            ("gone.svc.cluster.local.", ("cluster", cluster_way), negative),
            ("gone.test.", ("outside", outside_way), 30),
        ):
            response = stage.asked(name)
            assert response.rcode() == dns.rcode.NXDOMAIN
            assert limit - 2 <= ttl(response) <= limit, name
            assert stage.ways(name) == {way}, name
