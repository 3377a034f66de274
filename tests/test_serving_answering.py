"""The recipe: every query gets exactly one response, its own, from the nearest place that knows; what is sent is counted once.

The doors, the upstream and the clock are fakes; everything between them is real.
"""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.observe import counters
from forwarder.upstream.servers import Failed
from tests.lab.behaviours import Behaviour, addresses, answer, nodata, nxdomain, refusal
from tests.lab.clients import extended_errors, query, rdatas
from tests.lab.collector import garbage_after
from tests.lab.kitchen import (
    DEADLINE,
    FAILURE_TTL,
    MAX_UDP_SIZE,
    PINNED_ADDRESS,
    Kitchen,
    counted,
    failure,
    observed,
    octets_of,
    read,
)

COOKIE = (10, b"12345678")


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


# ------------------------------------------------------------------------------------------------------ where it comes from


def test_policy_comes_before_pinned_names(kitchen: Kitchen) -> None:
    kitchen.pin(b"\1a\4test\0")
    octets = octets_of("a.test.", "AXFR")
    assert read(kitchen.taken(octets), octets).rcode() == dns.rcode.REFUSED
    octets = octets_of("a.test.", "ANY")
    assert read(kitchen.taken(octets), octets).answer[0][0].to_text() == '"RFC8482" ""'
    assert counted(kitchen.counts) == {("udp", "other", "policy", "REFUSED"): 1, ("udp", "ANY", "policy", "NOERROR"): 1}


def test_pinned_names_come_before_what_an_upstream_said(kitchen: Kitchen) -> None:
    octets = octets_of("A.test.")
    kitchen.remember(octets)
    assert rdatas(read(kitchen.taken(octets), octets)) == ["192.0.2.1"]
    kitchen.pin(b"\1a\4test\0")
    assert rdatas(read(kitchen.taken(octets), octets)) == [PINNED_ADDRESS]


def test_another_type_of_a_pinned_name_exists_not_and_is_not_asked(kitchen: Kitchen) -> None:
    kitchen.pin(b"\1a\4test\0")
    octets = octets_of("a.test.", "AAAA")
    response = read(kitchen.taken(octets), octets)
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])
    assert counted(kitchen.counts) == {("udp", "AAAA", "hosts", "NOERROR"): 1}


def test_a_fresh_answer_is_used_until_its_last_second_and_then_asked_for() -> None:
    kitchen = Kitchen(prefetch=False)
    octets = octets_of("a.test.")
    kitchen.remember(octets)
    kitchen.pass_time(59.5)
    response = read(kitchen.taken(octets), octets)
    assert (rdatas(response), response.answer[0].ttl) == (["192.0.2.1"], 1)
    kitchen.pass_time(0.5)
    kitchen.take(octets)
    assert len(kitchen.upstream.waiting) == 1


def test_without_rd_memory_answers_and_nobody_is_asked(kitchen: Kitchen) -> None:
    kitchen.pin(b"\1p\4test\0")
    kitchen.remember(octets_of("a.test."))
    for name, address in (("p.test.", PINNED_ADDRESS), ("a.test.", "192.0.2.1")):
        octets = octets_of(name, rd=False)
        assert rdatas(read(kitchen.taken(octets), octets)) == [address]
    octets = octets_of("b.test.", rd=False, payload=1232)
    response = read(kitchen.taken(octets), octets)
    assert response.rcode() == dns.rcode.REFUSED
    assert [code for code, _ in extended_errors(response)] == [20]
    kitchen.pass_time(60)
    octets = octets_of("a.test.", rd=False)
    assert read(kitchen.taken(octets), octets).rcode() == dns.rcode.REFUSED, "what is over is not in memory"


def test_a_refusal_to_answer_without_rd_is_not_repeated_to_those_with_rd(kitchen: Kitchen) -> None:
    for _ in range(3):
        kitchen.taken(octets_of("a.test.", rd=False))
    assert kitchen.recalled(octets_of("a.test.", rd=False)) is None
    kitchen.take(octets_of("a.test."))
    assert len(kitchen.upstream.waiting) == 1


@pytest.mark.parametrize("octets", [b"", b"\0" * 11, b"\1\1\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"])
def test_what_is_no_query_gets_silence(kitchen: Kitchen, octets: bytes) -> None:
    assert kitchen.answering.at_once(octets, kitchen.udp, kitchen.turn.now) is None
    assert kitchen.answering.refuse(octets, kitchen.tcp, kitchen.turn.now) is None
    assert counted(kitchen.counts) == {}
    assert kitchen.counts[counters.MALFORMED_QUERIES] == 2


