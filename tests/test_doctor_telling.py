"""Findings as text and as JSON: all of it there, and printable."""

import json

from forwarder.doctor.judging import judged
from forwarder.doctor.telling import as_json, as_text
from tests.lab.facts import bare, node, ours, reply, server, silence, silent, upstream

SICK = bare(silent(), unknown={"the firewall's rules": "not permitted: run it as root"})


def test_a_problem_is_told_with_figure_meaning_and_mend() -> None:
    text = as_text(SICK, judged(SICK))
    assert text.splitlines()[0] == "clients here ask 192.0.2.53 [silent], by /etc/resolv.conf"
    assert "PROBLEM  server-silent\n  nameserver 192.0.2.53 answered none of 102 queries.\n" in text
    assert "\n  Mend: see whether it runs" in text
    assert "not looked at, so not known to be well:\n  the firewall's rules: not permitted: run it as root\n" in text
    assert text.endswith("1 problem, 0 notices.")


def test_nothing_is_told_of_a_node_that_is_well() -> None:
    facts = node(ours(), upstream())
    assert as_text(facts, judged(facts)) == (
        "clients here ask 169.254.20.10 (this daemon) [1.0 ms], by /etc/resolv.conf\n"
        "the daemon asks 192.0.2.53 [1.0 ms]\n\n"
        "Nothing is wrong that can be seen from here (0 problems, 0 notices)."
    )


def test_a_sentence_ends_once() -> None:
    facts = bare(server(plain=(reply("SOA .", rcode=2), reply())))
    assert "says SERVFAIL to SOA .\n" in as_text(facts, judged(facts))


def test_notices_are_nothing_wrong() -> None:
    facts = bare(server(tcp=silence()))
    assert as_text(facts, judged(facts)).endswith("Nothing is wrong that can be seen from here (0 problems, 1 notice).")


def test_json_has_it_all() -> None:
    told = json.loads(as_json(SICK, judged(SICK)))
    assert told["healthy"] is False
    assert told["nameservers"] == ["192.0.2.53:53"]
    assert told["unknown"] == SICK.unknown
    (one,) = told["findings"]
    assert (one["identifier"], one["severity"]) == ("server-silent", "problem")
    assert one["seen"]
    assert one["means"]
    assert one["mend"]


def test_whatever_stands_in_a_file_is_printable() -> None:
    facts = bare(server(), unknown={"\x1b[31mred\u202e": "caf\u00e9"}, names=())
    text = as_text(facts, [])
    assert "\\x1b[31mred\\u202e: caf\\xe9" in text
    assert text.replace("\n", "").isprintable()
