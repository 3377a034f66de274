"""The daemon of the configuration: whether it runs, is ready, has its addresses, leads in a circle, intercepts what it should.

Pure: findings of facts. Always holds: without a configuration nothing is said.
"""

from collections.abc import Iterator

from forwarder.config import Config, doors_of, is_own_address
from forwarder.doctor.facts import Server
from forwarder.doctor.findings import Finding, Severity, severity_of
from forwarder.doctor.perspective import RESOLVED, STUB, Perspective, host_of, short, upstreams_of
from forwarder.node import resolv_conf

READY = 200
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
IPVS, CILIUM = "kube-ipvs0", ("cilium_host", "cilium_net")
"""Interfaces by which kube-proxy in IPVS mode, and Cilium, are known."""


def findings(place: Perspective) -> Iterator[Finding]:
    """All about it."""
    config = place.facts.config
    if config is None:
        return
    yield from _about_running(place)
    yield from _about_readiness(place, config)
    yield from _about_addresses(place, config)
    yield from _about_circles(place, config)
    yield from _about_intercept(place, config)
    yield from _about_figures(place, config)


def _about_running(place: Perspective) -> Iterator[Finding]:
    for server in place.facts.servers:
        if "listen" not in server.roles or server.is_ours:
            continue
        holders = [one for one in place.facts.holders or () if _is_in_the_way(one.address, server)]
        who = ", ".join(dict.fromkeys(one.process or "a process that cannot be seen from here" for one in holders))
        if holders or not server.is_silent:
            yield Finding(
                "port-taken",
                Severity.PROBLEM,
                f"{short(server.address)} is held by {who or 'somebody'}, who does not answer as this daemon does",
                "the daemon cannot listen there, and clients ask somebody else",
                "stop it (`ss -lnup`), or listen elsewhere (listen.addresses); where it is this daemon, it hangs: restart it",
            )
        else:
            yield Finding(
                "daemon-not-running",
                Severity.PROBLEM,
                f"nobody answers at {short(server.address)}, where the daemon should listen",
                "clients that ask there wait 5 s for nothing",
                "start it: `systemctl start forwarder`, or `forwarder run --config F`",
            )


def _is_in_the_way(held: str, server: Server) -> bool:
    """Whether a socket there takes what the daemon should."""
    host, port = host_of(held), held.rpartition(":")[2]
    return port == server.address.rpartition(":")[2] and host in {host_of(server.address), *ANYWHERE}


def _about_readiness(place: Perspective, config: Config) -> Iterator[Finding]:
    daemon = place.facts.daemon
    if daemon is None:
        return
    if daemon.ready == 0:
        yield Finding(
            "pages-unreachable",
            Severity.NOTICE,
            f"/ready cannot be asked: {daemon.why}",
            "nobody sees whether the daemon is well, a kubelet would end it",
            f"see that {config.observe.http} is free and reachable from here",
        )
    elif daemon.ready != READY:
        yield Finding(
            "daemon-not-ready",
            Severity.PROBLEM,
            f"/ready says {daemon.ready}: {daemon.why}",
            "not all of its workers serve",
            f"curl http://{config.observe.http}/health says which, and how it ended last",
        )


def _about_addresses(place: Perspective, config: Config) -> Iterator[Finding]:
    own = place.facts.addresses
    if own is None:
        return
    for host in dict.fromkeys(map(host_of, config.listen.addresses)):
        if host not in own and host not in ANYWHERE and not host.startswith("127."):
            yield Finding(
                "address-missing",
                Severity.PROBLEM,
                f"no interface of this host has {host}, of {len(own)} addresses",
                "the daemon is bound to it, and nothing arrives there",
                f"forwarder node up (it puts listen addresses on {config.node.interface})",
            )


