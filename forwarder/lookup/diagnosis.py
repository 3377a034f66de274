"""The one sentence at the end: which step was slow or failed, why as far as it shows, and what to do where that is known.

Pure: reads a `Result`. Always holds: it names a step that is in the ledger, and claims no cause that the responses do not show.
"""

from dataclasses import dataclass

from forwarder.lookup.ledger import End, Exchange, Wait
from forwarder.lookup.questions import Query, type_text
from forwarder.lookup.responses import rcode_text
from forwarder.lookup.result import Result
from forwarder.lookup.settings import Libc
from forwarder.lookup.steps import Break
from forwarder.wire.message import Rcode
from forwarder.wire.names import name_from_text, text_from_name

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
    begin = _beginning(result)
    slowest = max(result.ledger.exchanges, key=lambda one: one.seconds if one.end is End.ANSWERED else 0.0)
    wait = _longest_wait(result.ledger.waits)
    if wait is not None and wait.seconds >= max(SLOW, slowest.seconds):
        return f"{begin} {_about_wait(result, wait)}"
    if slowest.end is End.ANSWERED and slowest.seconds >= SLOW:
        why = _known_reason(result, slowest)
        return f"{begin} The slow step: {_told(slowest)} after {seconds_text(slowest.seconds)}{why}."
    if not result.is_resolved:
        return f"{begin} {_about_failure(result)}"
    return f"{begin}{_about_denied(result)}"


def _beginning(result: Result) -> str:
    if result.is_interrupted:
        return f"Interrupted after {seconds_text(result.seconds)}."
    count = len(result.ledger.exchanges)
    queries = "1 query" if count == 1 else f"{count} queries"
    return f"{'Resolved' if result.is_resolved else 'Not resolved'} in {seconds_text(result.seconds)}, with {queries}."


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
    servers = " and ".join(wait.servers)
    what = f"{_types(wait.queries)} {text_from_name(wait.queries[0].name)}"
    begin = f"{seconds_text(wait.seconds)} of it passed waiting for {what} from {servers}"
    exchanges = [one for one in result.ledger.exchanges if one.link.server in wait.servers]
    same_name = [one for one in exchanges if one.query.name == wait.queries[0].name]
    asked = [one for one in same_name if one.query.qtype in {query.qtype for query in wait.queries}]
    failures = {
        one.response.rcode for one in asked if one.response and one.response.rcode not in {Rcode.NOERROR, Rcode.NXDOMAIN}
    }
    libc = result.settings.libc
    if failures and libc is Libc.MUSL:
        said = " and ".join(rcode_text(rcode) for rcode in sorted(failures))
        return (
            f"{begin}, which said {said}: to musl that is silence. Mend that answer where it comes from, "
            "or have the name answered on the node."
        )
    if any(one.end is End.ANSWERED for one in same_name if one not in asked):
        option = "set `options single-request-reopen`, or " if libc is Libc.GLIBC else ""
        return (
            f"{begin}, which answered the other half of the pair: either queries that leave one port together are lost "
            f"on the way (conntrack: `conntrack -S`, insert_failed), or the server is silent on this type. To end it, {option}"
            "ask a forwarder on the node that is exempt from conntrack."
        )
    broken = next((one.why for one in asked if one.why is not None), None)
    if broken is not None:
        return f"{begin}; it {broken.value}. Name another nameserver, or start that one."
    if any(one.end is End.ANSWERED for one in exchanges):
        late = "it answered other queries: its own upstream for this name may be silent"
        return f"{begin}; {late}, or the query was lost."
    return (
        f"{begin}, which answered nothing at all: see whether it runs, and whether a firewall lets UDP port 53 pass both ways."
    )


def _types(queries: tuple[Query, ...]) -> str:
    return " and ".join(dict.fromkeys(type_text(query.qtype) for query in queries))


def _told(one: Exchange) -> str:
    """`10.96.0.10:53 answered AAAA www.example. with NXDOMAIN`."""
    said = rcode_text(one.response.rcode) if one.response is not None else "nothing"
    return f"{one.link.server} answered {one.query.shown} with {said}"


def _known_reason(result: Result, one: Exchange) -> str:
    """`, EDE 13 (cached error)`: of the response, or of the same question asked once more."""
    reasons = one.content.reasons if one.content is not None else ()
    for again in result.asked_again:
        if (again.server, again.query.name, again.query.qtype) == (one.link.server, one.query.name, one.query.qtype):
            reasons = reasons or again.reasons
    return "".join(f", {reason.text}" for reason in reasons)


def _about_failure(result: Result) -> str:
    exchanges = result.ledger.exchanges
    broken = next((one for one in exchanges if one.why is not None), None)
    answered = [one for one in exchanges if one.response is not None]
    if broken is not None and broken.why is not None and not answered:
        mend = " Start it, or name another nameserver." if broken.why is Break.NO_LISTENER else ""
        return f"The failing step: {broken.query.shown}, for {broken.link.server} {broken.why.value}.{mend}"
    failure = next((one for one in answered if one.response and one.response.rcode not in _PLAIN_RCODES), None)
    if failure is not None:
        return f"The failing step: {_told(failure)}{_known_reason(result, failure)}."
    lame = next((one for one in answered if one.response and one.response.is_lame), None)
    if lame is not None and result.settings.libc is Libc.GLIBC:
        return (
            f"The failing step: {lame.link.server} answered {lame.query.shown} with nothing in it, AA and RA unset, "
            "which glibc takes for a server that does not serve the name."
        )
    flawed = next((one for one in answered if one.content and one.content.flaw), None)
    if flawed is not None and flawed.content is not None:
        said = f"{flawed.link.server} answered {flawed.query.shown}"
        return f"The failing step: {said} with what cannot be read: {flawed.content.flaw}."
    return _about_absence(answered)


_PLAIN_RCODES = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN))


def _about_absence(answered: list[Exchange]) -> str:
    there = next((one for one in reversed(answered) if one.response and one.response.rcode == Rcode.NOERROR), None)
    if there is not None:
        types = _types(tuple(one.query for one in answered if one.query.name == there.query.name))
        return f"{text_from_name(there.query.name)} exists, and has no {types.replace(' and ', ' or ')}."
    names = {one.query.name for one in answered}
    if not names:
        return "No answer came that counts."
    which = text_from_name(next(iter(names))) if len(names) == 1 else f"all {len(names)} names that were asked"
    return f"No such name: {which}, said {' and '.join(dict.fromkeys(one.link.server for one in answered))}."


def _about_denied(result: Result) -> str:
    denied = [one for one in result.ledger.exchanges if one.response and one.response.rcode == Rcode.NXDOMAIN]
    if len(denied) < MANY_DENIED:
        return ""
    found = text_from_name(result.answers[0].query.name)
    begin = f" {len(denied)} of them were for names of the search list that do not exist"
    if result.answers[0].query.name == name_from_text(result.wanted.text):
        return f"{begin}: {found} with its final dot is asked at once, as are names with {result.settings.ndots} dots or more."
    return f"{begin}: {found} with its final dot is asked at once."


def seconds_text(seconds: float) -> str:
    """`0.4 ms`, `312 ms`, `5.003 s`."""
    milliseconds = seconds * 1000
    if milliseconds < 10:  # noqa: PLR2004 - three figures are enough
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if seconds < 1 else f"{seconds:.3f} s"
