"""How the servers answer: at all, both halves of a pair, with EDNS, over TCP, whole.

Pure: findings of facts. Always holds: a server that is silent is called silent and nothing else; a weakness of one that clients
do not ask themselves is a notice.
"""

from collections.abc import Iterator

from forwarder.doctor.facts import Pairs, Reply, Server
from forwarder.doctor.findings import Finding, Severity, severity_of
from forwarder.doctor.perspective import Perspective, short
from forwarder.doctor.questions import UNKNOWN_OPTION
from forwarder.wire.message import LEAST_UDP_SIZE, Rcode

BLIP = 1
"""Queries that may be lost now and then; two of a hundred are no accident."""
RACE_FACTOR, RACE_OFFSET = 3, 5
"""A race, not plain loss: pairs from one socket lose more than three times what others lose, and five more."""
NEARLY_ALL, HARDLY_ANY = 0.9, 0.5
SLOW = 0.5
"""Seconds of the slowest of a hundred answers, from where it is worth a word."""
WAITS = "who asks it waits 5 s for nothing, and again, for each name of the search path"
NEXT_IS_ASKED = "the daemon asks the next upstream of the zone, if there is one"
_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}


def rcode_text(rcode: int) -> str:
    """`SERVFAIL`, `RCODE 14`."""
    return _RCODES.get(rcode, f"RCODE {rcode}")


def findings(place: Perspective) -> Iterator[Finding]:
    """All about each server."""
    for server in place.facts.servers:
        if server.roles == ("listen",) and not server.is_ours:
            continue  # the daemon does not run there, which `about_daemon` says
        if server.roles == ("upstream",) and server.transport != "udp":
            yield from _about_stream(place, server)
            continue
        if server.is_silent:
            yield _silent(place, server)
            continue
        yield from _about_loss(place, server)
        yield from _about_edns(place, server)
        yield from _about_size(place, server)
        yield from _about_answers(place, server)
    yield from _about_zones(place)


def _name(server: Server) -> str:
    what = "this daemon" if server.is_ours else "upstream" if server.roles == ("upstream",) else "nameserver"
    return f"{what} {short(server.address)}"


def _why(replies: tuple[Reply, ...]) -> str:
    return next((f" ({reply.error})" for reply in replies if reply.error), "")


def _silent(place: Perspective, server: Server) -> Finding:
    count = len(server.replies) + sum(2 * pairs.sent for pairs in (server.together, server.apart) if pairs is not None)
    why = _why(server.replies)
    means = "glibc goes on to the next where nobody listens, musl waits 5 s all the same" if why else WAITS
    return Finding(
        "server-silent",
        place.weakness_of(server),
        f"{_name(server)} answered none of {count} queries{why}",
        NEXT_IS_ASKED if server.roles == ("upstream",) else means,
        "see whether it runs and whether a firewall lets port 53 pass both ways; take it out where it is named",
    )


def _about_stream(place: Perspective, server: Server) -> Iterator[Finding]:
    """An upstream that is asked over TCP or TLS."""
    if server.tcp is not None and not server.tcp.is_answered:
        yield Finding(
            "server-silent",
            place.weakness_of(server),
            f"{_name(server)} did not answer over {server.transport.upper()}{_why((server.tcp,))}",
            NEXT_IS_ASKED,
            "see whether it listens there and whether a firewall lets the port pass; or take it out of the zone",
        )


def _about_zones(place: Perspective) -> Iterator[Finding]:
    """Zones none of whose upstreams answers: nobody shields clients from that."""
    for zone in place.facts.config.zones if place.facts.config is not None else ():
        asked = [server for server in place.upstreams if zone.zone in server.zones]
        answering = [one for one in asked if (one.tcp is not None and one.tcp.is_answered) or not one.is_silent]
        if asked and not answering:
            yield Finding(
                "zone-unanswered",
                Severity.PROBLEM,
                f"none of the {len(asked)} upstreams of the zone {zone.zone} answers: "
                f"{', '.join(short(one.address) for one in asked)}",
                "names that are in memory are answered for a while; all others are SERVFAIL",
                "mend the way to them, or name others in the zone",
            )