@pytest.mark.parametrize(
    ("octets", "rcode"),
    [
        (b"\1\2\x28\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", "NOTIMP"),
        (b"\1\2\1\0\0\0\0\0\0\0\0\0", "FORMERR"),
        (b"\1\2\1\0\0\1\0\0\0\0\0\0\1a", "FORMERR"),
    ],
)
def test_a_query_whose_question_cannot_be_echoed_gets_a_header(kitchen: Kitchen, octets: bytes, rcode: str) -> None:
    message = kitchen.taken(octets)
    assert len(message) == 12
    assert message[:2] == octets[:2]
    assert dns.message.from_wire(message).rcode() == dns.rcode.from_text(rcode)
    assert counted(kitchen.counts) == {("udp", "other", "policy", rcode): 1}
    assert kitchen.counts[counters.MALFORMED_QUERIES] == 1


def test_a_client_not_permitted_is_refused_also_what_memory_knows(kitchen: Kitchen) -> None:
    octets = octets_of("a.test.", payload=1232)
    kitchen.remember(octets)
    message = kitchen.answering.refuse(octets, kitchen.tcp, kitchen.turn.now)
    assert message is not None
    response = read(message, octets)
    assert (response.rcode(), [code for code, _ in extended_errors(response)]) == (dns.rcode.REFUSED, [18])
    assert counted(kitchen.counts)["tcp", "A", "policy", "REFUSED"] == 1


# --------------------------------------------------------------------------------------------------------- the exact cache


def test_exact_cache_is_filled_when_an_answer_is_asked_for_again_and_not_before(kitchen: Kitchen) -> None:
    octets = octets_of("a.test.")
    kitchen.remember(octets)
    assert kitchen.recalled(octets) is None
    response = kitchen.taken(octets)
    assert kitchen.recalled(octets) == response
    again = octets_of("a.test.", identity=0xBEEF)
    recalled = kitchen.recalled(again)
    assert recalled is not None
    assert rdatas(read(recalled, again)) == ["192.0.2.1"]
    kitchen.pass_time(1.0)
    assert kitchen.recalled(octets) is None, "a round is over after a second, for the TTLs count down"


def test_exact_cache_counts_as_itself(kitchen: Kitchen) -> None:
    octets = octets_of("a.test.", "AAAA")
    kitchen.remember(octets, nxdomain("test."))
    kitchen.taken(octets)
    known = kitchen.memory.exact.recall(octets[2:])
    assert known is not None
    kitchen.counts[kitchen.tcp.row + known[1]] += 1
    assert counted(kitchen.counts)["tcp", "AAAA", "exact", "NXDOMAIN"] == 1


def test_queries_with_options_or_more_than_opt_never_fill_it(kitchen: Kitchen) -> None:
    kitchen.remember(octets_of("a.test."))
    with_cookie = query("a.test.", options=[COOKIE]).to_wire()
    plain = octets_of("a.test.")
    with_more = plain[:10] + b"\0\1" + plain[12:] + b"\0\0\x01\0\x01" + b"\0" * 6
    for octets in (with_cookie, with_more):
        for _ in range(3):
            kitchen.taken(octets)
        assert kitchen.recalled(octets) is None
    with_opt = octets_of("a.test.", payload=1232)
    kitchen.taken(with_opt)
    assert kitchen.recalled(with_opt) is not None


def test_truncated_responses_never_fill_it(kitchen: Kitchen) -> None:
    octets = octets_of("many.test.")
    kitchen.remember(octets, answer(*addresses(40)))
    for _ in range(2):
        assert read(kitchen.taken(octets), octets).flags & dns.flags.TC
    assert kitchen.recalled(octets) is None


@pytest.mark.parametrize(("count", "payload"), [(40, None), (100, 1232), (100, 4096)])
def test_responses_only_a_stream_can_carry_never_fill_it(kitchen: Kitchen, count: int, payload: int | None) -> None:
    octets = octets_of("many.test.", payload=payload)
    kitchen.remember(octets, answer(*addresses(count)))
    for _ in range(2):
        response = read(kitchen.taken(octets, door=kitchen.tcp), octets)
        assert len(rdatas(response)) == count
        assert not response.flags & dns.flags.TC
    assert kitchen.recalled(octets) is None
    message = kitchen.taken(octets)
    assert len(message) <= min(payload or 512, MAX_UDP_SIZE)
    assert read(message, octets).flags & dns.flags.TC


