"""Lines to statements; `README.md` beside this file says the same in words.

Strict: each line is one sentence of the language or an error with file and line. Always holds: an upstream that a sentence
names is one the configuration names, and every scenario opens with a comment that says what it shows.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

from tests.rpl.answers import CHANGES
from tests.rpl.clients import TWISTS
from tests.rpl.statements import (
    Asks,
    CountingStarts,
    Expected,
    Gets,
    Got,
    Has,
    Hears,
    Metric,
    Ports,
    Record,
    Replies,
    Reply,
    Scenario,
    Selector,
    Standing,
    Statement,
    TimePasses,
    Turn,
    TurnOfFate,
)
from tests.rpl.words import RCODES, Range, ScenarioError, Words

INVARIANT = "# Invariant: "
UPSTREAM_IN_CONFIG = re.compile(r"\{upstream (\d+)\}")
DEFAULT_PAYLOAD = 1232
"""Octets a client with EDNS takes when no other size is written."""
_STOPS = ("TTL", "at", "and", "with", "without", "within", "EDE", "no", "TC")
"""Words that end the contents of an expected record."""


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file; raises ScenarioError."""
    return parsed(path.read_text(), path.name)


def parsed(text: str, file: str) -> Scenario:
    """The scenario in a text; `file` is what errors call it."""
    lines = text.splitlines()
    opening = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    if not opening or not any(line.startswith(INVARIANT) for line in opening[1:]):
        raise ScenarioError(
            f'{file}:1: a scenario opens with a comment: what it shows, then "{INVARIANT}" and what always holds'
        )
    config, rest = _config(lines, file)
    named = [int(number) for number in UPSTREAM_IN_CONFIG.findall(config)]
    if sorted(set(named)) != list(range(1, len(set(named)) + 1)):
        raise ScenarioError(f"{file}: the configuration names {{upstream 1}}, {{upstream 2}} and so on, none left out")
    upstreams = len(set(named))
    statements = []
    for number in rest:
        line = lines[number].strip()
        if line and not line.startswith("#"):
            statements.append(_statement(Words(line, file, number + 1), upstreams))
    return Scenario(file, config, upstreams, tuple(statements))


def _config(lines: list[str], file: str) -> tuple[str, range]:
    """What stands between CONFIG and END, and the numbers of the lines behind it."""
    for number, line in enumerate(lines):
        if line == "CONFIG" and "END" in lines[number:]:
            end = lines.index("END", number)
            return "\n".join(lines[number + 1 : end]) + "\n", range(end + 1, len(lines))
        if line.strip() and not line.startswith("#"):
            raise ScenarioError(f"{file}:{number + 1}: CONFIG, and END behind it, should stand before: {line}")
    raise ScenarioError(f"{file}: there is no CONFIG with its END")


def _statement(words: Words, upstreams: int) -> Statement:
    if words.accept("upstream"):
        number = words.count("the number of an upstream")
        if not 1 <= number <= upstreams:
            raise words.error(f"the configuration names no upstream {number}")
        statement = _about_upstream(words, number)
    elif words.accept("time passes"):
        statement = TimePasses(words.line, words.text, words.duration())
    elif words.accept("counting starts again"):
        statement = CountingStarts(words.line, words.text)
    elif words.accept("metric"):
        statement = _metric(words, upstreams)
    else:
        statement = _about_clients(words)
    words.end()
    return statement


# ------------------------------------------------------------------------------------------------------- upstreams


def _about_upstream(words: Words, number: int) -> Statement:
    at = (words.line, words.text, number)
    for turn in Turn:
        if words.accept(turn.value):
            return TurnOfFate(*at, turn)
    verb = words.one_of("is", "answers", "says", "replies", "gets", "got", "has")
    match verb:
        case "gets":
            return Gets(*at, None if words.accept("nothing") else _named(words))
        case "got":
            if words.accept("queries from"):
                count = words.counts()
                words.one_of("port", "ports")
                return Ports(*at, _selected(words), count)
            count = words.counts()
            words.one_of("query", "queries")
            return Got(*at, _selected(words), count)
        case "has":
            count = words.counts()
            words.one_of("connection", "connections")
            return Has(*at, count)
        case "replies":
            return Replies(*at, _reply(words, "says" if words.next in (*RCODES, "NODATA") else "answers"))
    reply = _reply(words, verb)
    selector = _selected(words)
    if reply.records and not selector.rtype:
        selector = Selector(reply.records[-1].rtype, selector.name, selector.transport, selector.edns)
    return Standing(*at, selector, reply)


def _reply(words: Words, verb: str) -> Reply:
    kind, rcode, is_negative, ttl, addresses = "answer", "NOERROR", False, 60, 0
    records: tuple[Record, ...] = ()
    if verb == "is":
        kind = words.one_of("healthy", "silent")
    elif verb == "answers" and words.next.isdigit():
        addresses = words.count()
        words.one_of("addresses TTL")
        ttl = words.count("seconds")
    elif verb == "answers":
        records = _records(words, _told_record)
    else:
        rcode = words.one_of(*RCODES, "NODATA")
        is_negative = rcode in {"NODATA", "NXDOMAIN"}
        rcode = "NOERROR" if rcode == "NODATA" else rcode
        if is_negative and words.accept("TTL"):
            ttl = words.count("seconds")
    changes = []
    delay = 0.0
    while words:
        if words.accept("after"):
            delay = words.duration()
        elif words.accept("without SOA"):
            is_negative = False
        elif found := next((phrase for phrase in CHANGES if words.accept(phrase)), None):
            changes.append(found)
        else:
            break
    return Reply(kind, rcode, records, addresses, is_negative, ttl, tuple(changes), delay)


