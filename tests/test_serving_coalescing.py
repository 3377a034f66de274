"""A question is in progress once, whoever asks; questions and askers are bounded; who waits is told when it ends."""

import dns.flags
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.serving.coalescing import MAX_JOINED, Asker, Coalescing
from forwarder.upstream.servers import Failed
from forwarder.wire.message import parse_query
from tests.lab.behaviours import Behaviour, addresses, answer, nxdomain, refusal
from tests.lab.clients import query, rdatas
from tests.lab.collector import garbage_after
from tests.lab.kitchen import ONE, FakeDoor, Kitchen, counted, failure, octets_of, read, said


class Nowhere:
    """A door that nothing leaves by."""

    row = 0
    is_stream = False

    def reply(self, peer: object, message: bytes) -> None:
        """There is nothing to send in these tests."""
        raise AssertionError((peer, message))

    def client(self, peer: object) -> bytes:
        """Nor anybody to be named."""
        raise AssertionError(peer)


DOOR = Nowhere()


def asker(name: str, qtype: str = "A", *, peer: object = None, dnssec: bool = False) -> Asker:
    return Asker(parse_query(query(name, qtype, dnssec=dnssec).to_wire()), DOOR, peer, 0.0)


def admitted(questions: Coalescing, who: Asker) -> Asker:
    """The first asker of the question, one or the other."""
    first = questions.admit(who)
    assert first is not None
    return first


def ended(questions: Coalescing, first: Asker) -> list[Asker]:
    questions.end(first)
    return [first, *(first.joined or ())]


def test_the_first_asker_has_the_question_asked_and_the_next_joins() -> None:
    questions = Coalescing(10)
    first, second = asker("a.test."), asker("A.TEST.")
    assert questions.admit(first) is first
    assert questions.admit(second) is first
    assert len(questions) == 1
    assert ended(questions, first) == [first, second]


@pytest.mark.parametrize("other", [asker("b.test."), asker("a.test.", "AAAA"), asker("a.test.", dnssec=True)])
def test_another_question_is_in_progress_beside_it(other: Asker) -> None:
    questions = Coalescing(10)
    assert questions.admit(asker("a.test.")) is not other
    assert questions.admit(other) is other
    assert len(questions) == 2


def test_ended_is_in_progress_no_more() -> None:
    questions = Coalescing(10)
    who = [asker("a.test.") for _ in range(3)]
    assert [admitted(questions, one) for one in who] == [who[0]] * 3
    assert ended(questions, who[0]) == who
    assert len(questions) == 0
    again = asker("a.test.")
    assert questions.admit(again) is again
    assert ended(questions, again) == [again]


def test_no_more_questions_than_allowed_but_all_who_ask_one_of_them() -> None:
    questions = Coalescing(2)
    first = admitted(questions, asker("a.test."))
    admitted(questions, asker("b.test."))
    assert questions.admit(asker("c.test.")) is None
    assert questions.admit(asker("a.test.")) is first
    assert len(questions) == 2
    questions.end(first)
    assert questions.admit(asker("c.test.")) is not None


def test_no_more_askers_than_allowed() -> None:
    questions = Coalescing(10)
    first = admitted(questions, asker("a.test."))
    for _ in range(MAX_JOINED):
        admitted(questions, asker("a.test."))
    assert questions.admit(asker("a.test.")) is None
    assert len(ended(questions, first)) == 1 + MAX_JOINED
    assert questions.admit(asker("a.test.")) is not None


def test_those_who_joined_are_counted_until_taken() -> None:
    questions = Coalescing(1)
    for _ in range(4):
        admitted(questions, asker("a.test."))
    questions.admit(asker("b.test."))
    assert questions.take_coalesced() == 3
    assert questions.take_coalesced() == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60), st.integers(1, 3))
def test_whatever_happens_each_waits_for_one_question_until_it_ends(moves: list[tuple[str, bool]], most: int) -> None:
    questions = Coalescing(most)
    waiting: dict[str, list[Asker]] = {}
    for name, ends in moves:
        if ends and name in waiting:
            who = waiting.pop(name)
            assert ended(questions, who[0]) == who
        elif not ends:
            one = asker(f"{name}.test.")
            first = questions.admit(one)
            assert (first is None) == (name not in waiting and len(waiting) == most)
            if first is not None:
                waiting.setdefault(name, []).append(one)
                assert first is waiting[name][0]
        assert len(questions) == len(waiting)


# ------------------------------------------------------------------------------------------------- in the recipe


def test_fifty_askers_one_question_each_its_own_response() -> None:
    kitchen = Kitchen()
    asked: list[tuple[FakeDoor, bytes]] = []
    for number in range(50):
        name = "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate("abcdef.test."))
        octets = octets_of(name, identity=number + 1, payload=1232 if number % 3 else None)
        asked.append((kitchen.tcp if number % 5 == 0 else kitchen.udp, octets))
        kitchen.take(octets, number, door=asked[-1][0])
    assert len(kitchen.upstream.asked) == 1
    assert not kitchen.udp.replies + kitchen.tcp.replies
    kitchen.upstream.settle(answer(*addresses(60)))
    replies = dict(kitchen.udp.replies + kitchen.tcp.replies)
    assert len(replies) == len(kitchen.udp.replies + kitchen.tcp.replies) == 50
    for number, (door, octets) in enumerate(asked):
        response = read(replies[number], octets)
        fits = door.is_stream or response.edns >= 0
        assert len(rdatas(response)) == (60 if fits else 30)
        assert bool(response.flags & dns.flags.TC) != fits
    assert kitchen.coalescing.take_coalesced() == 49
    assert sum(counted(kitchen.counts).values()) == 50


