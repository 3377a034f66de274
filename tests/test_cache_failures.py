"""The failure cache: a second first, twice as long while it repeats, forgotten at a good answer, within a budget."""

import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.cache.failures import Failures
from forwarder.wire.names import name_from_text

NOW = 7000.0
ROOMY = 1 << 20
FIRST, LONGEST = 1.0, 30.0
KEY = b"key"
WHY = "no response from 192.0.2.53:53"


@dataclass(frozen=True)
class Why:
    text: str
    timed_out: bool
    rcode: int = 2


@pytest.fixture
def failures() -> Failures:
    return Failures(ROOMY, FIRST, LONGEST)


def fail(failures: Failures, now: float, *, key: bytes = KEY, recoveries: int = 0, timed_out: bool = True) -> None:
    failures.put(key, Why(WHY, timed_out), recoveries, now)


def held_for(failures: Failures, now: float, recoveries: int = 0) -> float:
    """Seconds from now for which the question is not asked."""
    failure = failures.known(KEY, recoveries, now)
    assert failure is not None
    return failure.rests_until() - now


class TestHolding:
    def test_nothing_is_known_of_what_never_failed(self, failures: Failures) -> None:
        fail(failures, NOW, key=b"another")
        assert failures.known(KEY, 0, NOW) is None
        assert failures.entries.get(KEY) is None

    def test_a_first_failure_holds_for_the_first_ttl(self, failures: Failures) -> None:
        fail(failures, NOW)
        assert held_for(failures, NOW) == FIRST
        failure = failures.known(KEY, 0, NOW)
        assert failure is not None
        assert (failure.text, failure.timed_out) == (WHY, True)

    def test_each_that_repeats_it_holds_twice_as_long_up_to_the_longest(self, failures: Failures) -> None:
        now, held = NOW, []
        for _ in range(8):
            fail(failures, now)
            held.append(held_for(failures, now))
            now += held[-1] + 0.5
        assert held == [1, 2, 4, 8, 16, 30, 30, 30]

    @pytest.mark.parametrize(("at_least", "rests"), [(0.0, 1.0), (0.5, 1.0), (5.0, 5.0)])
    def test_whoever_has_stale_data_lets_it_rest_for_longer(self, failures: Failures, at_least: float, rests: float) -> None:
        fail(failures, NOW)
        failure = failures.known(KEY, 0, NOW)
        assert failure is not None
        assert failure.rests_until(at_least) == NOW + rests

    @pytest.mark.parametrize(("after", "is_known"), [(0.0, True), (1.0, True), (30.9, True), (31.0, False), (1e9, False)])
    def test_it_is_remembered_for_the_longest_ttl_beyond_its_own(
        self, failures: Failures, after: float, *, is_known: bool
    ) -> None:
        fail(failures, NOW)
        assert (failures.known(KEY, 0, NOW + after) is not None) == is_known
        assert len(failures) == is_known

    def test_after_that_the_next_is_a_first_one(self, failures: Failures) -> None:
        fail(failures, NOW)
        fail(failures, NOW + 1)
        fail(failures, NOW + 100)
        assert held_for(failures, NOW + 100) == FIRST

    @pytest.mark.parametrize(("first", "longest", "held"), [(1.0, 1.0, [1, 1]), (20.0, 30.0, [20, 30]), (2.5, 300.0, [2.5, 5])])
    def test_both_ends_of_the_doubling_are_settings(self, first: float, longest: float, held: list[float]) -> None:
        failures = Failures(ROOMY, first, longest)
        for seconds in held:
            fail(failures, NOW)
            assert held_for(failures, NOW) == seconds


class TestForgotten:
    def test_at_a_good_answer(self, failures: Failures) -> None:
        fail(failures, NOW)
        fail(failures, NOW + 1)
        failures.forget(KEY)
        assert (failures.known(KEY, 0, NOW + 1), len(failures), failures.used) == (None, 0, 0)
        fail(failures, NOW + 2)
        assert held_for(failures, NOW + 2) == FIRST

    def test_a_time_out_when_an_upstream_came_back(self, failures: Failures) -> None:
        fail(failures, NOW, recoveries=3)
        assert failures.known(KEY, 3, NOW) is not None
        assert failures.known(KEY, 4, NOW) is None
        assert len(failures) == 0

    def test_what_upstreams_said_stays_when_one_of_them_came_back(self, failures: Failures) -> None:
        fail(failures, NOW, timed_out=False)
        assert failures.known(KEY, 1, NOW) is not None

    def test_everything(self, failures: Failures) -> None:
        for number in range(5):
            fail(failures, NOW, key=b"%d" % number)
        failures.clear()
        assert (len(failures), failures.used) == (0, 0)


class TestBudget:
    @given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60), st.integers(0, 5000))
    def test_never_exceeded(self, moves: list[tuple[int, bool]], budget: int) -> None:
        failures = Failures(budget, FIRST, LONGEST)
        for number, forgets in moves:
            key = b"%d" % number
            if forgets and failures.entries.get(key) is not None:
                failures.forget(key)
            else:
                fail(failures, NOW, key=key)
            assert failures.used <= budget
            assert len(failures) == sum(failures.entries.get(b"%d" % other) is not None for other in range(21))

    def test_those_asked_for_outlive_those_nobody_asked_for(self) -> None:
        failures = Failures(8000, FIRST, LONGEST)
        fail(failures, NOW)
        for number in range(100):
            assert failures.known(KEY, 0, NOW) is not None
            fail(failures, NOW, key=b"%d" % number)
        assert failures.take_evictions() > 80
        assert failures.take_evictions() == 0

    def test_what_is_charged_is_at_least_what_it_takes(self) -> None:
        failures = Failures(1 << 30, FIRST, LONGEST)
        name = name_from_text("www.example.com")
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(2000):
                failures.put(
                    b"%d" % number + name, Why(f"no response from 192.0.2.{number}", timed_out=True), number, NOW + number
                )
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before <= failures.used