def _records(words: Words, one: Callable[[Words], Record]) -> tuple[Record, ...]:
    found = [one(words)]
    while words.accept("and"):
        found.append(one(words))
    return tuple(found)


def _told_record(words: Words) -> Record:
    """`A 192.0.2.1 TTL 60 [at OWNER]`."""
    rtype = words.rtype()
    rdata = words.until({"TTL"})
    words.one_of("TTL")
    ttl = float(words.count("seconds"))
    return Record(rtype, rdata, Range(ttl, ttl), words.name() if words.accept("at") else "")


def _selected(words: Words) -> Selector:
    """`[for [queries | TYPE] [NAME] [with EDNS | without EDNS]] [over UDP | over TCP]`."""
    return _named(words) if words.accept("for") else Selector(transport=_transport(words))


def _named(words: Words) -> Selector:
    rtype = name = ""
    edns = None
    if not words.accept("queries") and words.is_type():
        rtype = words.rtype()
    if words.is_name():
        name = words.name().lower()
    transport = _transport(words)
    if words.accept("with EDNS"):
        edns = True
    elif words.accept("without EDNS"):
        edns = False
    return Selector(rtype, name, transport or _transport(words), edns)


def _transport(words: Words) -> str:
    return words.one_of("UDP", "TCP").lower() if words.accept("over") else ""


# --------------------------------------------------------------------------------------------------------- clients


def _about_clients(words: Words) -> Statement:
    if words.accept("client"):
        return _asks(words, 1) if words.one_of("asks", "hears") == "asks" else _hears(words, 1)
    if not words.next.isdigit():
        raise words.unexpected("upstream", "client", "time passes", "metric", "counting starts again")
    count = words.count()
    words.one_of("clients")
    return _asks(words, count) if words.one_of("ask", "hear") == "ask" else _hears(words, count)


def _asks(words: Words, clients: int) -> Asks:
    rtype, name = words.rtype(), words.name()
    transport, payload, source = "udp", None, "127.0.0.1"
    flags, twists = ["RD"], []
    while words:
        if words.accept("over"):
            transport = words.one_of("UDP", "TCP").lower()
        elif words.accept("spelled"):
            spelled = words.name()
            if spelled.lower() != name.lower():
                raise words.error(f"{spelled} is not a spelling of {name}")
            name = spelled
        elif words.accept("RD=0"):
            flags.remove("RD")
        elif words.accept("from"):
            source = words.take("an address")
        elif found := next((phrase for phrase in TWISTS if words.accept(phrase)), None):
            twists.append(found)
        elif words.accept("with EDNS"):
            payload = words.count() if words.next.isdigit() else DEFAULT_PAYLOAD
        elif words.next in {"DO", "CD", "AD"}:
            flags.append(words.take("a flag"))
        else:
            raise words.unexpected("over", "with EDNS", "DO", "CD", "AD", "RD=0", "spelled", "from", *TWISTS)
    if "DO" in flags and payload is None:
        payload = DEFAULT_PAYLOAD
    return Asks(words.line, words.text, clients, rtype, name, transport, payload, tuple(flags), tuple(twists), source)


def _hears(words: Words, clients: int) -> Hears:
    selector = _selected(words)
    at = (words.line, words.text, clients, selector)
    if words.accept("nothing"):
        return Hears(*at, None, is_final=words.accept("ever"))
    return Hears(*at, _expected(words))


def _expected(words: Words) -> Expected:
    said = words.one_of(*RCODES, "NODATA")
    found: dict[str, object] = {"rcode": "NOERROR" if said == "NODATA" else said}
    if words.is_type():
        found["records"] = _records(words, _expected_record)
    while words:
        found.update(_term(words))
    return Expected(**found)  # type: ignore[arg-type]  # each term names a field and gives what belongs there


def _term(words: Words) -> dict[str, object]:
    """One thing expected of a response beside its RCODE and records."""
    if words.accept("EDE"):
        code = words.count("an INFO-CODE")
        return {"error": code, "error_text": words.quoted()}
    if words.accept("no EDE"):
        return {"error": -1}
    if words.accept("TC"):
        return {"is_truncated": True}
    if words.accept("within"):
        return {"within": words.durations()}
    wanted = words.one_of("with", "without", "within", "EDE", "no EDE", "TC") == "with"
    if words.accept("SOA"):
        return {"has_soa": wanted}
    if words.accept("AD"):
        return {"is_authentic": wanted}
    size = words.counts()
    words.one_of("record", "records")
    return {"size": size}


def _expected_record(words: Words) -> Record:
    """`A 192.0.2.1 [TTL 30..60] [at OWNER]`."""
    rtype = words.rtype()
    rdata = words.until(_STOPS)
    ttl = words.counts() if words.accept("TTL") else None
    return Record(rtype, rdata, ttl, words.name() if words.accept("at") else "")


def _metric(words: Words, upstreams: int) -> Metric:
    """`NAME [label=value]... is 3`; `upstream=1` is that upstream's address."""
    name = words.take("the name of a metric")
    labels = []
    while "=" in words.next:
        label, _, value = words.take("a label").partition("=")
        if label == "upstream" and not (value.isdigit() and 1 <= int(value) <= upstreams):
            raise words.error(f"the configuration names no upstream {value}")
        labels.append((label, value))
    words.one_of("is")
    return Metric(words.line, words.text, name, tuple(labels), words.counts())
