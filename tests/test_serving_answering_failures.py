"""Failures in the recipe (RFC 9520): told from memory, asked again when their time is over, forgotten at a good answer."""

import pytest

from forwarder.observe import counters
from forwarder.serving.answering import FAILING_TAKES, MARGIN
from forwarder.upstream.servers import Failed
from forwarder.upstream.zones import NOBODY_CONFIGURED, Zone, Zones
from tests.lab.behaviours import answer, refusal
from tests.lab.clients import rdatas
from tests.lab.collector import garbage_after
from tests.lab.kitchen import (
    CLIENT_RESPONSE_TIMER,
    DEADLINE,
    FAILURE_TTL,
    MAX_FAILURE_TTL,
    Kitchen,
    counted,
    failure,
    octets_of,
    read,
)

ASKED = octets_of("a.test.", payload=1232)
CACHED_ERROR = 13


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def failed_kitchen(outcome: object = Failed.TIMEOUT) -> Kitchen:
    """One whose question has just failed."""
    kitchen = Kitchen()
    kitchen.take(ASKED)
    kitchen.fail(outcome)  # type: ignore[arg-type]  # a Behaviour, which is a function to pytest
    kitchen.udp.replies.clear()
    kitchen.upstream.asked.clear()
    return kitchen


def cached(message: bytes) -> str:
    """The reason of a failure told from memory."""
    code, text = failure(message, ASKED)
    assert code == CACHED_ERROR
    return text


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Failed.TIMEOUT, "no response"),
        (Failed.NETWORK, "cannot reach"),
        (Failed.MALFORMED, "malformed"),
        (refusal("SERVFAIL"), "SERVFAIL"),
        (refusal("REFUSED"), "REFUSED"),
        (refusal("NOTIMP"), "NOTIMP"),
        (refusal("FORMERR"), "FORMERR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_failure_is_told_from_memory_with_its_reason(outcome: object, word: str) -> None:
    kitchen = failed_kitchen(outcome)
    for _ in range(3):
        assert word in cached(kitchen.taken(ASKED))
        assert kitchen.recalled(ASKED) is None, "never in the exact cache"
    assert counted(kitchen.counts) == {("udp", "A", "failure", "SERVFAIL"): 4}
    plain = octets_of("A.test.")
    assert read(kitchen.taken(plain, door=kitchen.tcp), plain).rcode() == 2


def test_another_question_is_asked() -> None:
    kitchen = failed_kitchen()
    for octets in (octets_of("b.test."), octets_of("a.test.", "AAAA")):
        kitchen.take(octets)
    assert len(kitchen.upstream.waiting) == 2


def test_it_is_asked_again_when_its_time_is_over_and_rests_for_longer_each_time() -> None:
    kitchen = failed_kitchen(refusal("SERVFAIL"))
    rests = []
    for _ in range(7):
        failed_at = kitchen.now
        while not kitchen.upstream.waiting:
            kitchen.pass_time(0.5)
            kitchen.take(ASKED)
        rests.append(kitchen.now - failed_at)
        kitchen.fail(refusal("SERVFAIL"))
    assert rests == [1, 2, 4, 8, 16, 30, 30]


def test_one_good_answer_forgets_it() -> None:
    kitchen = failed_kitchen(refusal("SERVFAIL"))
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(ASKED)
    kitchen.upstream.settle(answer("@ 1 IN A 192.0.2.1"))
    assert len(kitchen.memory.failures) == 0
    kitchen.pass_time(4000)
    kitchen.take(ASKED)
    kitchen.fail(refusal("SERVFAIL"))
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(ASKED)
    assert kitchen.upstream.waiting, "the next failure is a first one"


def test_it_never_hides_an_answer_that_is_fresh() -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED)
    kitchen.pass_time(55)
    kitchen.take(ASKED)
    kitchen.fail(Failed.TIMEOUT)
    assert rdatas(read(kitchen.taken(ASKED), ASKED)) == ["192.0.2.1"]


def test_time_outs_are_forgotten_when_an_upstream_came_back() -> None:
    kitchen = failed_kitchen(Failed.TIMEOUT)
    kitchen.zone.times_recovered += 1
    kitchen.take(ASKED)
    assert kitchen.upstream.waiting
    kitchen = failed_kitchen(refusal("SERVFAIL"))
    kitchen.zone.times_recovered += 1
    assert "SERVFAIL" in cached(kitchen.taken(ASKED))


def test_nobody_waits_for_a_time_out_twice() -> None:
    kitchen = failed_kitchen(Failed.TIMEOUT)
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(ASKED)
    assert kitchen.udp.replies == []
    kitchen.pass_time(CLIENT_RESPONSE_TIMER)
    assert "no response" in cached(kitchen.udp.replies.pop()[1])
    assert "no response" in cached(kitchen.taken(ASKED)), "whoever joins later is told at once"
    assert kitchen.zone.untils[-1] == pytest.approx(
        kitchen.now - CLIENT_RESPONSE_TIMER + DEADLINE * (1 - MARGIN), abs=2 * FAILING_TAKES
    )
    kitchen.upstream.settle()
    assert kitchen.udp.replies == []
    assert rdatas(read(kitchen.taken(ASKED), ASKED)) == ["192.0.2.1"]


