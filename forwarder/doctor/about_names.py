"""Names: those that the operator asks about, whether the servers agree about them, and what the search path costs.

Pure: findings of facts. Always holds: only definite answers (NOERROR, NXDOMAIN) are compared, those about one absolute name.
"""

from collections.abc import Iterator
from itertools import combinations

from forwarder.doctor.about_servers import rcode_text
from forwarder.doctor.facts import NameSaid, Reply, Server
from forwarder.doctor.findings import Finding, severity_of
from forwarder.doctor.perspective import Perspective, is_inside, short
from forwarder.wire.message import Rcode

EXTERNAL = "api.example.com"
"""A name of the world as programs write it: two dots."""
DEFINITE = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))
WASTEFUL = 0.5
"""Share of queries that are denied, from where a search path is a burden."""


def findings(place: Perspective) -> Iterator[Finding]:
    """All about names."""
    for server in place.facts.servers:
        if not server.is_silent:
            for name in place.facts.names:
                yield from _about_name(place, server, name)
    yield from _about_disagreement(place)
    yield from _about_search(place)


def _about_name(place: Perspective, server: Server, typed: str) -> Iterator[Finding]:
    """The names a libc makes of it, until one is found."""
    said = {one.name: one for one in server.names}
    for name in place.tries_for(typed):
        if name not in said:
            continue
        one = said[name]
        yield from _about_one(place, server, one)
        if one.a.addresses or one.aaaa.addresses:
            return


def _about_one(place: Perspective, server: Server, one: NameSaid) -> Iterator[Finding]:
    failing = [reply for reply in (one.a, one.aaaa) if not reply.is_answered or reply.rcode not in DEFINITE]
    asked, name = short(server.address), one.name
    if len(failing) == 2 or one.a in failing:  # noqa: PLR2004 - both
        yield Finding(
            "name-fails",
            place.weakness_of(server),
            f"{asked} says {_said(one.a)} to A {name}, {_said(one.aaaa)} to AAAA",
            "musl waits 5 s on each failure and gives the lookup up; a latched glibc before 2.41 waits 10 s",
            "mend the name where it comes from; with a daemon on the node pin it (`hosts`), or `on_failure: nxdomain` for "
            "its zone",
        )
    elif failing:
        yield Finding(
            "aaaa-fails",
            place.weakness_of(server),
            f"{asked} says {_said(one.aaaa)} to AAAA {name}, which has an A",
            "a libc waits 5 s for the half that does not come, and the lookup is slow or fails for all",
            "NOERROR without records is due; `drop_aaaa: true` for the zone in a daemon on the node",
        )
    elif one.a.is_lame or one.aaaa.is_lame:
        yield Finding(
            "lame-answers",
            place.weakness_of(server),
            f"{asked} answers {one.a.question if one.a.is_lame else one.aaaa.question} with nothing, AA and RA unset",
            "glibc takes that for a server that does not serve the name, asks the next, and waits on it like on a failure",
            "an SOA and RA are due; a daemon on the node answers with RA set",
        )
    elif one.a.addresses and one.aaaa.rcode == Rcode.NXDOMAIN:
        yield Finding(
            "aaaa-denied",
            place.weakness_of(server),
            f"{asked} says NXDOMAIN to AAAA {name}, which has an A",
            "NXDOMAIN denies all types: musl believes that there is no such name (RFC 4074)",
            "NOERROR without records is due; a daemon on the node says so in its stead",
        )


def _said(reply: Reply) -> str:
    if not reply.is_answered:
        return "nothing"
    return rcode_text(reply.rcode) + (f" ({reply.note})" if reply.note else "")


# ---------------------------------------------------------------------------------------------------------- agreement


def _about_disagreement(place: Perspective) -> Iterator[Finding]:
    """Whom clients may ask, and whom the daemon asks; of names that the operator pinned the daemon knows better."""
    pinned = place.facts.config.hosts.records if place.facts.config is not None else {}
    names = dict.fromkeys(one.name for server in place.facts.servers for one in server.names)
    for name in names:
        if name.rstrip(".").lower() in pinned:
            continue
        said = [(server, one) for server in place.facts.servers for one in server.names if one.name == name]
        definite = [(server, one.a) for server, one in said if one.a.is_answered and one.a.rcode in DEFINITE]
        for (left, first), (right, second) in combinations(definite, 2):
            if _contradict(first, second):
                yield _disagreement(place, name, (left, first), (right, second))
                break


def _contradict(first: Reply, second: Reply) -> bool:
    """One denies what the other has, or they have no address in common."""
    if not (first.addresses and second.addresses):
        has_one = bool(first.addresses or second.addresses)
        return has_one and Rcode.NXDOMAIN in {first.rcode, second.rcode}
    return set(first.addresses).isdisjoint(second.addresses)


def _disagreement(place: Perspective, name: str, one: tuple[Server, Reply], other: tuple[Server, Reply]) -> Finding:
    addresses = (*one[1].addresses, *other[1].addresses)
    is_ours = any(server.is_ours for server, _ in (one, other))
    concerns_clients = any(place.is_asked_directly(server) for server, _ in (one, other))
    config = place.facts.config
    may_be_pinned = is_ours and config is not None and bool(config.hosts.files)
    texts = [f"{short(server.address)} says {_content(reply)}" for server, reply in (one, other)]
    flush = f"`forwarder flush {name}`" if is_ours else "the cache of who is wrong"
    return Finding(
        "servers-disagree",
        severity_of(is_problem=concerns_clients and not may_be_pinned and any(map(is_inside, addresses))),
        f"about A {name} {' and '.join(texts)}",
        "programs connect to whoever has the old address now, or find nothing, as long as the wrong answer is remembered; of "
        "names of the world with many addresses it means nothing",
        f"flush it: {flush}; a short `max_ttl` for zones whose names move; do not name servers together that know different "
        "things",
    )


def _content(reply: Reply) -> str:
    if not reply.addresses:
        return rcode_text(reply.rcode)
    return f"{', '.join(reply.addresses[:3])} (for {reply.ttl} s more)"


# ------------------------------------------------------------------------------------------------------- search path


def _about_search(place: Perspective) -> Iterator[Finding]:
    """What one name of the world costs with this search list, and whether whom clients ask bears it."""
    tries = place.tries_for(EXTERNAL)
    before = tries.index(f"{EXTERNAL}.")
    share = before / (before + 1)
    first = place.nameservers[0] if place.nameservers else None
    if share < WASTEFUL or first is None or first.is_silent:
        return
    looks = [look for look in first.search if look.denied]
    costly = [look.domain.rstrip(".") for look in looks if not look.synthesised]
    if not costly:
        return
    is_ours = first in place.ours
    mend = f"search: {{domains: [{', '.join(costly)}]}}" if is_ours else "a daemon on the node with `cluster_domain`"
    yield Finding(
        "search-path",
        severity_of(is_problem=not is_ours),
        f"{EXTERNAL} is {2 * (before + 1)} queries, {2 * before} of them for names that do not exist ({share:.0%}): "
        f"ndots:{place.settings.ndots} and {before} search domains",
        f"{short(first.address)} denied none of {sum(look.asked for look in looks if not look.synthesised)} such names from "
        "memory: each new name of the world costs them all upstream",
        f"{mend}; or a final dot in the names that programs use, or ndots:2",
    )
