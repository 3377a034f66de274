"""Prefetch in the recipe: an answer in use is asked for again before it ends, once, and nobody waits for it."""

import pytest

from forwarder.observe import counters
from forwarder.upstream.servers import Failed
from forwarder.wire.message import parse_query
from tests.lab.behaviours import answer, nxdomain
from tests.lab.clients import query, rdatas
from tests.lab.collector import garbage_after
from tests.lab.kitchen import CLIENT_RESPONSE_TIMER, Kitchen, counted, octets_of, read

ASKED = octets_of("a.test.", payload=1232)
LATER = answer("@ 60 IN A 192.0.2.9")
IN_THE_LAST_TENTH = 55.0
"""Seconds after an answer of 60 s was stored."""


def ending_kitchen(*, prefetch: bool = True, max_in_progress: int = 1000) -> Kitchen:
    """One whose answer is in the last tenth of its life."""
    kitchen = Kitchen(prefetch=prefetch, max_in_progress=max_in_progress)
    kitchen.remember(ASKED)
    kitchen.pass_time(IN_THE_LAST_TENTH)
    kitchen.upstream.asked.clear()
    return kitchen


def address(kitchen: Kitchen) -> list[str]:
    """What a client is told, and at once."""
    kitchen.take(ASKED)
    return rdatas(read(kitchen.udp.replies.pop()[1], ASKED))


def test_a_hit_in_the_last_tenth_has_it_asked_for_again_once() -> None:
    kitchen = ending_kitchen()
    for _ in range(5):
        assert address(kitchen) == ["192.0.2.1"]
    ((asked, _),) = kitchen.upstream.asked
    assert (asked.name, asked.qtype, asked.do) == (b"\1a\4test\0", 1, False)
    assert kitchen.counts[counters.PREFETCHES] == 1
    kitchen.upstream.settle(LATER)
    assert kitchen.udp.replies == []
    assert address(kitchen) == ["192.0.2.9"]
    kitchen.pass_time(30)
    assert address(kitchen) == ["192.0.2.9"], "from memory, long after the first one ended"
    assert len(kitchen.upstream.asked) == 1
    assert {source for _, _, source, _ in counted(kitchen.counts)} == {"answers", "upstream"}


@pytest.mark.parametrize("seconds", [0.0, 30.0, 53.0])
def test_not_before(seconds: float) -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED)
    kitchen.pass_time(seconds)
    kitchen.taken(ASKED)


def test_not_where_it_is_turned_off() -> None:
    kitchen = ending_kitchen(prefetch=False)
    kitchen.taken(ASKED)
    kitchen.memory.exact.begin(kitchen.now + 1)
    kitchen.memory.exact.renew(ASKED[2:], kitchen.now + 1)
    kitchen.answering.ask_ahead(kitchen.now + 1)
    assert kitchen.memory.exact.ending == []
    assert kitchen.upstream.waiting == []


def test_what_the_exact_cache_renews_in_the_last_tenth_is_asked_for_too() -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED)
    kitchen.pass_time(53.5)
    kitchen.taken(ASKED)
    kitchen.pass_time(1.0)
    kitchen.memory.exact.begin(kitchen.now)
    assert kitchen.memory.exact.renew(ASKED[2:], kitchen.now) is not None
    kitchen.answering.ask_ahead(kitchen.now)
    assert len(kitchen.upstream.waiting) == kitchen.counts[counters.PREFETCHES] == 1
    assert kitchen.memory.exact.ending == []


def test_with_do_it_is_asked_for_with_do() -> None:
    kitchen = Kitchen()
    octets = query("a.test.", dnssec=True).to_wire()
    kitchen.remember(octets)
    kitchen.pass_time(IN_THE_LAST_TENTH)
    kitchen.take(octets)
    assert kitchen.upstream.waiting[0].query.do


def test_negative_answers_too() -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED, nxdomain("test."))
    kitchen.pass_time(28)
    kitchen.take(ASKED)
    assert len(kitchen.upstream.waiting) == 1


