"""The one sentence at the end: which step was slow or failed, why as far as it shows, and what to do where that is known.

Pure: reads a `Result`. Always holds: it names a step that is in the ledger, and claims no cause that the responses do not show.
"""

from dataclasses import dataclass

from forwarder.lookup.ledger import End, Exchange, Wait
from forwarder.lookup.questions import AAAA, Query, type_text
from forwarder.lookup.responses import rcode_text
from forwarder.lookup.result import Result
from forwarder.lookup.settings import Libc
from forwarder.lookup.steps import Break
from forwarder.wire.message import Rcode
from forwarder.wire.names import text_from_name

SLOW = 0.1
"""Seconds: a step that takes longer is named. A lookup over the network of a data centre takes a hundredth of it."""
MANY_DENIED = 2
"""From so many denied queries on it is worth a word how to save them."""


def sentence_for(result: Result) -> str:
    """What to know of this lookup."""
    if result.refusal:
        return f"Nobody was asked: {result.refusal}."
    if not result.ledger.exchanges:
        return "Nobody was asked."
    what = _slow_step(result) or (_about_denied(result) if result.is_resolved else _failing_step(result))
    return f"{_beginning(result)}{': ' if what else ''}{what}."


def _beginning(result: Result) -> str:
    count = len(result.ledger.exchanges)
    how = "Interrupted after" if result.is_interrupted else "Resolved in" if result.is_resolved else "Not resolved in"
    return f"{how} {seconds_text(result.seconds)}, with {count} {'query' if count == 1 else 'queries'}"


def _slow_step(result: Result) -> str:
    """The longest wait in vain, or the slowest answer; empty when neither took long."""
    answered = [one for one in result.ledger.exchanges if one.end is End.ANSWERED]
    slowest = max(answered, key=lambda one: one.seconds, default=None)
    wait = _longest_wait(result.ledger.waits)
    if wait is not None and wait.seconds >= SLOW and (slowest is None or wait.seconds >= slowest.seconds):
        return _about_wait(result, wait)
    if slowest is not None and slowest.seconds >= SLOW:
        return f"the slow step was {_told(slowest)} after {seconds_text(slowest.seconds)}{_known_reason(result, slowest)}"
    return ""


@dataclass(frozen=True, slots=True)
class _Waited:
    """All waits in vain for one name."""

    queries: tuple[Query, ...]
    servers: tuple[str, ...]
    seconds: float


def _longest_wait(waits: list[Wait]) -> _Waited | None:
    by_name: dict[bytes, list[Wait]] = {}
    for wait in waits:
        by_name.setdefault(wait.queries[0].name, []).append(wait)
    sums = [
        _Waited(
            min((wait.queries for wait in same), key=len),
            tuple(dict.fromkeys(server for wait in same for server in wait.servers)),
            sum(wait.seconds for wait in same),
        )
        for same in by_name.values()
    ]
    return max(sums, key=lambda waited: waited.seconds, default=None)


def _about_wait(result: Result, wait: _Waited) -> str:
    name, libc = wait.queries[0].name, result.settings.libc
    types = " and ".join(dict.fromkeys(type_text(query.qtype) for query in wait.queries))
    what = f"{types} {text_from_name(name)} from {' and '.join(wait.servers)}"
    begin = f"{seconds_text(wait.seconds)} of it passed waiting for {what}"
    exchanges = [one for one in result.ledger.exchanges if one.link.server in wait.servers]
    asked = [one for one in exchanges if one.query in wait.queries]
    failures = [one for one in asked if one.response and one.response.rcode not in _PLAIN_RCODES]
    if failures and libc is Libc.MUSL:
        said = " and ".join(sorted({_rcode(one) for one in failures}))
        return (
            f"{begin}, which said {said}{_known_reason(result, failures[0])}: to musl that is silence; "
            "mend that answer where it comes from, or have the name answered on the node"
        )
    if any(one.end is End.ANSWERED for one in exchanges if one.query.name == name and one not in asked):
        return f"{begin}, which answered the other half of the pair{_about_half(result, wait)}"
    if any(one.end is End.ANSWERED for one in exchanges):
        why = "it answered other queries, so its own upstream for this name may be silent, or the query was lost"
        return f"{begin}; {why}{_known_reason(result, asked[0]) if asked else ''}"
    return f"{begin}, which answered nothing at all: see whether it runs, and whether a firewall lets its port pass both ways"


