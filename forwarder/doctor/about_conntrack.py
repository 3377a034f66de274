"""Connection tracking: what it loses, how full it is, whether DNS is kept out of it.

Pure: findings of facts. Always holds: a counter that stood still while the servers were asked is a notice; what was lost before
tells nothing of now. What the kernel's races are, and in which version each was mended, stands beside `RACES`.
"""

from collections.abc import Iterator

from forwarder.doctor.facts import Conntrack
from forwarder.doctor.findings import Finding, Severity, severity_of
from forwarder.doctor.kernel import release_of
from forwarder.doctor.perspective import Perspective, host_of
from forwarder.doctor.rules import ANY

FULL, FILLING = 0.9, 0.75
"""Of nf_conntrack_max: from the first on the kernel throws entries away soon, and drops what is new."""
RACES = (
    ((5, 0), "two first packets of one connection that is translated are dropped (mended in 5.0, 4e35c1cb9460)"),
    ((5, 6), "two that were translated to different servers are dropped (mended in 5.6, 6a757c07e51f)"),
)  # fmt: skip
"""Release that mends it, and what goes wrong before. 4.19 (ed07d9a021df) mended those not translated. Left until 6.12:
entries that clash with the reply of another (a4e6a1031e77), and a source port that is moved because of it (d8f84a9bc7c4)."""
BRIDGES = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")


def findings(place: Perspective) -> Iterator[Finding]:
    """All about it."""
    conntrack = place.facts.conntrack
    if conntrack is not None:
        yield from _about_counters(place, conntrack)
        yield from _about_room(conntrack)
        yield from _about_kernel(place)
    yield from _about_untracked(place)
    yield from _about_bridges(place)


def _total(rows: tuple[dict[str, int], ...], counter: str) -> int:
    return sum(row.get(counter, 0) for row in rows)


def _about_counters(place: Perspective, conntrack: Conntrack) -> Iterator[Finding]:
    counters = ("insert_failed", "drop", "early_drop")
    grown = {one: _total(conntrack.after, one) - _total(conntrack.before, one) for one in counters}
    since_boot = {one: _total(conntrack.after, one) for one in counters}
    rows = [
        f"CPU {cpu}: {row.get('insert_failed', 0)}" for cpu, row in enumerate(conntrack.after) if row.get("insert_failed", 0)
    ]
    if not any(since_boot.values()):
        return
    is_losing = grown["insert_failed"] > 0 or grown["drop"] > 0
    shielded = bool(place.ours) and place.nameservers[:1] == place.ours[:1]
    figures = ", ".join(f"{one} {since_boot[one]} (+{max(grown[one], 0)})" for one in counters if since_boot[one])
    yield Finding(
        "conntrack-insert-failed",
        severity_of(is_problem=is_losing and not shielded),
        f"since boot (and in these {conntrack.seconds:.1f} s): {figures}" + (f"; {', '.join(rows)}" if rows else ""),
        "packets were dropped because two of one connection were entered at one time, or the table was full; of DNS that is "
        "a client that waits 5 s. Kernels before 5.10 count clashes that were resolved as insert_failed too; drop is what "
        "was lost",
        "keep DNS out of it: a daemon on the node with its NOTRACK rules (`forwarder node up`), `transport: tcp` to its "
        "upstreams",
    )


def _about_room(conntrack: Conntrack) -> Iterator[Finding]:
    if conntrack.most and conntrack.entries >= FILLING * conntrack.most:
        share = conntrack.entries / conntrack.most
        yield Finding(
            "conntrack-full",
            severity_of(is_problem=share >= FULL),
            f"{conntrack.entries} of {conntrack.most} connections are tracked ({share:.0%})",
            "once it is full every new connection is dropped, DNS among them, and the kernel logs `table full, dropping "
            "packet`",
            f"sysctl -w net.netfilter.nf_conntrack_max={2 * conntrack.most}; keep DNS out of it (NOTRACK)",
        )


def _about_kernel(place: Perspective) -> Iterator[Finding]:
    release = release_of(place.facts.kernel)
    if not release or release >= RACES[-1][0]:
        return
    left = [text for mended, text in RACES if release < mended]
    yield Finding(
        "kernel-races",
        Severity.NOTICE,
        f"kernel {place.facts.kernel}: {'; '.join(left)}",
        "A and AAAA of one lookup are such a pair; a distribution may have mended it in an older number",
        "a newer kernel; or keep DNS out of conntrack with a daemon on the node",
    )


def _about_untracked(place: Perspective) -> Iterator[Finding]:
    """Whether what clients send to the daemon is tracked, whatever the rules say."""
    facts = place.facts
    if facts.config is None or facts.connections is None:
        return
    hosts = [host for host in map(host_of, facts.config.listen.addresses) if not _is_of_no_concern(host)]
    for host in dict.fromkeys(hosts):
        tracked = sum(host in {one.destination, one.source} for one in facts.connections.some)
        rules = facts.rules
        sides = (rules.untracked_to, rules.untracked_from) if rules is not None else ((), ())
        has_rules = all(host in side or ANY in side for side in sides)
        if tracked and has_rules:
            yield Finding(
                "notrack-ineffective",
                Severity.PROBLEM,
                f"{tracked} tracked connections name {host}, though rules say NOTRACK for it "
                f"({rules.source if rules else '-'})",
                "clients race in conntrack on their way to the daemon; entries older than the rules are gone after 3 minutes",
                f"conntrack -D -d {host}; see that the rules stand in raw (priority -300) of prerouting and output, both "
                "directions",
            )
        elif tracked or (rules is not None and not has_rules and facts.conntrack is not None):
            yield Finding(
                "notrack-missing",
                severity_of(is_problem=bool(tracked)),
                f"no NOTRACK rules for {host}, and {tracked or 'no'} tracked connections name it",
                "A and AAAA of one lookup race in conntrack on their way to the daemon as they did on the way to a server",
                "forwarder node up",
            )


def _is_of_no_concern(host: str) -> bool:
    """Loopback is not forwarded, and a wildcard is no address that rules could name."""
    return host.startswith("127.") or host in {"::1", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _about_bridges(place: Perspective) -> Iterator[Finding]:
    """What is only bridged, and tracked all the same: neither from here, nor to here, nor translated."""
    facts = place.facts
    on = [setting for setting in BRIDGES if facts.settings.get(setting)]
    bridges = [one for one in facts.interfaces or () if one.kind == "bridge" and one.ports]
    if not on or not bridges or facts.connections is None or facts.addresses is None:
        return
    own = frozenset(facts.addresses)
    foreign = [
        one
        for one in facts.connections.some
        if one.source not in own and one.destination not in own and one.replies_from == one.destination
    ]
    if foreign:
        yield Finding(
            "bridge-filtered",
            Severity.PROBLEM,
            f"{on[0]}=1 with {len(bridges)} bridges, and {len(foreign)} DNS connections between others are tracked here, as "
            f"{foreign[0].source} to {foreign[0].destination}",
            "what a VM or container sends over the bridge races in this kernel, where its owner sees nothing of it: every "
            "first lookup may take 5 s",
            "answer them here: a daemon at a link-local address of the bridge, with NOTRACK (`forwarder node up`); setting "
            "it to 0 turns security groups and kube-proxy off for what is bridged",
        )
