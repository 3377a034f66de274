"""Connection tracking of a namespace: the race it loses, made certain; addresses it translates; what is kept out of it.

Two queries that leave one socket together are two first packets of one connection. The kernel makes an entry for each, inserts
the one and drops the other packet (`insert_failed`). Whether it does is a matter of microseconds, so here a rule does it: of
packets to port 53, the second of a connection that has no answer yet is dropped and counted. Always holds: a packet that is
not tracked is no packet of a connection, and passes, and so does one of a connection that had an answer.
"""

import json

from tests.lab.namespaces import Namespace
from tests.lab.needs import needs_program

_RACE = """
table ip race {
    counter lost { }
    chain leaving { type filter hook postrouting priority 0; goto second; }
    chain staying { type filter hook input priority 0; goto second; }
    chain second { udp dport 53 ct original packets > 1 ct reply packets 0 counter name lost drop; }
}
"""
"""In the hooks at whose end the kernel inserts entries: of what leaves, and of what is for this host."""
_SERVICE = """
table ip services {{
    chain pods {{ type nat hook prerouting priority dstnat; jump translated; }}
    chain node {{ type nat hook output priority -100; jump translated; }}
    chain translated {{ ip daddr {service} meta l4proto {{ tcp, udp }} th dport 53 dnat to {server}; }}
    chain leaving {{ type nat hook postrouting priority srcnat; ip daddr {server} ip saddr != {pods} masquerade; }}
}}
"""
_UNTRACKED = """
table ip untracked {{
    chain arriving {{ type filter hook prerouting priority raw; goto either; }}
    chain leaving {{ type filter hook output priority raw; goto either; }}
    chain either {{
        ip daddr {addresses} meta l4proto {{ tcp, udp }} th dport 53 notrack
        ip saddr {addresses} meta l4proto {{ tcp, udp }} th sport 53 notrack
    }}
}}
"""
"""Both directions: an answer that is tracked would make an entry of its own. Both hooks: the host itself asks, too."""


def needs_conntrack() -> None:
    """For everything here."""
    needs_program("nft", package="nftables")
    needs_program("conntrack")
    needs_program("sysctl", package="procps")


def play_race(namespace: Namespace) -> None:
    """The race is lost from now on, each time it is run."""
    namespace.set_kernel("net.netfilter.nf_conntrack_acct", 1)
    _install(namespace, _RACE)


def races_lost(namespace: Namespace) -> int:
    """How many queries the race has cost so far."""
    told = json.loads(namespace.feed("", "nft", "--json", "list", "counter", "ip", "race", "lost"))
    return sum(int(entry["counter"]["packets"]) for entry in told["nftables"] if "counter" in entry)


def translate_service(namespace: Namespace, service: str, server: str, *, pods: str) -> None:
    """A service address, as kube-proxy makes it: DNS to `service` goes to `server`; `pods` (a prefix) keep their addresses."""
    _install(namespace, _SERVICE.format(service=service, server=server, pods=pods))


def entries_for(namespace: Namespace, address: str) -> int:
    """How many connections to this address or from it the kernel keeps track of."""
    told = (namespace.feed("", "conntrack", "--dump", side, address) for side in ("--orig-dst", "--orig-src"))
    return sum(len(lines.splitlines()) for lines in told)


def leave_untracked(namespace: Namespace, *addresses: str) -> None:
    """NOTRACK for DNS to these addresses of the host and back from them."""
    _install(namespace, _UNTRACKED.format(addresses=f"{{ {', '.join(addresses)} }}"))


def _install(namespace: Namespace, rules: str) -> None:
    namespace.feed(rules, "nft", "-f", "-")
