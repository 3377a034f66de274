"""The recipe and pairs: AAAA never denies what A has found, failures that are told as NXDOMAIN, AAAA that is not asked for."""

import dns.message
import dns.rcode
import pytest

from forwarder.upstream.servers import Failed
from tests.lab.behaviours import answer, nodata, nxdomain, refusal
from tests.lab.clients import extended_errors, rdatas
from tests.lab.kitchen import DEADLINE, ONE, Kitchen, counted, octets_of, read

A, AAAA = octets_of("four.test.", payload=1232), octets_of("four.test.", "AAAA", payload=1232)
GONE = nxdomain("test.")
NOERROR, NXDOMAIN, SERVFAIL = dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL
FREEING = {"nxdomain_on_failure": frozenset({0})}
BLOCKED = 15


def told(kitchen: Kitchen, octets: bytes) -> dns.message.Message:
    """What the only reply to this query was."""
    (message,) = (message for peer, message in kitchen.udp.replies if peer == octets)
    return read(message, octets)


def both_in_progress() -> Kitchen:
    """A and AAAA of one name asked together."""
    kitchen = Kitchen()
    kitchen.take(A, A)
    kitchen.take(AAAA, AAAA)
    return kitchen


class TestAaaaIsDenied:
    def test_it_waits_for_the_a_in_progress_and_agrees(self) -> None:
        kitchen = both_in_progress()
        kitchen.upstream.settle_one(1, GONE)
        assert kitchen.udp.replies == []
        kitchen.upstream.settle_one(0, ONE)
        assert rdatas(told(kitchen, A)) == ["192.0.2.1"]
        response = told(kitchen, AAAA)
        assert (response.rcode(), len(response.authority)) == (NOERROR, 1)
        assert read(kitchen.taken(AAAA), AAAA).rcode() == NOERROR, "also from memory"

    @pytest.mark.parametrize("outcome", [GONE, refusal("SERVFAIL")], ids=["NXDOMAIN", "SERVFAIL"])
    def test_it_waits_for_the_a_that_does_not_know_better(self, outcome: object) -> None:
        kitchen = both_in_progress()
        kitchen.upstream.settle_one(1, GONE)
        kitchen.upstream.settle(outcome)  # type: ignore[arg-type]  # a behaviour, which mypy cannot see in a parameter
        kitchen.pass_time(DEADLINE)
        assert told(kitchen, AAAA).rcode() == NXDOMAIN

    def test_it_waits_no_longer_than_the_deadline(self) -> None:
        kitchen = both_in_progress()
        kitchen.upstream.settle_one(1, GONE)
        kitchen.pass_time(DEADLINE - 0.09)
        assert told(kitchen, AAAA).rcode() == NXDOMAIN
        assert not [peer for peer, _ in kitchen.udp.replies if peer == A]

    def test_an_a_of_ttl_0_is_remembered_by_nobody_and_counts(self) -> None:
        kitchen = both_in_progress()
        kitchen.upstream.settle_one(1, GONE)
        kitchen.upstream.settle_one(0, answer("@ 0 IN A 192.0.2.1"))
        assert told(kitchen, AAAA).rcode() == NOERROR

    def test_an_a_that_is_asked_again_is_waited_for_too(self) -> None:
        kitchen = Kitchen()
        kitchen.remember(A)
        kitchen.pass_time(61)
        kitchen.take(A, A)
        kitchen.take(AAAA, AAAA)
        kitchen.upstream.settle_one(1, GONE)
        kitchen.upstream.settle_one(0, ONE)
        assert told(kitchen, AAAA).rcode() == NOERROR

    def test_after_the_a_is_known(self) -> None:
        kitchen = Kitchen()
        kitchen.remember(A)
        kitchen.take(AAAA, AAAA)
        kitchen.upstream.settle(GONE)
        assert told(kitchen, AAAA).rcode() == NOERROR

    def test_before_the_a_is_known(self) -> None:
        """Also what the exact cache holds is told no more."""
        kitchen = Kitchen()
        kitchen.remember(AAAA, GONE)
        assert read(kitchen.taken(AAAA), AAAA).rcode() == NXDOMAIN
        assert kitchen.recalled(AAAA) is not None
        kitchen.remember(A)
        assert kitchen.recalled(AAAA) is None
        assert read(kitchen.taken(AAAA), AAAA).rcode() == NOERROR

    def test_no_other_type_is_looked_at(self) -> None:
        kitchen = Kitchen()
        kitchen.remember(A)
        octets = octets_of("four.test.", "TXT")
        kitchen.take(octets, octets)
        kitchen.upstream.settle(GONE)
        assert told(kitchen, octets).rcode() == NXDOMAIN


