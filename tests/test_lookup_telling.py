"""A lookup shown, for people and for programs."""

import json

from forwarder.lookup.questions import query_for, wanted_for
from forwarder.lookup.responses import Reason
from forwarder.lookup.result import AskedAgain
from forwarder.lookup.settings import Libc, settings_for
from forwarder.lookup.steps import Break
from forwarder.lookup.telling import Lines, as_json, ending, heading, waiting_text
from tests.lab.walks import address_of, by_name, played, says

CONF = "nameserver 192.0.2.1\nsearch a.test\noptions ndots:2 edns0\n"


def lines(libc: str, name: str, conf: str, script: object) -> list[str]:
    assert callable(script)
    result, _ = played(libc, name, conf, script)
    form = Lines(result.wanted, result.settings)
    return [form.line(entry, result.begun) for entry in result.ledger.entries]


def test_the_heading_says_what_is_followed() -> None:
    told = heading(wanted_for("host", None), settings_for(CONF, Libc.GLIBC), "/etc/resolv.conf")
    assert told.splitlines() == [
        "A and AAAA of host as glibc asks, by /etc/resolv.conf",
        "nameservers 192.0.2.1; search a.test; options ndots:2 timeout:5 attempts:2 edns0",
    ]


def test_each_step_is_a_line_of_columns() -> None:
    told = lines("glibc", "host", CONF, by_name({"host.": address_of}))
    assert [line.split() for line in told] == [
        ["0.0", "ms", "1.0", "ms", "host.a.test.", "A", "192.0.2.1", "NXDOMAIN"],
        ["0.0", "ms", "1.0", "ms", "host.a.test.", "AAAA", "192.0.2.1", "NXDOMAIN"],
        ["1.0", "ms", "1.0", "ms", "host.", "A", "192.0.2.1", "NOERROR", "192.0.2.1", "(TTL", "60)"],
        ["1.0", "ms", "1.0", "ms", "host.", "AAAA", "192.0.2.1", "NOERROR", "2001:db8::1", "(TTL", "60)"],
    ]
    assert len({line.index("192.0.2.1") for line in told}) == 1
    title = Lines(wanted_for("host", None), settings_for(CONF, Libc.GLIBC)).title()
    assert title.index("server") == told[0].index("192.0.2.1")
    assert title.index("answer") == told[0].index("NXDOMAIN")


def test_waits_and_breaks_are_told() -> None:
    told = lines("glibc", "host.", "options timeout:1 attempts:1\n", by_name({"AAAA host.": lambda _: None}, "NOERROR"))
    assert any("WAITED in vain for AAAA host." in line and "1.0" in line for line in told)
    assert any(line.endswith("no answer") for line in told)
    broken = lines("glibc", "host.", "", lambda _, __: Break.NO_LISTENER)
    assert broken[0].endswith("the server is not there: nothing listens on that port")


def test_a_response_cannot_steer_the_terminal() -> None:
    script = by_name({"TXT host.": lambda query: says(query, "NOERROR", '@ 60 IN TXT "\\027[2J"')})
    result, _ = played("glibc", "host.", "", script, "TXT")
    form = Lines(result.wanted, result.settings)
    assert all(form.line(entry, 0.0).isprintable() for entry in result.ledger.entries)


def test_many_records_are_cut_for_people() -> None:
    records = [f"@ 60 IN A 192.0.2.{number}" for number in range(1, 10)]
    script = by_name({"A host.": lambda query: says(query, "NOERROR", *records)}, "NOERROR")
    told = lines("glibc", "host.", "", script)
    assert "192.0.2.6, and 3 more" in told[0]
    assert "192.0.2.7" not in told[0]


def test_reasons_are_told_as_asked_afterwards() -> None:
    result, _ = played("glibc", "host.", "", by_name({}, "SERVFAIL"))
    query = result.ledger.exchanges[0].query
    other = query_for(query.name, 28, 9, result.settings)
    result.asked_again = [
        AskedAgain(query, "127.0.0.1:53", 2, 0.0004, (Reason(13, "timed out"),)),
        AskedAgain(other, "127.0.0.1:53", None, 2.0, ()),
    ]
    told = ending(result).splitlines()
    assert "not part of the lookup" in told[1]
    assert told[2] == "  A host. 127.0.0.1: SERVFAIL in 0.4 ms, EDE 13 (cached error: timed out)"
    assert told[3] == "  no reason given to 1 more"
    assert told[-1].startswith("Not resolved in ")


def test_waiting() -> None:
    query = query_for(b"\3www\4test\0", 28, 9, settings_for("", Libc.GLIBC))
    assert waiting_text((query,), ("192.0.2.1:53",), 4.0) == "waiting for AAAA www.test. from 192.0.2.1, 4 s more at most"


def test_json_has_all_of_it() -> None:
    script = by_name({"A host.": address_of, "AAAA host.": lambda _: None})
    result, _ = played("glibc", "host", "nameserver 192.0.2.1\nsearch a.test\noptions timeout:1\n", script)
    told = json.loads(as_json(result, "/etc/resolv.conf"))
    assert told["resolved"] is True
    assert (told["name"], told["types"], told["libc"]) == ("host", ["A", "AAAA"], "glibc")
    assert told["options"] == {"ndots": 1, "timeout": 1, "attempts": 2, "flags": []}
    first, *_, last = told["steps"]
    assert (first["kind"], first["name"], first["type"], first["outcome"]) == ("query", "host.a.test.", "A", "NXDOMAIN")
    assert (last["kind"], last["queries"]) == ("wait", [{"name": "host.", "type": "AAAA"}])
    answered = next(step for step in told["steps"] if step.get("outcome") == "NOERROR")
    assert answered["records"] == [{"owner": "host.", "type": "A", "ttl": 60, "data": "192.0.2.1"}]
    assert told["sentence"].startswith("Resolved in 3.0")
    assert sum(step["seconds"] for step in told["steps"] if step["kind"] == "wait") > 2.9