def test_whoever_asks_when_it_ended_joins_it() -> None:
    kitchen = ending_kitchen()
    kitchen.take(ASKED, "served")
    kitchen.pass_time(5.1)
    kitchen.udp.replies.clear()
    for peer in range(3):
        kitchen.take(ASKED, peer)
    assert len(kitchen.upstream.waiting) == 1
    assert len(kitchen.udp.replies) == 3, "it is slow by now, and what ended a moment ago stands in"
    kitchen.udp.replies.clear()
    kitchen.upstream.settle(LATER)
    assert kitchen.udp.replies == []


def test_whoever_joins_it_in_time_waits_for_it() -> None:
    kitchen = Kitchen()
    kitchen.remember(ASKED)
    kitchen.pass_time(59.9)
    kitchen.take(ASKED)
    kitchen.pass_time(0.2)
    kitchen.udp.replies.clear()
    kitchen.take(ASKED)
    assert kitchen.udp.replies == []
    kitchen.upstream.settle(LATER)
    assert rdatas(read(kitchen.udp.replies.pop()[1], ASKED)) == ["192.0.2.9"]
    assert len(kitchen.upstream.asked) == 2


def test_not_beyond_the_budget_of_the_upstream_but_when_there_is_some() -> None:
    kitchen = ending_kitchen()
    kitchen.zone.budget = 0
    kitchen.taken(ASKED)
    assert kitchen.counts[counters.PREFETCHES] == 0
    kitchen.zone.budget = 1
    kitchen.take(ASKED)
    assert kitchen.counts[counters.PREFETCHES] == len(kitchen.upstream.waiting) == 1


def test_not_beyond_the_questions_that_may_be_in_progress() -> None:
    kitchen = ending_kitchen(max_in_progress=1)
    kitchen.take(octets_of("b.test."))
    budget = kitchen.zone.budget
    kitchen.taken(ASKED)
    assert kitchen.counts[counters.PREFETCHES] == 0
    assert kitchen.zone.budget == budget, "what is not asked costs nothing"


def test_not_while_the_question_is_in_progress_which_costs_nothing_either() -> None:
    kitchen = ending_kitchen()
    in_use = kitchen.memory.answers.fresh(parse_query(ASKED).key, kitchen.now)
    assert in_use is not None
    kitchen.take(ASKED)
    in_use.is_asked_ahead = False  # as of another answer, which was put back from a snapshot meanwhile
    budget = kitchen.zone.budget
    kitchen.taken(ASKED)
    assert (len(kitchen.upstream.waiting), kitchen.counts[counters.PREFETCHES]) == (1, 1)
    assert kitchen.zone.budget == budget


def test_one_that_failed_is_not_repeated_and_leaves_the_answer_in_use() -> None:
    kitchen = ending_kitchen()
    address(kitchen)
    kitchen.fail(Failed.TIMEOUT)
    assert address(kitchen) == ["192.0.2.1"]
    kitchen.pass_time(2)
    assert address(kitchen) == ["192.0.2.1"]
    assert kitchen.upstream.waiting == []
    kitchen.pass_time(3.1)
    kitchen.take(ASKED)
    kitchen.pass_time(CLIENT_RESPONSE_TIMER)
    assert rdatas(read(kitchen.udp.replies.pop()[1], ASKED)) == ["192.0.2.1"], "stale"


def test_one_that_brought_half_an_answer_is_not_repeated() -> None:
    kitchen = ending_kitchen()
    for _ in range(3):
        assert address(kitchen) == ["192.0.2.1"]
        kitchen.upstream.settle(answer("@ 60 IN CNAME elsewhere.test."))
    assert len(kitchen.upstream.asked) == 1


def test_nothing_is_left_to_collect() -> None:
    kitchen = Kitchen()

    def action() -> None:
        kitchen.memory.answers.clear()
        kitchen.remember(ASKED)
        kitchen.pass_time(IN_THE_LAST_TENTH)
        kitchen.take(ASKED)
        kitchen.upstream.settle(LATER)
        for kept in (kitchen.udp.replies, kitchen.tcp.replies, kitchen.upstream.asked, kitchen.zone.untils):
            kept.clear()

    assert garbage_after(action, times=200) == 0