def test_a_question_that_timed_out_may_be_answered_in_time() -> None:
    kitchen = failed_kitchen(Failed.TIMEOUT)
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(ASKED)
    kitchen.take(ASKED, door=kitchen.tcp)
    kitchen.upstream.settle()
    for door in (kitchen.udp, kitchen.tcp):
        assert rdatas(read(door.replies.pop()[1], ASKED)) == ["192.0.2.1"]
    kitchen.pass_time(DEADLINE)
    assert kitchen.udp.replies + kitchen.tcp.replies == []


@pytest.mark.parametrize(
    ("outcome", "after"), [(refusal("SERVFAIL"), FAILURE_TTL), (Failed.TIMEOUT, FAILURE_TTL + MAX_FAILURE_TTL)]
)
def test_others_wait_for_the_whole_asking(outcome: object, after: float) -> None:
    kitchen = failed_kitchen(outcome)
    kitchen.pass_time(after)
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER + 0.1)
    assert kitchen.udp.replies == []


def test_while_every_upstream_is_down_the_asking_is_short(kitchen: Kitchen) -> None:
    kitchen.take(ASKED)
    kitchen.zone.put(down=True)
    kitchen.take(octets_of("b.test."))
    long, short = kitchen.zone.untils
    assert long == pytest.approx(kitchen.now + DEADLINE * (1 - MARGIN), abs=2 * FAILING_TAKES)
    assert short == pytest.approx(kitchen.now + CLIENT_RESPONSE_TIMER)


def test_but_not_where_its_client_does_not_wait_for_it() -> None:
    kitchen = failed_kitchen(Failed.TIMEOUT)
    kitchen.pass_time(FAILURE_TTL)
    kitchen.zone.put(down=True)
    kitchen.take(ASKED)
    assert kitchen.zone.untils[-1] > kitchen.now + 2 * CLIENT_RESPONSE_TIMER


def test_where_no_upstream_is_configured_nothing_is_remembered(kitchen: Kitchen) -> None:
    nobody = Zone(-1, [], kitchen.network)
    kitchen.answering.zones = Zones({}, nobody)
    for _ in range(2):
        assert failure(kitchen.taken(ASKED), ASKED) == (22, NOBODY_CONFIGURED.text)
    assert len(kitchen.memory.failures) == 0


def test_what_upstreams_came_to_that_were_replaced_is_not_remembered(kitchen: Kitchen) -> None:
    kitchen.take(ASKED)
    kitchen.answering.zones = Zones({}, Zone(0, [], kitchen.network))
    kitchen.fail(refusal("SERVFAIL"))
    assert failure(kitchen.udp.replies.pop()[1], ASKED)[0] == 22
    assert len(kitchen.memory.failures) == 0


def test_a_defect_is_not_remembered(kitchen: Kitchen) -> None:
    kitchen.upstream.defect = RuntimeError("this is a test")
    kitchen.take(ASKED)
    assert len(kitchen.memory.failures) == 0


def test_too_many_in_progress_is_not_remembered() -> None:
    kitchen = Kitchen(max_in_progress=1)
    kitchen.take(octets_of("b.test."))
    assert failure(kitchen.taken(ASKED), ASKED) == (22, "too many questions in progress")
    kitchen.upstream.settle()
    kitchen.take(ASKED)
    assert kitchen.upstream.waiting


def test_no_deadline_is_missed_by_what_memory_tells() -> None:
    kitchen = failed_kitchen()
    kitchen.taken(ASKED)
    kitchen.pass_time(FAILURE_TTL)
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER)
    kitchen.pass_time(DEADLINE)
    kitchen.fail(Failed.TIMEOUT)
    assert kitchen.counts[counters.DEADLINE_MISSED] == 0


@pytest.mark.parametrize("outcome", [answer("@ 0 IN A 192.0.2.1"), refusal("SERVFAIL"), Failed.TIMEOUT])
def test_nothing_is_left_to_collect(outcome: object) -> None:
    kitchen = Kitchen()

    def action() -> None:
        for _ in range(2):
            kitchen.take(ASKED)
            kitchen.take(ASKED, door=kitchen.tcp)
            kitchen.pass_time(CLIENT_RESPONSE_TIMER)
            kitchen.fail(outcome)  # type: ignore[arg-type]  # a Behaviour, which is a function to pytest
            kitchen.pass_time(MAX_FAILURE_TTL)
        for kept in (kitchen.udp.replies, kitchen.tcp.replies, kitchen.upstream.asked, kitchen.zone.untils):
            kept.clear()

    assert garbage_after(action, times=200) == 0
