"""S3: the first lookup of an OpenStack VM takes 5 seconds, though the VM's own kernel tracks nothing.

The VM hangs on a Linux bridge of its compute node, and that node has `bridge-nf-call-iptables=1`, for its security groups:
what is only bridged passes the host's firewall, connection tracking included. So the race between A and AAAA is run in a
kernel that the VM's owner never sees. With the setting at 0 nobody stalls, and the security groups do nothing.

With the daemon on the compute node, at a link-local address of the bridge, VMs ask no further than that. It takes NOTRACK as
well: without, the race is run on the way to the daemon.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.cluster_dns import addresses_of
from tests.lab.conntrack import entries_for, leave_untracked, needs_conntrack, races_lost
from tests.lab.daemon import Daemon
from tests.lab.fast_upstream import FastUpstream
from tests.lab.libcs import Lookup, compiled_for_glibc, compiled_for_musl, lookups
from tests.lab.namespaces import Namespace, Network
from tests.lab.needs import needs_filtered_bridges, needs_musl, needs_namespaces
from tests.lab.sites import behind_a_bridge
from tests.lab.standstills import Standstills
from tests.lab.steady import percentile

DNS_SERVER, DAEMON = "192.0.2.53", "169.254.20.10"
FILTERED = "net.bridge.bridge-nf-call-iptables"
SEARCH = "search lab.example example.cn\n"
"""Where a short name is first denied and then found: four queries, two pairs."""
UPSTREAM_DELAY = 0.002
"""Seconds; an answer quicker than the second query would end the race before it is run."""
CONFIG = f"""
cluster_domain: cluster.local
zones: [{{zone: ., upstreams: ["{DNS_SERVER}"]}}]
"""
STALL = 5000.0
"""Milliseconds: glibc asks again after as many, musl after half of them for each of the two names."""
SLOW = 100.0
"""Milliseconds that no lookup may take."""
LOOKUPS, FIRST = 2_000, 4
"""With the daemon; of fresh processes, each its first."""
PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Cloud:
    """A compute node and its VM."""

    compute: Namespace
    vm: Namespace
    programs: dict[str, Path]

    def first_lookups(self, libc: str, server: str, case: str) -> list[Lookup]:
        """One of each of a few fresh processes in the VM, which asks this server."""
        return self.lookups(libc, server, [f"{libc}-{case}-{number}" for number in range(FIRST)], FIRST)

    def lookups(self, libc: str, server: str, names: list[str], processes: int) -> list[Lookup]:
        """All of them, with the right answers."""
        self.vm.write_resolv_conf(f"nameserver {server}\n{SEARCH}")
        before = races_lost(self.compute)
        found = lookups(self.vm, self.programs[libc], names, processes=processes)
        taken = [one.milliseconds for one in found]
        shares = ", ".join(f"{share:.1%} {percentile(taken, share):.2f}" for share in (0.5, 0.99, 1.0))
        lost = races_lost(self.compute) - before
        sys.stdout.write(f"\n{names[0]} ...: {len(found)} lookups, ms: {shares}; races lost: {lost}")
        assert [set(one.addresses) for one in found] == [addresses_of(f"{name}.example.cn") for name in names]
        return found


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """VM - bridge of the compute node - gateway and DNS server; the compute node has a way of its own to the latter."""
    needs_namespaces()
    needs_conntrack()
    needs_filtered_bridges()
    needs_musl()
    programs = {"glibc": compiled_for_glibc(tmp_path), "musl": compiled_for_musl(tmp_path)}
    with Network() as network:
        vm, compute, gateway = behind_a_bridge(network, DNS_SERVER, DAEMON)
        with FastUpstream(host=DNS_SERVER, delay=UPSTREAM_DELAY, namespace=gateway, knows="cluster"):
            yield Cloud(compute, vm, programs)


@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_first_lookups_of_a_vm(cloud: Cloud, libc: str) -> None:
    """Directly, directly with bridges left alone, through the daemon while it is tracked, and as it should be."""
    compute = cloud.compute
    compute.set_kernel(FILTERED, 1)
    assert all(one.milliseconds >= STALL for one in cloud.first_lookups(libc, DNS_SERVER, "filtered"))
    assert races_lost(compute) >= FIRST
    compute.set_kernel(FILTERED, 0)
    assert all(one.milliseconds < STALL / 2 for one in cloud.first_lookups(libc, DNS_SERVER, "unfiltered"))
    compute.set_kernel(FILTERED, 1)
    with Daemon(CONFIG, hosts=(DAEMON,), namespace=compute) as daemon:
        assert all(one.milliseconds >= STALL for one in cloud.first_lookups(libc, DAEMON, "tracked"))
        leave_untracked(compute, DAEMON)
        compute.feed("", "conntrack", "--flush")
        before = races_lost(compute)
        with Standstills() as machine:
            found = cloud.lookups(libc, DAEMON, [f"{libc}-{number}" for number in range(LOOKUPS)], PROCESSES)
        assert [one for one in found if one.charged(machine) >= SLOW] == []
        assert races_lost(compute) == before
        assert entries_for(compute, DAEMON) == 0
        assert daemon.metric("forwarder_upstream_queries_total") >= 2 * LOOKUPS