@given(count=st.integers(1, 90), payload=st.none() | st.integers(1, 4096), by_tcp=st.lists(st.booleans(), max_size=4))
def test_over_udp_nothing_is_larger_than_client_and_we_take(count: int, payload: int | None, by_tcp: list[bool]) -> None:
    kitchen = Kitchen()
    octets = octets_of("many.test.", payload=payload)
    limit = min(max(payload or 0, 512), MAX_UDP_SIZE)
    kitchen.take(octets, octets)
    kitchen.upstream.settle(answer(*addresses(count)))
    first = kitchen.udp.replies.pop()[1]
    for is_stream in by_tcp:
        kitchen.recalled(octets) or kitchen.taken(octets, door=kitchen.tcp if is_stream else kitchen.udp)
    for message in (first, kitchen.recalled(octets) or kitchen.taken(octets)):
        assert len(message) <= limit
        response = read(message, octets)
        assert bool(response.flags & dns.flags.TC) == (len(rdatas(response)) < count)


# --------------------------------------------------------------------------------------------------- what comes of the asking


def test_the_upstream_has_until_the_deadline_of_the_first_asker(kitchen: Kitchen) -> None:
    kitchen.take(octets_of("a.test."))
    kitchen.pass_time(0.3)
    kitchen.take(octets_of("a.test."))
    ((_, until),) = kitchen.upstream.asked
    assert until <= 1000.0 + DEADLINE


def test_what_comes_late_is_remembered_and_not_sent_and_counted(kitchen: Kitchen) -> None:
    kitchen.take(octets_of("a.test."), "first")
    kitchen.pass_time(1.0)
    kitchen.take(octets_of("a.test."), "second", door=kitchen.tcp)
    kitchen.pass_time(DEADLINE - 0.9)
    kitchen.upstream.settle()
    assert kitchen.udp.replies == [("first", b"")], "the door hears that there will be none"
    ((peer, message),) = kitchen.tcp.replies
    assert peer == "second"
    assert rdatas(dns.message.from_wire(message)) == ["192.0.2.1"]
    assert kitchen.counts[counters.DEADLINE_MISSED] == 1
    assert counted(kitchen.counts) == {("tcp", "A", "upstream", "NOERROR"): 1}
    assert rdatas(dns.message.from_wire(kitchen.taken(octets_of("a.test.")))) == ["192.0.2.1"]


def test_an_answer_at_the_deadline_is_in_time(kitchen: Kitchen) -> None:
    kitchen.take(octets_of("a.test."))
    kitchen.pass_time(DEADLINE)
    kitchen.upstream.settle()
    assert kitchen.udp.replies[0][1]
    assert kitchen.counts[counters.DEADLINE_MISSED] == 0


@pytest.mark.parametrize("start", [0.0, 0.1, 1000.3, 86_400.7])
def test_a_defect_behind_the_recipe_is_servfail_to_all_and_is_logged(start: float, caplog: pytest.LogCaptureFixture) -> None:
    kitchen = Kitchen()
    kitchen.now = start
    octets = octets_of("a.test.", payload=1232)
    kitchen.take(octets, 1)
    kitchen.pass_time(0.5)
    kitchen.take(octets, 2, door=kitchen.tcp)
    kitchen.upstream.defect = RuntimeError("this is a test")
    kitchen.upstream.settle(Failed.NETWORK)
    for replies, peer in ((kitchen.udp.replies, 1), (kitchen.tcp.replies, 2)):
        ((told, message),) = replies
        assert told == peer
        assert failure(message, octets) == (22, "the asking was interrupted")
    assert "this is a test" in caplog.text
    assert observed(kitchen.counts, "failure")[1] == pytest.approx(500_000, abs=2)
    assert len(kitchen.coalescing) == 0


def test_a_defect_before_anything_was_awaited_is_servfail_too(kitchen: Kitchen) -> None:
    kitchen.upstream.defect = RuntimeError("this is a test")
    octets = octets_of("a.test.", payload=1232)
    kitchen.take(octets)
    assert failure(kitchen.udp.replies[0][1], octets)[0] == 22
    kitchen.upstream.defect = None
    kitchen.take(octets)
    assert len(kitchen.upstream.waiting) == 1