def _about_loss(place: Perspective, server: Server) -> Iterator[Finding]:
    """A pair from one socket against queries from sockets of their own: what is lost, and why."""
    together, apart = server.together, server.apart
    if together is None or apart is None or not apart.sent:
        return
    if apart.lost_aaaa >= NEARLY_ALL * apart.sent and apart.lost_a <= HARDLY_ANY * apart.sent:
        yield Finding(
            "aaaa-silent",
            place.weakness_of(server),
            f"{_name(server)} answered {apart.sent - apart.lost_a} of {apart.sent} A queries and "
            f"{apart.sent - apart.lost_aaaa} AAAA",
            "glibc waits 5 s for the other half, and asks one after the other from then on until its process ends",
            "mend that server, or `drop_aaaa: true` for its zone in a daemon on the node",
        )
    elif together.lost > RACE_FACTOR * apart.lost + RACE_OFFSET and together.halves:
        yield _race(place, server, together, apart)
    elif lost := together.lost + apart.lost:
        queries = 2 * (together.sent + apart.sent)
        yield Finding(
            "answers-lost",
            place.weakness_of(server) if lost > BLIP else Severity.NOTICE,
            f"{lost} of {queries} queries to {_name(server)} were never answered, {apart.lost} of them sent alone",
            "each costs a libc 5 s; one lost half latches glibc: that process asks A, waits, asks AAAA until it ends, and an "
            "old one waits 5 s on each failure from then on",
            "find where packets are lost (`nstat -az UdpRcvbufErrors`, `ethtool -S`); a daemon on the node asks again within "
            "50 ms",
        )
    elif max(together.slowest, apart.slowest) > SLOW:
        yield Finding(
            "server-slow",
            Severity.NOTICE,
            f"the slowest answer of {_name(server)} took {max(together.slowest, apart.slowest):.2f} s",
            "programs wait that long for names that are asked for the first time",
            "see what its own upstream takes; prefetch and stale answers of a daemon on the node hide it",
        )


def _race(place: Perspective, server: Server, together: Pairs, apart: Pairs) -> Finding:
    return Finding(
        "pair-lost",
        place.weakness_of(server),
        f"{together.halves} of {together.sent} pairs of A and AAAA sent to {_name(server)} from one socket lost one half; of "
        f"{2 * apart.sent} queries from sockets of their own {apart.lost or 'none'} got lost",
        "somebody on the way tracks connections and loses the race between the two (conntrack, insert_failed): this node "
        "where the address is translated, or a host whose bridge is filtered; glibc waits 5 s then, musl 2.5 s for each name",
        "a daemon on the node, asked past conntrack: `forwarder node up`; where a VM stalls, on its compute node "
        "(net.bridge.bridge-nf-call-iptables)",
    )


def _about_edns(place: Perspective, server: Server) -> Iterator[Finding]:
    base = server.plain[-1] if server.plain else None
    if base is None or not base.is_answered or server.edns is None:
        return
    said = list(dict.fromkeys(_edns_flaws(base, server)))
    if said:
        option = " `options edns0` stands in this resolv.conf." if "edns0" in place.settings.flags else ""
        yield Finding(
            "edns-broken",
            place.weakness_of(server),
            f"{_name(server)} and EDNS: {'; '.join(said)}",
            f"clients that send EDNS (newer libraries, dig, edns0) find nothing, wait, or throw the answer away.{option}",
            "mend it (RFC 6891), or put a daemon before it, which speaks to each side as that side can",
        )


def _edns_flaws(base: Reply, server: Server) -> Iterator[str]:
    edns, option, version = server.edns, server.option, server.version
    for what, reply in (("a query with OPT", edns), ("an option it does not know", option)):
        if reply is None:
            continue
        if not reply.is_answered:
            if what == "a query with OPT" or (edns is not None and edns.is_answered):
                yield f"{what} is met with silence, without it there is an answer after {1000 * (base.seconds or 0):.0f} ms"
        elif reply.rcode != base.rcode and reply.rcode in {Rcode.FORMERR, Rcode.NOTIMP, Rcode.SERVFAIL, Rcode.BADVERS}:
            yield f"{what} is met with {rcode_text(reply.rcode)}, without it there is {rcode_text(base.rcode)}"
        else:
            yield from _opt_flaws(reply)
    if version is None or not version.is_answered or version.rcode == Rcode.BADVERS or version.opts:
        return
    if (edns is not None and edns.opts) or (base.addresses and not version.addresses):
        yield f"version 1 is met with {rcode_text(version.rcode)} and no OPT, BADVERS is due"


