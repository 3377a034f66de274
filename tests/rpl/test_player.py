"""The engine tells what went wrong: each claim of a scenario, and each check at its end, can fail."""

import logging

import pytest

from forwarder.serving.udp import UdpDoor
from forwarder.upstream.udp import UdpUpstream
from tests.rpl.parser import parsed
from tests.rpl.player import problem_in

HEAD = """# What it shows.
# Invariant: what always holds.
CONFIG
zones: [{zone: ., upstreams: ["{upstream 1}"]}]
END
upstream 1 answers A 192.0.2.1 TTL 60
client asks A www.example.com with EDNS
"""
LINE = HEAD.count("\n") + 1
HEARD = "client hears NOERROR A 192.0.2.1 TTL 60\n"


def problem(text: str) -> str:
    """What is wrong with a scenario that goes on like this."""
    return problem_in(parsed(HEAD + text, "a.rpl"))


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert not problem(HEARD)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("client hears NXDOMAIN", "RCODE NOERROR, not NXDOMAIN"),
        ("client hears NOERROR A 192.0.2.2", "no A 192.0.2.2 in the answer"),
        ("client hears NODATA", "192.0.2.1 in the answer, not expected"),
        ("client hears NOERROR A 192.0.2.1 at example.com", "no A 192.0.2.1 in the answer"),
        ("client hears NOERROR A 192.0.2.1 TTL 30..59", "TTL 60 of A 192.0.2.1, not 30..59"),
        ("client hears NOERROR A 192.0.2.1 EDE 3", "EDE missing, not 3"),
        ("client hears NOERROR A 192.0.2.1 TC", "TC=0"),
        ("client hears NOERROR A 192.0.2.1 with SOA", "no SOA"),
        ("client hears NOERROR A 192.0.2.1 with AD", "AD=0"),
        ("client hears NOERROR with 2..3 records", "1 records, not 2..3"),
        ("client hears NOERROR A 192.0.2.1 within 5ms..10ms", "heard after 0.000 s, not within 0.005..0.01 s"),
        ("client hears nothing", "there is a response"),
        ("client hears for AAAA SERVFAIL", "no such query is left unheard"),
        ("upstream 1 gets nothing", "it got A "),
        ("upstream 1 gets AAAA www.example.com", "that was not looked at yet"),
        ("upstream 1 got 0 queries", "it is 1, not 0"),
        ("upstream 1 got queries from 2 ports", "it is 1, not 2"),
        ("upstream 1 has 1 connection", "it is 0, not 1"),
        ("upstream 1 replies SERVFAIL", "no query was looked at before"),
        ("metric forwarder_coalesced_total is 1", "it is 0, not 1"),
        ("metric forwarder_colaesced_total is 0", "no metric of that name"),
    ],
)
def test_a_claim_that_does_not_hold_is_told_with_its_line_and_a_trace(line: str, said: str) -> None:
    told = problem(line)
    assert told.startswith(f"a.rpl:{LINE}: {line}\n")
    assert said in told.splitlines()[1]
    assert "    0.000  client asks A www.example.com. over UDP" in told.splitlines()


def test_a_response_that_is_not_there_yet() -> None:
    told = problem(f"{HEARD}upstream 1 is silent\nclient asks A other.example.com\nclient hears SERVFAIL\n")
    assert "nothing was heard for A other.example.com. over UDP" in told
    told = problem(f"{HEARD}upstream 1 is silent\nclient asks A other.example.com\nclient hears SERVFAIL within 100ms\n")
    assert "nothing was heard for A other.example.com. over UDP" in told


def test_a_query_without_response_is_found_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UdpDoor, "reply", lambda _door, _peer, _message: None)
    told = problem("")
    assert told.startswith("a.rpl, at its end\n")
    assert "A www.example.com. over UDP: 0 responses, not 1" in told


def test_a_second_response_is_found_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    once = UdpDoor.reply

    def twice(door: UdpDoor, peer: object, message: bytes) -> None:
        once(door, peer, message)
        once(door, peer, message)

    monkeypatch.setattr(UdpDoor, "reply", twice)
    assert "A www.example.com. over UDP: 2 responses, not 1" in problem(HEARD)


def test_a_response_where_silence_was_right_is_found() -> None:
    assert "there is a response" in problem("client hears nothing ever\n")


def test_a_response_that_echoes_another_question_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    once = UdpDoor.reply
    monkeypatch.setattr(UdpDoor, "reply", lambda door, peer, message: once(door, peer, message.replace(b"www", b"WWW")))
    assert "the question is not the query's" in problem(HEARD)


def test_a_descriptor_left_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UdpUpstream, "release", lambda _upstream, _carrier, *, reuse: None)  # noqa: ARG005 - as it is called
    told = problem(HEARD)
    assert told.startswith("a.rpl, at its end\n")
    assert "left open: [" in told


def test_a_cycle_that_only_the_collector_finds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    once = UdpDoor.reply

    class Knot:
        """Holds itself."""

        def __init__(self) -> None:
            self.itself = self

    Knot.__module__ = "forwarder.knots"

    def knotted(door: UdpDoor, peer: object, message: bytes) -> None:
        Knot()
        once(door, peer, message)

    monkeypatch.setattr(UdpDoor, "reply", knotted)
    assert "only the collector finds" in problem(HEARD)


def test_what_is_logged_as_an_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    once = UdpDoor.reply

    def complaining(door: UdpDoor, peer: object, message: bytes) -> None:
        logging.getLogger("forwarder").error("what a defect says")
        once(door, peer, message)

    monkeypatch.setattr(UdpDoor, "reply", complaining)
    told = problem(HEARD)
    assert told.startswith("a.rpl, in its course\n")
    assert "logged: what a defect says" in told


def test_an_exception_is_told_like_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_door: UdpDoor, _peer: object, _message: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(UdpDoor, "reply", broken)
    told = problem(HEARD)
    assert "ZeroDivisionError" in told
