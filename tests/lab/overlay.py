"""The network of a small cluster: nodes, each with a range of pod addresses, and a VXLAN between them as flannel makes it.

Node number N has the pods of 10.42.N.0/24, the address 192.168.7.(N + 1) on the cable between the nodes, and `flannel.1`.
Always holds: what flannel learns from its store (routes, neighbours, forwarding entries) is written down here, so nothing is
flooded.
"""

from collections.abc import Mapping

from tests.lab.namespaces import Namespace, Network

PODS = "10.42.0.0/16"
_PORT = 8472
"""Where Linux, and flannel after it, send VXLAN (IANA's 4789 came later)."""


def join_nodes(network: Network, left: Namespace, right: Namespace) -> None:
    """Nodes 0 and 1: the cable, and over it the overlay; each can reach the pods of the other."""
    ends = network.link(left, [f"{_cable(0)}/24"], right, [f"{_cable(1)}/24"])
    for node, end, mine, other in ((left, ends[0], 0, 1), (right, ends[1], 1, 0)):
        node.set_kernel("net.ipv4.ip_forward", 1)
        vxlan = ("type", "vxlan", "id", "1", "local", _cable(mine), "dev", end, "dstport", str(_PORT), "nolearning")
        node.ip("link", "add", "flannel.1", "address", _hardware(mine), *vxlan)
        node.add_address(f"10.42.{mine}.0/32", interface="flannel.1")
        node.ip("link", "set", "flannel.1", "up")
        node.ip("neigh", "add", f"10.42.{other}.0", "lladdr", _hardware(other), "dev", "flannel.1", "nud", "permanent")
        node.feed("", "bridge", "fdb", "append", _hardware(other), "dev", "flannel.1", "dst", _cable(other))
        node.ip("route", "add", f"10.42.{other}.0/24", "via", f"10.42.{other}.0", "dev", "flannel.1", "onlink")
        node.add_route("default", via=_cable(other))


def join_pods(network: Network, node: Namespace, number: int, pods: Mapping[str, Namespace]) -> None:
    """The pods of node `number`, by address, at its bridge `cni0`; their way out is the node."""
    gateway = f"10.42.{number}.1"
    node.add_bridge("cni0")
    node.add_address(f"{gateway}/24", interface="cni0")
    for address, pod in pods.items():
        port, _ = network.link(node, [], pod, [f"{address}/24"])
        node.add_port("cni0", port)
        pod.add_route("default", via=gateway)


def _cable(number: int) -> str:
    return f"192.168.7.{number + 1}"


def _hardware(number: int) -> str:
    return f"02:00:00:00:07:{number:02x}"
