"""The host: its clock and its links.

Pure: findings of facts.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from forwarder.doctor.facts import Facts
from forwarder.doctor.findings import Finding, Severity
from forwarder.doctor.perspective import Perspective

LEAST_MTU = 1280
"""Octets of IPv6's least MTU (RFC 8200 section 5): DNS counts on it with its 1,232."""
OVERHEAD = {"vxlan": 50, "geneve": 50, "gretap": 38, "gre": 24, "ipip": 20, "sit": 20, "vlan": 0}
"""Octets that a kind of interface adds, over IPv4."""
NOT_BEFORE = 1_735_689_600
"""2025-01-01: no clock that is right says less."""


def findings(place: Perspective) -> Iterator[Finding]:
    """All about it."""
    yield from _about_clock(place.facts)
    yield from _about_links(place.facts)


def _about_clock(facts: Facts) -> Iterator[Finding]:
    now = datetime.fromtimestamp(facts.at, UTC)
    signed = [server.large.signed for server in facts.servers if server.large is not None and server.large.signed]
    outside = [window for window in signed if not window[0] <= facts.at <= window[1]]
    if facts.at < NOT_BEFORE or (outside and len(outside) == len(signed)):
        window = " to ".join(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in outside[0]) if outside else "2025 on"
        yield Finding(
            "clock-wrong",
            Severity.PROBLEM,
            f"the clock says {now:%Y-%m-%d %H:%M} UTC; a signature of the root zone, as it was just served, holds from "
            f"{window}",
            "certificates and DNSSEC signatures do not hold: upstreams over TLS are not used, validating servers say SERVFAIL",
            "chronyc makestep, or timedatectl set-ntp true",
        )
    elif facts.clock is not None and not facts.clock.is_synchronised:
        yield Finding(
            "clock-free",
            Severity.NOTICE,
            f"nothing keeps the clock right (adjtimex: unsynchronised, may be wrong by {facts.clock.error:.0f} s)",
            "it will drift until certificates and DNSSEC signatures do not hold",
            "chronyc tracking, or timedatectl timesync-status; in a virtual machine the host may keep it",
        )


def _about_links(facts: Facts) -> Iterator[Finding]:
    links = {one.name: one for one in facts.interfaces or () if one.is_up}
    for one in links.values():
        if one.mtu < LEAST_MTU:
            yield Finding(
                "mtu-small",
                Severity.PROBLEM,
                f"{one.name} has an MTU of {one.mtu} octets, {LEAST_MTU} is the least for IPv6",
                "answers of 1,232 octets do not pass in one piece, and fragments get lost",
                f"ip link set {one.name} mtu {LEAST_MTU} or more; `max_udp_size` of the daemon for what cannot be mended",
            )
        for lower in (links[name] for name in one.lower if name in links):
            need = one.mtu + OVERHEAD.get(one.kind, 0)
            if one.kind in OVERHEAD and need > lower.mtu:
                yield Finding(
                    "mtu-overlay",
                    Severity.PROBLEM,
                    f"{one.name} ({one.kind}) has an MTU of {one.mtu}, and needs {need} of {lower.name}, which has {lower.mtu}",
                    "large packets over it are fragmented or lost: small DNS answers pass, large ones and TCP stall",
                    f"ip link set {one.name} mtu {lower.mtu - OVERHEAD[one.kind]}",
                )