@pytest.mark.parametrize(
    ("outcome", "code", "word"),
    [
        (Failed.TIMEOUT, 22, "no response"),
        (Failed.NETWORK, 23, "cannot reach"),
        (Failed.MALFORMED, 24, "malformed"),
        (refusal("SERVFAIL"), 22, "SERVFAIL"),
        (refusal("REFUSED"), 22, "REFUSED"),
        (refusal("NOTIMP"), 22, "NOTIMP"),
        (refusal("FORMERR"), 22, "FORMERR"),
    ],
)
def test_every_failure_leaves_as_servfail_that_names_upstream_and_cause(
    kitchen: Kitchen, outcome: Behaviour | Failed, code: int, word: str
) -> None:
    octets, without_opt = octets_of("a.test.", payload=1232), octets_of("A.test.")
    kitchen.take(octets, "opt")
    kitchen.take(without_opt, "none")
    kitchen.fail(outcome)
    replies = dict(kitchen.udp.replies)
    told, text = failure(replies["opt"], octets)
    assert told == code
    assert word in text
    assert kitchen.upstream.name in text
    assert read(replies["none"], without_opt).rcode() == dns.rcode.SERVFAIL
    assert counted(kitchen.counts) == {("udp", "A", "failure", "SERVFAIL"): 2}
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(octets)
    assert kitchen.upstream.waiting, "a failure is not remembered as an answer"


def test_a_negative_answer_carries_its_soa_now_and_from_memory(kitchen: Kitchen) -> None:
    for name, behaviour, rcode in (("a.test.", nodata("test."), "NOERROR"), ("b.test.", nxdomain("test."), "NXDOMAIN")):
        octets = octets_of(name)
        kitchen.take(octets)
        kitchen.upstream.settle(behaviour)
        for message in (kitchen.udp.replies.pop()[1], kitchen.taken(octets), kitchen.recalled(octets) or b""):
            response = read(message, octets)
            assert response.rcode() == dns.rcode.from_text(rcode)
            assert response.authority[0].ttl == 30, "max_negative_ttl, from the first response on"


def test_a_ttl_is_capped_from_the_first_response_on(kitchen: Kitchen) -> None:
    octets = octets_of("a.test.")
    kitchen.take(octets)
    kitchen.upstream.settle(answer("@ 864000 IN A 192.0.2.1"))
    assert read(kitchen.udp.replies[0][1], octets).answer[0].ttl == 3600
    assert read(kitchen.taken(octets), octets).answer[0].ttl == 3600


def test_a_ttl_of_zero_is_passed_on_and_asked_for_again(kitchen: Kitchen) -> None:
    octets = octets_of("a.test.")
    for times in (1, 2):
        kitchen.take(octets)
        kitchen.upstream.settle(answer("@ 0 IN A 192.0.2.1"))
        assert len(kitchen.upstream.asked) == len(kitchen.udp.replies) == times


def test_addresses_of_an_answer_from_memory_take_turns(kitchen: Kitchen) -> None:
    kitchen.remember(octets_of("a.test."), answer(*addresses(3)))
    firsts = {rdatas(dns.message.from_wire(kitchen.taken(octets_of("a.test."))))[0] for _ in range(3)}
    assert len(firsts) == 3


# -------------------------------------------------------------------------------------------------------------- no cycles

ASKED = octets_of("a.test.", payload=1232)
AT_ONCE = {
    "answers": ASKED,
    "pinned": octets_of("p.test."),
    "policy": octets_of("a.test.", "ANY"),
    "not in memory": octets_of("b.test.", rd=False),
    "short": ASKED[:11],
    "cut": ASKED[:20],
    "cut in OPT": ASKED[:-3],
    "name too long": ASKED[:12] + b"\x3f" * 300,
    "an update": ASKED[:2] + b"\x28" + ASKED[3:],
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_nothing_is_left_to_collect_of_what_is_answered_at_once(kitchen: Kitchen, kind: str) -> None:
    kitchen.pin(b"\1p\4test\0")
    kitchen.remember(ASKED)

    def action() -> None:
        kitchen.take(AT_ONCE[kind])
        kitchen.take(AT_ONCE[kind], door=kitchen.tcp)
        kitchen.answering.refuse(AT_ONCE[kind], kitchen.tcp, kitchen.now)
        kitchen.udp.replies.clear()
        kitchen.tcp.replies.clear()

    assert garbage_after(action) == 0