def _about_half(result: Result, wait: _Waited) -> str:
    """Why one of two was not answered: glibc's second attempt, in which it leaves alone, tells."""
    libc = result.settings.libc
    same = [one for one in result.ledger.exchanges if one.query in wait.queries]
    option = "set `options single-request-reopen`, or " if libc is Libc.GLIBC else ""
    mend = f"{option}ask a forwarder on the node, past conntrack"
    lost = "of two queries that leave one port together one is lost on the way (conntrack: `conntrack -S`, insert_failed)"
    if any(one.end is End.ANSWERED for one in same):
        return f", and this one when it was asked again: {lost}; {mend}"
    if libc is Libc.GLIBC and len(same) > 1:
        no_aaaa = ", or set `options no-aaaa` where nobody needs IPv6" if wait.queries[0].qtype == AAAA else ""
        return f", and not this one even when it left alone: the server, or its upstream, is silent on it; mend that{no_aaaa}"
    return f": either {lost}, or the server is silent on this type; {mend}"


def _told(one: Exchange) -> str:
    """`10.96.0.10:53 answering AAAA www.example. with NXDOMAIN`."""
    return f"{one.link.server} answering {one.query.shown} with {_rcode(one)}"


def _rcode(one: Exchange) -> str:
    return rcode_text(one.response.rcode) if one.response is not None else "nothing"


def _known_reason(result: Result, one: Exchange) -> str:
    """` (EDE 13, cached error)`: of the response, or of the same question asked once more."""
    reasons = one.content.reasons if one.content is not None else ()
    for again in result.asked_again:
        if (again.server, again.query.name, again.query.qtype) == (one.link.server, one.query.name, one.query.qtype):
            reasons = reasons or again.reasons
    return "".join(f", {reason.text}" for reason in reasons)


def _failing_step(result: Result) -> str:
    exchanges = result.ledger.exchanges
    answered = [one for one in exchanges if one.response is not None]
    broken = next((one for one in exchanges if one.why is not None), None)
    if broken is not None and broken.why is not None and not answered:
        mend = "; start it, or name another nameserver" if broken.why is Break.NO_LISTENER else ""
        return f"the failing step was {broken.query.shown}, as {broken.link.server} {broken.why.value}{mend}"
    failure = next((one for one in answered if one.response and one.response.rcode not in _PLAIN_RCODES), None)
    if failure is not None:
        return f"the failing step was {_told(failure)}{_known_reason(result, failure)}"
    lame = next((one for one in answered if one.response and one.response.is_lame), None)
    if lame is not None and result.settings.libc is Libc.GLIBC:
        empty = "with nothing in it, AA and RA unset, which glibc takes for a server that does not serve the name"
        return f"the failing step was {lame.link.server} answering {lame.query.shown} {empty}"
    flawed = next((one for one in answered if one.content and one.content.flaw), None)
    if flawed is not None and flawed.content is not None:
        return f"the failing step was {flawed.link.server} answering {flawed.query.shown} unreadably ({flawed.content.flaw})"
    return _disagreement(answered) or _absence(answered)


_PLAIN_RCODES = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))


def _disagreement(answered: list[Exchange]) -> str:
    """One half of a pair has addresses, the other says that there is no such name: musl believes the latter."""
    there = next((one for one in answered if one.content and one.content.has(one.query.qtype)), None)
    if there is None:
        return ""
    other = next((one for one in answered if one.query.name == there.query.name and one.query.qtype != there.query.qtype), None)
    if other is None or other.response is None or other.response.rcode != Rcode.NXDOMAIN:
        return ""
    return (
        f"the failing step was {_told(other)} although the name has {type_text(there.query.qtype)}: "
        "it should say NOERROR without records, for NXDOMAIN denies all types and musl believes it"
    )


def _absence(answered: list[Exchange]) -> str:
    there = next((one for one in reversed(answered) if one.response and one.response.rcode == Rcode.NOERROR), None)
    if there is not None:
        types = dict.fromkeys(type_text(one.query.qtype) for one in answered if one.query.name == there.query.name)
        return f"{text_from_name(there.query.name)} exists, and has no {' or '.join(types)}"
    names = dict.fromkeys(one.query.name for one in answered)
    if not names:
        return "no answer came that counts"
    which = text_from_name(next(iter(names))) if len(names) == 1 else f"all {len(names)} names that were asked"
    return f"no such name: {which}, said {' and '.join(dict.fromkeys(one.link.server for one in answered))}"


def _about_denied(result: Result) -> str:
    denied = [one for one in result.ledger.exchanges if one.response and one.response.rcode == Rcode.NXDOMAIN]
    if len(denied) < MANY_DENIED:
        return ""
    found = text_from_name(result.answers[0].query.name)
    return f"{len(denied)} of them were for names that do not exist; {found} with its final dot is asked at once"


def seconds_text(seconds: float) -> str:
    """`0.4 ms`, `312 ms`, `5.003 s`."""
    milliseconds = seconds * 1000
    if milliseconds < 10:  # noqa: PLR2004 - three figures are enough
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if seconds < 1 else f"{seconds:.3f} s"
