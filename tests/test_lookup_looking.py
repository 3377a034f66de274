"""A lookup from begin to end, really sent: steps told as they end, reasons asked for afterwards."""

import time

from forwarder.lookup.ledger import Entry, Exchange
from forwarder.lookup.looking import look_up
from forwarder.lookup.questions import wanted_for
from forwarder.lookup.result import Result
from forwarder.lookup.settings import Libc, settings_for
from tests.lab.behaviours import Move, Received, answer, nxdomain, refusal, silent
from tests.lab.scripted import ScriptedUpstream


def looked_up(upstream: ScriptedUpstream, name: str, conf: str = "", libc: Libc = Libc.GLIBC) -> tuple[Result, list[Entry]]:
    told: list[Entry] = []
    settings = settings_for(conf, libc, server=upstream.address)
    result = look_up(wanted_for(name, None), settings, lambda entry, _: told.append(entry), lambda *_: None)
    return result, told


def test_a_name_with_addresses() -> None:
    with ScriptedUpstream() as upstream:
        upstream.on("web.test.", answer("@ 60 IN A 192.0.2.1"), qtype="A")
        upstream.on("web.test.", answer("@ 60 IN AAAA 2001:db8::1"), qtype="AAAA")
        for libc in Libc:
            result, told = looked_up(upstream, "web.test", libc=libc)
            assert result.is_resolved
            assert len([entry for entry in told if isinstance(entry, Exchange)]) == 2
            assert 0 < result.seconds < 5


def test_each_question_is_asked_once_more_with_edns_for_the_reason() -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = answer(rcode="NXDOMAIN", options=[(15, b"\0\x1dcut")])
        result, _ = looked_up(upstream, "host", "search a.test\n")
    assert [one.has_opt for one in upstream.received] == [False] * 4 + [True] * 4
    assert {reason.text for again in result.asked_again for reason in again.reasons} == {"EDE 29 (synthesised: cut)"}
    assert all(one.content is not None and not one.content.reasons for one in result.ledger.exchanges)


def test_with_edns0_the_reasons_are_there_already() -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = answer(rcode="SERVFAIL", options=[(15, b"\0\x16")])
        result, _ = looked_up(upstream, "host.", "options edns0\n")
    assert all(one.has_opt for one in upstream.received)
    assert result.asked_again == []
    content = result.ledger.exchanges[0].content
    assert content is not None
    assert [reason.code for reason in content.reasons] == [22]


def test_the_asking_for_reasons_is_bounded() -> None:
    def silent_to_edns(received: Received) -> list[Move]:
        return silent(received) if received.has_opt else nxdomain("test.")(received)

    with ScriptedUpstream() as upstream:
        upstream.default = silent_to_edns
        begun = time.monotonic()
        result, _ = looked_up(upstream, "host", f"search {' '.join(f'd{number}.test' for number in range(20))}\n")
    assert time.monotonic() - begun < 8
    assert len(result.asked_again) == 24
    assert {again.rcode for again in result.asked_again} == {None}
    assert result.seconds < 2


def test_a_refusal_asks_nobody() -> None:
    with ScriptedUpstream() as upstream:
        upstream.default = refusal("REFUSED")
        result, told = looked_up(upstream, "a$b.test")
    assert upstream.received == []
    assert told == []
    assert "host name" in result.refusal
