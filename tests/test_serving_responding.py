"""The way out: each response fitted to its client, with its reason, counted once, and nothing after the deadline."""

import dns.flags
import dns.rcode
import pytest

from forwarder.cache.answers import Answer
from forwarder.cache.failures import Failure
from forwarder.cache.lifetime import Limits
from forwarder.observe import counters
from forwarder.serving.coalescing import Asker
from forwarder.serving.responding import Outcome, Responding, Terms
from forwarder.upstream.asking import Unanswered
from forwarder.upstream.turn import Turn
from forwarder.wire.edns import ExtendedError
from forwarder.wire.message import parse_query
from tests.lab.behaviours import addresses, answer, nxdomain, refusal
from tests.lab.clients import extended_errors, rdatas
from tests.lab.kitchen import FakeDoor, Kitchen, counted, observed, octets_of, read, said

NOW = 300.0
TERMS = Terms(1.8, 0.4, 5.0, 30, True, 1232, {0: Limits(3600, 30)})
ASKED = octets_of("A.test.", payload=4096)
RESPONSE = said(parse_query(ASKED), answer("@ 60 IN A 192.0.2.1", "@ 7 IN A 192.0.2.2"))
STALE = Answer(b"key", 0, response=RESPONSE, stored_at=0.0, expires_at=60.0)
FAILED = Failure(b"key", 0, text="no response from there", timed_out=True, rcode=2, recoveries=0, failed_at=0.0, ttl=1.0)
UNANSWERED = Unanswered(ExtendedError.NETWORK_ERROR, "cannot reach there")


def replied(
    outcome: Outcome, octets: bytes = ASKED, *, after: float = 0.1, is_stream: bool = False
) -> tuple[bytes, memoryview]:
    """What leaves so many seconds after the query came, and the counters."""
    counts, door = counters.private(), FakeDoor(is_stream=is_stream)
    Responding(TERMS, counts, Turn(lambda: NOW)).reply(Asker(parse_query(octets), door, "peer", NOW), outcome, NOW + after)
    ((peer, message),) = door.replies
    assert peer == "peer"
    return message, counts


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("outcome", "source", "rcode", "errors"),
    [
        (RESPONSE, "upstream", "NOERROR", []),
        (STALE, "stale", "NOERROR", [(3, "")]),
        (FAILED, "failure", "SERVFAIL", [(13, "no response from there")]),
        (UNANSWERED, "failure", "SERVFAIL", [(23, "cannot reach there")]),
    ],
)
def test_what_it_is_and_why(
    outcome: Outcome, source: str, rcode: str, errors: list[tuple[int, str]], *, is_stream: bool
) -> None:
    message, counts = replied(outcome, is_stream=is_stream)
    response = read(message, ASKED)
    assert (dns.rcode.to_text(response.rcode()), extended_errors(response)) == (rcode, errors)
    assert counted(counts) == {("tcp" if is_stream else "udp", "A", source, rcode): 1}


@pytest.mark.parametrize("outcome", [RESPONSE, STALE, FAILED, UNANSWERED])
def test_no_opt_for_those_who_sent_none(outcome: Outcome) -> None:
    octets = octets_of("a.test.")
    assert read(replied(outcome, octets)[0], octets).edns == -1


@pytest.mark.parametrize("outcome", [RESPONSE, STALE, FAILED, UNANSWERED])
def test_nothing_after_the_deadline(outcome: Outcome) -> None:
    message, counts = replied(outcome, after=1.81)
    assert message == b"", "the door hears that there will be none"
    assert counts[counters.DEADLINE_MISSED] == 1
    assert counted(counts) == {}


def test_every_ttl_of_a_stale_answer_is_the_configured_one() -> None:
    response = read(replied(STALE)[0], ASKED)
    assert sorted(rdatas(response)) == ["192.0.2.1", "192.0.2.2"]
    assert {rrset.ttl for rrset in response.answer} == {30}


def test_a_stale_answer_counts_as_asked_for() -> None:
    answer_in_memory = Answer(b"key", 0, response=RESPONSE, stored_at=0.0, expires_at=60.0)
    replied(answer_in_memory)
    assert answer_in_memory.visited


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (700, 700), (4096, 1232)])
def test_a_stale_answer_fits_its_client(payload: int | None, limit: int) -> None:
    large = Answer(b"key", 0, response=said(parse_query(ASKED), answer(*addresses(100))), stored_at=0.0, expires_at=60.0)
    octets = octets_of("a.test.", payload=payload)
    message, _ = replied(large, octets)
    assert len(message) <= limit
    assert read(message, octets).flags & dns.flags.TC
    assert len(rdatas(read(replied(large, octets, is_stream=True)[0], octets))) == 100


def test_each_response_is_counted_once_where_it_belongs() -> None:
    kitchen = Kitchen()
    kitchen.pin(b"\1p\4test\0")
    kitchen.take(octets_of("a.test.", "AAAA"))
    kitchen.pass_time(0.004)
    kitchen.take(octets_of("a.test.", "AAAA"), door=kitchen.tcp)
    kitchen.upstream.settle(nxdomain("test."))
    kitchen.taken(octets_of("a.test.", "AAAA"))
    kitchen.taken(octets_of("p.test."), door=kitchen.tcp)
    kitchen.taken(octets_of("p.test.", "AXFR"))
    kitchen.take(octets_of("b.test.", "TXT"))
    kitchen.pass_time(0.2)
    kitchen.upstream.settle(refusal("REFUSED"))
    kitchen.turn.end()
    assert counted(kitchen.counts) == {
        ("udp", "AAAA", "upstream", "NXDOMAIN"): 1,
        ("tcp", "AAAA", "upstream", "NXDOMAIN"): 1,
        ("udp", "AAAA", "answers", "NXDOMAIN"): 1,
        ("tcp", "A", "hosts", "NOERROR"): 1,
        ("udp", "other", "policy", "REFUSED"): 1,
        ("udp", "TXT", "failure", "SERVFAIL"): 1,
    }
    assert observed(kitchen.counts, "upstream")[0] == [10e-6, 5e-3], "one asked 4 ms after the other"
    assert observed(kitchen.counts, "upstream")[1] == pytest.approx(4000, abs=1)
    assert observed(kitchen.counts, "failure")[1] == pytest.approx(200_000, abs=1)
    for source in ("answers", "hosts", "policy"):
        assert observed(kitchen.counts, source) == ([10e-6], 0)