def _about_circles(place: Perspective, config: Config) -> Iterator[Finding]:
    """Upstreams that are the daemon itself, by their address, over systemd-resolved, or as it found out."""
    behind_stub = resolv_conf.parsed(place.facts.texts.get(RESOLVED, "")).nameservers
    resolved = [address for address in behind_stub if is_own_address(doors_of(config), address)]
    for zone, asked in upstreams_of(config, place.facts.texts).items():
        own = [address for address in asked if is_own_address(doors_of(config), address)]
        if own:
            yield Finding(
                "upstream-is-self",
                severity_of(is_problem=len(own) == len(asked)),
                f"zone {zone} asks {', '.join(map(short, own))}, which is this daemon ({len(own)} of {len(asked)} upstreams)",
                "it is left out; where there is no other, every name that is not in memory fails",
                f"name the real servers in the zone; {RESOLVED} has them where systemd-resolved runs",
            )
        if resolved and any(host_of(address) in STUB for address in asked):
            yield Finding(
                "loop-over-resolved",
                Severity.PROBLEM,
                f"zone {zone} asks systemd-resolved's stub, and that asks {', '.join(map(short, resolved))}: this daemon",
                "queries run in a circle until somebody gives up",
                "upstreams: the real servers; or take the daemon out of `DNS=` in resolved.conf",
            )
    metrics = place.facts.daemon.metrics if place.facts.daemon is not None else {}
    looped = [name for name, value in metrics.items() if name.startswith("forwarder_upstream_looped") and value]
    if looped:
        yield Finding(
            "forwarding-loop",
            Severity.PROBLEM,
            f"upstreams that send the daemon's own queries back to it: {len(looped)} ({looped[0]})",
            "that upstream is left out; where there is no other, every name that is not in memory fails",
            "point that server, or the zone, elsewhere",
        )


def _about_intercept(place: Perspective, config: Config) -> Iterator[Finding]:
    if not config.node.intercept:
        return
    names = {one.name for one in place.facts.interfaces or ()}
    rules = place.facts.rules
    has_kube_proxy = rules is not None and rules.has_kube_proxy
    by = "IPVS (kube-ipvs0)" if IPVS in names else "Cilium" if names.intersection(CILIUM) and not has_kube_proxy else ""
    if by:
        yield Finding(
            "intercept-without-effect",
            severity_of(is_problem=IPVS in names or rules is not None),
            f"node.intercept names {len(config.node.intercept)} addresses, and services are made by {by}",
            "IPVS takes service addresses in the host's own input, Cilium when a program connects: rules that leave packets "
            "untracked do not divert them. Cilium beside a kube-proxy in iptables or nftables mode is no such case",
            "link-local mode: node.intercept: [], and kubelet --cluster-dns with the listen address; Cilium has local "
            "redirect policies",
        )
    if rules is None:
        return
    alive = {address for addresses in rules.alive.values() for address in addresses}
    dead = [address for address in config.node.intercept if address not in alive]
    is_running = any(server.is_ours and "listen" in server.roles for server in place.facts.servers)
    if dead and is_running:
        yield Finding(
            "intercept-not-alive",
            Severity.PROBLEM,
            f"{', '.join(dead)} is to be intercepted and is not ({len(dead)} of "
            f"{len(config.node.intercept)}{'' if rules.has_our_table else '; there is no table inet forwarder'})",
            "the cluster's DNS answers there as if the daemon were not running: no harm, and no help",
            "forwarder node up, with the user the daemon runs as (`user`); nft list table inet forwarder shows the set",
        )


def _about_figures(place: Perspective, config: Config) -> Iterator[Finding]:
    most = place.facts.settings.get("net.core.rmem_max")
    if most is not None and most < config.listen.receive_buffer:
        yield Finding(
            "receive-buffer-small",
            Severity.NOTICE,
            f"net.core.rmem_max is {most} octets, listen.receive_buffer {config.listen.receive_buffer}",
            "without CAP_NET_ADMIN the daemon gets no more than the former: a burst, or a worker's restart, may cost queries",
            f"sysctl -w net.core.rmem_max={config.listen.receive_buffer}, or start it as root (with `user`)",
        )
    metrics = place.facts.daemon.metrics if place.facts.daemon is not None else {}
    latched = sum(value for name, value in metrics.items() if name.startswith("forwarder_client_repeats_total{") and value)
    if latched:
        yield Finding(
            "clients-repeat",
            Severity.NOTICE,
            f"{latched:.0f} times a client asked again what it had been told, or what was on its way",
            "clients that were latched before the daemon came, musl on failures, or responses lost between here and there",
            "forwarder_client_repeats_total{after} says which; docs/incidents.md (S2) what helps",
        )
    lost = sum(value for name, value in metrics.items() if name.startswith("forwarder_receive_drops_total"))
    if lost:
        yield Finding(
            "queries-dropped",
            Severity.NOTICE,
            f"{lost:.0f} queries were dropped because a socket's buffer was full",
            "those clients waited 5 s",
            "listen.receive_buffer and net.core.rmem_max; more workers",
        )
