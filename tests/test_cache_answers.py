"""The answers cache: fresh until the TTLs end and no longer, half an answer replaces nothing usable, all within the budget."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.answers import AnswerCache
from forwarder.cache.lifetime import Limits
from forwarder.wire.names import name_from_text
from forwarder.wire.records import Kind, Response, parse_response

NOW = 5000.0
ROOMY = 1 << 20
LIMITS = Limits(max_ttl=3600, max_negative_ttl=30)
NAME = name_from_text("www.example.com")
A, CNAME, SOA = 1, 5, 6
TTL_AT = 6
"""Where the TTL of a record stands that is owned by a compression pointer."""


class Key(bytes):
    """A key that goes with the entry it is the key of, and is counted for as long."""

    living = 0

    def __init__(self, _octets: bytes) -> None:
        Key.living += 1

    def __del__(self) -> None:
        Key.living -= 1


def record(rtype: int, ttl: int, rdata: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", rtype, 1, ttl, len(rdata)) + rdata


def soa(ttl: int, minimum: int) -> bytes:
    return record(SOA, ttl, b"\0\0" + struct.pack("!5I", 1, 2, 3, 4, minimum))


def said(answers: list[bytes], authority: list[bytes] | None = None, *, rcode: int = 0) -> Response:
    """What an upstream said to A of NAME, as the wire room reads it."""
    authority = authority or []
    header = struct.pack("!6H", 1, 0x8180 | rcode, 1, len(answers), len(authority), 0)
    message = header + NAME + b"\0\1\0\1" + b"".join(answers) + b"".join(authority)
    return parse_response(message, NAME, A, do=False)


def positive(ttl: int = 60, address: bytes = b"\xc0\0\2\1") -> Response:
    return said([record(A, ttl, address)])


def nxdomain(ttl: int = 20) -> Response:
    return said([], [soa(ttl, ttl)], rcode=3)


def dangling(ttl: int = 60) -> Response:
    response = said([record(CNAME, ttl, name_from_text("elsewhere.example"))])
    assert response.kind is Kind.DANGLING
    return response


def ttls_of(response: Response) -> list[int]:
    return [int.from_bytes(response.message[at : at + 4]) for at in response.ttl_offsets]


@pytest.fixture
def answers() -> AnswerCache:
    return AnswerCache(ROOMY)


def response_at(answers: AnswerCache, now: float, key: bytes = b"key") -> Response | None:
    answer = answers.fresh(key, now)
    return answer.response if answer is not None else None


class TestFresh:
    @pytest.mark.parametrize("after", [0, 0.001, 59, 59.999])
    def test_until_its_ttl_ends(self, answers: AnswerCache, after: float) -> None:
        response = answers.put(b"key", positive(60), LIMITS, NOW)
        assert response_at(answers, NOW + after) is response

    @pytest.mark.parametrize("after", [60, 60.001, 1e9])
    def test_no_longer_than_its_ttl(self, answers: AnswerCache, after: float) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        assert response_at(answers, NOW + after) is None

    def test_it_is_as_late_as_the_caller_says(self, answers: AnswerCache) -> None:
        """A clock that ran on while the host slept ends answers without anything else having happened."""
        answers.put(b"key", positive(60), LIMITS, NOW)
        assert response_at(answers, NOW + 86400) is None
        assert response_at(answers, NOW + 1) is not None

    @pytest.mark.parametrize(("after", "age"), [(0, 0), (0.999, 0), (1, 1), (59.5, 59)])
    def test_age_is_whole_seconds(self, answers: AnswerCache, after: float, age: int) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        answer = answers.fresh(b"key", NOW)
        assert answer is not None
        assert answer.age(NOW + after) == age

    def test_another_question_has_another_answer(self, answers: AnswerCache) -> None:
        with_do = NAME + b"\0\1\0\1\2"
        answers.put(NAME + b"\0\1\0\1\0", positive(), LIMITS, NOW)
        assert response_at(answers, NOW, with_do) is None

    def test_a_later_answer_takes_the_place_of_the_former(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(), LIMITS, NOW)
        later = answers.put(b"key", positive(60, b"\xc0\0\2\2"), LIMITS, NOW + 5)
        assert response_at(answers, NOW + 60) is later
        assert len(answers) == 1

    def test_the_names_found_are_those_of_fresh_answers_that_deny_nothing(self, answers: AnswerCache) -> None:
        assert list(answers.found(NOW)) == []
        answers.put(NAME + b"\0\1\0\1\0", positive(), LIMITS, NOW)
        answers.put(b"\4gone\0" + b"\0\1\0\1\0", nxdomain(), LIMITS, NOW)
        assert list(answers.found(NOW)) == [NAME]
        assert list(answers.found(NOW + 1e6)) == []

    def test_forgotten_is_forgotten(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(), LIMITS, NOW)
        answers.clear()
        assert response_at(answers, NOW) is None
        assert (len(answers), answers.used, answers.positive) == (0, 0, 0)


class TestTold:
    """What `put` returns is what the client whose question it was is told."""

    def test_ttls_within_the_limit_as_they_came(self, answers: AnswerCache) -> None:
        response = positive(3600)
        assert answers.put(b"key", response, LIMITS, NOW) is response

    @pytest.mark.parametrize("ttl", [3601, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    def test_longer_ttls_as_long_as_the_limit(self, answers: AnswerCache, ttl: int) -> None:
        told = answers.put(b"key", said([record(A, ttl, b"\xc0\0\2\1"), record(A, 7200, b"\xc0\0\2\2")]), LIMITS, NOW)
        assert ttls_of(told) == [3600, 3600]
        assert response_at(answers, NOW + 3599.9) is told
        assert response_at(answers, NOW + 3600) is None

    def test_the_least_of_several_ttls_ends_it(self, answers: AnswerCache) -> None:
        told = answers.put(b"key", said([record(A, 7, b"\xc0\0\2\1"), record(A, 7200, b"\xc0\0\2\2")]), LIMITS, NOW)
        assert ttls_of(told) == [7, 3600]
        assert response_at(answers, NOW + 6.9) is told
        assert response_at(answers, NOW + 7) is None

    @pytest.mark.parametrize(("ttl", "minimum", "lifetime"), [(20, 300, 20), (300, 20, 20), (300, 300, 30), (5, 5, 5)])
    def test_negative_ttls_as_long_as_it_is_kept(self, answers: AnswerCache, ttl: int, minimum: int, lifetime: int) -> None:
        told = answers.put(b"key", said([], [soa(ttl, minimum)], rcode=3), LIMITS, NOW)
        assert ttls_of(told) == [lifetime]
        assert response_at(answers, NOW + lifetime - 0.1) is told
        assert response_at(answers, NOW + lifetime) is None

    def test_half_an_answer_says_a_second(self, answers: AnswerCache) -> None:
        assert ttls_of(answers.put(b"key", dangling(300), LIMITS, NOW)) == [1]


class TestNotKept:
    @pytest.mark.parametrize(
        "response",
        [positive(0), nxdomain(0), dangling(0), said([], rcode=2), said([], rcode=5)],
        ids=["positive of TTL 0", "negative of TTL 0", "alias of TTL 0", "SERVFAIL", "REFUSED"],
    )
    def test_is_passed_on_and_forgotten(self, answers: AnswerCache, response: Response) -> None:
        assert answers.put(b"key", response, LIMITS, NOW) == response
        assert response_at(answers, NOW) is None
        assert (len(answers), answers.used, answers.positive) == (0, 0, 0)

    @pytest.mark.parametrize("response", [positive(0), nxdomain(0)], ids=["positive", "negative"])
    def test_but_says_that_what_was_there_is_over(self, answers: AnswerCache, response: Response) -> None:
        answers.put(b"key", positive(), LIMITS, NOW)
        answers.put(b"key", response, LIMITS, NOW)
        assert (len(answers), answers.used, answers.positive) == (0, 0, 0)

    def test_a_failure_and_half_an_answer_leave_it_in_place(self, answers: AnswerCache) -> None:
        known = answers.put(b"key", positive(), LIMITS, NOW)
        for response in (said([], rcode=2), said([], rcode=5), dangling(0)):
            answers.put(b"key", response, LIMITS, NOW)
        assert response_at(answers, NOW) is known


STALE = Limits(max_ttl=3600, max_negative_ttl=30, maximum_stale_timer=100.0)


class TestStale:
    @pytest.mark.parametrize("after", [60, 60.001, 159.999])
    def test_a_positive_answer_from_its_end_on(self, answers: AnswerCache, after: float) -> None:
        response = answers.put(b"key", positive(60), STALE, NOW)
        stale = answers.stale(b"key", STALE, NOW + after)
        assert stale is not None
        assert stale.response is response
        assert response_at(answers, NOW + after) is None

    @pytest.mark.parametrize("after", [0, 59.999, 160, 1e9])
    def test_neither_before_nor_for_longer_than_its_zone_allows(self, answers: AnswerCache, after: float) -> None:
        answers.put(b"key", positive(60), STALE, NOW)
        assert answers.stale(b"key", STALE, NOW + after) is None

    def test_never_where_the_zone_allows_none(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        assert answers.stale(b"key", LIMITS, NOW + 60) is None

    @pytest.mark.parametrize(
        "response", [nxdomain(60), said([], [soa(60, 60)]), dangling(60)], ids=["NXDOMAIN", "NODATA", "alias"]
    )
    def test_never_what_is_not_positive(self, answers: AnswerCache, response: Response) -> None:
        answers.put(b"key", response, STALE, NOW)
        assert all(answers.stale(b"key", STALE, NOW + after) is None for after in range(100))

    def test_half_an_answer_does_not_replace_it(self, answers: AnswerCache) -> None:
        known = answers.put(b"key", positive(60), STALE, NOW)
        assert answers.put(b"key", dangling(), STALE, NOW + 100).kind is Kind.DANGLING
        stale = answers.stale(b"key", STALE, NOW + 100)
        assert stale is not None
        assert stale.response is known
        half = answers.put(b"key", dangling(), STALE, NOW + 160)
        assert response_at(answers, NOW + 160) is half

    def test_a_negative_answer_and_one_of_ttl_0_do(self, answers: AnswerCache) -> None:
        for later in (nxdomain(), positive(0), nxdomain(0)):
            answers.put(b"key", positive(60), STALE, NOW)
            answers.put(b"key", later, STALE, NOW + 70)
            assert answers.stale(b"key", STALE, NOW + 100) is None


class TestEnding:
    @pytest.mark.parametrize(("after", "is_ending"), [(0, False), (53.9, False), (54.1, True), (59.9, True)])
    def test_in_the_last_tenth_of_its_life(self, answers: AnswerCache, after: float, *, is_ending: bool) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        answer = answers.fresh(b"key", NOW + after)
        assert answer is not None
        assert answer.is_ending(NOW + after) == is_ending

    def test_once(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        answer = answers.fresh(b"key", NOW)
        assert answer is not None
        answer.is_asked_ahead = True
        assert not answer.is_ending(NOW + 59)


class TestHalfAnAnswer:
    @pytest.mark.parametrize("known", [positive(), nxdomain()], ids=["positive", "negative"])
    def test_replaces_nothing_usable(self, answers: AnswerCache, known: Response) -> None:
        answers.put(b"key", known, LIMITS, NOW)
        half = answers.put(b"key", dangling(), LIMITS, NOW + 1)
        assert half.kind is Kind.DANGLING
        assert response_at(answers, NOW + 1) is known

    def test_takes_the_place_of_what_has_ended(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(60), LIMITS, NOW)
        half = answers.put(b"key", dangling(), LIMITS, NOW + 60)
        assert response_at(answers, NOW + 60.5) is half
        assert answers.positive == 0

    def test_takes_the_place_of_another(self, answers: AnswerCache) -> None:
        answers.put(b"key", dangling(), LIMITS, NOW)
        half = answers.put(b"key", dangling(), LIMITS, NOW + 0.5)
        assert response_at(answers, NOW + 1.4) is half

    def test_is_kept_a_second_where_nothing_is_known(self, answers: AnswerCache) -> None:
        half = answers.put(b"key", dangling(300), LIMITS, NOW)
        assert response_at(answers, NOW + 0.9) is half
        assert response_at(answers, NOW + 1) is None

    def test_gives_way_to_a_whole_one(self, answers: AnswerCache) -> None:
        answers.put(b"key", dangling(), LIMITS, NOW)
        whole = answers.put(b"key", positive(), LIMITS, NOW)
        assert response_at(answers, NOW) is whole
        assert answers.positive == 1


class TestCounted:
    def test_positive_entries_however_they_come_and_go(self) -> None:
        answers = AnswerCache(3000)
        answers.put(b"1", positive(), LIMITS, NOW)
        answers.put(b"2", positive(), LIMITS, NOW)
        answers.put(b"3", nxdomain(), LIMITS, NOW)
        assert answers.positive == 2
        answers.put(b"1", nxdomain(), LIMITS, NOW)
        answers.put(b"3", positive(), LIMITS, NOW)
        answers.put(b"3", positive(), LIMITS, NOW)
        assert answers.positive == 2
        for number in range(20):
            answers.put(b"n%d" % number, nxdomain(), LIMITS, NOW)
        assert answers.positive == 0
        assert len(answers) > 0

    def test_a_positive_answer_too_large_for_the_budget_is_not_counted(self) -> None:
        answers = AnswerCache(100)
        response = answers.put(b"1", positive(), LIMITS, NOW)
        assert response.kind is Kind.POSITIVE
        assert (len(answers), answers.positive) == (0, 0)

    def test_evictions_since_the_last_look(self) -> None:
        answers = AnswerCache(ROOMY)
        for number in range(10):
            answers.put(b"%d" % number, positive(), LIMITS, NOW)
        size = answers.used // 10
        assert answers.take_evictions() == 0
        small = AnswerCache(3 * size)
        for number in range(8):
            small.put(b"%d" % number, positive(), LIMITS, NOW)
        assert small.take_evictions() == 5
        assert small.take_evictions() == 0
        small.put(b"8", positive(), LIMITS, NOW)
        assert small.take_evictions() == 1

    def test_replacing_and_ending_evict_nobody(self, answers: AnswerCache) -> None:
        answers.put(b"key", positive(1), LIMITS, NOW)
        answers.fresh(b"key", NOW + 5)
        answers.put(b"key", positive(), LIMITS, NOW + 5)
        answers.clear()
        assert answers.take_evictions() == 0


PUTS = st.lists(
    st.tuples(st.integers(0, 15), st.sampled_from(["positive", "nxdomain", "dangling", "zero"]), st.integers(0, 20))
)


class TestBudget:
    @given(PUTS, st.integers(0, 6000))
    def test_never_exceeded_and_what_is_counted_is_there(self, puts: list[tuple[int, str, int]], budget: int) -> None:
        answers = AnswerCache(budget)
        for number, what, records in puts:
            addresses = [record(A, 60, bytes((192, 0, 2, place))) for place in range(1 + records)]
            makers = {"positive": said(addresses), "nxdomain": nxdomain(), "dangling": dangling(), "zero": positive(0)}
            answers.put(b"%d" % number, makers[what], LIMITS, NOW)
            assert answers.used <= budget
            known = [found for other in range(16) if (found := response_at(answers, NOW, b"%d" % other)) is not None]
            assert len(known) == len(answers)
            assert sum(one.kind is Kind.POSITIVE for one in known) == answers.positive
            assert sum(len(one.message) for one in known) <= answers.used

    def test_what_is_charged_is_at_least_what_it_takes(self) -> None:
        answers = AnswerCache(1 << 30)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(2000):
                answers.put(b"%d" % number + NAME, positive(), LIMITS, NOW + number)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before <= answers.used

    def test_answers_asked_for_outlive_those_nobody_asked_for(self) -> None:
        answers = AnswerCache(20_000)
        answers.put(b"asked", positive(), LIMITS, NOW)
        assert response_at(answers, NOW, b"asked") is not None
        for number in range(200):
            answers.put(b"%d" % number, positive(), LIMITS, NOW)
        assert answers.take_evictions() > 100
        assert response_at(answers, NOW, b"asked") is not None

    def test_what_leaves_is_freed_at_once(self) -> None:
        answers = AnswerCache(8000)
        for number in range(300):
            answers.put(Key(b"%d" % (number % 40)), positive() if number % 3 else nxdomain(), LIMITS, NOW)
            answers.fresh(b"%d" % (number % 7), NOW)
        assert answers.take_evictions() > 100
        assert Key.living == len(answers)
        answers.clear()
        assert Key.living == 0