def test_the_same_name_with_do_is_another_question() -> None:
    kitchen = Kitchen()
    kitchen.take(octets_of("a.test."))
    kitchen.take(query("a.test.", dnssec=True).to_wire())
    kitchen.take(octets_of("a.test.", "AAAA"))
    assert [(question.qtype, question.do) for question, _ in kitchen.upstream.asked] == [(1, False), (1, True), (28, False)]


def test_more_questions_than_may_be_in_progress_fail_at_once_and_say_why() -> None:
    kitchen = Kitchen(max_in_progress=2)
    for name in ("a.test.", "b.test."):
        kitchen.take(octets_of(name), name)
    octets = octets_of("c.test.", payload=1232)
    assert failure(kitchen.taken(octets), octets) == (22, "too many questions in progress")
    kitchen.take(octets_of("A.TEST."), "joins")
    assert not kitchen.udp.replies, "one that is in progress may be joined"
    kitchen.upstream.settle()
    assert {peer for peer, _ in kitchen.udp.replies} == {"a.test.", "b.test.", "joins"}
    kitchen.take(octets)
    assert len(kitchen.upstream.waiting) == 1
    assert counted(kitchen.counts)["udp", "A", "failure", "SERVFAIL"] == 1


def test_more_askers_than_a_question_may_have_fail_at_once() -> None:
    kitchen = Kitchen()
    octets = octets_of("a.test.", payload=1232)
    for _ in range(1 + MAX_JOINED):
        kitchen.take(octets)
    assert failure(kitchen.taken(octets), octets)[0] == 22
    kitchen.upstream.settle()
    assert len(kitchen.udp.replies) == 1 + MAX_JOINED


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from((None, 1232)), st.booleans(), st.booleans()), max_size=40))
def test_whoever_asks_what_when_gets_one_response_that_is_his_own(moves: list[tuple[str, int | None, bool, bool]]) -> None:
    kitchen = Kitchen(max_in_progress=2)
    sent: list[tuple[FakeDoor, bytes, bool]] = []
    in_progress: set[str] = set()
    known: set[str] = set()
    for number, (name, payload, is_stream, settles) in enumerate(moves):
        octets = octets_of(f"{name}.{'test' if number % 2 else 'Test'}.", identity=number, payload=payload)
        is_too_many = len(in_progress) == 2 and name not in in_progress | known
        sent.append((kitchen.tcp if is_stream else kitchen.udp, octets, is_too_many))
        kitchen.take(octets, number, door=sent[-1][0])
        in_progress |= set() if is_too_many else {name} - known
        assert len(kitchen.upstream.waiting) == len(in_progress)
        kitchen.pass_time(0.01)
        if settles:
            kitchen.upstream.settle()
            known, in_progress = known | in_progress, set()
    kitchen.upstream.settle()
    replies = [(door, peer, message) for door in (kitchen.udp, kitchen.tcp) for peer, message in door.replies]
    assert sorted(str(peer) for _, peer, _ in replies) == sorted(str(number) for number in range(len(moves)))
    for door, peer, message in replies:
        assert isinstance(peer, int)
        by, octets, is_too_many = sent[peer]
        assert door is by
        response = read(message, octets)
        assert rdatas(response) == ([] if is_too_many else ["192.0.2.1"])
        assert response.rcode() == (dns.rcode.SERVFAIL if is_too_many else dns.rcode.NOERROR)
    assert sum(counted(kitchen.counts).values()) == len(moves)
    assert len(kitchen.coalescing) == 0


@pytest.mark.parametrize(
    "outcome", [ONE, answer(*addresses(90)), nxdomain("test."), refusal("REFUSED"), Failed.TIMEOUT, Failed.NETWORK]
)
def test_nothing_is_left_to_collect_of_what_an_upstream_was_asked(outcome: Behaviour | Failed) -> None:
    kitchen = Kitchen(max_in_progress=1)
    first, second = octets_of("a.test.", payload=1232), octets_of("b.test.")
    given = outcome if isinstance(outcome, Failed) else said(parse_query(first), outcome)

    def action() -> None:
        kitchen.memory.answers.clear()
        for octets in (first, first, second):
            kitchen.take(octets)
            kitchen.take(octets, door=kitchen.tcp)
        if isinstance(given, Failed):
            kitchen.fail(given)
        kitchen.upstream.settle(given)
        assert len(kitchen.udp.replies) == len(kitchen.tcp.replies) == 3
        for kept in (kitchen.udp.replies, kitchen.tcp.replies, kitchen.upstream.asked):
            kept.clear()

    assert garbage_after(action) == 0
