"""Stale answers in the recipe (RFC 8767): who gets one, when, and what goes on behind it."""

import dns.message
import dns.rcode
import pytest

from forwarder.serving.coalescing import MAX_JOINED
from forwarder.upstream.servers import Failed
from forwarder.wire.message import parse_query
from tests.lab.behaviours import answer, nodata, nxdomain, refusal
from tests.lab.clients import extended_errors, rdatas
from tests.lab.collector import garbage_after
from tests.lab.kitchen import (
    CLIENT_RESPONSE_TIMER,
    DEADLINE,
    FAILURE_RECHECK_TIMER,
    MAXIMUM_STALE_TIMER,
    STALE_ANSWER_TTL,
    FakeDoor,
    Kitchen,
    counted,
    failure,
    octets_of,
    read,
)

ASKED = octets_of("a.test.", payload=1232)
LATER = answer("@ 60 IN A 192.0.2.9")
A_MOMENT_AGO, LONG_AGO = 1.0, 100.0
"""Seconds since the answer ended."""


def stale_kitchen(ended: float = A_MOMENT_AGO) -> Kitchen:
    """One that knows an answer which ended so many seconds ago."""
    kitchen = Kitchen()
    kitchen.remember(ASKED)
    kitchen.pass_time(60 + ended)
    kitchen.upstream.asked.clear()
    return kitchen


def is_stale(message: bytes) -> bool:
    """Whether it is the former answer, marked as stale; else it is the later one."""
    response = read(message, ASKED)
    if rdatas(response) == ["192.0.2.9"]:
        assert extended_errors(response) == []
        return False
    assert rdatas(response) == ["192.0.2.1"]
    assert response.answer[0].ttl == STALE_ANSWER_TTL
    assert [code for code, _ in extended_errors(response)] == [3]
    return True


def told(kitchen: Kitchen, door: FakeDoor | None = None) -> list[bytes]:
    """What clients were sent since the last look."""
    door = door or kitchen.udp
    messages = [message for _, message in door.replies]
    door.replies.clear()
    return messages


# ---------------------------------------------------------------------------------------------------------- merely slow


def test_a_good_answer_in_time_is_preferred() -> None:
    kitchen = stale_kitchen()
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER - 0.05)
    kitchen.upstream.settle(LATER)
    assert [is_stale(message) for message in told(kitchen)] == [False]
    kitchen.pass_time(DEADLINE)
    assert told(kitchen) == [], "nobody is answered twice"


def test_a_slow_upstream_lets_a_client_have_what_ended_lately() -> None:
    kitchen = stale_kitchen()
    kitchen.take(ASKED)
    kitchen.take(ASKED, door=kitchen.tcp)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER - 0.05)
    assert told(kitchen) == []
    kitchen.pass_time(0.05)
    assert [is_stale(message) for message in told(kitchen)] == [True]
    assert [is_stale(message) for message in told(kitchen, kitchen.tcp)] == [True]
    assert counted(kitchen.counts)["udp", "A", "stale", "NOERROR"] == 1
    kitchen.upstream.settle(LATER)
    assert told(kitchen) + told(kitchen, kitchen.tcp) == [], "they were served"
    assert not is_stale(kitchen.taken(ASKED)), "the answer that came behind it is remembered"
    assert len(kitchen.upstream.asked) == 1


def test_whoever_joins_after_the_timer_is_served_at_once() -> None:
    kitchen = stale_kitchen()
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER)
    told(kitchen)
    for _ in range(3):
        assert is_stale(kitchen.taken(ASKED))
        kitchen.pass_time(0.1)
    assert len(kitchen.upstream.waiting) == 1


def test_whoever_joins_as_the_timer_ends_early_is_served_too() -> None:
    """Timers look every 10 ms and end what is due up to 20 ms early."""
    kitchen = stale_kitchen()
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER - 0.008)
    assert len(told(kitchen)) == 1
    kitchen.take(ASKED)
    assert told(kitchen) == []
    kitchen.pass_time(0.008)
    assert [is_stale(message) for message in told(kitchen)] == [True]


def test_a_slow_upstream_is_waited_for_where_the_answer_ended_long_ago() -> None:
    kitchen = stale_kitchen(LONG_AGO)
    kitchen.take(ASKED)
    kitchen.pass_time(DEADLINE - 0.1)
    assert told(kitchen) == []
    kitchen.upstream.settle(LATER)
    assert [is_stale(message) for message in told(kitchen)] == [False]


@pytest.mark.parametrize("behaviour", [nxdomain("test."), nodata("test.")])
def test_negative_answers_are_never_stale(behaviour: object) -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED, behaviour)  # type: ignore[arg-type]  # a Behaviour, which is a function to pytest
    kitchen.pass_time(31)
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER + 0.1)
    assert told(kitchen) == []
    kitchen.fail(Failed.TIMEOUT)
    (message,) = told(kitchen)
    assert failure(message, ASKED)[0] == 22


# ------------------------------------------------------------------------------------------------------- nobody answers


@pytest.mark.parametrize("outcome", [Failed.TIMEOUT, Failed.NETWORK, refusal("SERVFAIL"), refusal("REFUSED")])
@pytest.mark.parametrize("ended", [A_MOMENT_AGO, LONG_AGO, MAXIMUM_STALE_TIMER - 10])
def test_when_every_attempt_failed_whatever_is_stale_goes_out(outcome: object, ended: float) -> None:
    kitchen = stale_kitchen(ended)
    kitchen.take(ASKED)
    kitchen.take(ASKED)
    kitchen.fail(outcome)  # type: ignore[arg-type]  # a Behaviour, which is a function to pytest
    assert [is_stale(message) for message in told(kitchen)] == [True, True]