def _opt_flaws(reply: Reply) -> Iterator[str]:
    if reply.opts > 1:
        yield f"{reply.opts} OPT records in one response"
    if reply.is_opt_misplaced:
        yield "OPT in another section, or with a name"
    if reply.flaw:
        yield f"the response cannot be read: {reply.flaw}"
    if UNKNOWN_OPTION in reply.options:
        yield "the client's own option comes back"


def _about_size(place: Perspective, server: Server) -> Iterator[Finding]:
    """What is too large, too small, or cut."""
    plain = (*server.plain, *(one for said in server.names for one in (said.a, said.aaaa)))
    answered = [reply for reply in plain if reply.is_answered]
    torn = [reply for reply in answered if reply.octets > LEAST_UDP_SIZE]
    if torn:
        yield Finding(
            "size-ignored",
            place.weakness_of(server),
            f"{_name(server)} sent {torn[0].octets} octets over UDP to a client that takes {LEAST_UDP_SIZE} "
            f"({torn[0].question})",
            "clients without EDNS get a torn message",
            "mend it (TC=1 is due), or put a daemon before it",
        )
    has_tcp = server.tcp is not None and server.tcp.is_answered
    always_cut = bool(answered) and all(reply.is_truncated for reply in answered)
    why = _why((server.tcp,)) if server.tcp is not None else ""
    if always_cut:
        yield Finding(
            "truncates",
            place.weakness_of(server) if not has_tcp else Severity.NOTICE,
            f"{_name(server)} truncates each of {len(answered)} answers, and {'answers' if has_tcp else 'is silent'} over "
            f"TCP{why}",
            "each lookup takes a TCP connection; musl before 1.2.4 never makes one",
            "mend it, or put a daemon before it that asks over TCP (`transport: tcp`)",
        )
    elif not has_tcp and server.tcp is not None:
        yield Finding(
            "tcp-refused",
            Severity.NOTICE,
            f"{_name(server)} does not answer over TCP{why}",
            "answers that do not fit a datagram cannot be had (RFC 7766 wants TCP of every server)",
            "open port 53 TCP",
        )
    yield from _about_large(place, server)


def _about_large(place: Perspective, server: Server) -> Iterator[Finding]:
    large, over_tcp, edns = server.large, server.large_tcp, server.edns
    if large is None or over_tcp is None or edns is None or large.is_answered or not over_tcp.is_answered:
        return
    if edns.is_answered and over_tcp.octets > LEAST_UDP_SIZE:
        yield Finding(
            "large-lost",
            place.weakness_of(server),
            f"an answer of {over_tcp.octets} octets of {_name(server)} came over TCP and not over UDP",
            "larger datagrams get lost on the way (MTU of an overlay or a tunnel, fragments that are dropped): such names "
            "time out",
            "compare `ip link` on both sides of the tunnel; a daemon on the node with `transport: tcp` does not care",
        )


def _about_answers(place: Perspective, server: Server) -> Iterator[Finding]:
    """What it says to the plainest questions."""
    answered = [reply for reply in server.plain if reply.is_answered]
    refusing = [reply for reply in answered if reply.rcode == Rcode.REFUSED]
    if answered and len(refusing) == len(answered):
        yield Finding(
            "server-refuses",
            place.weakness_of(server),
            f"{_name(server)} refused {len(refusing)} of {len(answered)} plain questions",
            "it does not serve who asks from here; musl waits 5 s on a REFUSED as on silence",
            "allow this host there, or take it out",
        )
    elif failing := [reply for reply in answered if reply.rcode == Rcode.SERVFAIL]:
        yield Finding(
            "world-fails",
            Severity.NOTICE,
            f"{_name(server)} says SERVFAIL to {', '.join(reply.question for reply in failing)}",
            "names of the world cannot be resolved there; in a closed network that is as it should be"
            if not server.zones or "." in server.zones
            else "names of the zone that it is asked about fail there",
            "see what that server's own upstreams say; NXDOMAIN instead of SERVFAIL spares musl 5 s",
        )
    if any(reply.is_lame for reply in answered):
        yield Finding(
            "lame-answers",
            severity_of(is_problem=place.is_asked_directly(server) and all(reply.is_lame for reply in answered)),
            f"{_name(server)} answers with nothing at all, AA and RA unset",
            "glibc takes that for a server that does not serve the name, and asks the next nameserver; an old one waits",
            "name a server that resolves for others (RA)",
        )
