"""A lookup shown: lines for people as it goes, or one JSON object at its end.

Never sends or waits. Always holds: what is shown is one line each and printable, whatever stands in a response (`responses`).
"""

import json
from typing import Any

from forwarder.lookup.diagnosis import seconds_text, sentence_for
from forwarder.lookup.ledger import End, Entry, Exchange, Remark, Wait
from forwarder.lookup.questions import Query, Wanted, type_text
from forwarder.lookup.responses import CNAME, Reason, rcode_text
from forwarder.lookup.result import AskedAgain, Result
from forwarder.lookup.settings import Settings
from forwarder.wire.names import text_from_name

MAX_DATA_SHOWN = 6
"""Records of one response on its line; JSON has all."""
PORT = ":53"


def heading(wanted: Wanted, settings: Settings, file: str) -> str:
    """Whose habits, and what the file says."""
    types = " and ".join(map(type_text, wanted.types))
    flags = "".join(f" {flag}" for flag in sorted(settings.flags))
    search = " ".join(map(ascii_only, settings.search)) or "-"
    return (
        f"{types} of {wanted.text} as {settings.libc} asks, by {file}\n"
        f"nameservers {' '.join(map(_short, settings.nameservers))}; search {search}; "
        f"options ndots:{settings.ndots} timeout:{settings.timeout} attempts:{settings.attempts}{flags}\n"
    )


def ascii_only(text: str) -> str:
    """What a file says, on one line."""
    return "".join(character if " " < character <= "~" else ascii(character)[1:-1] for character in text)


class Lines:
    """The steps in columns. The widths suit the names of this lookup."""

    def __init__(self, wanted: Wanted, settings: Settings) -> None:
        longest = max((len(domain) for domain in settings.search), default=0)
        self._name = min(len(wanted.text) + longest + 2, 70)
        self._type = max(len(type_text(qtype)) for qtype in wanted.types)
        self._server = max(len(_short(server)) for server in settings.nameservers)

    def title(self) -> str:
        """Above the columns."""
        name, qtype, server = "name".ljust(self._name), "type".ljust(self._type), "server".ljust(self._server)
        return f"{'at':>9}  {'took':>8}  {name}  {qtype}  {server}  answer"

    def line(self, entry: Entry, begun: float) -> str:
        """One step."""
        if isinstance(entry, Exchange):
            name = text_from_name(entry.query.name).ljust(self._name)
            qtype = type_text(entry.query.qtype).ljust(max(self._type, 4))
            times = f"{seconds_text(entry.begun - begun):>9}  {seconds_text(entry.seconds):>8}"
            return f"{times}  {name}  {qtype}  {_short(entry.link.server).ljust(self._server)}  {answer_text(entry)}"
        if isinstance(entry, Wait):
            asked = ", ".join(query.shown for query in entry.queries)
            times = f"{seconds_text(entry.begun - begun):>9}  {seconds_text(entry.seconds):>8}"
            return f"{times}  WAITED in vain for {asked}: the libc {entry.then}"
        return f"{seconds_text(entry.at - begun):>9}  {'':8}  {entry.text}"


def _short(server: str) -> str:
    """An address; its port only where it is another than 53."""
    return server.removesuffix(PORT).strip("[]") if server.endswith(PORT) else server


def outcome_of(one: Exchange) -> str:
    """One word: the RCODE, or what there was instead."""
    if one.response is not None:
        return rcode_text(one.response.rcode)
    return one.why.name.lower() if one.why is not None else one.end.name.lower()


def answer_text(one: Exchange) -> str:
    """What came, on the rest of a line."""
    via = "over TCP: " if one.transport == "tcp" else ""
    if one.end is End.BROKEN and one.why is not None:
        return f"{via}the server {one.why.value}"
    if one.response is None or one.content is None:
        return via + ("not needed any more" if one.end is End.UNUSED else "no answer")
    data = [record.data if record.rtype == one.query.qtype else record.text for record in one.content.records]
    more = [f"and {len(data) - MAX_DATA_SHOWN} more"] if len(data) > MAX_DATA_SHOWN else []
    words = [rcode_text(one.response.rcode)]
    if one.response.is_truncated:
        words.append("truncated")
    if one.content.flaw:
        words.append(f"unreadable ({one.content.flaw})")
    elif not data and not one.response.rcode:
        words.append("no such records")
    ttls = [record.ttl for record in one.content.records if record.rtype in {one.query.qtype, CNAME}]
    shown = ", ".join((*data[:MAX_DATA_SHOWN], *more))
    text = " ".join((*words, *([shown] if shown else []), *([f"(TTL {min(ttls)})"] if ttls else [])))
    return via + "; ".join((text, *(reason.text for reason in one.content.reasons)))


