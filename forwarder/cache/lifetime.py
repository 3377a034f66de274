"""How long a response may be kept: the only place that knows RFC 2308.

Pure. Always holds: a lifetime is never longer than the TTLs of the records it stands for, nor than the zone's limits.
"""

from dataclasses import dataclass

from forwarder.wire.records import POSITIVE, Kind, Response

BRIEF = 1
"""Seconds for what proves little: a negative response without SOA, an alias with nothing behind it. RFC 2308 section 5 would
not keep the first at all; one second keeps a burst of equal queries off the upstream and is over before anybody notices."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a zone allows, whole seconds."""

    max_ttl: int
    """Longest life of a positive answer."""
    max_negative_ttl: int
    """Longest life of a negative one."""
    maximum_stale_timer: float = 0.0
    """How long a positive answer may be used beyond its life when nobody gives another (RFC 8767 section 5)."""


def lifetime_for(response: Response, limits: Limits) -> int:
    """Whole seconds to keep the response; 0: it is passed on and forgotten."""
    if response.kind is POSITIVE:
        return min(limits.max_ttl, response.least_ttl)
    match response.kind:
        case Kind.NODATA | Kind.NXDOMAIN:
            lifetime = min(response.negative_ttl if response.negative_ttl >= 0 else BRIEF, limits.max_negative_ttl)
            return min(lifetime, response.least_ttl) if any(response.counts) else lifetime
        case Kind.DANGLING:
            return min(BRIEF, response.least_ttl)
        case _:
            return 0


def stale_lifetime_for(response: Response, limits: Limits) -> float:
    """Seconds after its lifetime for which the response may stand in for one that cannot be had (RFC 8767 section 5).

    None for a negative response: what did not exist may exist by now.
    """
    return limits.maximum_stale_timer if response.kind is POSITIVE else 0.0