class TestOnFailure:
    def test_nxdomain_without_soa_and_the_reason(self) -> None:
        kitchen = Kitchen(special=FREEING)
        for _ in range(2):
            kitchen.take(A, A)
            kitchen.fail(refusal("SERVFAIL"))
            response = told(kitchen, A)
            assert (response.rcode(), response.authority) == (NXDOMAIN, [])
            ((_, text),) = extended_errors(response)
            assert text == "on_failure: SERVFAIL from 192.0.2.53:53"
            kitchen.udp.replies.clear()
        assert counted(kitchen.counts) == {("udp", "A", "failure", "NXDOMAIN"): 2}

    def test_it_is_no_denial(self) -> None:
        """It says nothing of AAAA, and is forgotten as any failure."""
        kitchen = Kitchen(special=FREEING)
        kitchen.take(A, A)
        kitchen.fail(refusal("SERVFAIL"))
        kitchen.take(AAAA, AAAA)
        assert len(kitchen.upstream.waiting) == 1
        kitchen.upstream.settle(answer("@ 60 IN AAAA 2001:db8::4"))
        assert rdatas(told(kitchen, AAAA)) == ["2001:db8::4"]
        kitchen.pass_time(2)
        kitchen.udp.replies.clear()
        kitchen.take(A, A)
        kitchen.upstream.settle(ONE)
        assert rdatas(told(kitchen, A)) == ["192.0.2.1"]

    def test_stale_goes_first(self) -> None:
        kitchen = Kitchen(special=FREEING)
        kitchen.remember(A)
        kitchen.pass_time(61)
        kitchen.take(A, A)
        kitchen.fail(Failed.NETWORK)
        assert rdatas(told(kitchen, A)) == ["192.0.2.1"]

    def test_aaaa_of_a_name_whose_a_is_known_fails_as_nodata(self) -> None:
        """Musl would take NXDOMAIN for the whole name."""
        kitchen = Kitchen(special=FREEING)
        kitchen.remember(A)
        kitchen.take(AAAA, AAAA)
        kitchen.fail(refusal("SERVFAIL"))
        assert told(kitchen, AAAA).rcode() == NOERROR

    def test_also_where_the_a_comes_later(self) -> None:
        kitchen = Kitchen(special=FREEING)
        kitchen.take(AAAA, AAAA)
        kitchen.fail(refusal("SERVFAIL"))
        assert told(kitchen, AAAA).rcode() == NXDOMAIN
        kitchen.remember(A)
        kitchen.udp.replies.clear()
        kitchen.take(AAAA, AAAA)
        assert told(kitchen, AAAA).rcode() == NOERROR

    def test_elsewhere_it_is_servfail(self) -> None:
        kitchen = Kitchen()
        kitchen.take(A, A)
        kitchen.fail(refusal("SERVFAIL"))
        assert told(kitchen, A).rcode() == SERVFAIL

    def test_too_many_questions_is_no_failure_of_the_zone(self) -> None:
        kitchen = Kitchen(special=FREEING, max_in_progress=1)
        kitchen.take(octets_of("other.test."))
        kitchen.take(A, A)
        assert told(kitchen, A).rcode() == SERVFAIL


class TestDropAaaa:
    def test_nodata_without_asking_and_the_reason(self) -> None:
        kitchen = Kitchen(special={"drops_aaaa": frozenset({0})})
        response = read(kitchen.taken(AAAA), AAAA)
        assert (response.rcode(), response.answer) == (NOERROR, [])
        assert extended_errors(response) == [(BLOCKED, "drop_aaaa: AAAA is not asked for in this zone")]
        assert counted(kitchen.counts) == {("udp", "AAAA", "policy", "NOERROR"): 1}
        kitchen.take(A, A)
        kitchen.upstream.settle(ONE)
        assert rdatas(told(kitchen, A)) == ["192.0.2.1"]

    def test_not_in_other_zones(self) -> None:
        kitchen = Kitchen(special={"drops_aaaa": frozenset({1})})
        kitchen.take(AAAA, AAAA)
        kitchen.upstream.settle(nodata("test."))
        assert told(kitchen, AAAA).rcode() == NOERROR
        assert len(kitchen.upstream.asked) == 1

    def test_a_pinned_address_is_told(self) -> None:
        kitchen = Kitchen(special={"drops_aaaa": frozenset({0})})
        kitchen.pin(b"\4four\4test\0")
        assert read(kitchen.taken(A), A).answer
