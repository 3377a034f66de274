"""The scenario language: what each sentence means, and that every other word is an error with file and line."""

from pathlib import Path

import pytest

from tests.rpl.parser import parsed, read_scenario
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
    Selector,
    Standing,
    Statement,
    TimePasses,
    Turn,
    TurnOfFate,
)
from tests.rpl.words import Range, ScenarioError

HEAD = """# What it shows.
# Invariant: what always holds.

CONFIG
zones: [{zone: ., upstreams: ["{upstream 1}", "{upstream 2}"]}]
END
"""
LINE = HEAD.count("\n") + 1
ONE = Range(1, 1)
SIXTY = Range(60, 60)


def statement(line: str) -> Statement:
    """What one line says."""
    (found,) = parsed(HEAD + line, "a.rpl").statements
    assert (found.line, found.text) == (LINE, line)
    return found


def at(line: str) -> tuple[int, str]:
    """Where a statement of one line stands."""
    return LINE, line


def name(text: str) -> Selector:
    return Selector(name=text)


@pytest.mark.parametrize(
    ("line", "selector", "reply"),
    [
        ("is healthy", Selector(), Reply("healthy")),
        ("is silent for AAAA", Selector("AAAA"), Reply("silent")),
        ("is silent for queries with EDNS", Selector(edns=True), Reply("silent")),
        ("is healthy after 300ms", Selector(), Reply("healthy", delay=0.3)),
        ("answers A 192.0.2.1 TTL 60", Selector("A"), Reply("answer", records=(Record("A", "192.0.2.1", SIXTY),))),
        (
            "answers MX 10 mail.example.com. TTL 60 for queries Example.com over TCP without EDNS",
            Selector("MX", "example.com.", "tcp", edns=False),
            Reply("answer", records=(Record("MX", "10 mail.example.com.", SIXTY),)),
        ),
        (
            "answers CNAME b.example. TTL 60 and AAAA 2001:db8::1 TTL 60 at b.example with wrong ID with TC",
            Selector("AAAA"),
            Reply(
                "answer",
                records=(Record("CNAME", "b.example.", SIXTY), Record("AAAA", "2001:db8::1", SIXTY, "b.example.")),
                changes=("with wrong ID", "with TC"),
            ),
        ),
        ("answers 40 addresses TTL 9 for A", Selector("A"), Reply("answer", addresses=40, ttl=9)),
        ("says SERVFAIL over UDP", Selector(transport="udp"), Reply("answer", "SERVFAIL")),
        ("says NODATA", Selector(), Reply("answer", is_negative=True)),
        (
            "says NXDOMAIN TTL 9 for www.example.com",
            name("www.example.com."),
            Reply("answer", "NXDOMAIN", is_negative=True, ttl=9),
        ),
        ("says NXDOMAIN without SOA", Selector(), Reply("answer", "NXDOMAIN")),
        ("says FORMERR without question", Selector(), Reply("answer", "FORMERR", changes=("without question",))),
    ],
)
def test_standing_behaviour(line: str, selector: Selector, reply: Reply) -> None:
    line = f"upstream 2 {line}"
    assert statement(line) == Standing(*at(line), 2, selector, reply)


@pytest.mark.parametrize("turn", Turn)
def test_an_upstream_as_a_whole(turn: Turn) -> None:
    line = f"upstream 1 {turn.value}"
    assert statement(line) == TurnOfFate(*at(line), 1, turn)


def test_steps_of_upstreams() -> None:
    line = "upstream 1 gets AAAA WWW.example.com over UDP with EDNS"
    assert statement(line) == Gets(*at(line), 1, Selector("AAAA", "www.example.com.", "udp", edns=True))
    line = "upstream 1 gets nothing"
    assert statement(line) == Gets(*at(line), 1, None)
    line = "upstream 1 replies SERVFAIL with wrong ID"
    assert statement(line) == Replies(*at(line), 1, Reply("answer", "SERVFAIL", changes=("with wrong ID",)))
    line = "upstream 1 replies A 192.0.2.1 TTL 60"
    assert statement(line) == Replies(*at(line), 1, Reply("answer", records=(Record("A", "192.0.2.1", SIXTY),)))


def test_counts() -> None:
    line = "upstream 1 got 2..4 queries for A www.example.com over TCP"
    assert statement(line) == Got(*at(line), 1, Selector("A", "www.example.com.", "tcp"), Range(2, 4))
    line = "upstream 1 got 1 query"
    assert statement(line) == Got(*at(line), 1, Selector(), ONE)
    line = "upstream 1 got queries from 2..3 ports over UDP"
    assert statement(line) == Ports(*at(line), 1, Selector(transport="udp"), Range(2, 3))
    line = "upstream 2 has 1 connection"
    assert statement(line) == Has(*at(line), 2, ONE)
    line = "counting starts again"
    assert statement(line) == CountingStarts(*at(line))
    line = "metric forwarder_upstream_up upstream=2 reason=timeout is 1"
    labels = (("upstream", "2"), ("reason", "timeout"))
    assert statement(line) == Metric(*at(line), "forwarder_upstream_up", labels, ONE)


