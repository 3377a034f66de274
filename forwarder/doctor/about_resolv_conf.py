"""What a resolv.conf file makes its clients do: whom they ask, in which order, how long they wait, how often they ask.

Pure: findings of facts. Always holds: nothing is said of a nameserver but its place in the file, and whether it is there.
"""

from collections.abc import Iterator

from forwarder.config import AnsweringSettings
from forwarder.doctor.findings import Finding, Severity, severity_of
from forwarder.doctor.perspective import Perspective, is_inside, is_public, short
from forwarder.lookup.settings import MUSL_LONGEST_LINE
from forwarder.node import resolv_conf

OLD_SEARCH = (6, 256)
"""Domains and characters that glibc before 2.26 takes of a search list (MAXDNSRCH)."""


def findings(place: Perspective) -> Iterator[Finding]:
    """All about the file."""
    yield from _about_its_length(place)
    yield from _about_order(place)
    yield from _about_public(place)
    yield from _about_timeout(place)
    yield from _about_options(place)


def _about_its_length(place: Perspective) -> Iterator[Finding]:
    file, text = place.facts.resolv_conf, place.text
    named = sum(bool(resolv_conf.parsed(line).nameservers) for line in text.split("\n"))
    if not named and file in place.facts.texts:
        yield Finding(
            "no-nameserver",
            Severity.NOTICE,
            f"{file} names no nameserver",
            "every libc asks 127.0.0.1 then, and container engines write public resolvers into their containers' files",
            "write `nameserver ADDRESS` there",
        )
    if named > resolv_conf.MAX_NAMESERVERS:
        yield Finding(
            "nameservers-cut",
            Severity.NOTICE,
            f"{file} names {named} nameservers, and {resolv_conf.MAX_NAMESERVERS} is all that any libc asks",
            "those behind the third are never asked",
            "leave out those that are not needed",
        )
    search = " ".join(place.conf.search)
    if len(place.conf.search) > OLD_SEARCH[0] or len(search) > OLD_SEARCH[1]:
        yield Finding(
            "search-cut",
            Severity.NOTICE,
            f"the search list of {file} has {len(place.conf.search)} domains and {len(search)} characters",
            f"glibc before 2.26 takes {OLD_SEARCH[0]} and {OLD_SEARCH[1]}, musl passes over a line of more than "
            f"{MUSL_LONGEST_LINE}: short names are not found",
            "shorten the list",
        )


def _about_order(place: Perspective) -> Iterator[Finding]:
    ours = [one.address for one in place.ours]
    asked = list(dict.fromkeys(place.settings.nameservers))
    if not ours:
        if place.facts.config is not None:
            named = [short(one) for one in place.facts.config.listen.addresses if one.endswith(":53")]
            yield Finding(
                "daemon-not-asked",
                Severity.NOTICE,
                f"{place.facts.resolv_conf} names {', '.join(map(short, asked))}, and not this daemon",
                "what runs with this file is not helped by the daemon; pods get theirs from their kubelet",
                f"nameserver {named[0]}" if named else "listen.addresses with port 53, for resolv.conf knows no other",
            )
        return
    if asked[0] not in ours:
        yield Finding(
            "daemon-not-first",
            Severity.PROBLEM,
            f"{place.facts.resolv_conf} names {short(asked[0])} before {short(ours[0])}, which is this daemon",
            "glibc asks the daemon only once the others were silent for 5 s; musl takes whoever is first",
            f"put `nameserver {short(ours[0])}` first, and leave it alone there",
        )
    elif others := [address for address in asked if address not in ours]:
        yield Finding(
            "daemon-beside-others",
            Severity.NOTICE,
            f"{', '.join(map(short, others))} stands behind this daemon in {place.facts.resolv_conf}",
            "glibc asks there after a SERVFAIL or while the daemon is away, musl asks everybody at once: answers come past "
            "the daemon",
            "leave the daemon alone there, and name the others as its upstreams",
        )


def _about_public(place: Perspective) -> Iterator[Finding]:
    """Resolvers of the wide world: with others beside them, or where nobody answers."""
    asked = list(dict.fromkeys(place.settings.nameservers))
    public = [address for address in asked if is_public(address)]
    inside = [address for address in asked if is_inside(address.rpartition(":")[0].strip("[]"))]
    silent = [one.address for one in place.nameservers if one.address in public and one.is_silent]
    if silent and len(silent) == len(public):
        yield Finding(
            "public-resolvers",
            severity_of(is_problem=not place.ours),
            f"{place.facts.resolv_conf} names {', '.join(map(short, silent))}, public resolvers that are silent here",
            "nobody of this network may have named them: Docker writes 8.8.8.8 and 8.8.4.4 into a container's file when the "
            "host's names nobody but loopback; each lookup waits them out, 10 s and more",
            'dockerd: {"dns": ["ADDRESS OF THE DAEMON"]} in /etc/docker/daemon.json; else mend what writes the file',
        )
    elif public and inside:
        yield Finding(
            "nameservers-mixed",
            Severity.NOTICE,
            f"{place.facts.resolv_conf} names {', '.join(map(short, inside))} of this network beside the public "
            f"{', '.join(map(short, public))}",
            "when the former is slow once, the latter says that names of this network do not exist, and is believed",
            "name servers that know the same; give zones of their own to a forwarder on the node",
        )


def _about_timeout(place: Perspective) -> Iterator[Finding]:
    config = place.facts.config
    deadline = (config.answering if config is not None else AnsweringSettings()).deadline
    settings = place.settings
    if place.ours and settings.timeout <= deadline:
        yield Finding(
            "timeout-short",
            Severity.PROBLEM,
            f"timeout:{settings.timeout} in {place.facts.resolv_conf}, and the daemon may take {deadline:g} s",
            "clients give up before they are told why, and ask again meanwhile",
            f"options timeout:{int(deadline) + 1}, or a shorter answering.deadline",
        )
    if settings.attempts == 1:
        yield Finding(
            "attempts-one",
            Severity.NOTICE,
            f"attempts:1 in {place.facts.resolv_conf}",
            "one response that is lost is a lookup that fails",
            "options attempts:2, which is the default",
        )


OPTIONS = {
    "single-request": ("A is asked, then AAAA: each lookup takes twice as long", "it is not needed with a daemon on the node"),
    "single-request-reopen": (
        "a second socket once an answer was late; musl does not know the option, so Alpine is not helped",
        "it is not needed with a daemon on the node",
    ),
    "use-vc": (
        "each lookup opens a TCP connection first; musl does not know the option",
        "leave it out, ask a daemon on the node",
    ),
    "rotate": ("each nameserver of the file is asked in turn, whatever it knows", "leave it out"),
    "trust-ad": ("clients believe AD of whoever answers", "keep it only where the way to the nameserver is trusted"),
}
"""Options of glibc that are worth a word: what they do, and the mend."""


def _about_options(place: Perspective) -> Iterator[Finding]:
    for flag in sorted(place.settings.flags & OPTIONS.keys()):
        means, mend = OPTIONS[flag]
        if flag == "trust-ad" and all(is_inside(one.rpartition(":")[0].strip("[]")) for one in place.settings.nameservers):
            continue
        if flag == "rotate" and len(set(place.settings.nameservers)) == 1:
            continue
        yield Finding(f"option-{flag}", Severity.NOTICE, f"options {flag} in {place.facts.resolv_conf}", means, mend)