def ending(result: Result) -> str:
    """What follows the steps: reasons, then the sentence."""
    lines = []
    if result.asked_again:
        lines += ["", "asked once more afterwards, with EDNS, for the reason only (RFC 8914; not part of the lookup):"]
        speaking = [again for again in result.asked_again if again.reasons]
        lines += [_again_text(again) for again in speaking]
        silent = len(result.asked_again) - len(speaking)
        if silent:
            lines.append(f"  no reason given {'to any' if not speaking else f'to {silent} more'}")
    return "\n".join((*lines, "", sentence_for(result)))


def _again_text(again: AskedAgain) -> str:
    said = "no answer" if again.rcode is None else rcode_text(again.rcode)
    reasons = ", ".join(reason.text for reason in again.reasons)
    return f"  {again.query.shown} {_short(again.server)}: {said} in {seconds_text(again.seconds)}, {reasons}"


def waiting_text(queries: tuple[Query, ...], servers: tuple[str, ...], seconds: float) -> str:
    """What is waited for while it lasts."""
    asked = ", ".join(query.shown for query in queries)
    return f"waiting for {asked} from {' and '.join(map(_short, servers))}, {seconds:.0f} s more at most"


def as_json(result: Result, file: str) -> str:
    """All of it as one object; docs/lookup.md describes its members."""
    settings = result.settings
    return json.dumps(
        {
            "name": result.wanted.text,
            "types": [type_text(qtype) for qtype in result.wanted.types],
            "libc": str(settings.libc),
            "resolv_conf": file,
            "nameservers": list(settings.nameservers),
            "search": list(settings.search),
            "options": {
                "ndots": settings.ndots,
                "timeout": settings.timeout,
                "attempts": settings.attempts,
                "flags": sorted(settings.flags),
            },
            "resolved": result.is_resolved,
            "interrupted": result.is_interrupted,
            "seconds": _rounded(result.seconds),
            "steps": [_step(entry, result.begun) for entry in result.ledger.entries],
            "asked_again": [_again(again) for again in result.asked_again],
            "sentence": sentence_for(result),
        },
        indent=2,
    )


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _step(entry: Entry, begun: float) -> dict[str, Any]:
    if isinstance(entry, Remark):
        return {"kind": "note", "at": _rounded(entry.at - begun), "text": entry.text}
    times = {"at": _rounded(entry.begun - begun), "seconds": _rounded(entry.seconds)}
    if isinstance(entry, Wait):
        queries = [_question(query) for query in entry.queries]
        return {"kind": "wait", **times, "queries": queries, "servers": list(entry.servers), "then": entry.then}
    content = entry.content
    records = [
        {"owner": record.owner, "type": type_text(record.rtype), "ttl": record.ttl, "data": record.data}
        for record in (content.records if content is not None else ())
    ]
    return {
        "kind": "query",
        **times,
        **_question(entry.query),
        "server": entry.link.server,
        "transport": entry.transport,
        "outcome": outcome_of(entry),
        "truncated": entry.response is not None and entry.response.is_truncated,
        "records": records,
        "reasons": _reasons(content.reasons if content is not None else ()),
    }


def _question(query: Query) -> dict[str, Any]:
    return {"name": text_from_name(query.name), "type": type_text(query.qtype)}


def _reasons(reasons: tuple[Reason, ...]) -> list[dict[str, Any]]:
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def _again(again: AskedAgain) -> dict[str, Any]:
    outcome = "silent" if again.rcode is None else rcode_text(again.rcode)
    return {
        **_question(again.query),
        "server": again.server,
        "seconds": _rounded(again.seconds),
        "outcome": outcome,
        "reasons": _reasons(again.reasons),
    }
