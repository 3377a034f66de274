"""The places where the incidents happened, built of namespaces; what runs in them is the tests' to say."""

from collections.abc import Sequence

from tests.lab.conntrack import play_race, translate_service
from tests.lab.namespaces import Namespace, Network
from tests.lab.overlay import PODS, join_nodes, join_pods

BRIDGE = "brq-vms"
"""Of a compute node, for its VMs."""


def two_nodes(
    network: Network, service: str, cluster_dns: str, roles: Sequence[str]
) -> tuple[Namespace, Namespace, list[Namespace]]:
    """S1: a node that loses each race, with pods 10.42.0.10 and on; the other node, where the cluster's DNS belongs."""
    node, other = (network.namespace(role) for role in ("node", "other"))
    join_nodes(network, node, other)
    pods = [network.namespace(role) for role in roles]
    join_pods(network, node, 0, {f"10.42.0.{10 + number}": pod for number, pod in enumerate(pods)})
    other.add_address(f"{cluster_dns}/32")
    translate_service(node, service, cluster_dns, pods=PODS)
    play_race(node)
    return node, other, pods


def pods_of_a_node(network: Network, server: str, listen: str) -> tuple[Namespace, Namespace, Namespace, Namespace]:
    """S2: two pods (10.42.2.87 and 10.42.3.87), their node (10.42.0.1 and `listen`), behind it the namespace of `server`."""
    pod, direct, node, servers = (network.namespace(role) for role in ("pod", "direct", "node", "servers"))
    network.link(pod, ["10.42.2.87/24"], node, ["10.42.2.1/24"])
    network.link(direct, ["10.42.3.87/24"], node, ["10.42.3.1/24"])
    network.link(node, ["10.42.0.1/24"], servers, [f"{server}/24"])
    node.add_address(f"{listen}/32")
    node.set_kernel("net.ipv4.ip_forward", 1)
    for namespace, gateway in ((pod, "10.42.2.1"), (direct, "10.42.3.1"), (servers, "10.42.0.1")):
        namespace.add_route("default", via=gateway)
    return pod, direct, node, servers


def behind_a_bridge(network: Network, dns_server: str, listen: str) -> tuple[Namespace, Namespace, Namespace]:
    """S3: VM - bridge of the compute node, which loses each race - gateway with `dns_server`.

    The compute node has a way of its own to the gateway, and `listen` on the bridge.
    """
    vm, compute, gateway = (network.namespace(role) for role in ("vm", "compute", "gw"))
    compute.add_bridge(BRIDGE)
    port, nic = network.link(compute, [], vm, ["10.8.0.5/24"])
    compute.add_port(BRIDGE, port)
    port, _ = network.link(compute, [], gateway, ["10.8.0.1/24"])
    compute.add_port(BRIDGE, port)
    vm.add_route("default", via="10.8.0.1")
    network.link(compute, ["192.168.9.1/24"], gateway, ["192.168.9.2/24"])
    compute.add_route("default", via="192.168.9.2")
    gateway.add_address(f"{dns_server}/32")
    compute.add_address(f"{listen}/32", interface=BRIDGE)
    compute.ip("route", "add", "10.8.0.0/24", "dev", BRIDGE)
    vm.ip("route", "add", listen, "dev", nic)
    play_race(compute)
    return vm, compute, gateway
