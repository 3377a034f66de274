"""A node of a cluster between a pod and the cluster's DNS, with the rules that kube-proxy makes for that service.

Pod, node and the servers' namespace are joined by cables, in IPv4 and IPv6. The rules have the shape, names and priorities of
Kubernetes 1.33 (pkg/proxy/iptables and pkg/proxy/nftables), for one service with the three ports of kube-dns, and for the
chains around it that look at the state of connections. Always holds: who is not a pod is masqueraded, as with a cluster CIDR.
"""

import json
from dataclasses import dataclass

from tests.lab.namespaces import Namespace, Network
from tests.lab.patience import wait_for

PORTS = (("udp", "dns", 53), ("tcp", "dns-tcp", 53), ("tcp", "metrics", 9153))
"""Of kube-dns."""


@dataclass(frozen=True, slots=True)
class Family:
    """The addresses of one family."""

    version: int
    service: str
    server: str
    """Whom the service stands for."""
    upstream: str
    """Beside it: whom the daemon asks."""
    pod: str
    pods: str
    """The cluster CIDR."""
    node: str
    """The node's address on the way to the servers."""


FAMILIES = (
    Family(4, "10.43.0.100", "10.42.0.16", "10.42.0.17", "10.42.2.87", "10.42.0.0/16", "10.42.0.1"),
    Family(6, "fd43::100", "fd42::16", "fd42::17", "fd42:0:0:2::87", "fd42::/48", "fd42::1"),
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three namespaces."""

    pod: Namespace
    node: Namespace
    servers: Namespace


def joined(network: Network) -> Cluster:
    """Pod and servers, each with the node as its way to everywhere."""
    cluster = Cluster(*(network.namespace(role) for role in ("pod", "node", "servers")))
    for namespace in (cluster.pod, cluster.node, cluster.servers):
        namespace.set_kernel("net.ipv6.conf.default.accept_dad", 0)  # or addresses change for a second by themselves
    network.link(cluster.pod, ("10.42.2.87/24", "fd42:0:0:2::87/64"), cluster.node, ("10.42.2.1/24", "fd42:0:0:2::1/64"))
    servers = tuple(f"{one}/{24 if one[2] == '.' else 64}" for family in FAMILIES for one in (family.server, family.upstream))
    network.link(cluster.servers, servers, cluster.node, ("10.42.0.1/24", "fd42::1/64"))
    for namespace, ways in ((cluster.pod, ("10.42.2.1", "fd42:0:0:2::1")), (cluster.servers, ("10.42.0.1", "fd42::1"))):
        for way in ways:
            namespace.add_route("default", via=way)
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        cluster.node.set_kernel(setting, 1)
    for namespace in (cluster.pod, cluster.node, cluster.servers):
        wait_for(lambda namespace=namespace: _is_settled(namespace), "cables are plugged")  # type: ignore[misc] # bound at once
    return cluster


def _is_settled(namespace: Namespace) -> bool:
    """Whether each cable has carrier and the IPv6 address that it is given for that: later nothing changes by itself."""
    links = json.loads(namespace.feed("", "ip", "-j", "addr"))
    cables = [link for link in links if link["ifname"] != "lo"]
    return all(any(one["scope"] == "link" for one in link["addr_info"]) for link in cables)


def proxy_services(node: Namespace, mode: str) -> None:
    """The rules of kube-proxy in the mode `iptables` or `nftables`."""
    for family in FAMILIES:
        if mode == "nftables":
            node.feed(_nftables(family), "nft", "-f", "-")
        else:
            node.feed(_iptables(family), "iptables-restore" if family.version == 4 else "ip6tables-restore")


def _iptables(family: Family) -> str:
    service, server = f"{family.service}/{32 if family.version == 4 else 128}", family.server
    to = f"[{server}]" if family.version == 6 else server
    loopback = "127.0.0.0/8" if family.version == 4 else "::1/128"
    chains, rules = [], []
    for protocol, name, port in PORTS:
        svc, sep = f"KUBE-SVC-{name.upper()}", f"KUBE-SEP-{name.upper()}"
        chains += [f":{svc} - [0:0]", f":{sep} - [0:0]"]
        match = f"-d {service} -p {protocol} -m {protocol} --dport {port}"
        rules += [
            f'-A KUBE-SERVICES {match} -m comment --comment "kube-system/kube-dns:{name} cluster IP" -j {svc}',
            f"-A {svc} {match} ! -s {family.pods} -j KUBE-MARK-MASQ",
            f"-A {svc} -j {sep}",
            f"-A {sep} -s {server} -j KUBE-MARK-MASQ",
            f"-A {sep} -p {protocol} -m {protocol} -j DNAT --to-destination {to}:{port}",
        ]
    return "\n".join(
        (
            "*nat",
            *(f":{chain} ACCEPT [0:0]" for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
            *(f":{chain} - [0:0]" for chain in ("KUBE-SERVICES", "KUBE-MARK-MASQ", "KUBE-POSTROUTING")),
            *chains,
            "-A PREROUTING -j KUBE-SERVICES",
            "-A OUTPUT -j KUBE-SERVICES",
            "-A POSTROUTING -j KUBE-POSTROUTING",
            *rules,
            "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000",
            "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
            "COMMIT",
            "*filter",
            *(f":{chain} ACCEPT [0:0]" for chain in ("INPUT", "FORWARD", "OUTPUT")),
            *(f":KUBE-{chain} - [0:0]" for chain in ("PROXY-FIREWALL", "NODEPORTS", "FORWARD", "FIREWALL")),
            *(f"-A {chain} -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL" for chain in ("INPUT", "FORWARD", "OUTPUT")),
            "-A INPUT -j KUBE-NODEPORTS",
            "-A INPUT -j KUBE-FIREWALL",
            "-A FORWARD -j KUBE-FORWARD",
            "-A OUTPUT -j KUBE-FIREWALL",
            f"-A KUBE-FIREWALL ! -s {loopback} -d {loopback} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
            "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "COMMIT\n",
        )
    )


def _service_chains(family: Family, ip: str) -> str:
    """For each port one that chooses among the servers, of which there is one, and one that translates."""
    to = f"[{family.server}]" if family.version == 6 else family.server
    return "".join(
        f"""
    chain service-{name} {{
        {ip} daddr {family.service} {protocol} dport {port} {ip} saddr != {family.pods} jump mark-for-masquerade
        numgen random mod 1 vmap {{ 0 : goto endpoint-{name} }}
    }}
    chain endpoint-{name} {{
        {ip} saddr {family.server} jump mark-for-masquerade
        meta l4proto {protocol} dnat to {to}:{port}
    }}"""
        for protocol, name, port in PORTS
    )


def _nftables(family: Family) -> str:
    ip = "ip" if family.version == 4 else "ip6"
    kind = f"ipv{family.version}_addr"
    elements = [f"{family.service} . {protocol} . {port} : goto service-{name}" for protocol, name, port in PORTS]
    key = f"{kind} . inet_proto . inet_service : verdict"
    to_service = f"{ip} daddr . meta l4proto . th dport vmap"
    return f"""
table {ip} kube-proxy {{
    comment "rules for kube-proxy"
    set cluster-ips {{ type {kind}; comment "Active ClusterIPs"; elements = {{ {family.service} }} }}
    map no-endpoint-services {{ type {key}; }}
    map firewall-ips {{ type {key}; }}
    map service-ips {{ type {key}; elements = {{ {", ".join(elements)} }} }}
    chain filter-prerouting {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
    chain filter-input {{ type filter hook input priority -110; ct state new jump service-endpoints-check; }}
    chain filter-forward {{
        type filter hook forward priority -110
        ct state new jump service-endpoints-check
        ct state new jump cluster-ips-check
    }}
    chain filter-output {{
        type filter hook output priority -110
        ct state new jump service-endpoints-check
        ct state new jump firewall-check
    }}
    chain filter-output-post-dnat {{ type filter hook output priority -90; ct state new jump cluster-ips-check; }}
    chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
    chain nat-output {{ type nat hook output priority -100; jump services; }}
    chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
    chain service-endpoints-check {{ {to_service} @no-endpoint-services; }}
    chain cluster-ips-check {{ {ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"; }}
    chain firewall-check {{ {to_service} @firewall-ips; }}
    chain services {{ {to_service} @service-ips; }}
    chain mark-for-masquerade {{ meta mark set mark or 0x4000; }}
    chain masquerading {{
        meta mark and 0x4000 == 0 return
        meta mark set mark xor 0x4000
        masquerade fully-random
    }}{_service_chains(family, ip)}
}}
"""