def test_what_ended_before_the_maximum_stale_timer_is_gone() -> None:
    kitchen = stale_kitchen(MAXIMUM_STALE_TIMER)
    kitchen.take(ASKED)
    kitchen.fail(Failed.TIMEOUT)
    assert failure(told(kitchen)[0], ASKED)[0] == 22
    assert failure(kitchen.taken(ASKED), ASKED)[0] == 13


def test_while_failing_it_is_asked_again_once_the_recheck_timer_is_over() -> None:
    kitchen = stale_kitchen(LONG_AGO)
    kitchen.take(ASKED)
    kitchen.fail(Failed.TIMEOUT)
    told(kitchen)
    for _ in range(int(FAILURE_RECHECK_TIMER)):
        assert is_stale(kitchen.taken(ASKED))
        kitchen.pass_time(1.0)
    kitchen.take(ASKED)
    assert len(kitchen.upstream.waiting) == 1
    assert told(kitchen) == [], "it may have mended"
    kitchen.pass_time(CLIENT_RESPONSE_TIMER)
    assert [is_stale(message) for message in told(kitchen)] == [True], "old as it is: it failed before"
    kitchen.fail(Failed.TIMEOUT)
    assert is_stale(kitchen.taken(ASKED))
    kitchen.pass_time(FAILURE_RECHECK_TIMER)
    kitchen.take(ASKED)
    kitchen.upstream.settle(LATER)
    assert [is_stale(message) for message in told(kitchen)] == [False]


def test_while_every_upstream_is_down_it_goes_out_at_once_and_the_asking_goes_on_behind() -> None:
    kitchen = stale_kitchen(LONG_AGO)
    kitchen.zone.put(down=True)
    for _ in range(3):
        kitchen.take(ASKED)
        assert [is_stale(message) for message in told(kitchen)] == [True]
        kitchen.pass_time(0.2)
    _, until = kitchen.zone.untils
    assert until > kitchen.now + 2 * CLIENT_RESPONSE_TIMER, "nobody waits: it may take until the deadline"
    kitchen.fail(Failed.TIMEOUT)
    failed_at = kitchen.now
    while kitchen.now < failed_at + FAILURE_RECHECK_TIMER - 0.3:
        assert is_stale(kitchen.taken(ASKED))
        kitchen.pass_time(0.5)
    kitchen.pass_time(1.0)
    kitchen.take(ASKED)
    assert [is_stale(message) for message in told(kitchen)] == [True]
    kitchen.upstream.settle(LATER)
    assert not is_stale(kitchen.taken(ASKED))
    assert len(kitchen.zone.untils) == 3


def test_without_rd_nothing_stale_is_told() -> None:
    kitchen = stale_kitchen()
    kitchen.zone.put(down=True)
    without_rd = octets_of("a.test.", rd=False, payload=1232)
    assert read(kitchen.taken(without_rd), without_rd).rcode() == dns.rcode.REFUSED


# --------------------------------------------------------------------------------------------------- too many, and bounds


def test_above_the_bounds_stale_goes_before_servfail() -> None:
    kitchen = Kitchen(max_in_progress=1)
    kitchen.remember(ASKED)
    kitchen.pass_time(60 + LONG_AGO)
    kitchen.take(octets_of("b.test."))
    assert is_stale(kitchen.taken(ASKED))
    kitchen.upstream.settle()
    for _ in range(1 + MAX_JOINED):
        kitchen.take(ASKED)
    assert is_stale(kitchen.taken(ASKED))
    kitchen.zone.put(down=True)
    assert is_stale(kitchen.taken(ASKED))


def test_what_is_stale_never_fills_the_exact_cache() -> None:
    kitchen = stale_kitchen()
    kitchen.zone.put(down=True)
    for _ in range(3):
        kitchen.take(ASKED)
        assert kitchen.recalled(ASKED) is None


def test_it_fits_its_client_and_its_addresses_take_turns() -> None:
    kitchen = Kitchen()
    octets = octets_of("many.test.")
    kitchen.remember(octets, answer(*(f"@ 60 IN A 192.0.2.{number}" for number in range(40))))
    kitchen.pass_time(61)
    kitchen.zone.put(down=True)
    firsts = set()
    for _ in range(3):
        kitchen.take(octets)
        (message,) = told(kitchen)
        assert len(message) <= 512
        firsts.add(rdatas(read(message, octets))[0])
        kitchen.take(octets, door=kitchen.tcp)
        assert len(rdatas(dns.message.from_wire(told(kitchen, kitchen.tcp)[0]))) == 40
    assert len(firsts) == 3


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("outcome", [LATER, Failed.TIMEOUT])
def test_nothing_is_left_to_collect(outcome: object, *, down: bool) -> None:
    kitchen = stale_kitchen()
    kitchen.zone.put(down=down)

    stored = kitchen.memory.answers.entries.get(parse_query(ASKED).key)
    assert stored is not None
    key, response = stored.key, stored.response

    def action() -> None:
        kitchen.memory.failures.clear()
        for _ in range(3):
            kitchen.take(ASKED)
            kitchen.take(ASKED, door=kitchen.tcp)
        kitchen.pass_time(CLIENT_RESPONSE_TIMER)
        kitchen.fail(outcome)  # type: ignore[arg-type]  # a Behaviour, which is a function to pytest
        kitchen.pass_time(0.1)
        kitchen.take(ASKED)
        for kept in (kitchen.udp.replies, kitchen.tcp.replies, kitchen.upstream.asked):
            kept.clear()
        kitchen.memory.answers.put(key, response, kitchen.limits, kitchen.now - 61)

    assert garbage_after(action, times=200) == 0