@pytest.mark.parametrize(("text", "seconds"), [("400ms", 0.4), ("1.8s", 1.8), ("5m", 300.0), ("1h", 3600.0)])
def test_time(text: str, seconds: float) -> None:
    line = f"time passes {text}"
    assert statement(line) == TimePasses(*at(line), seconds)


def test_asking() -> None:
    line = "client asks A www.example.com"
    assert statement(line) == Asks(*at(line), 1, "A", "www.example.com.")
    line = "50 clients ask AAAA www.example.com over TCP with EDNS 4096 DO RD=0 spelled WWW.example.com from 127.0.0.9"
    expected = Asks(*at(line), 50, "AAAA", "WWW.example.com.", "tcp", 4096, ("DO",), (), "127.0.0.9")
    assert statement(line) == expected
    line = "client asks A . DO"
    assert statement(line) == Asks(*at(line), 1, "A", ".", payload=1232, flags=("RD", "DO"))
    line = "client asks A www.example.com with EDNS version 1 with QR"
    assert statement(line) == Asks(*at(line), 1, "A", "www.example.com.", twists=("with EDNS version 1", "with QR"))


@pytest.mark.parametrize(
    ("line", "selector", "expected"),
    [
        ("SERVFAIL", Selector(), Expected("SERVFAIL")),
        (
            "NOERROR A 192.0.2.1 TTL 30..60 and A 192.0.2.2 EDE 3 within 400ms",
            Selector(),
            Expected(
                records=(Record("A", "192.0.2.1", Range(30, 60)), Record("A", "192.0.2.2")), error=3, within=Range(0.0, 0.4)
            ),
        ),
        ('for AAAA www.example.com SERVFAIL EDE 22 "no response"', Selector("AAAA", "www.example.com."),
         Expected("SERVFAIL", error=22, error_text="no response")),
        ("NODATA with SOA no EDE within 380ms..420ms", Selector(),
         Expected(has_soa=True, error=-1, within=Range(0.38, 0.42))),
        ("NOERROR with 25..30 records TC without AD", Selector(),
         Expected(size=Range(25, 30), is_truncated=True, is_authentic=False)),
        ("NOERROR CNAME b.example. and A 192.0.2.1 at b.example", Selector(),
         Expected(records=(Record("CNAME", "b.example."), Record("A", "192.0.2.1", owner="b.example.")))),
    ],
)  # fmt: skip
def test_hearing(line: str, selector: Selector, expected: Expected) -> None:
    line = f"client hears {line}"
    assert statement(line) == Hears(*at(line), 1, selector, expected)


def test_hearing_nothing() -> None:
    line = "3 clients hear nothing"
    assert statement(line) == Hears(*at(line), 3, Selector(), None)
    line = "client hears for A nothing ever"
    assert statement(line) == Hears(*at(line), 1, Selector("A"), None, is_final=True)


@pytest.mark.parametrize(
    "line",
    [
        "upstream 3 is healthy",
        "upstream one is healthy",
        "upstream 1 is helthy",
        "upstream 1 is healthy today",
        "upstream 1 answers A 192.0.2.1",
        "upstream 1 answers B 192.0.2.1 TTL 60",
        "upstream 1 answers A TTL 60",
        "upstream 1 says NOTHING",
        "upstream 1 got some queries",
        "upstream 1 got 2 answers",
        "client asks www.example.com",
        "client asks A www",
        "client asks A www.example.com over SCTP",
        "client asks A www.example.com spelled www.example.net",
        "client asks A www.example.com loudly",
        "client hears",
        "client hears SERVFAIL within 400",
        "client hears NOERROR A 192.0.2.1 TTL thirty",
        "client hears NOERROR with friends",
        "clients hear NOERROR",
        "time passes",
        "time passes 5 minutes",
        "metric forwarder_upstream_up upstream=3 is 1",
        "metric forwarder_upstream_up",
        'client hears SERVFAIL EDE 22 "no end',
        "nothing happens",
    ],
)
def test_another_word_is_an_error_with_file_and_line(line: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^a\.rpl:{LINE}: "):
        parsed(HEAD + line, "a.rpl")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "a.rpl:1: "),
        (HEAD.replace("# Invariant: what", "# What"), "a.rpl:1: "),
        (HEAD.replace("CONFIG", "client asks A www.example.com"), "a.rpl:4: "),
        (HEAD.replace("END", ""), "a.rpl:4: "),
        (HEAD.partition("CONFIG")[0], "a.rpl: "),
        (HEAD.replace("{upstream 2}", "{upstream 3}"), "a.rpl: "),
    ],
)
def test_a_file_has_its_parts(text: str, where: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parsed(text, "a.rpl")
    assert str(raised.value).startswith(where)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "story.rpl"
    path.write_text(HEAD + "# a remark\n\ntime passes 1s\n")
    scenario = read_scenario(path)
    assert scenario.file == "story.rpl"
    assert scenario.upstreams == 2
    assert scenario.config.startswith("zones: ")
    assert [type(one) for one in scenario.statements] == [TimePasses]
